/* One client connection: receiving requests, noticing that the client leaves.
 *
 * A client that ends its side while its request is at work counts as gone, unless it had sent further
 * requests by then: one that pipelines and half-closes is served to the end. Bytes that arrive during work
 * wait in `input` (bounded; beyond that reading stops, and with it noticing). */
#include <assert.h>
#include <stdlib.h>

#include "net/http_emit.h"
#include "net/http_server_priv.h"

enum {
    MAX_INPUT_BYTES = 64 * 1024,
    MAX_LINGER_BYTES = 1024 * 1024,
    MAX_REFUSED = 64, /* connections beyond the cap that are told so at the same time */
    KEPT_BODY_BYTES = 16 * 1024
};

/* ---- the end ---- */

static void reap(void *user)
{
    sbx_http_conn *conn = user;
    sbx_http_parser_free(conn->parser);
    sbx_arena_deinit(&conn->request.arena);
    sbx_buf_deinit(&conn->body);
    sbx_buf_deinit(&conn->input);
    sbx_buf_deinit(&conn->out);
    sbx_buf_deinit(&conn->chunk);
    free(conn);
}

static void release_body(sbx_http_conn *conn)
{
    conn->server->buffered_bytes -= conn->body.len;
    if (conn->body.size > KEPT_BODY_BYTES)
        sbx_buf_deinit(&conn->body);
    sbx_buf_clear(&conn->body);
}

void sbx_http_conn_close(sbx_http_conn *conn)
{
    if (conn->phase == SBX_HTTP_CLOSED)
        return;
    sbx_loop *loop = conn->server->loop;
    conn->server->buffered_bytes -= conn->body.len;
    conn->server->connection_count--;
    conn->phase = SBX_HTTP_CLOSED;
    conn->server->counts.sent_bytes += sbx_stream_sent(conn->stream);
    sbx_list_remove(&conn->link);
    sbx_timer_stop(&conn->timer);
    sbx_loop_undefer(loop, &conn->flush);
    sbx_loop_undefer(loop, &conn->resume);
    sbx_stream_close(conn->stream);
    sbx_loop_defer(loop, &conn->reap); /* callers up the stack may still look at it */
}

void sbx_http_conn_leave(sbx_http_conn *conn)
{
    if (conn->phase == SBX_HTTP_WORK) {
        sbx_http_conn_enter(conn, SBX_HTTP_LEAVING);
        conn->server->handler.on_gone(conn->server->handler.user, &conn->request);
    }
    sbx_http_conn_close(conn);
}

static void linger(sbx_http_conn *conn)
{
    sbx_buf_clear(&conn->input);
    release_body(conn);
    sbx_stream_shutdown(conn->stream);
    sbx_stream_resume(conn->stream);
    sbx_http_conn_enter(conn, SBX_HTTP_LINGER);
    if (conn->saw_eof)
        sbx_http_conn_close(conn);
}

void sbx_http_conn_refuse(sbx_http_conn *conn, unsigned status, const char *message)
{
    const sbx_http_handler *handler = &conn->server->handler;
    sbx_view body = handler->error_body(handler->user, status, message);
    sbx_buf_clear(&conn->out);
    sbx_http_emit_status_line(&conn->out, status);
    sbx_http_emit_header(&conn->out, SBX_VIEW("content-type"), SBX_VIEW("application/json"));
    sbx_http_emit_number(&conn->out, "content-length", body.len);
    sbx_buf_append_cstr(&conn->out, "connection: close\r\n\r\n");
    sbx_view pieces[] = {sbx_buf_view(&conn->out),
                         sbx_view_slice(body, 0, conn->is_head_request ? 0 : SIZE_MAX)};
    if (sbx_buf_error(&conn->out) != SBX_OK || sbx_stream_write(conn->stream, pieces, 2) != SBX_OK)
        sbx_http_conn_close(conn);
    else
        linger(conn);
}

/* ---- receiving ---- */

static bool refuse_with(sbx_http_conn *conn, unsigned status, const char *text)
{
    conn->refusal = (sbx_http_problem){.status = status, .text = text};
    return false;
}

static bool on_head(void *user, const sbx_http_head *head, const sbx_http_framing *framing)
{
    sbx_http_conn *conn = user;
    const sbx_http_server *server = conn->server;
    conn->is_head_request = sbx_view_eq_cstr(head->method, "HEAD");
    if (framing->expects_other)
        return refuse_with(conn, 417, "only \"Expect: 100-continue\" is known");
    if (framing->length > server->options.max_body_bytes)
        return refuse_with(conn, 413, "the request body is too large");
    if (framing->length > server->options.max_buffered_bytes - server->buffered_bytes)
        return refuse_with(conn, 503, "too many request bytes are held already");
    return true;
}

static bool on_body(void *user, sbx_view bytes)
{
    sbx_http_conn *conn = user;
    sbx_http_server *server = conn->server;
    if (bytes.len > server->options.max_body_bytes - conn->body.len)
        return refuse_with(conn, 413, "the request body is too large");
    if (bytes.len > server->options.max_buffered_bytes - server->buffered_bytes)
        return refuse_with(conn, 503, "too many request bytes are held already");
    if (sbx_buf_append_view(&conn->body, bytes) != SBX_OK)
        return refuse_with(conn, 503, "out of memory");
    server->buffered_bytes += bytes.len;
    return true;
}

static const sbx_http_parse_events parse_events = {.on_head = on_head, .on_body = on_body};

static bool is_receiving(const sbx_http_conn *conn)
{
    return conn->phase == SBX_HTTP_IDLE || conn->phase == SBX_HTTP_HEAD || conn->phase == SBX_HTTP_BODY;
}

static void begin_work(sbx_http_conn *conn)
{
    const sbx_http_handler *handler = &conn->server->handler;
    conn->closes = !sbx_http_parser_framing(conn->parser)->keeps_alive;
    sbx_http_conn_enter(conn, SBX_HTTP_WORK);
    handler->on_request(handler->user, &conn->request);
}

/* A client that asked for leave to send gets it, unless it has begun to send anyway. */
static void maybe_say_continue(sbx_http_conn *conn)
{
    static const sbx_view text = SBX_VIEW_INIT("HTTP/1.1 100 Continue\r\n\r\n");
    const sbx_http_framing *framing = sbx_http_parser_framing(conn->parser);
    if (!framing->expects_continue || conn->told_continue || conn->body.len > 0)
        return;
    conn->told_continue = true;
    if (sbx_stream_write(conn->stream, &text, 1) != SBX_OK)
        sbx_http_conn_close(conn);
}

static void note_progress(sbx_http_conn *conn)
{
    if (!sbx_http_parser_has_head(conn->parser)) {
        if (conn->phase == SBX_HTTP_IDLE)
            sbx_http_conn_enter(conn, SBX_HTTP_HEAD);
        return;
    }
    if (conn->phase != SBX_HTTP_BODY)
        sbx_http_conn_enter(conn, SBX_HTTP_BODY);
    maybe_say_continue(conn);
}

static size_t take(sbx_http_conn *conn, sbx_view bytes)
{
    size_t used = 0;
    switch (sbx_http_parser_feed(conn->parser, bytes, &used)) {
    case SBX_HTTP_FED_MORE:
        note_progress(conn);
        break;
    case SBX_HTTP_FED_DONE:
        begin_work(conn);
        break;
    case SBX_HTTP_FED_STOPPED:
        sbx_http_conn_refuse(conn, conn->refusal.status, conn->refusal.text);
        break;
    case SBX_HTTP_FED_BAD:
        sbx_http_conn_refuse(conn, sbx_http_parser_problem(conn->parser)->status,
                             sbx_http_parser_problem(conn->parser)->text);
        break;
    }
    return used;
}

/* Takes requests from the bytes until one is at work; returns how many bytes were used. */
static size_t process(sbx_http_conn *conn, sbx_view bytes)
{
    size_t used = 0;
    conn->is_processing = true;
    while (used < bytes.len && is_receiving(conn))
        used += take(conn, sbx_view_skip(bytes, used));
    conn->is_processing = false;
    return used;
}

/* Bytes for later. Too many of them: stop reading until the request at work is answered. */
static void keep_for_later(sbx_http_conn *conn, sbx_view bytes)
{
    if (bytes.len == 0 || conn->phase == SBX_HTTP_CLOSED || conn->phase == SBX_HTTP_LINGER)
        return;
    if (sbx_buf_append_view(&conn->input, bytes) != SBX_OK) {
        sbx_http_conn_leave(conn);
        return;
    }
    if (conn->input.len > MAX_INPUT_BYTES && !conn->is_paused) {
        conn->is_paused = true;
        sbx_stream_pause(conn->stream);
    }
}

static void process_input(sbx_http_conn *conn)
{
    size_t used = process(conn, sbx_buf_view(&conn->input));
    if (conn->phase == SBX_HTTP_CLOSED)
        return;
    sbx_buf_consume(&conn->input, used <= conn->input.len ? used : conn->input.len);
    if (conn->is_paused && conn->input.len <= MAX_INPUT_BYTES) {
        conn->is_paused = false;
        sbx_stream_resume(conn->stream);
    }
    if (conn->saw_eof && is_receiving(conn))
        sbx_http_conn_close(conn);
}

static void on_read(void *user, sbx_view bytes)
{
    sbx_http_conn *conn = user;
    conn->server->counts.received_bytes += bytes.len;
    if (conn->phase == SBX_HTTP_LINGER) {
        conn->lingered_bytes += bytes.len;
        if (conn->lingered_bytes > MAX_LINGER_BYTES)
            sbx_http_conn_close(conn);
        return;
    }
    if (conn->input.len > 0 || !is_receiving(conn)) {
        keep_for_later(conn, bytes);
        return;
    }
    size_t used = process(conn, bytes);
    keep_for_later(conn, sbx_view_skip(bytes, used));
}

/* ---- between requests ---- */

static void resume_input(void *user)
{
    sbx_http_conn *conn = user;
    if (is_receiving(conn))
        process_input(conn);
}

static void next_request(sbx_http_conn *conn)
{
    conn->is_head_request = false;
    conn->told_continue = false;
    sbx_http_parser_reset(conn->parser, /* is_bodyless= */ false);
    sbx_http_conn_enter(conn, SBX_HTTP_IDLE);
    if (!conn->is_processing && (conn->input.len > 0 || conn->saw_eof))
        sbx_loop_defer(conn->server->loop, &conn->resume);
}

/* What was answered before the server began to close said nothing of an end: it is ended all the same. */
static bool goes_on(const sbx_http_conn *conn)
{
    return !conn->closes && (!conn->server->is_closing || conn->input.len > 0 || conn->is_processing);
}

static void flushed(sbx_http_conn *conn)
{
    if (goes_on(conn))
        next_request(conn);
    else if (conn->input.len > 0 || conn->is_processing)
        linger(conn); /* unread bytes would turn our close into a reset that eats the answer */
    else
        sbx_http_conn_close(conn);
}

void sbx_http_conn_answered(sbx_http_conn *conn)
{
    sbx_arena_clear(&conn->request.arena);
    conn->request = (struct sbx_http_request){.conn = conn, .arena = conn->request.arena};
    release_body(conn);
    sbx_http_conn_enter(conn, SBX_HTTP_FLUSH);
    if (sbx_stream_queued(conn->stream) == 0)
        flushed(conn);
    else
        sbx_http_conn_watch_queue(conn);
}

/* ---- the stream's other news ---- */

static void on_end(void *user, sbx_err err)
{
    sbx_http_conn *conn = user;
    bool has_more = conn->input.len > 0 || conn->phase == SBX_HTTP_FLUSH;
    conn->saw_eof = true;
    if (err != SBX_OK || !has_more || conn->phase == SBX_HTTP_LINGER)
        sbx_http_conn_leave(conn);
}

static void on_broken(void *user)
{
    sbx_http_conn_leave(user);
}

static void on_drained(void *user)
{
    sbx_http_conn *conn = user;
    if (conn->phase == SBX_HTTP_FLUSH)
        flushed(conn);
    else if (conn->phase == SBX_HTTP_WORK)
        sbx_http_answer_drained(conn);
}

static const sbx_stream_events stream_events = {
    .on_read = on_read, .on_end = on_end, .on_broken = on_broken, .on_drained = on_drained};

/* ---- the beginning ---- */

static void on_flush(void *user)
{
    sbx_http_answer_flush(user, /* is_last= */ false);
}

static sbx_err conn_new(sbx_http_server *server, sbx_http_conn **ret_conn)
{
    sbx_http_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        return SBX_E_NOMEM;
    sbx_err err =
        sbx_http_parser_new(SBX_HTTP_REQUEST, SBX_HTTP_MAX_HEAD_BYTES, &parse_events, conn, &conn->parser);
    if (err != SBX_OK) {
        free(conn);
        return err;
    }
    conn->server = server;
    conn->request.conn = conn;
    sbx_arena_init(&conn->request.arena, server->options.arena_cap_bytes);
    sbx_buf_init(&conn->body, SIZE_MAX);
    sbx_buf_init(&conn->input, SIZE_MAX);
    sbx_buf_init(&conn->out, SIZE_MAX);
    sbx_buf_init(&conn->chunk, SIZE_MAX);
    sbx_http_conn_init_timer(conn);
    conn->flush = (sbx_task){.fn = on_flush, .user = conn};
    conn->resume = (sbx_task){.fn = resume_input, .user = conn};
    conn->reap = (sbx_task){.fn = reap, .user = conn};
    *ret_conn = conn;
    return SBX_OK;
}

sbx_err sbx_http_conn_accept(sbx_http_server *server, struct uv_stream_s *listener)
{
    sbx_http_conn *conn = NULL;
    sbx_err err = conn_new(server, &conn);
    if (err != SBX_OK)
        return err;
    err = sbx_stream_accept(server->loop, listener, &stream_events, conn, &conn->stream);
    if (err != SBX_OK) {
        reap(conn);
        return err;
    }
    sbx_list_push_back(&server->connections, &conn->link);
    server->connection_count++;
    server->counts.connections++;
    sbx_http_conn_enter(conn, SBX_HTTP_HEAD); /* the first request is due at once */
    if (server->connection_count > server->options.max_connections + MAX_REFUSED)
        sbx_http_conn_close(conn);
    else if (server->connection_count > server->options.max_connections)
        sbx_http_conn_refuse(conn, 503, "too many connections");
    return SBX_OK;
}
