/* See support_world.h. */
#include "unit/core/support_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/router_priv.h"

uint64_t world_below(world *w, uint64_t bound)
{
    return sbx_rng_below(&w->rng, bound);
}

/* ---- what the actions must be ---------------------------------------------------------------------------
 */

/* We look when the step is over; the worker may have changed in it after the start. */
static bool changed_in_this_step(const world *w, sbx_worker_ref worker)
{
    for (uint32_t i = 0; i < w->r.last.count; i++) {
        const sbx_action *action = &w->r.last.items[i];
        if (action->kind != SBX_ACTION_NOTE || action->note.worker.slot != worker.slot)
            continue;
        sbx_note note = action->note.note;
        if (note == SBX_NOTE_BREAKER_OPENED || note == SBX_NOTE_WORKER_HARD_DOWN ||
            note == SBX_NOTE_WORKER_OFFLINE)
            return true;
    }
    return false;
}

/* A timer fires up to 1 ms late: the worker has room already, and the router has not looked yet. */
static bool is_due(const world *w, const sbx_worker *worker)
{
    return sbx_wheel_is_armed(&worker->timer) && worker->timer.deadline <= w->r.now;
}

/* Fresh requests of one key for one model keep their order. With several models it is the order of each line,
 * and one may have been full. */
static void check_turn(world *w, const live *request, sbx_worker_ref ref)
{
    const sbx_worker *worker = sbx_registry_get(sbx_router_registry(w->r.router), ref);
    bool is_fresh = request->starts == 0 && strcmp(request->model, "any") != 0 && !is_due(w, worker);
    for (int i = 0; i < REQUESTS; i++) {
        const live *other = &w->requests[i];
        bool is_before = other->is_live && other->starts == 0 && other->order < request->order;
        if (is_before && is_fresh && other->key == request->key)
            HOLDS(w, strcmp(other->model, request->model) != 0);
    }
}

static void check_start(world *w, const sbx_action *action)
{
    live *request = action->owner;
    sbx_worker_info worker = rig_info(&w->r, action->start.worker);
    HOLDS(w, request->is_live && !request->has_attempt);
    HOLDS(w, !request->is_committed);
    bool has_changed = changed_in_this_step(w, action->start.worker);
    HOLDS(w, has_changed || (worker.online && !worker.draining));
    HOLDS(w, has_changed || worker.breaker == SBX_BREAKER_CLOSED || worker.breaker == SBX_BREAKER_HALF_OPEN);
    HOLDS(w, worker.in_flight <= worker.capacity);
    HOLDS(w, action->start.budget_ns > 0);
    HOLDS(w, action->start.queue_wait_ns < w->policy.queue.max_wait_ns);
    check_turn(w, request, action->start.worker);
    for (uint32_t i = 0; i < request->tried_count; i++)
        HOLDS(w, request->tried[i] != action->start.worker.slot);
    HOLDS(w, action->start.attempt.number == request->starts + 1);
    request->starts++;
    HOLDS(w, request->starts <= 1 + w->policy.retry.max_retries + request->free_starts);
    request->has_attempt = true;
    request->attempt = action->start.attempt;
    request->worker = action->start.worker;
    w->sometimes[0] += request->starts > 1;
    w->sometimes[1] += worker.breaker == SBX_BREAKER_HALF_OPEN;
}

void world_attempt_over(live *request, sbx_outcome outcome)
{
    bool is_free = outcome == SBX_OUTCOME_DRAINING || outcome == SBX_OUTCOME_STALE_CONNECTION;
    bool stays_untried = outcome == SBX_OUTCOME_OVERLOADED || outcome == SBX_OUTCOME_STALE_CONNECTION;
    request->has_attempt = false;
    request->last_outcome = outcome;
    request->free_starts += is_free;
    if (!stays_untried)
        request->tried[request->tried_count++] = request->worker.slot;
}

static void check_end(world *w, const sbx_action *action)
{
    live *request = action->owner;
    w->ended++;
    w->sometimes[7] += action->end.meta.queue_wait_ns > 0 && action->kind == SBX_ACTION_SUCCEED;
    w->sometimes[8] += action->end.meta.queue_wait_ns > 0 && action->end.end == SBX_END_SHED;
    w->sometimes[9] += action->request.generation == 0 && action->end.error == SBX_API_WORKER_OVERLOADED;
    w->sometimes[10] += action->end.meta.queue_wait_ns > 0 && action->end.end == SBX_END_CANCELLED;
    if (action->request.generation == 0) {
        HOLDS(w, action->end.meta.attempts == 0);
        request->is_live = false;
        return;
    }
    HOLDS(w, request->is_live && !request->has_attempt);
    HOLDS(w, action->end.meta.attempts == request->starts);
    HOLDS(w, action->end.meta.failed_count <= request->starts);
    HOLDS(w, action->end.committed == request->is_committed);
    HOLDS(w, (action->kind == SBX_ACTION_SUCCEED) == (action->end.end == SBX_END_OK));
    HOLDS(w, (action->kind == SBX_ACTION_PASS) <= (action->end.end == SBX_END_CLIENT_ERROR));
    HOLDS(w, action->kind != SBX_ACTION_FAIL || action->end.error != SBX_API_NONE);
    w->sometimes[2] += action->end.error == SBX_API_ALL_RETRIES_EXHAUSTED;
    w->sometimes[3] += action->end.error == SBX_API_STREAM_INTERRUPTED;
    w->sometimes[4] += action->end.end == SBX_END_TIMEOUT;
    w->sometimes[5] += action->end.end == SBX_END_CANCELLED;
    request->is_live = false;
}

static void check_probe(world *w, const sbx_action *action)
{
    sbx_worker_ref ref = action->probe.probe.worker;
    sbx_worker_info worker = rig_info(&w->r, ref);
    HOLDS(w, worker.kind == SBX_WORKER_NATS && w->probes[ref.slot].number == 0);
    HOLDS(w, action->probe.model.len > 0 && action->probe.budget_ns > 0);
    HOLDS(w, changed_in_this_step(w, ref) || (worker.online && worker.breaker == SBX_BREAKER_HALF_OPEN));
    w->probes[ref.slot] = action->probe.probe;
    w->sometimes[11]++;
}

static void check_action(world *w, const sbx_action *action)
{
    live *request = action->owner;
    switch (action->kind) {
    case SBX_ACTION_ADMITTED:
        HOLDS(w, request == w->newest);
        request->ref = action->request;
        break;
    case SBX_ACTION_START:
        check_start(w, action);
        break;
    case SBX_ACTION_CANCEL:
        HOLDS(w, request->has_attempt && request->attempt.number == action->cancel.attempt.number);
        world_attempt_over(request, action->cancel.outcome);
        break;
    case SBX_ACTION_COMMIT:
        HOLDS(w, request->is_live && request->is_streaming && !request->is_committed);
        request->is_committed = true;
        break;
    case SBX_ACTION_FORWARD:
        HOLDS(w, request->is_live && request->is_committed);
        break;
    case SBX_ACTION_HOLD:
        HOLDS(w, request->is_live && !request->is_committed);
        break;
    case SBX_ACTION_DROP:
    case SBX_ACTION_NOTE:
        break;
    case SBX_ACTION_CHECK_HEALTH:
        HOLDS(w, rig_info(&w->r, action->probe.probe.worker).kind == SBX_WORKER_HTTP);
        break;
    case SBX_ACTION_PROBE:
        check_probe(w, action);
        break;
    case SBX_ACTION_PROBE_CANCEL:
        HOLDS(w, w->probes[action->probe.probe.worker.slot].number == action->probe.probe.number);
        w->probes[action->probe.probe.worker.slot].number = 0;
        break;
    case SBX_ACTION_SUCCEED:
    case SBX_ACTION_PASS:
    case SBX_ACTION_FAIL:
        check_end(w, action);
        break;
    }
}

/* ---- what must hold between steps ------------------------------------------------------------------------
 */

static void check_counts(world *w)
{
    sbx_router_counts counts = sbx_router_counts_of(w->r.router);
    uint64_t ends = 0, in_flight = 0;
    for (int i = 0; i <= SBX_END_SHED; i++)
        ends += counts.ended[i];
    for (int i = 0; i < REQUESTS; i++)
        in_flight += w->requests[i].is_live;
    HOLDS(w, counts.accepted == w->accepted);
    HOLDS(w, ends == w->ended);
    HOLDS(w, counts.in_flight == in_flight);
    HOLDS(w, counts.accepted == ends + counts.in_flight);
}

static void check_workers(world *w)
{
    const sbx_registry *registry = sbx_router_registry(w->r.router);
    for (size_t i = 0; i < sbx_registry_count(registry); i++) {
        const sbx_worker *worker = sbx_registry_at(registry, i);
        sbx_worker_info info = sbx_worker_describe(worker, w->r.now);
        uint32_t truth = w->probes[info.ref.slot].number != 0;
        for (int k = 0; k < REQUESTS; k++)
            truth += w->requests[k].has_attempt && w->requests[k].worker.slot == info.ref.slot;
        HOLDS(w, info.in_flight == truth);
        HOLDS(w, worker->breaker.probes_out <= worker->breaker.policy->half_open_max_probes);
        HOLDS(w, worker->breaker.probes_out <= truth);
    }
}

/* ---- who waits -------------------------------------------------------------------------------------------
 */

static bool has_been_at(const sbx_request *request, uint32_t worker)
{
    for (uint32_t i = 0; i < request->tried_count; i++) {
        if (request->tried[i] == worker)
            return true;
    }
    return false;
}

static bool stands_in_line_at(const sbx_router *router, uint32_t slot, uint32_t model)
{
    const sbx_queue_entry *entry = &router->queue.entries[slot];
    for (uint32_t i = 0; i < entry->place_count; i++) {
        if (entry->places[i].model == model)
            return true;
    }
    return false;
}

static void check_who_waits(world *w, const sbx_request *request)
{
    const sbx_registry *registry = sbx_router_registry(w->r.router);
    bool has_hope = false;
    HOLDS(w, w->r.now <= request->wait_until + SBX_MS(1));
    HOLDS(w, request->wait_until <= request->deadline_at);
    for (size_t i = 0; i < sbx_registry_count(registry); i++) {
        const sbx_worker *worker = sbx_registry_at(registry, i);
        sbx_refusal refusal = sbx_worker_refusal(worker, w->r.now);
        for (uint32_t e = worker->first_edge; e != SBX_NONE; e = registry->edges[e].next) {
            if (!stands_in_line_at(w->r.router, request->slot, registry->edges[e].model) ||
                has_been_at(request, worker->slot))
                continue;
            HOLDS(w, refusal != SBX_REFUSAL_NONE || is_due(w, worker));
            has_hope =
                has_hope || refusal == SBX_REFUSAL_NONE || refusal == SBX_REFUSAL_FULL ||
                refusal == SBX_REFUSAL_COOLING ||
                (refusal == SBX_REFUSAL_BREAKER && worker->breaker.phase != SBX_BREAKER_PHASE_ISOLATED) ||
                (refusal == SBX_REFUSAL_OFFLINE && worker->runs_on);
        }
    }
    HOLDS(w, has_hope);
}

void world_check_queue(world *w)
{
    const sbx_router *router = w->r.router;
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < router->request_high_water; i++) {
        const sbx_request *request = &router->requests[i];
        if (request->phase != SBX_REQUEST_QUEUED)
            continue;
        waiting++;
        HOLDS(w, !((const live *)request->owner)->has_attempt);
        check_who_waits(w, request);
    }
    HOLDS(w, waiting == sbx_router_counts_of(router).queued);
    for (uint32_t i = 0; i < router->registry.model_high_water; i++) {
        HOLDS(w, router->queue.models[i].fresh <= w->policy.queue.max_length);
        HOLDS(w, router->queue.models[i].fresh_bytes <= w->policy.queue.max_bytes);
    }
}

void world_take(world *w)
{
    HOLDS(w, w->r.last.count <= SBX_MAX_ACTIONS);
    for (uint32_t i = 0; i < w->r.last.count; i++)
        check_action(w, &w->r.last.items[i]);
    check_counts(w);
    check_workers(w);
}
