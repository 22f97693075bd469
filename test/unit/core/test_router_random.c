/* The router under random events from a seed: after every step the invariants hold (support_world.h), and
 * when all is over nothing is left. Here is what happens; there is what must be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/router_priv.h"
#include "unit/core/support_rig.h"
#include "unit/core/support_world.h"

enum {
    STEPS = 20000
};

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
                   .is_streaming = world_below(w, 2) == 0,
                   .model = (const char *[]){"m", "n", "any"}[world_below(w, 3)],
                   .key = world_below(w, 4),
                   .order = ++w->arrivals,
                   .came_at = w->r.now};
    w->newest = slot;
    w->accepted++;
    rig_request(&w->r, (sbx_event_request_new){.owner = slot,
                                               .model = sbx_view_cstr(slot->model),
                                               .key_hash = slot->key,
                                               .body_bytes = world_below(w, 200),
                                               .streaming = slot->is_streaming,
                                               .body_hash = 1 + world_below(w, 1000),
                                               .session_hash = world_below(w, 3),
                                               .timeout_ns = world_below(w, 4) == 0
                                                                 ? SBX_MS(1 + world_below(w, 4000))
                                                                 : SBX_TIME_NEVER});
    world_take(w);
    w->newest = NULL;
}

static live *any_live(world *w, bool or_waiting)
{
    uint64_t start = world_below(w, REQUESTS);
    for (uint64_t i = 0; i < REQUESTS; i++) {
        live *request = &w->requests[(start + i) % REQUESTS];
        if (request->is_live && (request->attempt.number > 0 || or_waiting))
            return request;
    }
    return NULL;
}

static sbx_outcome any_outcome(world *w)
{
    if (world_below(w, 3) == 0)
        return SBX_OUTCOME_OK;
    sbx_outcome outcome = (sbx_outcome)world_below(w, SBX_OUTCOME_COUNT);
    bool is_ours = outcome == SBX_OUTCOME_CANCELLED || outcome == SBX_OUTCOME_DEADLINE ||
                   outcome == SBX_OUTCOME_AUTH || outcome == SBX_OUTCOME_MODEL_MISSING;
    return is_ours && world_below(w, 20) != 0
               ? SBX_OUTCOME_SERVER_ERROR
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
        world_attempt_over(request, outcome);
    else
        w->sometimes[6]++;
    rig_ended(&w->r, request->attempt, outcome);
    /* A timer of this step may have ended it first: then the router dropped what we said, and world_take
     * would have seen a CANCEL of an attempt we thought over. The driver ticks before, so it cannot. */
    world_take(w);
}

static void say_something(world *w)
{
    live *request = any_live(w, /* or_waiting: */ false);
    if (request == NULL)
        return;
    sbx_attempt_ref attempt = request->attempt;
    if (world_below(w, 10) == 0 && attempt.number > 1)
        attempt.number--; /* a stale one */
    switch (world_below(w, 5)) {
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
        rig_paused(&w->r, attempt, world_below(w, 2) == 0);
        break;
    }
    world_take(w);
}

static void end_probe(world *w)
{
    sbx_probe_ref *probe = &w->probes[world_below(w, WORKERS)];
    if (probe->number == 0)
        return;
    sbx_event ended = {
        .kind = SBX_EVENT_PROBE_ENDED,
        .probe_ended = {.probe = *probe, .outcome = any_outcome(w), .retry_after_ns = -1},
    };
    probe->number = 0;
    w->r.last = sbx_router_step(w->r.router, w->r.now, &ended);
    world_take(w);
}

static void leave(world *w)
{
    live *request = any_live(w, /* or_waiting: */ true);
    if (request == NULL)
        return;
    rig_leave(&w->r, (sbx_attempt_ref){.request = request->ref});
    world_take(w);
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
    world_take(w);
}

static void trouble(world *w)
{
    const sbx_registry *registry = sbx_router_registry(w->r.router);
    size_t index = (size_t)world_below(w, sbx_registry_count(registry));
    sbx_worker_ref ref = sbx_worker_describe(sbx_registry_at(registry, index), w->r.now).ref;
    switch (world_below(w, 8)) {
    case 0:
        rig_gone(&w->r, ref);
        break;
    case 1:
    case 2:
        rig_health(&w->r, ref, world_below(w, 2) == 0);
        break;
    case 3:
        rig_admin(&w->r, ref, (sbx_worker_command)world_below(w, 4));
        break;
    case 4: {
        sbx_event bus = {.kind = SBX_EVENT_BUS_DOWN};
        w->r.last = sbx_router_step(w->r.router, w->r.now, &bus);
        break;
    }
    case 5:
        beat(w, world_below(w, WORKERS), true);
        return;
    default:
        rig_admin(&w->r, ref, world_below(w, 2) == 0 ? SBX_COMMAND_RESET : SBX_COMMAND_UNDRAIN);
        break;
    }
    world_take(w);
}

static void pass_time(world *w)
{
    sbx_time_ns most = world_below(w, 50) == 0 ? SBX_SEC(40) : SBX_MS(50);
    rig_tick(&w->r, (sbx_time_ns)world_below(w, (uint64_t)most));
    world_take(w);
    while (sbx_router_next_deadline(w->r.router) <= w->r.now) {
        rig_tick(&w->r, 0);
        world_take(w);
    }
}

static void settle(world *w)
{
    while (sbx_router_next_deadline(w->r.router) <= w->r.now) {
        rig_tick(&w->r, 0);
        world_take(w);
    }
    world_check_queue(w);
}

/* Nothing new comes, and heartbeats go on. */
static void quiet_time(world *w)
{
    for (int second = 0; second < 12; second++) {
        rig_tick(&w->r, SBX_SEC(1));
        world_take(w);
        settle(w);
        for (uint64_t i = 0; i < WORKERS; i++)
            beat(w, i, false);
    }
}

static void one_step(world *w)
{
    uint64_t what = world_below(w, 100);
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
        beat(w, world_below(w, WORKERS), false);
    else if (what < 94)
        trouble(w);
    else if (what < 95 && world_below(w, 20) == 0)
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
    policy.strategy = (sbx_strategy)world_below(w, 3);
    policy.retry.max_retries = (uint32_t)world_below(w, 5);
    policy.breaker.failure_threshold = 1 + (uint32_t)world_below(w, 6);
    policy.breaker.half_open_max_probes = 1 + (uint32_t)world_below(w, 3);
    policy.breaker.timeout_ns = world_below(w, 4) == 0 ? 0 : SBX_MS(world_below(w, 5000));
    policy.slow_start_ns = SBX_MS(world_below(w, 3000));
    policy.max_requests = 48; /* less than may come: the table's cap is met */
    policy.queue = (sbx_queue_policy){.max_length = (uint32_t)world_below(w, 20),
                                      .max_bytes = 100 + world_below(w, 2000),
                                      .max_wait_ns = SBX_MS(1 + world_below(w, 3000))};
    policy.aliases = &any;
    policy.alias_count = 1;
    w->capacity = 1 + (uint32_t)world_below(w, 4);
    return policy;
}

/* All faults end; everything that runs gets its answer or its limit. */
static void wind_down(world *w)
{
    for (int i = 0; i < REQUESTS; i++) {
        if (!w->requests[i].is_live || !w->requests[i].has_attempt)
            continue;
        world_attempt_over(&w->requests[i], SBX_OUTCOME_OK);
        rig_ended(&w->r, w->requests[i].attempt, SBX_OUTCOME_OK);
        world_take(w);
    }
    rig_tick(&w->r, SBX_SEC(700));
    world_take(w);
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
