/* An upstream: its addresses, resolved off the loop and kept until a connect fails, and its idle connections,
 * of which the last used one is taken first, so that a quiet pool shrinks. */
#include "net/http_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "net/http_client_priv.h"

/* ---- addresses ---- */

typedef struct sbx_http_resolver {
    uv_getaddrinfo_t request;
    sbx_http_upstream *upstream; /* NULL once that is gone */
} resolver;

static void keep_addresses(sbx_http_upstream *upstream, const struct addrinfo *found)
{
    upstream->address_count = 0;
    for (; found != NULL && upstream->address_count < SBX_HTTP_MAX_ADDRESSES; found = found->ai_next) {
        if (found->ai_family == AF_INET || found->ai_family == AF_INET6)
            memcpy(&upstream->addresses[upstream->address_count++], found->ai_addr, found->ai_addrlen);
    }
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    resolver *r = request->data;
    sbx_http_upstream *upstream = r->upstream;
    if (upstream != NULL) {
        upstream->resolver = NULL;
        keep_addresses(upstream, status == 0 ? found : NULL);
        const char *detail = upstream->address_count > 0 ? NULL
                             : status == 0               ? "no address"
                                                         : uv_strerror(status);
        SBX_LIST_EACH(node, &upstream->calls)
        sbx_http_call_resolved(SBX_CONTAINER_OF(node, sbx_http_call, node), detail);
    }
    uv_freeaddrinfo(found);
    free(r);
}

sbx_err sbx_http_upstream_resolve(sbx_http_upstream *upstream)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    if (upstream->resolver != NULL)
        return SBX_OK;
    resolver *r = calloc(1, sizeof *r);
    if (r == NULL)
        return SBX_E_NOMEM;
    char service[8];
    snprintf(service, sizeof service, "%u", (unsigned)upstream->options.port);
    r->upstream = upstream;
    r->request.data = r;
    int code = uv_getaddrinfo(sbx_loop_uv(upstream->loop), &r->request, on_resolved, upstream->host, service,
                              &hints);
    if (code != 0) {
        free(r);
        return SBX_E_NOMEM;
    }
    upstream->resolver = r;
    return SBX_OK;
}

void sbx_http_upstream_forget_addresses(sbx_http_upstream *upstream)
{
    if (!upstream->is_numeric)
        upstream->address_count = 0;
}

static void try_numeric(sbx_http_upstream *upstream)
{
    int port = upstream->options.port;
    upstream->is_numeric =
        uv_ip4_addr(upstream->host, port, (struct sockaddr_in *)&upstream->addresses[0]) == 0 ||
        uv_ip6_addr(upstream->host, port, (struct sockaddr_in6 *)&upstream->addresses[0]) == 0;
    upstream->address_count = upstream->is_numeric ? 1 : 0;
}

/* ---- the pool ---- */

static void drop(sbx_http_upstream *upstream, sbx_http_link *link)
{
    sbx_list_remove(&link->node);
    upstream->idle_count--;
    sbx_http_link_close(link);
}

static sbx_http_link *link_of(sbx_list_node *node)
{
    return node == NULL ? NULL : SBX_CONTAINER_OF(node, sbx_http_link, node);
}

static sbx_time_ns expiry_of(const sbx_http_link *link)
{
    return sbx_time_add(link->idle_since, link->upstream->options.idle_timeout_ns);
}

static void on_sweep(sbx_timer *timer, void *user)
{
    sbx_http_upstream *upstream = user;
    sbx_time_ns now = sbx_loop_now(upstream->loop);
    sbx_http_link *oldest = link_of(sbx_list_last(&upstream->idle));
    while (oldest != NULL && expiry_of(oldest) <= now) {
        drop(upstream, oldest);
        oldest = link_of(sbx_list_last(&upstream->idle));
    }
    if (oldest != NULL)
        sbx_timer_start(timer, expiry_of(oldest));
}

sbx_http_link *sbx_http_pool_take(sbx_http_upstream *upstream)
{
    sbx_http_link *link = link_of(sbx_list_first(&upstream->idle));
    if (link == NULL || expiry_of(link) <= sbx_loop_now(upstream->loop))
        return NULL; /* the newest is too old: all are, and the sweep comes for them */
    sbx_list_remove(&link->node);
    upstream->idle_count--;
    return link;
}

void sbx_http_pool_put(sbx_http_link *link)
{
    sbx_http_upstream *upstream = link->upstream;
    link->idle_since = sbx_loop_now(upstream->loop);
    sbx_list_push_front(&upstream->idle, &link->node);
    upstream->idle_count++;
    if (upstream->idle_count > upstream->options.max_idle)
        drop(upstream, link_of(sbx_list_last(&upstream->idle)));
    if (upstream->idle_count == 1)
        sbx_timer_start(&upstream->sweep, expiry_of(link_of(sbx_list_last(&upstream->idle))));
}

/* ---- life ---- */

static char *host_header_of(const sbx_http_upstream_options *options)
{
    bool is_v6 = strchr(options->host, ':') != NULL;
    bool is_default = options->port == (options->tls ? 443 : 80);
    size_t size = strlen(options->host) + 10;
    char *text = malloc(size);
    if (text == NULL)
        return NULL;
    int len = snprintf(text, size, is_v6 ? "[%s]" : "%s", options->host);
    if (!is_default)
        snprintf(text + len, size - (size_t)len, ":%u", (unsigned)options->port);
    return text;
}

sbx_err sbx_http_upstream_new(sbx_loop *loop, const sbx_http_upstream_options *options,
                              sbx_http_upstream **ret_upstream)
{
    sbx_http_upstream *upstream = calloc(1, sizeof *upstream);
    if (upstream == NULL)
        return SBX_E_NOMEM;
    upstream->loop = loop;
    upstream->options = *options;
    upstream->host = strdup(options->host);
    upstream->host_header = host_header_of(options);
    upstream->options.host = NULL; /* the caller's, not kept */
    upstream->options.ca_file = NULL;
    sbx_list_init(&upstream->idle);
    sbx_list_init(&upstream->calls);
    sbx_timer_init(&upstream->sweep, loop, on_sweep, upstream);
    sbx_err err = upstream->host == NULL || upstream->host_header == NULL ? SBX_E_NOMEM : SBX_OK;
    if (err == SBX_OK && options->tls)
        err = sbx_tls_context_new(options->ca_file, &upstream->tls);
    if (err != SBX_OK) {
        sbx_http_upstream_free(upstream);
        return err;
    }
    try_numeric(upstream);
    *ret_upstream = upstream;
    return SBX_OK;
}

void sbx_http_upstream_free(sbx_http_upstream *upstream)
{
    if (upstream == NULL)
        return;
    SBX_LIST_EACH(node, &upstream->calls)
    sbx_http_call_cancel(SBX_CONTAINER_OF(node, sbx_http_call, node));
    SBX_LIST_EACH(node, &upstream->idle)
    drop(upstream, link_of(node));
    sbx_timer_stop(&upstream->sweep);
    if (upstream->resolver != NULL) {
        upstream->resolver->upstream = NULL;
        uv_cancel((uv_req_t *)&upstream->resolver->request);
    }
    sbx_tls_context_free(upstream->tls); /* closing streams hold their own reference */
    free(upstream->host);
    free(upstream->host_header);
    free(upstream);
}
