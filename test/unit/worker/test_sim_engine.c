/* The simulated engine on a clock of the test's own: when which piece comes out, and what the pieces say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "worker/sim_engine.h"

enum {
    TTFT_MS = 100,
    GAP_MS = 10
};

/* One request and all that came out of it. */
typedef struct probe {
    sbx_sim_run *run;
    sbx_time_ns armed_at; /* SBX_TIME_NEVER: not armed */
    sbx_time_ns head_at, first_data_at, last_data_at, over_at;
    unsigned status;
    int retry_after_s;
    char content_type[64];
    sbx_buf body;
    uint32_t pieces;
    bool has_head, is_over, is_ended, is_broken, cancel_in_data;
    sbx_sim_effect effect;
} probe;

typedef struct world {
    sbx_sim_engine *engine;
    sbx_time_ns now;
    probe probes[8];
    size_t count;
} world;

static world *the_world; /* the sink's callbacks need the time */

static void take_head(probe *p, const sbx_sim_head *head)
{
    p->has_head = true;
    p->head_at = the_world->now;
    p->status = head->status;
    p->retry_after_s = head->retry_after_s;
    snprintf(p->content_type, sizeof(p->content_type), "%s", head->content_type);
}

static void on_head(void *user, const sbx_sim_head *head)
{
    take_head(user, head);
}

static void on_data(void *user, sbx_view bytes)
{
    probe *p = user;
    if (p->pieces++ == 0)
        p->first_data_at = the_world->now;
    p->last_data_at = the_world->now;
    sbx_buf_append_view(&p->body, bytes);
    if (p->cancel_in_data)
        sbx_sim_run_cancel(p->run);
}

static void over(probe *p)
{
    assert_false(p->is_over);
    p->is_over = true;
    p->over_at = the_world->now;
    p->run = NULL;
    p->armed_at = SBX_TIME_NEVER;
}

static void on_end(void *user)
{
    over(user);
    ((probe *)user)->is_ended = true;
}

static void on_whole(void *user, const sbx_sim_head *head, sbx_view body)
{
    take_head(user, head);
    on_data(user, body);
    on_end(user);
}

static void on_break(void *user, sbx_sim_effect effect)
{
    over(user);
    ((probe *)user)->is_broken = true;
    ((probe *)user)->effect = effect;
}

static void arm(void *user, sbx_time_ns at)
{
    ((probe *)user)->armed_at = at;
}

static const sbx_sim_sink sink = {.on_whole = on_whole,
                                  .on_head = on_head,
                                  .on_data = on_data,
                                  .on_end = on_end,
                                  .on_break = on_break,
                                  .arm = arm};

static probe *request(world *w, const char *path, const char *body)
{
    probe *p = &w->probes[w->count++];
    *p = (probe){.armed_at = SBX_TIME_NEVER};
    sbx_buf_init(&p->body, SIZE_MAX);
    assert_int_equal(
        sbx_sim_engine_start(w->engine, sbx_view_cstr(path), sbx_view_cstr(body), &sink, p, w->now, &p->run),
        SBX_OK);
    return p;
}

static probe *chat(world *w, const char *body)
{
    return request(w, "/v1/chat/completions", body);
}

static probe *next_armed(world *w)
{
    probe *next = NULL;
    for (size_t i = 0; i < w->count; i++) {
        probe *p = &w->probes[i];
        if (p->run != NULL && p->armed_at != SBX_TIME_NEVER && (next == NULL || p->armed_at < next->armed_at))
            next = p;
    }
    return next;
}

/* Lets time pass up to `until`. */
static void run_until(world *w, sbx_time_ns until)
{
    for (probe *p = next_armed(w); p != NULL && p->armed_at <= until; p = next_armed(w)) {
        w->now = p->armed_at > w->now ? p->armed_at : w->now;
        p->armed_at = SBX_TIME_NEVER;
        sbx_sim_run_step(p->run, w->now);
    }
    w->now = until > w->now ? until : w->now;
}

static void run_all(world *w)
{
    run_until(w, w->now + SBX_SEC(1000));
}

static const char *text(probe *p)
{
    sbx_buf_append_byte(&p->body, 0);
    sbx_buf_truncate(&p->body, sbx_buf_view(&p->body).len - 1);
    return (const char *)sbx_buf_view(&p->body).data;
}

static int occurrences(probe *p, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text(p), part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

/* All content deltas (or the one content) of an answer, joined. */
static void content_of(probe *p, char *ret_content, size_t size)
{
    static const char key[] = "\"content\":\"";
    size_t used = 0;
    for (const char *at = strstr(text(p), key); at != NULL; at = strstr(at, key)) {
        at += sizeof(key) - 1;
        size_t len = strcspn(at, "\"");
        assert_true(used + len < size);
        memcpy(ret_content + used, at, len);
        used += len;
    }
    ret_content[used] = '\0';
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof(*w));
    sbx_sim_options options = sbx_sim_options_default();
    options.ttft_ms = TTFT_MS;
    options.tps = 1000 / GAP_MS;
    options.capacity = 2;
    options.max_waiting = 1;
    options.max_wait_ms = 5000;
    w->now = SBX_SEC(10);
    the_world = w;
    *state = w;
    return sbx_sim_engine_new(&options, &w->engine) == SBX_OK ? 0 : -1;
}

static int teardown(void **state)
{
    world *w = *state;
    for (size_t i = 0; i < w->count; i++) {
        sbx_sim_run_cancel(w->probes[i].run);
        sbx_buf_deinit(&w->probes[i].body);
    }
    sbx_sim_engine_free(w->engine);
    free(w);
    return 0;
}

static void fault(world *w, sbx_sim_fault which, int64_t after_bytes, int64_t after_tokens)
{
    sbx_sim_order order = sbx_sim_order_of(which);
    order.after_bytes = after_bytes;
    order.after_tokens = after_tokens;
    sbx_sim_faults_add(sbx_sim_engine_faults(w->engine), &order);
}

#define HI           "\"model\":\"simulated\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define BUFFERED(x)  "{" HI x "}"
#define STREAMING(x) "{\"stream\":true," HI x "}"

/* ---- time ---- */

static void a_buffered_answer_takes_the_first_token_time_and_one_gap_per_further_token(void **state)
{
    world *w = *state;
    sbx_time_ns began = w->now;
    probe *p = chat(w, BUFFERED(",\"max_tokens\":11"));
    run_all(w);
    assert_true(p->is_ended);
    assert_int_equal(p->over_at - began, SBX_MS(TTFT_MS + 10 * GAP_MS));
    assert_int_equal(p->status, 200);
}

static void a_stream_opens_at_once_and_brings_its_tokens_one_by_one(void **state)
{
    world *w = *state;
    sbx_time_ns began = w->now;
    probe *p = chat(w, STREAMING(",\"max_tokens\":5"));
    run_until(w, began);
    assert_string_equal(p->content_type, "text/event-stream; charset=utf-8");
    assert_int_equal(p->pieces, 1);
    run_until(w, began + SBX_MS(TTFT_MS) - 1);
    assert_int_equal(p->pieces, 1);
    run_until(w, began + SBX_MS(TTFT_MS));
    assert_int_equal(p->pieces, 2);
    run_until(w, began + SBX_MS(TTFT_MS + 2 * GAP_MS));
    assert_int_equal(p->pieces, 4);
    run_all(w);
    assert_int_equal(p->over_at - began, SBX_MS(TTFT_MS + 4 * GAP_MS));
}

static void jitter_moves_a_wait_by_its_share_at_most(void **state)
{
    world *w = *state;
    sbx_sim_options options = *sbx_sim_engine_options(w->engine);
    options.jitter_pct = 50;
    sbx_sim_engine_configure(w->engine, &options);
    sbx_time_ns began = w->now;
    probe *p = chat(w, STREAMING(",\"max_tokens\":1"));
    run_all(w);
    assert_in_range(p->over_at - began, SBX_MS(TTFT_MS / 2), SBX_MS(TTFT_MS * 3 / 2));
    assert_true(p->over_at - began != SBX_MS(TTFT_MS));
}

static void at_speed_0_all_tokens_come_with_the_first(void **state)
{
    world *w = *state;
    sbx_sim_options options = *sbx_sim_engine_options(w->engine);
    options.tps = 0;
    sbx_sim_engine_configure(w->engine, &options);
    sbx_time_ns began = w->now;
    probe *p = chat(w, STREAMING(",\"max_tokens\":100"));
    run_all(w);
    assert_int_equal(p->over_at - began, SBX_MS(TTFT_MS));
}

/* ---- what is said ---- */

static void a_buffered_answer_and_a_stream_say_the_same(void **state)
{
    world *w = *state;
    char whole[2000], streamed[2000];
    probe *a = chat(w, BUFFERED(""));
    probe *b = chat(w, STREAMING(""));
    run_all(w);
    content_of(a, whole, sizeof(whole));
    content_of(b, streamed, sizeof(streamed));
    assert_true(strlen(whole) > 100);
    assert_string_equal(whole, streamed);
}

static void a_stream_begins_with_the_role_and_ends_with_done(void **state)
{
    world *w = *state;
    probe *p = chat(w, STREAMING(",\"max_tokens\":3"));
    run_all(w);
    const char *first_end = strstr(text(p), "\n\n");
    const char *role = strstr(text(p), "\"role\":\"assistant\"");
    assert_true(role != NULL && role < first_end);
    assert_int_equal(occurrences(p, "\"finish_reason\":\"length\""), 1);
    assert_int_equal(occurrences(p, "data: "), 1 + 3 + 1 + 1);
    assert_string_equal(text(p) + strlen(text(p)) - 14, "data: [DONE]\n\n");
}

static void without_a_limit_a_text_ends_by_itself(void **state)
{
    world *w = *state;
    probe *p = chat(w, STREAMING(""));
    run_all(w);
    assert_int_equal(occurrences(p, "\"finish_reason\":\"stop\""), 1);
}

static void usage_in_a_stream_comes_only_when_asked_for(void **state)
{
    world *w = *state;
    probe *without = chat(w, STREAMING(",\"max_tokens\":3"));
    probe *with = chat(w, STREAMING(",\"max_tokens\":3,\"stream_options\":{\"include_usage\":true}"));
    run_all(w);
    assert_int_equal(occurrences(without, "usage"), 0);
    assert_int_equal(occurrences(with,
                                 "\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3,"
                                 "\"total_tokens\":8}"),
                     1);
    assert_int_equal(occurrences(with, "\"usage\":null"), 5);
}

static void usage_of_a_buffered_answer_counts_prompt_and_answer(void **state)
{
    world *w = *state;
    probe *p = chat(w, BUFFERED(",\"max_tokens\":7"));
    run_all(w);
    assert_int_equal(
        occurrences(p, "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7,\"total_tokens\":12}"), 1);
}

static void a_stop_sequence_ends_the_text_before_itself(void **state)
{
    world *w = *state;
    char whole[2000], stopped[2000], body[300], stop[10];
    probe *p = chat(w, BUFFERED(",\"max_tokens\":20"));
    run_all(w);
    content_of(p, whole, sizeof(whole));
    /* Bytes 40 to 45 of the text; across tokens, most likely. */
    snprintf(stop, sizeof(stop), "%.5s", whole + 40);
    snprintf(body, sizeof(body), BUFFERED(",\"max_tokens\":20,\"stop\":[\"%s\"]"), stop);
    p = chat(w, body);
    run_all(w);
    content_of(p, stopped, sizeof(stopped));
    *strstr(whole, stop) = '\0';
    assert_string_equal(stopped, whole);
    assert_int_equal(occurrences(p, "\"finish_reason\":\"stop\""), 1);
}

static void an_assistant_prefill_goes_on_where_it_ends(void **state)
{
    world *w = *state;
    char whole[2000], rest[2000], body[1000], prefill[100];
    probe *p = chat(w, BUFFERED(""));
    run_all(w);
    content_of(p, whole, sizeof(whole));
    snprintf(prefill, sizeof(prefill), "%.77s", whole);
    snprintf(body, sizeof(body),
             "{\"model\":\"simulated\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},"
             "{\"role\":\"assistant\",\"content\":\"%s\"}]}",
             prefill);
    p = chat(w, body);
    run_all(w);
    content_of(p, rest, sizeof(rest));
    assert_string_equal(rest, whole + 77);
}

static void completions_have_text_and_no_role(void **state)
{
    world *w = *state;
    probe *p = request(w, "/v1/completions",
                       "{\"model\":\"simulated\",\"prompt\":\"once\",\"stream\":true,\"max_tokens\":2}");
    run_all(w);
    assert_int_equal(occurrences(p, "\"text\":\" "), 2);
    assert_int_equal(occurrences(p, "role"), 0);
    assert_int_equal(occurrences(p, "[DONE]"), 1);
}

static void a_required_tool_is_called_with_json_arguments(void **state)
{
    world *w = *state;
    const char *tools = ",\"max_tokens\":4,\"tool_choice\":\"required\",\"tools\":[{\"type\":\"function\","
                        "\"function\":{\"name\":\"look\"}}]";
    char body[400];
    snprintf(body, sizeof(body), "{" HI "%s}", tools);
    probe *whole = chat(w, body);
    run_all(w);
    assert_int_equal(occurrences(whole, "\"name\":\"look\",\"arguments\":\"{\\\"text\\\":\\\" "), 1);
    assert_int_equal(occurrences(whole, "\"content\":null"), 1);
}

static void the_same_input_has_the_same_embedding(void **state)
{
    world *w = *state;
    probe *a = request(w, "/v1/embeddings", "{\"model\":\"simulated\",\"input\":\"x\",\"dimensions\":3}");
    probe *b =
        request(w, "/v1/embeddings", "{\"model\":\"simulated\",\"input\":[\"x\",\"y\"],\"dimensions\":3}");
    run_all(w);
    const char *vector = strstr(text(a), "[{\"object\"");
    char first[100];
    snprintf(first, sizeof(first), "%.*s", (int)(strchr(vector, ']') - vector), vector);
    assert_non_null(strstr(text(b), first));
    assert_int_equal(occurrences(b, "\"object\":\"embedding\""), 2);
}

static void rerank_puts_the_document_with_the_querys_words_first(void **state)
{
    world *w = *state;
    probe *p = request(w, "/v1/rerank",
                       "{\"model\":\"simulated\",\"query\":\"green lamp\",\"top_n\":2,"
                       "\"documents\":[\"a red bell\",\"the green lamp\",\"a green line\"]}");
    run_all(w);
    const char *one = strstr(text(p), "\"index\":1"), *two = strstr(text(p), "\"index\":2");
    assert_true(one != NULL && two != NULL && one < two);
    assert_int_equal(occurrences(p, "\"index\":0"), 0);
}

/* ---- refusals ---- */

static void what_is_not_json_is_refused(void **state)
{
    world *w = *state;
    probe *p = chat(w, "{\"model\":");
    run_all(w);
    assert_int_equal(p->status, 400);
    assert_int_equal(occurrences(p, "\"error\""), 1);
}

static void an_unknown_model_is_404(void **state)
{
    world *w = *state;
    probe *p = chat(w, "{\"model\":\"other\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    run_all(w);
    assert_int_equal(p->status, 404);
    assert_int_equal(occurrences(p, "model_not_found"), 1);
}

static void a_prompt_beyond_the_context_is_400(void **state)
{
    world *w = *state;
    sbx_sim_options options = *sbx_sim_engine_options(w->engine);
    options.max_context = 5;
    sbx_sim_engine_configure(w->engine, &options);
    probe *p = chat(w, BUFFERED(""));
    run_all(w);
    assert_int_equal(p->status, 400);
    assert_int_equal(occurrences(p, "context_length_exceeded"), 1);
}

/* ---- places ---- */

static void a_request_beyond_capacity_waits_for_a_place(void **state)
{
    world *w = *state;
    probe *first = chat(w, BUFFERED(",\"max_tokens\":1"));
    chat(w, BUFFERED(",\"max_tokens\":100"));
    probe *third = chat(w, BUFFERED(",\"max_tokens\":1"));
    run_until(w, w->now);
    assert_int_equal(sbx_sim_engine_load(w->engine).active, 2);
    assert_int_equal(sbx_sim_engine_load(w->engine).waiting, 1);
    run_all(w);
    assert_int_equal(third->status, 200);
    assert_int_equal(third->over_at - first->over_at, SBX_MS(TTFT_MS));
    assert_int_equal(sbx_sim_engine_load(w->engine).active, 0);
}

static void a_request_beyond_the_queue_is_told_busy_at_once(void **state)
{
    world *w = *state;
    for (int i = 0; i < 3; i++)
        chat(w, BUFFERED(""));
    probe *p = chat(w, BUFFERED(""));
    run_until(w, w->now);
    assert_true(p->is_ended);
    assert_int_equal(p->status, 503);
    assert_int_equal(p->retry_after_s, 1);
    assert_int_equal(occurrences(p, "server busy"), 1);
}

static void a_request_that_waited_too_long_is_told_busy(void **state)
{
    world *w = *state;
    chat(w, BUFFERED(",\"max_tokens\":10000,\"ignore_eos\":true"));
    chat(w, BUFFERED(",\"max_tokens\":10000,\"ignore_eos\":true"));
    sbx_time_ns began = w->now;
    probe *p = chat(w, BUFFERED(""));
    run_until(w, began + SBX_SEC(6));
    assert_int_equal(p->status, 503);
    assert_int_equal(p->over_at - began, SBX_SEC(5));
    assert_int_equal(sbx_sim_engine_load(w->engine).waiting, 0);
}

static void a_cancelled_run_gives_its_place_to_the_next(void **state)
{
    world *w = *state;
    probe *first = chat(w, BUFFERED(""));
    chat(w, BUFFERED(",\"max_tokens\":10000,\"ignore_eos\":true"));
    probe *third = chat(w, BUFFERED(",\"max_tokens\":1"));
    run_until(w, w->now);
    sbx_sim_run_cancel(first->run);
    first->run = NULL;
    sbx_time_ns then = w->now;
    run_until(w, then + SBX_MS(TTFT_MS));
    assert_true(third->is_ended);
    assert_false(first->has_head);
}

static void a_run_may_be_cancelled_from_its_own_callback(void **state)
{
    world *w = *state;
    probe *p = chat(w, STREAMING(""));
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
    world *w = *state;
    probe *p = chat(w, STREAMING(",\"max_tokens\":3"));
    run_until(w, w->now);
    sbx_sim_run_pause(p->run);
    run_until(w, w->now + SBX_SEC(1));
    assert_int_equal(p->pieces, 1);
    sbx_sim_run_resume(p->run);
    run_all(w);
    assert_true(p->is_ended);
}

/* ---- faults ---- */

static void a_fault_that_answers_replaces_the_whole_answer(void **state)
{
    world *w = *state;
    fault(w, SBX_SIM_FAULT_ERROR_429, -1, -1);
    probe *p = chat(w, STREAMING(""));
    run_until(w, w->now);
    assert_true(p->is_ended);
    assert_int_equal(p->status, 429);
    assert_int_equal(p->retry_after_s, 1);
}

static void a_hang_before_the_head_says_nothing_and_keeps_its_place(void **state)
{
    world *w = *state;
    fault(w, SBX_SIM_FAULT_HANG_BEFORE_HEAD, -1, -1);
    probe *p = chat(w, STREAMING(""));
    run_all(w);
    assert_false(p->has_head);
    assert_false(p->is_over);
    assert_int_equal(sbx_sim_engine_load(w->engine).active, 1);
}

static void after_bytes_sends_exactly_that_many(void **state)
{
    world *w = *state;
    fault(w, SBX_SIM_FAULT_RESET_AFTER_BYTES, 300, -1);
    probe *p = chat(w, STREAMING(""));
    run_all(w);
    assert_true(p->is_broken);
    assert_int_equal(p->effect, SBX_SIM_RESET);
    assert_int_equal(p->body.len, 300);
}

static void after_0_bytes_sends_the_head_alone(void **state)
{
    world *w = *state;
    fault(w, SBX_SIM_FAULT_HANG_AFTER_BYTES, 0, -1);
    probe *p = chat(w, STREAMING(""));
    run_all(w);
    assert_true(p->has_head);
    assert_int_equal(p->pieces, 0);
    assert_false(p->is_over);
}

static void after_tokens_sends_exactly_that_many(void **state)
{
    world *w = *state;
    fault(w, SBX_SIM_FAULT_CUT, -1, 3);
    probe *p = chat(w, STREAMING(""));
    run_all(w);
    assert_int_equal(p->effect, SBX_SIM_CUT);
    assert_int_equal(occurrences(p, "\"content\":\" "), 3);
}

static void after_0_tokens_sends_the_role_alone(void **state)
{
    world *w = *state;
    fault(w, SBX_SIM_FAULT_CUT, -1, 0);
    probe *p = chat(w, STREAMING(""));
    run_all(w);
    assert_true(p->is_broken);
    assert_int_equal(occurrences(p, "\"role\""), 1);
    assert_int_equal(occurrences(p, "\"content\":\" "), 0);
}

static void a_buffered_answer_breaks_off_in_the_middle(void **state)
{
    world *w = *state;
    fault(w, SBX_SIM_FAULT_CUT, -1, -1);
    probe *p = chat(w, BUFFERED(",\"max_tokens\":5"));
    run_all(w);
    assert_true(p->is_broken);
    assert_in_range(p->body.len, 100, 300);
}

static void a_crash_after_tokens_waits_for_them(void **state)
{
    world *w = *state;
    fault(w, SBX_SIM_FAULT_CRASH, -1, 2);
    probe *p = chat(w, STREAMING(""));
    run_all(w);
    assert_int_equal(p->effect, SBX_SIM_CRASH);
    assert_int_equal(occurrences(p, "\"content\":\" "), 2);
}

static void no_done_leaves_out_done_alone(void **state)
{
    world *w = *state;
    fault(w, SBX_SIM_FAULT_NO_DONE, -1, -1);
    probe *p = chat(w, STREAMING(",\"max_tokens\":2"));
    run_all(w);
    assert_true(p->is_ended);
    assert_int_equal(occurrences(p, "[DONE]"), 0);
    assert_int_equal(occurrences(p, "\"finish_reason\":\"length\""), 1);
}

static void no_finish_leaves_out_both(void **state)
{
    world *w = *state;
    fault(w, SBX_SIM_FAULT_NO_FINISH, -1, -1);
    probe *p = chat(w, STREAMING(",\"max_tokens\":2"));
    run_all(w);
    assert_true(p->is_ended);
    assert_int_equal(occurrences(p, "[DONE]"), 0);
    assert_int_equal(occurrences(p, "\"finish_reason\":\""), 0);
}

static void role_only_chunks_come_for_ever(void **state)
{
    world *w = *state;
    fault(w, SBX_SIM_FAULT_ROLE_ONLY, -1, -1);
    probe *p = chat(w, STREAMING(""));
    run_until(w, w->now + SBX_SEC(5));
    assert_true(occurrences(p, "\"role\"") > 20);
    assert_int_equal(occurrences(p, "\"content\":\" "), 0);
    assert_false(p->is_over);
}

static void slow_multiplies_every_wait(void **state)
{
    world *w = *state;
    fault(w, SBX_SIM_FAULT_SLOW, -1, -1);
    sbx_time_ns began = w->now;
    probe *p = chat(w, STREAMING(",\"max_tokens\":2"));
    run_all(w);
    assert_int_equal(p->over_at - began, SBX_MS(10 * (TTFT_MS + GAP_MS)));
}

static void an_error_in_the_stream_ends_it_without_done(void **state)
{
    world *w = *state;
    fault(w, SBX_SIM_FAULT_ERROR_IN_STREAM, -1, 2);
    probe *p = chat(w, STREAMING(""));
    run_all(w);
    assert_true(p->is_ended);
    assert_int_equal(occurrences(p, "data: {\"error\""), 1);
    assert_int_equal(occurrences(p, "[DONE]"), 0);
}

static void a_loading_engine_says_so(void **state)
{
    world *w = *state;
    sbx_sim_engine_set_loading(w->engine, true);
    probe *p = chat(w, BUFFERED(""));
    run_all(w);
    assert_int_equal(p->status, 503);
    assert_int_equal(occurrences(p, "Loading model"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
        TEST(a_fault_that_answers_replaces_the_whole_answer),
        TEST(a_hang_before_the_head_says_nothing_and_keeps_its_place),
        TEST(after_bytes_sends_exactly_that_many),
        TEST(after_0_bytes_sends_the_head_alone),
        TEST(after_tokens_sends_exactly_that_many),
        TEST(after_0_tokens_sends_the_role_alone),
        TEST(a_buffered_answer_breaks_off_in_the_middle),
        TEST(a_crash_after_tokens_waits_for_them),
        TEST(no_done_leaves_out_done_alone),
        TEST(no_finish_leaves_out_both),
        TEST(role_only_chunks_come_for_ever),
        TEST(slow_multiplies_every_wait),
        TEST(an_error_in_the_stream_ends_it_without_done),
        TEST(a_loading_engine_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
