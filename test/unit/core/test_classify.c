/* The classification table against DESIGN 5 "What counts", row by row, and that no row is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/classify.h"

static void expect(sbx_outcome outcome, sbx_breaker_effect effect, sbx_class_retry retry, sbx_api_error error,
                   uint32_t status)
{
    const sbx_class *row = sbx_classify(outcome);
    assert_int_equal(row->breaker, effect);
    assert_int_equal(row->retry, retry);
    assert_int_equal(row->error, error);
    assert_int_equal(row->http_status, status);
}

static void what_the_worker_never_saw_is_a_failure_and_retried_at_once(void **state)
{
    (void)state;
    expect(SBX_OUTCOME_REFUSED, SBX_EFFECT_FAILURE, SBX_CLASS_RETRY_AT_ONCE, SBX_API_WORKER_UNAVAILABLE, 503);
}

static void a_stale_connection_is_resent_and_nobodys_failure(void **state)
{
    (void)state;
    expect(SBX_OUTCOME_STALE_CONNECTION, SBX_EFFECT_NONE, SBX_CLASS_RETRY_RESEND, SBX_API_WORKER_UNAVAILABLE,
           503);
}

static void limits_are_failures_and_give_worker_timeout(void **state)
{
    (void)state;
    expect(SBX_OUTCOME_CONNECT_TIMEOUT, SBX_EFFECT_FAILURE, SBX_CLASS_RETRY_DELAY, SBX_API_WORKER_TIMEOUT,
           504);
    expect(SBX_OUTCOME_ACK_TIMEOUT, SBX_EFFECT_FAILURE, SBX_CLASS_RETRY_DELAY, SBX_API_WORKER_TIMEOUT, 504);
    expect(SBX_OUTCOME_FIRST_CONTENT_TIMEOUT, SBX_EFFECT_FAILURE, SBX_CLASS_RETRY_DELAY,
           SBX_API_WORKER_TIMEOUT, 504);
    expect(SBX_OUTCOME_IDLE_TIMEOUT, SBX_EFFECT_FAILURE, SBX_CLASS_RETRY_DELAY, SBX_API_WORKER_TIMEOUT, 504);
    expect(SBX_OUTCOME_ATTEMPT_TIMEOUT, SBX_EFFECT_FAILURE, SBX_CLASS_RETRY_DELAY, SBX_API_WORKER_TIMEOUT,
           504);
}

static void broken_answers_are_failures_and_give_502(void **state)
{
    (void)state;
    expect(SBX_OUTCOME_RESET, SBX_EFFECT_FAILURE, SBX_CLASS_RETRY_FIRST_AT_ONCE, SBX_API_WORKER_UNAVAILABLE,
           502);
    expect(SBX_OUTCOME_SERVER_ERROR, SBX_EFFECT_FAILURE, SBX_CLASS_RETRY_DELAY, SBX_API_WORKER_UNAVAILABLE,
           502);
    expect(SBX_OUTCOME_MALFORMED, SBX_EFFECT_FAILURE, SBX_CLASS_RETRY_DELAY, SBX_API_WORKER_UNAVAILABLE, 502);
}

static void a_busy_worker_cools_down_and_is_not_blamed(void **state)
{
    (void)state;
    expect(SBX_OUTCOME_OVERLOADED, SBX_EFFECT_NONE, SBX_CLASS_RETRY_DELAY, SBX_API_WORKER_OVERLOADED, 503);
    assert_int_equal(sbx_classify(SBX_OUTCOME_OVERLOADED)->worker, SBX_CLASS_WORKER_COOL_DOWN);
}

static void a_missing_model_is_dropped_and_looked_for_elsewhere(void **state)
{
    (void)state;
    expect(SBX_OUTCOME_MODEL_MISSING, SBX_EFFECT_NONE, SBX_CLASS_RETRY_AT_ONCE, SBX_API_MODEL_NOT_FOUND, 404);
    assert_int_equal(sbx_classify(SBX_OUTCOME_MODEL_MISSING)->worker, SBX_CLASS_WORKER_DROP_MODEL);
}

static void other_4xx_show_a_living_worker_and_are_passed_through(void **state)
{
    (void)state;
    expect(SBX_OUTCOME_CLIENT_ERROR, SBX_EFFECT_ALIVE, SBX_CLASS_RETRY_NO, SBX_API_NONE, 400);
    assert_int_equal(sbx_classify(SBX_OUTCOME_CLIENT_ERROR)->flags, SBX_CLASS_PASSED);
}

static void a_refused_key_is_hard_down_and_tried_elsewhere(void **state)
{
    (void)state;
    expect(SBX_OUTCOME_AUTH, SBX_EFFECT_NONE, SBX_CLASS_RETRY_AT_ONCE, SBX_API_WORKER_UNAVAILABLE, 502);
    assert_int_equal(sbx_classify(SBX_OUTCOME_AUTH)->worker, SBX_CLASS_WORKER_HARD_DOWN);
}

static void what_is_not_the_workers_fault_touches_no_breaker(void **state)
{
    (void)state;
    expect(SBX_OUTCOME_CANCELLED, SBX_EFFECT_NONE, SBX_CLASS_RETRY_NO, SBX_API_CLIENT_CLOSED_REQUEST, 499);
    expect(SBX_OUTCOME_DRAINING, SBX_EFFECT_NONE, SBX_CLASS_RETRY_FREE, SBX_API_WORKER_UNAVAILABLE, 503);
    expect(SBX_OUTCOME_LOCAL, SBX_EFFECT_NONE, SBX_CLASS_RETRY_NO, SBX_API_INTERNAL_ERROR, 503);
    expect(SBX_OUTCOME_EXPIRED, SBX_EFFECT_NONE, SBX_CLASS_RETRY_DELAY, SBX_API_WORKER_TIMEOUT, 504);
    expect(SBX_OUTCOME_DEADLINE, SBX_EFFECT_NONE, SBX_CLASS_RETRY_NO, SBX_API_WORKER_TIMEOUT, 504);
}

static void success_is_the_only_success(void **state)
{
    (void)state;
    for (int i = 0; i < SBX_OUTCOME_COUNT; i++)
        assert_int_equal(sbx_classify((sbx_outcome)i)->breaker == SBX_EFFECT_SUCCESS, i == SBX_OUTCOME_OK);
}

static void every_outcome_that_ends_a_request_names_an_error_and_a_status(void **state)
{
    (void)state;
    for (int i = 0; i < SBX_OUTCOME_COUNT; i++) {
        const sbx_class *row = sbx_classify((sbx_outcome)i);
        bool is_answer = i == SBX_OUTCOME_OK || (row->flags & SBX_CLASS_PASSED);
        assert_int_equal(row->error == SBX_API_NONE, is_answer);
        assert_in_range(row->http_status, 200, 504);
    }
}

static void every_outcome_named_timeout_counts_as_one(void **state)
{
    (void)state;
    for (int i = 0; i < SBX_OUTCOME_COUNT; i++) {
        const sbx_class *row = sbx_classify((sbx_outcome)i);
        assert_int_equal((row->flags & SBX_CLASS_TIMEOUT) != 0, row->error == SBX_API_WORKER_TIMEOUT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_worker_never_saw_is_a_failure_and_retried_at_once),
        cmocka_unit_test(a_stale_connection_is_resent_and_nobodys_failure),
        cmocka_unit_test(limits_are_failures_and_give_worker_timeout),
        cmocka_unit_test(broken_answers_are_failures_and_give_502),
        cmocka_unit_test(a_busy_worker_cools_down_and_is_not_blamed),
        cmocka_unit_test(a_missing_model_is_dropped_and_looked_for_elsewhere),
        cmocka_unit_test(other_4xx_show_a_living_worker_and_are_passed_through),
        cmocka_unit_test(a_refused_key_is_hard_down_and_tried_elsewhere),
        cmocka_unit_test(what_is_not_the_workers_fault_touches_no_breaker),
        cmocka_unit_test(success_is_the_only_success),
        cmocka_unit_test(every_outcome_that_ends_a_request_names_an_error_and_a_status),
        cmocka_unit_test(every_outcome_named_timeout_counts_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
