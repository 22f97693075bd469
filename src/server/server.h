/* The server: listeners, the table of routes, and the pages behind them. Inference requests become jobs of
 * the shell; everything else is answered at once from what the router's registry says.
 *
 * Reading order: routes.def, server.c (life and dispatch), reply.h, inference.c, then one file per group of
 * pages. Threads: one server belongs to one loop. */
#ifndef SBX_SERVER_SERVER_H
#define SBX_SERVER_SERVER_H

#include "config/config.h"
#include "net/http_server.h"
#include "shell/shell.h"

typedef struct sbx_server sbx_server;

/* The policy that is in force with this preset (NULL: none); what it points to lives in the arena.
 * SBX_E_NOMEM.
 */
typedef sbx_err sbx_server_policy_fn(const sbx_config *config, const char *preset, sbx_arena *arena,
                                     sbx_policy *ret_policy);

typedef struct sbx_server_options {
    sbx_http_server_options http;
    const sbx_config *config; /* kept: what the stack's pages show */
    sbx_server_policy_fn *make_policy;
    const char *active_preset;     /* kept; NULL: none */
    sbx_err (*reload)(void *user); /* reads the configuration anew; NULL: that cannot be done */
    void *reload_user;
    const char *state_path;             /* where the active preset is kept; NULL: nowhere */
    const char *controller_id;          /* kept */
    const char *admin_key;              /* kept; NULL: admin is open to loopback peers only */
    const char *const *allowed_origins; /* CORS; kept */
    size_t allowed_origin_count;
    sbx_time_ns drain_grace_ns; /* between readiness 503 and the end of admissions */
    sbx_time_ns drain_timeout_ns;
    uint64_t seed; /* of request ids */
} sbx_server_options;

sbx_err sbx_server_new(sbx_loop *loop, sbx_shell *shell, const sbx_server_options *options,
                       sbx_server **ret_server);
/* A new configuration is in force: config, admin_key and allowed_origins are taken over, and kept. The active
 * preset stays, when the new one has it. Returns its name in the new one; NULL: none. */
const char *sbx_server_preset_after(const sbx_server *server, const sbx_config *config);
void sbx_server_use_config(sbx_server *server, const sbx_server_options *options);

/* With sbx_server_listen_admin the pages under /admin are there alone. */
sbx_err sbx_server_listen(sbx_server *server, const char *host, uint16_t port, uint16_t *ret_port,
                          sbx_errinfo *reterr_info);

sbx_err sbx_server_listen_admin(sbx_server *server, const char *host, uint16_t port, uint16_t *ret_port,
                                sbx_errinfo *reterr_info);

/* Readiness turns 503 at once, admissions end after the grace, running requests finish until the timeout;
 * then done is called with whether nothing admitted was cut. A second call ends everything now. */
typedef void sbx_server_drained_fn(void *user, bool nothing_was_cut);
void sbx_server_drain(sbx_server *server, sbx_server_drained_fn *done, void *user);
bool sbx_server_is_draining(const sbx_server *server);

void sbx_server_free(sbx_server *server); /* cuts what is left; NULL is fine */

#endif
