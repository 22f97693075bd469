/* Limits, streams, commit, progress: what time and chunks do to one attempt. */
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
    rig_open(&r, &policy);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    rig_close(&r);
    return 0;
}

/* Nothing may happen until just before `after`; then the attempt is cancelled for that reason. */
static void assert_cancelled_after(sbx_time_ns after, sbx_outcome why)
{
    rig_tick(&r, after - SBX_MS(1));
    assert_int_equal(rig_count(&r, SBX_ACTION_CANCEL), 0);
    assert_true(sbx_router_next_deadline(r.router) <= r.now + SBX_MS(1));
    rig_tick(&r, SBX_MS(1));
    assert_int_equal(rig_find(&r, SBX_ACTION_CANCEL)->cancel.outcome, why);
}

static sbx_attempt_ref accepted(sbx_attempt_ref attempt)
{
    rig_accepted(&r, attempt);
    return attempt;
}

/* ---- limits -------------------------------------------------------------------------------------------- */

static void an_http_worker_has_the_connect_limit_to_accept(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_buffered(&r);
    assert_cancelled_after(SBX_MS(1000), SBX_OUTCOME_CONNECT_TIMEOUT);
}

static void a_nats_worker_has_the_ack_limit_and_a_millisecond_per_4_kib(void **state)
{
    (void)state;
    rig_nats(&r, "w1", "a", 4);
    rig_buffered(&r);
    assert_cancelled_after(SBX_MS(250), SBX_OUTCOME_ACK_TIMEOUT);
    rig_request(&r, (sbx_event_request_new){.body_bytes = 1 << 20});
    assert_cancelled_after(SBX_MS(250 + 256), SBX_OUTCOME_ACK_TIMEOUT);
}

static void a_buffered_attempt_has_its_limit_for_the_whole_answer(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    accepted(rig_buffered(&r));
    assert_cancelled_after(SBX_SEC(30), SBX_OUTCOME_ATTEMPT_TIMEOUT);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_WORKER_TIMEOUT);
}

static void a_streaming_attempt_has_its_limit_to_first_content(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    accepted(rig_streaming(&r));
    assert_cancelled_after(SBX_SEC(60), SBX_OUTCOME_FIRST_CONTENT_TIMEOUT);
}

static void silent_chunks_do_not_move_the_first_content_limit(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    sbx_attempt_ref attempt = accepted(rig_streaming(&r));
    rig_tick(&r, SBX_SEC(59));
    rig_chunk(&r, attempt, SBX_CHUNK_SILENT);
    assert_cancelled_after(SBX_SEC(1), SBX_OUTCOME_FIRST_CONTENT_TIMEOUT);
}

static void content_moves_the_idle_limit_and_silence_does_not(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    sbx_attempt_ref attempt = accepted(rig_streaming(&r));
    rig_content(&r, attempt);
    rig_tick(&r, SBX_SEC(19));
    rig_content(&r, attempt);
    rig_tick(&r, SBX_SEC(10));
    rig_chunk(&r, attempt, SBX_CHUNK_SILENT);
    assert_cancelled_after(SBX_SEC(10), SBX_OUTCOME_IDLE_TIMEOUT);
    const sbx_action *end = rig_end(&r);
    assert_int_equal(end->end.error, SBX_API_STREAM_INTERRUPTED);
    assert_int_equal(end->end.end, SBX_END_TIMEOUT);
    assert_true(end->end.committed);
}

static void while_our_client_reads_slowly_there_is_no_idle_limit(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    sbx_attempt_ref attempt = accepted(rig_streaming(&r));
    rig_content(&r, attempt);
    rig_paused(&r, attempt, true);
    rig_run(&r, SBX_SEC(300));
    assert_int_equal(sbx_router_counts_of(r.router).in_flight, 1);
    rig_paused(&r, attempt, false);
    assert_cancelled_after(SBX_SEC(20), SBX_OUTCOME_IDLE_TIMEOUT);
}

static void the_requests_deadline_ends_a_committed_stream(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    sbx_attempt_ref attempt = accepted(rig_streaming(&r));
    for (int i = 0; i < 599; i++) {
        rig_content(&r, attempt);
        rig_tick(&r, SBX_SEC(1));
    }
    assert_cancelled_after(SBX_SEC(1), SBX_OUTCOME_DEADLINE);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_STREAM_INTERRUPTED);
}

static void a_client_may_lower_the_deadline_and_the_worker_is_not_blamed(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    accepted(rig_request(&r, (sbx_event_request_new){.timeout_ns = SBX_SEC(2)}));
    assert_cancelled_after(SBX_SEC(2), SBX_OUTCOME_DEADLINE);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_WORKER_TIMEOUT);
    assert_int_equal(rig_end(&r)->end.http_status, 504);
    assert_int_equal(rig_info(&r, w1).consecutive_failures, 0);
}

static void a_client_cannot_raise_the_deadline(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_request(&r, (sbx_event_request_new){.streaming = true, .timeout_ns = SBX_SEC(6000)});
    assert_int_equal(rig_find(&r, SBX_ACTION_START)->start.budget_ns, SBX_SEC(600));
}

static void a_model_has_limits_of_its_own(void **state)
{
    (void)state;
    sbx_model_limits own = {.model = SBX_VIEW("m"),
                            .limits = {.attempt_ns = SBX_SEC(90), .first_content_ns = -1, .idle_ns = -1}};
    sbx_policy policy = rig_policy();
    policy.model_limits = &own;
    policy.model_limit_count = 1;
    assert_int_equal(sbx_router_set_policy(r.router, &policy), SBX_OK);
    rig_worker(&r, "w1", 4);
    accepted(rig_buffered(&r));
    assert_cancelled_after(SBX_SEC(90), SBX_OUTCOME_ATTEMPT_TIMEOUT);
}

static void a_timed_out_attempt_is_tried_elsewhere_with_what_is_left(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    accepted(rig_request(&r, (sbx_event_request_new){.timeout_ns = SBX_SEC(40)}));
    assert_cancelled_after(SBX_SEC(30), SBX_OUTCOME_ATTEMPT_TIMEOUT);
    rig_until_start(&r, SBX_MS(101));
    sbx_time_ns budget = rig_find(&r, SBX_ACTION_START)->start.budget_ns;
    assert_in_range(budget, SBX_SEC(10) - SBX_MS(101), SBX_SEC(10));
}

/* ---- progress ------------------------------------------------------------------------------------------ */

static void a_progressing_workers_timeout_is_neither_failure_nor_retry(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    sbx_attempt_ref attempt = accepted(rig_streaming(&r));
    rig_progress(&r, attempt);
    assert_cancelled_after(SBX_SEC(60), SBX_OUTCOME_FIRST_CONTENT_TIMEOUT);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_WORKER_TIMEOUT);
    assert_int_equal(rig_info(&r, w1).consecutive_failures, 0);
}

static void progress_before_the_last_content_does_not_excuse_idling_after_it(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    sbx_attempt_ref attempt = accepted(rig_streaming(&r));
    rig_progress(&r, attempt);
    rig_content(&r, attempt);
    assert_cancelled_after(SBX_SEC(20), SBX_OUTCOME_IDLE_TIMEOUT);
    assert_int_equal(rig_info(&r, w1).consecutive_failures, 1);
}

/* ---- streams ------------------------------------------------------------------------------------------- */

static void chunks_are_held_until_the_first_content_and_committed_once(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    sbx_attempt_ref attempt = accepted(rig_streaming(&r));
    rig_chunk(&r, attempt, SBX_CHUNK_SILENT);
    assert_int_equal(rig_find(&r, SBX_ACTION_HOLD)->kind, SBX_ACTION_HOLD);
    rig_content(&r, attempt);
    assert_int_equal(rig_count(&r, SBX_ACTION_COMMIT), 1);
    assert_int_equal(rig_count(&r, SBX_ACTION_FORWARD), 1);
    rig_content(&r, attempt);
    assert_int_equal(rig_count(&r, SBX_ACTION_COMMIT), 0);
    rig_chunk(&r, attempt, SBX_CHUNK_SILENT);
    assert_int_equal(rig_count(&r, SBX_ACTION_FORWARD), 1);
    rig_chunk(&r, attempt, SBX_CHUNK_DONE);
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
    assert_int_equal(rig_end(&r)->kind, SBX_ACTION_SUCCEED);
    assert_int_equal(rig_count(&r, SBX_ACTION_COMMIT), 0);
}

static void commit_comes_before_the_chunk_that_caused_it(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_content(&r, accepted(rig_streaming(&r)));
    assert_int_equal(r.last.count, 2);
    assert_int_equal(r.last.items[0].kind, SBX_ACTION_COMMIT);
    assert_int_equal(r.last.items[1].kind, SBX_ACTION_FORWARD);
}

static void a_complete_stream_without_content_commits_at_its_end(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    sbx_attempt_ref attempt = accepted(rig_streaming(&r));
    rig_chunk(&r, attempt, SBX_CHUNK_DONE);
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
    assert_int_equal(rig_count(&r, SBX_ACTION_COMMIT), 1);
    assert_true(rig_end(&r)->end.committed);
}

static void the_commit_tells_what_is_known_so_far(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    rig_ended(&r, rig_streaming(&r), SBX_OUTCOME_REFUSED);
    rig_content(&r, rig_started(&r));
    const sbx_request_meta *meta = &rig_find(&r, SBX_ACTION_COMMIT)->commit.meta;
    assert_int_equal(meta->attempts, 2);
    assert_string_equal(rig_name(&r, meta->failed[0]), "w1");
    assert_string_equal(rig_name(&r, meta->selected), "w2");
}

static void a_failure_before_commit_is_replaced_by_another_worker(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    sbx_attempt_ref attempt = accepted(rig_streaming(&r));
    rig_chunk(&r, attempt, SBX_CHUNK_SILENT);
    rig_ended(&r, attempt, SBX_OUTCOME_RESET);
    assert_string_equal(rig_started_at(&r), "w2");
}

static void a_failure_after_commit_is_stream_interrupted_and_never_retried(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    sbx_attempt_ref attempt = accepted(rig_streaming(&r));
    rig_content(&r, attempt);
    rig_ended(&r, attempt, SBX_OUTCOME_RESET);
    const sbx_action *end = rig_end(&r);
    assert_int_equal(end->end.error, SBX_API_STREAM_INTERRUPTED);
    assert_int_equal(end->end.last_error, SBX_API_WORKER_UNAVAILABLE);
    assert_true(end->end.committed);
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 0);
    assert_int_equal(rig_info(&r, w1).consecutive_failures, 1);
}

static void a_worker_that_always_dies_at_token_40_trips_its_breaker(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    for (int i = 0; i < 5; i++) {
        sbx_attempt_ref attempt = accepted(rig_streaming(&r));
        for (int token = 0; token < 40; token++)
            rig_content(&r, attempt);
        rig_ended(&r, attempt, SBX_OUTCOME_RESET);
    }
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_OPEN);
}

/* ---- stale events -------------------------------------------------------------------------------------- */

static void events_of_an_earlier_attempt_are_dropped(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    sbx_attempt_ref first = accepted(rig_streaming(&r));
    rig_ended(&r, first, SBX_OUTCOME_RESET);
    sbx_attempt_ref second = rig_started(&r);
    rig_content(&r, first);
    assert_int_equal(r.last.count, 1);
    assert_int_equal(rig_count(&r, SBX_ACTION_DROP), 1);
    rig_ended(&r, first, SBX_OUTCOME_OK);
    assert_int_equal(rig_count(&r, SBX_ACTION_DROP), 1);
    rig_content(&r, second);
    assert_int_equal(rig_count(&r, SBX_ACTION_COMMIT), 1);
}

static void events_of_an_ended_request_are_dropped(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    sbx_attempt_ref attempt = accepted(rig_buffered(&r));
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
    assert_int_equal(rig_count(&r, SBX_ACTION_DROP), 1);
    rig_buffered(&r); /* takes the same slot */
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
    assert_int_equal(rig_count(&r, SBX_ACTION_DROP), 1);
    assert_int_equal(sbx_router_counts_of(r.router).in_flight, 1);
    rig_leave(&r, attempt);
    assert_int_equal(r.last.count, 0);
}

/* ---- cancelling ---------------------------------------------------------------------------------------- */

static void a_client_that_leaves_cancels_at_the_worker_in_the_same_step(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    sbx_attempt_ref attempt = accepted(rig_streaming(&r));
    rig_leave(&r, attempt);
    assert_int_equal(rig_find(&r, SBX_ACTION_CANCEL)->cancel.attempt.number, attempt.number);
    assert_int_equal(rig_end(&r)->end.end, SBX_END_CANCELLED);
    assert_int_equal(rig_info(&r, w1).in_flight, 0);
    assert_int_equal(rig_info(&r, w1).consecutive_failures, 0);
}

static void leave_after(sbx_time_ns patience)
{
    sbx_attempt_ref attempt = accepted(rig_streaming(&r));
    rig_tick(&r, patience);
    rig_leave(&r, attempt);
}

static void three_patient_cancels_in_a_row_count_as_one_failure(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    leave_after(SBX_SEC(5));
    leave_after(SBX_SEC(5));
    assert_int_equal(rig_info(&r, w1).consecutive_failures, 0);
    leave_after(SBX_SEC(5));
    assert_int_equal(rig_info(&r, w1).consecutive_failures, 1);
    leave_after(SBX_SEC(5));
    assert_int_equal(rig_info(&r, w1).consecutive_failures, 1);
}

static void impatient_cancels_count_nothing(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    for (int i = 0; i < 10; i++)
        leave_after(SBX_SEC(5) - SBX_MS(1));
    assert_int_equal(rig_info(&r, w1).consecutive_failures, 0);
}

static void first_content_in_between_restarts_the_count(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    leave_after(SBX_SEC(5));
    leave_after(SBX_SEC(5));
    sbx_attempt_ref attempt = accepted(rig_streaming(&r));
    rig_content(&r, attempt);
    rig_leave(&r, attempt);
    leave_after(SBX_SEC(5));
    assert_int_equal(rig_info(&r, w1).consecutive_failures, 0);
}

static void a_slow_worker_is_given_four_times_its_learned_time(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    sbx_attempt_ref attempt = accepted(rig_streaming(&r));
    rig_tick(&r, SBX_SEC(3));
    rig_content(&r, attempt);
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
    for (int i = 0; i < 10; i++)
        leave_after(SBX_SEC(11));
    assert_int_equal(rig_info(&r, w1).consecutive_failures, 0);
    for (int i = 0; i < 3; i++)
        leave_after(SBX_SEC(12));
    assert_int_equal(rig_info(&r, w1).consecutive_failures, 1);
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(an_http_worker_has_the_connect_limit_to_accept),
        PLAIN(a_nats_worker_has_the_ack_limit_and_a_millisecond_per_4_kib),
        PLAIN(a_buffered_attempt_has_its_limit_for_the_whole_answer),
        PLAIN(a_streaming_attempt_has_its_limit_to_first_content),
        PLAIN(silent_chunks_do_not_move_the_first_content_limit),
        PLAIN(content_moves_the_idle_limit_and_silence_does_not),
        PLAIN(while_our_client_reads_slowly_there_is_no_idle_limit),
        PLAIN(the_requests_deadline_ends_a_committed_stream),
        PLAIN(a_client_may_lower_the_deadline_and_the_worker_is_not_blamed),
        PLAIN(a_client_cannot_raise_the_deadline),
        PLAIN(a_model_has_limits_of_its_own),
        PLAIN(a_timed_out_attempt_is_tried_elsewhere_with_what_is_left),
        PLAIN(a_progressing_workers_timeout_is_neither_failure_nor_retry),
        PLAIN(progress_before_the_last_content_does_not_excuse_idling_after_it),
        PLAIN(chunks_are_held_until_the_first_content_and_committed_once),
        PLAIN(commit_comes_before_the_chunk_that_caused_it),
        PLAIN(a_complete_stream_without_content_commits_at_its_end),
        PLAIN(the_commit_tells_what_is_known_so_far),
        PLAIN(a_failure_before_commit_is_replaced_by_another_worker),
        PLAIN(a_failure_after_commit_is_stream_interrupted_and_never_retried),
        PLAIN(a_worker_that_always_dies_at_token_40_trips_its_breaker),
        PLAIN(events_of_an_earlier_attempt_are_dropped),
        PLAIN(events_of_an_ended_request_are_dropped),
        PLAIN(a_client_that_leaves_cancels_at_the_worker_in_the_same_step),
        PLAIN(three_patient_cancels_in_a_row_count_as_one_failure),
        PLAIN(impatient_cancels_count_nothing),
        PLAIN(first_content_in_between_restarts_the_count),
        PLAIN(a_slow_worker_is_given_four_times_its_learned_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
