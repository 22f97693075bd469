/* The metadata object and the error body, as clients see them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/error_body.h"
#include "codec/json_scan.h"

static sbx_buf buf;

static int set_up(void **state)
{
    (void)state;
    sbx_buf_init(&buf, 4096);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sbx_buf_deinit(&buf);
    return 0;
}

static void assert_written(const char *expected)
{
    if (!sbx_view_eq_cstr(sbx_buf_view(&buf), expected))
        fail_msg("wanted <%s>, found <%.*s>", expected, SBX_VIEW_ARG(sbx_buf_view(&buf)));
    assert_int_equal(sbx_json_scan(sbx_buf_view(&buf), NULL, 0, NULL, NULL), SBX_OK);
}

static void metadata_has_every_member_in_order(void **state)
{
    (void)state;
    sbx_view failed[] = {SBX_VIEW("w1"), SBX_VIEW("w\"2")};
    sbx_metadata metadata = {.request_id = SBX_VIEW("0123456789abcdef0123456789abcdef"),
                             .retry_count = 2,
                             .breaker_trips = 1,
                             .timeouts = 3,
                             .failed_workers = failed,
                             .failed_count = 2,
                             .selected_worker = SBX_VIEW("w3"),
                             .total_duration_ns = SBX_MS(1234) + 999999};
    assert_int_equal(sbx_metadata_write(&buf, &metadata), SBX_OK);
    assert_written(
        "{\"requestId\":\"0123456789abcdef0123456789abcdef\",\"retryCount\":2,\"circuitBreakerTrips\":1,"
        "\"timeouts\":3,\"failedWorkers\":[\"w1\",\"w\\\"2\"],\"selectedWorker\":\"w3\","
        "\"totalDurationMs\":1234}");
}

static void no_selected_worker_is_null(void **state)
{
    (void)state;
    sbx_metadata metadata = {.request_id = SBX_VIEW("r")};
    assert_int_equal(sbx_metadata_write(&buf, &metadata), SBX_OK);
    assert_written("{\"requestId\":\"r\",\"retryCount\":0,\"circuitBreakerTrips\":0,\"timeouts\":0,"
                   "\"failedWorkers\":[],\"selectedWorker\":null,\"totalDurationMs\":0}");
}

static void an_error_has_the_openai_shape_with_its_context(void **state)
{
    (void)state;
    sbx_metadata metadata = {.request_id = SBX_VIEW("r"), .retry_count = 2};
    sbx_error_body body = {.error = SBX_API_ALL_RETRIES_EXHAUSTED,
                           .message = SBX_VIEW("3 attempts failed"),
                           .metadata = &metadata,
                           .last_error = SBX_VIEW("WORKER_TIMEOUT")};
    assert_int_equal(sbx_error_body_write(&buf, &body), SBX_OK);
    assert_written("{\"error\":{\"message\":\"3 attempts failed\",\"type\":\"server_error\",\"param\":null,"
                   "\"code\":\"ALL_RETRIES_EXHAUSTED\",\"context\":{\"requestId\":\"r\",\"retryCount\":2,"
                   "\"circuitBreakerTrips\":0,\"timeouts\":0,\"failedWorkers\":[],\"selectedWorker\":null,"
                   "\"totalDurationMs\":0,\"lastError\":\"WORKER_TIMEOUT\"}}}");
}

static void without_a_message_the_errors_own_is_used(void **state)
{
    (void)state;
    sbx_error_body body = {.error = SBX_API_REQUEST_VALIDATION_FAILED, .param = SBX_VIEW("model")};
    assert_int_equal(sbx_error_body_write(&buf, &body), SBX_OK);
    assert_written("{\"error\":{\"message\":\"The request is not valid.\",\"type\":\"invalid_request_error\","
                   "\"param\":\"model\",\"code\":\"REQUEST_VALIDATION_FAILED\",\"context\":null}}");
}

static void what_clients_wrote_cannot_break_out_of_the_string(void **state)
{
    (void)state;
    sbx_error_body body = {.error = SBX_API_MODEL_NOT_FOUND, .message = SBX_VIEW("no \"x\\\"}\n\x01\xff\"")};
    assert_int_equal(sbx_error_body_write(&buf, &body), SBX_OK);
    assert_written(
        "{\"error\":{\"message\":\"no \\\"x\\\\\\\"}\\n\\u0001\xef\xbf\xbd\\\"\","
        "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"MODEL_NOT_FOUND\",\"context\":null}}");
}

static void a_full_buffer_is_told(void **state)
{
    (void)state;
    sbx_buf small;
    sbx_error_body body = {.error = SBX_API_INTERNAL_ERROR};
    sbx_buf_init(&small, 50);
    assert_int_equal(sbx_error_body_write(&small, &body), SBX_E_CAP);
    sbx_buf_deinit(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(metadata_has_every_member_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_selected_worker_is_null, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_error_has_the_openai_shape_with_its_context, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_message_the_errors_own_is_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_clients_wrote_cannot_break_out_of_the_string, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_buffer_is_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
