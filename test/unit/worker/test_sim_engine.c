/* The simulated engine on a clock of the test's own: when which piece comes out, and what the pieces say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/worker/support_probe.h"

/* ---- time ---- */

static void a_buffered_answer_takes_the_first_token_time_and_one_gap_per_further_token(void **state)
{
    probe_world *w = *state;
    sbx_time_ns began = w->now;
    probe *p = probe_chat(w, BUFFERED(",\"max_tokens\":11"));
    probe_run_all(w);
    assert_true(p->is_ended);
    assert_int_equal(p->over_at - began, SBX_MS(TTFT_MS + 10 * GAP_MS));
    assert_int_equal(p->status, 200);
}

static void a_stream_opens_at_once_and_brings_its_tokens_one_by_one(void **state)
{
    probe_world *w = *state;
    sbx_time_ns began = w->now;
    probe *p = probe_chat(w, STREAMING(",\"max_tokens\":5"));
    probe_run_until(w, began);
    assert_string_equal(p->content_type, "text/event-stream; charset=utf-8");
    assert_int_equal(p->pieces, 1);
    probe_run_until(w, began + SBX_MS(TTFT_MS) - 1);
    assert_int_equal(p->pieces, 1);
    probe_run_until(w, began + SBX_MS(TTFT_MS));
    assert_int_equal(p->pieces, 2);
    probe_run_until(w, began + SBX_MS(TTFT_MS + 2 * GAP_MS));
    assert_int_equal(p->pieces, 4);
    probe_run_all(w);
    assert_int_equal(p->over_at - began, SBX_MS(TTFT_MS + 4 * GAP_MS));
}

static void jitter_moves_a_wait_by_its_share_at_most(void **state)
{
    probe_world *w = *state;
    sbx_sim_options options = *sbx_sim_engine_options(w->engine);
    options.jitter_pct = 50;
    sbx_sim_engine_configure(w->engine, &options);
    sbx_time_ns began = w->now;
    probe *p = probe_chat(w, STREAMING(",\"max_tokens\":1"));
    probe_run_all(w);
    assert_in_range(p->over_at - began, SBX_MS(TTFT_MS / 2), SBX_MS(TTFT_MS * 3 / 2));
    assert_true(p->over_at - began != SBX_MS(TTFT_MS));
}

static void at_speed_0_all_tokens_come_with_the_first(void **state)
{
    probe_world *w = *state;
    sbx_sim_options options = *sbx_sim_engine_options(w->engine);
    options.tps = 0;
    sbx_sim_engine_configure(w->engine, &options);
    sbx_time_ns began = w->now;
    probe *p = probe_chat(w, STREAMING(",\"max_tokens\":100"));
    probe_run_all(w);
    assert_int_equal(p->over_at - began, SBX_MS(TTFT_MS));
}

/* ---- what is said ---- */

static void a_buffered_answer_and_a_stream_say_the_same(void **state)
{
    probe_world *w = *state;
    char whole[2000], streamed[2000];
    probe *a = probe_chat(w, BUFFERED(""));
    probe *b = probe_chat(w, STREAMING(""));
    probe_run_all(w);
    probe_content(a, whole, sizeof(whole));
    probe_content(b, streamed, sizeof(streamed));
    assert_true(strlen(whole) > 100);
    assert_string_equal(whole, streamed);
}

static void a_stream_begins_with_the_role_and_ends_with_done(void **state)
{
    probe_world *w = *state;
    probe *p = probe_chat(w, STREAMING(",\"max_tokens\":3"));
    probe_run_all(w);
    const char *first_end = strstr(probe_text(p), "\n\n");
    const char *role = strstr(probe_text(p), "\"role\":\"assistant\"");
    assert_true(role != NULL && role < first_end);
    assert_int_equal(probe_occurrences(p, "\"finish_reason\":\"length\""), 1);
    assert_int_equal(probe_occurrences(p, "data: "), 1 + 3 + 1 + 1);
    assert_string_equal(probe_text(p) + strlen(probe_text(p)) - 14, "data: [DONE]\n\n");
}

static void without_a_limit_a_text_ends_by_itself(void **state)
{
    probe_world *w = *state;
    probe *p = probe_chat(w, STREAMING(""));
    probe_run_all(w);
    assert_int_equal(probe_occurrences(p, "\"finish_reason\":\"stop\""), 1);
}

static void usage_in_a_stream_comes_only_when_asked_for(void **state)
{
    probe_world *w = *state;
    probe *without = probe_chat(w, STREAMING(",\"max_tokens\":3"));
    probe *with = probe_chat(w, STREAMING(",\"max_tokens\":3,\"stream_options\":{\"include_usage\":true}"));
    probe_run_all(w);
    assert_int_equal(probe_occurrences(without, "usage"), 0);
    assert_int_equal(
        probe_occurrences(with, "\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3,"
                                "\"total_tokens\":8}"),
        1);
    assert_int_equal(probe_occurrences(with, "\"usage\":null"), 5);
}

static void usage_of_a_buffered_answer_counts_prompt_and_answer(void **state)
{
    probe_world *w = *state;
    probe *p = probe_chat(w, BUFFERED(",\"max_tokens\":7"));
    probe_run_all(w);
    assert_int_equal(
        probe_occurrences(p, "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7,\"total_tokens\":12}"),
        1);
}

static void a_stop_sequence_ends_the_text_before_itself(void **state)
{
    probe_world *w = *state;
    char whole[2000], stopped[2000], body[300], stop[10];
    probe *p = probe_chat(w, BUFFERED(",\"max_tokens\":20"));
    probe_run_all(w);
    probe_content(p, whole, sizeof(whole));
    /* Bytes 40 to 45 of the text; across tokens, most likely. */
    snprintf(stop, sizeof(stop), "%.5s", whole + 40);
    snprintf(body, sizeof(body), BUFFERED(",\"max_tokens\":20,\"stop\":[\"%s\"]"), stop);
    p = probe_chat(w, body);
    probe_run_all(w);
    probe_content(p, stopped, sizeof(stopped));
    *strstr(whole, stop) = '\0';
    assert_string_equal(stopped, whole);
    assert_int_equal(probe_occurrences(p, "\"finish_reason\":\"stop\""), 1);
}

static void an_assistant_prefill_goes_on_where_it_ends(void **state)
{
    probe_world *w = *state;
    char whole[2000], rest[2000], body[1000], prefill[100];
    probe *p = probe_chat(w, BUFFERED(""));
    probe_run_all(w);
    probe_content(p, whole, sizeof(whole));
    snprintf(prefill, sizeof(prefill), "%.77s", whole);
    snprintf(body, sizeof(body),
             "{\"model\":\"simulated\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},"
             "{\"role\":\"assistant\",\"content\":\"%s\"}]}",
             prefill);
    p = probe_chat(w, body);
    probe_run_all(w);
    probe_content(p, rest, sizeof(rest));
    assert_string_equal(rest, whole + 77);
}

static void completions_have_text_and_no_role(void **state)
{
    probe_world *w = *state;
    probe *p =
        probe_request(w, "/v1/completions",
                      "{\"model\":\"simulated\",\"prompt\":\"once\",\"stream\":true,\"max_tokens\":2}");
    probe_run_all(w);
    assert_int_equal(probe_occurrences(p, "\"text\":\" "), 2);
    assert_int_equal(probe_occurrences(p, "role"), 0);
    assert_int_equal(probe_occurrences(p, "[DONE]"), 1);
}

static void a_required_tool_is_called_with_json_arguments(void **state)
{
    probe_world *w = *state;
    const char *tools = ",\"max_tokens\":4,\"tool_choice\":\"required\",\"tools\":[{\"type\":\"function\","
                        "\"function\":{\"name\":\"look\"}}]";
    char body[400];
    snprintf(body, sizeof(body), "{" HI "%s}", tools);
    probe *whole = probe_chat(w, body);
    probe_run_all(w);
    assert_int_equal(probe_occurrences(whole, "\"name\":\"look\",\"arguments\":\"{\\\"text\\\":\\\" "), 1);
    assert_int_equal(probe_occurrences(whole, "\"content\":null"), 1);
}

static void the_same_input_has_the_same_embedding(void **state)
{
    probe_world *w = *state;
    probe *a =
        probe_request(w, "/v1/embeddings", "{\"model\":\"simulated\",\"input\":\"x\",\"dimensions\":3}");
    probe *b = probe_request(w, "/v1/embeddings",
                             "{\"model\":\"simulated\",\"input\":[\"x\",\"y\"],\"dimensions\":3}");
    probe_run_all(w);
    const char *vector = strstr(probe_text(a), "[{\"object\"");
    char first[100];
    snprintf(first, sizeof(first), "%.*s", (int)(strchr(vector, ']') - vector), vector);
    assert_non_null(strstr(probe_text(b), first));
    assert_int_equal(probe_occurrences(b, "\"object\":\"embedding\""), 2);
}

static void rerank_puts_the_document_with_the_querys_words_first(void **state)
{
    probe_world *w = *state;
    probe *p = probe_request(w, "/v1/rerank",
                             "{\"model\":\"simulated\",\"query\":\"green lamp\",\"top_n\":2,"
                             "\"documents\":[\"a red bell\",\"the green lamp\",\"a green line\"]}");
    probe_run_all(w);
    const char *one = strstr(probe_text(p), "\"index\":1"), *two = strstr(probe_text(p), "\"index\":2");
    assert_true(one != NULL && two != NULL && one < two);
    assert_int_equal(probe_occurrences(p, "\"index\":0"), 0);
}

/* ---- refusals ---- */

static void what_is_not_json_is_refused(void **state)
{
    probe_world *w = *state;
    probe *p = probe_chat(w, "{\"model\":");
    probe_run_all(w);
    assert_int_equal(p->status, 400);
    assert_int_equal(probe_occurrences(p, "\"error\""), 1);
}

static void an_unknown_model_is_404(void **state)
{
    probe_world *w = *state;
    probe *p = probe_chat(w, "{\"model\":\"other\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    probe_run_all(w);
    assert_int_equal(p->status, 404);
    assert_int_equal(probe_occurrences(p, "model_not_found"), 1);
}

static void a_prompt_beyond_the_context_is_400(void **state)
{
    probe_world *w = *state;
    sbx_sim_options options = *sbx_sim_engine_options(w->engine);
    options.max_context = 5;
    sbx_sim_engine_configure(w->engine, &options);
    probe *p = probe_chat(w, BUFFERED(""));
    probe_run_all(w);
    assert_int_equal(p->status, 400);
    assert_int_equal(probe_occurrences(p, "context_length_exceeded"), 1);
}

/* ---- places ---- */

static void a_request_beyond_capacity_waits_for_a_place(void **state)
{
    probe_world *w = *state;
    probe *first = probe_chat(w, BUFFERED(",\"max_tokens\":1"));
    probe_chat(w, BUFFERED(",\"max_tokens\":100"));
    probe *third = probe_chat(w, BUFFERED(",\"max_tokens\":1"));
    probe_run_until(w, w->now);
    assert_int_equal(sbx_sim_engine_load(w->engine).active, 2);
    assert_int_equal(sbx_sim_engine_load(w->engine).waiting, 1);
    probe_run_all(w);
    assert_int_equal(third->status, 200);
    assert_int_equal(third->over_at - first->over_at, SBX_MS(TTFT_MS));
    assert_int_equal(sbx_sim_engine_load(w->engine).active, 0);
}

static void a_request_beyond_the_queue_is_told_busy_at_once(void **state)
{
    probe_world *w = *state;
    for (int i = 0; i < 3; i++)
        probe_chat(w, BUFFERED(""));
    probe *p = probe_chat(w, BUFFERED(""));
    probe_run_until(w, w->now);
    assert_true(p->is_ended);
    assert_int_equal(p->status, 503);
    assert_int_equal(p->retry_after_s, 1);
    assert_int_equal(probe_occurrences(p, "server busy"), 1);
}

static void a_request_that_waited_too_long_is_told_busy(void **state)
{
    probe_world *w = *state;
    probe_chat(w, BUFFERED(",\"max_tokens\":10000,\"ignore_eos\":true"));
    probe_chat(w, BUFFERED(",\"max_tokens\":10000,\"ignore_eos\":true"));
    sbx_time_ns began = w->now;
    probe *p = probe_chat(w, BUFFERED(""));
    probe_run_until(w, began + SBX_SEC(6));
    assert_int_equal(p->status, 503);
    assert_int_equal(p->over_at - began, SBX_SEC(5));
    assert_int_equal(sbx_sim_engine_load(w->engine).waiting, 0);
}

static void a_cancelled_run_gives_its_place_to_the_next(void **state)
{
    probe_world *w = *state;
    probe *first = probe_chat(w, BUFFERED(""));
    probe_chat(w, BUFFERED(",\"max_tokens\":10000,\"ignore_eos\":true"));
    probe *third = probe_chat(w, BUFFERED(",\"max_tokens\":1"));
    probe_run_until(w, w->now);
    sbx_sim_run_cancel(first->run);
    first->run = NULL;
    sbx_time_ns then = w->now;
    probe_run_until(w, then + SBX_MS(TTFT_MS));
    assert_true(third->is_ended);
    assert_false(first->has_head);
}

static void a_run_may_be_cancelled_from_its_own_callback(void **state)
{
    probe_world *w = *state;
    probe *p = probe_chat(w, STREAMING(""));
    p->cancel_in_data = true;
    p->armed_at = SBX_TIME_NEVER;
    sbx_sim_run_step(p->run, w->now);
    p->run = NULL;
    assert_int_equal(p->pieces, 1);
    assert_false(p->is_over);
    assert_int_equal(sbx_sim_engine_load(w->engine).active, 0);
}

static void a_paused_run_keeps_still_until_it_is_resumed(void **state)
{
    probe_world *w = *state;
    probe *p = probe_chat(w, STREAMING(",\"max_tokens\":3"));
    probe_run_until(w, w->now);
    sbx_sim_run_pause(p->run);
    probe_run_until(w, w->now + SBX_SEC(1));
    assert_int_equal(p->pieces, 1);
    sbx_sim_run_resume(p->run);
    probe_run_all(w);
    assert_true(p->is_ended);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, probe_setup, probe_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_buffered_answer_takes_the_first_token_time_and_one_gap_per_further_token),
        TEST(a_stream_opens_at_once_and_brings_its_tokens_one_by_one),
        TEST(jitter_moves_a_wait_by_its_share_at_most),
        TEST(at_speed_0_all_tokens_come_with_the_first),
        TEST(a_buffered_answer_and_a_stream_say_the_same),
        TEST(a_stream_begins_with_the_role_and_ends_with_done),
        TEST(without_a_limit_a_text_ends_by_itself),
        TEST(usage_in_a_stream_comes_only_when_asked_for),
        TEST(usage_of_a_buffered_answer_counts_prompt_and_answer),
        TEST(a_stop_sequence_ends_the_text_before_itself),
        TEST(an_assistant_prefill_goes_on_where_it_ends),
        TEST(completions_have_text_and_no_role),
        TEST(a_required_tool_is_called_with_json_arguments),
        TEST(the_same_input_has_the_same_embedding),
        TEST(rerank_puts_the_document_with_the_querys_words_first),
        TEST(what_is_not_json_is_refused),
        TEST(an_unknown_model_is_404),
        TEST(a_prompt_beyond_the_context_is_400),
        TEST(a_request_beyond_capacity_waits_for_a_place),
        TEST(a_request_beyond_the_queue_is_told_busy_at_once),
        TEST(a_request_that_waited_too_long_is_told_busy),
        TEST(a_cancelled_run_gives_its_place_to_the_next),
        TEST(a_run_may_be_cancelled_from_its_own_callback),
        TEST(a_paused_run_keeps_still_until_it_is_resumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
