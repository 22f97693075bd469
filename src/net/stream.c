/* TCP through libuv. Two buffers take turns: `sending` is with libuv, `pending` collects what is written
 * meanwhile. Closing hands the stream to libuv, whose close callback frees it. */
#include "net/stream.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/buf.h"
#include "net/loop_priv.h"

enum {
    BATCH = 16,
    KEPT_BUFFER_BYTES = 16 * 1024
};

struct sbx_stream {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;
    sbx_loop *loop;
    const sbx_stream_events *events;
    void *user;
    sbx_buf sending, pending;
    uint64_t submitted;
    sbx_task tell; /* on_broken, or on_refused when connecting failed at once */
    int refused_code;
    bool is_writing, is_open, is_paused, has_ended, is_broken, is_closed;
    bool wants_shutdown, peer_is_loopback;
    sbx_tls *tls;      /* NULL: plain */
    bool is_encrypted; /* the handshake is done */
    sbx_task take_up;  /* reads what OpenSSL still holds after a pause */
};

static sbx_err write_raw(sbx_stream *stream, const sbx_view *pieces, size_t count);
static void set_broken(sbx_stream *stream);

static uv_stream_t *uv_of(sbx_stream *stream)
{
    return (uv_stream_t *)&stream->tcp;
}

/* ---- reading ---- */

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
    uv_read_stop(uv_of(stream));
    stream->events->on_end(stream->user, err);
}

/* ---- TLS: between the socket and the callbacks ---- */

static void send_ciphertext(sbx_stream *stream)
{
    sbx_view out = sbx_tls_outgoing(stream->tls);
    if (out.len > 0 && write_raw(stream, &out, 1) != SBX_OK)
        set_broken(stream);
    sbx_tls_drop_outgoing(stream->tls);
}

static void hand_out_plaintext(void *user)
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
        send_ciphertext(stream);
}

static void shake_hands(sbx_stream *stream)
{
    sbx_tls_result result = sbx_tls_handshake(stream->tls);
    send_ciphertext(stream);
    if (result == SBX_TLS_MORE)
        return;
    if (result != SBX_TLS_DONE) {
        uv_read_stop(uv_of(stream));
        stream->events->on_refused(stream->user, SBX_E_TLS, sbx_tls_problem(stream->tls));
        return;
    }
    stream->is_encrypted = true;
    stream->events->on_open(stream->user);
}

static void receive_ciphertext(sbx_stream *stream, sbx_view bytes)
{
    if (sbx_tls_receive(stream->tls, bytes) != SBX_OK) {
        end_reading(stream, SBX_E_NOMEM);
        return;
    }
    if (!stream->is_encrypted)
        shake_hands(stream);
    if (stream->is_encrypted)
        hand_out_plaintext(stream);
}

/* ---- libuv's callbacks ---- */

/* The end of a TLS connection that the peer did not announce may be somebody else's doing: a reset. */
static void on_uv_end(sbx_stream *stream, bool is_orderly)
{
    if (stream->tls != NULL && !stream->is_encrypted) {
        uv_read_stop(uv_of(stream));
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

static void start_reading(sbx_stream *stream)
{
    if (!stream->is_open || stream->is_paused || stream->has_ended || stream->is_closed)
        return;
    uv_read_start(uv_of(stream), on_alloc, on_uv_read);
}

void sbx_stream_pause(sbx_stream *stream)
{
    stream->is_paused = true;
    if (!stream->is_closed)
        uv_read_stop(uv_of(stream));
}

void sbx_stream_resume(sbx_stream *stream)
{
    stream->is_paused = false;
    if (stream->is_encrypted && !stream->is_closed)
        sbx_loop_defer(stream->loop, &stream->take_up);
    start_reading(stream);
}

/* ---- writing ---- */

static void tell_later(void *user)
{
    sbx_stream *stream = user;
    if (stream->refused_code != 0)
        stream->events->on_refused(stream->user, SBX_E_REFUSED, uv_strerror(stream->refused_code));
    else if (stream->events->on_broken != NULL)
        stream->events->on_broken(stream->user);
}

static void set_broken(sbx_stream *stream)
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
        int wrote = total == 0 ? 0 : uv_try_write(uv_of(stream), bufs, (unsigned)batch);
        if (wrote < 0 && wrote != UV_EAGAIN)
            set_broken(stream);
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
    int code = uv_write(&stream->write, uv_of(stream), &buf, 1, on_written);
    if (code == 0)
        stream->is_writing = true;
    else
        set_broken(stream);
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown, (void)status;
}

static void all_written(sbx_stream *stream)
{
    if (stream->wants_shutdown)
        uv_shutdown(&stream->shutdown, uv_of(stream), on_shutdown);
    if (stream->events->on_drained != NULL)
        stream->events->on_drained(stream->user);
}

static void after_write(sbx_stream *stream, int status)
{
    stream->is_writing = false;
    if (stream->is_closed)
        return;
    if (status < 0)
        set_broken(stream);
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

static size_t total_of(const sbx_view *pieces, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += pieces[i].len;
    return total;
}

static sbx_err write_raw(sbx_stream *stream, const sbx_view *pieces, size_t count)
{
    size_t total = total_of(pieces, count);
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

static sbx_err write_encrypted(sbx_stream *stream, const sbx_view *pieces, size_t count)
{
    if (stream->is_broken)
        return SBX_OK;
    if (sbx_tls_write(stream->tls, pieces, count) != SBX_OK)
        set_broken(stream);
    else
        send_ciphertext(stream);
    return SBX_OK;
}

sbx_err sbx_stream_write(sbx_stream *stream, const sbx_view *pieces, size_t count)
{
    assert(stream->is_open && !stream->wants_shutdown);
    return stream->tls != NULL ? write_encrypted(stream, pieces, count) : write_raw(stream, pieces, count);
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
    int code = uv_write(&kept->write, uv_of(stream), kept->bufs, (unsigned)count, on_kept_written);
    if (code == 0) {
        stream->is_writing = true;
        return SBX_OK;
    }
    free(kept);
    set_broken(stream);
    return SBX_OK;
}

sbx_err sbx_stream_write_kept(sbx_stream *stream, const sbx_view *pieces, size_t count)
{
    assert(stream->is_open && !stream->is_writing);
    if (stream->tls != NULL)
        return write_encrypted(stream, pieces, count);
    if (stream->is_broken)
        return SBX_OK;
    size_t total = total_of(pieces, count);
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
        send_ciphertext(stream);
    }
    stream->wants_shutdown = true;
    if (!stream->is_writing)
        uv_shutdown(&stream->shutdown, uv_of(stream), on_shutdown);
}

/* ---- life ---- */

static sbx_stream *stream_new(sbx_loop *loop, const sbx_stream_events *events, void *user)
{
    sbx_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return NULL;
    stream->loop = loop;
    stream->events = events;
    stream->user = user;
    stream->tell.fn = tell_later;
    stream->tell.user = stream;
    stream->take_up = (sbx_task){.fn = hand_out_plaintext, .user = stream};
    sbx_buf_init(&stream->sending, SIZE_MAX);
    sbx_buf_init(&stream->pending, SIZE_MAX);
    uv_tcp_init(sbx_loop_uv(loop), &stream->tcp);
    stream->tcp.data = stream;
    return stream;
}

static void on_closed(uv_handle_t *handle)
{
    sbx_stream *stream = handle->data;
    sbx_buf_deinit(&stream->sending);
    sbx_buf_deinit(&stream->pending);
    sbx_tls_free(stream->tls);
    free(stream);
}

void sbx_stream_close(sbx_stream *stream)
{
    if (stream == NULL || stream->is_closed)
        return;
    stream->is_closed = true;
    sbx_loop_undefer(stream->loop, &stream->tell);
    sbx_loop_undefer(stream->loop, &stream->take_up);
    uv_close((uv_handle_t *)&stream->tcp, on_closed);
}

void sbx_stream_reset(sbx_stream *stream)
{
    /* Closing with a linger time of 0 resets. uv_tcp_close_reset() would refuse after a shutdown. */
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    uv_os_fd_t fd;
    if (!stream->is_closed && uv_fileno((uv_handle_t *)&stream->tcp, &fd) == 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    sbx_stream_close(stream);
}

static void set_open(sbx_stream *stream)
{
    stream->is_open = true;
    uv_tcp_nodelay(&stream->tcp, 1);
    start_reading(stream);
}

static void on_connected(uv_connect_t *connect, int status)
{
    sbx_stream *stream = connect->handle->data;
    if (stream->is_closed)
        return;
    if (status < 0) {
        stream->events->on_refused(stream->user, SBX_E_REFUSED, uv_strerror(status));
        return;
    }
    set_open(stream);
    if (stream->tls != NULL)
        shake_hands(stream);
    else
        stream->events->on_open(stream->user);
}

static bool is_our_fault(int code)
{
    return code == UV_EMFILE || code == UV_ENFILE || code == UV_ENOMEM || code == UV_ENOBUFS;
}

sbx_err sbx_stream_connect(sbx_loop *loop, const struct sockaddr *address, const sbx_stream_events *events,
                           void *user, sbx_stream **ret_stream)
{
    sbx_stream *stream = stream_new(loop, events, user);
    if (stream == NULL)
        return SBX_E_NOMEM;
    int code = uv_tcp_connect(&stream->connect, &stream->tcp, address, on_connected);
    if (is_our_fault(code)) {
        sbx_stream_close(stream);
        return SBX_E_IO;
    }
    if (code != 0) {
        stream->refused_code = code;
        sbx_loop_defer(loop, &stream->tell);
    }
    *ret_stream = stream;
    return SBX_OK;
}

sbx_err sbx_stream_start_tls(sbx_stream *stream, sbx_tls_context *context, const char *host)
{
    assert(!stream->is_open && stream->tls == NULL);
    return sbx_tls_new(context, host, &stream->tls);
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        return v6->sin6_addr.s6_addr[12] == 127;
    return address->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

sbx_err sbx_stream_accept(sbx_loop *loop, struct uv_stream_s *listener, const sbx_stream_events *events,
                          void *user, sbx_stream **ret_stream)
{
    sbx_stream *stream = stream_new(loop, events, user);
    if (stream == NULL)
        return SBX_E_NOMEM;
    if (uv_accept(listener, uv_of(stream)) != 0) {
        sbx_stream_close(stream);
        return SBX_E_IO;
    }
    struct sockaddr_storage address = {0};
    int len = sizeof address;
    stream->peer_is_loopback =
        uv_tcp_getpeername(&stream->tcp, (struct sockaddr *)&address, &len) == 0 && is_loopback(&address);
    set_open(stream);
    *ret_stream = stream;
    return SBX_OK;
}

bool sbx_stream_peer_is_loopback(const sbx_stream *stream)
{
    return stream->peer_is_loopback;
}
