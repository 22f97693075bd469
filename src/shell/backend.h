/* An http worker of the configuration: a backend or a helper endpoint; its model list, its health checks, and
 * what its answers tell of it beside what the core counts. */
#ifndef SBX_SHELL_BACKEND_H
#define SBX_SHELL_BACKEND_H

#include "shell/shell_priv.h"

enum {
    SBX_BACKEND_ERROR_MAX = 160,
    SBX_BACKEND_LATENCIES = 256 /* the newest so many good answers */
};

typedef struct sbx_backend {
    sbx_shell *shell;
    sbx_list_node node;
    char id[SBX_WORKER_ID_MAX + 1];
    sbx_peer *peer;
    uint64_t fingerprint; /* of its options */
    bool is_wanted;       /* by the configuration being taken over */
    bool is_retired;
    sbx_arena model_memory;
    sbx_view *models;
    uint64_t *contexts; /* of each */
    size_t model_count;
    bool asks_for_models; /* none are configured: the list is the backend's own, refreshed by each check */
    uint32_t capacity, weight;
    uint64_t context_length; /* as configured; 0: not */

    /* helper endpoints */
    sbx_helper_role helper;
    char *url;  /* as configured, for messages */
    char *tier; /* the hidden id it claims instead of its models */
    sbx_time_ns attempt_ns;
    bool has_own_breaker;
    sbx_breaker_policy breaker;

    /* health */
    char *health_path;
    sbx_health_expect expect;
    uint32_t rise, fall; /* at least 1 */
    sbx_time_ns interval_ns;
    sbx_timer timer;
    sbx_time_ns checked_at;
    bool is_checked, is_well;
    uint32_t goods, bads; /* in a row */

    /* what was seen */
    char last_error[SBX_BACKEND_ERROR_MAX];
    uint32_t latency_count; /* ever */
    uint32_t latencies_us[SBX_BACKEND_LATENCIES];
} sbx_backend;

void sbx_backend_free(sbx_backend *backend); /* NULL is fine */

/* By its id; NULL: none (workers.c). */
sbx_backend *sbx_backend_find(const sbx_shell *shell, sbx_view id);

/* Equal for equal options (update.c). */
uint64_t sbx_backend_fingerprint(const sbx_shell *shell, const sbx_backend_options *options);

/* No new work for it; freed when what runs there is over (update.c). */
void sbx_backend_retire(sbx_backend *backend);
sbx_timer_fn sbx_backend_on_retire_timer;

/* Copies the ids. contexts: NULL, or one for each. SBX_E_NOMEM: the old list stays. */
sbx_err sbx_backend_set_models(sbx_backend *backend, const sbx_view *models, const uint64_t *contexts,
                               size_t count);

/* Tells the router what is known of the backend (workers.c). */
void sbx_backend_report(sbx_backend *backend);

/* One of ours, by its peer; NULL: a nats worker (workers.c). */
sbx_backend *sbx_backend_of(const sbx_shell *shell, const sbx_peer *peer);

/* An attempt ended (workers.c). why: what the transport saw, or NULL. */
void sbx_backend_take_end(sbx_backend *backend, sbx_outcome outcome, sbx_time_ns took, const char *why);

sbx_timer_fn sbx_backend_on_timer; /* a check is due (health.c) */

/* Starts its health checks: the first at once, spread by jitter, then one per interval (health.c). */
void sbx_backend_watch(sbx_backend *backend);

/* The next check is due now, unless one is under way (health.c). */
void sbx_backend_check_soon(sbx_backend *backend);

#endif
