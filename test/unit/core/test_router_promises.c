/* The promises of the reliability rules, on virtual time: clients, workers with faults, and the router
 * between them. Nothing is real but the core; the whole of it runs in a second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/router_priv.h"
#include "unit/core/support_rig.h"

enum {
    WORKERS = 3,
    CLIENTS = 64,
    CAPACITY = 16, /* the default of an http worker */
    REQUESTS = 10000
};
#define SERVICE SBX_MS(50)

typedef enum fault {
    WELL,
    ERROR_500,
    RESETS,
    REFUSES,
    GARBAGE,    /* at the end of the time a good answer takes */
    BUSY,       /* 429 */
    TAKES_FOUR, /* at a time, and is busy for more */
    HANGS,
    CUTS_BEFORE_CONTENT,
    RANDOM_5_PERCENT
} fault;

/* What a worker does next about one attempt. */
typedef struct pending {
    bool is_live;
    sbx_attempt_ref attempt;
    uint32_t worker;
    uint32_t client;
    sbx_time_ns at;
    sbx_outcome outcome;
    bool sends_content; /* half-way, for streams */
} pending;

typedef struct client {
    bool is_streaming;
    bool is_waiting;
    bool is_committed;
    sbx_time_ns starts_at;
} client;

typedef struct world {
    rig r;
    sbx_rng rng;
    fault faults[WORKERS];
    bool is_dead[WORKERS];
    uint64_t attempts[WORKERS];
    sbx_worker_ref refs[WORKERS];
    pending pendings[512];
    client clients[512];
    uint32_t client_count;
    sbx_time_ns retry_after; /* that busy ones name; -1: none */
    uint64_t ok, failed, failed_uncommitted, interrupted;
} world;

static world w;

static uint32_t working_at(const world *x, uint32_t worker)
{
    uint32_t count = 0;
    for (size_t i = 0; i < 512; i++) {
        const pending *p = &x->pendings[i];
        count += p->is_live && p->worker == worker && p->outcome == SBX_OUTCOME_OK;
    }
    return count;
}

static void start(world *x, const sbx_action *action)
{
    uint32_t worker = 0;
    while (x->refs[worker].slot != action->start.worker.slot)
        worker++;
    pending *slot = x->pendings;
    while (slot->is_live)
        slot++;
    client *who = action->owner;
    *slot = (pending){.is_live = true,
                      .attempt = action->start.attempt,
                      .worker = worker,
                      .client = (uint32_t)(who - x->clients),
                      .at = x->r.now + SERVICE,
                      .outcome = SBX_OUTCOME_OK,
                      .sends_content = who->is_streaming};
    x->attempts[worker]++;
    fault what = x->faults[worker];
    if (what == RANDOM_5_PERCENT)
        what = sbx_rng_below(&x->rng, 20) == 0 ? (fault)(1 + sbx_rng_below(&x->rng, 4)) : WELL;
    if (x->is_dead[worker])
        what = REFUSES;
    switch (what) {
    case WELL:
    case RANDOM_5_PERCENT:
        return;
    case ERROR_500:
        slot->outcome = SBX_OUTCOME_SERVER_ERROR;
        slot->at = x->r.now + SBX_MS(1);
        break;
    case RESETS:
    case CUTS_BEFORE_CONTENT:
        slot->outcome = SBX_OUTCOME_RESET;
        slot->at = x->r.now + (what == RESETS ? SBX_MS(1) : SERVICE / 2);
        break;
    case REFUSES:
        slot->outcome = SBX_OUTCOME_REFUSED;
        slot->at = x->r.now + SBX_US(200);
        break;
    case GARBAGE:
        slot->outcome = SBX_OUTCOME_MALFORMED;
        break;
    case BUSY:
        slot->outcome = SBX_OUTCOME_OVERLOADED;
        slot->at = x->r.now + SBX_MS(1);
        break;
    case TAKES_FOUR:
        if (working_at(x, worker) <= 4)
            return;
        slot->outcome = SBX_OUTCOME_OVERLOADED;
        slot->at = x->r.now + SBX_MS(1);
        break;
    case HANGS:
        slot->at = SBX_TIME_NEVER;
        break;
    }
    slot->sends_content = false;
}

static pending *pending_of(world *x, sbx_attempt_ref attempt)
{
    for (size_t i = 0; i < 512; i++) {
        pending *p = &x->pendings[i];
        if (p->is_live && p->attempt.request.slot == attempt.request.slot &&
            p->attempt.request.generation == attempt.request.generation &&
            p->attempt.number == attempt.number)
            return p;
    }
    fail_msg("an attempt that nobody works on");
    return NULL;
}

static void take(world *x)
{
    for (uint32_t i = 0; i < x->r.last.count; i++) {
        const sbx_action *action = &x->r.last.items[i];
        client *who = action->owner;
        if (action->kind == SBX_ACTION_START)
            start(x, action);
        else if (action->kind == SBX_ACTION_CANCEL)
            pending_of(x, action->cancel.attempt)->is_live = false;
        else if (action->kind == SBX_ACTION_COMMIT)
            who->is_committed = true;
        else if (action->kind == SBX_ACTION_SUCCEED || action->kind == SBX_ACTION_FAIL) {
            bool is_ok = action->kind == SBX_ACTION_SUCCEED;
            x->ok += is_ok;
            x->failed += !is_ok;
            x->failed_uncommitted += !is_ok && !who->is_committed;
            x->interrupted += !is_ok && who->is_committed;
            who->is_waiting = false;
        }
    }
}

static void ask(world *x, client *who)
{
    who->is_waiting = true;
    who->is_committed = false;
    rig_request(&x->r, (sbx_event_request_new){.owner = who, .streaming = who->is_streaming, .body_hash = 5});
    take(x);
}

static void do_pending(world *x, pending *p)
{
    sbx_attempt_ref attempt = p->attempt;
    if (p->sends_content) {
        p->sends_content = false;
        p->at = x->r.now + SERVICE / 2;
        rig_content(&x->r, attempt);
    } else {
        p->is_live = false;
        if (p->outcome == SBX_OUTCOME_OVERLOADED)
            rig_busy(&x->r, attempt, x->retry_after);
        else
            rig_ended(&x->r, attempt, p->outcome);
    }
    take(x);
}

/* To the next thing that happens, at most until `limit`. */
static void advance(world *x, sbx_time_ns limit)
{
    sbx_time_ns at = sbx_time_min(limit, sbx_router_next_deadline(x->r.router));
    pending *next = NULL;
    for (size_t i = 0; i < 512; i++) {
        pending *p = &x->pendings[i];
        if (p->is_live && p->at < at) {
            at = p->at;
            next = p;
        }
    }
    x->r.now = sbx_time_max(x->r.now, at);
    if (next != NULL) {
        do_pending(x, next);
    } else {
        rig_tick(&x->r, 0);
        take(x);
    }
}

static void open_world(sbx_strategy strategy, const fault faults[WORKERS])
{
    sbx_policy policy = sbx_policy_default();
    policy.strategy = strategy;
    policy.max_workers = 16;
    memset(&w, 0, sizeof w);
    w.retry_after = -1;
    sbx_rng_seed(&w.rng, 11);
    rig_open(&w.r, &policy);
    for (uint32_t i = 0; i < WORKERS; i++) {
        w.faults[i] = faults[i];
        w.refs[i] = rig_worker(&w.r, (const char *[]){"w0", "w1", "w2"}[i], CAPACITY);
    }
}

/* 64 clients, each asking again as soon as it is answered. */
static void closed_loop(bool is_streaming, uint64_t requests)
{
    while (w.ok + w.failed < requests) {
        for (uint32_t i = 0; i < CLIENTS; i++) {
            w.clients[i].is_streaming = is_streaming;
            if (!w.clients[i].is_waiting)
                ask(&w, &w.clients[i]);
        }
        advance(&w, SBX_TIME_NEVER);
    }
}

static void expect_all_served(fault what, uint32_t faulty, uint64_t most_attempts)
{
    for (int run = 0; run < 6; run++) {
        fault faults[WORKERS] = {WELL, WELL, WELL};
        for (uint32_t i = 0; i < faulty; i++)
            faults[i] = what;
        open_world((sbx_strategy)(run / 2), faults);
        closed_loop(run % 2 == 0, REQUESTS);
        if (w.failed > 0 || w.attempts[0] > most_attempts)
            fail_msg("strategy %d, streaming %d: %llu failed, %llu attempts at the faulty one", run / 2,
                     run % 2 == 0, (unsigned long long)w.failed, (unsigned long long)w.attempts[0]);
        rig_close(&w.r);
    }
}

static void one_of_three_failing_at_once_costs_no_client_anything(void **state)
{
    (void)state;
    expect_all_served(ERROR_500, 1, 200);
    expect_all_served(RESETS, 1, 200);
    expect_all_served(REFUSES, 1, 200);
}

static void one_of_three_failing_late_costs_no_client_anything(void **state)
{
    (void)state;
    expect_all_served(GARBAGE, 1, 200);
    expect_all_served(CUTS_BEFORE_CONTENT, 1, 200);
}

static void one_of_three_busy_costs_no_client_anything(void **state)
{
    (void)state;
    expect_all_served(BUSY, 1, 200);
}

/* Whatever they say when to come back, and though it is never true. */
static void busy_workers_that_name_a_time_cost_no_client_anything(void **state)
{
    (void)state;
    const fault faults[WORKERS] = {BUSY, BUSY, WELL};
    const sbx_time_ns times[] = {0, SBX_MS(100), SBX_SEC(1), SBX_SEC(5)};
    for (size_t i = 0; i < 4; i++) {
        open_world(SBX_STRATEGY_SMART, faults);
        w.retry_after = times[i];
        closed_loop(/* is_streaming: */ false, REQUESTS);
        assert_int_equal(w.failed, 0);
        assert_in_range(w.attempts[0] + w.attempts[1], 2, 200);
        rig_close(&w.r);
    }
}

/* maxConcurrent is 16, and what they really take is less: it is learned, and the others wait for room. */
static void workers_that_take_less_than_they_should_cost_no_client_anything(void **state)
{
    (void)state;
    const fault faults[WORKERS] = {TAKES_FOUR, TAKES_FOUR, TAKES_FOUR};
    for (int run = 0; run < 6; run++) {
        open_world((sbx_strategy)(run / 2), faults);
        closed_loop(run % 2 == 0, REQUESTS);
        assert_int_equal(w.failed, 0);
        assert_in_range(w.attempts[0] + w.attempts[1] + w.attempts[2], REQUESTS, REQUESTS * 102 / 100);
        rig_close(&w.r);
    }
}

static void one_of_three_hanging_costs_no_client_anything(void **state)
{
    (void)state;
    expect_all_served(HANGS, 1, 200);
}

static void two_of_three_failing_cost_no_client_anything(void **state)
{
    (void)state;
    expect_all_served(ERROR_500, 2, 200);
    expect_all_served(RESETS, 2, 200);
    expect_all_served(REFUSES, 2, 200);
    expect_all_served(GARBAGE, 2, 200);
    expect_all_served(BUSY, 2, 200);
    expect_all_served(HANGS, 2, 200);
}

static void every_attempt_failing_at_5_percent_leaves_999_of_1000_served(void **state)
{
    (void)state;
    const fault faults[WORKERS] = {RANDOM_5_PERCENT, RANDOM_5_PERCENT, RANDOM_5_PERCENT};
    for (int run = 0; run < 6; run++) {
        open_world((sbx_strategy)(run / 2), faults);
        closed_loop(run % 2 == 0, REQUESTS);
        assert_true(w.failed * 1000 <= w.ok + w.failed);
        rig_close(&w.r);
    }
}

/* ---- workers that are killed --------------------------------------------------------------------------- */

static uint32_t boots[WORKERS];

static void beat(uint32_t worker)
{
    char boot[16];
    snprintf(boot, sizeof boot, "b%u", boots[worker]);
    w.refs[worker] = rig_nats(&w.r, (const char *[]){"w0", "w1", "w2"}[worker], boot, CAPACITY);
    take(&w);
}

/* As the bus reports it: its attempts have no responder any more, then the worker is gone. */
static void kill_worker(uint32_t worker)
{
    w.is_dead[worker] = true;
    for (size_t i = 0; i < 512; i++) {
        pending *p = &w.pendings[i];
        if (!p->is_live || p->worker != worker)
            continue;
        p->is_live = false;
        rig_ended(&w.r, p->attempt, SBX_OUTCOME_RESET);
        take(&w);
    }
    rig_gone(&w.r, w.refs[worker]);
    take(&w);
}

static void run_until(sbx_time_ns end)
{
    while (w.r.now < end) {
        sbx_time_ns next = end;
        for (uint32_t i = 0; i < w.client_count; i++) {
            if (!w.clients[i].is_waiting && w.clients[i].starts_at <= w.r.now) {
                w.clients[i].starts_at += SBX_MS(5) * w.client_count;
                ask(&w, &w.clients[i]);
            }
            if (!w.clients[i].is_waiting)
                next = sbx_time_min(next, w.clients[i].starts_at);
        }
        advance(&w, next);
    }
}

/* 200 requests a second, buffered and streamed; every 2 s one of three is killed and is back after 0.5 s. */
static void workers_killed_every_two_seconds_lose_no_uncommitted_request(void **state)
{
    (void)state;
    const fault faults[WORKERS] = {WELL, WELL, WELL};
    open_world(SBX_STRATEGY_SMART, faults);
    w.client_count = 200;
    for (uint32_t i = 0; i < w.client_count; i++)
        w.clients[i] = (client){.is_streaming = i % 2 == 0, .starts_at = w.r.now + SBX_MS(5) * i};
    memset(boots, 0, sizeof boots);
    for (uint32_t i = 0; i < WORKERS; i++)
        beat(i);
    for (uint32_t half = 0; half < 120; half++) {
        uint32_t victim = half / 4 % WORKERS;
        if (half % 4 == 0)
            kill_worker(victim);
        if (half % 4 == 1) {
            w.is_dead[victim] = false;
            boots[victim]++;
        }
        for (uint32_t i = 0; i < WORKERS; i++) {
            if (!w.is_dead[i])
                beat(i);
        }
        run_until(w.r.now + SBX_MS(500));
    }
    assert_int_equal(w.failed_uncommitted, 0);
    assert_true(w.interrupted > 0);
    assert_in_range(w.ok, 11000, 12100);
    rig_close(&w.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_of_three_failing_at_once_costs_no_client_anything),
        cmocka_unit_test(one_of_three_failing_late_costs_no_client_anything),
        cmocka_unit_test(one_of_three_busy_costs_no_client_anything),
        cmocka_unit_test(busy_workers_that_name_a_time_cost_no_client_anything),
        cmocka_unit_test(workers_that_take_less_than_they_should_cost_no_client_anything),
        cmocka_unit_test(one_of_three_hanging_costs_no_client_anything),
        cmocka_unit_test(two_of_three_failing_cost_no_client_anything),
        cmocka_unit_test(every_attempt_failing_at_5_percent_leaves_999_of_1000_served),
        cmocka_unit_test(workers_killed_every_two_seconds_lose_no_uncommitted_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
