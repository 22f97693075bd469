/* Balancers and tiers: who is picked among the candidates of a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/router_priv.h"
#include "unit/core/support_rig.h"

static rig r;

static void open_with(sbx_strategy strategy, uint32_t max_workers)
{
    sbx_policy policy = rig_policy();
    policy.strategy = strategy;
    policy.max_workers = max_workers;
    policy.max_requests = 4096;
    rig_open(&r, &policy);
}

static int round_robin(void **state)
{
    (void)state;
    open_with(SBX_STRATEGY_ROUND_ROBIN, 64);
    return 0;
}

static int least_loaded(void **state)
{
    (void)state;
    open_with(SBX_STRATEGY_LEAST_LOADED, 64);
    return 0;
}

static int smart(void **state)
{
    (void)state;
    open_with(SBX_STRATEGY_SMART, 64);
    return 0;
}

static int smart_many(void **state)
{
    (void)state;
    open_with(SBX_STRATEGY_SMART, 2000);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    rig_close(&r);
    return 0;
}

static sbx_worker_ref add(const char *id, uint32_t capacity, uint32_t weight)
{
    sbx_view models[] = {SBX_VIEW_INIT("m")};
    sbx_event event = {.kind = SBX_EVENT_WORKER_SEEN,
                       .seen = {.id = sbx_view_cstr(id),
                                .models = models,
                                .model_count = 1,
                                .capacity = capacity,
                                .weight = weight}};
    r.last = sbx_router_step(r.router, r.now, &event);
    return sbx_worker_describe(sbx_registry_find(sbx_router_registry(r.router), event.seen.id), r.now).ref;
}

static void add_many(uint32_t count, uint32_t capacity)
{
    char id[16];
    for (uint32_t i = 0; i < count; i++) {
        snprintf(id, sizeof id, "w%u", i);
        rig_worker(&r, id, capacity);
    }
}

static uint32_t in_flight(const char *id)
{
    const sbx_worker *worker = sbx_registry_find(sbx_router_registry(r.router), sbx_view_cstr(id));
    return sbx_worker_describe(worker, r.now).in_flight;
}

static void start(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        rig_buffered(&r);
}

/* One streaming request whose first content takes that long. */
static void serve(sbx_time_ns first_content)
{
    sbx_attempt_ref attempt = rig_streaming(&r);
    rig_accepted(&r, attempt);
    rig_tick(&r, first_content);
    rig_content(&r, attempt);
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
}

/* ---- round_robin --------------------------------------------------------------------------------------- */

static void round_robin_takes_one_after_the_other(void **state)
{
    (void)state;
    add_many(3, 100);
    const char *expected[] = {"w0", "w1", "w2", "w0", "w1", "w2"};
    for (int i = 0; i < 6; i++) {
        rig_buffered(&r);
        assert_string_equal(rig_started_at(&r), expected[i]);
    }
}

static void round_robin_passes_over_who_has_no_room(void **state)
{
    (void)state;
    rig_worker(&r, "w0", 100);
    rig_worker(&r, "w1", 1);
    rig_worker(&r, "w2", 100);
    start(30);
    assert_int_equal(in_flight("w1"), 1);
    assert_int_equal(in_flight("w0") + in_flight("w2"), 29);
}

static void round_robin_keeps_its_order_through_a_retry_that_waits(void **state)
{
    (void)state;
    add_many(4, 100);
    sbx_attempt_ref attempt = rig_buffered(&r);
    rig_ended(&r, attempt, SBX_OUTCOME_SERVER_ERROR);
    rig_until_start(&r, SBX_MS(101));
    assert_string_equal(rig_started_at(&r), "w1");
    rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "w2");
}

/* ---- least_loaded -------------------------------------------------------------------------------------- */

static void least_loaded_fills_by_capacity(void **state)
{
    (void)state;
    rig_worker(&r, "small", 4);
    rig_worker(&r, "big", 16);
    start(10);
    assert_int_equal(in_flight("small"), 2);
    assert_int_equal(in_flight("big"), 8);
}

static void weight_counts_as_more_capacity(void **state)
{
    (void)state;
    add("plain", 100, 100);
    add("heavy", 100, 300);
    start(40);
    assert_int_equal(in_flight("plain"), 10);
    assert_int_equal(in_flight("heavy"), 30);
}

static void ties_rotate(void **state)
{
    (void)state;
    add_many(3, 100);
    for (int i = 0; i < 30; i++)
        rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_OK);
    for (size_t i = 0; i < 3; i++) {
        const sbx_worker *worker = sbx_registry_at(sbx_router_registry(r.router), i);
        assert_int_equal(sbx_worker_describe(worker, r.now).attempts, 10);
    }
}

static void a_worker_that_fails_fast_is_never_the_favourite(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.breaker.enabled = false;
    policy.strategy = SBX_STRATEGY_LEAST_LOADED;
    assert_int_equal(sbx_router_set_policy(r.router, &policy), SBX_OK);
    sbx_worker_ref bad = rig_worker(&r, "bad", 64);
    rig_worker(&r, "good", 64);
    uint32_t served = 0;
    for (int i = 0; i < 60; i++) {
        sbx_attempt_ref attempt = rig_buffered(&r);
        if (rig_find(&r, SBX_ACTION_START)->start.worker.slot == bad.slot) {
            rig_ended(&r, attempt, SBX_OUTCOME_SERVER_ERROR);
            rig_until_start(&r, SBX_MS(101));
        }
        served++;
    }
    assert_int_equal(served, 60);
    /* An idle-looking black hole would draw nearly all of them. */
    assert_true(rig_info(&r, bad).attempts < 25);
}

/* ---- smart --------------------------------------------------------------------------------------------- */

static void smart_prefers_the_worker_that_was_measured_faster(void **state)
{
    (void)state;
    add_many(2, 100);
    for (int i = 0; i < 8; i++) {
        sbx_attempt_ref attempt = rig_streaming(&r);
        bool is_slow = rig_started_at(&r)[1] == '0';
        rig_accepted(&r, attempt);
        rig_tick(&r, is_slow ? SBX_MS(800) : SBX_MS(100));
        rig_content(&r, attempt);
        rig_ended(&r, attempt, SBX_OUTCOME_OK);
    }
    start(9);
    assert_true(in_flight("w1") > in_flight("w0"));
}

static void smart_still_loads_the_slow_one_when_the_fast_one_is_busy(void **state)
{
    (void)state;
    smart_prefers_the_worker_that_was_measured_faster(NULL);
    start(150);
    assert_true(in_flight("w0") > 10);
}

static void workers_of_nearly_equal_speed_share_alike(void **state)
{
    (void)state;
    add_many(3, 100);
    for (int i = 0; i < 60; i++)
        serve(SBX_MS(100 + i % 3));
    for (size_t i = 0; i < 3; i++) {
        const sbx_worker *worker = sbx_registry_at(sbx_router_registry(r.router), i);
        assert_in_range(sbx_worker_describe(worker, r.now).attempts, 15, 25);
    }
}

static void a_slow_measurement_is_doubted_after_a_while(void **state)
{
    (void)state;
    add_many(2, 100);
    for (int i = 0; i < 8; i++) {
        sbx_attempt_ref attempt = rig_streaming(&r);
        bool is_slow = rig_started_at(&r)[1] == '0';
        rig_accepted(&r, attempt);
        rig_tick(&r, is_slow ? SBX_MS(2000) : SBX_MS(100));
        rig_content(&r, attempt);
        rig_ended(&r, attempt, SBX_OUTCOME_OK);
    }
    uint64_t before = rig_info(&r, (sbx_worker_ref){.slot = 0, .generation = 1}).attempts;
    rig_run(&r, SBX_SEC(61));
    for (int i = 0; i < 10; i++)
        serve(SBX_MS(100));
    assert_true(rig_info(&r, (sbx_worker_ref){.slot = 0, .generation = 1}).attempts > before);
}

/* ---- many candidates ----------------------------------------------------------------------------------- */

static void among_very_many_a_few_are_drawn_and_load_stays_even(void **state)
{
    (void)state;
    add_many(1000, 16);
    start(3000);
    uint32_t most = 0;
    for (size_t i = 0; i < 1000; i++) {
        const sbx_worker *worker = sbx_registry_at(sbx_router_registry(r.router), i);
        uint32_t load = sbx_worker_describe(worker, r.now).in_flight;
        most = load > most ? load : most;
    }
    assert_in_range(most, 3, 6);
}

static void the_one_eligible_among_very_many_is_found(void **state)
{
    (void)state;
    add_many(1000, 1);
    for (uint32_t i = 0; i < 1000; i++) {
        if (i != 617)
            rig_admin(&r, sbx_worker_describe(sbx_registry_at(sbx_router_registry(r.router), i), r.now).ref,
                      SBX_COMMAND_DRAIN);
    }
    rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "w617");
    rig_buffered(&r);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_WORKER_OVERLOADED);
}

static void workers_of_other_models_are_not_looked_at(void **state)
{
    (void)state;
    add_many(1000, 1);
    rig_worker_of(&r, "other", "n", 1);
    rig_request(&r, (sbx_event_request_new){.model = SBX_VIEW("n")});
    const sbx_action *note = rig_find(&r, SBX_ACTION_NOTE);
    assert_int_equal(note->note.total, 1);
    assert_string_equal(rig_started_at(&r), "other");
}

#define TEST(set_up, test) cmocka_unit_test_setup_teardown(test, set_up, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(round_robin, round_robin_takes_one_after_the_other),
        TEST(round_robin, round_robin_passes_over_who_has_no_room),
        TEST(round_robin, round_robin_keeps_its_order_through_a_retry_that_waits),
        TEST(least_loaded, least_loaded_fills_by_capacity),
        TEST(least_loaded, weight_counts_as_more_capacity),
        TEST(least_loaded, ties_rotate),
        TEST(least_loaded, a_worker_that_fails_fast_is_never_the_favourite),
        TEST(smart, smart_prefers_the_worker_that_was_measured_faster),
        TEST(smart, smart_still_loads_the_slow_one_when_the_fast_one_is_busy),
        TEST(smart, workers_of_nearly_equal_speed_share_alike),
        TEST(smart, a_slow_measurement_is_doubted_after_a_while),
        TEST(smart_many, among_very_many_a_few_are_drawn_and_load_stays_even),
        TEST(smart_many, the_one_eligible_among_very_many_is_found),
        TEST(smart_many, workers_of_other_models_are_not_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
