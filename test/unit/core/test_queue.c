/* The lines of those who wait: whose turn it is, what is counted, who leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/queue.h"

enum {
    REQUESTS = 200,
    MODELS = 4
};

static sbx_queue queue;

static int open_queue(void **state)
{
    (void)state;
    assert_int_equal(sbx_queue_init(&queue, REQUESTS, MODELS, 7), SBX_OK);
    return 0;
}

static int close_queue(void **state)
{
    (void)state;
    sbx_queue_deinit(&queue);
    return 0;
}

static void fresh(uint32_t request, uint32_t model, uint64_t key)
{
    sbx_queue_join join = {
        .request = request, .model = model, .key = key, .arrived_at = request, .bytes = 100};
    assert_true(sbx_queue_add(&queue, &join));
}

static void returned(uint32_t request, uint32_t model, sbx_time_ns arrived_at)
{
    sbx_queue_join join = {
        .request = request, .model = model, .arrived_at = arrived_at, .bytes = 100, .is_returned = true};
    assert_true(sbx_queue_add(&queue, &join));
}

static void served_is(uint32_t model, uint32_t request)
{
    assert_int_equal(sbx_queue_fresh(&queue, model), request);
    sbx_queue_leave(&queue, request, /* is_served: */ true);
}

static void nobody_is_left(void)
{
    assert_int_equal(queue.count, 0);
    assert_int_equal(queue.flow_by_key.count, 0);
    assert_true(sbx_list_is_empty(&queue.all));
    for (int i = 0; i < MODELS; i++) {
        assert_int_equal(queue.models[i].length, 0);
        assert_int_equal(queue.models[i].fresh, 0);
        assert_int_equal(queue.models[i].bytes, 0);
        assert_int_equal(queue.models[i].fresh_bytes, 0);
        assert_int_equal(sbx_queue_fresh(&queue, (uint32_t)i), SBX_QUEUE_NOBODY);
        assert_int_equal(sbx_queue_returned(&queue, (uint32_t)i, SBX_QUEUE_NOBODY), SBX_QUEUE_NOBODY);
    }
}

/* ---- whose turn it is --------------------------------------------------------------------------------- */

static void within_a_key_first_come_is_first_served(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 5; i++)
        fresh(i, 0, 1);
    for (uint32_t i = 0; i < 5; i++)
        served_is(0, i);
    nobody_is_left();
}

static void keys_take_turns_however_many_requests_each_has(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++)
        fresh(i, 0, 1);
    fresh(10, 0, 2);
    fresh(11, 0, 2);
    fresh(20, 0, 3);
    const uint32_t turns[] = {0, 10, 20, 1, 11, 2, 3};
    for (size_t i = 0; i < 7; i++)
        served_is(0, turns[i]);
    nobody_is_left();
}

static void who_leaves_unserved_does_not_cost_its_key_the_turn(void **state)
{
    (void)state;
    fresh(0, 0, 1);
    fresh(1, 0, 1);
    fresh(10, 0, 2);
    sbx_queue_leave(&queue, 0, /* is_served: */ false);
    served_is(0, 1);
    served_is(0, 10);
    nobody_is_left();
}

static void the_same_key_has_a_line_at_each_model(void **state)
{
    (void)state;
    fresh(0, 0, 1);
    fresh(1, 1, 1);
    served_is(1, 1);
    served_is(0, 0);
    nobody_is_left();
}

static void returned_ones_stand_by_arrival(void **state)
{
    (void)state;
    returned(5, 0, 50);
    returned(7, 0, 70);
    returned(6, 0, 60);
    returned(1, 0, 10);
    assert_int_equal(sbx_queue_returned(&queue, 0, SBX_QUEUE_NOBODY), 1);
    assert_int_equal(sbx_queue_returned(&queue, 0, 1), 5);
    assert_int_equal(sbx_queue_returned(&queue, 0, 5), 6);
    assert_int_equal(sbx_queue_returned(&queue, 0, 6), 7);
    assert_int_equal(sbx_queue_returned(&queue, 0, 7), SBX_QUEUE_NOBODY);
    assert_int_equal(sbx_queue_fresh(&queue, 0), SBX_QUEUE_NOBODY);
}

static void a_very_old_one_passes_a_bounded_number_of_others(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 100; i++)
        returned(i, 0, 1000 + i);
    returned(150, 0, 1);
    assert_int_equal(sbx_queue_returned(&queue, 0, 100 - SBX_QUEUE_LOOKS - 1), 150);
}

/* ---- bounds ------------------------------------------------------------------------------------------- */

static void fresh_ones_are_bounded_in_number_and_bytes_per_model(void **state)
{
    (void)state;
    const sbx_queue_policy by_number = {.max_length = 2, .max_bytes = 10000};
    const sbx_queue_policy by_bytes = {.max_length = 1000, .max_bytes = 250};
    fresh(0, 0, 1);
    assert_true(sbx_queue_fits(&queue, &by_number, 0, 100));
    assert_true(sbx_queue_fits(&queue, &by_bytes, 0, 150));
    assert_false(sbx_queue_fits(&queue, &by_bytes, 0, 151));
    fresh(1, 0, 1);
    assert_false(sbx_queue_fits(&queue, &by_number, 0, 100));
    assert_true(sbx_queue_fits(&queue, &by_number, 1, 100));
    sbx_queue_leave(&queue, 0, /* is_served: */ true);
    assert_true(sbx_queue_fits(&queue, &by_number, 0, 100));
}

static void returned_ones_take_no_fresh_ones_place(void **state)
{
    (void)state;
    const sbx_queue_policy policy = {.max_length = 1, .max_bytes = 100};
    for (uint32_t i = 0; i < 5; i++)
        returned(i, 0, i);
    assert_int_equal(queue.models[0].length, 5);
    assert_int_equal(queue.models[0].bytes, 500);
    assert_true(sbx_queue_fits(&queue, &policy, 0, 100));
}

static void the_bytes_of_a_bound_never_wrap(void **state)
{
    (void)state;
    const sbx_queue_policy policy = {.max_length = 10, .max_bytes = UINT64_MAX};
    fresh(0, 0, 1);
    assert_false(sbx_queue_fits(&queue, &policy, 0, UINT64_MAX));
    assert_true(sbx_queue_fits(&queue, &policy, 0, UINT64_MAX - 100));
}

/* ---- several lines ------------------------------------------------------------------------------------ */

static void who_is_served_in_one_line_leaves_the_others(void **state)
{
    (void)state;
    fresh(0, 0, 1);
    fresh(0, 1, 1);
    fresh(1, 1, 1);
    assert_int_equal(queue.count, 2);
    served_is(0, 0);
    served_is(1, 1);
    nobody_is_left();
}

static void nobody_stands_twice_in_a_line_or_in_more_than_a_few(void **state)
{
    (void)state;
    sbx_queue_join join = {.request = 0, .model = 0, .key = 1};
    assert_true(sbx_queue_add(&queue, &join));
    assert_false(sbx_queue_add(&queue, &join));
    for (uint32_t model = 1; model < SBX_QUEUE_MODELS; model++) {
        join.model = model;
        assert_true(sbx_queue_add(&queue, &join));
    }
    join.model = MODELS - 1;
    assert_false(sbx_queue_add(&queue, &join));
    sbx_queue_leave(&queue, 0, /* is_served: */ true);
    nobody_is_left();
}

/* ---- the walk ----------------------------------------------------------------------------------------- */

static void a_walk_meets_everybody_once(void **state)
{
    (void)state;
    fresh(3, 0, 1);
    fresh(1, 1, 1);
    returned(2, 0, 9);
    sbx_queue_walk(&queue);
    assert_int_equal(sbx_queue_walk_next(&queue), 3);
    assert_int_equal(sbx_queue_walk_next(&queue), 1);
    assert_true(sbx_queue_is_walking(&queue));
    assert_int_equal(sbx_queue_walk_next(&queue), 2);
    assert_false(sbx_queue_is_walking(&queue));
    assert_int_equal(sbx_queue_walk_next(&queue), SBX_QUEUE_NOBODY);
}

static void a_walk_goes_on_when_the_next_one_leaves(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++)
        fresh(i, 0, i);
    sbx_queue_walk(&queue);
    assert_int_equal(sbx_queue_walk_next(&queue), 0);
    sbx_queue_leave(&queue, 1, /* is_served: */ true);
    sbx_queue_leave(&queue, 0, /* is_served: */ true);
    assert_int_equal(sbx_queue_walk_next(&queue), 2);
    sbx_queue_leave(&queue, 3, /* is_served: */ false);
    assert_false(sbx_queue_is_walking(&queue));
}

static void flows_are_used_again(void **state)
{
    (void)state;
    for (uint64_t key = 0; key < 10 * REQUESTS; key++) {
        fresh(0, 0, key);
        served_is(0, 0);
    }
    assert_int_equal(queue.flow_high_water, 1);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_queue, close_queue)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(within_a_key_first_come_is_first_served),
        TEST(keys_take_turns_however_many_requests_each_has),
        TEST(who_leaves_unserved_does_not_cost_its_key_the_turn),
        TEST(the_same_key_has_a_line_at_each_model),
        TEST(returned_ones_stand_by_arrival),
        TEST(a_very_old_one_passes_a_bounded_number_of_others),
        TEST(fresh_ones_are_bounded_in_number_and_bytes_per_model),
        TEST(returned_ones_take_no_fresh_ones_place),
        TEST(the_bytes_of_a_bound_never_wrap),
        TEST(who_is_served_in_one_line_leaves_the_others),
        TEST(nobody_stands_twice_in_a_line_or_in_more_than_a_few),
        TEST(a_walk_meets_everybody_once),
        TEST(a_walk_goes_on_when_the_next_one_leaves),
        TEST(flows_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
