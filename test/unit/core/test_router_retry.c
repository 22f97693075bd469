/* What a failed attempt leads to: another worker, a wait, the right error. */
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

static void reopen(sbx_policy policy)
{
    rig_close(&r);
    rig_open(&r, &policy);
}

static void three_workers(void)
{
    rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    rig_worker(&r, "w3", 4);
}

/* Fails the attempt and waits until the next one starts. */
static sbx_attempt_ref fail_over(sbx_attempt_ref attempt, sbx_outcome outcome)
{
    rig_ended(&r, attempt, outcome);
    rig_until_start(&r, SBX_MS(1001));
    return rig_started(&r);
}

static const sbx_action *failed(sbx_api_error error, uint32_t status, sbx_request_end end)
{
    const sbx_action *action = rig_end(&r);
    assert_int_equal(action->kind, SBX_ACTION_FAIL);
    assert_int_equal(action->end.error, error);
    assert_int_equal(action->end.http_status, status);
    assert_int_equal(action->end.end, end);
    return action;
}

/* ---- who gets the retry -------------------------------------------------------------------------------- */

static void a_retry_never_reuses_a_tried_worker(void **state)
{
    (void)state;
    three_workers();
    sbx_attempt_ref attempt = rig_buffered(&r);
    const char *first = rig_started_at(&r);
    attempt = fail_over(attempt, SBX_OUTCOME_SERVER_ERROR);
    const char *second = rig_started_at(&r);
    attempt = fail_over(attempt, SBX_OUTCOME_SERVER_ERROR);
    const char *third = rig_started_at(&r);
    assert_string_not_equal(first, second);
    assert_string_not_equal(second, third);
    assert_string_not_equal(first, third);
    assert_int_equal(attempt.number, 3);
}

static void a_retry_that_succeeds_names_the_failed_and_the_selected_worker(void **state)
{
    (void)state;
    three_workers();
    sbx_attempt_ref attempt = fail_over(rig_buffered(&r), SBX_OUTCOME_SERVER_ERROR);
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
    const sbx_action *end = rig_end(&r);
    assert_int_equal(end->end.meta.attempts, 2);
    assert_int_equal(end->end.meta.failed_count, 1);
    assert_string_equal(rig_name(&r, end->end.meta.failed[0]), "w1");
    assert_string_equal(rig_name(&r, end->end.meta.selected), "w2");
}

static void what_the_worker_never_saw_is_retried_in_the_same_step(void **state)
{
    (void)state;
    three_workers();
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_REFUSED);
    assert_string_equal(rig_started_at(&r), "w2");
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_REFUSED);
    assert_string_equal(rig_started_at(&r), "w3");
}

static void a_lost_connection_is_retried_at_once_the_first_time(void **state)
{
    (void)state;
    three_workers();
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_RESET);
    assert_string_equal(rig_started_at(&r), "w2");
}

static void other_failures_wait_at_most_the_delay_and_it_doubles(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.retry.max_retries = 10;
    policy.retry.delay_ns = SBX_MS(300);
    reopen(policy);
    for (int i = 0; i < 5; i++)
        rig_worker(&r, (const char *[]){"w1", "w2", "w3", "w4", "w5"}[i], 100);
    sbx_time_ns most[4] = {0};
    for (int round = 0; round < 30; round++) {
        sbx_attempt_ref attempt = rig_buffered(&r);
        for (int n = 0; n < 4; n++) {
            sbx_time_ns before = r.now;
            rig_ended(&r, attempt, SBX_OUTCOME_MALFORMED);
            rig_until_start(&r, SBX_MS(1001));
            attempt = rig_started(&r);
            most[n] = sbx_time_max(most[n], r.now - before);
        }
        rig_ended(&r, attempt, SBX_OUTCOME_OK);
        for (size_t i = 0; i < 5; i++)
            rig_admin(&r, sbx_worker_describe(sbx_registry_at(sbx_router_registry(r.router), i), r.now).ref,
                      SBX_COMMAND_RESET);
    }
    assert_in_range(most[0], SBX_MS(200), SBX_MS(302));
    assert_in_range(most[1], SBX_MS(400), SBX_MS(602));
    assert_in_range(most[2], SBX_MS(700), SBX_MS(1002));
    assert_in_range(most[3], SBX_MS(700), SBX_MS(1002));
}

static void a_stale_connection_is_resent_to_the_same_worker_once_and_free(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.retry.max_retries = 0;
    reopen(policy);
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_STALE_CONNECTION);
    assert_string_equal(rig_started_at(&r), "w1");
    assert_int_equal(rig_info(&r, w1).consecutive_failures, 0);
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_STALE_CONNECTION);
    failed(SBX_API_ALL_RETRIES_EXHAUSTED, 502, SBX_END_UPSTREAM_ERROR);
}

static void a_draining_worker_costs_no_retry(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.retry.max_retries = 1;
    reopen(policy);
    three_workers();
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_DRAINING);
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_REFUSED);
    assert_int_equal(rig_started(&r).number, 3);
}

static void a_draining_worker_gets_no_more_work(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_DRAINING);
    rig_buffered(&r);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_NO_WORKERS_AVAILABLE);
}

static void with_same_worker_the_only_worker_is_tried_again_after_a_refusal(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.retry.same_worker = true;
    reopen(policy);
    rig_worker(&r, "w1", 4);
    sbx_attempt_ref second = fail_over(rig_buffered(&r), SBX_OUTCOME_REFUSED);
    assert_int_equal(second.number, 2);
    rig_ended(&r, second, SBX_OUTCOME_SERVER_ERROR);
    failed(SBX_API_ALL_RETRIES_EXHAUSTED, 502, SBX_END_UPSTREAM_ERROR);
}

static void with_same_worker_an_untried_one_still_goes_first(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.retry.same_worker = true;
    reopen(policy);
    rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    fail_over(rig_buffered(&r), SBX_OUTCOME_REFUSED);
    assert_string_equal(rig_started_at(&r), "w2");
}

/* ---- how it ends --------------------------------------------------------------------------------------- */

static void the_only_attempt_gives_its_own_error(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 100);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(failed(SBX_API_WORKER_UNAVAILABLE, 502, SBX_END_UPSTREAM_ERROR)->end.should_retry, -1);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_ATTEMPT_TIMEOUT);
    assert_int_equal(failed(SBX_API_WORKER_TIMEOUT, 504, SBX_END_TIMEOUT)->end.meta.timeouts, 1);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_MODEL_MISSING);
    failed(SBX_API_MODEL_NOT_FOUND, 404, SBX_END_CLIENT_ERROR);
}

static void a_refused_only_attempt_is_503_and_says_when_to_come_back(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_REFUSED);
    const sbx_action *end = failed(SBX_API_WORKER_UNAVAILABLE, 503, SBX_END_UPSTREAM_ERROR);
    assert_int_equal(end->end.should_retry, 1);
    assert_true(end->end.retry_after_ns > 0);
    assert_int_equal(end->end.meta.selected.generation, 0);
}

static void all_retries_exhausted_is_502_and_names_the_last_error(void **state)
{
    (void)state;
    three_workers();
    sbx_attempt_ref attempt = fail_over(rig_buffered(&r), SBX_OUTCOME_ATTEMPT_TIMEOUT);
    attempt = fail_over(attempt, SBX_OUTCOME_REFUSED);
    rig_ended(&r, attempt, SBX_OUTCOME_SERVER_ERROR);
    const sbx_action *end = failed(SBX_API_ALL_RETRIES_EXHAUSTED, 502, SBX_END_UPSTREAM_ERROR);
    assert_int_equal(end->end.last_error, SBX_API_WORKER_UNAVAILABLE);
    assert_int_equal(end->end.last_outcome, SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(end->end.should_retry, 0);
    assert_int_equal(end->end.meta.attempts, 3);
    assert_int_equal(end->end.meta.failed_count, 3);
    assert_int_equal(end->end.meta.timeouts, 1);
}

static void all_retries_exhausted_is_504_when_the_last_was_a_timeout(void **state)
{
    (void)state;
    three_workers();
    sbx_attempt_ref attempt = fail_over(rig_buffered(&r), SBX_OUTCOME_SERVER_ERROR);
    attempt = fail_over(attempt, SBX_OUTCOME_SERVER_ERROR);
    rig_ended(&r, attempt, SBX_OUTCOME_ATTEMPT_TIMEOUT);
    assert_int_equal(failed(SBX_API_ALL_RETRIES_EXHAUSTED, 504, SBX_END_TIMEOUT)->end.last_error,
                     SBX_API_WORKER_TIMEOUT);
}

static void out_of_candidates_after_a_retry_is_exhaustion_too(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    sbx_attempt_ref attempt = fail_over(rig_buffered(&r), SBX_OUTCOME_REFUSED);
    rig_ended(&r, attempt, SBX_OUTCOME_REFUSED);
    assert_int_equal(failed(SBX_API_ALL_RETRIES_EXHAUSTED, 502, SBX_END_UPSTREAM_ERROR)->end.meta.attempts,
                     2);
}

static void all_attempts_overloaded_is_worker_overloaded_with_the_soonest_cool_down(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    sbx_attempt_ref attempt = rig_buffered(&r);
    rig_busy(&r, attempt, SBX_SEC(9));
    rig_until_start(&r, SBX_MS(101));
    rig_busy(&r, rig_started(&r), SBX_SEC(4));
    const sbx_action *end = failed(SBX_API_WORKER_OVERLOADED, 503, SBX_END_SHED);
    assert_int_equal(end->end.retry_after_ns, SBX_SEC(4));
    assert_int_equal(end->end.should_retry, 1);
}

static void a_refused_key_takes_the_worker_down_and_the_request_elsewhere(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_AUTH);
    assert_true(rig_noted(&r, SBX_NOTE_WORKER_HARD_DOWN));
    assert_string_equal(rig_started_at(&r), "w2");
    assert_int_equal(rig_info(&r, w1).retry_in_ns, SBX_BREAKER_HARD_DOWN);
    rig_admin(&r, w1, SBX_COMMAND_RESET);
    assert_true(rig_info(&r, w1).eligible);
}

static void a_missing_model_is_dropped_until_it_is_seen_again(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_worker_of(&r, "other", "n", 4);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_MODEL_MISSING);
    assert_true(rig_noted(&r, SBX_NOTE_MODEL_DROPPED));
    assert_int_equal(rig_info(&r, w1).model_count, 0);
    rig_buffered(&r);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_MODEL_NOT_FOUND);
    rig_worker(&r, "w1", 4);
    rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "w1");
}

static void our_own_fault_is_an_internal_error_and_not_retried(void **state)
{
    (void)state;
    three_workers();
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_LOCAL);
    failed(SBX_API_INTERNAL_ERROR, 503, SBX_END_SHED);
}

static void a_breaker_opened_by_this_request_is_counted_in_its_metadata(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.breaker.failure_threshold = 1;
    reopen(policy);
    three_workers();
    sbx_attempt_ref attempt = fail_over(rig_buffered(&r), SBX_OUTCOME_REFUSED);
    attempt = fail_over(attempt, SBX_OUTCOME_REFUSED);
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
    assert_int_equal(rig_end(&r)->end.meta.breaker_trips, 2);
}

/* ---- when there is no retry ---------------------------------------------------------------------------- */

static void disabled_there_is_one_attempt(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.retry.enabled = false;
    reopen(policy);
    three_workers();
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_REFUSED);
    failed(SBX_API_WORKER_UNAVAILABLE, 503, SBX_END_UPSTREAM_ERROR);
}

static void retry_on_errors_says_which_failures_are_retried(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.retry.on_unavailable = false;
    reopen(policy);
    three_workers();
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_RESET);
    failed(SBX_API_WORKER_UNAVAILABLE, 502, SBX_END_UPSTREAM_ERROR);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_ATTEMPT_TIMEOUT);
    assert_true(rig_noted(&r, SBX_NOTE_RETRY_SCHEDULED));
}

static void a_retry_that_could_not_start_before_the_deadline_is_not_waited_for(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.retry.delay_ns = SBX_SEC(1000);
    policy.retry.max_delay_ns = SBX_SEC(1000);
    reopen(policy);
    three_workers();
    sbx_attempt_ref attempt = rig_request(&r, (sbx_event_request_new){.timeout_ns = SBX_MS(1)});
    rig_ended(&r, attempt, SBX_OUTCOME_SERVER_ERROR);
    failed(SBX_API_WORKER_UNAVAILABLE, 502, SBX_END_UPSTREAM_ERROR);
}

static void a_deadline_that_passes_in_the_back_off_ends_the_request(void **state)
{
    (void)state;
    three_workers();
    sbx_attempt_ref attempt = rig_request(&r, (sbx_event_request_new){.timeout_ns = SBX_MS(110)});
    rig_ended(&r, attempt, SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(rig_count(&r, SBX_ACTION_FAIL), 0);
    rig_tick(&r, SBX_SEC(60)); /* the loop was held up */
    failed(SBX_API_WORKER_UNAVAILABLE, 502, SBX_END_UPSTREAM_ERROR);
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 0);
}

static void a_client_that_leaves_in_the_back_off_ends_it_cancelled(void **state)
{
    (void)state;
    three_workers();
    sbx_attempt_ref attempt = rig_buffered(&r);
    rig_ended(&r, attempt, SBX_OUTCOME_SERVER_ERROR);
    rig_leave(&r, attempt);
    assert_int_equal(rig_count(&r, SBX_ACTION_CANCEL), 0);
    failed(SBX_API_CLIENT_CLOSED_REQUEST, 499, SBX_END_CANCELLED);
    rig_run(&r, SBX_SEC(5));
    assert_int_equal(sbx_router_counts_of(r.router).attempts, 1);
}

static void an_empty_budget_ends_retries_but_not_the_first_to_an_untried_closed_worker(void **state)
{
    (void)state;
    three_workers();
    sbx_model *model = sbx_registry_model(&r.router->registry, SBX_VIEW("m"));
    sbx_attempt_ref attempt = rig_buffered(&r);
    model->budget.tenths = 0;
    model->budget.refilled_at = r.now;
    rig_ended(&r, attempt, SBX_OUTCOME_REFUSED);
    attempt = rig_started(&r);
    rig_ended(&r, attempt, SBX_OUTCOME_REFUSED);
    failed(SBX_API_ALL_RETRIES_EXHAUSTED, 502, SBX_END_UPSTREAM_ERROR);
}

static void a_first_retry_to_a_half_open_worker_is_paid_for(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_trip(&r, rig_worker(&r, "w2", 4));
    rig_tick(&r, SBX_SEC(30));
    sbx_attempt_ref attempt = rig_streaming(&r); /* too early for a stream to be the probe */
    assert_string_equal(rig_started_at(&r), "w1");
    sbx_model *model = sbx_registry_model(&r.router->registry, SBX_VIEW("m"));
    model->budget.tenths = 0;
    model->budget.refilled_at = r.now;
    rig_ended(&r, attempt, SBX_OUTCOME_REFUSED);
    failed(SBX_API_WORKER_UNAVAILABLE, 503, SBX_END_UPSTREAM_ERROR);
}

/* ---- poison -------------------------------------------------------------------------------------------- */

static void a_body_that_killed_two_workers_is_not_retried(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    reopen(policy);
    rig_nats(&r, "w1", "a", 4);
    rig_nats(&r, "w2", "a", 4);
    rig_nats(&r, "w3", "a", 4);
    rig_request(&r, (sbx_event_request_new){.body_hash = 7});
    rig_nats(&r, "w1", "b", 4);
    assert_string_equal(rig_started_at(&r), "w2");
    rig_nats(&r, "w2", "b", 4);
    assert_int_equal(failed(SBX_API_ALL_RETRIES_EXHAUSTED, 502, SBX_END_UPSTREAM_ERROR)->end.should_retry, 0);
    rig_request(&r, (sbx_event_request_new){.body_hash = 7});
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(failed(SBX_API_WORKER_UNAVAILABLE, 502, SBX_END_UPSTREAM_ERROR)->end.should_retry, 0);
}

static void two_equal_requests_at_one_dying_worker_are_one_death(void **state)
{
    (void)state;
    rig_nats(&r, "w1", "a", 4);
    rig_request(&r, (sbx_event_request_new){.body_hash = 7});
    rig_request(&r, (sbx_event_request_new){.body_hash = 7});
    rig_nats(&r, "w2", "a", 4);
    rig_nats(&r, "w1", "b", 4);
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 2);
}

static void three_lost_connections_on_one_request_end_it(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.retry.max_retries = 10;
    reopen(policy);
    three_workers();
    rig_worker(&r, "w4", 4);
    sbx_attempt_ref attempt = fail_over(rig_buffered(&r), SBX_OUTCOME_RESET);
    attempt = fail_over(attempt, SBX_OUTCOME_RESET);
    rig_ended(&r, attempt, SBX_OUTCOME_RESET);
    failed(SBX_API_ALL_RETRIES_EXHAUSTED, 502, SBX_END_UPSTREAM_ERROR);
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(a_retry_never_reuses_a_tried_worker),
        PLAIN(a_retry_that_succeeds_names_the_failed_and_the_selected_worker),
        PLAIN(what_the_worker_never_saw_is_retried_in_the_same_step),
        PLAIN(a_lost_connection_is_retried_at_once_the_first_time),
        PLAIN(other_failures_wait_at_most_the_delay_and_it_doubles),
        PLAIN(a_stale_connection_is_resent_to_the_same_worker_once_and_free),
        PLAIN(a_draining_worker_costs_no_retry),
        PLAIN(a_draining_worker_gets_no_more_work),
        PLAIN(with_same_worker_the_only_worker_is_tried_again_after_a_refusal),
        PLAIN(with_same_worker_an_untried_one_still_goes_first),
        PLAIN(the_only_attempt_gives_its_own_error),
        PLAIN(a_refused_only_attempt_is_503_and_says_when_to_come_back),
        PLAIN(all_retries_exhausted_is_502_and_names_the_last_error),
        PLAIN(all_retries_exhausted_is_504_when_the_last_was_a_timeout),
        PLAIN(out_of_candidates_after_a_retry_is_exhaustion_too),
        PLAIN(all_attempts_overloaded_is_worker_overloaded_with_the_soonest_cool_down),
        PLAIN(a_refused_key_takes_the_worker_down_and_the_request_elsewhere),
        PLAIN(a_missing_model_is_dropped_until_it_is_seen_again),
        PLAIN(our_own_fault_is_an_internal_error_and_not_retried),
        PLAIN(a_breaker_opened_by_this_request_is_counted_in_its_metadata),
        PLAIN(disabled_there_is_one_attempt),
        PLAIN(retry_on_errors_says_which_failures_are_retried),
        PLAIN(a_retry_that_could_not_start_before_the_deadline_is_not_waited_for),
        PLAIN(a_deadline_that_passes_in_the_back_off_ends_the_request),
        PLAIN(a_client_that_leaves_in_the_back_off_ends_it_cancelled),
        PLAIN(an_empty_budget_ends_retries_but_not_the_first_to_an_untried_closed_worker),
        PLAIN(a_first_retry_to_a_half_open_worker_is_paid_for),
        PLAIN(a_body_that_killed_two_workers_is_not_retried),
        PLAIN(two_equal_requests_at_one_dying_worker_are_one_death),
        PLAIN(three_lost_connections_on_one_request_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
