/* See support_engine.h. */
#include "support_engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/list.h"
#include "net/http_server.h"

enum {
    SEEN_MAX = 4096
};

struct conf_engine {
    sbx_loop *loop;
    sbx_http_server *server; /* NULL once it died */
    uint16_t port;
    conf_answer answer;
    sbx_arena memory; /* of what was seen */
    conf_seen seen[SEEN_MAX];
    size_t seen_count;
    sbx_list jobs; /* job.node */
};

/* A request at work. */
typedef struct job {
    conf_engine *engine;
    sbx_http_request *request;
    size_t seen;
    conf_answer answer;
    uint32_t sent; /* events */
    sbx_timer timer;
    sbx_buf event;
    sbx_list_node node;
} job;

static void free_job(job *j)
{
    sbx_timer_stop(&j->timer);
    sbx_buf_deinit(&j->event);
    sbx_list_remove(&j->node);
    free(j);
}

/* ---- answering ---- */

static size_t headers_of(const conf_answer *answer, sbx_http_header *headers)
{
    static char seconds[16];
    size_t count = 0;
    headers[count++] =
        (sbx_http_header){SBX_VIEW("Content-Type"),
                          answer->is_stream ? SBX_VIEW("text/event-stream") : SBX_VIEW("application/json")};
    if (answer->retry_after_s > 0) {
        snprintf(seconds, sizeof seconds, "%u", answer->retry_after_s);
        headers[count++] = (sbx_http_header){SBX_VIEW("Retry-After"), sbx_view_cstr(seconds)};
    }
    return count;
}

static void finish(job *j)
{
    sbx_http_request *request = j->request;
    switch (j->answer.end) {
    case CONF_END:
        free_job(j);
        sbx_http_end(request);
        return;
    case CONF_HANG:
        return;
    case CONF_CUT:
        free_job(j);
        sbx_http_cut(request);
        return;
    case CONF_RESET:
        free_job(j);
        sbx_http_reset(request);
        return;
    }
}

static void send_events(job *j)
{
    while (j->sent < j->answer.events) {
        sbx_buf_clear(&j->event);
        conf_write_event(&j->event, j->sent++, j->answer.event_len);
        sbx_view piece = sbx_buf_view(&j->event);
        assert_int_equal(sbx_http_write(j->request, &piece, 1), SBX_OK);
        if (j->answer.gap_ns > 0 && j->sent < j->answer.events) {
            sbx_timer_start(&j->timer, sbx_loop_now(j->engine->loop) + j->answer.gap_ns);
            return;
        }
    }
    finish(j);
}

static void on_gap(sbx_timer *timer, void *user)
{
    (void)timer;
    send_events(user);
}

static void answer_stream(job *j)
{
    sbx_http_header headers[4];
    size_t count = headers_of(&j->answer, headers);
    assert_int_equal(sbx_http_start(j->request, j->answer.status, headers, count, NULL, 0), SBX_OK);
    send_events(j);
}

/* Half a body, then what else is to happen. */
static void answer_half(job *j, sbx_view body)
{
    sbx_http_header headers[4];
    size_t count = headers_of(&j->answer, headers);
    sbx_view half = sbx_view_slice(body, 0, body.len / 2);
    assert_int_equal(sbx_http_start(j->request, j->answer.status, headers, count, &half, 1), SBX_OK);
    finish(j);
}

static void answer_whole(job *j)
{
    sbx_http_header headers[4];
    size_t count = headers_of(&j->answer, headers);
    sbx_http_request *request = j->request;
    unsigned status = j->answer.status;
    sbx_view body = j->answer.echoes ? j->engine->seen[j->seen].body : j->answer.body;
    if (j->answer.end != CONF_END) {
        answer_half(j, body);
        return;
    }
    free_job(j);
    assert_int_equal(sbx_http_respond(request, status, headers, count, &body, body.len > 0 ? 1 : 0), SBX_OK);
}

/* ---- requests ---- */

static sbx_view copy_of(conf_engine *engine, sbx_view view)
{
    sbx_view copy = {0};
    assert_int_equal(sbx_arena_dup(&engine->memory, view, &copy), SBX_OK);
    return copy;
}

static size_t remember(conf_engine *engine, const sbx_http_request *request)
{
    const sbx_http_head *head = sbx_http_request_head(request);
    assert_true(engine->seen_count < SEEN_MAX);
    engine->seen[engine->seen_count] = (conf_seen){
        .path = copy_of(engine, head->path),
        .body = copy_of(engine, sbx_http_request_body(request)),
        .request_id = copy_of(engine, sbx_http_head_get(head, "x-request-id")),
        .traceparent = copy_of(engine, sbx_http_head_get(head, "traceparent")),
        .budget_ns = -1,
    };
    return engine->seen_count++;
}

static void answer_aside(sbx_http_request *request)
{
    static const char models[] = "{\"object\":\"list\",\"data\":[{\"id\":\"sim\",\"object\":\"model\"}]}";
    sbx_http_header type = {SBX_VIEW("content-type"), SBX_VIEW("application/json")};
    sbx_view body = sbx_view_cstr(models);
    assert_int_equal(sbx_http_respond(request, 200, &type, 1, &body, 1), SBX_OK);
}

static void on_request(void *user, sbx_http_request *request)
{
    conf_engine *engine = user;
    if (sbx_view_eq_cstr(sbx_http_request_head(request)->method, "GET")) {
        answer_aside(request);
        return;
    }
    job *j = calloc(1, sizeof *j);
    assert_non_null(j);
    *j = (job){.engine = engine, .request = request, .answer = engine->answer};
    j->seen = remember(engine, request);
    sbx_timer_init(&j->timer, engine->loop, on_gap, j);
    sbx_buf_init(&j->event, SIZE_MAX);
    sbx_list_push_back(&engine->jobs, &j->node);
    sbx_http_request_set_user(request, j);
    if (j->answer.is_mute)
        return;
    if (j->answer.is_stream)
        answer_stream(j);
    else
        answer_whole(j);
}

static void on_gone(void *user, sbx_http_request *request)
{
    conf_engine *engine = user;
    job *j = sbx_http_request_user(request);
    engine->seen[j->seen].is_aborted = true;
    free_job(j);
}

static sbx_view error_body(void *user, unsigned status, const char *message)
{
    (void)user;
    (void)status;
    return sbx_view_cstr(message);
}

/* ---- life ---- */

conf_engine *conf_engine_new(sbx_loop *loop)
{
    conf_engine *engine = calloc(1, sizeof *engine);
    assert_non_null(engine);
    engine->loop = loop;
    sbx_arena_init(&engine->memory, SIZE_MAX);
    sbx_list_init(&engine->jobs);
    sbx_http_server_options options = {
        .max_connections = 1000,
        .max_body_bytes = 64 << 20,
        .max_buffered_bytes = 256 << 20,
        .header_timeout_ns = SBX_SEC(30),
        .body_timeout_ns = SBX_SEC(30),
        .keep_alive_timeout_ns = SBX_SEC(60),
        .write_timeout_ns = SBX_SEC(60),
        .high_water_bytes = 64 << 20,
        .arena_cap_bytes = 1 << 20,
    };
    sbx_http_handler handler = {
        .on_request = on_request, .on_gone = on_gone, .error_body = error_body, .user = engine};
    sbx_errinfo info;
    assert_int_equal(sbx_http_server_new(loop, &options, &handler, &engine->server), SBX_OK);
    assert_int_equal(sbx_http_server_listen(engine->server, "127.0.0.1", 0, &engine->port, &info), SBX_OK);
    return engine;
}

void conf_engine_die(conf_engine *engine)
{
    sbx_http_server_free(engine->server);
    engine->server = NULL;
}

void conf_engine_free(conf_engine *engine)
{
    conf_engine_die(engine);
    assert_true(sbx_list_is_empty(&engine->jobs));
    sbx_arena_deinit(&engine->memory);
    free(engine);
}

uint16_t conf_engine_port(const conf_engine *engine)
{
    return engine->port;
}

void conf_engine_answer_with(conf_engine *engine, const conf_answer *answer)
{
    engine->answer = *answer;
}

size_t conf_engine_seen_count(const conf_engine *engine)
{
    return engine->seen_count;
}

conf_seen conf_engine_seen(const conf_engine *engine, size_t index)
{
    assert_true(index < engine->seen_count);
    return engine->seen[index];
}

size_t conf_engine_open_count(const conf_engine *engine)
{
    return engine->server == NULL ? 0 : sbx_http_server_connections(engine->server);
}
