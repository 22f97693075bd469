/* Probes without traffic: a half_open worker that no request comes to is asked by ourselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/router_priv.h"
#include "unit/core/support_rig.h"

static rig r;

static int open_rig(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.offline_ns = SBX_SEC(3600); /* no heartbeats needed here */
    rig_open(&r, &policy);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    rig_close(&r);
    return 0;
}

/* A nats worker whose breaker is half_open from now on. */
static sbx_worker_ref half_open(const char *id, uint32_t capacity)
{
    sbx_worker_ref worker = rig_nats(&r, id, "b1", capacity);
    rig_trip(&r, worker);
    rig_tick(&r, SBX_SEC(30));
    assert_int_equal(rig_info(&r, worker).breaker, SBX_BREAKER_HALF_OPEN);
    return worker;
}

/* Ticks until a step says so; fails the test when none does in time. */
static sbx_time_ns until(sbx_action_kind kind, sbx_time_ns at_most)
{
    sbx_time_ns began = r.now;
    rig_tick(&r, 0);
    while (rig_count(&r, kind) == 0 && r.now - began < at_most)
        rig_tick(&r, SBX_MS(1));
    assert_int_equal(rig_count(&r, kind), 1);
    return r.now - began;
}

static sbx_probe_ref probe_comes(void)
{
    until(SBX_ACTION_PROBE, SBX_MS(5002));
    return rig_find(&r, SBX_ACTION_PROBE)->probe.probe;
}

static void probe_ended(sbx_probe_ref probe, sbx_outcome outcome)
{
    sbx_event event = {
        .kind = SBX_EVENT_PROBE_ENDED,
        .probe_ended = {.probe = probe, .outcome = outcome, .retry_after_ns = -1},
    };
    r.last = sbx_router_step(r.router, r.now, &event);
}

static void nothing_comes(sbx_action_kind kind, sbx_time_ns time)
{
    for (sbx_time_ns end = r.now + time; r.now < end;) {
        rig_tick(&r, SBX_MS(10));
        assert_int_equal(rig_count(&r, kind), 0);
    }
}

/* ---- when --------------------------------------------------------------------------------------------- */

static void after_five_quiet_seconds_a_worker_on_the_bus_gets_a_run(void **state)
{
    (void)state;
    sbx_worker_ref w1 = half_open("w1", 4);
    assert_in_range(until(SBX_ACTION_PROBE, SBX_SEC(6)), SBX_SEC(5), SBX_MS(5002));
    const sbx_action *action = rig_find(&r, SBX_ACTION_PROBE);
    assert_int_equal(action->probe.probe.worker.slot, w1.slot);
    assert_true(sbx_view_eq_cstr(action->probe.model, "m"));
    assert_int_equal(action->probe.budget_ns, SBX_SEC(30));
    assert_null(action->owner);
    assert_int_equal(rig_info(&r, w1).in_flight, 1);
}

static void a_backend_is_asked_for_its_health_instead_again_and_again(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_trip(&r, w1);
    rig_tick(&r, SBX_SEC(30));
    for (int i = 0; i < 3; i++)
        assert_in_range(until(SBX_ACTION_CHECK_HEALTH, SBX_SEC(6)), SBX_MS(4990), SBX_MS(5002));
    assert_int_equal(rig_info(&r, w1).in_flight, 0);
    rig_health(&r, w1, true);
    rig_health(&r, w1, true);
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_CLOSED);
    nothing_comes(SBX_ACTION_CHECK_HEALTH, SBX_SEC(12));
}

static void a_request_that_comes_puts_it_off(void **state)
{
    (void)state;
    half_open("w1", 4);
    rig_tick(&r, SBX_SEC(4));
    sbx_attempt_ref request = rig_buffered(&r);
    rig_accepted(&r, request);
    nothing_comes(SBX_ACTION_PROBE, SBX_SEC(8));
    rig_ended(&r, request, SBX_OUTCOME_OK);
    assert_in_range(until(SBX_ACTION_PROBE, SBX_SEC(6)), SBX_SEC(5), SBX_MS(5002));
}

static void who_may_not_be_picked_is_not_probed(void **state)
{
    (void)state;
    rig_admin(&r, half_open("w1", 4), SBX_COMMAND_DRAIN);
    rig_admin(&r, half_open("w2", 4), SBX_COMMAND_ISOLATE);
    rig_gone(&r, half_open("w3", 4));
    half_open("w4", 0);
    nothing_comes(SBX_ACTION_PROBE, SBX_SEC(20));
}

static void an_open_or_closed_one_is_not_probed(void **state)
{
    (void)state;
    rig_trip(&r, rig_nats(&r, "w1", "b1", 4));
    rig_nats(&r, "w2", "b1", 4);
    nothing_comes(SBX_ACTION_PROBE, SBX_SEC(30));
}

static void with_the_breaker_disabled_nobody_is_probed(void **state)
{
    (void)state;
    half_open("w1", 4);
    sbx_policy policy = rig_policy();
    policy.offline_ns = SBX_SEC(3600);
    policy.breaker.enabled = false;
    assert_int_equal(sbx_router_set_policy(r.router, &policy), SBX_OK);
    nothing_comes(SBX_ACTION_PROBE, SBX_SEC(20));
}

/* ---- what its end means ------------------------------------------------------------------------------- */

static void two_good_ones_close_it_and_that_is_no_probation(void **state)
{
    (void)state;
    sbx_worker_ref w1 = half_open("w1", 4);
    probe_ended(probe_comes(), SBX_OUTCOME_OK);
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_HALF_OPEN);
    assert_int_equal(rig_info(&r, w1).in_flight, 0);
    probe_ended(probe_comes(), SBX_OUTCOME_OK);
    assert_true(rig_noted(&r, SBX_NOTE_BREAKER_CLOSED));
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_CLOSED);
}

static void an_answer_that_is_no_success_shows_that_it_lives(void **state)
{
    (void)state;
    sbx_worker_ref w1 = half_open("w1", 4);
    probe_ended(probe_comes(), SBX_OUTCOME_CLIENT_ERROR);
    probe_ended(probe_comes(), SBX_OUTCOME_CLIENT_ERROR);
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_CLOSED);
}

static void a_bad_one_opens_it_again_for_longer(void **state)
{
    (void)state;
    sbx_worker_ref w1 = half_open("w1", 4);
    probe_ended(probe_comes(), SBX_OUTCOME_SERVER_ERROR);
    assert_true(rig_noted(&r, SBX_NOTE_BREAKER_OPENED));
    assert_in_range(rig_info(&r, w1).retry_in_ns, SBX_SEC(60), SBX_SEC(66));
    assert_int_equal(rig_info(&r, w1).failures, 0); /* of requests */
}

static void one_that_takes_too_long_is_stopped_and_failed(void **state)
{
    (void)state;
    sbx_worker_ref w1 = half_open("w1", 4);
    sbx_probe_ref probe = probe_comes();
    assert_in_range(until(SBX_ACTION_PROBE_CANCEL, SBX_SEC(31)), SBX_SEC(30), SBX_MS(30002));
    assert_int_equal(rig_find(&r, SBX_ACTION_PROBE_CANCEL)->probe.probe.number, probe.number);
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_OPEN);
    assert_int_equal(rig_info(&r, w1).in_flight, 0);
}

static void what_an_earlier_one_says_is_not_what_this_one_says(void **state)
{
    (void)state;
    sbx_worker_ref w1 = half_open("w1", 4);
    sbx_probe_ref first = probe_comes();
    until(SBX_ACTION_PROBE_CANCEL, SBX_SEC(31));
    rig_tick(&r, rig_info(&r, w1).retry_in_ns);
    sbx_probe_ref second = probe_comes();
    probe_ended(first, SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_HALF_OPEN);
    assert_int_equal(rig_info(&r, w1).in_flight, 1);
    probe_ended(second, SBX_OUTCOME_OK);
    assert_int_equal(rig_info(&r, w1).in_flight, 0);
}

static void its_limit_follows_what_was_learned(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_nats(&r, "w1", "b1", 4);
    sbx_attempt_ref stream = rig_streaming(&r);
    rig_accepted(&r, stream);
    rig_tick(&r, SBX_SEC(1));
    rig_content(&r, stream);
    rig_ended(&r, stream, SBX_OUTCOME_OK);
    rig_trip(&r, w1);
    rig_tick(&r, SBX_SEC(30));
    probe_comes();
    assert_int_equal(rig_find(&r, SBX_ACTION_PROBE)->probe.budget_ns, SBX_SEC(4));
}

static void a_busy_one_is_asked_again_when_it_has_cooled_down(void **state)
{
    (void)state;
    sbx_worker_ref w1 = half_open("w1", 4);
    probe_ended(probe_comes(), SBX_OUTCOME_OVERLOADED);
    assert_true(rig_noted(&r, SBX_NOTE_WORKER_COOLING));
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_HALF_OPEN);
    assert_false(rig_info(&r, w1).eligible);
    probe_ended(probe_comes(), SBX_OUTCOME_OK);
}

static void without_responder_the_worker_is_offline(void **state)
{
    (void)state;
    sbx_worker_ref w1 = half_open("w1", 4);
    probe_ended(probe_comes(), SBX_OUTCOME_REFUSED);
    assert_false(rig_info(&r, w1).online);
}

static void a_model_that_is_missing_for_chats_stays(void **state)
{
    (void)state;
    sbx_worker_ref w1 = half_open("w1", 4);
    probe_ended(probe_comes(), SBX_OUTCOME_MODEL_MISSING);
    assert_int_equal(rig_info(&r, w1).model_count, 1);
    assert_int_equal(rig_info(&r, w1).in_flight, 0);
}

/* ---- beside requests ---------------------------------------------------------------------------------- */

static void while_it_is_out_no_request_takes_the_probes_slot(void **state)
{
    (void)state;
    half_open("w1", 4);
    sbx_probe_ref probe = probe_comes();
    rig_buffered(&r);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_CIRCUIT_BREAKER_OPEN);
    probe_ended(probe, SBX_OUTCOME_OK);
    rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "w1");
}

static void a_worker_that_leaves_takes_its_probe_along(void **state)
{
    (void)state;
    sbx_worker_ref w1 = half_open("w1", 4);
    sbx_probe_ref probe = probe_comes();
    rig_gone(&r, w1);
    assert_int_equal(rig_find(&r, SBX_ACTION_PROBE_CANCEL)->probe.probe.number, probe.number);
    assert_int_equal(rig_info(&r, w1).in_flight, 0);
    probe_ended(probe, SBX_OUTCOME_OK); /* late: nothing follows */
    assert_int_equal(rig_info(&r, w1).in_flight, 0);
}

static void a_probe_of_an_earlier_boot_says_nothing(void **state)
{
    (void)state;
    half_open("w1", 4);
    sbx_probe_ref probe = probe_comes();
    sbx_worker_ref w1 = rig_nats(&r, "w1", "b2", 4);
    assert_int_equal(rig_count(&r, SBX_ACTION_PROBE_CANCEL), 1);
    probe_ended(probe, SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_CLOSED);
}

static void a_result_from_before_a_reset_changes_nothing(void **state)
{
    (void)state;
    sbx_worker_ref w1 = half_open("w1", 4);
    sbx_probe_ref probe = probe_comes();
    rig_admin(&r, w1, SBX_COMMAND_RESET);
    for (int i = 0; i < 5; i++)
        probe_ended(probe, SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_CLOSED);
    assert_int_equal(rig_info(&r, w1).in_flight, 0);
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(after_five_quiet_seconds_a_worker_on_the_bus_gets_a_run),
        PLAIN(a_backend_is_asked_for_its_health_instead_again_and_again),
        PLAIN(a_request_that_comes_puts_it_off),
        PLAIN(who_may_not_be_picked_is_not_probed),
        PLAIN(an_open_or_closed_one_is_not_probed),
        PLAIN(with_the_breaker_disabled_nobody_is_probed),
        PLAIN(two_good_ones_close_it_and_that_is_no_probation),
        PLAIN(an_answer_that_is_no_success_shows_that_it_lives),
        PLAIN(a_bad_one_opens_it_again_for_longer),
        PLAIN(one_that_takes_too_long_is_stopped_and_failed),
        PLAIN(what_an_earlier_one_says_is_not_what_this_one_says),
        PLAIN(its_limit_follows_what_was_learned),
        PLAIN(a_busy_one_is_asked_again_when_it_has_cooled_down),
        PLAIN(without_responder_the_worker_is_offline),
        PLAIN(a_model_that_is_missing_for_chats_stays),
        PLAIN(while_it_is_out_no_request_takes_the_probes_slot),
        PLAIN(a_worker_that_leaves_takes_its_probe_along),
        PLAIN(a_probe_of_an_earlier_boot_says_nothing),
        PLAIN(a_result_from_before_a_reset_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
