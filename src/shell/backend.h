/* An http worker of the configuration, its model list and its health checks. */
#ifndef SBX_SHELL_BACKEND_H
#define SBX_SHELL_BACKEND_H

#include "shell/shell_priv.h"

typedef struct sbx_backend {
    sbx_shell *shell;
    sbx_list_node node;
    char id[SBX_WORKER_ID_MAX + 1];
    sbx_peer *peer;
    sbx_arena model_memory;
    sbx_view *models;
    size_t model_count;
    bool asks_for_models; /* none are configured: the list is the backend's own, refreshed by each check */
    bool is_checking;
    uint32_t capacity, weight;
    char *health_path;
    sbx_time_ns interval_ns;
    sbx_timer timer;
} sbx_backend;

void sbx_backend_free(sbx_backend *backend); /* NULL is fine */

/* Copies the ids. SBX_E_NOMEM: the old list stays. */
sbx_err sbx_backend_set_models(sbx_backend *backend, const sbx_view *models, size_t count);

/* Tells the router what is known of the backend (workers.c). */
void sbx_backend_report(sbx_backend *backend);

sbx_timer_fn sbx_backend_on_timer; /* a check is due (health.c) */

/* Starts its health checks: the first at once, spread by jitter, then one per interval (health.c). */
void sbx_backend_watch(sbx_backend *backend);

#endif
