/* Listeners, and the server as a whole. */
#define _DEFAULT_SOURCE /* SO_REUSEPORT */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "net/http_server_priv.h"

enum {
    BACKLOG = 1024
};

typedef struct listener {
    uv_tcp_t tcp;
    sbx_list_node link;
    sbx_http_server *server;
    sbx_timer retry; /* memory was out when a connection came */
} listener;

static const sbx_time_ns retry_ns = SBX_MS(100);

sbx_err sbx_http_server_new(sbx_loop *loop, const sbx_http_server_options *options,
                            const sbx_http_handler *handler, sbx_http_server **ret_server)
{
    sbx_http_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return SBX_E_NOMEM;
    server->loop = loop;
    server->options = *options;
    server->handler = *handler;
    sbx_list_init(&server->listeners);
    sbx_list_init(&server->connections);
    *ret_server = server;
    return SBX_OK;
}

/* ---- listening ---- */

/* libuv tells of no further connection until the one that waits was taken. */
static void accept_one(listener *l)
{
    if (sbx_http_conn_accept(l->server, (uv_stream_t *)&l->tcp) == SBX_E_NOMEM)
        sbx_timer_start(&l->retry, sbx_time_add(sbx_loop_now(l->server->loop), retry_ns));
}

static void on_retry(sbx_timer *timer, void *user)
{
    (void)timer;
    accept_one(user);
}

static void on_connection(uv_stream_t *tcp, int status)
{
    if (status == 0)
        accept_one(tcp->data);
}

static void on_listener_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_listener(listener *l)
{
    sbx_list_remove(&l->link);
    sbx_timer_stop(&l->retry);
    uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
}

static int resolve(sbx_loop *loop, const char *host, uint16_t port, struct sockaddr_storage *ret_address)
{
    uv_getaddrinfo_t request;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    char service[8];
    snprintf(service, sizeof service, "%u", (unsigned)port);
    int code =
        uv_getaddrinfo(sbx_loop_uv(loop), &request, /* cb: none, so it blocks */ NULL, host, service, &hints);
    if (code != 0)
        return code;
    memcpy(ret_address, request.addrinfo->ai_addr, request.addrinfo->ai_addrlen);
    uv_freeaddrinfo(request.addrinfo);
    return 0;
}

/* libuv 1.44 has no flag for SO_REUSEPORT: the socket is made by hand. */
static int open_shared(listener *l, int family)
{
    int one = 1;
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    int code =
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0
            ? uv_translate_sys_error(errno)
            : uv_tcp_open(&l->tcp, fd);
    if (code != 0)
        close(fd);
    return code;
}

static int bind_and_listen(listener *l, const char *host, uint16_t port)
{
    struct sockaddr_storage address;
    int code = resolve(l->server->loop, host, port, &address);
    if (code == 0 && l->server->options.shares_port)
        code = open_shared(l, address.ss_family);
    if (code == 0)
        code = uv_tcp_bind(&l->tcp, (const struct sockaddr *)&address, /* flags= */ 0);
    if (code == 0)
        code = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    return code;
}

static uint16_t port_of(const listener *l)
{
    struct sockaddr_storage address;
    int len = sizeof address;
    if (uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&address, &len) != 0)
        return 0;
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

sbx_err sbx_http_server_listen(sbx_http_server *server, const char *host, uint16_t port, uint16_t *ret_port,
                               sbx_errinfo *reterr_info)
{
    listener *l = calloc(1, sizeof *l);
    if (l == NULL)
        return sbx_errinfo_set(reterr_info, SBX_E_NOMEM, 0, "out of memory");
    l->server = server;
    uv_tcp_init(sbx_loop_uv(server->loop), &l->tcp);
    l->tcp.data = l;
    sbx_timer_init(&l->retry, server->loop, on_retry, l);
    sbx_list_push_back(&server->listeners, &l->link);
    int code = bind_and_listen(l, host, port);
    if (code != 0) {
        close_listener(l);
        return sbx_errinfo_set(reterr_info, code == UV_EADDRINUSE ? SBX_E_EXISTS : SBX_E_IO, 0,
                               "cannot listen on %s port %u: %s", host, (unsigned)port, uv_strerror(code));
    }
    *ret_port = port_of(l);
    return SBX_OK;
}

/* ---- the end ---- */

static void close_listeners(sbx_http_server *server)
{
    SBX_LIST_EACH(node, &server->listeners)
    close_listener(SBX_CONTAINER_OF(node, listener, link));
}

/* Nothing of a request has arrived. */
static bool is_idle(const sbx_http_conn *conn)
{
    return (conn->phase == SBX_HTTP_IDLE || conn->phase == SBX_HTTP_HEAD) && conn->input.len == 0 &&
           !sbx_http_parser_has_begun(conn->parser);
}

void sbx_http_server_close(sbx_http_server *server)
{
    server->is_closing = true;
    close_listeners(server);
    SBX_LIST_EACH(node, &server->connections)
    {
        sbx_http_conn *conn = SBX_CONTAINER_OF(node, sbx_http_conn, link);
        if (is_idle(conn))
            sbx_http_conn_close(conn);
    }
}

uint32_t sbx_http_server_connections(const sbx_http_server *server)
{
    return server->connection_count;
}

static bool is_answering(const sbx_http_conn *conn)
{
    bool is_lingering = conn->phase == SBX_HTTP_LINGER && sbx_stream_queued(conn->stream) > 0;
    return conn->phase == SBX_HTTP_WORK || conn->phase == SBX_HTTP_FLUSH || is_lingering;
}

uint32_t sbx_http_server_answering(const sbx_http_server *server)
{
    uint32_t count = 0;
    SBX_LIST_EACH(node, &server->connections)
    count += is_answering(SBX_CONTAINER_OF(node, sbx_http_conn, link)) ? 1 : 0;
    return count;
}

sbx_http_server_counts sbx_http_server_counts_of(const sbx_http_server *server)
{
    sbx_http_server_counts counts = server->counts;
    SBX_LIST_EACH(node, &server->connections)
    counts.sent_bytes += sbx_stream_sent(SBX_CONTAINER_OF(node, sbx_http_conn, link)->stream);
    return counts;
}

void sbx_http_server_free(sbx_http_server *server)
{
    if (server == NULL)
        return;
    close_listeners(server);
    while (!sbx_list_is_empty(&server->connections))
        sbx_http_conn_leave(SBX_CONTAINER_OF(sbx_list_first(&server->connections), sbx_http_conn, link));
    free(server);
}
