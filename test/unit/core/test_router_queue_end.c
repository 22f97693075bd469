/* Waiting for room: what those hear who are not let in or not served, and what is told of the line. Who is
 * served: test_router_queue.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/router_priv.h"
#include "unit/core/support_queue.h"
#include "unit/core/support_rig.h"

static rig r;

static int open_rig(void **state)
{
    (void)state;
    sbx_policy policy = line_policy();
    rig_open(&r, &policy);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    rig_close(&r);
    return 0;
}

static void reopen(sbx_policy policy)
{
    rig_close(&r);
    rig_open(&r, &policy);
}

/* One of several that end in this step; fails the test when it does not. */
static const sbx_action *end_of(sbx_attempt_ref attempt)
{
    for (uint32_t i = 0; i < r.last.count; i++) {
        const sbx_action *action = &r.last.items[i];
        if (action->kind == SBX_ACTION_FAIL && action->request.slot == attempt.request.slot)
            return action;
    }
    fail_msg("it did not end");
    return NULL;
}

/* ---- told at once ------------------------------------------------------------------------------------- */

static void refused_at_once(sbx_time_ns retry_after)
{
    const sbx_action *end = line_told(&r, SBX_API_WORKER_OVERLOADED);
    assert_int_equal(end->request.generation, 0);
    assert_int_equal(end->end.http_status, 503);
    assert_int_equal(end->end.end, SBX_END_SHED);
    assert_int_equal(end->end.should_retry, 1);
    assert_int_equal(end->end.retry_after_ns, retry_after);
}

static void beyond_the_length_of_the_line_it_is_told_at_once(void **state)
{
    (void)state;
    sbx_policy policy = line_policy();
    policy.queue.max_length = 2;
    reopen(policy);
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    line_waits_plain(&r);
    line_waits_plain(&r);
    rig_buffered(&r);
    refused_at_once(SBX_ROOM_GUESS);
    rig_ended(&r, running, SBX_OUTCOME_OK);
    line_waits_plain(&r);
}

static void beyond_the_bytes_of_the_line_it_is_told_at_once(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    line_waits(&r, (sbx_event_request_new){.body_bytes = 1 << 19});
    line_waits(&r, (sbx_event_request_new){.body_bytes = 1 << 19});
    rig_request(&r, (sbx_event_request_new){.body_bytes = 1});
    refused_at_once(SBX_ROOM_GUESS);
}

static void a_cool_down_beyond_the_longest_wait_is_told_at_once(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_busy(&r, rig_buffered(&r), SBX_SEC(25));
    line_told(&r, SBX_API_WORKER_OVERLOADED);
    rig_buffered(&r);
    refused_at_once(SBX_SEC(25));
    rig_tick(&r, SBX_SEC(6));
    line_waits_plain(&r);
}

static void a_cool_down_beyond_the_deadline_is_told_at_once(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_busy(&r, rig_buffered(&r), SBX_SEC(10));
    rig_request(&r, (sbx_event_request_new){.timeout_ns = SBX_SEC(9)});
    refused_at_once(SBX_SEC(10));
    line_waits(&r, (sbx_event_request_new){.timeout_ns = SBX_SEC(11)});
}

static void with_one_full_and_one_cooling_for_long_it_waits(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    rig_busy(&r, rig_buffered(&r), SBX_SEC(100));
    rig_worker(&r, "w2", 1);
    rig_buffered(&r);
    line_waits_plain(&r);
}

static void a_worker_without_any_capacity_is_no_hope(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 0);
    rig_buffered(&r);
    refused_at_once(SBX_ROOM_GUESS);
}

/* ---- waiting ends ------------------------------------------------------------------------------------- */

static void who_waited_to_the_end_is_told_overloaded(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    line_endless(&r);
    sbx_attempt_ref waiting = line_waits_plain(&r);
    rig_tick(&r, SBX_MS(19999));
    assert_int_equal(rig_count(&r, SBX_ACTION_FAIL), 0);
    rig_tick(&r, SBX_MS(2));
    const sbx_action *end = line_told(&r, SBX_API_WORKER_OVERLOADED);
    assert_int_equal(end->request.slot, waiting.request.slot);
    assert_int_equal(end->end.http_status, 503);
    assert_int_equal(end->end.end, SBX_END_SHED);
    assert_int_equal(end->end.should_retry, 1);
    assert_true(end->end.retry_after_ns > 0);
    assert_int_equal(end->end.meta.attempts, 0);
    assert_int_equal(end->end.meta.queue_wait_ns, SBX_MS(20001));
    assert_int_equal(line_queued(&r), 0);
    assert_int_equal(sbx_router_counts_of(r.router).queue_given_up, 1);
}

static void the_wait_ends_with_the_clients_deadline(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    line_endless(&r);
    line_waits(&r, (sbx_event_request_new){.timeout_ns = SBX_SEC(3)});
    rig_tick(&r, SBX_SEC(3));
    line_told(&r, SBX_API_WORKER_OVERLOADED);
}

static void a_slot_that_is_free_too_late_is_not_taken(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = line_endless(&r);
    line_waits(&r, (sbx_event_request_new){.timeout_ns = SBX_SEC(3)});
    sbx_attempt_ref in_time = line_waits_plain(&r);
    r.now += SBX_SEC(3);
    rig_ended(&r, running, SBX_OUTCOME_OK);
    assert_int_equal(rig_count(&r, SBX_ACTION_FAIL), 1);
    line_started_is(&r, in_time);
}

static void a_client_that_leaves_the_line_ends_cancelled(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref leaving = line_waits_plain(&r);
    sbx_attempt_ref staying = line_waits_plain(&r);
    rig_tick(&r, SBX_MS(5));
    rig_leave(&r, leaving);
    const sbx_action *end = rig_end(&r);
    assert_int_equal(end->end.end, SBX_END_CANCELLED);
    assert_int_equal(end->end.http_status, 499);
    assert_int_equal(end->end.meta.queue_wait_ns, SBX_MS(5));
    assert_int_equal(rig_count(&r, SBX_ACTION_CANCEL), 0);
    assert_int_equal(line_queued(&r), 1);
    line_next_after(&r, running, staying);
}

static void a_draining_controller_serves_who_waits(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref waiting = line_waits_plain(&r);
    sbx_event drain = {.kind = SBX_EVENT_DRAIN};
    r.last = sbx_router_step(r.router, r.now, &drain);
    rig_buffered(&r);
    line_told(&r, SBX_API_CONTROLLER_DRAINING);
    rig_ended(&r, line_next_after(&r, running, waiting), SBX_OUTCOME_OK);
    assert_int_equal(sbx_router_counts_of(r.router).in_flight, 0);
}

/* ---- hope is lost ------------------------------------------------------------------------------------- */

static void the_last_worker_that_leaves_ends_the_wait(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    sbx_attempt_ref waiting = line_waits_plain(&r);
    rig_gone(&r, w1);
    const sbx_action *end = end_of(waiting);
    assert_int_equal(end->end.error, SBX_API_NO_WORKERS_AVAILABLE);
    assert_int_equal(end->end.http_status, 503);
    assert_int_equal(end->end.retry_after_ns, SBX_ROOM_GUESS);
}

static void one_of_two_that_leaves_does_not(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    rig_worker(&r, "w2", 1);
    sbx_attempt_ref other = rig_streaming(&r);
    rig_content(&r, other);
    sbx_attempt_ref waiting = line_waits_plain(&r);
    rig_gone(&r, w1);
    assert_int_equal(line_queued(&r), 2); /* and the one that was lost with w1 */
    (void)waiting;
}

static void a_breaker_that_opens_for_longer_than_the_wait_ends_it(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    line_waits_plain(&r);
    rig_trip(&r, w1);
    rig_tick(&r, 0);
    const sbx_action *end = line_told(&r, SBX_API_CIRCUIT_BREAKER_OPEN);
    assert_int_equal(end->end.retry_after_ns, SBX_SEC(30));
    assert_int_equal(end->end.should_retry, 1);
}

static void a_breaker_that_opens_for_less_is_waited_for(void **state)
{
    (void)state;
    sbx_policy policy = line_policy();
    policy.breaker.timeout_ns = SBX_SEC(5);
    reopen(policy);
    sbx_worker_ref w1 = rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref waiting = line_waits_plain(&r);
    sbx_attempt_ref hasty = line_waits(&r, (sbx_event_request_new){.timeout_ns = SBX_SEC(4)});
    rig_trip(&r, w1);
    rig_tick(&r, 0);
    assert_int_equal(line_told(&r, SBX_API_CIRCUIT_BREAKER_OPEN)->request.slot, hasty.request.slot);
    rig_ended(&r, running, SBX_OUTCOME_OK);
    rig_until_start(&r, SBX_SEC(6));
    line_started_is(&r, waiting);
}

static void isolating_or_draining_the_last_worker_ends_the_wait(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    line_waits_plain(&r);
    rig_admin(&r, w1, SBX_COMMAND_ISOLATE);
    line_told(&r, SBX_API_CIRCUIT_BREAKER_OPEN);
    rig_admin(&r, w1, SBX_COMMAND_RESET);
    line_waits_plain(&r);
    rig_admin(&r, w1, SBX_COMMAND_DRAIN);
    line_told(&r, SBX_API_NO_WORKERS_AVAILABLE);
}

static void a_named_cool_down_beyond_the_wait_ends_it(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 2);
    sbx_attempt_ref running = rig_buffered(&r);
    rig_buffered(&r);
    sbx_attempt_ref waiting = line_waits_plain(&r);
    rig_busy(&r, running, SBX_SEC(60));
    assert_int_equal(line_queued(&r), 0);
    assert_int_equal(end_of(waiting)->end.retry_after_ns, SBX_SEC(60));
}

static void a_model_that_nobody_serves_any_more_is_not_found(void **state)
{
    (void)state;
    rig_worker_of(&r, "other", "n", 1);
    rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    line_waits_plain(&r);
    rig_worker_of(&r, "w1", "n", 1);
    const sbx_action *end = line_told(&r, SBX_API_MODEL_NOT_FOUND);
    assert_int_equal(end->end.http_status, 404);
    assert_int_equal(end->end.end, SBX_END_CLIENT_ERROR);
    assert_int_equal(end->end.should_retry, -1);
}

static void a_retry_that_has_been_at_all_that_are_left_is_told(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref failing = rig_buffered(&r);
    sbx_worker_ref w2 = rig_worker(&r, "w2", 1);
    sbx_attempt_ref other = rig_buffered(&r);
    rig_ended(&r, failing, SBX_OUTCOME_REFUSED);
    assert_int_equal(line_queued(&r), 1);
    rig_admin(&r, w2, SBX_COMMAND_DRAIN);
    assert_int_equal(line_told(&r, SBX_API_WORKER_UNAVAILABLE)->request.slot, failing.request.slot);
    (void)other;
}

static void bus_down(void)
{
    sbx_event event = {.kind = SBX_EVENT_BUS_DOWN};
    r.last = sbx_router_step(r.router, r.now, &event);
}

static void a_bus_that_is_soon_back_is_waited_for(void **state)
{
    (void)state;
    rig_nats(&r, "w1", "b1", 1);
    sbx_attempt_ref running = rig_streaming(&r);
    rig_content(&r, running);
    sbx_attempt_ref waiting = line_waits_plain(&r);
    bus_down();
    rig_run(&r, SBX_SEC(2));
    assert_int_equal(line_queued(&r), 1);
    rig_nats(&r, "w1", "b1", 1);
    line_next_after(&r, running, waiting);
}

static void a_bus_that_stays_away_ends_the_wait(void **state)
{
    (void)state;
    rig_nats(&r, "w1", "b1", 1);
    rig_content(&r, rig_streaming(&r));
    line_waits_plain(&r);
    bus_down();
    rig_run(&r, SBX_MS(4900));
    assert_int_equal(line_queued(&r), 1);
    rig_run(&r, SBX_MS(200));
    assert_int_equal(line_queued(&r), 0);
    assert_int_equal(sbx_router_counts_of(r.router).ended[SBX_END_SHED], 1);
}

/* ---- a new policy ------------------------------------------------------------------------------------- */

static void a_line_that_is_switched_off_serves_who_stands_in_it(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref waiting = line_waits_plain(&r);
    sbx_policy policy = rig_policy();
    assert_int_equal(sbx_router_set_policy(r.router, &policy), SBX_OK);
    rig_tick(&r, 0);
    rig_buffered(&r);
    refused_at_once(SBX_ROOM_GUESS);
    line_next_after(&r, running, waiting);
}

/* ---- what is told of it ------------------------------------------------------------------------------- */

static void the_line_of_a_model_can_be_looked_at(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    assert_int_equal(sbx_router_queue_of(r.router, SBX_VIEW("m")).length, 0);
    assert_int_equal(sbx_router_queue_of(r.router, SBX_VIEW("unknown")).length, 0);
    line_waits(&r, (sbx_event_request_new){.body_bytes = 10});
    rig_tick(&r, SBX_MS(7));
    line_waits(&r, (sbx_event_request_new){.body_bytes = 5});
    sbx_queue_info info = sbx_router_queue_of(r.router, SBX_VIEW("m"));
    assert_int_equal(info.length, 2);
    assert_int_equal(info.bytes, 15);
    assert_int_equal(info.next_waits_ns, SBX_MS(7));
    rig_ended(&r, running, SBX_OUTCOME_OK);
    info = sbx_router_queue_of(r.router, SBX_VIEW("m"));
    assert_int_equal(info.length, 1);
    assert_int_equal(info.next_waits_ns, 0);
    assert_int_equal(sbx_router_counts_of(r.router).queue_joins, 2);
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(beyond_the_length_of_the_line_it_is_told_at_once),
        PLAIN(beyond_the_bytes_of_the_line_it_is_told_at_once),
        PLAIN(a_cool_down_beyond_the_longest_wait_is_told_at_once),
        PLAIN(a_cool_down_beyond_the_deadline_is_told_at_once),
        PLAIN(with_one_full_and_one_cooling_for_long_it_waits),
        PLAIN(a_worker_without_any_capacity_is_no_hope),
        PLAIN(who_waited_to_the_end_is_told_overloaded),
        PLAIN(the_wait_ends_with_the_clients_deadline),
        PLAIN(a_slot_that_is_free_too_late_is_not_taken),
        PLAIN(a_client_that_leaves_the_line_ends_cancelled),
        PLAIN(a_draining_controller_serves_who_waits),
        PLAIN(the_last_worker_that_leaves_ends_the_wait),
        PLAIN(one_of_two_that_leaves_does_not),
        PLAIN(a_breaker_that_opens_for_longer_than_the_wait_ends_it),
        PLAIN(a_breaker_that_opens_for_less_is_waited_for),
        PLAIN(isolating_or_draining_the_last_worker_ends_the_wait),
        PLAIN(a_named_cool_down_beyond_the_wait_ends_it),
        PLAIN(a_model_that_nobody_serves_any_more_is_not_found),
        PLAIN(a_retry_that_has_been_at_all_that_are_left_is_told),
        PLAIN(a_bus_that_is_soon_back_is_waited_for),
        PLAIN(a_bus_that_stays_away_ends_the_wait),
        PLAIN(a_line_that_is_switched_off_serves_who_stands_in_it),
        PLAIN(the_line_of_a_model_can_be_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
