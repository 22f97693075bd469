/* What the server's own files share. Never included from another layer. */
#ifndef SBX_SERVER_SERVER_PRIV_H
#define SBX_SERVER_SERVER_PRIV_H

#include "base/id.h"
#include "base/list.h"
#include "base/rng.h"
#include "base/siphash.h"
#include "net/file_writer.h"
#include "server/server.h"

/* What the http server is told to hand back: which of the two listeners a request came by. */
typedef struct sbx_door {
    sbx_server *server;
    bool is_admin;
} sbx_door;

/* Whoever answers later than at once is the request's user, with this first. */
typedef struct sbx_exchange {
    void (*on_gone)(void *user);    /* the client left */
    void (*on_drained)(void *user); /* its socket took everything that was queued */
} sbx_exchange;

struct sbx_server {
    sbx_loop *loop;
    sbx_shell *shell;
    sbx_http_server *http;
    sbx_http_server *admin_http; /* NULL: /admin is on the public listener */
    sbx_door public_door, admin_door;
    sbx_server_options options;
    sbx_rng rng;
    sbx_siphash_key hash_key; /* of API keys, sessions and bodies, before the core sees them */
    sbx_time_ns started_at;
    int64_t started_unix; /* seconds; `created` of model objects */
    sbx_buf scratch;      /* the body of the answer being written */
    const char *active_preset;
    sbx_file_writer *state_writer; /* NULL: the active preset is not kept */
    sbx_list activations;          /* being written (stack_presets.c) */
    uint64_t cut;                  /* admitted requests that were cut by a drain */

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

/* Whether the request may see /admin; answers by itself when it may not (admin.c). */
bool sbx_admin_may_pass(sbx_server *server, sbx_http_request *request);
void sbx_admin_reply_ok(sbx_server *server, sbx_http_request *request);

void sbx_activations_drop(sbx_server *server); /* stack_presets.c */

#endif
