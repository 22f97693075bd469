/* A request comes: resolved, given to a worker or refused. A request goes: its client left. */
#include <assert.h>

#include "core/resolve.h"
#include "core/router_priv.h"

/* ---- the table ---------------------------------------------------------------------------------------- */

sbx_request *sbx_router_request(sbx_router *router, sbx_request_ref ref)
{
    if (ref.generation == 0 || ref.slot >= router->request_high_water)
        return NULL;
    sbx_request *request = &router->requests[ref.slot];
    bool is_live = request->generation == ref.generation && request->phase != SBX_REQUEST_FREE;
    return is_live ? request : NULL;
}

static bool table_is_full(const sbx_router *router)
{
    return router->free_requests == 0 && router->request_high_water == router->request_cap;
}

static sbx_request *take_slot(sbx_router *router)
{
    assert(!table_is_full(router));
    uint32_t slot =
        router->free_requests > 0 ? router->free_list[--router->free_requests] : router->request_high_water++;
    sbx_request *request = &router->requests[slot];
    uint32_t generation = request->generation + 1;
    request->generation = generation == 0 ? 1 : generation;
    request->slot = slot;
    return request;
}

void sbx_router_release(sbx_router *router, sbx_request *request)
{
    assert(!sbx_list_node_is_linked(&request->running_node));
    sbx_wheel_cancel(&router->request_timers, &request->timer);
    if (request->model != NULL)
        sbx_model_unref(&router->registry, request->model);
    request->phase = SBX_REQUEST_FREE;
    request->model = NULL;
    router->free_list[router->free_requests++] = request->slot;
    router->counts.in_flight--;
}

/* ---- choosing ----------------------------------------------------------------------------------------- */

static sbx_pick pick_for(sbx_router *router, const sbx_request *request, sbx_model *model)
{
    return (sbx_pick){.registry = &router->registry,
                      .rng = &router->rng,
                      .model = model,
                      .now = router->now,
                      .tried = request == NULL ? NULL : request->tried,
                      .tried_count = request == NULL ? 0 : request->tried_count};
}

/* Probe duty first, for first attempts only; then (with sessions) the session's worker; else balanced. */
static sbx_worker *choose_of_model(sbx_router *router, const sbx_request *request, sbx_pick *pick)
{
    sbx_worker *worker = NULL;
    if (request->attempt.number == 0)
        worker = sbx_pick_probe(pick, !request->is_streaming && request->session_hash == 0);
    return worker != NULL ? worker : sbx_pick_balanced(pick, router->policy.strategy);
}

sbx_worker *sbx_router_choose(sbx_router *router, sbx_request *request, sbx_model **ret_model,
                              uint32_t *ret_eligible)
{
    sbx_resolver resolver;
    sbx_model *exact = request->alias == NULL ? request->model : NULL;
    sbx_resolver_init(&resolver, &router->registry, &router->policy, exact, request->alias);
    for (sbx_model *model = sbx_resolver_next(&resolver); model != NULL;
         model = sbx_resolver_next(&resolver)) {
        if (model->count == 0)
            continue;
        sbx_pick pick = pick_for(router, request, model);
        sbx_worker *worker = choose_of_model(router, request, &pick);
        if (worker == NULL)
            continue;
        *ret_model = model;
        *ret_eligible = pick.eligible == 0 ? 1 : pick.eligible;
        return worker;
    }
    return NULL;
}

sbx_census sbx_router_census(sbx_router *router, sbx_model *exact, const sbx_model_alias *alias,
                             const sbx_request *request)
{
    sbx_census census;
    sbx_resolver resolver;
    sbx_census_init(&census);
    sbx_resolver_init(&resolver, &router->registry, &router->policy, exact, alias);
    for (sbx_model *model = sbx_resolver_next(&resolver); model != NULL;
         model = sbx_resolver_next(&resolver)) {
        sbx_pick pick = pick_for(router, request, model);
        sbx_census_add(&census, &pick);
    }
    return census;
}

/* ---- a request comes ---------------------------------------------------------------------------------- */

static void fill(sbx_router *router, sbx_request *request, const sbx_event_request_new *event,
                 sbx_model *exact, const sbx_model_alias *alias)
{
    sbx_time_ns allowed = sbx_time_min(event->timeout_ns, router->policy.request_deadline_ns);
    *request = (sbx_request){
        .slot = request->slot,
        .generation = request->generation,
        .phase = SBX_REQUEST_WAITING,
        .owner = event->owner,
        .model = exact,
        .alias = alias,
        .is_streaming = event->streaming,
        .body_bytes = event->body_bytes,
        .body_hash = event->body_hash,
        .key_hash = event->key_hash,
        .session_hash = event->session_hash,
        .started_at = router->now,
        .deadline_at = sbx_time_add(router->now, allowed),
        .retry_at = SBX_TIME_NEVER,
    };
    if (exact != NULL)
        sbx_model_ref(exact);
    router->counts.in_flight++;
}

/* Takes the slot back without an end: nothing was promised yet. */
static void refuse(sbx_router *router, sbx_request *request, sbx_model *exact, const sbx_model_alias *alias)
{
    sbx_time_ns retry_after = -1;
    void *owner = request->owner;
    sbx_census census = sbx_router_census(router, exact, alias, request);
    sbx_api_error error = sbx_router_error_of_census(router, &census, &retry_after);
    sbx_action *note = sbx_router_note(router, SBX_NOTE_CANDIDATES_FILTERED, NULL, NULL);
    note->owner = owner;
    note->note.total = census.total;
    sbx_router_release(router, request);
    sbx_router_refuse(router, owner, error, retry_after);
}

static void admit(sbx_router *router, const sbx_event_request_new *event)
{
    sbx_model *exact = sbx_registry_model(&router->registry, event->model);
    const sbx_model_alias *alias = exact == NULL ? sbx_resolve_alias(&router->policy, event->model) : NULL;
    sbx_request *request = take_slot(router);
    sbx_model *model = NULL;
    uint32_t eligible = 0;

    fill(router, request, event, exact, alias);
    sbx_worker *worker = sbx_router_choose(router, request, &model, &eligible);
    if (worker == NULL) {
        refuse(router, request, exact, alias);
        return;
    }
    sbx_router_push(router, SBX_ACTION_ADMITTED, request);
    sbx_retry_budget_request(&model->budget, router->now);
    sbx_router_start(router, request, worker, model, eligible);
}

void sbx_router_on_request_new(sbx_router *router, const sbx_event_request_new *event)
{
    router->counts.accepted++;
    if (router->is_draining)
        sbx_router_refuse(router, event->owner, SBX_API_CONTROLLER_DRAINING, SBX_ROOM_GUESS);
    else if (table_is_full(router))
        sbx_router_refuse(router, event->owner, SBX_API_WORKER_OVERLOADED, SBX_ROOM_GUESS);
    else
        admit(router, event);
}

/* ---- a request goes ----------------------------------------------------------------------------------- */

void sbx_router_on_request_gone(sbx_router *router, sbx_request_ref ref)
{
    sbx_request *request = sbx_router_request(router, ref);
    if (request == NULL)
        return;
    if (request->phase == SBX_REQUEST_RUNNING)
        sbx_router_end_attempt(router, request,
                               (sbx_attempt_end){.outcome = SBX_OUTCOME_CANCELLED,
                                                 .retry_after_ns = -1,
                                                 .is_cancelled_by_us = true});
    else
        sbx_router_end_cancelled(router, request);
}
