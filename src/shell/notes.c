/* The core's notes as log lines: one event name and the fields that note has. */
#include "base/log.h"
#include "shell/shell_priv.h"

static sbx_log_level level_of(sbx_note note)
{
    switch (sbx_note_level_of(note)) {
    case SBX_NOTE_LEVEL_DEBUG:
        return SBX_LOG_DEBUG;
    case SBX_NOTE_LEVEL_INFO:
        return SBX_LOG_INFO;
    case SBX_NOTE_LEVEL_WARN:
        return SBX_LOG_WARN;
    case SBX_NOTE_LEVEL_ERROR:
        return SBX_LOG_ERROR;
    }
    return SBX_LOG_ERROR;
}

static sbx_view worker_id_of(const sbx_shell *shell, sbx_worker_ref ref)
{
    const sbx_worker *worker = sbx_registry_get(sbx_router_registry(shell->router), ref);
    return worker == NULL ? (sbx_view){0} : sbx_worker_describe(worker, sbx_shell_now(shell)).id;
}

void sbx_shell_note(sbx_shell *shell, const sbx_action *action)
{
    sbx_log_level level = level_of(action->note.note);
    if (!sbx_log_is_on(level))
        return;
    const sbx_job *job = action->owner;
    sbx_log_field fields[9];
    size_t count = 0;
    if (job != NULL)
        fields[count++] = SBX_F_STR("request_id", job->params.request_id);
    if (action->note.worker.generation != 0)
        fields[count++] = SBX_F_STR("worker", worker_id_of(shell, action->note.worker));
    if (action->note.attempt_number != 0)
        fields[count++] = SBX_F_UINT("attempt", action->note.attempt_number);
    if (action->note.outcome != SBX_OUTCOME_OK)
        fields[count++] = SBX_F_CSTR("outcome", sbx_outcome_name(action->note.outcome));
    if (action->note.delay_ns != 0)
        fields[count++] = SBX_F_MS("delay_ms", action->note.delay_ns);
    if (action->note.note == SBX_NOTE_CANDIDATES_FILTERED) {
        fields[count++] = SBX_F_UINT("total", action->note.total);
        fields[count++] = SBX_F_UINT("eligible", action->note.eligible);
    }
    fields[count++] = SBX_F_END;
    sbx_log_write(level, sbx_note_name(action->note.note), fields, count);
}

static const char *end_name(sbx_request_end end)
{
    switch (end) {
    case SBX_END_OK:
        return "ok";
    case SBX_END_CLIENT_ERROR:
        return "client_error";
    case SBX_END_UPSTREAM_ERROR:
        return "upstream_error";
    case SBX_END_TIMEOUT:
        return "timeout";
    case SBX_END_CANCELLED:
        return "cancelled";
    case SBX_END_SHED:
        return "shed";
    }
    return "unknown";
}

void sbx_shell_note_end(const sbx_job *job, const sbx_action *action)
{
    const sbx_request_meta *meta = &action->end.meta;
    const sbx_answer *answer = &job->attempt.answer;
    bool failed = action->kind == SBX_ACTION_FAIL;
    bool passed = action->kind == SBX_ACTION_PASS;
    sbx_outcome outcome = failed   ? action->end.last_outcome
                          : passed ? SBX_OUTCOME_CLIENT_ERROR
                                   : SBX_OUTCOME_OK; /* failed attempts have lines of their own */
    sbx_log(SBX_LOG_INFO, "request_ended", SBX_F_STR("request_id", job->params.request_id),
            SBX_F_CSTR("end", end_name(action->end.end)),
            SBX_F_CSTR("code", failed ? sbx_api_error_code(action->end.error) : ""),
            SBX_F_CSTR("outcome", sbx_outcome_name(outcome)), SBX_F_STR("model", job->params.request->model),
            SBX_F_BOOL("stream", job->params.request->stream),
            SBX_F_STR("worker", sbx_job_worker_id(job, meta->selected)),
            SBX_F_UINT("attempts", meta->attempts),
            SBX_F_UINT("completion_tokens", answer->completion_tokens),
            SBX_F_MS("duration_ms", sbx_shell_now(job->shell) - meta->started_at), SBX_F_END);
}
