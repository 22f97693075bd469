/* The life of a job: submitted, admitted by the router, tried, ended. Its memory lives until the end of the
 * loop turn in which it ended, so that whoever is on the stack may finish. */
#include "shell/job.h"

#include <assert.h>
#include <stdlib.h>

#include "base/fold_hash.h"
#include "shell/shell_priv.h"

/* ---- start ---- */

static uint64_t hash_of(const sbx_shell *shell, sbx_view bytes)
{
    return bytes.len == 0 ? 0 : sbx_siphash(shell->hash_key, bytes.data, bytes.len) | 1;
}

/* x-session-id, body session_id, or prompt_cache_key (DESIGN 5). */
static sbx_view session_of(const sbx_job_params *params)
{
    if (params->session_id.len > 0)
        return params->session_id;
    if (params->request->session_id.len > 0)
        return params->request->session_id;
    return params->request->prompt_cache_key;
}

sbx_helper_role sbx_job_helper_of(const sbx_job *job)
{
    switch (job->params.endpoint) {
    case SBX_ENDPOINT_EMBEDDINGS:
        return SBX_HELPER_EMBEDDING;
    case SBX_ENDPOINT_RERANK:
        return SBX_HELPER_RERANKING;
    case SBX_ENDPOINT_CHAT:
    case SBX_ENDPOINT_COMPLETIONS:
        break;
    }
    return SBX_HELPER_NONE;
}

static void on_submit(void *user)
{
    sbx_job *job = user;
    const sbx_job_params *params = &job->params;
    sbx_shell_step(
        job->shell,
        &(sbx_event){
            .kind = SBX_EVENT_REQUEST_NEW,
            .request_new = {
                .owner = job,
                .model = params->request->model,
                .helper = sbx_job_helper_of(job),
                .streaming = params->request->stream,
                .body_bytes = params->body.len,
                .body_hash = sbx_fold_hash(job->shell->hash_key, params->body.data, params->body.len) | 1,
                .key_hash = params->key_hash,
                .session_hash = hash_of(job->shell, session_of(params)),
                .timeout_ns = params->timeout_ns,
            }});
}

static void on_release(void *user)
{
    sbx_job *job = user;
    free(job);
}

sbx_err sbx_job_submit(sbx_shell *shell, const sbx_job_params *params, const sbx_job_events *events,
                       void *user, sbx_job **ret_job)
{
    sbx_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return SBX_E_NOMEM;
    *job = (sbx_job){
        .shell = shell,
        .params = *params,
        .events = events,
        .user = user,
        .submitted_at = sbx_shell_now(shell),
        .submit = {.fn = on_submit, .user = job},
        .release = {.fn = on_release, .user = job},
        .attempt.is_ended = true,
    };
    sbx_timer_init(&job->tail, shell->loop, sbx_attempt_on_tail, job);
    sbx_list_push_back(&shell->jobs, &job->node);
    shell->job_count++;
    sbx_loop_defer(shell->loop, &job->submit);
    *ret_job = job;
    return SBX_OK;
}

void sbx_job_on_admitted(sbx_job *job, sbx_request_ref ref)
{
    job->ref = ref;
}

/* ---- end ---- */

static void end(sbx_job *job)
{
    assert(!job->is_over);
    job->is_over = true;
    job->events = NULL;
    sbx_timer_stop(&job->tail);
    sbx_loop_undefer(job->shell->loop, &job->submit);
    sbx_attempt_drop(&job->attempt);
    sbx_list_remove(&job->node);
    job->shell->job_count--;
    sbx_loop_defer(job->shell->loop, &job->release);
}

/* The client's word for a model is a label only where the registry has that name too. */
static uint32_t model_of(const sbx_job *job, const sbx_action *action)
{
    sbx_view asked = job->params.request->model;
    if (action->end.meta.attempts > 0)
        return job->counted_model;
    return sbx_registry_knows_model(sbx_router_registry(job->shell->router), asked)
               ? sbx_metrics_model(&job->shell->metrics, asked)
               : SBX_METRICS_OTHER;
}

static void count_end(sbx_job *job, const sbx_action *action)
{
    sbx_shell *shell = job->shell;
    sbx_router_counts counts = sbx_router_counts_of(shell->router);
    sbx_metrics_take_end(&shell->metrics, model_of(job, action), job->params.request->stream,
                         sbx_shell_now(shell) - job->submitted_at, action);
    sbx_metrics_check(&shell->metrics, &counts);
}

void sbx_job_on_end(sbx_job *job, const sbx_action *action)
{
    if (job->is_over)
        return;
    sbx_shell_note_end(job, action);
    count_end(job, action);
    sbx_attempt_flush(job); /* what came before the end goes out before it */
    if (job->events != NULL)
        sbx_job_reply(job, action);
    end(job);
}

void sbx_job_cancel(sbx_job *job)
{
    if (job->is_over || job->events == NULL)
        return;
    job->events = NULL;
    sbx_transport_call *call = job->attempt.call;
    job->attempt.call = NULL; /* stopped here and now: the body it sends is the client side's memory */
    job->attempt.is_ended = true;
    if (call != NULL)
        sbx_transport_cancel(call);
    if (job->ref.generation == 0)
        end(job); /* the router never heard of it */
    else
        sbx_shell_step(job->shell, &(sbx_event){.kind = SBX_EVENT_REQUEST_GONE, .request_gone = job->ref});
}

/* ---- the client side of a stream ---- */

void sbx_job_pause(sbx_job *job)
{
    if (job->is_paused || job->is_over || job->attempt.call == NULL)
        return;
    job->is_paused = true;
    job->attempt.call->kind->pause(job->attempt.call);
    sbx_shell_step(job->shell, &(sbx_event){.kind = SBX_EVENT_ATTEMPT_PAUSED, .attempt = job->attempt.ref});
}

void sbx_job_resume(sbx_job *job)
{
    if (!job->is_paused || job->is_over)
        return;
    job->is_paused = false;
    if (job->attempt.call == NULL)
        return;
    job->attempt.call->kind->resume(job->attempt.call);
    sbx_shell_step(job->shell, &(sbx_event){.kind = SBX_EVENT_ATTEMPT_RESUMED, .attempt = job->attempt.ref});
}
