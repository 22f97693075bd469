/* The timer wheel: never early, in order, whatever is armed and cancelled in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/wheel.h"

typedef struct timer {
    sbx_wheel_entry entry;
    int name;
} timer;

static sbx_wheel wheel;

static int fresh(void **state)
{
    (void)state;
    sbx_wheel_init(&wheel, 0);
    return 0;
}

/* The name of the next timer due, 0 when there is none. */
static int due_at(sbx_time_ns now)
{
    sbx_wheel_entry *entry = sbx_wheel_expire(&wheel, now);
    return entry == NULL ? 0 : SBX_CONTAINER_OF(entry, timer, entry)->name;
}

static void nothing_armed_means_never(void **state)
{
    (void)state;
    assert_true(sbx_wheel_next_deadline(&wheel) == SBX_TIME_NEVER);
    assert_null(sbx_wheel_expire(&wheel, SBX_SEC(1000000)));
}

static void a_timer_never_fires_early(void **state)
{
    (void)state;
    timer t = {.name = 1};
    sbx_wheel_arm(&wheel, &t.entry, SBX_MS(5) + 1);
    assert_int_equal(due_at(SBX_MS(5)), 0);
    assert_int_equal(due_at(SBX_MS(6) - 1), 0);
    assert_int_equal(due_at(SBX_MS(6)), 1);
    assert_int_equal(due_at(SBX_MS(100)), 0);
    assert_false(sbx_wheel_is_armed(&t.entry));
}

static void a_deadline_on_the_tick_fires_on_the_tick(void **state)
{
    (void)state;
    timer t = {.name = 1};
    sbx_wheel_arm(&wheel, &t.entry, SBX_MS(5));
    assert_true(sbx_wheel_next_deadline(&wheel) == SBX_MS(5));
    assert_int_equal(due_at(SBX_MS(5)), 1);
}

static void a_deadline_that_has_passed_is_due_at_once(void **state)
{
    (void)state;
    timer t = {.name = 1};
    assert_int_equal(due_at(SBX_MS(50)), 0);
    sbx_wheel_arm(&wheel, &t.entry, SBX_MS(10));
    assert_true(sbx_wheel_next_deadline(&wheel) <= SBX_MS(50));
    assert_int_equal(due_at(SBX_MS(50)), 1);
}

static void timers_fire_in_the_order_of_their_ticks(void **state)
{
    (void)state;
    timer late = {.name = 3}, early = {.name = 1}, middle = {.name = 2};
    sbx_wheel_arm(&wheel, &late.entry, SBX_SEC(90));
    sbx_wheel_arm(&wheel, &early.entry, SBX_MS(3));
    sbx_wheel_arm(&wheel, &middle.entry, SBX_MS(700));
    assert_int_equal(due_at(SBX_SEC(100)), 1);
    assert_int_equal(due_at(SBX_SEC(100)), 2);
    assert_int_equal(due_at(SBX_SEC(100)), 3);
    assert_int_equal(due_at(SBX_SEC(100)), 0);
}

static void a_cancelled_timer_does_not_fire(void **state)
{
    (void)state;
    timer t = {.name = 1};
    sbx_wheel_arm(&wheel, &t.entry, SBX_SEC(5));
    sbx_wheel_cancel(&wheel, &t.entry);
    sbx_wheel_cancel(&wheel, &t.entry);
    assert_true(sbx_wheel_next_deadline(&wheel) == SBX_TIME_NEVER);
    assert_int_equal(wheel.count, 0);
    assert_int_equal(due_at(SBX_SEC(10)), 0);
}

static void re_arming_moves_a_timer(void **state)
{
    (void)state;
    timer t = {.name = 1};
    sbx_wheel_arm(&wheel, &t.entry, SBX_MS(5));
    sbx_wheel_arm(&wheel, &t.entry, SBX_MS(500));
    assert_int_equal(wheel.count, 1);
    assert_int_equal(due_at(SBX_MS(499)), 0);
    assert_int_equal(due_at(SBX_MS(500)), 1);
}

static void arming_for_never_cancels(void **state)
{
    (void)state;
    timer t = {.name = 1};
    sbx_wheel_arm(&wheel, &t.entry, SBX_MS(5));
    sbx_wheel_arm(&wheel, &t.entry, SBX_TIME_NEVER);
    assert_false(sbx_wheel_is_armed(&t.entry));
    assert_int_equal(due_at(SBX_SEC(1)), 0);
}

static void one_due_timer_may_cancel_another_that_is_due(void **state)
{
    (void)state;
    timer first = {.name = 1}, second = {.name = 2};
    sbx_wheel_arm(&wheel, &first.entry, SBX_MS(5));
    sbx_wheel_arm(&wheel, &second.entry, SBX_MS(5));
    assert_int_equal(due_at(SBX_MS(5)), 1);
    sbx_wheel_cancel(&wheel, &second.entry);
    assert_int_equal(due_at(SBX_MS(5)), 0);
    assert_int_equal(wheel.count, 0);
}

static void a_lazy_timer_may_re_arm_itself_in_the_loop(void **state)
{
    (void)state;
    timer t = {.name = 1};
    sbx_wheel_arm(&wheel, &t.entry, SBX_MS(5));
    assert_int_equal(due_at(SBX_MS(8) + 500), 1);
    sbx_wheel_arm(&wheel, &t.entry, SBX_MS(8) + 501);
    assert_int_equal(due_at(SBX_MS(8) + 500), 0);
    assert_int_equal(due_at(SBX_MS(9)), 1);
}

static void a_jump_over_hours_fires_everything(void **state)
{
    (void)state;
    timer t[3] = {{.name = 1}, {.name = 2}, {.name = 3}};
    sbx_wheel_arm(&wheel, &t[0].entry, SBX_MS(63));
    sbx_wheel_arm(&wheel, &t[1].entry, SBX_SEC(3600));
    sbx_wheel_arm(&wheel, &t[2].entry, SBX_SEC(3600 * 24));
    assert_int_equal(due_at(SBX_SEC(3600 * 25)), 1);
    assert_int_equal(due_at(SBX_SEC(3600 * 25)), 2);
    assert_int_equal(due_at(SBX_SEC(3600 * 25)), 3);
}

static void the_farthest_deadline_is_held(void **state)
{
    (void)state;
    timer t = {.name = 1};
    sbx_wheel_arm(&wheel, &t.entry, SBX_TIME_NEVER - 1);
    assert_true(sbx_wheel_next_deadline(&wheel) < SBX_TIME_NEVER);
    assert_int_equal(due_at(SBX_SEC(1000000)), 0);
    assert_true(sbx_wheel_is_armed(&t.entry));
}

static void following_next_deadline_fires_within_one_tick_and_few_wakes(void **state)
{
    (void)state;
    timer t = {.name = 1};
    sbx_time_ns deadline = SBX_SEC(12345) + 678901;
    sbx_time_ns now = 0;
    int wakes = 0;
    sbx_wheel_arm(&wheel, &t.entry, deadline);
    do {
        assert_true(sbx_wheel_next_deadline(&wheel) >= now);
        now = sbx_wheel_next_deadline(&wheel);
        wakes++;
    } while (due_at(now) == 0);
    assert_true(now >= deadline && now < deadline + SBX_MS(1));
    assert_true(wheel.tick == (uint64_t)(now / SBX_MS(1)));
    assert_true(wakes <= 8);
}

enum {
    MANY = 500
};

/* The same wheel beside the obvious implementation: a list of deadlines. */
static void random_use_agrees_with_a_plain_list(void **state)
{
    (void)state;
    static timer timers[MANY];
    sbx_rng rng;
    sbx_time_ns now = 0;
    size_t fired = 0;
    memset(timers, 0, sizeof timers);
    sbx_rng_seed(&rng, 42);
    for (int step = 0; step < 20000; step++) {
        timer *t = &timers[sbx_rng_below(&rng, MANY)];
        sbx_time_ns reach = SBX_MS(1) << sbx_rng_below(&rng, 24);
        if (sbx_rng_below(&rng, 4) == 0)
            sbx_wheel_cancel(&wheel, &t->entry);
        else
            sbx_wheel_arm(&wheel, &t->entry, now + (sbx_time_ns)sbx_rng_below(&rng, (uint64_t)reach));
        now += (sbx_time_ns)sbx_rng_below(&rng, (uint64_t)SBX_MS(1) << sbx_rng_below(&rng, 12));
        sbx_time_ns last = -1;
        for (sbx_wheel_entry *e = sbx_wheel_expire(&wheel, now); e != NULL;
             e = sbx_wheel_expire(&wheel, now)) {
            assert_true(e->deadline <= now);
            assert_true(sbx_time_to_ms_ceil(e->deadline) >= last);
            last = sbx_time_to_ms_ceil(e->deadline);
            fired++;
        }
        sbx_time_ns first = SBX_TIME_NEVER;
        for (int i = 0; i < MANY; i++) {
            if (!sbx_wheel_is_armed(&timers[i].entry))
                continue;
            assert_true(sbx_time_to_ms_ceil(timers[i].entry.deadline) > sbx_time_to_ms(now));
            first = sbx_time_min(first, timers[i].entry.deadline);
        }
        assert_true(sbx_wheel_next_deadline(&wheel) < sbx_time_add(first, SBX_MS(1)));
    }
    assert_true(fired > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_armed_means_never, fresh),
        cmocka_unit_test_setup(a_timer_never_fires_early, fresh),
        cmocka_unit_test_setup(a_deadline_on_the_tick_fires_on_the_tick, fresh),
        cmocka_unit_test_setup(a_deadline_that_has_passed_is_due_at_once, fresh),
        cmocka_unit_test_setup(timers_fire_in_the_order_of_their_ticks, fresh),
        cmocka_unit_test_setup(a_cancelled_timer_does_not_fire, fresh),
        cmocka_unit_test_setup(re_arming_moves_a_timer, fresh),
        cmocka_unit_test_setup(arming_for_never_cancels, fresh),
        cmocka_unit_test_setup(one_due_timer_may_cancel_another_that_is_due, fresh),
        cmocka_unit_test_setup(a_lazy_timer_may_re_arm_itself_in_the_loop, fresh),
        cmocka_unit_test_setup(a_jump_over_hours_fires_everything, fresh),
        cmocka_unit_test_setup(the_farthest_deadline_is_held, fresh),
        cmocka_unit_test_setup(following_next_deadline_fires_within_one_tick_and_few_wakes, fresh),
        cmocka_unit_test_setup(random_use_agrees_with_a_plain_list, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
