/* What the server's own files share. Never included from another layer. */
#ifndef SBX_SERVER_SERVER_PRIV_H
#define SBX_SERVER_SERVER_PRIV_H

#include "base/id.h"
#include "base/list.h"
#include "base/rng.h"
#include "base/siphash.h"
#include "server/server.h"

struct sbx_server {
    sbx_loop *loop;
    sbx_shell *shell;
    sbx_http_server *http;
    sbx_server_options options;
    sbx_rng rng;
    sbx_siphash_key hash_key; /* of API keys, sessions and bodies, before the core sees them */
    sbx_time_ns started_at;
    int64_t started_unix; /* seconds; `created` of model objects */
    sbx_buf scratch;      /* the body of the answer being written */
    uint64_t cut;         /* admitted requests that were cut by a drain */

    /* draining */
    bool is_draining;
    bool is_closed; /* admissions ended */
    sbx_timer drain_timer;
    sbx_time_ns drain_end;
    sbx_server_drained_fn *on_drained;
    void *drained_user;
};

typedef void sbx_page_fn(sbx_server *server, sbx_http_request *request, sbx_view rest);

#define SBX_ROUTE(method, path, handler) sbx_page_fn handler;
#include "server/routes.def"
#undef SBX_ROUTE

/* The client of an inference request left, or its socket took everything that was queued (inference.c). */
void sbx_inference_on_gone(void *user);
void sbx_inference_on_drained(void *user);

#endif
