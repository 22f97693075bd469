/* Back-off, budget, and the poison guard's table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/poison.h"
#include "core/retry.h"

static const sbx_retry_policy POLICY = {.delay_ns = SBX_MS(100), .max_delay_ns = SBX_MS(1000)};

static sbx_time_ns most_of(uint32_t n, sbx_time_ns *ret_least)
{
    sbx_rng rng;
    sbx_rng_seed(&rng, n);
    sbx_time_ns least = SBX_TIME_NEVER, most = 0;
    for (int i = 0; i < 2000; i++) {
        sbx_time_ns delay = sbx_retry_delay(&POLICY, n, &rng);
        least = sbx_time_min(least, delay);
        most = sbx_time_max(most, delay);
    }
    *ret_least = least;
    return most;
}

static void the_delay_has_full_jitter_and_doubles_to_its_cap(void **state)
{
    (void)state;
    const sbx_time_ns ceilings[] = {SBX_MS(100), SBX_MS(200),  SBX_MS(400),
                                    SBX_MS(800), SBX_MS(1000), SBX_MS(1000)};
    for (uint32_t n = 1; n <= 6; n++) {
        sbx_time_ns least, most = most_of(n, &least);
        assert_in_range(least, 0, ceilings[n - 1] / 50);
        assert_in_range(most, ceilings[n - 1] / 50 * 49, ceilings[n - 1]);
    }
}

static void no_delay_is_no_delay(void **state)
{
    (void)state;
    sbx_retry_policy policy = {.delay_ns = 0, .max_delay_ns = SBX_MS(1000)};
    sbx_rng rng;
    sbx_rng_seed(&rng, 1);
    assert_int_equal(sbx_retry_delay(&policy, 1, &rng), 0);
}

static uint32_t drain(sbx_retry_budget *budget, sbx_time_ns now)
{
    uint32_t taken = 0;
    while (sbx_retry_budget_take(budget, now))
        taken++;
    return taken;
}

static void the_budget_starts_full_with_a_hundred(void **state)
{
    (void)state;
    sbx_retry_budget budget;
    sbx_retry_budget_init(&budget, SBX_SEC(5));
    assert_int_equal(drain(&budget, SBX_SEC(5)), 100);
}

static void it_gains_ten_a_second_and_a_fifth_per_request_up_to_a_hundred(void **state)
{
    (void)state;
    sbx_retry_budget budget;
    sbx_retry_budget_init(&budget, 0);
    drain(&budget, 0);
    for (int i = 0; i < 50; i++)
        sbx_retry_budget_request(&budget, 0);
    assert_int_equal(drain(&budget, 0), 10);
    assert_int_equal(drain(&budget, SBX_MS(1999)), 19);
    assert_int_equal(drain(&budget, SBX_MS(2000)), 1);
    assert_int_equal(drain(&budget, SBX_SEC(3600)), 100);
}

static void retry_on_errors_words_are_looked_up_by_class(void **state)
{
    (void)state;
    sbx_retry_policy policy = {.on_timeout = true};
    assert_true(sbx_retry_wants(&policy, SBX_CLASS_ON_ALWAYS));
    assert_true(sbx_retry_wants(&policy, SBX_CLASS_ON_TIMEOUT));
    assert_false(sbx_retry_wants(&policy, SBX_CLASS_ON_UNAVAILABLE));
    assert_false(sbx_retry_wants(&policy, SBX_CLASS_ON_OVERLOADED));
}

/* ---- poison -------------------------------------------------------------------------------------------- */

static void two_different_victims_make_a_body_poison(void **state)
{
    (void)state;
    sbx_poison poison = {0};
    sbx_poison_death(&poison, 9, 1, 0);
    sbx_poison_death(&poison, 9, 1, 0);
    assert_false(sbx_poison_is_known(&poison, 9, 0));
    sbx_poison_death(&poison, 9, 2, 0);
    assert_true(sbx_poison_is_known(&poison, 9, 0));
    assert_false(sbx_poison_is_known(&poison, 10, 0));
}

static void it_is_forgotten_after_ten_minutes(void **state)
{
    (void)state;
    sbx_poison poison = {0};
    sbx_poison_death(&poison, 9, 1, 0);
    sbx_poison_death(&poison, 9, 2, 0);
    assert_true(sbx_poison_is_known(&poison, 9, SBX_POISON_SPAN));
    assert_false(sbx_poison_is_known(&poison, 9, SBX_POISON_SPAN + 1));
    sbx_poison_death(&poison, 9, 3, SBX_POISON_SPAN + 1);
    assert_false(sbx_poison_is_known(&poison, 9, SBX_POISON_SPAN + 1));
}

static void a_body_that_was_served_is_no_poison(void **state)
{
    (void)state;
    sbx_poison poison = {0};
    sbx_poison_death(&poison, 9, 1, 0);
    sbx_poison_served(&poison, 9);
    sbx_poison_death(&poison, 9, 2, 0);
    assert_false(sbx_poison_is_known(&poison, 9, 0));
}

static void an_unknown_hash_is_never_poison(void **state)
{
    (void)state;
    sbx_poison poison = {0};
    sbx_poison_death(&poison, 0, 1, 0);
    sbx_poison_death(&poison, 0, 2, 0);
    assert_false(sbx_poison_is_known(&poison, 0, 0));
}

static void a_newer_body_displaces_an_older_one_of_the_same_row(void **state)
{
    (void)state;
    sbx_poison poison = {0};
    sbx_poison_death(&poison, 9, 1, 0);
    sbx_poison_death(&poison, 9, 2, 0);
    sbx_poison_death(&poison, 9 + SBX_POISON_ROWS, 1, 0);
    assert_false(sbx_poison_is_known(&poison, 9, 0));
    assert_int_equal(poison.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_delay_has_full_jitter_and_doubles_to_its_cap),
        cmocka_unit_test(no_delay_is_no_delay),
        cmocka_unit_test(the_budget_starts_full_with_a_hundred),
        cmocka_unit_test(it_gains_ten_a_second_and_a_fifth_per_request_up_to_a_hundred),
        cmocka_unit_test(retry_on_errors_words_are_looked_up_by_class),
        cmocka_unit_test(two_different_victims_make_a_body_poison),
        cmocka_unit_test(it_is_forgotten_after_ten_minutes),
        cmocka_unit_test(a_body_that_was_served_is_no_poison),
        cmocka_unit_test(an_unknown_hash_is_never_poison),
        cmocka_unit_test(a_newer_body_displaces_an_older_one_of_the_same_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
