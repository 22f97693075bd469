/* A connection's time limits, on one timer. A deadline that moves away leaves the timer where it is: it finds
 * out when it fires, so that a busy keep-alive connection hardly touches the wheel. */
#include "net/http_server_priv.h"

enum {
    MIN_BODY_BYTES_PER_SECOND = 16 * 1024, /* beyond bodyTimeoutMs a body must have come at this rate */
    STALL_LOOKS = 8                        /* looks at a stalled queue per write timeout */
};
static const sbx_time_ns linger_ns = SBX_SEC(2);

static void set_deadline(sbx_http_conn *conn, sbx_time_ns at)
{
    conn->deadline = at;
    if (at >= conn->timer_at)
        return; /* the timer finds out when it fires */
    conn->timer_at = at;
    sbx_timer_start(&conn->timer, at);
}

static void set_timeout(sbx_http_conn *conn, sbx_time_ns timeout)
{
    set_deadline(conn, sbx_time_add(sbx_loop_now(conn->server->loop), timeout));
}

void sbx_http_conn_enter(sbx_http_conn *conn, sbx_http_phase phase)
{
    const sbx_http_server_options *options = &conn->server->options;
    conn->phase = phase;
    switch (phase) {
    case SBX_HTTP_IDLE:
        set_timeout(conn, options->keep_alive_timeout_ns);
        break;
    case SBX_HTTP_HEAD:
        set_timeout(conn, options->header_timeout_ns);
        break;
    case SBX_HTTP_BODY:
        conn->body_since = sbx_loop_now(conn->server->loop);
        set_timeout(conn, options->body_timeout_ns);
        break;
    case SBX_HTTP_LINGER:
        set_timeout(conn, linger_ns);
        break;
    case SBX_HTTP_WORK:
    case SBX_HTTP_FLUSH:
    case SBX_HTTP_LEAVING:
    case SBX_HTTP_CLOSED:
        set_deadline(conn, SBX_TIME_NEVER);
        break;
    }
}

/* ---- what happens when the time is up ---- */

void sbx_http_conn_watch_queue(sbx_http_conn *conn)
{
    if (conn->deadline != SBX_TIME_NEVER || sbx_stream_queued(conn->stream) == 0)
        return;
    conn->sent_seen = sbx_stream_sent(conn->stream);
    conn->sent_at = sbx_loop_now(conn->server->loop);
    set_timeout(conn, conn->server->options.write_timeout_ns / STALL_LOOKS);
}

static void look_at_queue(sbx_http_conn *conn)
{
    sbx_time_ns now = sbx_loop_now(conn->server->loop);
    uint64_t sent = sbx_stream_sent(conn->stream);
    sbx_time_ns timeout = conn->server->options.write_timeout_ns;
    set_deadline(conn, SBX_TIME_NEVER);
    if (sbx_stream_queued(conn->stream) == 0)
        return;
    if (sent != conn->sent_seen) {
        conn->sent_seen = sent;
        conn->sent_at = now;
    }
    if (now >= sbx_time_add(conn->sent_at, timeout))
        sbx_http_conn_leave(conn);
    else
        set_deadline(conn, sbx_time_min(sbx_time_add(now, timeout / STALL_LOOKS),
                                        sbx_time_add(conn->sent_at, timeout)));
}

/* RUDY: a body that trickles is bounded by its rate, not by the pause between two bytes. */
static void look_at_body(sbx_http_conn *conn)
{
    sbx_time_ns earned = (sbx_time_ns)(conn->body.len / MIN_BODY_BYTES_PER_SECOND) * SBX_SEC(1);
    sbx_time_ns until = sbx_time_add(conn->body_since, conn->server->options.body_timeout_ns + earned);
    if (sbx_loop_now(conn->server->loop) < until)
        set_deadline(conn, until);
    else
        sbx_http_conn_refuse(conn, 408, "the request body did not arrive in time");
}

static void on_deadline(sbx_http_conn *conn)
{
    switch (conn->phase) {
    case SBX_HTTP_HEAD:
        if (sbx_http_parser_has_begun(conn->parser))
            sbx_http_conn_refuse(conn, 408, "the request head did not arrive in time");
        else
            sbx_http_conn_close(conn);
        break;
    case SBX_HTTP_BODY:
        look_at_body(conn);
        break;
    case SBX_HTTP_WORK:
    case SBX_HTTP_FLUSH:
        look_at_queue(conn);
        break;
    case SBX_HTTP_IDLE:
    case SBX_HTTP_LINGER:
    case SBX_HTTP_LEAVING:
    case SBX_HTTP_CLOSED:
        sbx_http_conn_close(conn);
        break;
    }
}

static void on_timer(sbx_timer *timer, void *user)
{
    sbx_http_conn *conn = user;
    (void)timer;
    conn->timer_at = SBX_TIME_NEVER;
    if (sbx_loop_now(conn->server->loop) < conn->deadline)
        set_deadline(conn, conn->deadline);
    else
        on_deadline(conn);
}

void sbx_http_conn_init_timer(sbx_http_conn *conn)
{
    sbx_timer_init(&conn->timer, conn->server->loop, on_timer, conn);
    conn->timer_at = SBX_TIME_NEVER;
}
