/* Answers: heads, whole answers in one write, and streams whose pieces of one loop turn become one chunk. */
#include <assert.h>
#include <stdio.h>

#include "net/http_emit.h"
#include "net/http_server_priv.h"

enum {
    MAX_PIECES = 14,
    DIRECT_BYTES = 16 * 1024 /* from here on a write goes out without being copied */
};

const sbx_http_head *sbx_http_request_head(const sbx_http_request *request)
{
    return sbx_http_parser_head(request->conn->parser);
}

sbx_view sbx_http_request_body(const sbx_http_request *request)
{
    return sbx_buf_view(&request->conn->body);
}

sbx_arena *sbx_http_request_arena(sbx_http_request *request)
{
    return &request->arena;
}

bool sbx_http_request_is_loopback(const sbx_http_request *request)
{
    return sbx_stream_peer_is_loopback(request->conn->stream);
}

void sbx_http_request_set_user(sbx_http_request *request, void *user)
{
    request->user = user;
}

void *sbx_http_request_user(const sbx_http_request *request)
{
    return request->user;
}

/* ---- writing ---- */

/* Out of memory: the connection is cut, the request is invalid. */
static sbx_err give_up(sbx_http_conn *conn)
{
    sbx_http_conn_close(conn);
    return SBX_E_NOMEM;
}

/* before, pieces, after: in one write. */
static sbx_err send(sbx_http_conn *conn, sbx_view before, const sbx_view *pieces, size_t count,
                    sbx_view after)
{
    sbx_view all[MAX_PIECES + 2];
    all[0] = before;
    sbx_err err = SBX_OK;
    size_t at = 0;
    for (size_t left = count; left > MAX_PIECES && err == SBX_OK; left -= MAX_PIECES) {
        memcpy(all + 1, pieces + at, MAX_PIECES * sizeof *pieces);
        err = sbx_stream_write(conn->stream, all, MAX_PIECES + 1);
        all[0] = (sbx_view){0};
        at += MAX_PIECES;
    }
    if (err != SBX_OK)
        return err;
    if (count > at)
        memcpy(all + 1, pieces + at, (count - at) * sizeof *pieces);
    all[1 + count - at] = after;
    err = sbx_stream_write(conn->stream, all, 2 + count - at);
    sbx_http_conn_watch_queue(conn);
    return err;
}

/* Starts conn->out: status line, the caller's headers, connection. The caller adds framing and the empty
 * line. */
static void begin_head(sbx_http_conn *conn, unsigned status, const sbx_http_header *headers, size_t count)
{
    bool is_old = sbx_http_parser_head(conn->parser)->minor_version == 0;
    conn->closes = conn->closes || conn->server->is_closing || (conn->saw_eof && conn->input.len == 0);
    conn->request.sends_body = !conn->is_head_request && status != 204 && status != 304;
    sbx_buf_clear(&conn->out);
    sbx_http_emit_status_line(&conn->out, status);
    sbx_http_emit_headers(&conn->out, headers, count);
    if (conn->closes)
        sbx_buf_append_cstr(&conn->out, "connection: close\r\n");
    else if (is_old)
        sbx_buf_append_cstr(&conn->out, "connection: keep-alive\r\n");
}

static bool is_leaving(const sbx_http_request *request)
{
    return request->conn->phase == SBX_HTTP_LEAVING;
}

sbx_err sbx_http_respond(sbx_http_request *request, unsigned status, const sbx_http_header *headers,
                         size_t header_count, const sbx_view *pieces, size_t piece_count)
{
    sbx_http_conn *conn = request->conn;
    if (is_leaving(request))
        return SBX_OK;
    assert(conn->phase == SBX_HTTP_WORK && !request->is_started);
    begin_head(conn, status, headers, header_count);
    if (status != 204)
        sbx_http_emit_number(&conn->out, "content-length", sbx_view_total(pieces, piece_count));
    sbx_buf_append(&conn->out, "\r\n", 2);
    if (!request->sends_body)
        piece_count = 0;
    if (sbx_buf_error(&conn->out) != SBX_OK ||
        send(conn, sbx_buf_view(&conn->out), pieces, piece_count, (sbx_view){0}) != SBX_OK)
        return give_up(conn);
    sbx_http_conn_answered(conn);
    return SBX_OK;
}

/* ---- streams ---- */

static sbx_view chunk_line(char *line, size_t size, size_t len)
{
    int written = snprintf(line, size, "%zx\r\n", len);
    return sbx_view_of(line, (size_t)written);
}

static void note_fullness(sbx_http_request *request)
{
    if (sbx_http_is_full(request))
        request->was_full = true;
    if (request->was_full && request->conn->phase == SBX_HTTP_WORK)
        sbx_loop_defer(request->conn->server->loop, &request->conn->flush); /* it may be over by then */
}

/* `before` goes in front of the chunk line; the pieces are one chunk. */
static sbx_err send_chunk(sbx_http_conn *conn, sbx_view before, const sbx_view *pieces, size_t count,
                          bool is_last)
{
    char text[32];
    size_t total = sbx_view_total(pieces, count);
    if (!conn->request.is_chunked)
        return send(conn, before, pieces, count, (sbx_view){0});
    if (total == 0)
        return send(conn, before, NULL, 0, is_last ? SBX_VIEW("0\r\n\r\n") : (sbx_view){0});
    sbx_view line = chunk_line(text, sizeof text, total);
    sbx_view after = is_last ? SBX_VIEW("\r\n0\r\n\r\n") : SBX_VIEW("\r\n");
    if (before.len == 0)
        return send(conn, line, pieces, count, after);
    if (sbx_buf_append_view(&conn->out, line) != SBX_OK) /* before is conn->out */
        return SBX_E_NOMEM;
    return send(conn, sbx_buf_view(&conn->out), pieces, count, after);
}

sbx_err sbx_http_start(sbx_http_request *request, unsigned status, const sbx_http_header *headers,
                       size_t header_count, const sbx_view *first_pieces, size_t first_count)
{
    sbx_http_conn *conn = request->conn;
    if (is_leaving(request))
        return SBX_OK;
    assert(conn->phase == SBX_HTTP_WORK && !request->is_started);
    bool is_old = sbx_http_parser_head(conn->parser)->minor_version == 0;
    conn->closes = conn->closes || is_old;
    begin_head(conn, status, headers, header_count);
    request->is_started = true;
    request->is_chunked = request->sends_body && !is_old;
    if (!is_old && status != 204 && status != 304)
        sbx_buf_append_cstr(&conn->out, "transfer-encoding: chunked\r\n");
    sbx_buf_append(&conn->out, "\r\n", 2);
    if (!request->sends_body)
        first_count = 0;
    if (sbx_buf_error(&conn->out) != SBX_OK ||
        send_chunk(conn, sbx_buf_view(&conn->out), first_pieces, first_count, /* is_last= */ false) != SBX_OK)
        return give_up(conn);
    note_fullness(request);
    return SBX_OK;
}

static sbx_err send_collected(sbx_http_conn *conn, bool is_last)
{
    sbx_view collected = sbx_buf_view(&conn->chunk);
    if (collected.len == 0 && !is_last)
        return SBX_OK;
    sbx_err err = send_chunk(conn, (sbx_view){0}, &collected, 1, is_last);
    sbx_buf_clear(&conn->chunk);
    return err;
}

sbx_err sbx_http_write(sbx_http_request *request, const sbx_view *pieces, size_t piece_count)
{
    sbx_http_conn *conn = request->conn;
    sbx_err err = SBX_OK;
    if (is_leaving(request) || !request->sends_body)
        return SBX_OK;
    assert(conn->phase == SBX_HTTP_WORK && request->is_started);
    if (sbx_view_total(pieces, piece_count) >= DIRECT_BYTES) {
        err = send_collected(conn, /* is_last= */ false);
        if (err == SBX_OK)
            err = send_chunk(conn, (sbx_view){0}, pieces, piece_count, /* is_last= */ false);
    } else {
        for (size_t i = 0; i < piece_count; i++)
            sbx_buf_append_view(&conn->chunk, pieces[i]);
        err = sbx_buf_error(&conn->chunk);
        sbx_loop_defer(conn->server->loop, &conn->flush);
    }
    if (err != SBX_OK)
        return give_up(conn);
    note_fullness(request);
    return SBX_OK;
}

void sbx_http_answer_drained(sbx_http_conn *conn)
{
    const sbx_http_handler *handler = &conn->server->handler;
    if (!conn->request.was_full || sbx_http_queued(&conn->request) > 0)
        return;
    conn->request.was_full = false;
    if (handler->on_drained != NULL)
        handler->on_drained(handler->user, &conn->request);
}

void sbx_http_answer_flush(sbx_http_conn *conn, bool is_last)
{
    if (conn->phase != SBX_HTTP_WORK)
        return;
    if (send_collected(conn, is_last) != SBX_OK)
        sbx_http_conn_leave(conn);
    else if (!is_last)
        sbx_http_answer_drained(conn);
}

void sbx_http_end(sbx_http_request *request)
{
    sbx_http_conn *conn = request->conn;
    if (is_leaving(request))
        return;
    assert(conn->phase == SBX_HTTP_WORK && request->is_started);
    sbx_loop_undefer(conn->server->loop, &conn->flush);
    if (send_collected(conn, /* is_last= */ request->is_chunked) != SBX_OK)
        sbx_http_conn_close(conn);
    else
        sbx_http_conn_answered(conn);
}

void sbx_http_cut(sbx_http_request *request)
{
    if (is_leaving(request))
        return;
    assert(request->conn->phase == SBX_HTTP_WORK);
    (void)send_collected(request->conn,
                         /* is_last= */ false); /* it is cut behind what was written, not before */
    sbx_http_conn_close(request->conn);
}

sbx_err sbx_http_write_raw(sbx_http_request *request, sbx_view bytes)
{
    sbx_http_conn *conn = request->conn;
    if (is_leaving(request))
        return SBX_OK;
    assert(conn->phase == SBX_HTTP_WORK);
    if (send_collected(conn, /* is_last= */ false) != SBX_OK ||
        sbx_stream_write(conn->stream, &bytes, 1) != SBX_OK)
        return give_up(conn);
    sbx_http_conn_watch_queue(conn);
    return SBX_OK;
}

void sbx_http_reset(sbx_http_request *request)
{
    if (is_leaving(request))
        return;
    assert(request->conn->phase == SBX_HTTP_WORK);
    (void)send_collected(request->conn, /* is_last= */ false);
    sbx_stream_reset(request->conn->stream);
    sbx_http_conn_close(request->conn);
}

size_t sbx_http_queued(const sbx_http_request *request)
{
    return sbx_stream_queued(request->conn->stream) + request->conn->chunk.len;
}

bool sbx_http_is_full(const sbx_http_request *request)
{
    return sbx_http_queued(request) > request->conn->server->options.high_water_bytes;
}
