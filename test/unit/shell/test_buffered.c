/* Buffered jobs through shell, router and a scripted transport: answers, retries, errors, metadata. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support_shell.h"

static void ask_and_wait(rig *r, client *c, const char *body)
{
    client_ask(r, c, body, /* change: */ NULL);
    assert_int_equal(c->replies, 0); /* nothing from within submit */
    rig_run_until(r, rig_is_over, c, 5000);
}

/* ---- answers ---- */

static void a_good_answer_goes_out_with_metadata_in_its_body(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA(GOOD), END);
    ask_and_wait(&r, &c, ASK);

    client_expect_reply(&c, 200);
    assert_string_equal(c.content_type, "application/json");
    assert_string_equal(c.worker, "w0");
    assert_string_equal(c.metadata, "");
    client_expect_json(&c, "usage.completion_tokens", "2");
    client_expect_json(&c, "metadata.requestId", "0123456789abcdef0123456789abcdef");
    client_expect_json(&c, "metadata.retryCount", "0");
    client_expect_json(&c, "metadata.circuitBreakerTrips", "0");
    client_expect_json(&c, "metadata.timeouts", "0");
    client_expect_json(&c, "metadata.failedWorkers", "[]");
    client_expect_json(&c, "metadata.selectedWorker", "w0");
    assert_int_equal(memcmp(sbx_buf_view(&c.bytes).data, GOOD, strlen(GOOD) - 1), 0); /* all but the brace */
    client_forget(&c);
    rig_close(&r);
}

static void metadata_can_go_to_a_header_or_nowhere(void **state)
{
    (void)state;
    for (int off = 0; off < 2; off++) {
        rig r;
        client c = {0};
        rig_init(&r);
        r.options.metadata = off ? SBX_METADATA_OFF : SBX_METADATA_HEADERS;
        rig_open(&r, 1);
        RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA(GOOD), END);
        ask_and_wait(&r, &c, ASK);
        client_expect_bytes(&c, GOOD);
        assert_int_equal(c.head.hides_routing, off);
        if (off)
            assert_string_equal(c.metadata, "");
        else
            json_expect(c.metadata, "selectedWorker", "w0");
        client_forget(&c);
        rig_close(&r);
    }
}

static void a_metadata_member_of_the_engine_is_replaced(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA("{\"metadata\":{\"retryCount\":99},\"choices\":[{}]}"), END);
    ask_and_wait(&r, &c, ASK);
    client_expect_json(&c, "metadata.retryCount", "0");
    client_forget(&c);
    rig_close(&r);
}

static void the_worker_gets_the_body_with_our_edits_only(void **state)
{
    static const char body[] =
        "{ \"session_id\" : \"s\", \"model\":\"nick\" ,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}], "
        "\"extra\":1.50}";
    static const sbx_view models[] = {SBX_VIEW_INIT("other")};
    static const sbx_model_alias alias = {.name = SBX_VIEW_INIT("nick"), .models = models, .model_count = 1};
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    r.options.policy.aliases = &alias;
    r.options.policy.alias_count = 1;
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA(GOOD), END);
    ask_and_wait(&r, &c, body);

    const sbx_fake_record *record = sbx_fake_peer_record(r.peer, 0);
    assert_true(sbx_view_eq_cstr(record->path, "/v1/chat/completions"));
    assert_true(sbx_view_eq_cstr(record->request_id, "0123456789abcdef0123456789abcdef"));
    assert_int_equal(record->attempt, 1);
    assert_false(record->streaming);
    assert_false(sbx_view_contains(record->body, SBX_VIEW("session_id")));
    assert_true(sbx_view_contains(record->body, SBX_VIEW("\"model\":\"other\" ,\"messages\"")));
    assert_true(sbx_view_ends_with(record->body, SBX_VIEW("}], \"extra\":1.50}")));
    client_forget(&c);
    rig_close(&r);
}

/* ---- retries ---- */

static void a_failed_attempt_is_replaced_unseen(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 2);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA("{\"choices\":["), FAILS(RESET));
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA(GOOD), END);
    ask_and_wait(&r, &c, ASK);

    client_expect_reply(&c, 200);
    assert_int_equal(c.head.retry_count, 1);
    client_expect_json(&c, "metadata.retryCount", "1");
    client_expect_json(&c, "metadata.failedWorkers", strcmp(c.worker, "w0") == 0 ? "[\"w1\"]" : "[\"w0\"]");
    assert_int_equal(sbx_fake_peer_record(r.peer, 1)->attempt, 2);
    client_forget(&c);
    rig_close(&r);
}

static void an_answer_that_turns_out_wrong_is_replaced_too(void **state)
{
    static const char *const bodies[] = {"{\"error\":{\"message\":\"x\"}}", "{\"choices\":[{}", "", "[]"};
    (void)state;
    for (int i = 0; i < 4; i++) {
        rig r;
        client c = {0};
        rig_init(&r);
        rig_open(&r, 2);
        const sbx_fake_step wrong[] = {
            ACCEPT, HEAD_JSON(200), {.kind = SBX_FAKE_DATA, .data = sbx_view_cstr(bodies[i])}, END};
        rig_script(&r, wrong, 4);
        RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA(GOOD), END);
        ask_and_wait(&r, &c, ASK);
        client_expect_reply(&c, 200);
        assert_int_equal(c.head.retry_count, 1);
        client_forget(&c);
        rig_close(&r);
    }
}

static void a_wrong_head_stops_the_call_at_once(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 2);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE); /* a stream nobody asked for; it would hang */
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA(GOOD), END);
    ask_and_wait(&r, &c, ASK);
    client_expect_reply(&c, 200);
    assert_true(sbx_fake_peer_record(r.peer, 0)->cancelled_at >= 0);
    client_forget(&c);
    rig_close(&r);
}

static void an_answer_above_the_limit_is_cut_off(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    r.options.max_response_bytes = 1000;
    rig_open(&r, 1);
    const sbx_fake_step endless[] = {
        ACCEPT, HEAD_JSON(200), {.kind = SBX_FAKE_DATA, .data = SBX_VIEW("0123456789"), .times = 1000}};
    rig_script(&r, endless, 3);
    ask_and_wait(&r, &c, ASK);
    client_expect_reply(&c, 502);
    client_expect_json(&c, "error.code", "WORKER_UNAVAILABLE");
    assert_true(sbx_fake_peer_record(r.peer, 0)->cancelled_at >= 0);
    client_forget(&c);
    rig_close(&r);
}

static void a_worker_that_cannot_be_started_is_a_failed_attempt(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 2);
    sbx_fake_peer_refuse(r.peer, SBX_E_CLOSED);
    ask_and_wait(&r, &c, ASK);
    assert_int_equal(c.replies, 1);
    client_expect_json(&c, "error.code", "ALL_RETRIES_EXHAUSTED");
    client_expect_json(&c, "error.context.lastError", "WORKER_UNAVAILABLE");
    assert_int_equal(sbx_fake_peer_call_count(r.peer), 2);
    client_forget(&c);
    rig_close(&r);
}

/* ---- errors ---- */

static void all_attempts_failed_names_every_worker(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 3);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(500), DATA("{}"), END);
    ask_and_wait(&r, &c, ASK);

    client_expect_reply(&c, 502);
    assert_string_equal(c.content_type, "application/json");
    assert_string_equal(c.worker, "");
    assert_int_equal(c.head.should_retry, 0);
    assert_int_equal(c.head.retry_count, 2);
    client_expect_json(&c, "error.code", "ALL_RETRIES_EXHAUSTED");
    client_expect_json(&c, "error.type", "server_error");
    client_expect_json(&c, "error.param", "null");
    client_expect_json(&c, "error.context.retryCount", "2");
    client_expect_json(&c, "error.context.selectedWorker", "null");
    client_expect_json(&c, "error.context.lastError", "WORKER_UNAVAILABLE");
    client_forget(&c);
    rig_close(&r);
}

static void a_client_error_is_passed_through_unchanged(void **state)
{
    static const char body[] = "{\"error\":{\"message\":\"too long\",\"code\":\"context_length_exceeded\"}} ";
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 2);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(400), DATA("{\"error\":{\"message\":\"too long\",\"code\":\"context_"),
               DATA("length_exceeded\"}} "), END);
    ask_and_wait(&r, &c, ASK);
    client_expect_reply(&c, 400);
    client_expect_bytes(&c, body);
    assert_int_equal(sbx_fake_peer_call_count(r.peer), 1);
    client_forget(&c);
    rig_close(&r);
}

static void an_unknown_model_is_answered_with_the_known_ones(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    ask_and_wait(&r, &c, "{\"model\":\"ghost\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}");
    client_expect_reply(&c, 404);
    client_expect_json(&c, "error.code", "MODEL_NOT_FOUND");
    client_expect_json(&c, "error.param", "model");
    assert_true(sbx_view_contains(sbx_buf_view(&c.bytes), SBX_VIEW("sim")));
    assert_true(sbx_view_contains(sbx_buf_view(&c.bytes), SBX_VIEW("other")));
    assert_int_equal(sbx_fake_peer_call_count(r.peer), 0);
    client_forget(&c);
    rig_close(&r);
}

static void without_workers_nothing_is_tried(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 0);
    ask_and_wait(&r, &c, ASK);
    client_expect_reply(&c, 503);
    client_expect_json(&c, "error.code", "NO_WORKERS_AVAILABLE");
    client_expect_json(&c, "error.context.lastError", "null");
    assert_true(c.head.retry_after_ns > 0);
    client_forget(&c);
    rig_close(&r);
}

static void a_limit_ends_the_attempt_and_the_call(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    r.options.policy.limits.attempt_ns = SBX_MS(60);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT);
    ask_and_wait(&r, &c, ASK);
    client_expect_reply(&c, 504);
    client_expect_json(&c, "error.code", "WORKER_TIMEOUT");
    client_expect_json(&c, "error.context.timeouts", "1");
    assert_true(sbx_fake_peer_record(r.peer, 0)->cancelled_at >= 0);
    assert_true(sbx_fake_peer_record(r.peer, 0)->budget_ns <= SBX_MS(60));
    client_forget(&c);
    rig_close(&r);
}

static void short_patience(sbx_job_params *params)
{
    params->timeout_ns = SBX_MS(50);
}

static void a_client_may_lower_the_deadline(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA("{"));
    client_ask(&r, &c, ASK, short_patience);
    rig_run_until(&r, rig_is_over, &c, 1000);
    client_expect_reply(&c, 504);
    assert_true(sbx_fake_peer_record(r.peer, 0)->budget_ns <= SBX_MS(50));
    client_forget(&c);
    rig_close(&r);
}

static void nobody_is_admitted_while_draining(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    sbx_shell_report(r.shell, &(sbx_event){.kind = SBX_EVENT_DRAIN});
    ask_and_wait(&r, &c, ASK);
    client_expect_reply(&c, 503);
    client_expect_json(&c, "error.code", "CONTROLLER_DRAINING");
    client_forget(&c);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_answer_goes_out_with_metadata_in_its_body),
        cmocka_unit_test(metadata_can_go_to_a_header_or_nowhere),
        cmocka_unit_test(a_metadata_member_of_the_engine_is_replaced),
        cmocka_unit_test(the_worker_gets_the_body_with_our_edits_only),
        cmocka_unit_test(a_failed_attempt_is_replaced_unseen),
        cmocka_unit_test(an_answer_that_turns_out_wrong_is_replaced_too),
        cmocka_unit_test(a_wrong_head_stops_the_call_at_once),
        cmocka_unit_test(an_answer_above_the_limit_is_cut_off),
        cmocka_unit_test(a_worker_that_cannot_be_started_is_a_failed_attempt),
        cmocka_unit_test(all_attempts_failed_names_every_worker),
        cmocka_unit_test(a_client_error_is_passed_through_unchanged),
        cmocka_unit_test(an_unknown_model_is_answered_with_the_known_ones),
        cmocka_unit_test(without_workers_nothing_is_tried),
        cmocka_unit_test(a_limit_ends_the_attempt_and_the_call),
        cmocka_unit_test(a_client_may_lower_the_deadline),
        cmocka_unit_test(nobody_is_admitted_while_draining),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
