/* Inference pages: an HTTP request becomes a job, and what the job says becomes the HTTP answer. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "codec/error_body.h"
#include "server/reply.h"
#include "shell/job.h"

typedef struct inference {
    sbx_exchange super;
    sbx_server *server;
    sbx_http_request *request;
    sbx_job *job; /* NULL: over */
    sbx_id id;
    sbx_openai_request openai;
} inference;

/* ---- answers ---- */

/* A client's own id is echoed; ours is the identity (metadata, logs, upstream). */
static sbx_view echoed_id(const inference *inf)
{
    return sbx_reply_request_id(inf->request, &inf->id);
}

typedef struct number_texts {
    char retry_count[16];
    char retry_after[24];
} number_texts;

static void add_retry_after(sbx_reply_headers *headers, sbx_time_ns retry_after_ns, number_texts *texts)
{
    if (retry_after_ns < 0)
        return;
    sbx_time_ns seconds = (retry_after_ns + SBX_SEC(1) - 1) / SBX_SEC(1);
    snprintf(texts->retry_after, sizeof texts->retry_after, "%lld", (long long)(seconds > 0 ? seconds : 1));
    sbx_reply_add(headers, SBX_VIEW("retry-after"), sbx_view_cstr(texts->retry_after));
}

static void add_routing(sbx_reply_headers *headers, const sbx_job_head *head, number_texts *texts)
{
    if (head->worker_id.len > 0)
        sbx_reply_add(headers, SBX_VIEW("x-signalbox-worker"), head->worker_id);
    snprintf(texts->retry_count, sizeof texts->retry_count, "%u", head->retry_count);
    sbx_reply_add(headers, SBX_VIEW("x-signalbox-retry-count"), sbx_view_cstr(texts->retry_count));
}

/* texts must live until the headers are written. */
static void add_headers(const inference *inf, const sbx_job_head *head, sbx_reply_headers *headers,
                        number_texts *texts)
{
    sbx_reply_add(headers, SBX_VIEW("content-type"), head->content_type);
    sbx_reply_add(headers, SBX_VIEW("x-request-id"), echoed_id(inf));
    if (head->is_fallback)
        sbx_reply_add(headers, SBX_VIEW("x-signalbox-fallback"), SBX_VIEW("local"));
    if (!head->hides_routing)
        add_routing(headers, head, texts);
    add_retry_after(headers, head->retry_after_ns, texts);
    if (head->should_retry >= 0)
        sbx_reply_add(headers, SBX_VIEW("x-should-retry"),
                      head->should_retry ? SBX_VIEW("true") : SBX_VIEW("false"));
    if (head->metadata.len > 0)
        sbx_reply_add(headers, SBX_VIEW("x-signalbox-metadata"), head->metadata);
    sbx_reply_add_cors(inf->server, inf->request, headers);
}

static void on_reply(void *user, const sbx_job_head *head, const sbx_view *pieces, size_t piece_count)
{
    inference *inf = user;
    sbx_reply_headers headers = {0};
    number_texts texts = {.retry_count = ""};
    inf->job = NULL;
    add_headers(inf, head, &headers, &texts);
    (void)sbx_http_respond(inf->request, head->status, headers.items, headers.count, pieces, piece_count);
}

static void check_pressure(inference *inf)
{
    if (inf->job != NULL && sbx_http_is_full(inf->request))
        sbx_job_pause(inf->job);
}

static void give_up(inference *inf)
{
    sbx_job *job = inf->job;
    inf->job = NULL;
    if (job != NULL)
        sbx_job_cancel(job);
}

static void on_open(void *user, const sbx_job_head *head, const sbx_view *pieces, size_t piece_count)
{
    inference *inf = user;
    sbx_reply_headers headers = {0};
    number_texts texts = {.retry_count = ""};
    add_headers(inf, head, &headers, &texts);
    sbx_reply_add(&headers, SBX_VIEW("cache-control"), SBX_VIEW("no-cache, no-transform"));
    sbx_reply_add(&headers, SBX_VIEW("x-accel-buffering"), SBX_VIEW("no"));
    sbx_err err =
        sbx_http_start(inf->request, head->status, headers.items, headers.count, pieces, piece_count);
    if (err != SBX_OK)
        give_up(inf);
    else
        check_pressure(inf);
}

static void on_chunk(void *user, const sbx_view *pieces, size_t piece_count)
{
    inference *inf = user;
    if (sbx_http_write(inf->request, pieces, piece_count) != SBX_OK)
        give_up(inf);
    else
        check_pressure(inf);
}

static void on_close(void *user)
{
    inference *inf = user;
    inf->job = NULL;
    sbx_http_end(inf->request);
}

static const sbx_job_events job_events = {
    .on_reply = on_reply,
    .on_open = on_open,
    .on_chunk = on_chunk,
    .on_close = on_close,
};

static void on_gone(void *user)
{
    give_up(user);
}

static void on_drained(void *user)
{
    inference *inf = user;
    if (inf->job != NULL)
        sbx_job_resume(inf->job);
}

/* ---- requests ---- */

/* Absent: no limit but our own. 1 ms to 24 h. */
static sbx_err timeout_of(const sbx_http_head *head, sbx_time_ns *ret_timeout)
{
    uint64_t milliseconds = 0;
    sbx_view value = sbx_http_head_get(head, "x-request-timeout-ms");
    *ret_timeout = SBX_TIME_NEVER;
    if (value.data == NULL)
        return SBX_OK;
    sbx_err err = sbx_view_to_u64(value, UINT64_C(24) * 3600 * 1000, &milliseconds);
    if (err != SBX_OK || milliseconds == 0)
        return SBX_E_RANGE;
    *ret_timeout = SBX_MS((sbx_time_ns)milliseconds);
    return SBX_OK;
}

static uint64_t key_hash_of(const sbx_server *server, const sbx_http_head *head)
{
    sbx_view key = sbx_http_head_get(head, "authorization");
    return key.len == 0 ? 0 : sbx_siphash(server->hash_key, key.data, key.len) | 1;
}

static bool is_traceparent(sbx_view value)
{
    return value.len == 55 && value.data[2] == '-' && value.data[35] == '-' && value.data[52] == '-';
}

static sbx_job_params params_of(inference *inf, sbx_endpoint endpoint, sbx_time_ns timeout)
{
    const sbx_http_head *head = sbx_http_request_head(inf->request);
    sbx_view traceparent = sbx_http_head_get(head, "traceparent");
    return (sbx_job_params){
        .arena = sbx_http_request_arena(inf->request),
        .endpoint = endpoint,
        .path = sbx_view_cstr(sbx_endpoint_path(endpoint)),
        .body = sbx_http_request_body(inf->request),
        .request = &inf->openai,
        .request_id = sbx_id_view(&inf->id),
        .traceparent = is_traceparent(traceparent) ? traceparent : (sbx_view){0},
        .session_id = sbx_http_head_get(head, "x-session-id"),
        .key_hash = key_hash_of(inf->server, head),
        .timeout_ns = timeout,
        .wants_metadata_chunk =
            sbx_view_eq_nocase(sbx_http_head_get(head, "x-signalbox-metadata"), SBX_VIEW("true")),
    };
}

static bool is_json(const sbx_http_head *head)
{
    sbx_view type = sbx_http_head_get(head, "content-type");
    return type.data == NULL || sbx_view_contains_nocase(type, SBX_VIEW("json"));
}

static void refuse(sbx_server *server, sbx_http_request *request, sbx_err err, const sbx_errinfo *info)
{
    if (err == SBX_E_NOMEM)
        sbx_reply_error(server, request, SBX_API_INTERNAL_ERROR, /* message: */ NULL);
    else
        sbx_reply_invalid(server, request, info->text, info->param);
}

static void start(sbx_server *server, sbx_http_request *request, sbx_endpoint endpoint)
{
    const sbx_http_head *head = sbx_http_request_head(request);
    sbx_arena *arena = sbx_http_request_arena(request);
    sbx_time_ns timeout;
    sbx_errinfo info = {.text = ""};
    inference *inf = SBX_ARENA_NEW(arena, inference);
    if (inf == NULL) {
        sbx_reply_error(server, request, SBX_API_INTERNAL_ERROR, /* message: */ NULL);
        return;
    }
    *inf = (inference){
        .super = {.on_gone = on_gone, .on_drained = on_drained}, .server = server, .request = request};
    sbx_id_make(&server->rng, &inf->id);
    if (!is_json(head)) {
        sbx_reply_error(server, request, SBX_API_UNSUPPORTED_MEDIA_TYPE, /* message: */ NULL);
        return;
    }
    if (timeout_of(head, &timeout) != SBX_OK) {
        sbx_reply_invalid(server, request, "x-request-timeout-ms: expected a number from 1 to 86400000",
                          /* param: */ NULL);
        return;
    }
    sbx_err err =
        sbx_openai_request_parse(sbx_http_request_body(request), endpoint, arena, &inf->openai, &info);
    if (err != SBX_OK) {
        refuse(server, request, err, &info);
        return;
    }
    sbx_job_params params = params_of(inf, endpoint, timeout);
    if (sbx_job_submit(server->shell, &params, &job_events, inf, &inf->job) != SBX_OK) {
        sbx_reply_error(server, request, SBX_API_INTERNAL_ERROR, /* message: */ NULL);
        return;
    }
    sbx_http_request_set_user(request, inf);
}

void sbx_page_chat(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    start(server, request, SBX_ENDPOINT_CHAT);
}

void sbx_page_completions(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    start(server, request, SBX_ENDPOINT_COMPLETIONS);
}

void sbx_page_embeddings(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    start(server, request, SBX_ENDPOINT_EMBEDDINGS);
}

void sbx_page_rerank(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    start(server, request, SBX_ENDPOINT_RERANK);
}
