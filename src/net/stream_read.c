/* Reading: from the socket straight to the callback, or through OpenSSL. */
#include "net/loop_priv.h"
#include "net/stream_priv.h"

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    (void)suggested;
    sbx_stream *stream = handle->data;
    *ret_buf = uv_buf_init((char *)sbx_loop_read_buffer(stream->loop), SBX_LOOP_READ_SIZE);
}

static void end_reading(sbx_stream *stream, sbx_err err)
{
    if (stream->has_ended)
        return;
    stream->has_ended = true;
    uv_read_stop(sbx_stream_uv(stream));
    stream->events->on_end(stream->user, err);
}

/* ---- TLS: between the socket and the callbacks ---- */

void sbx_stream_hand_out_plaintext(void *user)
{
    sbx_stream *stream = user;
    uint8_t *buffer = sbx_loop_read_buffer(stream->loop); /* free again: the ciphertext went into the BIO */
    while (!stream->is_closed && !stream->is_paused && !stream->has_ended) {
        size_t len = 0;
        sbx_tls_result result = sbx_tls_read(stream->tls, buffer, SBX_LOOP_READ_SIZE, &len);
        if (result == SBX_TLS_MORE)
            break;
        if (result == SBX_TLS_DONE)
            stream->events->on_read(stream->user, sbx_view_of(buffer, len));
        else
            end_reading(stream, result == SBX_TLS_END ? SBX_OK : SBX_E_RESET);
    }
    if (!stream->is_closed)
        sbx_stream_send_ciphertext(stream);
}

void sbx_stream_shake_hands(sbx_stream *stream)
{
    sbx_tls_result result = sbx_tls_handshake(stream->tls);
    sbx_stream_send_ciphertext(stream);
    if (result == SBX_TLS_MORE)
        return;
    if (result != SBX_TLS_DONE) {
        uv_read_stop(sbx_stream_uv(stream));
        stream->events->on_refused(stream->user, SBX_E_TLS, sbx_tls_problem(stream->tls));
        return;
    }
    stream->is_encrypted = true;
    if (stream->is_paused)
        uv_read_stop(sbx_stream_uv(stream));
    stream->events->on_open(stream->user);
}

static void receive_ciphertext(sbx_stream *stream, sbx_view bytes)
{
    if (sbx_tls_receive(stream->tls, bytes) != SBX_OK) {
        end_reading(stream, SBX_E_NOMEM);
        return;
    }
    if (!stream->is_encrypted)
        sbx_stream_shake_hands(stream);
    if (stream->is_encrypted)
        sbx_stream_hand_out_plaintext(stream);
}

/* ---- libuv's callbacks ---- */

/* The end of a TLS connection that the peer did not announce may be somebody else's doing: a reset. */
static void on_uv_end(sbx_stream *stream, bool is_orderly)
{
    if (stream->tls != NULL && !stream->is_encrypted) {
        uv_read_stop(sbx_stream_uv(stream));
        stream->events->on_refused(stream->user, SBX_E_TLS, "the connection ended inside the TLS handshake");
        return;
    }
    end_reading(stream, is_orderly && stream->tls == NULL ? SBX_OK : SBX_E_RESET);
}

static void on_uv_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buf)
{
    sbx_stream *stream = handle->data;
    if (count < 0)
        on_uv_end(stream, count == UV_EOF);
    else if (count > 0 && stream->tls != NULL)
        receive_ciphertext(stream, sbx_view_of(buf->base, (size_t)count));
    else if (count > 0)
        stream->events->on_read(stream->user, sbx_view_of(buf->base, (size_t)count));
}

/* Paused, once there is something to pause: a handshake goes on. */
static bool is_held(const sbx_stream *stream)
{
    return stream->is_paused && (stream->tls == NULL || stream->is_encrypted);
}

void sbx_stream_start_reading(sbx_stream *stream)
{
    if (!stream->is_open || is_held(stream) || stream->has_ended || stream->is_closed)
        return;
    uv_read_start(sbx_stream_uv(stream), on_alloc, on_uv_read);
}

void sbx_stream_pause(sbx_stream *stream)
{
    stream->is_paused = true;
    if (is_held(stream) && !stream->is_closed)
        uv_read_stop(sbx_stream_uv(stream));
}

void sbx_stream_resume(sbx_stream *stream)
{
    if (!stream->is_paused)
        return;
    stream->is_paused = false;
    if (stream->is_encrypted && !stream->is_closed)
        sbx_loop_defer(stream->loop, &stream->take_up);
    sbx_stream_start_reading(stream);
}
