/* Health checks of backends and helper endpoints: the configured path answering 2xx, or /v1/models listing a
 * model of it. All run side by side, each with a limit of its own, so that a slow one delays no other. One
 * without configured models is asked for its list, which is a health check too.
 *
 * What a check means for the breaker is the core's business. Whether one counts as well or not changes only
 * after `rise` good or `fall` bad checks in a row; the very first check decides at once. */
#include <stdio.h>
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

sbx_err sbx_backend_set_models(sbx_backend *backend, const sbx_view *models, const uint64_t *contexts,
                               size_t count)
{
    sbx_arena memory;
    sbx_arena_init(&memory, SIZE_MAX);
    if (count > SBX_WORKER_MODELS_MAX)
        count = SBX_WORKER_MODELS_MAX;
    sbx_view *copies = SBX_ARENA_ARRAY(&memory, sbx_view, count + 1);
    uint64_t *sizes = SBX_ARENA_ARRAY(&memory, uint64_t, count + 1);
    sbx_err err = copies == NULL || sizes == NULL ? SBX_E_NOMEM : SBX_OK;
    for (size_t i = 0; err == SBX_OK && i < count; i++) {
        bool is_told = backend->context_length > 0 || contexts == NULL;
        sizes[i] = is_told ? backend->context_length : contexts[i];
        err = sbx_arena_dup(&memory, models[i], &copies[i]);
    }
    if (err != SBX_OK) {
        sbx_arena_deinit(&memory);
        return err;
    }
    sbx_arena_deinit(&backend->model_memory);
    backend->model_memory = memory;
    backend->models = copies;
    backend->contexts = sizes;
    backend->model_count = count;
    return SBX_OK;
}

void sbx_backend_free(sbx_backend *backend)
{
    if (backend == NULL)
        return;
    sbx_timer_stop(&backend->timer);
    sbx_list_remove(&backend->node);
    if (backend->peer != NULL) {
        sbx_map64_remove(&backend->shell->by_peer, (uint64_t)(uintptr_t)backend->peer);
        backend->peer->kind->free_peer(backend->peer);
    }
    sbx_arena_deinit(&backend->model_memory);
    free(backend->health_path);
    free(backend->tier);
    free(backend->url);
    free(backend);
}

/* ---- the end of a check ---- */

/* One that is not well is demoted, so nothing but a check tells that it is back: it is asked soon again. So
 * is one of which the last check is not believed yet. */
static void wait_for_next(sbx_backend *backend, bool is_good)
{
    sbx_time_ns interval = backend->interval_ns;
    if (!is_good || !backend->is_well || backend->model_count == 0)
        interval = sbx_time_min(interval, SOON);
    sbx_time_ns jitter = (sbx_time_ns)sbx_rng_below(&backend->shell->rng, (uint64_t)(interval / 10) + 1);
    sbx_timer_start(&backend->timer, sbx_time_add(sbx_shell_now(backend->shell), interval - jitter));
}

/* Whether the check changes how the backend stands, or confirms it. */
static bool takes_effect(sbx_backend *backend, bool is_good)
{
    bool is_first = !backend->is_checked;
    backend->goods = is_good ? backend->goods + 1 : 0;
    backend->bads = is_good ? 0 : backend->bads + 1;
    backend->is_checked = true;
    backend->checked_at = sbx_shell_now(backend->shell);
    bool is_enough = is_good ? backend->goods >= backend->rise : backend->bads >= backend->fall;
    if (is_first || is_enough)
        backend->is_well = is_good;
    return backend->is_well == is_good;
}

/* why: NULL when the check was good. */
static void finish(sbx_backend *backend, const char *why)
{
    sbx_shell *shell = backend->shell;
    bool is_good = why == NULL;
    if (backend->is_retired)
        return;
    bool is_effective = takes_effect(backend, is_good);
    if (!is_good)
        snprintf(backend->last_error, sizeof backend->last_error, "health check: %s", why);
    wait_for_next(backend, is_good);
    const sbx_worker *worker =
        sbx_registry_find(sbx_router_registry(shell->router), sbx_view_cstr(backend->id));
    if (worker == NULL)
        return;
    sbx_worker_info info = sbx_worker_describe(worker, sbx_shell_now(shell));
    sbx_shell_step(
        shell,
        &(sbx_event){.kind = SBX_EVENT_WORKER_HEALTH,
                     .health = {.worker = info.ref, .good = is_good, .changes_nothing_yet = !is_effective}});
}

/* ---- the list of models ---- */

typedef struct model_list {
    const sbx_model_info *items;
    size_t count;
} model_list;

static bool is_same_list(const sbx_backend *backend, const model_list *list, size_t count)
{
    if (backend->model_count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        bool has_context =
            backend->context_length > 0 || backend->contexts[i] == list->items[i].context_length;
        if (!has_context || !sbx_view_eq(backend->models[i], list->items[i].id))
            return false;
    }
    return true;
}

static void adopt(sbx_backend *backend, const model_list *list)
{
    sbx_view ids[SBX_WORKER_MODELS_MAX];
    uint64_t contexts[SBX_WORKER_MODELS_MAX];
    size_t count = list->count < SBX_WORKER_MODELS_MAX ? list->count : SBX_WORKER_MODELS_MAX;
    if (is_same_list(backend, list, count))
        return;
    for (size_t i = 0; i < count; i++) {
        ids[i] = list->items[i].id;
        contexts[i] = list->items[i].context_length;
    }
    if (sbx_backend_set_models(backend, ids, contexts, count) != SBX_OK)
        return;
    sbx_log(backend_models, .worker = backend->id, .models = count);
    sbx_backend_report(backend);
}

/* The models are configured: only how long their contexts are is taken from the list. */
static bool find_own(sbx_backend *backend, const model_list *list)
{
    bool is_found = false;
    for (size_t k = 0; k < backend->model_count; k++) {
        for (size_t i = 0; i < list->count; i++) {
            if (!sbx_view_eq(list->items[i].id, backend->models[k]))
                continue;
            is_found = true;
            if (backend->context_length == 0)
                backend->contexts[k] = list->items[i].context_length;
        }
    }
    return is_found;
}

/* The core drops a model that the backend says it does not have, until it is seen again: here. */
static bool has_lost_models(const sbx_backend *backend)
{
    const sbx_registry *registry = sbx_router_registry(backend->shell->router);
    const sbx_worker *worker = sbx_registry_find(registry, sbx_view_cstr(backend->id));
    size_t wanted = backend->helper != SBX_HELPER_NONE ? 1 : backend->model_count;
    return worker != NULL && sbx_worker_describe(worker, sbx_shell_now(backend->shell)).model_count < wanted;
}

static bool take_list(sbx_backend *backend, unsigned status, sbx_view body)
{
    model_list list = {0};
    bool is_found = false;
    sbx_arena memory;
    sbx_errinfo info;
    sbx_arena_init(&memory, MODEL_LIST_MAX);
    if (status == 200 && sbx_models_parse(body, &memory, &list.items, &list.count, &info) == SBX_OK) {
        if (backend->is_retired)
            list.count = 0;
        else if (backend->asks_for_models)
            adopt(backend, &list);
        is_found = find_own(backend, &list);
        if (is_found && !backend->asks_for_models)
            sbx_backend_report(backend); /* what was dropped is there again */
    }
    sbx_arena_deinit(&memory);
    return is_found;
}

static void on_model_list(void *user, unsigned status, sbx_view body)
{
    sbx_backend *backend = user;
    bool is_good = take_list(backend, status, body);
    finish(backend, is_good         ? NULL
                    : status == 0   ? "no answer"
                    : status != 200 ? "no list of models"
                                    : "the list of models does not name its model");
}

static void ask_for_models(sbx_backend *backend)
{
    if (sbx_http_peer_get(backend->peer, "/v1/models", CHECK_TIMEOUT, MODEL_LIST_MAX, on_model_list,
                          backend) != SBX_OK)
        finish(backend, "no memory");
}

/* Beside a check that was good already: what the list says changes nothing about that. */
static void on_more(void *user, unsigned status, sbx_view body)
{
    sbx_backend *backend = user;
    if (!backend->is_retired && (status == 404 || status == 405))
        sbx_backend_report(backend); /* it has no list: taken at its word once more */
    else
        (void)take_list(backend, status, body);
    finish(backend, /* why: */ NULL);
}

static bool wants_more(const sbx_backend *backend)
{
    bool knows_contexts = backend->is_checked || backend->context_length > 0;
    return !knows_contexts || has_lost_models(backend);
}

/* ---- the health page ---- */

static void on_bad_status(sbx_backend *backend, unsigned status)
{
    char why[64];
    snprintf(why, sizeof why, "status %u", status);
    finish(backend, status == 0 ? "no answer" : why);
}

static void on_health(void *user, unsigned status, sbx_view body)
{
    sbx_backend *backend = user;
    (void)body;
    bool is_good = status >= 200 && status < 300;
    if (backend->expect == SBX_HEALTH_AUTO && (status == 404 || status == 405))
        ask_for_models(backend); /* no such page: the list of models tells as well */
    else if (!is_good)
        on_bad_status(backend, status);
    else if (!wants_more(backend) || sbx_http_peer_get(backend->peer, "/v1/models", CHECK_TIMEOUT,
                                                       MODEL_LIST_MAX, on_more, backend) != SBX_OK)
        finish(backend, /* why: */ NULL);
}

static void check(sbx_backend *backend)
{
    if (backend->asks_for_models || backend->expect == SBX_HEALTH_MODELS)
        ask_for_models(backend);
    else if (sbx_http_peer_get(backend->peer, backend->health_path, CHECK_TIMEOUT, /* max_body: */ 1,
                               on_health, backend) != SBX_OK)
        finish(backend, "no memory");
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
    backend->is_well = true; /* until the first check says otherwise */
    sbx_timer_start(&backend->timer,
                    sbx_time_add(sbx_shell_now(shell), (sbx_time_ns)sbx_rng_below(&shell->rng, jitter + 1)));
}

void sbx_backend_check_soon(sbx_backend *backend)
{
    bool is_under_way = !sbx_wheel_is_armed(&backend->timer.entry);
    if (!is_under_way)
        sbx_timer_start(&backend->timer, sbx_shell_now(backend->shell));
}
