/* What a client gets to see: the head of an answer, metadata, the answer's bytes, or an error. */
#include <assert.h>

#include "codec/error_body.h"
#include "shell/backend.h"

enum {
    KNOWN_MODELS_MAX = 20 /* named in the error for an unknown one */
};

/* ---- metadata ---- */

sbx_view sbx_job_worker_id(const sbx_job *job, sbx_worker_ref ref)
{
    if (ref.generation == 0)
        return (sbx_view){0};
    const sbx_worker *worker = sbx_registry_get(sbx_router_registry(job->shell->router), ref);
    return worker == NULL ? (sbx_view){0} : sbx_worker_describe(worker, sbx_shell_now(job->shell)).id;
}

/* failed: room for SBX_MAX_ATTEMPTS names; they are borrowed from the registry until the next step. */
static sbx_metadata metadata_of(const sbx_job *job, const sbx_request_meta *meta, sbx_view *failed)
{
    for (uint32_t i = 0; i < meta->failed_count; i++)
        failed[i] = sbx_job_worker_id(job, meta->failed[i]);
    return (sbx_metadata){
        .request_id = job->params.request_id,
        .retry_count = meta->attempts > 0 ? meta->attempts - 1 : 0,
        .breaker_trips = meta->breaker_trips,
        .timeouts = meta->timeouts,
        .failed_workers = failed,
        .failed_count = meta->failed_count,
        .selected_worker = sbx_job_worker_id(job, meta->selected),
        .total_duration_ns = sbx_shell_now(job->shell) - meta->started_at,
    };
}

/* Into the shell's scratch buffer; empty when it does not fit. */
static sbx_view write_metadata(const sbx_job *job, const sbx_metadata *metadata)
{
    sbx_buf *scratch = &job->shell->scratch;
    sbx_buf_clear(scratch);
    return sbx_metadata_write(scratch, metadata) == SBX_OK ? sbx_buf_view(scratch) : (sbx_view){0};
}

/* ---- heads ---- */

static sbx_job_head head_of(const sbx_job *job, unsigned status, sbx_view content_type,
                            const sbx_metadata *metadata)
{
    return (sbx_job_head){
        .status = status,
        .content_type = content_type,
        .request_id = job->params.request_id,
        .worker_id = metadata->selected_worker,
        .retry_count = metadata->retry_count,
        .is_fallback = job->attempt.is_fallback && metadata->selected_worker.len > 0,
        .hides_routing = job->shell->options.metadata == SBX_METADATA_OFF,
        .retry_after_ns = -1,
        .should_retry = -1,
    };
}

static const char content_type_sse[] = "text/event-stream; charset=utf-8";

static void open_stream(sbx_job *job, const sbx_view *pieces, size_t count)
{
    sbx_view failed[SBX_MAX_ATTEMPTS];
    sbx_metadata metadata = metadata_of(job, &job->meta, failed);
    sbx_job_head head = head_of(job, 200, sbx_view_cstr(content_type_sse), &metadata);
    if (job->shell->options.metadata != SBX_METADATA_OFF)
        head.metadata = write_metadata(job, &metadata);
    job->is_open = true;
    job->events->on_open(job->user, &head, pieces, count);
}

void sbx_job_send(sbx_job *job, const sbx_view *pieces, size_t count)
{
    if (job->events == NULL)
        return;
    if (job->is_open)
        job->events->on_chunk(job->user, pieces, count);
    else
        open_stream(job, pieces, count);
}

/* ---- a whole answer ---- */

static void reply_whole(sbx_job *job, const sbx_action *action)
{
    sbx_answer *answer = &job->attempt.answer;
    sbx_view failed[SBX_MAX_ATTEMPTS];
    sbx_metadata metadata = metadata_of(job, &action->end.meta, failed);
    sbx_job_head head = head_of(job, answer->status, sbx_view_cstr(answer->content_type), &metadata);
    if (head.content_type.len == 0)
        head.content_type = SBX_VIEW("application/json");

    sbx_view pieces[SBX_ANSWER_MAX_PIECES] = {sbx_buf_view(&answer->body)};
    size_t count = pieces[0].len > 0 ? 1 : 0;
    size_t total = 0;
    sbx_metadata_mode mode = job->shell->options.metadata;
    sbx_view text = mode == SBX_METADATA_OFF ? (sbx_view){0} : write_metadata(job, &metadata);
    if (mode == SBX_METADATA_BODY && action->kind == SBX_ACTION_SUCCEED && text.len > 0)
        count = sbx_answer_with_metadata(pieces[0], &answer->info, text, pieces, &total);
    else
        head.metadata = text;
    job->events->on_reply(job->user, &head, pieces, count);
}

/* ---- the end of a stream ---- */

static const char done_event[] = "data: [DONE]\n\n";

/* data: {"id":...,"object":"chat.completion.chunk","choices":[],"metadata":{...}} */
static sbx_view metadata_event(sbx_job *job, const sbx_metadata *metadata)
{
    bool is_chat = job->params.endpoint == SBX_ENDPOINT_CHAT;
    sbx_buf *scratch = &job->shell->scratch;
    sbx_buf_clear(scratch);
    sbx_buf_append_cstr(scratch, "data: {\"id\":");
    sbx_buf_append_json(scratch, job->params.request_id);
    sbx_buf_appendf(scratch, ",\"object\":\"%s\",\"choices\":[],\"metadata\":",
                    is_chat ? "chat.completion.chunk" : "text_completion");
    sbx_metadata_write(scratch, metadata);
    sbx_buf_append_cstr(scratch, "}\n\n");
    return sbx_buf_error(scratch) == SBX_OK ? sbx_buf_view(scratch) : (sbx_view){0};
}

static void reply_stream_end(sbx_job *job, const sbx_action *action)
{
    sbx_view pieces[3];
    size_t count = 0;
    if (!job->is_open) { /* not one event came but [DONE] */
        open_stream(job, /* pieces: */ NULL, 0);
        if (job->events == NULL)
            return;
    }
    if (job->params.wants_metadata_chunk) {
        sbx_view failed[SBX_MAX_ATTEMPTS];
        sbx_metadata metadata = metadata_of(job, &action->end.meta, failed);
        pieces[count++] = metadata_event(job, &metadata);
    }
    pieces[count++] = sbx_view_cstr(done_event);
    job->events->on_chunk(job->user, pieces, count);
    if (job->events != NULL)
        job->events->on_close(job->user);
}

/* ---- errors ---- */

static void write_endpoint(const sbx_shell *shell, const sbx_backend *backend, sbx_buf *message)
{
    const sbx_worker *worker =
        sbx_registry_find(sbx_router_registry(shell->router), sbx_view_cstr(backend->id));
    sbx_buf_appendf(message, " %s at %s: ", backend->id, backend->url);
    if (worker == NULL)
        return;
    sbx_worker_info info = sbx_worker_describe(worker, sbx_shell_now(shell));
    if (info.breaker == SBX_BREAKER_OPEN)
        sbx_buf_appendf(message, "circuit open, tried again in %lld s.",
                        (long long)((info.retry_in_ns + SBX_SEC(1) - 1) / SBX_SEC(1)));
    else if (info.breaker == SBX_BREAKER_ISOLATED)
        sbx_buf_append_cstr(message, "circuit open, isolated by an admin.");
    else
        sbx_buf_appendf(message, "%s.",
                        backend->last_error[0] != '\0' ? backend->last_error : "cannot take it now");
}

/* Why no helper endpoint answered, and whether anybody could have stood in for them. */
static void write_helpers(const sbx_job *job, const sbx_action *action, sbx_buf *message)
{
    const sbx_shell *shell = job->shell;
    SBX_LIST_EACH(node, &shell->backends)
    {
        const sbx_backend *backend = SBX_CONTAINER_OF(node, sbx_backend, node);
        if (backend->helper == action->end.helper)
            write_endpoint(shell, backend, message);
    }
    if (action->end.error != SBX_API_HELPER_NODE_UNAVAILABLE && !action->end.has_fallback)
        sbx_buf_append_cstr(message, " No worker or backend of the cluster serves the same model.");
}

static void write_known_models(const sbx_job *job, sbx_buf *message)
{
    const sbx_registry *registry = sbx_router_registry(job->shell->router);
    size_t count = sbx_registry_model_count(registry);
    sbx_buf_append_cstr(message, count == 0 ? " No model is served now." : " Known models: ");
    for (size_t i = 0; i < count && i < KNOWN_MODELS_MAX; i++) {
        sbx_buf_append_cstr(message, i == 0 ? "" : ", ");
        sbx_buf_append_view(message, sbx_registry_model_at(registry, i));
    }
    if (count > KNOWN_MODELS_MAX)
        sbx_buf_append_cstr(message, " ...");
}

/* What the table says of the error, and what helps to mend it. Into the caller's buffer. */
static void write_message(const sbx_job *job, const sbx_action *action, sbx_buf *message)
{
    bool lacks_helper = action->end.helper != SBX_HELPER_NONE && !action->end.has_fallback;
    bool is_no_fallback = lacks_helper && action->end.error == SBX_API_NO_WORKERS_AVAILABLE;
    sbx_buf_append_cstr(message, is_no_fallback ? "The helper node is unavailable, and there is no fallback."
                                                : sbx_api_error_message(action->end.error));
    if (action->end.meta.attempts > 0)
        sbx_buf_appendf(message, " Last attempt: %s.", sbx_outcome_text(action->end.last_outcome));
    if (action->end.helper != SBX_HELPER_NONE)
        write_helpers(job, action, message);
    if (action->end.error == SBX_API_MODEL_NOT_FOUND)
        write_known_models(job, message);
}

static sbx_view write_error(sbx_job *job, const sbx_action *action, const sbx_metadata *metadata,
                            const char *before, const char *after)
{
    sbx_buf *scratch = &job->shell->scratch;
    sbx_buf *message = &job->shell->message;
    sbx_error_body body = {.error = action->end.error, .metadata = metadata};
    sbx_buf_clear(message);
    write_message(job, action, message);
    body.message = sbx_buf_view(message);
    if (action->end.meta.attempts > 0)
        body.last_error = sbx_view_cstr(sbx_api_error_code(action->end.last_error));
    if (action->end.error == SBX_API_MODEL_NOT_FOUND)
        body.param = SBX_VIEW("model");
    sbx_buf_clear(scratch);
    sbx_buf_append_cstr(scratch, before);
    sbx_error_body_write(scratch, &body);
    sbx_buf_append_cstr(scratch, after);
    return sbx_buf_view(scratch);
}

static void reply_error(sbx_job *job, const sbx_action *action)
{
    sbx_view failed[SBX_MAX_ATTEMPTS];
    sbx_metadata metadata = metadata_of(job, &action->end.meta, failed);
    if (job->is_open) {
        sbx_view event = write_error(job, action, &metadata, "data: ", "\n\n");
        job->events->on_chunk(job->user, &event, 1);
        if (job->events != NULL)
            job->events->on_close(job->user);
        return;
    }
    sbx_view body = write_error(job, action, &metadata, "", "");
    sbx_job_head head = head_of(job, action->end.http_status, SBX_VIEW("application/json"), &metadata);
    head.retry_after_ns = action->end.retry_after_ns;
    head.should_retry = action->end.should_retry;
    job->events->on_reply(job->user, &head, &body, 1);
}

void sbx_job_reply(sbx_job *job, const sbx_action *action)
{
    assert(job->events != NULL);
    switch (action->kind) {
    case SBX_ACTION_SUCCEED:
        if (job->attempt.answer.is_stream)
            reply_stream_end(job, action);
        else
            reply_whole(job, action);
        return;
    case SBX_ACTION_PASS:
        reply_whole(job, action);
        return;
    default:
        reply_error(job, action);
        return;
    }
}
