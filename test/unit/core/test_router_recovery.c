/* How workers recover or are kept away: open breakers and probes, busy answers, health, admin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/router_priv.h"
#include "unit/core/support_rig.h"

static rig r;

static int open_rig(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    rig_open(&r, &policy);
    return 0;
}

static int open_smart_rig(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.strategy = SBX_STRATEGY_SMART;
    rig_open(&r, &policy);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    rig_close(&r);
    return 0;
}

/* ---- recovery ------------------------------------------------------------------------------------------ */

static void an_open_worker_gets_no_traffic_and_then_a_probe_ahead_of_the_balancer(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    rig_trip(&r, w1);
    for (int i = 0; i < 6; i++) {
        sbx_attempt_ref attempt = rig_buffered(&r);
        assert_string_equal(rig_started_at(&r), "w2");
        rig_ended(&r, attempt, SBX_OUTCOME_OK);
    }
    rig_run(&r, SBX_SEC(30));
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_HALF_OPEN);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_OK);
    assert_int_equal(rig_info(&r, w1).successes, 1);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_OK);
    assert_int_equal(rig_info(&r, w1).successes, 1); /* at most one a second per model */
    rig_tick(&r, SBX_SEC(1));
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_OK);
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_CLOSED);
}

static bool is_picked_of(const char *name, int requests)
{
    bool is_picked = false;
    for (int i = 0; i < requests; i++) {
        sbx_attempt_ref attempt = rig_buffered(&r);
        is_picked = is_picked || strcmp(rig_started_at(&r), name) == 0;
        rig_ended(&r, attempt, SBX_OUTCOME_OK);
        rig_tick(&r, SBX_MS(100));
    }
    return is_picked;
}

/* With nothing in flight the cheapest always wins: a trace of old failures must not make one dearer for ever.
 */
static void a_worker_that_failed_is_picked_again_in_an_idle_cluster_soon(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    assert_true(is_picked_of("w1", 4) && is_picked_of("w2", 4));
    sbx_attempt_ref attempt = rig_buffered(&r);
    const char *failed = strcmp(rig_started_at(&r), "w1") == 0 ? "w1" : "w2";
    rig_ended(&r, attempt, SBX_OUTCOME_SERVER_ERROR);
    rig_until_start(&r, SBX_SEC(1)); /* the retry, elsewhere */
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_OK);
    assert_false(is_picked_of(failed, 20));
    rig_tick(&r, SBX_SEC(10));
    assert_true(is_picked_of(failed, 4));
}

static void half_open_is_noted_when_its_time_comes(void **state)
{
    (void)state;
    rig_trip(&r, rig_worker(&r, "w1", 4));
    assert_true(sbx_router_next_deadline(r.router) <= r.now + SBX_SEC(30));
    rig_tick(&r, SBX_SEC(30));
    assert_true(rig_noted(&r, SBX_NOTE_BREAKER_HALF_OPEN));
    rig_tick(&r, SBX_SEC(30));
    assert_false(rig_noted(&r, SBX_NOTE_BREAKER_HALF_OPEN));
}

static void a_stream_is_taken_as_probe_when_nothing_better_came_for_a_second(void **state)
{
    (void)state;
    rig_trip(&r, rig_worker(&r, "w1", 4));
    rig_worker(&r, "w2", 4);
    rig_tick(&r, SBX_SEC(30));
    rig_streaming(&r);
    assert_string_equal(rig_started_at(&r), "w2");
    rig_tick(&r, SBX_SEC(1));
    rig_streaming(&r);
    assert_string_equal(rig_started_at(&r), "w1");
}

static void half_open_never_has_more_than_its_probes_in_flight(void **state)
{
    (void)state;
    rig_trip(&r, rig_worker(&r, "w1", 4));
    rig_tick(&r, SBX_SEC(30));
    rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "w1");
    rig_buffered(&r);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_CIRCUIT_BREAKER_OPEN);
}

static void the_only_worker_recovers_without_waiting_for_probe_duty(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_trip(&r, w1);
    rig_tick(&r, SBX_SEC(30));
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_OK);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_OK);
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_CLOSED);
}

static void a_failed_probe_is_tried_elsewhere(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    rig_trip(&r, w1);
    rig_tick(&r, SBX_SEC(30));
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_REFUSED);
    assert_string_equal(rig_started_at(&r), "w2");
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_OPEN);
    assert_true(rig_info(&r, w1).retry_in_ns >= SBX_SEC(60));
}

static void a_probe_has_four_times_the_learned_time_but_at_least_two_seconds(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    sbx_attempt_ref attempt = rig_streaming(&r);
    rig_tick(&r, SBX_MS(900));
    rig_content(&r, attempt);
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
    rig_trip(&r, w1);
    rig_tick(&r, SBX_SEC(30));
    rig_accepted(&r, rig_streaming(&r));
    rig_tick(&r, SBX_MS(3599));
    assert_int_equal(rig_count(&r, SBX_ACTION_CANCEL), 0);
    rig_tick(&r, SBX_MS(1));
    assert_int_equal(rig_find(&r, SBX_ACTION_CANCEL)->cancel.outcome, SBX_OUTCOME_FIRST_CONTENT_TIMEOUT);
}

static void the_probe_slot_is_free_at_first_content(void **state)
{
    (void)state;
    rig_trip(&r, rig_worker(&r, "w1", 4));
    rig_tick(&r, SBX_SEC(30));
    rig_content(&r, rig_streaming(&r));
    rig_streaming(&r);
    assert_string_equal(rig_started_at(&r), "w1");
}

static void ten_seconds_of_flow_count_as_a_probes_success(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.breaker.success_threshold = 1;
    assert_int_equal(sbx_router_set_policy(r.router, &policy), SBX_OK);
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_trip(&r, w1);
    rig_tick(&r, SBX_SEC(30));
    rig_content(&r, rig_streaming(&r));
    rig_tick(&r, SBX_SEC(10) - SBX_MS(1));
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_HALF_OPEN);
    rig_tick(&r, SBX_MS(1));
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_CLOSED);
    assert_true(rig_noted(&r, SBX_NOTE_BREAKER_CLOSED));
}

static void a_cancelled_probe_lets_the_next_one_out(void **state)
{
    (void)state;
    rig_trip(&r, rig_worker(&r, "w1", 4));
    rig_tick(&r, SBX_SEC(30));
    rig_leave(&r, rig_buffered(&r));
    rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "w1");
}

static void a_wait_shortened_by_health_is_ended_by_a_probe_in_time(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    rig_trip(&r, w1);
    rig_tick(&r, SBX_SEC(30));
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_REFUSED); /* the probe fails: 60 s */
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_OK);
    rig_tick(&r, SBX_SEC(2));
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_OK); /* looks for a probe and finds none for a minute */
    rig_health(&r, w1, true);
    rig_health(&r, w1, true);
    rig_tick(&r, SBX_SEC(28));
    rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "w1");
}

/* ---- being busy ---------------------------------------------------------------------------------------- */

static sbx_time_ns cools_for(void)
{
    for (uint32_t i = 0; i < r.last.count; i++) {
        const sbx_action *action = &r.last.items[i];
        if (action->kind == SBX_ACTION_NOTE && action->note.note == SBX_NOTE_WORKER_COOLING)
            return action->note.delay_ns;
    }
    fail_msg("no cool-down in the last step");
    return 0;
}

static void busy_answers_without_a_time_cool_down_for_longer_each_time(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    const int seconds[] = {1, 2, 4, 8, 16, 30, 30};
    for (int i = 0; i < 7; i++) {
        rig_busy(&r, rig_buffered(&r), -1);
        assert_int_equal(cools_for(), SBX_SEC(seconds[i]));
        rig_tick(&r, SBX_SEC(seconds[i]));
    }
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_OK);
    rig_busy(&r, rig_buffered(&r), -1);
    assert_int_equal(cools_for(), SBX_SEC(1));
}

static void busy_answers_of_one_moment_are_one_cool_down(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    sbx_attempt_ref first = rig_buffered(&r), second = rig_buffered(&r);
    rig_busy(&r, first, -1);
    rig_tick(&r, SBX_MS(10));
    rig_busy(&r, second, -1);
    assert_int_equal(cools_for(), SBX_SEC(1));
}

static void a_busy_worker_is_not_blamed(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_busy(&r, rig_buffered(&r), 0);
    assert_int_equal(rig_info(&r, w1).consecutive_failures, 0);
    assert_int_equal(rig_info(&r, w1).failures, 0);
}

/* ---- health and admin ---------------------------------------------------------------------------------- */

static void a_failed_health_check_only_demotes(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 1);
    rig_worker(&r, "w2", 1);
    rig_health(&r, w1, false);
    rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "w2");
    rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "w1"); /* nobody healthy has room */
}

static void a_loading_engine_is_demoted_and_a_dead_one_is_not_picked(void **state)
{
    (void)state;
    sbx_view models[] = {SBX_VIEW_INIT("m")};
    sbx_event event = {.kind = SBX_EVENT_WORKER_SEEN,
                       .seen = {.id = SBX_VIEW("w1"),
                                .models = models,
                                .model_count = 1,
                                .capacity = 4,
                                .engine = SBX_ENGINE_DOWN}};
    r.last = sbx_router_step(r.router, r.now, &event);
    rig_buffered(&r);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_NO_WORKERS_AVAILABLE);
    event.seen.engine = SBX_ENGINE_LOADING;
    r.last = sbx_router_step(r.router, r.now, &event);
    rig_worker(&r, "w2", 4);
    for (int i = 0; i < 4; i++) {
        rig_buffered(&r);
        assert_string_equal(rig_started_at(&r), "w2");
    }
    rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "w1");
}

static void two_good_health_checks_close_a_half_open_worker(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_trip(&r, w1);
    rig_tick(&r, SBX_SEC(30));
    rig_health(&r, w1, true);
    rig_health(&r, w1, true);
    assert_true(rig_noted(&r, SBX_NOTE_BREAKER_CLOSED));
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_CLOSED);
}

static void isolation_keeps_all_traffic_away_until_reset(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_admin(&r, w1, SBX_COMMAND_ISOLATE);
    rig_run(&r, SBX_SEC(3600));
    rig_buffered(&r);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_CIRCUIT_BREAKER_OPEN);
    assert_int_equal(rig_end(&r)->end.retry_after_ns, -1);
    rig_admin(&r, w1, SBX_COMMAND_RESET);
    rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "w1");
}

static void a_drained_worker_finishes_and_gets_nothing_new(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    sbx_attempt_ref attempt = rig_buffered(&r);
    rig_admin(&r, w1, SBX_COMMAND_DRAIN);
    rig_worker(&r, "w1", 4); /* seen again, it stays drained */
    rig_buffered(&r);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_NO_WORKERS_AVAILABLE);
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
    assert_int_equal(rig_end(&r)->kind, SBX_ACTION_SUCCEED);
    rig_admin(&r, w1, SBX_COMMAND_UNDRAIN);
    rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "w1");
}

static void a_recovered_worker_starts_slowly(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.slow_start_ns = SBX_SEC(30);
    assert_int_equal(sbx_router_set_policy(r.router, &policy), SBX_OK);
    sbx_worker_ref w1 = rig_worker(&r, "w1", 100);
    rig_worker(&r, "w2", 100);
    rig_trip(&r, w1);
    rig_tick(&r, SBX_SEC(30));
    rig_health(&r, w1, true);
    rig_health(&r, w1, true);
    rig_tick(&r, SBX_SEC(6)); /* a fifth of the ramp: of 1000 picks it takes part in about 200, and gets
                                 every second of these */
    for (int i = 0; i < 1000; i++)
        rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_OK);
    assert_in_range(rig_info(&r, w1).successes, 120, 280);
    rig_tick(&r, SBX_SEC(24));
    for (int i = 0; i < 1000; i++)
        rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_OK);
    assert_in_range(rig_info(&r, w1).successes, 120 + 500, 280 + 500);
}

static void a_worker_of_its_own_preset_trips_by_that(void **state)
{
    (void)state;
    sbx_breaker_policy helpers = sbx_breaker_policy_helpers();
    sbx_view models[] = {SBX_VIEW_INIT("m")};
    sbx_event event = {
        .kind = SBX_EVENT_WORKER_SEEN,
        .seen = {
            .id = SBX_VIEW("h1"), .models = models, .model_count = 1, .capacity = 4, .breaker = &helpers}};
    r.last = sbx_router_step(r.router, r.now, &event);
    for (int i = 0; i < 3; i++)
        rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_REFUSED);
    rig_buffered(&r);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_CIRCUIT_BREAKER_OPEN);
    assert_int_equal(rig_end(&r)->end.retry_after_ns, SBX_SEC(60));
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(an_open_worker_gets_no_traffic_and_then_a_probe_ahead_of_the_balancer),
        cmocka_unit_test_setup_teardown(a_worker_that_failed_is_picked_again_in_an_idle_cluster_soon,
                                        open_smart_rig, close_rig),
        PLAIN(half_open_is_noted_when_its_time_comes),
        PLAIN(a_stream_is_taken_as_probe_when_nothing_better_came_for_a_second),
        PLAIN(half_open_never_has_more_than_its_probes_in_flight),
        PLAIN(the_only_worker_recovers_without_waiting_for_probe_duty),
        PLAIN(a_failed_probe_is_tried_elsewhere),
        PLAIN(a_probe_has_four_times_the_learned_time_but_at_least_two_seconds),
        PLAIN(the_probe_slot_is_free_at_first_content),
        PLAIN(ten_seconds_of_flow_count_as_a_probes_success),
        PLAIN(a_cancelled_probe_lets_the_next_one_out),
        PLAIN(a_wait_shortened_by_health_is_ended_by_a_probe_in_time),
        PLAIN(busy_answers_without_a_time_cool_down_for_longer_each_time),
        PLAIN(busy_answers_of_one_moment_are_one_cool_down),
        PLAIN(a_busy_worker_is_not_blamed),
        PLAIN(a_failed_health_check_only_demotes),
        PLAIN(a_loading_engine_is_demoted_and_a_dead_one_is_not_picked),
        PLAIN(two_good_health_checks_close_a_half_open_worker),
        PLAIN(isolation_keeps_all_traffic_away_until_reset),
        PLAIN(a_drained_worker_finishes_and_gets_nothing_new),
        PLAIN(a_recovered_worker_starts_slowly),
        PLAIN(a_worker_of_its_own_preset_trips_by_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
