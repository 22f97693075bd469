/* A stream's life: connecting or accepted, open, closed. Closing hands it to libuv, whose close callback
 * frees it. */
#include "net/stream.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "net/stream_priv.h"

static void tell_later(void *user)
{
    sbx_stream *stream = user;
    if (stream->refused_code != 0)
        stream->events->on_refused(stream->user, SBX_E_REFUSED, uv_strerror(stream->refused_code));
    else if (stream->events->on_broken != NULL)
        stream->events->on_broken(stream->user);
}

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
    stream->take_up = (sbx_task){.fn = sbx_stream_hand_out_plaintext, .user = stream};
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
    sbx_stream_start_reading(stream);
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
        sbx_stream_shake_hands(stream);
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
    if (uv_accept(listener, sbx_stream_uv(stream)) != 0) {
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
