/* Health checks of backends: /health (or the configured path) answering 2xx, else /v1/models listing a model.
 * A backend without configured models is asked for its list, which is a health check too. What a check means
 * for the breaker is the core's business. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "codec/openai_response.h"
#include "shell/backend.h"

#define CHECK_TIMEOUT SBX_SEC(3)
#define SOON          SBX_SEC(1) /* pace of asking while a backend is not well, or its models are not known */

enum {
    MODEL_LIST_MAX = 1 << 20 /* bytes */
};

static void check(sbx_backend *backend);

sbx_err sbx_backend_set_models(sbx_backend *backend, const sbx_view *models, size_t count)
{
    sbx_arena memory;
    sbx_arena_init(&memory, SIZE_MAX);
    if (count > SBX_WORKER_MODELS_MAX)
        count = SBX_WORKER_MODELS_MAX;
    sbx_view *copies = SBX_ARENA_ARRAY(&memory, sbx_view, count + 1);
    sbx_err err = copies == NULL ? SBX_E_NOMEM : SBX_OK;
    for (size_t i = 0; err == SBX_OK && i < count; i++)
        err = sbx_arena_dup(&memory, models[i], &copies[i]);
    if (err != SBX_OK) {
        sbx_arena_deinit(&memory);
        return err;
    }
    sbx_arena_deinit(&backend->model_memory);
    backend->model_memory = memory;
    backend->models = copies;
    backend->model_count = count;
    return SBX_OK;
}

void sbx_backend_free(sbx_backend *backend)
{
    if (backend == NULL)
        return;
    sbx_timer_stop(&backend->timer);
    sbx_list_remove(&backend->node);
    if (backend->peer != NULL)
        backend->peer->kind->free_peer(backend->peer);
    sbx_arena_deinit(&backend->model_memory);
    free(backend->health_path);
    free(backend);
}

/* ---- the end of a check ---- */

/* One that is not well is demoted, so nothing but a check tells that it is back: it is asked soon again. */
static void wait_for_next(sbx_backend *backend, bool is_well)
{
    sbx_time_ns interval = backend->interval_ns;
    if (!is_well || backend->model_count == 0)
        interval = sbx_time_min(interval, SOON);
    sbx_time_ns jitter = (sbx_time_ns)sbx_rng_below(&backend->shell->rng, (uint64_t)(interval / 10) + 1);
    sbx_timer_start(&backend->timer, sbx_time_add(sbx_shell_now(backend->shell), interval - jitter));
}

static void finish(sbx_backend *backend, bool is_good)
{
    sbx_shell *shell = backend->shell;
    backend->is_checking = false;
    wait_for_next(backend, is_good);
    const sbx_worker *worker =
        sbx_registry_find(sbx_router_registry(shell->router), sbx_view_cstr(backend->id));
    if (worker == NULL)
        return;
    sbx_worker_info info = sbx_worker_describe(worker, sbx_shell_now(shell));
    sbx_shell_step(shell, &(sbx_event){.kind = SBX_EVENT_WORKER_HEALTH,
                                       .health = {.worker = info.ref, .good = is_good}});
}

/* ---- its steps ---- */

typedef struct model_list {
    const sbx_model_info *items;
    size_t count;
} model_list;

static bool is_same_list(const sbx_backend *backend, const model_list *list, size_t count)
{
    if (backend->model_count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!sbx_view_eq(backend->models[i], list->items[i].id))
            return false;
    }
    return true;
}

static void adopt(sbx_backend *backend, const model_list *list)
{
    sbx_view ids[SBX_WORKER_MODELS_MAX];
    size_t count = list->count < SBX_WORKER_MODELS_MAX ? list->count : SBX_WORKER_MODELS_MAX;
    if (is_same_list(backend, list, count))
        return;
    for (size_t i = 0; i < count; i++)
        ids[i] = list->items[i].id;
    if (sbx_backend_set_models(backend, ids, count) != SBX_OK)
        return;
    sbx_log(backend_models, .worker = backend->id, .models = count);
    sbx_backend_report(backend);
}

static bool lists_a_model_of(const sbx_backend *backend, const model_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        for (size_t k = 0; k < backend->model_count; k++) {
            if (sbx_view_eq(list->items[i].id, backend->models[k]))
                return true;
        }
    }
    return false;
}

static void on_model_list(void *user, unsigned status, sbx_view body)
{
    sbx_backend *backend = user;
    model_list list = {0};
    bool is_good = false;
    sbx_arena memory;
    sbx_errinfo info;
    sbx_arena_init(&memory, MODEL_LIST_MAX);
    if (status == 200 && sbx_models_parse(body, &memory, &list.items, &list.count, &info) == SBX_OK) {
        if (backend->asks_for_models)
            adopt(backend, &list);
        is_good = lists_a_model_of(backend, &list);
    }
    sbx_arena_deinit(&memory);
    finish(backend, is_good);
}

static void ask_for_models(sbx_backend *backend)
{
    if (sbx_http_peer_get(backend->peer, "/v1/models", CHECK_TIMEOUT, MODEL_LIST_MAX, on_model_list,
                          backend) != SBX_OK)
        finish(backend, false);
}

static void on_health(void *user, unsigned status, sbx_view body)
{
    sbx_backend *backend = user;
    (void)body;
    if (status >= 200 && status < 300)
        finish(backend, true);
    else if (status == 404 || status == 405)
        ask_for_models(backend); /* no such page: the list of models tells as well */
    else
        finish(backend, false);
}

static void check(sbx_backend *backend)
{
    backend->is_checking = true;
    if (backend->asks_for_models)
        ask_for_models(backend);
    else if (sbx_http_peer_get(backend->peer, backend->health_path, CHECK_TIMEOUT, /* max_body: */ 1,
                               on_health, backend) != SBX_OK)
        finish(backend, false);
}

void sbx_backend_on_timer(sbx_timer *timer, void *user)
{
    (void)timer;
    check(user);
}

void sbx_backend_watch(sbx_backend *backend)
{
    sbx_shell *shell = backend->shell;
    uint64_t jitter = (uint64_t)shell->options.health_jitter_ns;
    sbx_timer_start(&backend->timer,
                    sbx_time_add(sbx_shell_now(shell), (sbx_time_ns)sbx_rng_below(&shell->rng, jitter + 1)));
}
