/* The router's entry: its tables, the step loop, the action array. */
#include "core/router.h"

#include <assert.h>
#include <stdint.h>

#include "base/block.h"
#include "core/policy_priv.h"
#include "core/router_priv.h"

/* ---- policy ------------------------------------------------------------------------------------------- */

static void free_lists(sbx_policy_lists *lists)
{
    sbx_list_remove(&lists->node);
    sbx_arena_deinit(&lists->memory);
    sbx_block_free(lists);
}

/* From now on the policy is this one. SBX_E_NOMEM: it is what it was. */
static sbx_err use_policy(sbx_router *router, const sbx_policy *policy)
{
    sbx_policy_lists *lists = sbx_block_new(1, sizeof *lists);
    if (lists == NULL)
        return SBX_E_NOMEM;
    sbx_arena_init(&lists->memory, SIZE_MAX / 4);
    sbx_list_push_back(&router->all_lists, &lists->node);
    sbx_err err = sbx_policy_copy(policy, &lists->memory, &lists->policy);
    if (err != SBX_OK) {
        free_lists(lists);
        return err;
    }
    router->lists = lists;
    router->policy = lists->policy;
    return SBX_OK;
}

void sbx_router_let_go_of_lists(const sbx_router *router, sbx_policy_lists *lists)
{
    if (lists->requests == 0 && lists != router->lists)
        free_lists(lists);
}

/* ---- life --------------------------------------------------------------------------------------------- */

static sbx_err init(sbx_router *router, const sbx_policy *policy, uint64_t seed)
{
    sbx_err err = use_policy(router, policy);
    if (err == SBX_OK)
        err = sbx_registry_init(&router->registry, &router->policy, sbx_rng_next(&router->rng) ^ seed);
    if (err != SBX_OK)
        return err;
    router->request_cap = policy->max_requests;
    router->requests = sbx_block_new(router->request_cap, sizeof *router->requests);
    router->free_list = sbx_block_new(router->request_cap, sizeof *router->free_list);
    if (router->requests == NULL || router->free_list == NULL)
        return SBX_E_NOMEM;
    err = sbx_sessions_init(&router->sessions, policy->sessions.max_sessions, sbx_rng_next(&router->rng));
    if (err == SBX_OK)
        err = sbx_queue_init(&router->queue, router->request_cap, policy->max_models,
                             sbx_rng_next(&router->rng));
    if (err != SBX_OK)
        return err;
    sbx_wheel_init(&router->request_timers, 0);
    sbx_wheel_init(&router->worker_timers, 0);
    sbx_list_init(&router->pending);
    sbx_list_init(&router->roomy);
    return SBX_OK;
}

sbx_err sbx_router_new(const sbx_policy *policy, uint64_t seed, sbx_router **ret_router)
{
    sbx_router *router = sbx_block_new(1, sizeof *router);
    if (router == NULL)
        return SBX_E_NOMEM;
    sbx_rng_seed(&router->rng, seed);
    sbx_list_init(&router->all_lists);
    sbx_err err = init(router, policy, seed);
    if (err != SBX_OK) {
        sbx_router_free(router);
        return err;
    }
    *ret_router = router;
    return SBX_OK;
}

void sbx_router_free(sbx_router *router)
{
    if (router == NULL)
        return;
    sbx_registry_deinit(&router->registry);
    sbx_sessions_deinit(&router->sessions);
    sbx_queue_deinit(&router->queue);
    SBX_LIST_EACH(node, &router->all_lists)
    {
        free_lists(SBX_CONTAINER_OF(node, sbx_policy_lists, node));
    }
    sbx_block_free(router->requests);
    sbx_block_free(router->free_list);
    sbx_block_free(router);
}

static void apply_policy(sbx_router *router)
{
    sbx_registry *registry = &router->registry;
    for (uint32_t i = 0; i < registry->model_high_water; i++) {
        sbx_model *model = &registry->models[i];
        if (model->is_live)
            model->limits = sbx_policy_limits_of(&router->policy, sbx_model_view(model));
    }
    for (uint32_t i = 0; i < registry->count; i++) {
        sbx_worker *worker = &registry->workers[registry->order[i]];
        sbx_registry_refresh(registry, worker, router->now);
        sbx_router_got_room(router, worker);
    }
    sbx_router_got_worse(router);
}

sbx_err sbx_router_set_policy(sbx_router *router, const sbx_policy *policy)
{
    sbx_policy_lists *old = router->lists;
    sbx_err err = use_policy(router, policy);
    if (err != SBX_OK)
        return err;
    sbx_router_let_go_of_lists(router, old);
    apply_policy(router);
    return SBX_OK;
}

const sbx_registry *sbx_router_registry(const sbx_router *router)
{
    return &router->registry;
}

sbx_router_counts sbx_router_counts_of(const sbx_router *router)
{
    sbx_router_counts counts = router->counts;
    counts.sessions = sbx_sessions_count(&router->sessions);
    counts.queued = router->queue.count;
    return counts;
}

/* ---- actions ------------------------------------------------------------------------------------------ */

bool sbx_router_has_room(const sbx_router *router, uint32_t actions)
{
    return SBX_MAX_ACTIONS - router->action_count >= actions;
}

sbx_request_ref sbx_request_ref_of(const sbx_request *request)
{
    return (sbx_request_ref){.slot = request->slot, .generation = request->generation};
}

sbx_attempt_ref sbx_attempt_ref_of(const sbx_request *request)
{
    return (sbx_attempt_ref){.request = sbx_request_ref_of(request), .number = request->attempt.number};
}

sbx_action *sbx_router_push(sbx_router *router, sbx_action_kind kind, const sbx_request *request)
{
    assert(router->action_count < SBX_MAX_ACTIONS);
    sbx_action *action = &router->actions[router->action_count++];
    action->kind = kind;
    action->request = request == NULL ? (sbx_request_ref){0} : sbx_request_ref_of(request);
    action->owner = request == NULL ? NULL : request->owner;
    return action;
}

sbx_action *sbx_router_note(sbx_router *router, sbx_note note, const sbx_request *request,
                            const sbx_worker *worker)
{
    sbx_action *action = sbx_router_push(router, SBX_ACTION_NOTE, request);
    action->note.note = note;
    action->note.worker = worker == NULL ? (sbx_worker_ref){0} : sbx_worker_ref_of(worker);
    action->note.attempt_number = request == NULL ? 0 : request->attempt.number;
    action->note.outcome = SBX_OUTCOME_OK;
    action->note.delay_ns = 0;
    action->note.total = 0;
    action->note.eligible = 0;
    return action;
}

/* ---- the step ----------------------------------------------------------------------------------------- */

/* What earlier events left to do. */
static void do_lists(sbx_router *router)
{
    sbx_router_do_pending(router);
    if (!sbx_list_is_empty(&router->roomy) || sbx_queue_is_walking(&router->queue))
        sbx_router_serve_queue(router);
}

/* What is due, as far as there is room; room for the event itself stays. */
static void do_due(sbx_router *router)
{
    const uint32_t room = 2 * SBX_STEP_ROOM;
    sbx_wheel_entry *entry;

    do_lists(router);
    while (sbx_router_has_room(router, room)) {
        entry = sbx_wheel_expire(&router->worker_timers, router->now);
        if (entry == NULL)
            break;
        sbx_router_on_worker_timer(router, SBX_CONTAINER_OF(entry, sbx_worker, timer));
    }
    do_lists(router);
    while (sbx_router_has_room(router, room)) {
        entry = sbx_wheel_expire(&router->request_timers, router->now);
        if (entry == NULL)
            break;
        sbx_router_on_request_timer(router, SBX_CONTAINER_OF(entry, sbx_request, timer));
    }
}

static void dispatch(sbx_router *router, const sbx_event *event)
{
    switch (event->kind) {
    case SBX_EVENT_TICK:
        return;
    case SBX_EVENT_REQUEST_NEW:
        sbx_router_on_request_new(router, &event->request_new);
        return;
    case SBX_EVENT_REQUEST_GONE:
        sbx_router_on_request_gone(router, event->request_gone);
        return;
    case SBX_EVENT_ATTEMPT_ACCEPTED:
    case SBX_EVENT_ATTEMPT_PROGRESS:
    case SBX_EVENT_ATTEMPT_CHUNK:
    case SBX_EVENT_ATTEMPT_PAUSED:
    case SBX_EVENT_ATTEMPT_RESUMED:
        sbx_router_on_attempt(router, event);
        return;
    case SBX_EVENT_ATTEMPT_ENDED:
        sbx_router_on_ended(router, &event->ended);
        return;
    case SBX_EVENT_WORKER_SEEN:
        sbx_router_on_seen(router, &event->seen);
        return;
    case SBX_EVENT_WORKER_GONE:
        sbx_router_on_gone(router, event->worker);
        return;
    case SBX_EVENT_WORKER_HEALTH:
        sbx_router_on_health(router, event->health.worker, event->health.good,
                             event->health.changes_nothing_yet);
        return;
    case SBX_EVENT_WORKER_ADMIN:
        sbx_router_on_admin(router, event->admin.worker, event->admin.command);
        return;
    case SBX_EVENT_PROBE_ENDED:
        sbx_router_on_probe_ended(router, event->probe_ended.probe, event->probe_ended.outcome,
                                  event->probe_ended.retry_after_ns);
        return;
    case SBX_EVENT_BUS_DOWN:
        sbx_router_on_bus_down(router);
        return;
    case SBX_EVENT_DRAIN:
        router->is_draining = true;
        return;
    }
    assert(0 && "an event without a kind");
}

sbx_actions sbx_router_step(sbx_router *router, sbx_time_ns now, const sbx_event *event)
{
    assert(now >= router->now);
    router->now = now;
    router->action_count = 0;
    do_due(router);
    assert(sbx_router_has_room(router, SBX_STEP_ROOM));
    dispatch(router, event);
    do_lists(router);
    return (sbx_actions){.count = router->action_count, .items = router->actions};
}

sbx_time_ns sbx_router_next_deadline(const sbx_router *router)
{
    bool is_more_to_do = !sbx_list_is_empty(&router->pending) || !sbx_list_is_empty(&router->roomy) ||
                         sbx_queue_is_walking(&router->queue);
    if (is_more_to_do)
        return router->now;
    return sbx_time_min(sbx_wheel_next_deadline(&router->request_timers),
                        sbx_wheel_next_deadline(&router->worker_timers));
}
