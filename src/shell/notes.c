/* The core's notes as events of the log: one function per note, named by its event. */
#include <stdio.h>

#include "base/log.h"
#include "shell/shell_priv.h"

typedef struct facts {
    sbx_view request_id; /* empty: it is about no request */
    sbx_view worker;
    uint32_t attempt;
    sbx_outcome outcome;
    sbx_time_ns delay;
    const sbx_action *action;
} facts;

/* ---- requests ---- */

/* "offline:1,breaker:2" */
static const char *write_why(const sbx_action *action, char *text, size_t size)
{
    size_t len = 0;
    text[0] = '\0';
    for (unsigned filter = 0; filter < SBX_FILTER_COUNT; filter++) {
        uint32_t count = action->note.filtered[filter];
        if (count > 0 && len < size)
            len += (size_t)snprintf(text + len, size - len, "%s%s:%u", len > 0 ? "," : "",
                                    sbx_filter_name((sbx_filter)filter), count);
    }
    return text;
}

static uint64_t filtered_by_all(const sbx_action *action)
{
    uint64_t sum = 0;
    for (unsigned filter = 0; filter < SBX_FILTER_COUNT; filter++)
        sum += action->note.filtered[filter];
    return sum;
}

static void log_candidates_filtered(const facts *f)
{
    char why[128];
    sbx_log(candidates_filtered, .request_id = f->request_id, .total = f->action->note.total,
            .eligible = f->action->note.eligible, .filtered = filtered_by_all(f->action),
            .why = sbx_view_cstr(write_why(f->action, why, sizeof why)));
}

static void log_attempt_sent(const facts *f)
{
    sbx_log(attempt_sent, .request_id = f->request_id, .worker = f->worker, .attempt = f->attempt);
}

static void log_attempt_succeeded(const facts *f)
{
    sbx_log(attempt_succeeded, .request_id = f->request_id, .worker = f->worker, .attempt = f->attempt,
            .outcome = sbx_outcome_name(f->outcome));
}

/* The key under cluster.requestRouting of the limit that ended the attempt; NULL: no limit did. */
static const char *knob_of(sbx_outcome outcome)
{
    switch ((int)outcome) {
    case SBX_OUTCOME_CONNECT_TIMEOUT:
        return "connectTimeoutMs";
    case SBX_OUTCOME_ACK_TIMEOUT:
        return "ackTimeoutMs";
    case SBX_OUTCOME_FIRST_CONTENT_TIMEOUT:
        return "streamingTimeoutMs";
    case SBX_OUTCOME_IDLE_TIMEOUT:
        return "streamIdleTimeoutMs";
    case SBX_OUTCOME_ATTEMPT_TIMEOUT:
        return "timeoutMs";
    case SBX_OUTCOME_DEADLINE:
        return "requestDeadlineMs";
    default:
        return NULL;
    }
}

static void log_attempt_failed(const facts *f)
{
    sbx_log(attempt_failed, .request_id = f->request_id, .worker = f->worker, .attempt = f->attempt,
            .outcome = sbx_outcome_name(f->outcome), .knob = sbx_view_cstr(knob_of(f->outcome)));
}

static void log_retry_scheduled(const facts *f)
{
    sbx_log(retry_scheduled, .request_id = f->request_id, .attempt = f->attempt,
            .outcome = sbx_outcome_name(f->outcome), .delay = f->delay);
}

static void log_request_queued(const facts *f)
{
    sbx_log(request_queued, .request_id = f->request_id, .attempt = f->attempt, .at_most = f->delay);
}

static void log_session_moved(const facts *f)
{
    sbx_log(session_moved, .request_id = f->request_id, .worker = f->worker);
}

/* ---- workers ---- */

static void log_worker_online(const facts *f)
{
    sbx_log(worker_online, .worker = f->worker);
}

static void log_worker_offline(const facts *f)
{
    sbx_log(worker_offline, .worker = f->worker);
}

static void log_worker_rebooted(const facts *f)
{
    sbx_log(worker_rebooted, .worker = f->worker);
}

static void log_worker_hard_down(const facts *f)
{
    sbx_log(worker_hard_down, .request_id = f->request_id, .worker = f->worker, .delay = f->delay);
}

static void log_worker_cooling(const facts *f)
{
    sbx_log(worker_cooling, .request_id = f->request_id, .worker = f->worker, .delay = f->delay);
}

static void log_model_dropped(const facts *f)
{
    sbx_log(model_dropped, .request_id = f->request_id, .worker = f->worker);
}

static void log_breaker_opened(const facts *f)
{
    sbx_log(breaker_opened, .request_id = f->request_id, .worker = f->worker, .delay = f->delay);
}

static void log_breaker_half_open(const facts *f)
{
    sbx_log(breaker_half_open, .worker = f->worker);
}

static void log_breaker_closed(const facts *f)
{
    sbx_log(breaker_closed, .request_id = f->request_id, .worker = f->worker);
}

/* ---- all of them ---- */

static const struct {
    sbx_log_level level;
    void (*log)(const facts *f);
} rows[] = {
#define SBX_NOTE(symbol, event) [SBX_NOTE_##symbol] = {(sbx_log_level)SBX_LOG_LEVEL_OF_##event, log_##event},
#include "core/notes.def"
#undef SBX_NOTE
};

static sbx_view worker_id_of(const sbx_shell *shell, sbx_worker_ref ref)
{
    const sbx_worker *worker = sbx_registry_get(sbx_router_registry(shell->router), ref);
    return worker == NULL ? (sbx_view){0} : sbx_worker_describe(worker, sbx_shell_now(shell)).id;
}

void sbx_shell_note(sbx_shell *shell, const sbx_action *action)
{
    const sbx_job *job = action->owner;
    sbx_metrics_take_note(&shell->metrics, action);
    if (!sbx_log_is_on(rows[action->note.note].level))
        return;
    rows[action->note.note].log(&(facts){
        .request_id = job == NULL ? (sbx_view){0} : job->params.request_id,
        .worker = worker_id_of(shell, action->note.worker),
        .attempt = action->note.attempt_number,
        .outcome = action->note.outcome,
        .delay = action->note.delay_ns,
        .action = action,
    });
}

void sbx_shell_note_end(const sbx_job *job, const sbx_action *action)
{
    const sbx_request_meta *meta = &action->end.meta;
    bool failed = action->kind == SBX_ACTION_FAIL;
    bool passed = action->kind == SBX_ACTION_PASS;
    sbx_outcome outcome = failed   ? action->end.last_outcome
                          : passed ? SBX_OUTCOME_CLIENT_ERROR
                                   : SBX_OUTCOME_OK; /* failed attempts have lines of their own */
    sbx_log(request_ended, .request_id = job->params.request_id, .end = sbx_request_end_name(action->end.end),
            .code = failed ? sbx_api_error_code(action->end.error) : "", .outcome = sbx_outcome_name(outcome),
            .model = job->params.request->model, .stream = job->params.request->stream,
            .worker = sbx_job_worker_id(job, meta->selected), .attempts = meta->attempts,
            .completion_tokens = job->attempt.answer.completion_tokens,
            .duration = sbx_shell_now(job->shell) - meta->started_at);
}
