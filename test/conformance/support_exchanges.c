/* The suite's first half: requests and answers arrive whole, unchanged and once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support_suite.h"

enum {
    LARGE = 8 << 20,
    MANY = 200
};

/* ---- answers ---- */

static void a_buffered_answer_arrives_byte_for_byte(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    sbx_buf body;
    sbx_buf_init(&body, SIZE_MAX);
    conf_write_bytes(&body, 5000, /* seed: */ 1);
    w->factory->answer_with(w, &(conf_answer){.status = 200, .body = sbx_buf_view(&body)});

    conf_start(w, &call, "{}");
    conf_run_until(w, conf_is_over, &call, 5000);

    conf_assert_ended_with(&call, 200, sbx_buf_view(&body));
    assert_string_equal(call.content_type, "application/json");
    assert_true(call.head.retry_after_ns < 0);
    conf_forget(&call);
    sbx_buf_deinit(&body);
}

static void a_streamed_answer_arrives_byte_for_byte(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    sbx_buf wanted;
    sbx_buf_init(&wanted, SIZE_MAX);
    for (uint32_t i = 0; i < 300; i++)
        conf_write_event(&wanted, i, 117);
    w->factory->answer_with(
        w, &(conf_answer){.status = 200, .is_stream = true, .events = 300, .event_len = 117});

    conf_start(w, &call, "{}");
    conf_run_until(w, conf_is_over, &call, 5000);

    conf_assert_ended_with(&call, 200, sbx_buf_view(&wanted));
    assert_string_equal(call.content_type, "text/event-stream");
    conf_forget(&call);
    sbx_buf_deinit(&wanted);
}

static void a_stream_is_passed_on_while_it_comes(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    w->factory->answer_with(
        w,
        &(conf_answer){.status = 200, .is_stream = true, .events = 5, .event_len = 60, .gap_ns = SBX_MS(40)});
    conf_start(w, &call, "{}");
    conf_run_until(w, conf_is_over, &call, 5000);

    assert_int_equal(call.ends, 1);
    assert_int_equal(call.datas, 5); /* with 40 ms between them none is joined to the next */
    assert_true(call.over_at - call.first_data_at >= SBX_MS(120));
    conf_forget(&call);
}

static void an_answer_without_a_body_is_a_head_and_an_end(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    w->factory->answer_with(w, &(conf_answer){.status = 200});
    conf_start(w, &call, "{}");
    conf_run_until(w, conf_is_over, &call, 5000);
    conf_assert_ended_with(&call, 200, (sbx_view){0});
    assert_int_equal(call.datas, 0);
    conf_forget(&call);
}

static void an_error_of_the_engine_is_an_answer_and_no_failure(void **state)
{
    conf_world *w = *state;
    conf_call calls[2] = {{0}};
    sbx_view body = SBX_VIEW("{\"error\":{\"message\":\"busy\"}}");
    w->factory->answer_with(w, &(conf_answer){.status = 429, .body = body, .retry_after_s = 7});
    conf_start(w, &calls[0], "{}");
    conf_run_until(w, conf_is_over, &calls[0], 5000);
    w->factory->answer_with(w, &(conf_answer){.status = 500, .body = body});
    conf_start(w, &calls[1], "{}");
    conf_run_until(w, conf_is_over, &calls[1], 5000);

    conf_assert_ended_with(&calls[0], 429, body);
    assert_int_equal(calls[0].head.retry_after_ns, SBX_SEC(7));
    conf_assert_ended_with(&calls[1], 500, body);
    conf_forget(&calls[0]);
    conf_forget(&calls[1]);
}

/* ---- requests ---- */

static void a_request_arrives_byte_for_byte(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    sbx_view pieces[] = {
        SBX_VIEW("{\"a\":"), SBX_VIEW("\"\\u00e9"), {0}, SBX_VIEW(" \xc3\xa9\"\r\n\t }"), SBX_VIEW(" ")};
    w->factory->answer_with(w, &(conf_answer){.status = 200, .body = SBX_VIEW("ok")});

    conf_start_pieces(w, &call, pieces, 5, SBX_SEC(20), /* number: */ 0xabc);
    conf_run_until(w, conf_is_over, &call, 5000);

    assert_int_equal(w->factory->seen_count(w), 1);
    conf_seen seen = w->factory->seen(w, 0);
    assert_true(sbx_view_eq_cstr(seen.path, "/v1/chat/completions"));
    assert_true(sbx_view_eq_cstr(seen.body, "{\"a\":\"\\u00e9 \xc3\xa9\"\r\n\t } "));
    assert_true(sbx_view_eq_cstr(seen.request_id, "00000000000000000000000000000abc"));
    assert_true(
        sbx_view_eq_cstr(seen.traceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    if (seen.budget_ns >= 0)
        assert_in_range(seen.budget_ns, SBX_SEC(19), SBX_SEC(20));
    conf_forget(&call);
}

static void eight_megabytes_go_and_come_back_unchanged(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    sbx_buf body;
    sbx_buf_init(&body, SIZE_MAX);
    conf_write_bytes(&body, LARGE, /* seed: */ 7);
    sbx_view halves[] = {sbx_view_slice(sbx_buf_view(&body), 0, LARGE / 3),
                         sbx_view_skip(sbx_buf_view(&body), LARGE / 3)};
    w->factory->answer_with(w, &(conf_answer){.status = 200, .echoes = true});

    conf_start_pieces(w, &call, halves, 2, SBX_SEC(60), /* number: */ 1);
    conf_run_until(w, conf_is_over, &call, 60000);

    conf_assert_ended_with(&call, 200, sbx_buf_view(&body));
    assert_int_equal(call.datas > 1, true); /* and it was never held in one piece */
    conf_forget(&call);
    sbx_buf_deinit(&body);
}

/* ---- calls in numbers ---- */

static bool all_are_over(conf_world *w, const void *what)
{
    const conf_call *calls = what;
    for (int i = 0; i < MANY; i++) {
        if (!conf_is_over(w, &calls[i]))
            return false;
    }
    return true;
}

static void many_calls_at_once_get_each_their_own_answer(void **state)
{
    conf_world *w = *state;
    conf_call *calls = calloc(MANY, sizeof *calls);
    char(*bodies)[64] = calloc(MANY, sizeof *bodies);
    assert_true(calls != NULL && bodies != NULL);
    w->factory->answer_with(w, &(conf_answer){.status = 200, .echoes = true});
    for (int i = 0; i < MANY; i++) {
        snprintf(bodies[i], sizeof bodies[i], "{\"number\":%d}", i);
        conf_start(w, &calls[i], bodies[i]);
    }
    conf_run_until(w, all_are_over, calls, 20000);
    for (int i = 0; i < MANY; i++) {
        conf_assert_ended_with(&calls[i], 200, sbx_view_cstr(bodies[i]));
        conf_forget(&calls[i]);
    }
    assert_int_equal(w->factory->seen_count(w), MANY);
    free(bodies);
    free(calls);
}

static void calls_one_after_another_all_work(void **state)
{
    conf_world *w = *state;
    for (int i = 0; i < 20; i++) {
        conf_call call = {0};
        w->factory->answer_with(w, &(conf_answer){.status = 200, .echoes = true});
        conf_start(w, &call, "again");
        conf_run_until(w, conf_is_over, &call, 5000);
        conf_assert_ended_with(&call, 200, SBX_VIEW("again"));
        conf_forget(&call);
    }
    assert_int_equal(w->factory->seen_count(w), 20);
}

static void start_the_other(conf_call *call)
{
    conf_start(call->world, call->other, "second");
}

static void a_call_may_start_the_next_one_as_it_ends(void **state)
{
    conf_world *w = *state;
    conf_call second = {0};
    conf_call first = {.when_over = start_the_other, .other = &second};
    w->factory->answer_with(w, &(conf_answer){.status = 200, .echoes = true});
    conf_start(w, &first, "first");
    conf_run_until(w, conf_is_over, &second, 5000);
    conf_assert_ended_with(&first, 200, SBX_VIEW("first"));
    conf_assert_ended_with(&second, 200, SBX_VIEW("second"));
    conf_forget(&first);
    conf_forget(&second);
}

/* ---- back-pressure ---- */

enum {
    FLOW_EVENTS = 2000,
    FLOW_EVENT = 2048,
    IN_FLIGHT_MAX = 512 * 1024 /* what may still come after pause: one read, one credit window */
};

static void pause_once(conf_call *call)
{
    if (call->datas == 1)
        call->call->kind->pause(call->call);
}

static void expect_flow(const conf_call *call)
{
    sbx_buf wanted;
    sbx_buf_init(&wanted, SIZE_MAX);
    for (uint32_t i = 0; i < FLOW_EVENTS; i++)
        conf_write_event(&wanted, i, FLOW_EVENT);
    conf_assert_ended_with(call, 200, sbx_buf_view(&wanted));
    sbx_buf_deinit(&wanted);
}

static void pause_holds_a_stream_back_and_resume_lets_it_go_on(void **state)
{
    conf_world *w = *state;
    conf_call call = {.when_data = pause_once};
    w->factory->answer_with(
        w, &(conf_answer){.status = 200, .is_stream = true, .events = FLOW_EVENTS, .event_len = FLOW_EVENT});
    conf_start(w, &call, "{}");
    conf_run_until(w, conf_has_data, &call, 5000);
    conf_run_for(w, 300);
    conf_assert_silent(&call);
    size_t came = call.body.len;
    assert_in_range(came, 1, IN_FLIGHT_MAX);
    conf_run_for(w, 200);
    assert_int_equal(call.body.len, came); /* and nothing trickles in */

    call.call->kind->resume(call.call);
    conf_run_until(w, conf_is_over, &call, 20000);
    expect_flow(&call);
    conf_forget(&call);
}

static void a_call_paused_before_its_answer_loses_nothing(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    w->factory->answer_with(
        w, &(conf_answer){.status = 200, .is_stream = true, .events = FLOW_EVENTS, .event_len = FLOW_EVENT});
    conf_start(w, &call, "{}");
    call.call->kind->pause(call.call);
    conf_run_for(w, 200);
    conf_assert_silent(&call);
    assert_true(call.body.len <= IN_FLIGHT_MAX);

    call.call->kind->resume(call.call);
    conf_run_until(w, conf_is_over, &call, 20000);
    expect_flow(&call);
    conf_forget(&call);
}

static void a_paused_stream_does_not_hold_up_another(void **state)
{
    conf_world *w = *state;
    conf_call paused = {.when_data = pause_once};
    conf_call other = {0};
    w->factory->answer_with(
        w, &(conf_answer){.status = 200, .is_stream = true, .events = FLOW_EVENTS, .event_len = FLOW_EVENT});
    conf_start(w, &paused, "{}");
    conf_run_until(w, conf_has_data, &paused, 5000);
    conf_start(w, &other, "{}");
    conf_run_until(w, conf_is_over, &other, 20000);
    expect_flow(&other);
    conf_assert_silent(&paused);
    conf_cancel(&paused);
    conf_forget(&paused);
    conf_forget(&other);
}

int conf_run_exchanges(const conf_factory *factory)
{
    const struct CMUnitTest tests[] = {
        CONF_TEST(a_buffered_answer_arrives_byte_for_byte, factory),
        CONF_TEST(a_streamed_answer_arrives_byte_for_byte, factory),
        CONF_TEST(a_stream_is_passed_on_while_it_comes, factory),
        CONF_TEST(an_answer_without_a_body_is_a_head_and_an_end, factory),
        CONF_TEST(an_error_of_the_engine_is_an_answer_and_no_failure, factory),
        CONF_TEST(a_request_arrives_byte_for_byte, factory),
        CONF_TEST(eight_megabytes_go_and_come_back_unchanged, factory),
        CONF_TEST(many_calls_at_once_get_each_their_own_answer, factory),
        CONF_TEST(calls_one_after_another_all_work, factory),
        CONF_TEST(a_call_may_start_the_next_one_as_it_ends, factory),
        CONF_TEST(pause_holds_a_stream_back_and_resume_lets_it_go_on, factory),
        CONF_TEST(a_call_paused_before_its_answer_loses_nothing, factory),
        CONF_TEST(a_paused_stream_does_not_hold_up_another, factory),
    };
    print_message("kind %s: exchanges\n", factory->name);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
