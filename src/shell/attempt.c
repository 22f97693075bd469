/* One try of a job: sends the request through the worker's transport and turns what comes back into events.
 * Chunks that may be forwarded are collected while one read is looked through, and sent with one write. */
#include <assert.h>

#include "base/log.h"
#include "codec/splice.h"
#include "shell/backend.h"

#define TAIL_WAIT SBX_SEC(1)

static const sbx_transport_events transport_events;

/* ---- reports to the router ---- */

static void report(sbx_job *job, sbx_event_kind kind)
{
    sbx_shell_step(job->shell, &(sbx_event){.kind = kind, .attempt = job->attempt.ref});
}

/* detail: what the transport saw; or NULL. */
static void tell_backend(const sbx_job *job, sbx_outcome outcome, const char *detail)
{
    const sbx_attempt *attempt = &job->attempt;
    sbx_backend *backend = sbx_backend_of(job->shell, attempt->peer);
    if (backend != NULL)
        sbx_backend_take_end(backend, outcome, sbx_shell_now(job->shell) - attempt->started_at, detail);
}

static void report_failure(sbx_job *job, sbx_outcome outcome, sbx_time_ns retry_after_ns, const char *detail)
{
    sbx_attempt *attempt = &job->attempt;
    sbx_view body = sbx_buf_view(&attempt->answer.body);
    if (attempt->is_ended)
        return;
    attempt->is_ended = true;
    tell_backend(job, outcome, detail);
    bool is_too_long = outcome == SBX_OUTCOME_CLIENT_ERROR && sbx_answer_is_context_exceeded(body);
    sbx_shell_step(job->shell, &(sbx_event){.kind = SBX_EVENT_ATTEMPT_ENDED,
                                            .ended = {
                                                .attempt = attempt->ref,
                                                .outcome = outcome,
                                                .http_status = attempt->answer.status,
                                                .retry_after_ns = retry_after_ns,
                                                .completion_tokens = attempt->answer.completion_tokens,
                                                .is_too_long = is_too_long,
                                                .context = is_too_long ? sbx_answer_context_limit(body) : 0,
                                            }});
}

static void report_end(sbx_job *job, sbx_outcome outcome, sbx_time_ns retry_after_ns)
{
    report_failure(job, outcome, retry_after_ns, /* detail: */ NULL);
}

/* The answer went wrong while its transport still works: stop that first. */
static void give_up(sbx_job *job, sbx_outcome outcome)
{
    sbx_transport_call *call = job->attempt.call;
    job->attempt.call = NULL;
    if (call != NULL)
        sbx_transport_cancel(call);
    report_end(job, outcome, job->attempt.answer.retry_after_ns);
}

/* ---- actions ---- */

/* Whether this attempt's stream is asked for token counts that the client did not ask for. */
static bool adds_usage(const sbx_job *job, const sbx_peer *peer)
{
    return peer->asks_for_usage && job->params.request->stream && !job->params.request->wants_usage;
}

static sbx_err edit_body(sbx_job *job, const sbx_action *action, sbx_view pieces[SBX_SPLICE_MAX_PIECES],
                         size_t *ret_count)
{
    sbx_splice splice;
    size_t total = 0;
    sbx_splice_init(&splice, job->params.body);
    sbx_err err = sbx_splice_model(&splice, job->params.request, action->start.model, job->params.arena);
    if (err == SBX_OK)
        err = sbx_splice_drop_session(&splice, job->params.request);
    if (err == SBX_OK && adds_usage(job, action->start.peer))
        err = sbx_splice_include_usage(&splice, job->params.request);
    if (err == SBX_OK)
        *ret_count = sbx_splice_pieces(&splice, pieces, &total);
    return err;
}

static sbx_err send_request(sbx_job *job, const sbx_action *action)
{
    sbx_view pieces[SBX_SPLICE_MAX_PIECES];
    size_t count = 0;
    sbx_err err = edit_body(job, action, pieces, &count);
    if (err != SBX_OK)
        return err;
    sbx_peer *peer = action->start.peer;
    sbx_transport_request request = {
        .path = job->params.path,
        .streaming = job->params.request->stream,
        .body = pieces,
        .body_count = count,
        .request_id = job->params.request_id,
        .attempt = action->start.attempt.number,
        .traceparent = job->params.traceparent,
        .budget_ns = action->start.budget_ns,
    };
    return peer->kind->start(peer, &request, &transport_events, job, &job->attempt.call);
}

static void count_start(sbx_job *job, const sbx_action *action)
{
    sbx_metrics *metrics = &job->shell->metrics;
    job->counted_model = sbx_metrics_model(metrics, action->start.model);
    if (action->start.attempt.number == 1)
        sbx_histogram_add(&metrics->queue_wait, sbx_shell_now(job->shell) - job->submitted_at);
}

void sbx_attempt_on_start(sbx_job *job, const sbx_action *action)
{
    count_start(job, action);
    sbx_timer_stop(&job->tail); /* of the attempt before: it must not end this one */
    sbx_attempt_drop(&job->attempt);
    job->attempt = (sbx_attempt){.ref = action->start.attempt,
                                 .worker = action->start.worker,
                                 .peer = action->start.peer,
                                 .started_at = sbx_shell_now(job->shell),
                                 .is_fallback = action->start.is_fallback};
    sbx_answer_init(&job->attempt.answer, job->params.endpoint, job->params.request->stream,
                    job->shell->options.max_response_bytes);
    job->attempt.answer.request = job->params.request;
    job->attempt.answer.hides_usage = adds_usage(job, action->start.peer);
    if (job->events == NULL)
        return; /* the client left in this very turn; the router hears of it next */
    sbx_err err = send_request(job, action);
    if (err == SBX_E_CLOSED)
        report_end(job, SBX_OUTCOME_REFUSED, /* retry_after_ns: */ -1);
    else if (err != SBX_OK)
        report_end(job, SBX_OUTCOME_LOCAL, /* retry_after_ns: */ -1);
}

void sbx_attempt_drop(sbx_attempt *attempt)
{
    sbx_transport_call *call = attempt->call;
    attempt->call = NULL;
    attempt->is_ended = true;
    if (call != NULL)
        sbx_transport_cancel(call);
    sbx_answer_deinit(&attempt->answer);
    attempt->answer = (sbx_answer){0};
}

void sbx_attempt_on_cancel(sbx_job *job, const sbx_action *action)
{
    if (job->attempt.ref.number != action->cancel.attempt.number)
        return;
    sbx_timer_stop(&job->tail);
    sbx_transport_call *call = job->attempt.call;
    job->attempt.call = NULL;
    job->attempt.is_ended = true;
    tell_backend(job, action->cancel.outcome, /* detail: */ NULL);
    if (call != NULL)
        sbx_transport_cancel(call);
}

/* ---- chunks: collected while one read is looked through, sent with one write ---- */

void sbx_attempt_flush(sbx_job *job)
{
    if (job->piece_count == 0)
        return;
    size_t count = job->piece_count;
    job->piece_count = 0;
    sbx_job_send(job, job->pieces, count);
}

static bool is_adjacent(sbx_view first, sbx_view second)
{
    return first.data + first.len == second.data;
}

static void collect(sbx_job *job, sbx_view bytes)
{
    enum {
        PIECES_MAX = sizeof job->pieces / sizeof job->pieces[0]
    };
    if (bytes.len == 0)
        return;
    if (job->piece_count > 0 && is_adjacent(job->pieces[job->piece_count - 1], bytes)) {
        job->pieces[job->piece_count - 1].len += bytes.len;
        return;
    }
    if (job->piece_count == PIECES_MAX)
        sbx_attempt_flush(job);
    job->pieces[job->piece_count++] = bytes;
}

void sbx_attempt_on_commit(sbx_job *job, const sbx_action *action)
{
    job->meta = action->commit.meta;
    sbx_histogram_add(&job->shell->metrics.first_content, sbx_shell_now(job->shell) - job->submitted_at);
    collect(job, sbx_buf_view(&job->attempt.answer.held));
}

void sbx_attempt_on_forward(sbx_job *job)
{
    collect(job, job->chunk.bytes);
}

void sbx_attempt_on_hold(sbx_job *job)
{
    if (job->chunk.is_comment)
        return;
    job->hold_failed = sbx_buf_append_view(&job->attempt.answer.held, job->chunk.bytes) != SBX_OK;
}

static bool is_current(const sbx_job *job, uint32_t number)
{
    return job->attempt.ref.number == number && !job->attempt.is_ended && !job->is_over;
}

/* A chunk rewritten by the answer is valid only until the next one: it goes out before. */
static void look_at_chunk(sbx_job *job, const sbx_answer_chunk *chunk)
{
    job->chunk = *chunk;
    job->hold_failed = false;
    sbx_shell_step(job->shell, &(sbx_event){.kind = SBX_EVENT_ATTEMPT_CHUNK,
                                            .chunk = {.attempt = job->attempt.ref, .flags = chunk->flags}});
    if (job->attempt.answer.rewritten.len > 0) {
        sbx_attempt_flush(job);
        sbx_buf_clear(&job->attempt.answer.rewritten);
    }
}

static void look_through(sbx_job *job)
{
    sbx_answer *answer = &job->attempt.answer;
    uint32_t number = job->attempt.ref.number;
    sbx_answer_chunk chunk;
    sbx_outcome outcome = SBX_OUTCOME_OK;
    while (is_current(job, number) && sbx_answer_next(answer, &chunk, &outcome)) {
        look_at_chunk(job, &chunk);
        if (job->hold_failed)
            outcome = SBX_OUTCOME_MALFORMED;
        if (outcome != SBX_OUTCOME_OK)
            break;
    }
    sbx_attempt_flush(job);
    if (!is_current(job, number))
        return;
    if (outcome != SBX_OUTCOME_OK)
        give_up(job, outcome);
    else if (answer->saw_done && job->attempt.call != NULL && !sbx_wheel_is_armed(&job->tail.entry))
        sbx_timer_start(&job->tail, sbx_time_add(sbx_shell_now(job->shell), TAIL_WAIT));
}

/* ---- transport events ---- */

static void on_accepted(void *user)
{
    report(user, SBX_EVENT_ATTEMPT_ACCEPTED);
}

static void on_progress(void *user)
{
    report(user, SBX_EVENT_ATTEMPT_PROGRESS);
}

static void on_head(void *user, const sbx_answer_head *head)
{
    sbx_job *job = user;
    sbx_outcome outcome = sbx_answer_take_head(&job->attempt.answer, head);
    if (outcome != SBX_OUTCOME_OK)
        give_up(job, outcome);
}

static void on_data(void *user, sbx_view bytes)
{
    sbx_job *job = user;
    sbx_answer *answer = &job->attempt.answer;
    sbx_outcome outcome =
        answer->is_stream ? sbx_answer_feed(answer, bytes) : sbx_answer_take_body(answer, bytes);
    if (outcome != SBX_OUTCOME_OK)
        give_up(job, outcome);
    else if (answer->is_stream)
        look_through(job);
}

static void on_end(void *user)
{
    sbx_job *job = user;
    job->attempt.call = NULL;
    sbx_timer_stop(&job->tail);
    if (job->attempt.answer.is_stream) { /* its last line may have ended only now */
        sbx_sse_end(&job->attempt.answer.sse);
        look_through(job);
    }
    report_end(job, sbx_answer_finish(&job->attempt.answer), job->attempt.answer.retry_after_ns);
}

static void log_failure(const sbx_job *job, sbx_outcome outcome, const char *detail)
{
    sbx_log(transport_failed, .request_id = job->params.request_id, .attempt = job->attempt.ref.number,
            .outcome = sbx_outcome_name(outcome), .detail = detail);
}

/* With several choices a finish reason ends only one of them. */
static bool was_complete(const sbx_job *job)
{
    const sbx_answer *answer = &job->attempt.answer;
    return answer->saw_done || (answer->saw_finish && job->params.request->n <= 1);
}

static void on_fail(void *user, sbx_outcome outcome, sbx_time_ns retry_after_ns, const char *detail)
{
    sbx_job *job = user;
    job->attempt.call = NULL;
    sbx_timer_stop(&job->tail);
    log_failure(job, outcome, detail);
    if (was_complete(job)) /* only the end of the framing was missing */
        report_end(job, SBX_OUTCOME_OK, retry_after_ns);
    else
        report_failure(job, outcome, retry_after_ns, detail);
}

static const sbx_transport_events transport_events = {
    .on_accepted = on_accepted,
    .on_progress = on_progress,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_fail = on_fail,
};

void sbx_attempt_on_tail(sbx_timer *timer, void *user)
{
    (void)timer;
    give_up(user, SBX_OUTCOME_OK);
}
