/* Waiting for room: who waits, and who is served when a worker has room. How waiting ends without:
 * test_router_queue_end.c. */
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

/* ---- served ------------------------------------------------------------------------------------------- */

static void a_freed_slot_serves_who_waits_in_the_same_step(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref waiting = line_waits_plain(&r);
    assert_int_equal(line_queued(&r), 1);
    rig_tick(&r, SBX_MS(300));
    rig_ended(&r, running, SBX_OUTCOME_OK);
    line_started_is(&r, waiting);
    assert_int_equal(rig_find(&r, SBX_ACTION_START)->start.queue_wait_ns, SBX_MS(300));
    assert_int_equal(line_queued(&r), 0);
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
    sbx_attempt_ref waiting = line_waits_plain(&r);
    rig_ended(&r, running, SBX_OUTCOME_MALFORMED);
    line_started_is(&r, waiting);
}

static void a_new_worker_serves_who_waits(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    sbx_attempt_ref waiting = line_waits_plain(&r);
    rig_worker(&r, "w2", 1);
    line_started_is(&r, waiting);
    assert_string_equal(rig_started_at(&r), "w2");
}

static void more_capacity_serves_who_waits(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    sbx_attempt_ref waiting = line_waits_plain(&r);
    rig_worker(&r, "w1", 2);
    line_started_is(&r, waiting);
}

static void an_ended_cool_down_serves_who_waits(void **state)
{
    (void)state;
    sbx_policy policy = line_policy();
    policy.retry.enabled = false;
    reopen(policy);
    rig_worker(&r, "w1", 4);
    rig_busy(&r, rig_buffered(&r), SBX_SEC(2));
    rig_tick(&r, SBX_MS(500));
    sbx_attempt_ref waiting = line_waits_plain(&r);
    sbx_time_ns began = r.now;
    rig_until_start(&r, SBX_SEC(5));
    assert_in_range(r.now - began, SBX_MS(1500), SBX_MS(1502));
    line_started_is(&r, waiting);
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
    const sbx_action *end = line_told(&r, SBX_API_WORKER_OVERLOADED);
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
    sbx_attempt_ref waiting = line_waits_plain(&r);
    rig_content(&r, probe);
    line_started_is(&r, waiting);
    assert_string_equal(rig_started_at(&r), "w1");
}

/* ---- in which order ----------------------------------------------------------------------------------- */

static void keys_take_turns(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref a1 = line_waits(&r, (sbx_event_request_new){.key_hash = 1});
    sbx_attempt_ref a2 = line_waits(&r, (sbx_event_request_new){.key_hash = 1});
    sbx_attempt_ref a3 = line_waits(&r, (sbx_event_request_new){.key_hash = 1});
    sbx_attempt_ref b1 = line_waits(&r, (sbx_event_request_new){.key_hash = 2});
    running = line_next_after(&r, running, a1);
    running = line_next_after(&r, running, b1);
    running = line_next_after(&r, running, a2);
    line_next_after(&r, running, a3);
}

static void the_oldest_of_the_models_of_a_worker_goes_first(void **state)
{
    (void)state;
    const sbx_view models[] = {SBX_VIEW("m"), SBX_VIEW("n")};
    sbx_event seen = {.kind = SBX_EVENT_WORKER_SEEN,
                      .seen = {.id = SBX_VIEW("w1"), .models = models, .model_count = 2, .capacity = 1}};
    r.last = sbx_router_step(r.router, r.now, &seen);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_attempt_ref first = line_waits(&r, (sbx_event_request_new){.model = SBX_VIEW("n")});
    rig_tick(&r, SBX_MS(1));
    sbx_attempt_ref second = line_waits(&r, (sbx_event_request_new){.model = SBX_VIEW("m")});
    rig_tick(&r, SBX_MS(1));
    sbx_attempt_ref third = line_waits(&r, (sbx_event_request_new){.model = SBX_VIEW("n")});
    running = line_next_after(&r, running, first);
    assert_true(sbx_view_eq_cstr(rig_find(&r, SBX_ACTION_START)->start.model, "n"));
    running = line_next_after(&r, running, second);
    line_next_after(&r, running, third);
}

static void with_several_models_it_waits_at_each_and_leaves_all_when_served(void **state)
{
    (void)state;
    rig_worker_of(&r, "wm", "m", 1);
    rig_worker_of(&r, "wn", "n", 1);
    sbx_attempt_ref m = rig_buffered(&r);
    sbx_attempt_ref n = rig_request(&r, (sbx_event_request_new){.model = SBX_VIEW("n")});
    sbx_attempt_ref waiting = line_waits(&r, (sbx_event_request_new){.model = SBX_VIEW("either")});
    assert_int_equal(sbx_router_queue_of(r.router, SBX_VIEW("m")).length, 1);
    assert_int_equal(sbx_router_queue_of(r.router, SBX_VIEW("n")).length, 1);
    assert_int_equal(line_queued(&r), 1);
    line_next_after(&r, m, waiting);
    assert_true(sbx_view_eq_cstr(rig_find(&r, SBX_ACTION_START)->start.model, "m"));
    rig_ended(&r, n, SBX_OUTCOME_OK);
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 0);
    assert_int_equal(sbx_router_queue_of(r.router, SBX_VIEW("n")).length, 0);
}

static void many_are_served_over_ticks_and_newcomers_give_way(void **state)
{
    (void)state;
    sbx_policy policy = line_policy();
    reopen(policy);
    rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    for (int i = 0; i < 60; i++)
        line_waits_plain(&r);
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
    sbx_attempt_ref young = line_waits_plain(&r);
    rig_ended(&r, failing, SBX_OUTCOME_REFUSED);
    line_started_is(&r, young); /* the failed one has been at w1 */
    assert_string_equal(rig_started_at(&r), "w1");
    sbx_attempt_ref younger = line_waits_plain(&r);
    rig_ended(&r, other, SBX_OUTCOME_OK);
    assert_string_equal(rig_started_at(&r), "w2");
    assert_int_equal(rig_started(&r).request.slot, failing.request.slot);
    assert_int_equal(rig_started(&r).number, 2);
    (void)younger;
}

static void a_retry_waits_though_the_line_is_full(void **state)
{
    (void)state;
    sbx_policy policy = line_policy();
    policy.queue.max_length = 1;
    reopen(policy);
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref failing = rig_buffered(&r);
    rig_worker(&r, "w2", 1);
    rig_buffered(&r);
    sbx_attempt_ref waiting = line_waits_plain(&r);
    rig_buffered(&r);
    line_told(&r, SBX_API_WORKER_OVERLOADED);
    rig_ended(&r, failing, SBX_OUTCOME_REFUSED);
    line_started_is(&r, waiting);
    assert_int_equal(line_queued(&r), 1);
    line_waits_plain(&r);
    assert_int_equal(line_queued(&r), 2);
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
    assert_int_equal(line_queued(&r), 1);
    rig_ended(&r, other, SBX_OUTCOME_OK);
    assert_int_equal(rig_started(&r).request.slot, failing.request.slot);
    assert_string_equal(rig_started_at(&r), "w2");
}

static void a_retry_whose_others_are_open_does_not_wait(void **state)
{
    (void)state;
    sbx_policy policy = line_policy();
    policy.breaker.timeout_ns = SBX_SEC(1); /* though that would be soon enough */
    reopen(policy);
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref failing = rig_buffered(&r);
    rig_trip(&r, rig_worker(&r, "w2", 1));
    rig_ended(&r, failing, SBX_OUTCOME_REFUSED);
    line_told(&r, SBX_API_WORKER_UNAVAILABLE);
}

static void a_retry_that_waited_to_the_end_says_what_its_last_failure_was(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref failing = rig_buffered(&r);
    rig_worker(&r, "w2", 1);
    line_endless(&r);
    rig_ended(&r, failing, SBX_OUTCOME_REFUSED);
    assert_int_equal(line_queued(&r), 1);
    rig_tick(&r, SBX_SEC(20) + SBX_MS(1));
    const sbx_action *end = line_told(&r, SBX_API_WORKER_UNAVAILABLE);
    assert_int_equal(end->request.slot, failing.request.slot);
    assert_int_equal(end->end.meta.attempts, 1);
}

static void all_stays_together_are_bounded(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    sbx_attempt_ref running = line_endless(&r);
    sbx_attempt_ref waiting = line_waits(&r, (sbx_event_request_new){.streaming = true});
    rig_tick(&r, SBX_SEC(15));
    running = line_next_after(&r, running, waiting);
    rig_worker(&r, "w2", 1);
    line_endless(&r);
    rig_ended(&r, running, SBX_OUTCOME_REFUSED);
    assert_int_equal(line_queued(&r), 1);
    rig_tick(&r, SBX_MS(4999));
    assert_int_equal(line_queued(&r), 1);
    rig_tick(&r, SBX_MS(2));
    assert_int_equal(line_queued(&r), 0);
    line_told(&r, SBX_API_WORKER_UNAVAILABLE);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
