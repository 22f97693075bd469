/* Streams through shell, router and a scripted transport: what is held, committed, forwarded, and how they
 * end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support_shell.h"

static void ask_and_wait(rig *r, client *c)
{
    client_ask(r, c, ASK_STREAM, /* change: */ NULL);
    rig_run_until(r, rig_is_over, c, 5000);
}

static void expect_opened_with(const client *c, const char *wanted)
{
    assert_int_equal(c->opened.len, strlen(wanted));
    assert_memory_equal(sbx_buf_view(&c->opened).data, wanted, strlen(wanted));
}

/* ---- good ones ---- */

static void a_stream_goes_out_as_it_came_and_ends_with_done(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA_AFTER(2, ROLE), DATA_AFTER(2, HELLO), DATA_AFTER(2, WORLD),
               DATA_AFTER(2, STOP), DATA(DONE), END);
    ask_and_wait(&r, &c);

    client_expect_bytes(&c, ROLE HELLO WORLD STOP DONE);
    assert_int_equal(c.opens, 1);
    assert_int_equal(c.closes, 1);
    assert_int_equal(c.head.status, 200);
    assert_string_equal(c.content_type, "text/event-stream; charset=utf-8");
    assert_string_equal(c.worker, "w0");
    json_expect(c.metadata, "selectedWorker", "w0");
    json_expect(c.metadata, "retryCount", "0");
    assert_true(sbx_fake_peer_record(r.peer, 0)->streaming);
    client_forget(&c);
    rig_close(&r);
}

static void nothing_goes_out_before_the_first_content(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(": warming up\n\n"), DATA(ROLE), DATA_AFTER(60, HELLO), DATA(STOP),
               END);
    client_ask(&r, &c, ASK_STREAM, /* change: */ NULL);
    rig_run_for(&r, 30);
    assert_int_equal(c.opens, 0);
    rig_run_until(&r, rig_is_over, &c, 5000);
    expect_opened_with(&c, ROLE HELLO); /* comments from before the commit are not kept */
    client_expect_bytes(&c, ROLE HELLO STOP DONE);
    client_forget(&c);
    rig_close(&r);
}

static void the_events_of_one_read_go_out_with_one_write(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(ROLE HELLO WORLD), DATA_AFTER(5, WORLD WORLD WORLD HELLO),
               DATA_AFTER(5, STOP DONE), END);
    ask_and_wait(&r, &c);
    expect_opened_with(&c, ROLE HELLO WORLD);
    assert_int_equal(c.chunks, 3); /* four events; the last one; [DONE] */
    client_expect_bytes(&c, ROLE HELLO WORLD WORLD WORLD WORLD HELLO STOP DONE);
    client_forget(&c);
    rig_close(&r);
}

static void many_small_events_with_foreign_fields_keep_their_order(void **state)
{
    rig r;
    client c = {0};
    char wanted[8192] = "";
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE,
               DATA(HELLO "event: a\n" WORLD HELLO ": note\n\n"
                          "id: 1\n" WORLD WORLD "retry: 5\n\n" HELLO "event: b\nid: 2\n" STOP DONE),
               END);
    snprintf(wanted, sizeof wanted, "%s", HELLO WORLD HELLO ": note\n\n" WORLD WORLD HELLO STOP DONE);
    ask_and_wait(&r, &c);
    client_expect_bytes(&c, wanted);
    client_forget(&c);
    rig_close(&r);
}

static void more_pieces_than_fit_one_write_are_all_sent(void **state)
{
    enum {
        EVENTS = 100
    };
    rig r;
    client c = {0};
    sbx_buf read, wanted;
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    sbx_buf_init(&read, SIZE_MAX);
    sbx_buf_init(&wanted, SIZE_MAX);
    for (int i = 0; i < EVENTS; i++) { /* the field between makes each event a piece of its own */
        sbx_buf_append_cstr(&read, i % 3 == 0 ? "retry: 1\n\n" HELLO : HELLO "retry: 1\n\n");
        sbx_buf_append_cstr(&wanted, HELLO);
    }
    sbx_buf_append_cstr(&wanted, STOP DONE);
    sbx_buf_append_byte(&wanted, '\0');
    const sbx_fake_step script[] = {
        ACCEPT, HEAD_SSE, {.kind = SBX_FAKE_DATA, .data = sbx_buf_view(&read)}, DATA(STOP), END};
    rig_script(&r, script, 5);
    ask_and_wait(&r, &c);
    client_expect_bytes(&c, (const char *)sbx_buf_view(&wanted).data);
    client_forget(&c);
    sbx_buf_deinit(&read);
    sbx_buf_deinit(&wanted);
    rig_close(&r);
}

static void a_stream_without_content_is_complete_all_the_same(void **state)
{
    rig r;
    client c = {0}, empty = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(ROLE DONE), END);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(DONE), END);
    ask_and_wait(&r, &c);
    client_expect_bytes(&c, ROLE DONE);
    assert_string_equal(c.worker, "w0");
    ask_and_wait(&r, &empty);
    client_expect_bytes(&empty, DONE);
    client_forget(&c);
    client_forget(&empty);
    rig_close(&r);
}

static void wants_metadata(sbx_job_params *params)
{
    params->wants_metadata_chunk = true;
}

static void a_client_that_asks_gets_metadata_in_a_last_chunk(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(HELLO STOP DONE), END);
    client_ask(&r, &c, ASK_STREAM, wants_metadata);
    rig_run_until(&r, rig_is_over, &c, 5000);
    sbx_view rest = sbx_view_skip(sbx_buf_view(&c.bytes), strlen(HELLO STOP "data: "));
    char json[1024];
    assert_true(sbx_view_ends_with(rest, SBX_VIEW("\n\n" DONE)));
    assert_int_equal(
        sbx_view_to_cstr(sbx_view_slice(rest, 0, rest.len - strlen("\n\n" DONE)), json, sizeof json), SBX_OK);
    json_expect(json, "object", "chat.completion.chunk");
    json_expect(json, "choices", "[]");
    json_expect(json, "metadata.selectedWorker", "w0");
    client_forget(&c);
    rig_close(&r);
}

#define USAGE "data: {\"choices\":[],\"usage\":{\"completion_tokens\":17}}\n\n"
#define ASK_USAGE                                                                                            \
    "{\"model\":\"sim\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"messages\":[{"         \
    "\"role\":"                                                                                              \
    "\"user\",\"content\":\"x\"}]}"

static void usage_is_asked_for_where_told_and_kept_from_clients_who_did_not(void **state)
{
    static const struct {
        bool asks_for_usage;
        const char *ask;
        const char *wanted;
    } cases[] = {
        {false, ASK_STREAM, HELLO STOP USAGE DONE}, /* what an engine says unasked is the engine's word */
        {true, ASK_STREAM, HELLO STOP DONE},
        {true, ASK_USAGE, HELLO STOP USAGE DONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig r;
        client c = {0};
        rig_init(&r);
        rig_open(&r, 1);
        r.peer->asks_for_usage = cases[i].asks_for_usage;
        RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(HELLO STOP USAGE DONE), END);
        client_ask(&r, &c, cases[i].ask, /* change: */ NULL);
        rig_run_until(&r, rig_is_over, &c, 1000);
        client_expect_bytes(&c, cases[i].wanted);
        sbx_view body = sbx_fake_peer_record(r.peer, 0)->body;
        bool has_option = sbx_view_contains(body, SBX_VIEW("\"stream_options\":{\"include_usage\":true}"));
        assert_int_equal(has_option, cases[i].asks_for_usage);
        client_forget(&c);
        rig_close(&r);
    }
}

static void a_buffered_request_is_not_asked_for_usage(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    r.peer->asks_for_usage = true;
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA(GOOD), END);
    client_ask(&r, &c, ASK, /* change: */ NULL);
    rig_run_until(&r, rig_is_over, &c, 1000);
    assert_true(sbx_view_eq_cstr(sbx_fake_peer_record(r.peer, 0)->body, ASK));
    client_forget(&c);
    rig_close(&r);
}

/* ---- before the commit ---- */

static void a_failure_before_content_is_replaced_unseen(void **state)
{
    static const sbx_fake_step ends[][2] = {
        {FAILS(RESET)},
        {END}, /* neither finish reason nor [DONE] */
        {DATA("data: {\"error\":{\"message\":\"x\"}}\n\n")},
        {DATA("data: garbage\n\n")},
    };
    (void)state;
    for (int i = 0; i < 4; i++) {
        rig r;
        client c = {0};
        rig_init(&r);
        rig_open(&r, 2);
        const sbx_fake_step script[] = {ACCEPT, HEAD_SSE, DATA(ROLE ": x\n\n" ROLE), ends[i][0]};
        rig_script(&r, script, 4);
        RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(ROLE HELLO STOP DONE), END);
        ask_and_wait(&r, &c);
        client_expect_bytes(&c, ROLE HELLO STOP DONE);
        assert_int_equal(c.head.retry_count, 1);
        json_expect(c.metadata, "retryCount", "1");
        client_forget(&c);
        rig_close(&r);
    }
}

static void a_stream_that_says_nothing_of_use_is_given_up_at_the_limit(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    const sbx_fake_step chatter[] = {/* a megabyte of roles, kept for a content that never comes */
                                     ACCEPT,
                                     HEAD_SSE,
                                     {.kind = SBX_FAKE_DATA, .data = SBX_VIEW(ROLE), .times = 40000}};
    rig_script(&r, chatter, 3);
    ask_and_wait(&r, &c);
    client_expect_reply(&c, 502);
    client_expect_json(&c, "error.code", "WORKER_UNAVAILABLE");
    assert_true(sbx_fake_peer_record(r.peer, 0)->cancelled_at >= 0);
    client_forget(&c);
    rig_close(&r);
}

static void no_content_in_time_goes_elsewhere(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    r.options.policy.limits.first_content_ns = SBX_MS(60);
    rig_open(&r, 2);
    const sbx_fake_step chatter[] = {
        ACCEPT,
        HEAD_SSE,
        {.kind = SBX_FAKE_DATA, .delay_ns = SBX_MS(5), .data = SBX_VIEW(ROLE), .times = 1000}};
    rig_script(&r, chatter, 3);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(HELLO STOP), END);
    ask_and_wait(&r, &c);
    client_expect_bytes(&c, HELLO STOP DONE);
    json_expect(c.metadata, "timeouts", "1");
    client_forget(&c);
    rig_close(&r);
}

static void an_error_answer_to_a_stream_is_a_whole_reply(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(422), DATA("{\"error\":{}}"), END);
    ask_and_wait(&r, &c);
    client_expect_reply(&c, 422);
    client_expect_bytes(&c, "{\"error\":{}}");
    client_forget(&c);
    rig_close(&r);
}

/* ---- after the commit ---- */

static void a_failure_after_the_commit_gives_one_error_event_and_no_done(void **state)
{
    static const sbx_fake_step ends[][2] = {
        {FAILS(RESET)},
        {END},
        {DATA("data: {\"error\":{\"message\":\"x\"}}\n\n")},
        {DATA("data: garbage\n\n")},
    };
    (void)state;
    for (int i = 0; i < 4; i++) {
        rig r;
        client c = {0};
        rig_init(&r);
        rig_open(&r, 2);
        const sbx_fake_step script[] = {ACCEPT, HEAD_SSE, DATA(ROLE HELLO), DATA_AFTER(2, WORLD), ends[i][0]};
        rig_script(&r, script, 5);
        ask_and_wait(&r, &c);
        client_expect_interrupted(&c, ROLE HELLO WORLD);
        assert_int_equal(sbx_fake_peer_call_count(r.peer), 1); /* never tried again */
        client_forget(&c);
        rig_close(&r);
    }
}

static void content_of_the_read_that_breaks_reaches_the_client_before_the_error(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(ROLE HELLO WORLD "data: {broken\n\n"));
    ask_and_wait(&r, &c);
    client_expect_interrupted(&c, ROLE HELLO WORLD);
    assert_true(sbx_fake_peer_record(r.peer, 0)->cancelled_at >= 0);
    client_forget(&c);
    rig_close(&r);
}

static void a_stream_that_falls_silent_is_interrupted(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    r.options.policy.limits.idle_ns = SBX_MS(60);
    rig_open(&r, 1);
    const sbx_fake_step script[] = {
        ACCEPT,
        HEAD_SSE,
        DATA(HELLO), /* comments are no sign of content */
        {.kind = SBX_FAKE_DATA, .delay_ns = SBX_MS(20), .data = SBX_VIEW(": x\n\n"), .times = 1000}};
    rig_script(&r, script, 4);
    client_ask(&r, &c, ASK_STREAM, /* change: */ NULL);
    rig_run_until(&r, rig_is_over, &c, 1000);
    assert_true(sbx_view_contains(sbx_buf_view(&c.bytes), SBX_VIEW("STREAM_INTERRUPTED")));
    assert_false(sbx_view_contains(sbx_buf_view(&c.bytes), SBX_VIEW("[DONE]")));
    client_forget(&c);
    rig_close(&r);
}

/* ---- the end of the framing ---- */

static void after_done_a_connection_that_stays_open_is_not_waited_for(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    const sbx_fake_step script[] = {
        /* what comes after [DONE] does not prolong the wait */
        ACCEPT,
        HEAD_SSE,
        DATA(HELLO STOP DONE),
        {.kind = SBX_FAKE_DATA, .delay_ns = SBX_MS(100), .data = SBX_VIEW(": x\n\n"), .times = 1000}};
    rig_script(&r, script, 4);
    client_ask(&r, &c, ASK_STREAM, /* change: */ NULL);
    rig_run_until(&r, rig_is_over, &c, 2000);
    client_expect_bytes(&c, HELLO STOP DONE);
    assert_true(sbx_fake_peer_record(r.peer, 0)->cancelled_at >= 0);
    client_forget(&c);
    rig_close(&r);
}

static void a_reset_after_done_harms_nobody(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(HELLO DONE), FAILS(RESET));
    ask_and_wait(&r, &c);
    client_expect_bytes(&c, HELLO DONE);
    client_forget(&c);
    rig_close(&r);
}

static void one_finish_reason_of_two_choices_is_not_the_end(void **state)
{
    static const char ask[] =
        "{\"model\":\"sim\",\"stream\":true,\"n\":2,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
    (void)state;
    for (int n = 1; n <= 2; n++) {
        rig r;
        client c = {0};
        rig_init(&r);
        rig_open(&r, 1);
        RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(HELLO STOP), FAILS(RESET));
        client_ask(&r, &c, n == 1 ? ASK_STREAM : ask, /* change: */ NULL);
        rig_run_until(&r, rig_is_over, &c, 1000);
        if (n == 1)
            client_expect_bytes(&c, HELLO STOP DONE);
        else
            client_expect_interrupted(&c, HELLO STOP);
        client_forget(&c);
        rig_close(&r);
    }
}

static void the_wait_after_done_ends_with_its_attempt(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    r.options.policy.limits.first_content_ns = SBX_MS(300);
    rig_open(&r, 2);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(ROLE DONE)); /* no content, no end: the limit takes it away */
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(HELLO), DATA_AFTER(1000, WORLD), DATA(STOP), END);
    ask_and_wait(&r, &c);
    client_expect_bytes(&c, HELLO WORLD STOP DONE);
    client_forget(&c);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_goes_out_as_it_came_and_ends_with_done),
        cmocka_unit_test(nothing_goes_out_before_the_first_content),
        cmocka_unit_test(the_events_of_one_read_go_out_with_one_write),
        cmocka_unit_test(many_small_events_with_foreign_fields_keep_their_order),
        cmocka_unit_test(more_pieces_than_fit_one_write_are_all_sent),
        cmocka_unit_test(a_stream_without_content_is_complete_all_the_same),
        cmocka_unit_test(a_client_that_asks_gets_metadata_in_a_last_chunk),
        cmocka_unit_test(usage_is_asked_for_where_told_and_kept_from_clients_who_did_not),
        cmocka_unit_test(a_buffered_request_is_not_asked_for_usage),
        cmocka_unit_test(a_failure_before_content_is_replaced_unseen),
        cmocka_unit_test(a_stream_that_says_nothing_of_use_is_given_up_at_the_limit),
        cmocka_unit_test(no_content_in_time_goes_elsewhere),
        cmocka_unit_test(an_error_answer_to_a_stream_is_a_whole_reply),
        cmocka_unit_test(a_failure_after_the_commit_gives_one_error_event_and_no_done),
        cmocka_unit_test(content_of_the_read_that_breaks_reaches_the_client_before_the_error),
        cmocka_unit_test(a_stream_that_falls_silent_is_interrupted),
        cmocka_unit_test(after_done_a_connection_that_stays_open_is_not_waited_for),
        cmocka_unit_test(a_reset_after_done_harms_nobody),
        cmocka_unit_test(one_finish_reason_of_two_choices_is_not_the_end),
        cmocka_unit_test(the_wait_after_done_ends_with_its_attempt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
