/* Who can be reached: backends from the configuration, nats workers from their heartbeats. Peers are made
 * here and handed to the registry; their health and model lists are asked for by health.c. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "shell/backend.h"
#include "shell/probe.h"

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
    sbx_map64_init(&shell->by_peer, sbx_rng_next(&shell->rng), SIZE_MAX / 64);
    return SBX_OK;
}

void sbx_workers_deinit(sbx_shell *shell)
{
    sbx_probes_deinit(shell);
    SBX_LIST_EACH(node, &shell->backends)
    {
        sbx_backend_free(SBX_CONTAINER_OF(node, sbx_backend, node));
    }
    SBX_LIST_EACH(retired, &shell->retired)
    {
        sbx_backend_free(SBX_CONTAINER_OF(retired, sbx_backend, node));
    }
    sbx_map64_deinit(&shell->by_peer);
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
    return sbx_nats_link_new(shell->loop, options, &events, &shell->link);
}

/* ---- http ---- */

void sbx_backend_report(sbx_backend *backend)
{
    bool is_helper = backend->helper != SBX_HELPER_NONE;
    sbx_view tier = sbx_view_cstr(backend->tier);
    sbx_shell_step(backend->shell, &(sbx_event){
                                       .kind = SBX_EVENT_WORKER_SEEN,
                                       .seen =
                                           {
                                               .id = sbx_view_cstr(backend->id),
                                               .kind = SBX_WORKER_HTTP,
                                               .peer = backend->peer,
                                               .models = is_helper ? &tier : backend->models,
                                               .contexts = is_helper ? NULL : backend->contexts,
                                               .model_count = is_helper ? 1 : backend->model_count,
                                               .capacity = backend->capacity,
                                               .weight = backend->weight,
                                               .engine = SBX_ENGINE_UP,
                                               .breaker = backend->has_own_breaker ? &backend->breaker : NULL,
                                               .attempt_ns = backend->attempt_ns,
                                               .is_helper = is_helper,
                                           },
                                   });
}

static sbx_err copy_helper(sbx_backend *backend, const sbx_backend_options *options)
{
    backend->helper = options->helper;
    backend->attempt_ns = options->attempt_ns;
    backend->has_own_breaker = options->breaker != NULL;
    if (options->breaker != NULL)
        backend->breaker = *options->breaker;
    backend->tier = strndup((const char *)options->helper_tier.data, options->helper_tier.len);
    backend->url = strdup(options->url);
    return backend->tier == NULL || backend->url == NULL ? SBX_E_NOMEM : SBX_OK;
}

static sbx_err copy_options(sbx_backend *backend, const sbx_backend_options *options)
{
    backend->capacity = options->peer.max_concurrent;
    backend->weight = options->weight;
    backend->context_length = options->context_length;
    backend->interval_ns = options->health_interval_ns;
    backend->expect = options->health_expect;
    backend->rise = options->health_rise == 0 ? 1 : options->health_rise;
    backend->fall = options->health_fall == 0 ? 1 : options->health_fall;
    backend->asks_for_models = options->model_count == 0;
    if (sbx_view_to_cstr(options->id, backend->id, sizeof backend->id) != SBX_OK)
        return SBX_E_RANGE;
    backend->health_path = strdup(options->health_path);
    if (backend->health_path == NULL)
        return SBX_E_NOMEM;
    sbx_err err = options->helper == SBX_HELPER_NONE ? SBX_OK : copy_helper(backend, options);
    if (err != SBX_OK)
        return err;
    return sbx_backend_set_models(backend, options->models, /* contexts: */ NULL, options->model_count);
}

static uint64_t key_of(const sbx_peer *peer)
{
    return (uint64_t)(uintptr_t)peer;
}

sbx_backend *sbx_backend_find(const sbx_shell *shell, sbx_view id)
{
    SBX_LIST_EACH(node, &shell->backends)
    {
        sbx_backend *backend = SBX_CONTAINER_OF(node, sbx_backend, node);
        if (sbx_view_eq_cstr(id, backend->id))
            return backend;
    }
    return NULL;
}

static void tell(sbx_backend *backend, sbx_event event)
{
    sbx_shell *shell = backend->shell;
    const sbx_worker *worker =
        sbx_registry_find(sbx_router_registry(shell->router), sbx_view_cstr(backend->id));
    if (worker == NULL)
        return;
    sbx_worker_ref ref = sbx_worker_describe(worker, sbx_shell_now(shell)).ref;
    if (event.kind == SBX_EVENT_WORKER_ADMIN)
        event.admin.worker = ref;
    else
        event.health.worker = ref;
    sbx_shell_step(shell, &event);
}

/* Fresh, whatever was known under this id: its breaker above all. */
static void start_afresh(sbx_backend *backend)
{
    tell(backend, (sbx_event){.kind = SBX_EVENT_WORKER_ADMIN, .admin = {.command = SBX_COMMAND_RESET}});
    tell(backend, (sbx_event){.kind = SBX_EVENT_WORKER_ADMIN, .admin = {.command = SBX_COMMAND_UNDRAIN}});
    tell(backend, (sbx_event){.kind = SBX_EVENT_WORKER_HEALTH, .health = {.good = true}});
}

static sbx_err add_backend(sbx_shell *shell, const sbx_backend_options *options)
{
    sbx_backend *backend = calloc(1, sizeof *backend);
    if (backend == NULL)
        return SBX_E_NOMEM;
    backend->shell = shell;
    backend->is_wanted = true;
    backend->fingerprint = sbx_backend_fingerprint(shell, options);
    sbx_timer_init(&backend->timer, shell->loop, sbx_backend_on_timer, backend);
    sbx_err err = copy_options(backend, options);
    if (err == SBX_OK)
        err = sbx_http_peer_new(shell->loop, &options->peer, &backend->peer);
    if (err == SBX_OK)
        err = sbx_map64_put(&shell->by_peer, key_of(backend->peer), backend);
    if (err != SBX_OK) {
        sbx_backend_free(backend);
        return err;
    }
    backend->peer->asks_for_usage = options->asks_for_usage;
    sbx_list_push_back(&shell->backends, &backend->node);
    sbx_backend_report(backend);
    if (shell->is_updating)
        start_afresh(backend);
    sbx_backend_watch(backend);
    return SBX_OK;
}

sbx_err sbx_shell_add_backend(sbx_shell *shell, const sbx_backend_options *options)
{
    sbx_backend *old = shell->is_updating ? sbx_backend_find(shell, options->id) : NULL;
    if (old != NULL && old->fingerprint == sbx_backend_fingerprint(shell, options)) {
        old->is_wanted = true;
        shell->update.kept++;
        return SBX_OK;
    }
    sbx_err err = add_backend(shell, options);
    if (err != SBX_OK)
        return err;
    shell->update.changed += old != NULL;
    shell->update.added += old == NULL;
    if (old != NULL)
        sbx_backend_retire(old);
    return SBX_OK;
}

/* ---- what is seen of them ---- */

sbx_backend *sbx_backend_of(const sbx_shell *shell, const sbx_peer *peer)
{
    return sbx_map64_get(&shell->by_peer, key_of(peer));
}

void sbx_backend_take_end(sbx_backend *backend, sbx_outcome outcome, sbx_time_ns took, const char *why)
{
    switch ((int)outcome) {
    case SBX_OUTCOME_OK: {
        uint64_t us = (uint64_t)took / 1000;
        uint32_t place = backend->latency_count++ % SBX_BACKEND_LATENCIES;
        backend->latencies_us[place] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
        return;
    }
    case SBX_OUTCOME_CLIENT_ERROR:
    case SBX_OUTCOME_CANCELLED:
    case SBX_OUTCOME_LOCAL:
        return; /* says nothing of it */
    default:
        snprintf(backend->last_error, sizeof backend->last_error, "%s%s%s", sbx_outcome_text(outcome),
                 why == NULL ? "" : ": ", why == NULL ? "" : why);
    }
}

static int by_size(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void measure(const sbx_backend *backend, sbx_backend_facts *facts)
{
    uint32_t sorted[SBX_BACKEND_LATENCIES];
    uint32_t count =
        backend->latency_count < SBX_BACKEND_LATENCIES ? backend->latency_count : SBX_BACKEND_LATENCIES;
    facts->latency_count = count;
    if (count == 0)
        return;
    uint64_t sum = 0;
    memcpy(sorted, backend->latencies_us, count * sizeof sorted[0]);
    for (uint32_t i = 0; i < count; i++)
        sum += sorted[i];
    qsort(sorted, count, sizeof sorted[0], by_size);
    facts->latency_avg = (sbx_time_ns)(sum / count) * 1000;
    facts->latency_p95 = (sbx_time_ns)sorted[(count * 95 + 99) / 100 - 1] * 1000;
}

bool sbx_shell_backend_facts(const sbx_shell *shell, sbx_view id, sbx_backend_facts *ret_facts)
{
    SBX_LIST_EACH(node, &shell->backends)
    {
        const sbx_backend *backend = SBX_CONTAINER_OF(node, sbx_backend, node);
        if (!sbx_view_eq_cstr(id, backend->id))
            continue;
        *ret_facts = (sbx_backend_facts){.is_checked = backend->is_checked,
                                         .checked_at = backend->checked_at,
                                         .last_error = backend->last_error};
        measure(backend, ret_facts);
        return true;
    }
    return false;
}
