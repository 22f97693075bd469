/* See support_shell.h. */
#include "support_shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "base/log.h"

/* ---- running ---- */

static void on_limit(sbx_timer *timer, void *user)
{
    rig *r = user;
    (void)timer;
    r->timed_out = true;
    sbx_loop_stop(r->loop);
}

static void on_poll(sbx_timer *timer, void *user)
{
    rig *r = user;
    if (r->until != NULL && r->until(r, r->what))
        sbx_loop_stop(r->loop);
    else
        sbx_timer_start(timer, sbx_loop_now(r->loop) + SBX_MS(1));
}

static void run(rig *r, bool (*until)(rig *r, const void *what), const void *what, long ms)
{
    r->until = until;
    r->what = what;
    r->timed_out = false;
    sbx_timer_start(&r->limit, sbx_loop_now(r->loop) + SBX_MS(ms));
    sbx_timer_start(&r->poll, sbx_loop_now(r->loop));
    sbx_loop_run(r->loop);
    sbx_timer_stop(&r->limit);
    sbx_timer_stop(&r->poll);
}

void rig_run_until(rig *r, bool (*until)(rig *, const void *what), const void *what, long limit_ms)
{
    run(r, until, what, limit_ms);
    assert_false(r->timed_out);
}

void rig_run_for(rig *r, long ms)
{
    run(r, /* until: */ NULL, NULL, ms);
}

bool rig_is_over(rig *r, const void *what)
{
    const client *c = what;
    (void)r;
    return c->replies + c->closes > 0;
}

bool rig_has_bytes(rig *r, const void *what)
{
    (void)r;
    return ((const client *)what)->bytes.len > 0;
}

bool rig_was_asked(rig *r, const void *what)
{
    return sbx_fake_peer_call_count(r->peer) >= *(const size_t *)what;
}

/* ---- the rig ---- */

/* Every admitted request leaves one line of level info at its end, and no line shows a prompt. */
static void on_log_line(void *user, sbx_view line)
{
    rig *r = user;
    r->end_lines += sbx_view_contains(line, SBX_VIEW("request_ended")) ? 1 : 0;
    assert_false(sbx_view_contains(line, SBX_VIEW("messages")));
}

void rig_init(rig *r)
{
    *r = (rig){.options = {.policy = sbx_policy_default(), .max_response_bytes = 4 << 20, .seed = 42}};
    r->options.policy.retry.delay_ns = SBX_MS(1);
    r->options.policy.retry.max_delay_ns = SBX_MS(2);
    r->options.policy.max_requests = 1000;
    r->options.policy.max_workers = 16;
    r->options.policy.max_models = 16;
}

static void add_worker(rig *r, const char *id)
{
    const sbx_view models[] = {SBX_VIEW("sim"), SBX_VIEW("other")};
    sbx_shell_report(r->shell, &(sbx_event){.kind = SBX_EVENT_WORKER_SEEN,
                                            .seen = {
                                                .id = sbx_view_cstr(id),
                                                .kind = SBX_WORKER_HTTP,
                                                .peer = r->peer,
                                                .models = models,
                                                .model_count = 2,
                                                .capacity = 1000,
                                                .weight = 100,
                                                .engine = SBX_ENGINE_UP,
                                            }});
}

void rig_open(rig *r, unsigned workers)
{
    static const char *const ids[] = {"w0", "w1", "w2"};
    sbx_log_set_level(SBX_LOG_DEBUG);
    sbx_log_capture(on_log_line, r);
    assert_int_equal(sbx_loop_new(&r->loop), SBX_OK);
    sbx_timer_init(&r->limit, r->loop, on_limit, r);
    sbx_timer_init(&r->poll, r->loop, on_poll, r);
    assert_int_equal(sbx_fake_peer_new(r->loop, &r->peer), SBX_OK);
    assert_int_equal(sbx_shell_new(r->loop, &r->options, &r->shell), SBX_OK);
    for (unsigned i = 0; i < workers; i++)
        add_worker(r, ids[i]);
}

static void expect_no_leftovers(rig *r)
{
    sbx_router_counts counts = sbx_router_counts_of(sbx_shell_router(r->shell));
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(r->shell));
    uint64_t ended = 0;
    for (int i = 0; i <= SBX_END_SHED; i++)
        ended += counts.ended[i];
    assert_int_equal(counts.in_flight, 0);
    assert_int_equal(counts.accepted, ended);
    assert_int_equal(counts.accepted, r->end_lines);
    assert_int_equal(sbx_shell_job_count(r->shell), 0);
    for (size_t i = 0; i < sbx_registry_count(registry); i++)
        assert_int_equal(sbx_worker_describe(sbx_registry_at(registry, i), sbx_shell_now(r->shell)).in_flight,
                         0);
    for (size_t i = 0; i < sbx_fake_peer_call_count(r->peer); i++)
        assert_true(sbx_fake_peer_record(r->peer, i)->is_over);
}

void rig_close(rig *r)
{
    rig_run_for(r, 2);
    expect_no_leftovers(r);
    r->peer->kind->free_peer(r->peer);
    sbx_shell_free(r->shell);
    sbx_loop_free(r->loop);
    sbx_log_capture(NULL, NULL);
}

void rig_script(rig *r, const sbx_fake_step *steps, size_t count)
{
    assert_int_equal(sbx_fake_peer_script(r->peer, steps, count), SBX_OK);
}

sbx_worker_ref rig_worker(rig *r, const char *id)
{
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(r->shell));
    const sbx_worker *worker = sbx_registry_find(registry, sbx_view_cstr(id));
    assert_non_null(worker);
    return sbx_worker_describe(worker, sbx_shell_now(r->shell)).ref;
}

/* ---- clients ---- */

static client *hear(void *user)
{
    client *c = user;
    assert_false(c->is_cancelled);
    assert_int_equal(c->replies + c->closes, 0);
    return c;
}

static void keep(client *c, const sbx_view *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(sbx_buf_append_view(&c->bytes, pieces[i]), SBX_OK);
}

static void keep_head(client *c, const sbx_job_head *head)
{
    assert_int_equal(sbx_view_to_cstr(head->content_type, c->content_type, sizeof c->content_type), SBX_OK);
    assert_int_equal(sbx_view_to_cstr(head->worker_id, c->worker, sizeof c->worker), SBX_OK);
    assert_int_equal(sbx_view_to_cstr(head->request_id, c->request_id, sizeof c->request_id), SBX_OK);
    assert_int_equal(sbx_view_to_cstr(head->metadata, c->metadata, sizeof c->metadata), SBX_OK);
    c->head = (sbx_job_head){.status = head->status,
                             .retry_count = head->retry_count,
                             .hides_routing = head->hides_routing,
                             .retry_after_ns = head->retry_after_ns,
                             .should_retry = head->should_retry};
}

static void on_reply(void *user, const sbx_job_head *head, const sbx_view *pieces, size_t count)
{
    client *c = hear(user);
    assert_int_equal(c->opens, 0);
    keep_head(c, head);
    keep(c, pieces, count);
    c->replies++;
    c->job = NULL;
    if (c->when_reply != NULL)
        c->when_reply(c);
}

static void on_open(void *user, const sbx_job_head *head, const sbx_view *pieces, size_t count)
{
    client *c = hear(user);
    assert_int_equal(c->opens, 0);
    keep_head(c, head);
    keep(c, pieces, count);
    assert_int_equal(sbx_buf_append_view(&c->opened, sbx_buf_view(&c->bytes)), SBX_OK);
    c->opens++;
    if (c->when_open != NULL)
        c->when_open(c);
}

static void on_chunk(void *user, const sbx_view *pieces, size_t count)
{
    client *c = hear(user);
    assert_int_equal(c->opens, 1);
    keep(c, pieces, count);
    c->chunks++;
    if (c->when_chunk != NULL)
        c->when_chunk(c);
}

static void on_close(void *user)
{
    client *c = hear(user);
    assert_int_equal(c->opens, 1);
    c->closes++;
    c->job = NULL;
}

static const sbx_job_events events = {
    .on_reply = on_reply, .on_open = on_open, .on_chunk = on_chunk, .on_close = on_close};

void client_ask(rig *r, client *c, const char *body, void (*change)(sbx_job_params *params))
{
    sbx_errinfo info;
    c->rig = r;
    sbx_arena_init(&c->arena, SIZE_MAX);
    sbx_buf_init(&c->bytes, SIZE_MAX);
    sbx_buf_init(&c->opened, SIZE_MAX);
    assert_int_equal(
        sbx_openai_request_parse(sbx_view_cstr(body), SBX_ENDPOINT_CHAT, &c->arena, &c->request, &info),
        SBX_OK);
    sbx_job_params params = {
        .arena = &c->arena,
        .endpoint = SBX_ENDPOINT_CHAT,
        .path = SBX_VIEW("/v1/chat/completions"),
        .body = sbx_view_cstr(body),
        .request = &c->request,
        .request_id = SBX_VIEW("0123456789abcdef0123456789abcdef"),
        .timeout_ns = SBX_TIME_NEVER,
    };
    if (change != NULL)
        change(&params);
    assert_int_equal(sbx_job_submit(r->shell, &params, &events, c, &c->job), SBX_OK);
}

void client_cancel(client *c)
{
    sbx_job *job = c->job;
    c->job = NULL;
    c->is_cancelled = true;
    sbx_job_cancel(job);
}

void client_forget(client *c)
{
    sbx_arena_deinit(&c->arena);
    sbx_buf_deinit(&c->bytes);
    sbx_buf_deinit(&c->opened);
}

/* ---- what is expected ---- */

static char *text_of(const sbx_buf *buf)
{
    char *text = calloc(1, buf->len + 1);
    assert_non_null(text);
    if (buf->len > 0)
        memcpy(text, sbx_buf_view(buf).data, buf->len);
    return text;
}

void client_expect_bytes(const client *c, const char *wanted)
{
    char *found = text_of(&c->bytes);
    assert_string_equal(found, wanted);
    free(found);
}

void client_expect_reply(const client *c, unsigned status)
{
    assert_int_equal(c->replies, 1);
    assert_int_equal(c->head.status, status);
    assert_int_equal(c->opens + c->chunks + c->closes, 0);
    assert_string_equal(c->request_id, "0123456789abcdef0123456789abcdef");
}

void client_expect_interrupted(const client *c, const char *before)
{
    char *found = text_of(&c->bytes);
    const char *error = found + strlen(before);
    assert_int_equal(strncmp(found, before, strlen(before)), 0);
    assert_int_equal(strncmp(error, "data: ", 6), 0);
    assert_ptr_equal(strstr(error, "\n\n"), error + strlen(error) - 2); /* one event, the last */
    json_expect(error + 6, "error.code", "STREAM_INTERRUPTED");
    assert_int_equal(c->closes, 1);
    free(found);
}

static const cJSON *find(const cJSON *at, const char *path)
{
    char name[64];
    while (at != NULL && *path != '\0') {
        size_t len = strcspn(path, ".");
        assert_true(len < sizeof name);
        memcpy(name, path, len);
        name[len] = '\0';
        at = cJSON_GetObjectItemCaseSensitive(at, name);
        path += len + (path[len] == '.');
    }
    return at;
}

void json_expect(const char *json, const char *path, const char *wanted)
{
    cJSON *tree = cJSON_Parse(json);
    const cJSON *value = find(tree, path);
    if (value == NULL)
        fail_msg("no %s in %s", path, json);
    char *found = cJSON_IsString(value) ? strdup(value->valuestring) : cJSON_PrintUnformatted(value);
    assert_string_equal(found, wanted);
    free(found);
    cJSON_Delete(tree);
}

void client_expect_json(const client *c, const char *path, const char *wanted)
{
    char *text = text_of(&c->bytes);
    json_expect(text, path, wanted);
    free(text);
}
