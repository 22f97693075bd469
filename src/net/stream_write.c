/* Writing: at once where the socket has room. Two buffers take turns for the rest: `sending` is with libuv,
 * `pending` collects what is written meanwhile. */
#include <assert.h>
#include <stdlib.h>

#include "net/stream_priv.h"

enum {
    BATCH = 16,
    KEPT_BUFFER_BYTES = 16 * 1024
};

void sbx_stream_set_broken(sbx_stream *stream)
{
    if (stream->is_broken)
        return;
    stream->is_broken = true;
    sbx_buf_clear(&stream->pending);
    sbx_loop_defer(stream->loop, &stream->tell);
}

static size_t fill_bufs(uv_buf_t *bufs, const sbx_view *pieces, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        /* libuv's buffers are not const; it only reads from those it writes out. */
        char *base = (char *)(uintptr_t)pieces[i].data;
        bufs[i] = uv_buf_init(base, (unsigned)pieces[i].len);
        total += pieces[i].len;
    }
    return total;
}

/* Offers the pieces to the socket; returns how many bytes it took. */
static size_t try_pieces(sbx_stream *stream, const sbx_view *pieces, size_t count)
{
    size_t taken = 0;
    for (size_t at = 0; at < count; at += BATCH) {
        uv_buf_t bufs[BATCH];
        size_t batch = count - at < BATCH ? count - at : BATCH;
        size_t total = fill_bufs(bufs, pieces + at, batch);
        int wrote = total == 0 ? 0 : uv_try_write(sbx_stream_uv(stream), bufs, (unsigned)batch);
        if (wrote < 0 && wrote != UV_EAGAIN)
            sbx_stream_set_broken(stream);
        taken += wrote > 0 ? (size_t)wrote : 0;
        if (wrote < 0 || (size_t)wrote < total)
            break;
    }
    return taken;
}

static void on_written(uv_write_t *write, int status);

static void shrink(sbx_buf *buf)
{
    if (buf->size > KEPT_BUFFER_BYTES)
        sbx_buf_deinit(buf);
    sbx_buf_clear(buf);
}

static void send_pending(sbx_stream *stream)
{
    sbx_buf swapped = stream->sending;
    stream->sending = stream->pending;
    stream->pending = swapped;
    sbx_view view = sbx_buf_view(&stream->sending);
    uv_buf_t buf;
    fill_bufs(&buf, &view, 1);
    int code = uv_write(&stream->write, sbx_stream_uv(stream), &buf, 1, on_written);
    if (code == 0)
        stream->is_writing = true;
    else
        sbx_stream_set_broken(stream);
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown, (void)status;
}

static void all_written(sbx_stream *stream)
{
    if (stream->wants_shutdown)
        uv_shutdown(&stream->shutdown, sbx_stream_uv(stream), on_shutdown);
    if (stream->events->on_drained != NULL)
        stream->events->on_drained(stream->user);
}

static void after_write(sbx_stream *stream, int status)
{
    stream->is_writing = false;
    if (stream->is_closed)
        return;
    if (status < 0)
        sbx_stream_set_broken(stream);
    else if (stream->pending.len > 0)
        send_pending(stream);
    else
        all_written(stream);
}

static void on_written(uv_write_t *write, int status)
{
    sbx_stream *stream = write->handle->data;
    shrink(&stream->sending);
    after_write(stream, status);
}

/* Copies what lies behind the first `skip` bytes of the pieces. */
static sbx_err append_rest(sbx_buf *buf, const sbx_view *pieces, size_t count, size_t skip)
{
    for (size_t i = 0; i < count; i++) {
        size_t gone = skip < pieces[i].len ? skip : pieces[i].len;
        skip -= gone;
        if (sbx_buf_append_view(buf, sbx_view_skip(pieces[i], gone)) != SBX_OK)
            return SBX_E_NOMEM;
    }
    return SBX_OK;
}

sbx_err sbx_stream_write_raw(sbx_stream *stream, const sbx_view *pieces, size_t count)
{
    size_t total = sbx_view_total(pieces, count);
    if (stream->is_broken || total == 0)
        return SBX_OK;
    size_t taken = stream->is_writing ? 0 : try_pieces(stream, pieces, count);
    stream->submitted += total;
    if (stream->is_broken || taken == total)
        return SBX_OK;
    sbx_err err = append_rest(&stream->pending, pieces, count, taken);
    if (err == SBX_OK && !stream->is_writing)
        send_pending(stream);
    return err;
}

/* ---- through TLS ---- */

void sbx_stream_send_ciphertext(sbx_stream *stream)
{
    sbx_view out = sbx_tls_outgoing(stream->tls);
    if (out.len > 0 && sbx_stream_write_raw(stream, &out, 1) != SBX_OK)
        sbx_stream_set_broken(stream);
    sbx_tls_drop_outgoing(stream->tls);
}

static sbx_err write_encrypted(sbx_stream *stream, const sbx_view *pieces, size_t count)
{
    if (stream->is_broken)
        return SBX_OK;
    if (sbx_tls_write(stream->tls, pieces, count) != SBX_OK)
        sbx_stream_set_broken(stream);
    else
        sbx_stream_send_ciphertext(stream);
    return SBX_OK;
}

/* ---- for everybody ---- */

sbx_err sbx_stream_write(sbx_stream *stream, const sbx_view *pieces, size_t count)
{
    assert(stream->is_open && !stream->wants_shutdown);
    return stream->tls != NULL ? write_encrypted(stream, pieces, count)
                               : sbx_stream_write_raw(stream, pieces, count);
}

struct kept_write {
    uv_write_t write;
    uv_buf_t bufs[];
};

static void on_kept_written(uv_write_t *write, int status)
{
    sbx_stream *stream = write->handle->data;
    free(write->data);
    after_write(stream, status);
}

static sbx_err queue_kept(sbx_stream *stream, const sbx_view *pieces, size_t count, size_t skip)
{
    struct kept_write *kept = malloc(sizeof *kept + count * sizeof kept->bufs[0]);
    if (kept == NULL)
        return SBX_E_NOMEM;
    fill_bufs(kept->bufs, pieces, count);
    for (size_t i = 0; i < count && skip > 0; i++) {
        size_t gone = skip < kept->bufs[i].len ? skip : kept->bufs[i].len;
        kept->bufs[i].base += gone;
        kept->bufs[i].len -= gone;
        skip -= gone;
    }
    kept->write.data = kept;
    int code = uv_write(&kept->write, sbx_stream_uv(stream), kept->bufs, (unsigned)count, on_kept_written);
    if (code == 0) {
        stream->is_writing = true;
        return SBX_OK;
    }
    free(kept);
    sbx_stream_set_broken(stream);
    return SBX_OK;
}

sbx_err sbx_stream_write_kept(sbx_stream *stream, const sbx_view *pieces, size_t count)
{
    assert(stream->is_open && !stream->is_writing);
    if (stream->tls != NULL)
        return write_encrypted(stream, pieces, count);
    if (stream->is_broken)
        return SBX_OK;
    size_t total = sbx_view_total(pieces, count);
    size_t taken = try_pieces(stream, pieces, count);
    stream->submitted += total;
    if (stream->is_broken || taken == total)
        return SBX_OK;
    return queue_kept(stream, pieces, count, taken);
}

size_t sbx_stream_queued(const sbx_stream *stream)
{
    size_t with_uv = stream->is_writing ? stream->tcp.write_queue_size : 0;
    return with_uv + stream->pending.len;
}

uint64_t sbx_stream_sent(const sbx_stream *stream)
{
    return stream->submitted - sbx_stream_queued(stream);
}

void sbx_stream_shutdown(sbx_stream *stream)
{
    if (stream->wants_shutdown || stream->is_broken || stream->is_closed)
        return;
    if (stream->is_encrypted) {
        sbx_tls_say_end(stream->tls);
        sbx_stream_send_ciphertext(stream);
    }
    stream->wants_shutdown = true;
    if (!stream->is_writing)
        uv_shutdown(&stream->shutdown, sbx_stream_uv(stream), on_shutdown);
}
