/* Who can be reached: backends from the configuration, nats workers from their heartbeats. Peers are made
 * here and handed to the registry; their health and model lists are asked for by health.c. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "shell/backend.h"

/* A worker that registered over the bus. It is kept while the process lives: a worker that left may come
 * back, and calls at work refer to its peer. Their number is capped by the registry's own cap. */
typedef struct nats_worker {
    char id[SBX_WORKER_ID_MAX + 1];
    sbx_peer *peer;
} nats_worker;

sbx_err sbx_workers_init(sbx_shell *shell)
{
    sbx_siphash_key seed = {.k0 = sbx_rng_next(&shell->rng), .k1 = sbx_rng_next(&shell->rng)};
    sbx_map_init(&shell->nats_workers, seed, shell->options.policy.max_workers);
    return SBX_OK;
}

void sbx_workers_deinit(sbx_shell *shell)
{
    sbx_idle_probe_free(shell->idle_probe);
    SBX_LIST_EACH(node, &shell->backends)
    {
        sbx_backend_free(SBX_CONTAINER_OF(node, sbx_backend, node));
    }
    size_t position = 0;
    void *value = NULL;
    while (sbx_map_next(&shell->nats_workers, &position, NULL, &value)) {
        nats_worker *worker = value;
        worker->peer->kind->free_peer(worker->peer);
        free(worker);
    }
    sbx_map_deinit(&shell->nats_workers);
    sbx_nats_link_free(shell->link);
}

/* ---- nats ---- */

static sbx_err worker_of(sbx_shell *shell, sbx_view id, nats_worker **ret_worker)
{
    nats_worker *worker = sbx_map_get(&shell->nats_workers, id);
    if (worker != NULL) {
        *ret_worker = worker;
        return SBX_OK;
    }
    worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return SBX_E_NOMEM;
    sbx_err err = sbx_view_to_cstr(id, worker->id, sizeof worker->id);
    if (err == SBX_OK)
        err = sbx_nats_peer_new(shell->link, id, &worker->peer);
    if (err == SBX_OK)
        err = sbx_map_put(&shell->nats_workers, sbx_view_cstr(worker->id), worker);
    if (err != SBX_OK) {
        if (worker->peer != NULL)
            worker->peer->kind->free_peer(worker->peer);
        free(worker);
        return err;
    }
    *ret_worker = worker;
    return SBX_OK;
}

static sbx_engine_state engine_state_of(const sbx_bus_worker *worker)
{
    switch (worker->engine_state) {
    case SBX_BUS_ENGINE_UP:
        return SBX_ENGINE_UP;
    case SBX_BUS_ENGINE_LOADING:
        return SBX_ENGINE_LOADING;
    case SBX_BUS_ENGINE_DOWN:
        return SBX_ENGINE_DOWN;
    }
    return SBX_ENGINE_DOWN;
}

/* The configuration's word stands: nobody takes a backend's place over the bus. */
static bool is_name_of_backend(const sbx_shell *shell, sbx_view id)
{
    const sbx_worker *worker = sbx_registry_find(sbx_router_registry(shell->router), id);
    return worker != NULL && sbx_worker_describe(worker, sbx_shell_now(shell)).kind == SBX_WORKER_HTTP;
}

static void on_worker(void *user, const sbx_bus_worker *message)
{
    sbx_shell *shell = user;
    nats_worker *worker = NULL;
    sbx_err err = is_name_of_backend(shell, message->worker_id)
                      ? SBX_E_EXISTS
                      : worker_of(shell, message->worker_id, &worker);
    if (err != SBX_OK) {
        sbx_log(worker_refused, .worker = message->worker_id, .why = sbx_err_text(err));
        return;
    }
    worker->peer->asks_for_usage = message->stream_usage == SBX_BUS_USAGE_ON;
    sbx_shell_step(shell, &(sbx_event){
                              .kind = SBX_EVENT_WORKER_SEEN,
                              .seen =
                                  {
                                      .id = message->worker_id,
                                      .kind = SBX_WORKER_NATS,
                                      .boot_id = message->boot_id,
                                      .peer = worker->peer,
                                      .models = message->models,
                                      .model_count = message->model_count,
                                      .capacity = message->max_concurrent,
                                      .weight = 100,
                                      .engine = engine_state_of(message),
                                      .draining = message->draining,
                                  },
                          });
}

static void on_worker_left(void *user, sbx_view id)
{
    sbx_shell *shell = user;
    const sbx_worker *worker = sbx_registry_find(sbx_router_registry(shell->router), id);
    if (worker == NULL)
        return;
    sbx_worker_info info = sbx_worker_describe(worker, sbx_shell_now(shell));
    sbx_shell_step(shell, &(sbx_event){.kind = SBX_EVENT_WORKER_GONE, .worker = info.ref});
}

static void on_bus(void *user, bool is_up)
{
    sbx_shell *shell = user;
    if (shell->bus_is_up == is_up)
        return;
    shell->bus_is_up = is_up;
    if (is_up) {
        sbx_log(bus_up, .workers = shell->nats_workers.count);
    } else {
        sbx_log(bus_down, .workers = shell->nats_workers.count);
        sbx_shell_step(shell, &(sbx_event){.kind = SBX_EVENT_BUS_DOWN});
    }
}

sbx_err sbx_shell_join_bus(sbx_shell *shell, const sbx_nats_link_options *options)
{
    assert(shell->link == NULL);
    static const sbx_nats_link_events template = {
        .on_up = on_bus,
        .on_worker = on_worker,
        .on_worker_left = on_worker_left,
    };
    sbx_nats_link_events events = template;
    events.user = shell;
    sbx_err err = sbx_idle_probe_new(shell, &shell->idle_probe);
    if (err != SBX_OK)
        return err;
    return sbx_nats_link_new(shell->loop, options, &events, &shell->link);
}

/* ---- http ---- */

void sbx_backend_report(sbx_backend *backend)
{
    sbx_shell_step(backend->shell, &(sbx_event){
                                       .kind = SBX_EVENT_WORKER_SEEN,
                                       .seen =
                                           {
                                               .id = sbx_view_cstr(backend->id),
                                               .kind = SBX_WORKER_HTTP,
                                               .peer = backend->peer,
                                               .models = backend->models,
                                               .model_count = backend->model_count,
                                               .capacity = backend->capacity,
                                               .weight = backend->weight,
                                               .engine = SBX_ENGINE_UP,
                                           },
                                   });
}

static sbx_err copy_options(sbx_backend *backend, const sbx_backend_options *options)
{
    backend->capacity = options->peer.max_concurrent;
    backend->weight = options->weight;
    backend->interval_ns = options->health_interval_ns;
    backend->asks_for_models = options->model_count == 0;
    if (sbx_view_to_cstr(options->id, backend->id, sizeof backend->id) != SBX_OK)
        return SBX_E_RANGE;
    backend->health_path = strdup(options->health_path);
    if (backend->health_path == NULL)
        return SBX_E_NOMEM;
    return sbx_backend_set_models(backend, options->models, options->model_count);
}

sbx_err sbx_shell_add_backend(sbx_shell *shell, const sbx_backend_options *options)
{
    sbx_backend *backend = calloc(1, sizeof *backend);
    if (backend == NULL)
        return SBX_E_NOMEM;
    backend->shell = shell;
    sbx_timer_init(&backend->timer, shell->loop, sbx_backend_on_timer, backend);
    sbx_err err = copy_options(backend, options);
    if (err == SBX_OK)
        err = sbx_http_peer_new(shell->loop, &options->peer, &backend->peer);
    if (err != SBX_OK) {
        sbx_backend_free(backend);
        return err;
    }
    backend->peer->asks_for_usage = options->asks_for_usage;
    sbx_list_push_back(&shell->backends, &backend->node);
    sbx_backend_report(backend);
    sbx_backend_watch(backend);
    return SBX_OK;
}
