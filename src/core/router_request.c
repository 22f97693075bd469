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
    request->lists->requests--;
    sbx_router_let_go_of_lists(router, request->lists);
    request->phase = SBX_REQUEST_FREE;
    request->model = NULL;
    request->alias = NULL;
    request->lists = NULL;
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

/* Below loadBoundPct of what the model's workers have on average, and one more. */
static bool is_below_load_bound(const sbx_router *router, const sbx_model *model, const sbx_worker *worker)
{
    uint64_t allowed = (uint64_t)router->policy.sessions.load_bound_pct * model->in_flight;
    return (uint64_t)worker->hot->in_flight * 100 * model->online < allowed + UINT64_C(100) * model->online;
}

/* The session's worker, when it is as good as any and not too busy; NULL otherwise. */
static sbx_worker *choose_sticky(sbx_router *router, sbx_request *request, const sbx_pick *pick)
{
    sbx_worker *worker = sbx_registry_worker(&router->registry, request->stuck_to);
    if (request->stuck_to.generation == 0)
        return NULL;
    bool is_eligible = worker != NULL && !sbx_pick_is_tried(pick, worker->slot) &&
                       sbx_worker_refusal(worker, router->now) == SBX_REFUSAL_NONE &&
                       sbx_worker_tier(worker, router->now) == SBX_TIER_WELL &&
                       sbx_registry_edge(&router->registry, worker, pick->model) != NULL;
    if (!is_eligible) {
        request->may_move = true;
        return NULL;
    }
    return is_below_load_bound(router, pick->model, worker) ? worker : NULL;
}

/* Probe duty first, for first attempts only; then the session's worker; else balanced. */
static sbx_worker *choose_of_model(sbx_router *router, sbx_request *request, sbx_pick *pick)
{
    sbx_worker *worker = NULL;
    if (request->attempt.number == 0)
        worker = sbx_pick_probe(pick, !request->is_streaming && request->session == 0);
    if (worker == NULL)
        worker = choose_sticky(router, request, pick);
    return worker != NULL ? worker : sbx_pick_balanced(pick, router->policy.strategy);
}

static bool is_same(sbx_worker_ref a, sbx_worker_ref b)
{
    return a.slot == b.slot && a.generation == b.generation;
}

void sbx_router_settle_session(sbx_router *router, const sbx_request *request)
{
    if (request->session == 0)
        return;
    sbx_sessions *sessions = &router->sessions;
    sbx_worker_ref here = sbx_worker_ref_of(request->attempt.worker);
    sbx_worker_ref known =
        sbx_sessions_use(sessions, request->session, router->policy.sessions.ttl_ns, router->now);
    bool is_new = known.generation == 0;
    bool moves = !is_new && request->may_move && is_same(known, request->stuck_to) && !is_same(known, here);
    if (!is_new && !moves)
        return;
    sbx_sessions_set(sessions, request->session, here, router->now);
    if (is_new)
        return;
    router->counts.session_moves++;
    sbx_router_note(router, SBX_NOTE_SESSION_MOVED, request, request->attempt.worker);
}

/* Helper endpoints that are well, by priority: those that are not come behind all of them. */
static sbx_worker *choose_well_helper(sbx_router *router, sbx_request *request, sbx_model **ret_model,
                                      uint32_t *ret_eligible)
{
    sbx_resolver resolver;
    sbx_resolver_init_for(&resolver, router, request);
    for (sbx_model *model = sbx_resolver_next(&resolver);
         model != NULL && sbx_model_is_hidden(sbx_model_view(model)); model = sbx_resolver_next(&resolver)) {
        sbx_pick pick = pick_for(router, request, model);
        sbx_worker *worker =
            request->attempt.number == 0 ? sbx_pick_probe(&pick, /* is_suitable: */ true) : NULL;
        if (worker == NULL)
            worker = sbx_pick_well(&pick, router->policy.strategy);
        if (worker == NULL)
            continue;
        *ret_model = model;
        *ret_eligible = pick.eligible == 0 ? 1 : pick.eligible;
        return worker;
    }
    return NULL;
}

sbx_worker *sbx_router_choose(sbx_router *router, sbx_request *request, sbx_model **ret_model,
                              uint32_t *ret_eligible)
{
    sbx_resolver resolver;
    if (sbx_request_helper(request) != SBX_HELPER_NONE) {
        sbx_worker *helper = choose_well_helper(router, request, ret_model, ret_eligible);
        if (helper != NULL)
            return helper;
    }
    sbx_resolver_init_for(&resolver, router, request);
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

static sbx_census census_of(sbx_router *router, const sbx_request *request, bool is_untried)
{
    sbx_census census;
    sbx_resolver resolver;
    sbx_census_init(&census);
    sbx_resolver_init_for(&resolver, router, request);
    for (sbx_model *model = sbx_resolver_next(&resolver); model != NULL;
         model = sbx_resolver_next(&resolver)) {
        if (model->count == 0)
            continue; /* nobody claims it any more */
        sbx_pick pick = pick_for(router, is_untried ? NULL : request, model);
        sbx_census_add(&census, &pick);
    }
    return census;
}

sbx_census sbx_router_census(sbx_router *router, const sbx_request *request)
{
    return census_of(router, request, /* is_untried: */ false);
}

sbx_census sbx_router_census_untried(sbx_router *router, const sbx_request *request)
{
    return census_of(router, request, /* is_untried: */ true);
}

static void fill_note(sbx_action *action, const sbx_census *census)
{
    action->note.total = census->total;
    action->note.eligible = 0;
    for (int tier = 0; tier < SBX_TIER_COUNT; tier++)
        action->note.eligible += census->eligible[tier];
    action->note.filtered[SBX_FILTER_OFFLINE] = census->offline;
    action->note.filtered[SBX_FILTER_DRAINING] = census->draining;
    action->note.filtered[SBX_FILTER_BREAKER] = census->refused;
    action->note.filtered[SBX_FILTER_COOLING] = census->cooling;
    action->note.filtered[SBX_FILTER_FULL] = census->full;
    action->note.filtered[SBX_FILTER_TRIED] = census->tried;
}

/* When all were eligible there is nothing to count: the usual case costs nothing. */
void sbx_router_note_candidates(sbx_router *router, const sbx_request *request, sbx_model *model,
                                uint32_t eligible)
{
    sbx_census census = {.total = model->count, .eligible = {[SBX_TIER_WELL] = eligible}};
    if (eligible != model->count) {
        sbx_pick pick = pick_for(router, request, model);
        sbx_census_init(&census);
        sbx_census_sample(&census, &pick, SBX_CANDIDATES_LOOKED_AT);
    }
    fill_note(sbx_router_note(router, SBX_NOTE_CANDIDATES_FILTERED, request, NULL), &census);
}

/* ---- a request comes ---------------------------------------------------------------------------------- */

static void find_session(sbx_router *router, sbx_request *request, uint64_t session_hash)
{
    const sbx_session_policy *policy = &router->policy.sessions;
    if (!policy->enabled || session_hash == 0)
        return;
    request->session = sbx_session_key(session_hash, request->key_hash);
    request->stuck_to = sbx_sessions_use(&router->sessions, request->session, policy->ttl_ns, router->now);
}

static void fill(sbx_router *router, sbx_request *request, const sbx_event_request_new *event,
                 sbx_model *exact, const sbx_model_alias *alias)
{
    sbx_time_ns allowed = sbx_time_min(event->timeout_ns, router->policy.request_deadline_ns);
    *request = (sbx_request){
        .lists = router->lists,
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
        .started_at = router->now,
        .deadline_at = sbx_time_add(router->now, allowed),
        .retry_at = SBX_TIME_NEVER,
    };
    if (exact != NULL)
        sbx_model_ref(exact);
    router->lists->requests++;
    router->counts.in_flight++;
    find_session(router, request, event->session_hash);
}

static void let_wait(sbx_router *router, sbx_request *request, const sbx_census *census)
{
    sbx_router_push(router, SBX_ACTION_ADMITTED, request);
    fill_note(sbx_router_note(router, SBX_NOTE_CANDIDATES_FILTERED, request, NULL), census);
    sbx_router_note_queued(router, request);
}

/* No worker can take it now: it waits, or is told why; then its slot is taken back without an end, since
 * nothing was promised yet. */
static void wait_or_refuse(sbx_router *router, sbx_request *request)
{
    sbx_time_ns retry_after = -1;
    void *owner = request->owner;
    sbx_census census = sbx_router_census(router, request);
    sbx_api_error error = sbx_router_error_of_census(router, &census, &retry_after);
    error = sbx_router_helper_error(router, request, error);
    if (error == SBX_API_WORKER_OVERLOADED && sbx_router_wait(router, request)) {
        let_wait(router, request, &census);
        return;
    }
    sbx_action *note = sbx_router_note(router, SBX_NOTE_CANDIDATES_FILTERED, NULL, NULL);
    note->owner = owner;
    fill_note(note, &census);
    sbx_helper_role helper = sbx_request_helper(request);
    bool has_fallback = sbx_router_has_fallback(router, request);
    sbx_router_release(router, request);
    sbx_action *refusal = sbx_router_refuse(router, owner, error, retry_after);
    refusal->end.helper = helper;
    refusal->end.has_fallback = has_fallback;
}

/* Rare: so much was due in this step that not all who wait were served yet. It gets in line behind them. */
static bool gives_way(sbx_router *router, sbx_request *request, sbx_worker *worker)
{
    if (sbx_list_is_empty(&router->roomy) || !sbx_router_wait(router, request))
        return false;
    sbx_router_got_room(router, worker);
    return true;
}

/* Who would have got the request, had their breakers not refused it: endpoints before the one that did. */
static void count_rejected(sbx_router *router, const sbx_request *request, const sbx_worker *chosen)
{
    sbx_resolver resolver;
    sbx_resolver_init_for(&resolver, router, request);
    for (sbx_model *model = sbx_resolver_next(&resolver);
         model != NULL && sbx_model_is_hidden(sbx_model_view(model)); model = sbx_resolver_next(&resolver)) {
        for (uint32_t i = 0; i < model->count; i++) {
            uint32_t slot = sbx_model_candidate(&router->registry, model, i)->worker;
            sbx_worker *worker = &router->registry.workers[slot];
            if (worker == chosen)
                return;
            worker->rejected += sbx_worker_refusal(worker, router->now) == SBX_REFUSAL_BREAKER;
        }
    }
}

static void admit(sbx_router *router, const sbx_event_request_new *event)
{
    const sbx_model_alias *alias =
        sbx_resolve_helper(&router->registry, &router->policy, event->helper, event->model);
    bool is_plain = alias == NULL && !sbx_model_is_hidden(event->model);
    sbx_model *exact = is_plain ? sbx_registry_model(&router->registry, event->model) : NULL;
    if (is_plain && exact == NULL)
        alias = sbx_resolve_alias(&router->policy, event->model);
    sbx_request *request = take_slot(router);
    sbx_model *model = NULL;
    uint32_t eligible = 0;

    fill(router, request, event, exact, alias);
    sbx_worker *worker = sbx_router_choose(router, request, &model, &eligible);
    if (sbx_request_helper(request) != SBX_HELPER_NONE)
        count_rejected(router, request, worker);
    if (worker == NULL) {
        wait_or_refuse(router, request);
        return;
    }
    sbx_router_push(router, SBX_ACTION_ADMITTED, request);
    if (!gives_way(router, request, worker))
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
    if (request->phase == SBX_REQUEST_RUNNING) {
        sbx_router_end_attempt(router, request,
                               (sbx_attempt_end){.outcome = SBX_OUTCOME_CANCELLED,
                                                 .retry_after_ns = -1,
                                                 .is_cancelled_by_us = true});
    } else {
        if (request->phase == SBX_REQUEST_QUEUED)
            sbx_router_leave_queue(router, request, /* is_served: */ false);
        sbx_router_end_cancelled(router, request);
    }
}
