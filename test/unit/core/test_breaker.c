/* The breaker on a fake clock: every transition, under both presets. Probes and health:
 * test_breaker_probes.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "unit/core/support_breaker.h"

/* ---- both presets ------------------------------------------------------------------------------------- */

static void it_starts_closed(void **state)
{
    bench *b = *state;
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
    assert_int_equal(sbx_breaker_retry_in(&b->breaker, b->now), 0);
}

static void one_failure_less_than_the_threshold_keeps_it_closed(void **state)
{
    bench *b = *state;
    repeat(b, SBX_EFFECT_FAILURE, b->policy.failure_threshold - 1);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
}

static void the_threshold_of_consecutive_failures_opens_it(void **state)
{
    bench *b = *state;
    repeat(b, SBX_EFFECT_FAILURE, b->policy.failure_threshold - 1);
    assert_int_equal(once(b, SBX_EFFECT_FAILURE), SBX_BREAKER_OPENED);
    assert_int_equal(now_is(b), SBX_BREAKER_OPEN);
    assert_refused(b);
}

static void a_success_resets_the_consecutive_count(void **state)
{
    bench *b = *state;
    repeat(b, SBX_EFFECT_FAILURE, b->policy.failure_threshold - 1);
    once(b, SBX_EFFECT_SUCCESS);
    repeat(b, SBX_EFFECT_FAILURE, b->policy.failure_threshold - 1);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
}

static void the_first_open_lasts_exactly_the_timeout(void **state)
{
    bench *b = *state;
    trip(b);
    assert_int_equal(sbx_breaker_retry_in(&b->breaker, b->now), b->policy.timeout_ns);
    b->now += b->policy.timeout_ns - 1;
    assert_int_equal(now_is(b), SBX_BREAKER_OPEN);
    b->now += 1;
    assert_int_equal(now_is(b), SBX_BREAKER_HALF_OPEN);
}

static void the_threshold_of_successes_closes_it(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    repeat(b, SBX_EFFECT_SUCCESS, b->policy.success_threshold - 1);
    assert_int_equal(now_is(b), SBX_BREAKER_HALF_OPEN);
    assert_int_equal(once(b, SBX_EFFECT_SUCCESS), SBX_BREAKER_WAS_CLOSED);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
}

static void after_closing_it_needs_the_whole_threshold_again(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    repeat(b, SBX_EFFECT_SUCCESS, b->policy.success_threshold);
    repeat(b, SBX_EFFECT_FAILURE, b->policy.failure_threshold - 1);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
    once(b, SBX_EFFECT_FAILURE);
    assert_int_equal(sbx_breaker_retry_in(&b->breaker, b->now), b->policy.timeout_ns);
}

static void a_failure_in_half_open_opens_it_again_for_twice_the_time(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    assert_int_equal(once(b, SBX_EFFECT_FAILURE), SBX_BREAKER_OPENED);
    sbx_time_ns wait = sbx_breaker_retry_in(&b->breaker, b->now);
    assert_in_range(wait, 2 * b->policy.timeout_ns, 2 * b->policy.timeout_ns + b->policy.timeout_ns / 5);
}

static void half_open_never_admits_more_than_its_probes(void **state)
{
    bench *b = *state;
    b->policy.half_open_max_probes = 3;
    trip_and_wait(b);
    acquire(b);
    acquire(b);
    acquire(b);
    assert_refused(b);
}

static void a_cancelled_probe_gives_its_permit_back(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    sbx_breaker_permit probe = acquire(b);
    assert_refused(b);
    assert_int_equal(report(b, probe, SBX_EFFECT_NONE), SBX_BREAKER_UNCHANGED);
    assert_int_equal(now_is(b), SBX_BREAKER_HALF_OPEN);
    assert_int_equal(b->breaker.successes, 0);
    acquire(b);
}

static void a_stragglers_success_cannot_close_an_open_breaker(void **state)
{
    bench *b = *state;
    sbx_breaker_permit straggler = acquire(b);
    trip(b);
    assert_int_equal(report(b, straggler, SBX_EFFECT_SUCCESS), SBX_BREAKER_UNCHANGED);
    assert_int_equal(now_is(b), SBX_BREAKER_OPEN);
}

static void a_stragglers_success_does_not_count_in_half_open(void **state)
{
    bench *b = *state;
    sbx_breaker_permit straggler = acquire(b);
    trip_and_wait(b);
    report(b, straggler, SBX_EFFECT_SUCCESS);
    assert_int_equal(now_is(b), SBX_BREAKER_HALF_OPEN);
    assert_int_equal(b->breaker.successes, 0);
}

static void a_stragglers_failure_does_not_open_a_closed_breaker_again(void **state)
{
    bench *b = *state;
    b->policy.failure_threshold = 1;
    sbx_breaker_permit straggler = acquire(b);
    trip_and_wait(b);
    repeat(b, SBX_EFFECT_SUCCESS, b->policy.success_threshold);
    report(b, straggler, SBX_EFFECT_FAILURE);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
    assert_int_equal(b->breaker.consecutive_failures, 0);
}

static void asking_changes_nothing(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    sbx_breaker before = b->breaker;
    sbx_breaker_state_at(&b->breaker, b->now);
    sbx_breaker_admits(&b->breaker, b->now + SBX_SEC(500));
    sbx_breaker_retry_in(&b->breaker, b->now);
    assert_memory_equal(&before, &b->breaker, sizeof before);
}

static void with_open_time_0_an_open_breaker_reads_half_open_at_once(void **state)
{
    bench *b = *state;
    b->policy.timeout_ns = 0;
    repeat(b, SBX_EFFECT_FAILURE, b->policy.failure_threshold);
    assert_int_equal(now_is(b), SBX_BREAKER_HALF_OPEN);
    once(b, SBX_EFFECT_FAILURE);
    assert_int_equal(now_is(b), SBX_BREAKER_HALF_OPEN);
}

static void a_manual_reset_closes_it_with_nothing_remembered(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    once(b, SBX_EFFECT_FAILURE);
    sbx_breaker_reset(&b->breaker);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
    trip(b);
    assert_int_equal(sbx_breaker_retry_in(&b->breaker, b->now), b->policy.timeout_ns);
}

static void results_from_before_a_reset_change_nothing(void **state)
{
    bench *b = *state;
    b->policy.failure_threshold = 1;
    sbx_breaker_permit permit = acquire(b);
    sbx_breaker_reset(&b->breaker);
    assert_int_equal(report(b, permit, SBX_EFFECT_FAILURE), SBX_BREAKER_UNCHANGED);
}

static void isolation_holds_until_reset(void **state)
{
    bench *b = *state;
    sbx_breaker_isolate(&b->breaker);
    b->now += SBX_SEC(100000);
    assert_int_equal(now_is(b), SBX_BREAKER_ISOLATED);
    assert_int_equal(sbx_breaker_retry_in(&b->breaker, b->now), SBX_TIME_NEVER);
    assert_refused(b);
    sbx_breaker_reset(&b->breaker);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
}

static void a_new_boot_id_starts_fresh(void **state)
{
    bench *b = *state;
    sbx_breaker_boot(&b->breaker, b->now);
    trip(b);
    sbx_breaker_boot(&b->breaker, b->now);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
    repeat(b, SBX_EFFECT_FAILURE, b->policy.failure_threshold - 1);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
}

static void three_boots_in_a_minute_start_it_half_open(void **state)
{
    bench *b = *state;
    sbx_breaker_boot(&b->breaker, b->now);
    b->now += SBX_SEC(30);
    sbx_breaker_boot(&b->breaker, b->now);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
    b->now += SBX_SEC(30);
    sbx_breaker_boot(&b->breaker, b->now);
    assert_int_equal(now_is(b), SBX_BREAKER_HALF_OPEN);
}

static void three_boots_in_more_than_a_minute_start_it_closed(void **state)
{
    bench *b = *state;
    sbx_breaker_boot(&b->breaker, b->now);
    b->now += SBX_SEC(30);
    sbx_breaker_boot(&b->breaker, b->now);
    b->now += SBX_SEC(31);
    sbx_breaker_boot(&b->breaker, b->now);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
}

static void isolation_outlives_a_boot(void **state)
{
    bench *b = *state;
    sbx_breaker_isolate(&b->breaker);
    sbx_breaker_boot(&b->breaker, b->now);
    assert_int_equal(now_is(b), SBX_BREAKER_ISOLATED);
}

static void disabled_it_admits_all_and_counts_nothing(void **state)
{
    bench *b = *state;
    b->policy.enabled = false;
    repeat(b, SBX_EFFECT_FAILURE, 100);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
    assert_int_equal(b->breaker.consecutive_failures, 0);
}

static void disabled_an_open_one_reads_closed(void **state)
{
    bench *b = *state;
    trip(b);
    b->policy.enabled = false;
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
    once(b, SBX_EFFECT_FAILURE);
    b->policy.enabled = true;
    assert_int_equal(now_is(b), SBX_BREAKER_OPEN);
}

static void a_permit_given_while_disabled_counts_nothing_afterwards(void **state)
{
    bench *b = *state;
    trip(b);
    b->policy.enabled = false;
    sbx_breaker_permit permit = acquire(b);
    b->policy.enabled = true;
    assert_int_equal(report(b, permit, SBX_EFFECT_FAILURE), SBX_BREAKER_UNCHANGED);
}

/* ---- re-opening --------------------------------------------------------------------------------------- */

static void the_open_time_doubles_up_to_its_cap(void **state)
{
    bench *b = *state;
    trip_and_wait(b);
    for (int i = 0; i < 10; i++) {
        once(b, SBX_EFFECT_FAILURE);
        sbx_time_ns wait = sbx_breaker_retry_in(&b->breaker, b->now);
        assert_true(wait <= b->policy.max_open_ns);
        b->now += wait;
    }
    once(b, SBX_EFFECT_FAILURE);
    assert_int_equal(sbx_breaker_retry_in(&b->breaker, b->now), b->policy.max_open_ns);
}

static void the_jitter_of_a_reopen_is_at_most_a_tenth_and_varies(void **state)
{
    bench *b = *state;
    sbx_time_ns least = SBX_TIME_NEVER, most = 0;
    for (int i = 0; i < 200; i++) {
        sbx_breaker_reset(&b->breaker);
        trip_and_wait(b);
        once(b, SBX_EFFECT_FAILURE);
        sbx_time_ns wait = sbx_breaker_retry_in(&b->breaker, b->now);
        least = sbx_time_min(least, wait);
        most = sbx_time_max(most, wait);
    }
    sbx_time_ns twice = 2 * b->policy.timeout_ns;
    assert_in_range(least, twice, twice + twice / 50);
    assert_in_range(most, twice + twice / 12, twice + twice / 10);
}

static void an_open_time_above_the_cap_is_not_shortened_by_it(void **state)
{
    bench *b = *state;
    b->policy.max_open_ns = SBX_SEC(1);
    trip_and_wait(b);
    once(b, SBX_EFFECT_FAILURE);
    assert_int_equal(sbx_breaker_retry_in(&b->breaker, b->now), b->policy.timeout_ns);
}

/* ---- failure rate -------------------------------------------------------------------------------------- */

static void alternate(bench *b, int pairs)
{
    for (int i = 0; i < pairs; i++) {
        once(b, SBX_EFFECT_FAILURE);
        once(b, SBX_EFFECT_SUCCESS);
    }
}

static void half_of_twenty_attempts_failing_opens_it(void **state)
{
    bench *b = *state;
    alternate(b, 9);
    once(b, SBX_EFFECT_FAILURE);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
    assert_int_equal(once(b, SBX_EFFECT_SUCCESS), SBX_BREAKER_OPENED);
    assert_int_equal(sbx_breaker_retry_in(&b->breaker, b->now), b->policy.timeout_ns);
}

static void fewer_than_half_failing_keeps_it_closed(void **state)
{
    bench *b = *state;
    once(b, SBX_EFFECT_SUCCESS);
    once(b, SBX_EFFECT_SUCCESS);
    alternate(b, 100);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
}

static void attempts_that_left_the_window_do_not_count(void **state)
{
    bench *b = *state;
    alternate(b, 9);
    b->now += b->policy.rate_window_ns + SBX_SEC(1);
    alternate(b, 9);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
    assert_int_equal(b->breaker.window.attempts, 18);
}

static void the_window_slides_by_tenths(void **state)
{
    bench *b = *state;
    once(b, SBX_EFFECT_SUCCESS);
    b->now += b->policy.rate_window_ns / 2;
    once(b, SBX_EFFECT_SUCCESS);
    b->now += b->policy.rate_window_ns * 6 / 10;
    once(b, SBX_EFFECT_SUCCESS);
    assert_int_equal(b->breaker.window.attempts, 2);
}

static void a_rate_of_0_turns_the_rate_off(void **state)
{
    bench *b = *state;
    b->policy.rate_threshold_pct = 0;
    alternate(b, 100);
    assert_int_equal(now_is(b), SBX_BREAKER_CLOSED);
}

#define BOTH(test)                                                                                           \
    {"workers: " #test, test, bench_for_workers, NULL, NULL},                                                \
    {                                                                                                        \
        "helpers: " #test, test, bench_for_helpers, NULL, NULL                                               \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(it_starts_closed),
        BOTH(one_failure_less_than_the_threshold_keeps_it_closed),
        BOTH(the_threshold_of_consecutive_failures_opens_it),
        BOTH(a_success_resets_the_consecutive_count),
        BOTH(the_first_open_lasts_exactly_the_timeout),
        BOTH(the_threshold_of_successes_closes_it),
        BOTH(after_closing_it_needs_the_whole_threshold_again),
        BOTH(a_failure_in_half_open_opens_it_again_for_twice_the_time),
        BOTH(half_open_never_admits_more_than_its_probes),
        BOTH(a_cancelled_probe_gives_its_permit_back),
        BOTH(a_stragglers_success_cannot_close_an_open_breaker),
        BOTH(a_stragglers_success_does_not_count_in_half_open),
        BOTH(a_stragglers_failure_does_not_open_a_closed_breaker_again),
        BOTH(asking_changes_nothing),
        BOTH(with_open_time_0_an_open_breaker_reads_half_open_at_once),
        BOTH(a_manual_reset_closes_it_with_nothing_remembered),
        BOTH(results_from_before_a_reset_change_nothing),
        BOTH(isolation_holds_until_reset),
        BOTH(a_new_boot_id_starts_fresh),
        BOTH(three_boots_in_a_minute_start_it_half_open),
        BOTH(three_boots_in_more_than_a_minute_start_it_closed),
        BOTH(isolation_outlives_a_boot),
        BOTH(disabled_it_admits_all_and_counts_nothing),
        BOTH(disabled_an_open_one_reads_closed),
        BOTH(a_permit_given_while_disabled_counts_nothing_afterwards),
        BOTH(the_open_time_doubles_up_to_its_cap),
        BOTH(the_jitter_of_a_reopen_is_at_most_a_tenth_and_varies),
        BOTH(an_open_time_above_the_cap_is_not_shortened_by_it),
        BOTH(half_of_twenty_attempts_failing_opens_it),
        BOTH(fewer_than_half_failing_keeps_it_closed),
        BOTH(attempts_that_left_the_window_do_not_count),
        BOTH(the_window_slides_by_tenths),
        BOTH(a_rate_of_0_turns_the_rate_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
