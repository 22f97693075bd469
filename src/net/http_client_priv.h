/* The HTTP client's inside: http_client.c holds an upstream with its addresses and its pool, http_call.c a
 * call's way over a connection. */
#ifndef SBX_NET_HTTP_CLIENT_PRIV_H
#define SBX_NET_HTTP_CLIENT_PRIV_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/list.h"
#include "net/http_client.h"
#include "net/http_parse.h"
#include "net/stream.h"

enum {
    SBX_HTTP_MAX_ADDRESSES = 8
};

struct sbx_http_resolver;

struct sbx_http_upstream {
    sbx_loop *loop;
    sbx_http_upstream_options options;
    char *host;
    char *host_header;
    struct sockaddr_storage addresses[SBX_HTTP_MAX_ADDRESSES];
    size_t address_count;               /* 0: to be resolved */
    bool is_numeric;                    /* the address never changes */
    struct sbx_http_resolver *resolver; /* at work, or NULL */
    sbx_tls_context *tls;               /* NULL: plain */
    sbx_list idle;                      /* sbx_http_link.node, last used first */
    uint32_t idle_count;
    sbx_timer sweep; /* closes what idled too long */
    sbx_list calls;  /* sbx_http_call.node */
};

/* A connection to an upstream. */
typedef struct sbx_http_link {
    sbx_list_node node; /* while idle */
    sbx_http_upstream *upstream;
    sbx_stream *stream;
    sbx_http_parser *parser;
    sbx_http_call *call; /* NULL while idle, and once it is closed */
    sbx_time_ns idle_since;
    bool was_used;  /* it carried a call before the present one */
    bool has_bytes; /* of the present answer */
    bool is_broken; /* cannot be written to any more */
    bool is_closed;
    const char *problem; /* why parsing was stopped */
    sbx_task reap;
} sbx_http_link;

struct sbx_http_call {
    sbx_list_node node;
    sbx_http_upstream *upstream;
    sbx_http_call_events events;
    void *user;
    sbx_buf head;
    sbx_view *pieces; /* head, then the caller's body */
    size_t piece_count;
    sbx_http_link *link; /* NULL while resolving */
    size_t address_at;
    sbx_timer connect_timer;
    sbx_task tell_sent, tell_failed, reap;
    sbx_outcome failure;
    const char *failure_detail; /* static text */
    bool is_head_method;
    bool was_resent;
    bool is_paused;
    bool is_resolving;
    bool has_ended;
};

/* http_client.c: the pool and the addresses */

/* A usable idle connection, or NULL. */
sbx_http_link *sbx_http_pool_take(sbx_http_upstream *upstream);
/* Takes the connection; closes it or another one when the pool is full. */
void sbx_http_pool_put(sbx_http_link *link);
/* Starts resolving unless that is under way; sbx_http_call_resolved() is called for each waiting call. */
sbx_err sbx_http_upstream_resolve(sbx_http_upstream *upstream);
void sbx_http_upstream_forget_addresses(sbx_http_upstream *upstream);

/* http_call.c */
void sbx_http_link_close(sbx_http_link *link);
/* detail: NULL when there are addresses now, else why not (static text). */
void sbx_http_call_resolved(sbx_http_call *call, const char *detail);

#endif
