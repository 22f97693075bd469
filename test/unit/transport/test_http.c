/* Kind http: exactly what goes to a backend, and what becomes of answers that HTTP itself makes strange. What
 * all kinds have in common is in test/conformance. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "net/http_server.h"
#include "transport/http.h"

/* ---- a backend that writes down what it gets, and answers by a script ---- */

typedef struct world {
    sbx_loop *loop;
    sbx_http_server *http;
    uint16_t port;
    sbx_peer *peer;
    sbx_buf seen; /* "POST /x\nname: value\n...\nbody\n" of each request */
    unsigned asked;
    unsigned cut_at; /* this request, counted from 1, loses its connection; 0: none */
    const char *raw; /* these bytes are the answer; NULL: a good one */
    const char *retry_after;
    /* what the call heard */
    unsigned accepted, heads, ends, fails, status;
    sbx_time_ns retry_after_ns;
    sbx_outcome outcome;
    char detail[128];
    sbx_buf body;
    sbx_timer limit;
    bool timed_out;
} world;

static void on_request(void *user, sbx_http_request *request)
{
    world *w = user;
    const sbx_http_head *head = sbx_http_request_head(request);
    sbx_buf_appendf(&w->seen, "%.*s %.*s\n", SBX_VIEW_ARG(head->method), SBX_VIEW_ARG(head->target));
    for (size_t i = 0; i < head->header_count; i++)
        sbx_buf_appendf(&w->seen, "%.*s: %.*s\n", SBX_VIEW_ARG(head->headers[i].name),
                        SBX_VIEW_ARG(head->headers[i].value));
    sbx_buf_append_view(&w->seen, sbx_http_request_body(request));
    sbx_buf_append_cstr(&w->seen, "\n");
    if (++w->asked == w->cut_at) {
        sbx_http_cut(request);
    } else if (w->raw != NULL) {
        assert_int_equal(sbx_http_write_raw(request, sbx_view_cstr(w->raw)), SBX_OK);
        sbx_http_cut(request);
    } else {
        sbx_view body = SBX_VIEW("{}");
        sbx_http_header retry = {SBX_VIEW("Retry-After"), sbx_view_cstr(w->retry_after)};
        size_t count = w->retry_after == NULL ? 0 : 1;
        assert_int_equal(sbx_http_respond(request, 200, &retry, count, &body, 1), SBX_OK);
    }
}

static void on_gone(void *user, sbx_http_request *request)
{
    (void)user;
    (void)request;
}

static sbx_view error_body(void *user, unsigned status, const char *message)
{
    (void)user;
    (void)status;
    return sbx_view_cstr(message);
}

static void start_backend(world *w)
{
    sbx_http_server_options options = {
        .max_connections = 100,
        .max_body_bytes = 1 << 20,
        .max_buffered_bytes = 1 << 20,
        .header_timeout_ns = SBX_SEC(10),
        .body_timeout_ns = SBX_SEC(10),
        .keep_alive_timeout_ns = SBX_SEC(10),
        .write_timeout_ns = SBX_SEC(10),
        .high_water_bytes = 1 << 16,
        .arena_cap_bytes = 1 << 16,
    };
    sbx_http_handler handler = {
        .on_request = on_request, .on_gone = on_gone, .error_body = error_body, .user = w};
    sbx_errinfo info;
    assert_int_equal(sbx_http_server_new(w->loop, &options, &handler, &w->http), SBX_OK);
    assert_int_equal(sbx_http_server_listen(w->http, "127.0.0.1", 0, &w->port, &info), SBX_OK);
}

static void use_peer(world *w, const char *prefix, const char *api_key)
{
    sbx_http_peer_options options = {.host = "127.0.0.1",
                                     .port = w->port,
                                     .path_prefix = prefix,
                                     .api_key = api_key,
                                     .max_concurrent = 4,
                                     .connect_timeout_ns = SBX_SEC(1)};
    assert_int_equal(sbx_http_peer_new(w->loop, &options, &w->peer), SBX_OK);
}

static void on_limit(sbx_timer *timer, void *user)
{
    world *w = user;
    (void)timer;
    w->timed_out = true;
    sbx_loop_stop(w->loop);
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(sbx_loop_new(&w->loop), SBX_OK);
    sbx_timer_init(&w->limit, w->loop, on_limit, w);
    sbx_buf_init(&w->seen, SIZE_MAX);
    sbx_buf_init(&w->body, SIZE_MAX);
    start_backend(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    if (w->peer != NULL)
        w->peer->kind->free_peer(w->peer);
    sbx_http_server_free(w->http);
    sbx_loop_free(w->loop);
    sbx_buf_deinit(&w->seen);
    sbx_buf_deinit(&w->body);
    free(w);
    return 0;
}

/* ---- a call ---- */

static void on_accepted(void *user)
{
    ((world *)user)->accepted++;
}

static void on_progress(void *user)
{
    (void)user;
    fail();
}

static void on_head(void *user, const sbx_answer_head *head)
{
    world *w = user;
    w->heads++;
    w->status = head->status;
    w->retry_after_ns = head->retry_after_ns;
}

static void on_data(void *user, sbx_view bytes)
{
    sbx_buf_append_view(&((world *)user)->body, bytes);
}

static void on_end(void *user)
{
    world *w = user;
    w->ends++;
    sbx_loop_stop(w->loop);
}

static void on_fail(void *user, sbx_outcome outcome, sbx_time_ns retry_after_ns, const char *detail)
{
    world *w = user;
    (void)retry_after_ns;
    w->fails++;
    w->outcome = outcome;
    snprintf(w->detail, sizeof w->detail, "%s", detail);
    sbx_loop_stop(w->loop);
}

static const sbx_transport_events events = {
    .on_accepted = on_accepted,
    .on_progress = on_progress,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_fail = on_fail,
};

static void ask(world *w, bool streaming, const char *traceparent)
{
    sbx_transport_call *call = NULL;
    const sbx_view body = SBX_VIEW("{\"model\":\"m\"}");
    sbx_transport_request request = {
        .path = SBX_VIEW("/v1/chat/completions"),
        .streaming = streaming,
        .body = &body,
        .body_count = 1,
        .request_id = SBX_VIEW("0123456789abcdef0123456789abcdef"),
        .attempt = 1,
        .traceparent = sbx_view_cstr(traceparent),
        .budget_ns = SBX_SEC(10),
    };
    assert_int_equal(w->peer->kind->start(w->peer, &request, &events, w, &call), SBX_OK);
    sbx_timer_start(&w->limit, sbx_loop_now(w->loop) + SBX_SEC(3));
    sbx_loop_run(w->loop);
    sbx_timer_stop(&w->limit);
    assert_false(w->timed_out);
}

static void expect_seen(const world *w, const char *format)
{
    char wanted[1024], found[1024];
    snprintf(wanted, sizeof wanted, format, (unsigned)w->port);
    assert_int_equal(sbx_view_to_cstr(sbx_buf_view(&w->seen), found, sizeof found), SBX_OK);
    assert_string_equal(found, wanted);
}

/* ---- what goes out ---- */

static void a_backend_gets_exactly_these_headers(void **state)
{
    world *w = *state;
    use_peer(w, "", /* api_key: */ NULL);
    ask(w, /* streaming: */ false, /* traceparent: */ NULL);
    expect_seen(w, "POST /v1/chat/completions\n"
                   "host: 127.0.0.1:%u\n"
                   "content-type: application/json\n"
                   "accept: application/json\n"
                   "accept-encoding: identity\n"
                   "via: 1.1 signalbox\n"
                   "x-request-id: 0123456789abcdef0123456789abcdef\n"
                   "content-length: 13\n"
                   "{\"model\":\"m\"}\n");
    assert_int_equal(w->accepted, 1);
    assert_int_equal(w->ends, 1);
}

static void a_stream_a_trace_and_a_key_add_theirs(void **state)
{
    world *w = *state;
    use_peer(w, "/llm/v1", "secret");
    ask(w, /* streaming: */ true, "00-ab-cd-01");
    expect_seen(w, "POST /llm/v1/chat/completions\n"
                   "host: 127.0.0.1:%u\n"
                   "content-type: application/json\n"
                   "accept: text/event-stream\n"
                   "accept-encoding: identity\n"
                   "via: 1.1 signalbox\n"
                   "x-request-id: 0123456789abcdef0123456789abcdef\n"
                   "traceparent: 00-ab-cd-01\n"
                   "authorization: Bearer secret\n"
                   "content-length: 13\n"
                   "{\"model\":\"m\"}\n");
}

static void a_path_that_is_too_long_is_refused_by_start(void **state)
{
    world *w = *state;
    char path[600];
    sbx_transport_call *call = NULL;
    use_peer(w, "", /* api_key: */ NULL);
    memset(path, 'a', sizeof path);
    path[0] = '/';
    sbx_transport_request request = {.path = sbx_view_of(path, sizeof path), .request_id = SBX_VIEW("x")};
    assert_int_not_equal(w->peer->kind->start(w->peer, &request, &events, w, &call), SBX_OK);
    assert_null(call);
}

/* ---- what comes back ---- */

static void retry_after_counts_in_seconds_only(void **state)
{
    static const struct {
        const char *text;
        sbx_time_ns wanted;
    } cases[] = {
        {NULL, -1},
        {"7", SBX_SEC(7)},
        {"0", 0},
        {"-1", -1},
        {"1.5", -1},
        {"Wed, 21 Oct 2026 07:28:00 GMT", -1},
        {"99999999999999999999", -1},
    };
    world *w = *state;
    use_peer(w, "", /* api_key: */ NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        w->retry_after = cases[i].text;
        ask(w, /* streaming: */ false, /* traceparent: */ NULL);
        assert_int_equal(w->retry_after_ns, cases[i].wanted);
    }
}

static void an_answer_that_is_no_http_is_malformed(void **state)
{
    static const char *const answers[] = {
        "hello\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    };
    world *w = *state;
    use_peer(w, "", /* api_key: */ NULL);
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        w->raw = answers[i];
        w->outcome = SBX_OUTCOME_OK;
        ask(w, /* streaming: */ false, /* traceparent: */ NULL);
        assert_string_equal(sbx_outcome_name(w->outcome), "malformed");
        assert_int_equal(w->fails, i + 1);
        assert_int_not_equal(w->detail[0], '\0');
    }
    assert_int_equal(w->ends, 0);
}

static void an_answer_that_ends_with_its_connection_is_whole(void **state)
{
    world *w = *state;
    use_peer(w, "", /* api_key: */ NULL);
    w->raw = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"a\":1}";
    ask(w, /* streaming: */ false, /* traceparent: */ NULL);
    assert_int_equal(w->ends, 1);
    assert_true(sbx_view_eq_cstr(sbx_buf_view(&w->body), "{\"a\":1}"));
}

/* ---- keep-alive ---- */

static void a_used_connection_that_was_closed_meanwhile_is_replaced_unseen(void **state)
{
    world *w = *state;
    use_peer(w, "", /* api_key: */ NULL);
    w->cut_at = 2;
    ask(w, /* streaming: */ false, /* traceparent: */ NULL);
    ask(w, /* streaming: */ false, /* traceparent: */ NULL);
    assert_int_equal(w->ends, 2);
    assert_int_equal(w->fails, 0);
    assert_int_equal(w->accepted, 2); /* told once per call, however often it was sent */
    assert_int_equal(w->asked, 3);
}

static void a_fresh_connection_that_is_closed_is_a_reset(void **state)
{
    world *w = *state;
    use_peer(w, "", /* api_key: */ NULL);
    w->cut_at = 1;
    ask(w, /* streaming: */ false, /* traceparent: */ NULL);
    assert_int_equal(w->fails, 1);
    assert_string_equal(sbx_outcome_name(w->outcome), "reset");
    assert_int_equal(w->asked, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_backend_gets_exactly_these_headers),
        TEST(a_stream_a_trace_and_a_key_add_theirs),
        TEST(a_path_that_is_too_long_is_refused_by_start),
        TEST(retry_after_counts_in_seconds_only),
        TEST(an_answer_that_is_no_http_is_malformed),
        TEST(an_answer_that_ends_with_its_connection_is_whole),
        TEST(a_used_connection_that_was_closed_meanwhile_is_replaced_unseen),
        TEST(a_fresh_connection_that_is_closed_is_a_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
