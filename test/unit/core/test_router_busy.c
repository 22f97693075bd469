/* Workers that say that they are busy: how much they are trusted with until they answer again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "unit/core/support_rig.h"

static rig r;

static int open_rig(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.retry.enabled = false;
    rig_open(&r, &policy);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    rig_close(&r);
    return 0;
}

/* As many as the worker is trusted with now. */
static size_t fill(sbx_attempt_ref attempts[], size_t most)
{
    size_t count = 0;
    for (sbx_attempt_ref next = rig_buffered(&r); next.request.generation != 0 && count < most;
         next = rig_buffered(&r)) {
        rig_accepted(&r, next);
        attempts[count++] = next;
    }
    return count;
}

static void succeed(const sbx_attempt_ref attempts[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        rig_ended(&r, attempts[i], SBX_OUTCOME_OK);
}

/* 16 are sent, `takes` of them are taken, the others hear that it is busy; a second later. */
static void busy_but_for(size_t takes)
{
    sbx_attempt_ref attempts[16];
    assert_int_equal(fill(attempts, 16), 16);
    for (size_t i = takes; i < 16; i++)
        rig_busy(&r, attempts[i], -1);
    succeed(attempts, takes);
    rig_tick(&r, SBX_SEC(1));
}

static void what_runs_there_when_it_says_busy_is_what_it_is_trusted_with(void **state)
{
    (void)state;
    sbx_attempt_ref attempts[16];
    rig_worker(&r, "w1", 16);
    assert_int_equal(fill(attempts, 16), 16);
    for (size_t i = 4; i < 16; i++)
        rig_busy(&r, attempts[i], -1);
    rig_tick(&r, SBX_SEC(1));
    assert_int_equal(fill(attempts + 4, 12), 0); /* four run */
    rig_ended(&r, attempts[0], SBX_OUTCOME_OK);
    assert_int_equal(fill(attempts, 16), 1);
}

static void its_capacity_is_told_as_configured(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 16);
    busy_but_for(4);
    assert_int_equal(rig_info(&r, w1).capacity, 16);
}

static void who_took_nothing_is_asked_by_one_and_then_by_twice_as_many_each_time(void **state)
{
    (void)state;
    sbx_attempt_ref attempts[16];
    rig_worker(&r, "w1", 16);
    busy_but_for(0);
    for (size_t room = 1; room <= 16; room *= 2) {
        size_t count = fill(attempts, 16);
        assert_int_equal(count, room);
        succeed(attempts, count);
    }
}

static void one_place_too_many_is_not_soon_tried_again(void **state)
{
    (void)state;
    sbx_attempt_ref attempts[16];
    rig_worker(&r, "w1", 16);
    busy_but_for(4);
    size_t busy = 0;
    for (int round = 0; round < 250; round++) { /* a thousand requests */
        size_t count = fill(attempts, 16);
        assert_in_range(count, 4, 5);
        if (count == 5)
            rig_busy(&r, attempts[4], -1);
        busy += count == 5;
        succeed(attempts, 4);
        rig_tick(&r, SBX_SEC(1));
    }
    assert_in_range(busy, 1, 15);
}

static void a_place_that_was_not_too_many_makes_the_next_one_easier(void **state)
{
    (void)state;
    sbx_attempt_ref attempts[16];
    rig_worker(&r, "w1", 16);
    busy_but_for(4);
    size_t rounds = 0;
    for (size_t count = fill(attempts, 16); count < 16; count = fill(attempts, 16)) {
        succeed(attempts, count);
        assert_true(++rounds < 16);
    }
}

static void a_time_that_it_names_is_believed_less_the_more_often(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 16);
    const sbx_time_ns cool_downs[] = {SBX_MS(100), SBX_MS(200), SBX_MS(400), SBX_MS(800)};
    for (size_t i = 0; i < 4; i++) {
        rig_busy(&r, rig_buffered(&r), 0);
        rig_tick(&r, cool_downs[i] - 1);
        assert_int_equal(rig_buffered(&r).request.generation, 0);
        rig_tick(&r, 1);
    }
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_OK);
    rig_busy(&r, rig_buffered(&r), 0);
    rig_tick(&r, SBX_MS(100));
    assert_int_not_equal(rig_buffered(&r).request.generation, 0);
}

static void a_reset_or_a_new_boot_forgets_it(void **state)
{
    (void)state;
    sbx_attempt_ref attempts[16];
    sbx_worker_ref w1 = rig_nats(&r, "w1", "b1", 16);
    busy_but_for(0);
    rig_admin(&r, w1, SBX_COMMAND_RESET);
    assert_int_equal(fill(attempts, 16), 16);
    succeed(attempts, 16);
    busy_but_for(0);
    rig_nats(&r, "w1", "b2", 16);
    assert_int_equal(fill(attempts, 16), 16);
}

static void a_heartbeat_does_not_and_another_capacity_does(void **state)
{
    (void)state;
    sbx_attempt_ref attempts[16];
    rig_worker(&r, "w1", 16);
    busy_but_for(0);
    rig_worker(&r, "w1", 16);
    assert_int_equal(fill(attempts, 16), 1);
    rig_worker(&r, "w1", 8);
    assert_int_equal(fill(attempts + 1, 15), 7);
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(what_runs_there_when_it_says_busy_is_what_it_is_trusted_with),
        PLAIN(its_capacity_is_told_as_configured),
        PLAIN(who_took_nothing_is_asked_by_one_and_then_by_twice_as_many_each_time),
        PLAIN(one_place_too_many_is_not_soon_tried_again),
        PLAIN(a_place_that_was_not_too_many_makes_the_next_one_easier),
        PLAIN(a_time_that_it_names_is_believed_less_the_more_often),
        PLAIN(a_reset_or_a_new_boot_forgets_it),
        PLAIN(a_heartbeat_does_not_and_another_capacity_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
