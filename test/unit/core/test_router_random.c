/* The router under random events from a seed: after every step the invariants hold, and when all is over
 * nothing is left. What the shell does is done here as plainly as can be, as a second opinion:
 *   I1 each admitted request ends exactly once, and nothing is said about it afterwards
 *   I2 no attempt starts at a worker that is offline, isolated, open or draining
 *   I3 a half_open worker never has more probes without content than its policy allows
 *   I4 attempts stay within 1 + maxRetries (+ free ones), and never at a tried worker
 *   I6 no START after COMMIT
 *   I7 in-flight counts equal the truth; all zero in the end
 *   I13 who waits for room: first come, first served within a key; never started when its wait is over; lines
 *       within their bounds; nobody waits for what a worker with room could do; nobody without hope
 *   conservation: accepted = all ends + in flight */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/router_priv.h"
#include "unit/core/support_rig.h"

enum {
    WORKERS = 6,
    REQUESTS = 64, /* live at once, at most */
    STEPS = 20000
};

typedef struct live {
    bool is_live;
    bool is_streaming, is_committed, has_attempt;
    sbx_request_ref ref;
    sbx_attempt_ref attempt;
    sbx_worker_ref worker;
    const char *model; /* what it asked for */
    uint64_t key;
    uint64_t order; /* of arrival */
    sbx_time_ns came_at;
    uint32_t starts, free_starts;
    uint32_t tried[SBX_MAX_ATTEMPTS];
    uint32_t tried_count;
    sbx_outcome last_outcome; /* reported by us for the last attempt */
} live;

typedef struct world {
    rig r;
    uint64_t seed;
    sbx_rng rng;
    sbx_policy policy;
    live requests[REQUESTS];
    live *newest; /* the owner of the request being raised */
    uint32_t boots[WORKERS];
    sbx_probe_ref probes[WORKERS]; /* number 0: none is out */
    uint32_t capacity;
    uint64_t arrivals;
    uint64_t accepted, ended;
    uint64_t sometimes[16]; /* that rare things did happen */
} world;

static uint64_t below(world *w, uint64_t bound)
{
    return sbx_rng_below(&w->rng, bound);
}

#define HOLDS(w, condition)                                                                                  \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            fail_msg("seed %llu at %lld: %s", (unsigned long long)(w)->seed, (long long)(w)->r.now,          \
                     #condition);                                                                            \
    } while (0)

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

static void attempt_over(live *request, sbx_outcome outcome)
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
        attempt_over(request, action->cancel.outcome);
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

static void check_queue(world *w)
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

static void take(world *w)
{
    HOLDS(w, w->r.last.count <= SBX_MAX_ACTIONS);
    for (uint32_t i = 0; i < w->r.last.count; i++)
        check_action(w, &w->r.last.items[i]);
    check_counts(w);
    check_workers(w);
}

/* ---- what may happen -------------------------------------------------------------------------------------
 */

static void new_request(world *w)
{
    live *slot = NULL;
    for (int i = 0; i < REQUESTS && slot == NULL; i++)
        slot = w->requests[i].is_live ? NULL : &w->requests[i];
    if (slot == NULL)
        return;
    *slot = (live){.is_live = true,
                   .is_streaming = below(w, 2) == 0,
                   .model = (const char *[]){"m", "n", "any"}[below(w, 3)],
                   .key = below(w, 4),
                   .order = ++w->arrivals,
                   .came_at = w->r.now};
    w->newest = slot;
    w->accepted++;
    rig_request(&w->r, (sbx_event_request_new){.owner = slot,
                                               .model = sbx_view_cstr(slot->model),
                                               .key_hash = slot->key,
                                               .body_bytes = below(w, 200),
                                               .streaming = slot->is_streaming,
                                               .body_hash = 1 + below(w, 1000),
                                               .session_hash = below(w, 3),
                                               .timeout_ns = below(w, 4) == 0 ? SBX_MS(1 + below(w, 4000))
                                                                              : SBX_TIME_NEVER});
    take(w);
    w->newest = NULL;
}

static live *any_live(world *w, bool or_waiting)
{
    uint64_t start = below(w, REQUESTS);
    for (uint64_t i = 0; i < REQUESTS; i++) {
        live *request = &w->requests[(start + i) % REQUESTS];
        if (request->is_live && (request->attempt.number > 0 || or_waiting))
            return request;
    }
    return NULL;
}

static sbx_outcome any_outcome(world *w)
{
    if (below(w, 3) == 0)
        return SBX_OUTCOME_OK;
    sbx_outcome outcome = (sbx_outcome)below(w, SBX_OUTCOME_COUNT);
    bool is_ours = outcome == SBX_OUTCOME_CANCELLED || outcome == SBX_OUTCOME_DEADLINE ||
                   outcome == SBX_OUTCOME_AUTH || outcome == SBX_OUTCOME_MODEL_MISSING;
    return is_ours && below(w, 20) != 0 ? SBX_OUTCOME_SERVER_ERROR
                                        : (outcome == SBX_OUTCOME_CANCELLED ? SBX_OUTCOME_RESET : outcome);
}

static void end_attempt(world *w)
{
    live *request = any_live(w, /* or_waiting: */ false);
    if (request == NULL)
        return;
    sbx_outcome outcome = any_outcome(w);
    bool is_current = request->has_attempt;
    if (is_current)
        attempt_over(request, outcome);
    else
        w->sometimes[6]++;
    rig_ended(&w->r, request->attempt, outcome);
    /* A timer of this step may have ended it first: then the router dropped what we said, and check_action
     * would have seen a CANCEL of an attempt we thought over. The driver ticks before, so it cannot. */
    take(w);
}

static void say_something(world *w)
{
    live *request = any_live(w, /* or_waiting: */ false);
    if (request == NULL)
        return;
    sbx_attempt_ref attempt = request->attempt;
    if (below(w, 10) == 0 && attempt.number > 1)
        attempt.number--; /* a stale one */
    switch (below(w, 5)) {
    case 0:
        rig_accepted(&w->r, attempt);
        break;
    case 1:
        rig_chunk(&w->r, attempt, SBX_CHUNK_SILENT);
        break;
    case 2:
        rig_content(&w->r, attempt);
        break;
    case 3:
        rig_progress(&w->r, attempt);
        break;
    default:
        rig_paused(&w->r, attempt, below(w, 2) == 0);
        break;
    }
    take(w);
}

static void end_probe(world *w)
{
    sbx_probe_ref *probe = &w->probes[below(w, WORKERS)];
    if (probe->number == 0)
        return;
    sbx_event ended = {
        .kind = SBX_EVENT_PROBE_ENDED,
        .probe_ended = {.probe = *probe, .outcome = any_outcome(w), .retry_after_ns = -1},
    };
    probe->number = 0;
    w->r.last = sbx_router_step(w->r.router, w->r.now, &ended);
    take(w);
}

static void leave(world *w)
{
    live *request = any_live(w, /* or_waiting: */ true);
    if (request == NULL)
        return;
    rig_leave(&w->r, (sbx_attempt_ref){.request = request->ref});
    take(w);
}

static void beat(world *w, uint64_t index, bool is_new_boot)
{
    char id[8], boot[16];
    w->boots[index] += is_new_boot;
    snprintf(id, sizeof id, "w%u", (unsigned)index);
    snprintf(boot, sizeof boot, "b%u", w->boots[index]);
    sbx_view models[] = {SBX_VIEW("m"), SBX_VIEW("n")};
    sbx_event seen = {.kind = SBX_EVENT_WORKER_SEEN,
                      .seen = {.id = sbx_view_cstr(id),
                               .kind = index % 2 == 0 ? SBX_WORKER_HTTP : SBX_WORKER_NATS,
                               .boot_id = index % 2 == 0 ? (sbx_view){0} : sbx_view_cstr(boot),
                               .models = index % 3 == 1 ? models + 1 : models,
                               .model_count = index % 3 == 2 ? 2 : 1,
                               .capacity = w->capacity,
                               .weight = 100}};
    w->r.last = sbx_router_step(w->r.router, w->r.now, &seen);
    take(w);
}

static void trouble(world *w)
{
    const sbx_registry *registry = sbx_router_registry(w->r.router);
    size_t index = (size_t)below(w, sbx_registry_count(registry));
    sbx_worker_ref ref = sbx_worker_describe(sbx_registry_at(registry, index), w->r.now).ref;
    switch (below(w, 8)) {
    case 0:
        rig_gone(&w->r, ref);
        break;
    case 1:
    case 2:
        rig_health(&w->r, ref, below(w, 2) == 0);
        break;
    case 3:
        rig_admin(&w->r, ref, (sbx_worker_command)below(w, 4));
        break;
    case 4: {
        sbx_event bus = {.kind = SBX_EVENT_BUS_DOWN};
        w->r.last = sbx_router_step(w->r.router, w->r.now, &bus);
        break;
    }
    case 5:
        beat(w, below(w, WORKERS), true);
        return;
    default:
        rig_admin(&w->r, ref, below(w, 2) == 0 ? SBX_COMMAND_RESET : SBX_COMMAND_UNDRAIN);
        break;
    }
    take(w);
}

static void pass_time(world *w)
{
    sbx_time_ns most = below(w, 50) == 0 ? SBX_SEC(40) : SBX_MS(50);
    rig_tick(&w->r, (sbx_time_ns)below(w, (uint64_t)most));
    take(w);
    while (sbx_router_next_deadline(w->r.router) <= w->r.now) {
        rig_tick(&w->r, 0);
        take(w);
    }
}

static void settle(world *w)
{
    while (sbx_router_next_deadline(w->r.router) <= w->r.now) {
        rig_tick(&w->r, 0);
        take(w);
    }
    check_queue(w);
}

/* Nothing new comes, and heartbeats go on. */
static void quiet_time(world *w)
{
    for (int second = 0; second < 12; second++) {
        rig_tick(&w->r, SBX_SEC(1));
        take(w);
        settle(w);
        for (uint64_t i = 0; i < WORKERS; i++)
            beat(w, i, false);
    }
}

static void one_step(world *w)
{
    uint64_t what = below(w, 100);
    if (what < 30)
        new_request(w);
    else if (what < 55)
        say_something(w);
    else if (what < 78)
        end_attempt(w);
    else if (what < 81)
        leave(w);
    else if (what < 83)
        end_probe(w);
    else if (what < 92)
        beat(w, below(w, WORKERS), false);
    else if (what < 94)
        trouble(w);
    else if (what < 95 && below(w, 20) == 0)
        quiet_time(w);
    else
        pass_time(w);
    settle(w);
}

/* ---- the runs --------------------------------------------------------------------------------------------
 */

static const sbx_view any_models[] = {SBX_VIEW_INIT("n"), SBX_VIEW_INIT("m")};
static const sbx_model_alias any = {.name = SBX_VIEW_INIT("any"), .models = any_models, .model_count = 2};

static sbx_policy any_policy(world *w)
{
    sbx_policy policy = rig_policy();
    policy.strategy = (sbx_strategy)below(w, 3);
    policy.retry.max_retries = (uint32_t)below(w, 5);
    policy.breaker.failure_threshold = 1 + (uint32_t)below(w, 6);
    policy.breaker.half_open_max_probes = 1 + (uint32_t)below(w, 3);
    policy.breaker.timeout_ns = below(w, 4) == 0 ? 0 : SBX_MS(below(w, 5000));
    policy.slow_start_ns = SBX_MS(below(w, 3000));
    policy.max_requests = 48; /* less than may come: the table's cap is met */
    policy.queue = (sbx_queue_policy){.max_length = (uint32_t)below(w, 20),
                                      .max_bytes = 100 + below(w, 2000),
                                      .max_wait_ns = SBX_MS(1 + below(w, 3000))};
    policy.aliases = &any;
    policy.alias_count = 1;
    w->capacity = 1 + (uint32_t)below(w, 4);
    return policy;
}

/* All faults end; everything that runs gets its answer or its limit. */
static void wind_down(world *w)
{
    for (int i = 0; i < REQUESTS; i++) {
        if (!w->requests[i].is_live || !w->requests[i].has_attempt)
            continue;
        attempt_over(&w->requests[i], SBX_OUTCOME_OK);
        rig_ended(&w->r, w->requests[i].attempt, SBX_OUTCOME_OK);
        take(w);
    }
    rig_tick(&w->r, SBX_SEC(700));
    take(w);
    settle(w);
    HOLDS(w, sbx_router_counts_of(w->r.router).in_flight == 0);
    HOLDS(w, w->r.router->request_timers.count == 0);
    HOLDS(w, sbx_router_counts_of(w->r.router).queued == 0);
    HOLDS(w, w->r.router->queue.flow_by_key.count == 0);
    const sbx_registry *registry = sbx_router_registry(w->r.router);
    for (size_t i = 0; i < sbx_registry_count(registry); i++)
        HOLDS(w, sbx_registry_at(registry, i)->breaker.probes_out == 0);
}

static void run(world *w, uint64_t seed)
{
    w->seed = seed;
    sbx_rng_seed(&w->rng, seed);
    memset(w->requests, 0, sizeof w->requests);
    memset(w->boots, 0, sizeof w->boots);
    memset(w->probes, 0, sizeof w->probes);
    w->accepted = 0;
    w->ended = 0;
    w->policy = any_policy(w);
    rig_open(&w->r, &w->policy);
    for (uint64_t i = 0; i < WORKERS; i++)
        beat(w, i, false);
    for (int i = 0; i < STEPS; i++)
        one_step(w);
    wind_down(w);
    rig_close(&w->r);
}

static void invariants_hold_whatever_happens(void **state)
{
    (void)state;
    static world w;
    const char *first = getenv("SBX_SEED");
    const char *count = getenv("SBX_SEEDS");
    uint64_t seed = first == NULL ? 1 : strtoull(first, NULL, 10);
    uint64_t runs = count == NULL ? 12 : strtoull(count, NULL, 10);
    for (uint64_t i = 0; i < runs; i++)
        run(&w, seed + i);
    for (int i = 0; i <= 11; i++)
        assert_int_not_equal(w.sometimes[i], 0); /* else the driver does not drive */
}

static void the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    static world a, b;
    run(&a, 77);
    run(&b, 77);
    assert_int_equal(a.accepted, b.accepted);
    assert_int_equal(a.r.now, b.r.now);
    assert_memory_equal(a.sometimes, b.sometimes, sizeof a.sometimes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(invariants_hold_whatever_happens),
        cmocka_unit_test(the_same_seed_gives_the_same_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
