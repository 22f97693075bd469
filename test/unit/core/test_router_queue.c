/* Waiting for room: who waits, who is served when a worker has room, and what those hear who are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/router_priv.h"
#include "unit/core/support_rig.h"

static rig r;

static const sbx_view either_models[] = {SBX_VIEW_INIT("n"), SBX_VIEW_INIT("m")};
static const sbx_model_alias either = {
    .name = SBX_VIEW_INIT("either"), .models = either_models, .model_count = 2};

static sbx_policy queue_policy(void)
{
    sbx_policy policy = rig_policy();
    policy.queue =
        (sbx_queue_policy){.max_length = 100, .max_bytes = UINT64_C(1) << 20, .max_wait_ns = SBX_SEC(20)};
    policy.aliases = &either;
    policy.alias_count = 1;
    return policy;
}

static int open_rig(void **state)
{
    (void)state;
    sbx_policy policy = queue_policy();
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

/* Raises a request that must wait; an attempt without number, for leaving. */
static sbx_attempt_ref waits(sbx_event_request_new what)
{
    sbx_attempt_ref attempt = rig_request(&r, what);
    assert_int_equal(attempt.request.generation, 0);
    assert_int_equal(rig_count(&r, SBX_ACTION_FAIL), 0);
    assert_true(rig_noted(&r, SBX_NOTE_REQUEST_QUEUED));
    return (sbx_attempt_ref){.request = rig_find(&r, SBX_ACTION_ADMITTED)->request};
}

static sbx_attempt_ref waits_plain(void)
{
    return waits((sbx_event_request_new){0});
}

/* An attempt without any limit but its request's deadline: a stream whose client reads slowly. */
static sbx_attempt_ref endless(void)
{
    sbx_attempt_ref attempt = rig_streaming(&r);
    rig_content(&r, attempt);
    rig_paused(&r, attempt, true);
    return attempt;
}

static void started_is(sbx_attempt_ref waiting)
{
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 1);
    assert_int_equal(rig_started(&r).request.slot, waiting.request.slot);
    assert_int_equal(rig_started(&r).request.generation, waiting.request.generation);
}

/* Ends the attempt well; the one that waits next starts. */
static sbx_attempt_ref next_after(sbx_attempt_ref running, sbx_attempt_ref waiting)
{
    rig_ended(&r, running, SBX_OUTCOME_OK);
    started_is(waiting);
    return rig_started(&r);
}

static const sbx_action *told(sbx_api_error error)
{
    const sbx_action *end = rig_end(&r);
    assert_int_equal(end->kind, SBX_ACTION_FAIL);
    assert_int_equal(end->end.error, error);
    return end;
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

static uint64_t queued(void)
{
    return sbx_router_counts_of(r.router).queued;
}

/* ---- served ------------------------------------------------------------------------------------------- */

static void a_freed_slot_serves_who_waits_in_the_same_step(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref waiting = waits_plain();
    assert_int_equal(queued(), 1);
    rig_tick(&r, SBX_MS(300));
    rig_ended(&r, running, SBX_OUTCOME_OK);
    started_is(waiting);
    assert_int_equal(rig_find(&r, SBX_ACTION_START)->start.queue_wait_ns, SBX_MS(300));
    assert_int_equal(queued(), 0);
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_OK);
    assert_int_equal(rig_end(&r)->kind, SBX_ACTION_SUCCEED);
    assert_int_equal(rig_end(&r)->end.meta.queue_wait_ns, SBX_MS(300));
    assert_int_equal(rig_end(&r)->end.meta.attempts, 1);
}

static void who_need_not_wait_did_not(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    assert_int_equal(rig_find(&r, SBX_ACTION_START)->start.queue_wait_ns, 0);
    assert_int_equal(sbx_router_counts_of(r.router).queue_joins, 0);
}

static void a_failed_attempts_slot_serves_too(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref waiting = waits_plain();
    rig_ended(&r, running, SBX_OUTCOME_MALFORMED);
    started_is(waiting);
}

static void a_new_worker_serves_who_waits(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    sbx_attempt_ref waiting = waits_plain();
    rig_worker(&r, "w2", 1);
    started_is(waiting);
    assert_string_equal(rig_started_at(&r), "w2");
}

static void more_capacity_serves_who_waits(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    sbx_attempt_ref waiting = waits_plain();
    rig_worker(&r, "w1", 2);
    started_is(waiting);
}

static void an_ended_cool_down_serves_who_waits(void **state)
{
    (void)state;
    sbx_policy policy = queue_policy();
    policy.retry.enabled = false;
    reopen(policy);
    rig_worker(&r, "w1", 4);
    rig_busy(&r, rig_buffered(&r), SBX_SEC(2));
    rig_tick(&r, SBX_MS(500));
    sbx_attempt_ref waiting = waits_plain();
    sbx_time_ns began = r.now;
    rig_until_start(&r, SBX_SEC(5));
    assert_in_range(r.now - began, SBX_MS(1500), SBX_MS(1502));
    started_is(waiting);
}

static void a_request_whose_only_worker_says_in_a_second_waits_that_second(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    sbx_time_ns began = r.now;
    rig_busy(&r, rig_buffered(&r), SBX_SEC(1));
    rig_until_start(&r, SBX_SEC(3));
    assert_in_range(r.now - began, SBX_SEC(1), SBX_MS(1002));
    assert_string_equal(rig_started_at(&r), "w1");
    assert_int_equal(rig_started(&r).number, 2);
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_OK);
    assert_int_equal(rig_end(&r)->kind, SBX_ACTION_SUCCEED);
}

static void a_busy_answer_uses_up_a_retry(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_busy(&r, rig_buffered(&r), SBX_SEC(1));
    for (uint32_t number = 2; number <= 3; number++) {
        rig_until_start(&r, SBX_SEC(3));
        assert_int_equal(rig_started(&r).number, number);
        rig_busy(&r, rig_started(&r), SBX_SEC(1));
    }
    const sbx_action *end = told(SBX_API_WORKER_OVERLOADED);
    assert_int_equal(end->end.http_status, 503);
    assert_int_equal(end->end.retry_after_ns, SBX_SEC(1));
    assert_int_equal(end->end.should_retry, 1);
}

static void a_free_probe_slot_serves_who_waits(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 1);
    rig_trip(&r, w1);
    rig_tick(&r, SBX_SEC(31));
    sbx_attempt_ref probe = rig_streaming(&r);
    assert_string_equal(rig_started_at(&r), "w1");
    rig_buffered(&r); /* fills w2 */
    sbx_attempt_ref waiting = waits_plain();
    rig_content(&r, probe);
    started_is(waiting);
    assert_string_equal(rig_started_at(&r), "w1");
}

/* ---- in which order ----------------------------------------------------------------------------------- */

static void keys_take_turns(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref a1 = waits((sbx_event_request_new){.key_hash = 1});
    sbx_attempt_ref a2 = waits((sbx_event_request_new){.key_hash = 1});
    sbx_attempt_ref a3 = waits((sbx_event_request_new){.key_hash = 1});
    sbx_attempt_ref b1 = waits((sbx_event_request_new){.key_hash = 2});
    running = next_after(running, a1);
    running = next_after(running, b1);
    running = next_after(running, a2);
    next_after(running, a3);
}

static void the_oldest_of_the_models_of_a_worker_goes_first(void **state)
{
    (void)state;
    const sbx_view models[] = {SBX_VIEW("m"), SBX_VIEW("n")};
    sbx_event seen = {.kind = SBX_EVENT_WORKER_SEEN,
                      .seen = {.id = SBX_VIEW("w1"), .models = models, .model_count = 2, .capacity = 1}};
    r.last = sbx_router_step(r.router, r.now, &seen);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref first = waits((sbx_event_request_new){.model = SBX_VIEW("n")});
    rig_tick(&r, SBX_MS(1));
    sbx_attempt_ref second = waits((sbx_event_request_new){.model = SBX_VIEW("m")});
    rig_tick(&r, SBX_MS(1));
    sbx_attempt_ref third = waits((sbx_event_request_new){.model = SBX_VIEW("n")});
    running = next_after(running, first);
    assert_true(sbx_view_eq_cstr(rig_find(&r, SBX_ACTION_START)->start.model, "n"));
    running = next_after(running, second);
    next_after(running, third);
}

static void with_several_models_it_waits_at_each_and_leaves_all_when_served(void **state)
{
    (void)state;
    rig_worker_of(&r, "wm", "m", 1);
    rig_worker_of(&r, "wn", "n", 1);
    sbx_attempt_ref m = rig_buffered(&r);
    sbx_attempt_ref n = rig_request(&r, (sbx_event_request_new){.model = SBX_VIEW("n")});
    sbx_attempt_ref waiting = waits((sbx_event_request_new){.model = SBX_VIEW("either")});
    assert_int_equal(sbx_router_queue_of(r.router, SBX_VIEW("m")).length, 1);
    assert_int_equal(sbx_router_queue_of(r.router, SBX_VIEW("n")).length, 1);
    assert_int_equal(queued(), 1);
    next_after(m, waiting);
    assert_true(sbx_view_eq_cstr(rig_find(&r, SBX_ACTION_START)->start.model, "m"));
    rig_ended(&r, n, SBX_OUTCOME_OK);
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 0);
    assert_int_equal(sbx_router_queue_of(r.router, SBX_VIEW("n")).length, 0);
}

static void many_are_served_over_ticks_and_newcomers_give_way(void **state)
{
    (void)state;
    sbx_policy policy = queue_policy();
    reopen(policy);
    rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    for (int i = 0; i < 60; i++)
        waits_plain();
    rig_worker(&r, "w2", 100); /* more room than one step has actions for */
    uint64_t served = rig_count(&r, SBX_ACTION_START);
    assert_in_range(served, 1, 59);
    sbx_attempt_ref newcomer = rig_buffered(&r);
    served += rig_count(&r, SBX_ACTION_START);
    while (sbx_router_next_deadline(r.router) <= r.now) {
        rig_tick(&r, 0);
        served += rig_count(&r, SBX_ACTION_START);
        if (rig_count(&r, SBX_ACTION_START) > 0)
            newcomer = rig_started(&r); /* of the last one */
    }
    assert_int_equal(served, 61);
    assert_int_equal(newcomer.request.slot, 61); /* came last, is last */
}

/* ---- returned requests -------------------------------------------------------------------------------- */

static void a_retry_that_finds_all_others_full_waits_and_goes_before_younger_ones(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref failing = rig_buffered(&r);
    rig_tick(&r, SBX_MS(1));
    rig_worker(&r, "w2", 1);
    sbx_attempt_ref other = rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "w2");
    rig_tick(&r, SBX_MS(1));
    sbx_attempt_ref young = waits_plain();
    rig_ended(&r, failing, SBX_OUTCOME_REFUSED);
    started_is(young); /* the failed one has been at w1 */
    assert_string_equal(rig_started_at(&r), "w1");
    sbx_attempt_ref younger = waits_plain();
    rig_ended(&r, other, SBX_OUTCOME_OK);
    assert_string_equal(rig_started_at(&r), "w2");
    assert_int_equal(rig_started(&r).request.slot, failing.request.slot);
    assert_int_equal(rig_started(&r).number, 2);
    (void)younger;
}

static void a_retry_waits_though_the_line_is_full(void **state)
{
    (void)state;
    sbx_policy policy = queue_policy();
    policy.queue.max_length = 1;
    reopen(policy);
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref failing = rig_buffered(&r);
    rig_worker(&r, "w2", 1);
    rig_buffered(&r);
    sbx_attempt_ref waiting = waits_plain();
    rig_buffered(&r);
    told(SBX_API_WORKER_OVERLOADED);
    rig_ended(&r, failing, SBX_OUTCOME_REFUSED);
    started_is(waiting);
    assert_int_equal(queued(), 1);
    waits_plain();
    assert_int_equal(queued(), 2);
}

static void a_retry_with_a_delay_waits_after_it(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref failing = rig_buffered(&r);
    rig_worker(&r, "w2", 1);
    sbx_attempt_ref other = rig_buffered(&r);
    rig_ended(&r, failing, SBX_OUTCOME_SERVER_ERROR);
    assert_true(rig_noted(&r, SBX_NOTE_RETRY_SCHEDULED));
    rig_tick(&r, SBX_MS(110));
    assert_int_equal(queued(), 1);
    rig_ended(&r, other, SBX_OUTCOME_OK);
    assert_int_equal(rig_started(&r).request.slot, failing.request.slot);
    assert_string_equal(rig_started_at(&r), "w2");
}

static void a_retry_whose_others_are_open_does_not_wait(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref failing = rig_buffered(&r);
    rig_trip(&r, rig_worker(&r, "w2", 1));
    rig_ended(&r, failing, SBX_OUTCOME_REFUSED);
    told(SBX_API_WORKER_UNAVAILABLE);
}

static void a_retry_that_waited_to_the_end_says_what_its_last_failure_was(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref failing = rig_buffered(&r);
    rig_worker(&r, "w2", 1);
    endless();
    rig_ended(&r, failing, SBX_OUTCOME_REFUSED);
    assert_int_equal(queued(), 1);
    rig_tick(&r, SBX_SEC(20) + SBX_MS(1));
    const sbx_action *end = told(SBX_API_WORKER_UNAVAILABLE);
    assert_int_equal(end->request.slot, failing.request.slot);
    assert_int_equal(end->end.meta.attempts, 1);
}

static void all_stays_together_are_bounded(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = endless();
    sbx_attempt_ref waiting = waits((sbx_event_request_new){.streaming = true});
    rig_tick(&r, SBX_SEC(15));
    running = next_after(running, waiting);
    rig_worker(&r, "w2", 1);
    endless();
    rig_ended(&r, running, SBX_OUTCOME_REFUSED);
    assert_int_equal(queued(), 1);
    rig_tick(&r, SBX_MS(4999));
    assert_int_equal(queued(), 1);
    rig_tick(&r, SBX_MS(2));
    assert_int_equal(queued(), 0);
    told(SBX_API_WORKER_UNAVAILABLE);
}

/* ---- told at once ------------------------------------------------------------------------------------- */

static void refused_at_once(sbx_time_ns retry_after)
{
    const sbx_action *end = told(SBX_API_WORKER_OVERLOADED);
    assert_int_equal(end->request.generation, 0);
    assert_int_equal(end->end.http_status, 503);
    assert_int_equal(end->end.end, SBX_END_SHED);
    assert_int_equal(end->end.should_retry, 1);
    assert_int_equal(end->end.retry_after_ns, retry_after);
}

static void beyond_the_length_of_the_line_it_is_told_at_once(void **state)
{
    (void)state;
    sbx_policy policy = queue_policy();
    policy.queue.max_length = 2;
    reopen(policy);
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    waits_plain();
    waits_plain();
    rig_buffered(&r);
    refused_at_once(SBX_ROOM_GUESS);
    rig_ended(&r, running, SBX_OUTCOME_OK);
    waits_plain();
}

static void beyond_the_bytes_of_the_line_it_is_told_at_once(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    waits((sbx_event_request_new){.body_bytes = 1 << 19});
    waits((sbx_event_request_new){.body_bytes = 1 << 19});
    rig_request(&r, (sbx_event_request_new){.body_bytes = 1});
    refused_at_once(SBX_ROOM_GUESS);
}

static void a_cool_down_beyond_the_longest_wait_is_told_at_once(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_busy(&r, rig_buffered(&r), SBX_SEC(25));
    told(SBX_API_WORKER_OVERLOADED);
    rig_buffered(&r);
    refused_at_once(SBX_SEC(25));
    rig_tick(&r, SBX_SEC(6));
    waits_plain();
}

static void a_cool_down_beyond_the_deadline_is_told_at_once(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_busy(&r, rig_buffered(&r), SBX_SEC(10));
    rig_request(&r, (sbx_event_request_new){.timeout_ns = SBX_SEC(9)});
    refused_at_once(SBX_SEC(10));
    waits((sbx_event_request_new){.timeout_ns = SBX_SEC(11)});
}

static void with_one_full_and_one_cooling_for_long_it_waits(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    rig_busy(&r, rig_buffered(&r), SBX_SEC(100));
    rig_worker(&r, "w2", 1);
    rig_buffered(&r);
    waits_plain();
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
    endless();
    sbx_attempt_ref waiting = waits_plain();
    rig_tick(&r, SBX_MS(19999));
    assert_int_equal(rig_count(&r, SBX_ACTION_FAIL), 0);
    rig_tick(&r, SBX_MS(2));
    const sbx_action *end = told(SBX_API_WORKER_OVERLOADED);
    assert_int_equal(end->request.slot, waiting.request.slot);
    assert_int_equal(end->end.http_status, 503);
    assert_int_equal(end->end.end, SBX_END_SHED);
    assert_int_equal(end->end.should_retry, 1);
    assert_true(end->end.retry_after_ns > 0);
    assert_int_equal(end->end.meta.attempts, 0);
    assert_int_equal(end->end.meta.queue_wait_ns, SBX_MS(20001));
    assert_int_equal(queued(), 0);
    assert_int_equal(sbx_router_counts_of(r.router).queue_given_up, 1);
}

static void the_wait_ends_with_the_clients_deadline(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    endless();
    waits((sbx_event_request_new){.timeout_ns = SBX_SEC(3)});
    rig_tick(&r, SBX_SEC(3));
    told(SBX_API_WORKER_OVERLOADED);
}

static void a_slot_that_is_free_too_late_is_not_taken(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = endless();
    waits((sbx_event_request_new){.timeout_ns = SBX_SEC(3)});
    sbx_attempt_ref in_time = waits_plain();
    r.now += SBX_SEC(3);
    rig_ended(&r, running, SBX_OUTCOME_OK);
    assert_int_equal(rig_count(&r, SBX_ACTION_FAIL), 1);
    started_is(in_time);
}

static void a_client_that_leaves_the_line_ends_cancelled(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref leaving = waits_plain();
    sbx_attempt_ref staying = waits_plain();
    rig_tick(&r, SBX_MS(5));
    rig_leave(&r, leaving);
    const sbx_action *end = rig_end(&r);
    assert_int_equal(end->end.end, SBX_END_CANCELLED);
    assert_int_equal(end->end.http_status, 499);
    assert_int_equal(end->end.meta.queue_wait_ns, SBX_MS(5));
    assert_int_equal(rig_count(&r, SBX_ACTION_CANCEL), 0);
    assert_int_equal(queued(), 1);
    next_after(running, staying);
}

static void a_draining_controller_serves_who_waits(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref waiting = waits_plain();
    sbx_event drain = {.kind = SBX_EVENT_DRAIN};
    r.last = sbx_router_step(r.router, r.now, &drain);
    rig_buffered(&r);
    told(SBX_API_CONTROLLER_DRAINING);
    rig_ended(&r, next_after(running, waiting), SBX_OUTCOME_OK);
    assert_int_equal(sbx_router_counts_of(r.router).in_flight, 0);
}

/* ---- hope is lost ------------------------------------------------------------------------------------- */

static void the_last_worker_that_leaves_ends_the_wait(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    sbx_attempt_ref waiting = waits_plain();
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
    sbx_attempt_ref waiting = waits_plain();
    rig_gone(&r, w1);
    assert_int_equal(queued(), 2); /* and the one that was lost with w1 */
    (void)waiting;
}

static void a_breaker_that_opens_for_longer_than_the_wait_ends_it(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    waits_plain();
    rig_trip(&r, w1);
    rig_tick(&r, 0);
    const sbx_action *end = told(SBX_API_CIRCUIT_BREAKER_OPEN);
    assert_int_equal(end->end.retry_after_ns, SBX_SEC(30));
    assert_int_equal(end->end.should_retry, 1);
}

static void a_breaker_that_opens_for_less_is_waited_for(void **state)
{
    (void)state;
    sbx_policy policy = queue_policy();
    policy.breaker.timeout_ns = SBX_SEC(5);
    reopen(policy);
    sbx_worker_ref w1 = rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref waiting = waits_plain();
    sbx_attempt_ref hasty = waits((sbx_event_request_new){.timeout_ns = SBX_SEC(4)});
    rig_trip(&r, w1);
    rig_tick(&r, 0);
    assert_int_equal(told(SBX_API_CIRCUIT_BREAKER_OPEN)->request.slot, hasty.request.slot);
    rig_ended(&r, running, SBX_OUTCOME_OK);
    rig_until_start(&r, SBX_SEC(6));
    started_is(waiting);
}

static void isolating_or_draining_the_last_worker_ends_the_wait(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    waits_plain();
    rig_admin(&r, w1, SBX_COMMAND_ISOLATE);
    told(SBX_API_CIRCUIT_BREAKER_OPEN);
    rig_admin(&r, w1, SBX_COMMAND_RESET);
    waits_plain();
    rig_admin(&r, w1, SBX_COMMAND_DRAIN);
    told(SBX_API_NO_WORKERS_AVAILABLE);
}

static void a_named_cool_down_beyond_the_wait_ends_it(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 2);
    sbx_attempt_ref running = rig_buffered(&r);
    rig_buffered(&r);
    sbx_attempt_ref waiting = waits_plain();
    rig_busy(&r, running, SBX_SEC(60));
    assert_int_equal(queued(), 0);
    assert_int_equal(end_of(waiting)->end.retry_after_ns, SBX_SEC(60));
}

static void a_model_that_nobody_serves_any_more_is_not_found(void **state)
{
    (void)state;
    rig_worker_of(&r, "other", "n", 1);
    rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    waits_plain();
    rig_worker_of(&r, "w1", "n", 1);
    const sbx_action *end = told(SBX_API_MODEL_NOT_FOUND);
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
    assert_int_equal(queued(), 1);
    rig_admin(&r, w2, SBX_COMMAND_DRAIN);
    assert_int_equal(told(SBX_API_WORKER_UNAVAILABLE)->request.slot, failing.request.slot);
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
    sbx_attempt_ref waiting = waits_plain();
    bus_down();
    rig_run(&r, SBX_SEC(2));
    assert_int_equal(queued(), 1);
    rig_nats(&r, "w1", "b1", 1);
    next_after(running, waiting);
}

static void a_bus_that_stays_away_ends_the_wait(void **state)
{
    (void)state;
    rig_nats(&r, "w1", "b1", 1);
    rig_content(&r, rig_streaming(&r));
    waits_plain();
    bus_down();
    rig_run(&r, SBX_MS(4900));
    assert_int_equal(queued(), 1);
    rig_run(&r, SBX_MS(200));
    assert_int_equal(queued(), 0);
    assert_int_equal(sbx_router_counts_of(r.router).ended[SBX_END_SHED], 1);
}

/* ---- a new policy ------------------------------------------------------------------------------------- */

static void a_line_that_is_switched_off_serves_who_stands_in_it(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref waiting = waits_plain();
    sbx_policy policy = rig_policy();
    assert_int_equal(sbx_router_set_policy(r.router, &policy), SBX_OK);
    rig_tick(&r, 0);
    rig_buffered(&r);
    refused_at_once(SBX_ROOM_GUESS);
    next_after(running, waiting);
}

/* ---- what is told of it ------------------------------------------------------------------------------- */

static void the_line_of_a_model_can_be_looked_at(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    assert_int_equal(sbx_router_queue_of(r.router, SBX_VIEW("m")).length, 0);
    assert_int_equal(sbx_router_queue_of(r.router, SBX_VIEW("unknown")).length, 0);
    waits((sbx_event_request_new){.body_bytes = 10});
    rig_tick(&r, SBX_MS(7));
    waits((sbx_event_request_new){.body_bytes = 5});
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
        PLAIN(a_freed_slot_serves_who_waits_in_the_same_step),
        PLAIN(who_need_not_wait_did_not),
        PLAIN(a_failed_attempts_slot_serves_too),
        PLAIN(a_new_worker_serves_who_waits),
        PLAIN(more_capacity_serves_who_waits),
        PLAIN(an_ended_cool_down_serves_who_waits),
        PLAIN(a_request_whose_only_worker_says_in_a_second_waits_that_second),
        PLAIN(a_busy_answer_uses_up_a_retry),
        PLAIN(a_free_probe_slot_serves_who_waits),
        PLAIN(keys_take_turns),
        PLAIN(the_oldest_of_the_models_of_a_worker_goes_first),
        PLAIN(with_several_models_it_waits_at_each_and_leaves_all_when_served),
        PLAIN(many_are_served_over_ticks_and_newcomers_give_way),
        PLAIN(a_retry_that_finds_all_others_full_waits_and_goes_before_younger_ones),
        PLAIN(a_retry_waits_though_the_line_is_full),
        PLAIN(a_retry_with_a_delay_waits_after_it),
        PLAIN(a_retry_whose_others_are_open_does_not_wait),
        PLAIN(a_retry_that_waited_to_the_end_says_what_its_last_failure_was),
        PLAIN(all_stays_together_are_bounded),
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
