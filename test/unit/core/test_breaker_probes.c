/* The breaker on a fake clock: probe slots, leases, flow, health checks, hard-down, under both presets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "unit/core/support_breaker.h"

/* ---- probes, flow, lease ------------------------------------------------------------------------------- */

static void the_probe_slot_is_free_again_at_first_content(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    sbx_breaker_permit probe = acquire(b);
    sbx_breaker_content(&b->breaker, &probe);
    acquire(b);
    assert_refused(b);
}

static void a_probe_that_fails_after_first_content_opens_it_again(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    sbx_breaker_permit probe = acquire(b);
    sbx_breaker_content(&b->breaker, &probe);
    assert_int_equal(report(b, probe, SBX_EFFECT_FAILURE), SBX_BREAKER_OPENED);
}

static void ten_seconds_of_flow_count_as_the_success_and_the_end_does_not_count_again(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    b->policy.success_threshold = 2;
    sbx_breaker_permit probe = acquire(b);
    sbx_breaker_content(&b->breaker, &probe);
    b->now += SBX_BREAKER_FLOW_TIME;
    assert_int_equal(sbx_breaker_flowing(&b->breaker, &probe, b->now), SBX_BREAKER_UNCHANGED);
    assert_int_equal(b->breaker.successes, 1);
    report(b, probe, SBX_EFFECT_SUCCESS);
    assert_int_equal(b->breaker.successes, 1);
}

static void a_slot_that_nobody_gave_back_is_free_after_its_lease(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    sbx_breaker_permit lost = acquire(b);
    b->now += SBX_SEC(30) - 1;
    assert_refused(b);
    b->now += 1;
    acquire(b);
    assert_int_equal(report(b, lost, SBX_EFFECT_FAILURE), SBX_BREAKER_UNCHANGED);
    assert_int_equal(b->breaker.probes_out, 1);
}

static void an_answer_that_is_no_success_counts_as_alive_in_half_open_only(void **state)
{
    bench *b = *state;
    repeat(b, SBX_EFFECT_FAILURE, b->policy.failure_threshold - 1);
    once(b, SBX_EFFECT_ALIVE);
    assert_int_equal(b->breaker.consecutive_failures, b->policy.failure_threshold - 1);
    once(b, SBX_EFFECT_FAILURE);
    b->now += b->policy.timeout_ns;
    repeat(b, SBX_EFFECT_ALIVE, b->policy.success_threshold);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
}

static void an_ignored_outcome_changes_no_counter(void **state)
{
    bench *b = *state;
    once(b, SBX_EFFECT_FAILURE);
    sbx_breaker before = b->breaker;
    once(b, SBX_EFFECT_NONE);
    assert_memory_equal(&before, &b->breaker, sizeof before);
}

static void whatever_is_acquired_and_reported_the_slots_come_back(void **state)
{
    bench *b = *state;
    b->policy.half_open_max_probes = 4;
    trip_and_wait(b);
    sbx_breaker_permit probes[4] = {acquire(b), acquire(b), acquire(b), acquire(b)};
    sbx_breaker_content(&b->breaker, &probes[1]);
    report(b, probes[0], SBX_EFFECT_NONE);
    report(b, probes[1], SBX_EFFECT_NONE);
    report(b, probes[2], SBX_EFFECT_NONE);
    report(b, probes[3], SBX_EFFECT_NONE);
    assert_int_equal(b->breaker.probes_out, 0);
}

/* ---- health ------------------------------------------------------------------------------------------- */

static void a_good_check_is_one_success_in_half_open(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    for (uint32_t i = 1; i < b->policy.success_threshold; i++)
        assert_int_equal(sbx_breaker_health(&b->breaker, true, b->now), SBX_BREAKER_UNCHANGED);
    assert_int_equal(sbx_breaker_health(&b->breaker, true, b->now), SBX_BREAKER_WAS_CLOSED);
}

static void closed_by_health_alone_the_first_failure_opens_it_for_longer(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    for (uint32_t i = 0; i < b->policy.success_threshold; i++)
        sbx_breaker_health(&b->breaker, true, b->now);
    assert_int_equal(once(b, SBX_EFFECT_FAILURE), SBX_BREAKER_OPENED);
    assert_true(sbx_breaker_retry_in(&b->breaker, b->now) >= 2 * b->policy.timeout_ns);
}

static void a_success_ends_the_probation(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    for (uint32_t i = 0; i < b->policy.success_threshold; i++)
        sbx_breaker_health(&b->breaker, true, b->now);
    once(b, SBX_EFFECT_SUCCESS);
    assert_int_equal(once(b, SBX_EFFECT_FAILURE), SBX_BREAKER_UNCHANGED);
}

static void a_good_check_changes_nothing_in_closed(void **state)
{
    bench *b = *state;
    repeat(b, SBX_EFFECT_FAILURE, b->policy.failure_threshold - 1);
    sbx_breaker_health(&b->breaker, true, b->now);
    assert_int_equal(once(b, SBX_EFFECT_FAILURE), SBX_BREAKER_OPENED);
}

static void bad_checks_never_trip_nor_reopen(void **state)
{
    bench *b = *state;
    for (int i = 0; i < 100; i++)
        sbx_breaker_health(&b->breaker, false, b->now);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
    trip_and_wait(b);
    sbx_breaker_health(&b->breaker, false, b->now);
    assert_int_equal(now_is(b), SBX_BREAKER_HALF_OPEN);
}

static void two_good_checks_shorten_a_doubled_wait_to_the_plain_one(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    once(b, SBX_EFFECT_FAILURE);
    sbx_breaker_health(&b->breaker, true, b->now);
    assert_true(sbx_breaker_retry_in(&b->breaker, b->now) > b->policy.timeout_ns);
    sbx_breaker_health(&b->breaker, true, b->now);
    assert_int_equal(sbx_breaker_retry_in(&b->breaker, b->now), b->policy.timeout_ns);
}

static void good_checks_do_not_shorten_the_first_wait(void **state)
{
    bench *b = *state;
    trip(b);
    for (int i = 0; i < 5; i++)
        sbx_breaker_health(&b->breaker, true, b->now);
    assert_int_equal(sbx_breaker_retry_in(&b->breaker, b->now), b->policy.timeout_ns);
}

/* ---- hard down ---------------------------------------------------------------------------------------- */

static void hard_down_lasts_half_an_hour_and_health_does_not_shorten_it(void **state)
{
    bench *b = *state;
    sbx_breaker_hard_down(&b->breaker, b->now);
    sbx_breaker_health(&b->breaker, true, b->now);
    sbx_breaker_health(&b->breaker, true, b->now);
    assert_int_equal(sbx_breaker_retry_in(&b->breaker, b->now), SBX_BREAKER_HARD_DOWN);
    b->now += SBX_BREAKER_HARD_DOWN;
    assert_int_equal(now_is(b), SBX_BREAKER_HALF_OPEN);
}

static void hard_down_holds_with_the_breaker_disabled_and_ends_by_reset(void **state)
{
    bench *b = *state;
    b->policy.enabled = false;
    sbx_breaker_hard_down(&b->breaker, b->now);
    assert_refused(b);
    sbx_breaker_reset(&b->breaker);
    acquire(b);
}

#define BOTH(test)                                                                                           \
    {"workers: " #test, test, bench_for_workers, NULL, NULL},                                                \
    {                                                                                                        \
        "helpers: " #test, test, bench_for_helpers, NULL, NULL                                               \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(the_probe_slot_is_free_again_at_first_content),
        BOTH(a_probe_that_fails_after_first_content_opens_it_again),
        BOTH(ten_seconds_of_flow_count_as_the_success_and_the_end_does_not_count_again),
        BOTH(a_slot_that_nobody_gave_back_is_free_after_its_lease),
        BOTH(an_answer_that_is_no_success_counts_as_alive_in_half_open_only),
        BOTH(an_ignored_outcome_changes_no_counter),
        BOTH(whatever_is_acquired_and_reported_the_slots_come_back),
        BOTH(a_good_check_is_one_success_in_half_open),
        BOTH(closed_by_health_alone_the_first_failure_opens_it_for_longer),
        BOTH(a_success_ends_the_probation),
        BOTH(a_good_check_changes_nothing_in_closed),
        BOTH(bad_checks_never_trip_nor_reopen),
        BOTH(two_good_checks_shorten_a_doubled_wait_to_the_plain_one),
        BOTH(good_checks_do_not_shorten_the_first_wait),
        BOTH(hard_down_lasts_half_an_hour_and_health_does_not_shorten_it),
        BOTH(hard_down_holds_with_the_breaker_disabled_and_ends_by_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
