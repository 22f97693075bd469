/* The simulated engine over real sockets: what a client of ours makes of its faults, and what its log says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include <cmocka.h>

#include "base/buf.h"
#include "net/http_client.h"
#include "worker/sim_server.h"

/* One request at a time, and all that came of it. */
typedef struct world {
    sbx_loop *loop;
    sbx_sim_server *server;
    sbx_http_upstream *upstream;
    sbx_http_call *call;
    unsigned status;
    char content_type[64], retry_after[8];
    sbx_buf body;
    bool is_over, has_failed;
    sbx_outcome outcome;
    size_t cancel_after; /* bytes of body; 0: never */
    sbx_timer limit;
} world;

static void copy_header(const sbx_http_head *head, const char *name, char *ret_text, size_t size)
{
    sbx_view value = sbx_http_head_get(head, name);
    snprintf(ret_text, size, "%.*s", SBX_VIEW_ARG(value));
}

static void on_sent(void *user)
{
    (void)user;
}

static void on_head(void *user, const sbx_http_head *head)
{
    world *w = user;
    w->status = head->status;
    copy_header(head, "content-type", w->content_type, sizeof(w->content_type));
    copy_header(head, "retry-after", w->retry_after, sizeof(w->retry_after));
}

static void over(world *w)
{
    w->is_over = true;
    sbx_loop_stop(w->loop);
}

static void on_body(void *user, sbx_view bytes)
{
    world *w = user;
    sbx_buf_append_view(&w->body, bytes);
    if (w->cancel_after == 0 || w->body.len < w->cancel_after)
        return;
    sbx_http_call_cancel(w->call);
    over(w);
}

static void on_end(void *user)
{
    over(user);
}

static void on_fail(void *user, sbx_outcome outcome, const char *detail)
{
    world *w = user;
    (void)detail;
    w->has_failed = true;
    w->outcome = outcome;
    over(w);
}

static const sbx_http_call_events events = {
    .on_sent = on_sent, .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail};

static void on_limit(sbx_timer *timer, void *user)
{
    (void)timer;
    sbx_loop_stop(((world *)user)->loop);
}

static void run_for(world *w, long ms)
{
    sbx_timer_start(&w->limit, (sbx_time_ns)uv_hrtime() + SBX_MS(ms));
    sbx_loop_run(w->loop);
    sbx_timer_stop(&w->limit);
}

/* Asks, and waits for the end, or (when it hangs) for ms. */
static void ask_for(world *w, const char *method, const char *path, const char *body, long ms)
{
    sbx_http_header header = {SBX_VIEW("X-Check"), SBX_VIEW("Yes")};
    sbx_view bytes = sbx_view_cstr(body);
    sbx_http_call_params params = {.method = method,
                                   .target = sbx_view_cstr(path),
                                   .headers = &header,
                                   .header_count = 1,
                                   .body = &bytes,
                                   .body_count = body == NULL ? 0 : 1};
    sbx_buf_clear(&w->body);
    w->is_over = w->has_failed = false;
    w->status = 0;
    assert_int_equal(sbx_http_call_start(w->upstream, &params, &events, w, &w->call), SBX_OK);
    run_for(w, ms);
    if (!w->is_over)
        sbx_http_call_cancel(w->call);
}

static void ask(world *w, const char *method, const char *path, const char *body)
{
    ask_for(w, method, path, body, 2000);
    assert_true(w->is_over);
}

static bool says(const world *w, const char *part)
{
    return sbx_view_contains(sbx_buf_view(&w->body), sbx_view_cstr(part));
}

#define CHAT        "{\"model\":\"m1\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define CHAT_SHA256 "d7e83f04728540204b8156e7b3c9a8ae703a5902397c149fb213128fa8fe355c"
#define STREAM                                                                                               \
    "{\"stream\":true,\"model\":\"m1\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":"       \
    "\"hi\"}]}"

static void chat(world *w, const char *body)
{
    ask(w, "POST", "/v1/chat/completions", body);
}

static void fault(world *w, const char *order)
{
    ask(w, "POST", "/sim/faults", order);
    assert_int_equal(w->status, 200);
}

static int setup(void **state)
{
    static const char *const models[] = {"m1", "m2"};
    world *w = calloc(1, sizeof(*w));
    sbx_sim_server_options options = {.host = "127.0.0.1", .engine = sbx_sim_options_default()};
    sbx_errinfo info = {.text = ""};
    options.engine.models = models;
    options.engine.model_count = 2;
    options.engine.ttft_ms = 5;
    options.engine.tps = 1000;
    sbx_loop_new(&w->loop);
    sbx_buf_init(&w->body, SIZE_MAX);
    sbx_timer_init(&w->limit, w->loop, on_limit, w);
    assert_int_equal(sbx_sim_server_new(w->loop, &options, &w->server, &info), SBX_OK);
    sbx_http_upstream_options upstream = {.host = "127.0.0.1",
                                          .port = sbx_sim_server_port(w->server),
                                          .max_idle = 4,
                                          .idle_timeout_ns = SBX_SEC(10),
                                          .connect_timeout_ns = SBX_SEC(1),
                                          .max_head_bytes = SBX_HTTP_MAX_HEAD_BYTES};
    assert_int_equal(sbx_http_upstream_new(w->loop, &upstream, &w->upstream), SBX_OK);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    sbx_http_upstream_free(w->upstream);
    sbx_sim_server_free(w->server);
    sbx_loop_free(w->loop);
    sbx_buf_deinit(&w->body);
    free(w);
    return 0;
}

/* ---- answers ---- */

static void it_answers_chat_models_and_health(void **state)
{
    world *w = *state;
    chat(w, CHAT);
    assert_int_equal(w->status, 200);
    assert_true(says(w, "\"chat.completion\""));
    ask(w, "GET", "/v1/models", NULL);
    assert_true(says(w, "\"id\":\"m1\"") && says(w, "\"id\":\"m2\""));
    ask(w, "GET", "/v1/models/m2", NULL);
    assert_int_equal(w->status, 200);
    ask(w, "GET", "/v1/models/m3", NULL);
    assert_int_equal(w->status, 404);
    ask(w, "GET", "/health", NULL);
    assert_int_equal(w->status, 200);
}

static void a_wrong_method_is_405_and_a_wrong_path_404(void **state)
{
    world *w = *state;
    ask(w, "GET", "/v1/chat/completions", NULL);
    assert_int_equal(w->status, 405);
    ask(w, "POST", "/v1/images", CHAT);
    assert_int_equal(w->status, 404);
}

/* ---- faults as a client sees them ---- */

static void a_reset_is_a_reset(void **state)
{
    world *w = *state;
    fault(w, "{\"fault\":\"reset_after_bytes\",\"after_bytes\":100}");
    chat(w, STREAM);
    assert_true(w->has_failed);
    assert_int_equal(w->outcome, SBX_OUTCOME_RESET);
    assert_int_equal(w->body.len, 100);
}

static void a_cut_is_an_answer_that_is_not_complete(void **state)
{
    world *w = *state;
    fault(w, "{\"fault\":\"cut\",\"after_bytes\":100}");
    chat(w, STREAM);
    assert_int_equal(w->outcome, SBX_OUTCOME_RESET);
    assert_int_equal(w->body.len, 100);
}

static void garbage_is_malformed(void **state)
{
    world *w = *state;
    fault(w, "{\"fault\":\"garbage\",\"count\":1}");
    chat(w, STREAM);
    assert_int_equal(w->outcome, SBX_OUTCOME_MALFORMED);
    assert_int_equal(w->status, 0);
    fault(w, "{\"fault\":\"malformed_chunk\",\"count\":1}");
    chat(w, STREAM);
    assert_int_equal(w->outcome, SBX_OUTCOME_MALFORMED);
    assert_int_equal(w->status, 200);
}

static void a_hang_says_nothing_more(void **state)
{
    world *w = *state;
    fault(w, "{\"fault\":\"hang_after_bytes\",\"after_tokens\":1}");
    ask_for(w, "POST", "/v1/chat/completions", STREAM, 150);
    assert_false(w->is_over);
    assert_int_equal(w->status, 200);
    assert_false(says(w, "[DONE]"));
}

static void busy_names_when_to_come_again(void **state)
{
    world *w = *state;
    fault(w, "{\"fault\":\"busy\"}");
    chat(w, CHAT);
    assert_int_equal(w->status, 503);
    assert_string_equal(w->retry_after, "1");
}

static void a_fault_may_concern_health_alone(void **state)
{
    world *w = *state;
    fault(w, "{\"fault\":\"error_500\",\"path\":\"/health\"}");
    ask(w, "GET", "/health", NULL);
    assert_int_equal(w->status, 500);
    chat(w, CHAT);
    assert_int_equal(w->status, 200);
}

static void an_order_it_does_not_know_is_refused(void **state)
{
    world *w = *state;
    ask(w, "POST", "/sim/faults", "{\"fault\":\"nonsense\"}");
    assert_int_equal(w->status, 400);
    ask(w, "POST", "/sim/faults", "{\"fault\":\"cut\",\"whatever\":1}");
    assert_int_equal(w->status, 400);
    ask(w, "POST", "/sim/faults", "cut");
    assert_int_equal(w->status, 400);
    ask(w, "GET", "/sim/faults", NULL);
    assert_true(says(w, "\"orders\":[]"));
}

/* ---- the log ---- */

static void the_log_says_what_came_and_what_went(void **state)
{
    world *w = *state;
    char bytes[40];
    chat(w, CHAT);
    snprintf(bytes, sizeof(bytes), "\"bytes_sent\":%zu,", w->body.len);
    ask(w, "GET", "/sim/log", NULL);
    assert_true(says(w, "\"path\":\"/v1/chat/completions\""));
    assert_true(says(w, "[\"X-Check\",\"Yes\"]"));
    assert_true(says(w, "\"body_sha256\":\"" CHAT_SHA256 "\""));
    assert_true(says(w, bytes));
    assert_true(says(w, "\"tokens\":5,\"finished\":true,\"aborted\":false"));
    ask(w, "GET", "/sim/body", NULL);
    assert_true(sbx_view_eq(sbx_buf_view(&w->body), SBX_VIEW(CHAT)));
}

static void the_log_says_who_left_early(void **state)
{
    world *w = *state;
    w->cancel_after = 300;
    chat(w, "{\"stream\":true,\"model\":\"m1\",\"max_tokens\":5000,\"ignore_eos\":true,"
            "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    w->cancel_after = 0;
    run_for(w, 30);
    ask(w, "GET", "/sim/log", NULL);
    assert_true(says(w, "\"finished\":false,\"aborted\":true"));
    assert_true(says(w, "\"aborted_after_ms\":"));
    ask(w, "GET", "/sim/load", NULL);
    assert_true(says(w, "\"active\":0"));
}

static void the_log_shows_one_path_or_what_is_new(void **state)
{
    world *w = *state;
    chat(w, CHAT);
    ask(w, "GET", "/health", NULL);
    ask(w, "GET", "/sim/log?path=/health", NULL);
    assert_true(says(w, "/health") && !says(w, "/v1/chat"));
    ask(w, "GET", "/sim/log?since=2", NULL);
    assert_true(says(w, "\"requests\":[]"));
    ask(w, "DELETE", "/sim/log", NULL);
    ask(w, "GET", "/sim/log", NULL);
    assert_true(says(w, "\"total\":0"));
}

/* ---- configuration ---- */

static void speed_models_and_state_change_at_run_time(void **state)
{
    world *w = *state;
    ask(w, "POST", "/sim/config", "{\"tps\":7,\"models\":[\"x\"],\"state\":\"loading\"}");
    assert_true(says(w, "\"tps\":7") && says(w, "\"models\":[\"x\"]"));
    ask(w, "GET", "/v1/models", NULL);
    assert_int_equal(w->status, 503);
    assert_true(says(w, "Loading model"));
    ask(w, "POST", "/sim/config", "{\"tps\":\"fast\"}");
    assert_int_equal(w->status, 400);
}

static void reset_goes_back_to_the_start(void **state)
{
    world *w = *state;
    fault(w, "{\"fault\":\"error_500\"}");
    ask(w, "POST", "/sim/config", "{\"models\":[\"x\"],\"state\":\"loading\"}");
    ask(w, "POST", "/sim/reset", NULL);
    chat(w, CHAT);
    assert_int_equal(w->status, 200);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_answers_chat_models_and_health),
        TEST(a_wrong_method_is_405_and_a_wrong_path_404),
        TEST(a_reset_is_a_reset),
        TEST(a_cut_is_an_answer_that_is_not_complete),
        TEST(garbage_is_malformed),
        TEST(a_hang_says_nothing_more),
        TEST(busy_names_when_to_come_again),
        TEST(a_fault_may_concern_health_alone),
        TEST(an_order_it_does_not_know_is_refused),
        TEST(the_log_says_what_came_and_what_went),
        TEST(the_log_says_who_left_early),
        TEST(the_log_shows_one_path_or_what_is_new),
        TEST(speed_models_and_state_change_at_run_time),
        TEST(reset_goes_back_to_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
