/* A probe: one buffered run of one token, its answer judged like any other. */
#include "shell/probe.h"

#include <stdlib.h>

#include "base/id.h"
#include "shell/shell_priv.h"

enum {
    ANSWER_MAX = 64 * 1024
};

typedef struct probe {
    sbx_shell *shell;
    sbx_list_node node;
    sbx_probe_ref ref;
    sbx_transport_call *call; /* NULL: over */
    sbx_buf body;
    sbx_answer answer;
} probe;

static void free_probe(probe *p)
{
    sbx_transport_call *call = p->call;
    p->call = NULL;
    if (call != NULL)
        sbx_transport_cancel(call);
    sbx_list_remove(&p->node);
    sbx_answer_deinit(&p->answer);
    sbx_buf_deinit(&p->body);
    free(p);
}

static void report(sbx_shell *shell, sbx_probe_ref ref, sbx_outcome outcome, sbx_time_ns retry_after_ns)
{
    sbx_shell_step(
        shell,
        &(sbx_event){.kind = SBX_EVENT_PROBE_ENDED,
                     .probe_ended = {.probe = ref, .outcome = outcome, .retry_after_ns = retry_after_ns}});
}

/* ---- the answer --------------------------------------------------------------------------------------- */

static void finish(probe *p, sbx_outcome outcome, sbx_time_ns retry_after_ns)
{
    sbx_shell *shell = p->shell;
    sbx_probe_ref ref = p->ref;
    free_probe(p);
    report(shell, ref, outcome, retry_after_ns);
}

static void on_nothing(void *user)
{
    (void)user;
}

static void on_head(void *user, const sbx_answer_head *head)
{
    probe *p = user;
    sbx_outcome outcome = sbx_answer_take_head(&p->answer, head);
    if (outcome != SBX_OUTCOME_OK)
        finish(p, outcome, p->answer.retry_after_ns);
}

static void on_data(void *user, sbx_view bytes)
{
    probe *p = user;
    sbx_outcome outcome = sbx_answer_take_body(&p->answer, bytes);
    if (outcome != SBX_OUTCOME_OK)
        finish(p, outcome, p->answer.retry_after_ns);
}

static void on_end(void *user)
{
    probe *p = user;
    p->call = NULL;
    finish(p, sbx_answer_finish(&p->answer), p->answer.retry_after_ns);
}

static void on_fail(void *user, sbx_outcome outcome, sbx_time_ns retry_after_ns, const char *detail)
{
    probe *p = user;
    (void)detail;
    p->call = NULL;
    finish(p, outcome, retry_after_ns);
}

static const sbx_transport_events events = {
    .on_accepted = on_nothing,
    .on_progress = on_nothing,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_fail = on_fail,
};

/* ---- the run ------------------------------------------------------------------------------------------ */

static sbx_err write_body(sbx_buf *body, sbx_view model)
{
    sbx_buf_append_cstr(body, "{\"model\":");
    sbx_buf_append_json(body, model);
    return sbx_buf_append_cstr(body,
                               ",\"messages\":[{\"role\":\"user\",\"content\":\"ping\"}],\"max_tokens\":1}");
}

static sbx_err send(probe *p, const sbx_action *action)
{
    sbx_id request_id;
    sbx_err err = write_body(&p->body, action->probe.model);
    if (err != SBX_OK)
        return err;
    sbx_id_make(&p->shell->rng, &request_id);
    sbx_view body = sbx_buf_view(&p->body);
    sbx_peer *peer = action->probe.peer;
    sbx_transport_request request = {
        .path = SBX_VIEW("/v1/chat/completions"),
        .body = &body,
        .body_count = 1,
        .request_id = sbx_id_view(&request_id),
        .attempt = 1,
        .budget_ns = action->probe.budget_ns,
    };
    return peer->kind->start(peer, &request, &events, p, &p->call);
}

void sbx_probe_on_start(sbx_shell *shell, const sbx_action *action)
{
    probe *p = calloc(1, sizeof *p);
    if (p == NULL) {
        report(shell, action->probe.probe, SBX_OUTCOME_LOCAL, /* retry_after_ns: */ -1);
        return;
    }
    p->shell = shell;
    p->ref = action->probe.probe;
    sbx_buf_init(&p->body, ANSWER_MAX);
    sbx_answer_init(&p->answer, SBX_ENDPOINT_CHAT, /* wants_stream: */ false, ANSWER_MAX);
    sbx_list_push_back(&shell->probes, &p->node);
    sbx_err err = send(p, action);
    if (err != SBX_OK)
        finish(p, err == SBX_E_CLOSED ? SBX_OUTCOME_REFUSED : SBX_OUTCOME_LOCAL, /* retry_after_ns: */ -1);
}

/* At most one per half_open worker is out: a short list. */
void sbx_probe_on_cancel(sbx_shell *shell, const sbx_action *action)
{
    sbx_probe_ref ref = action->probe.probe;
    SBX_LIST_EACH(node, &shell->probes)
    {
        probe *p = SBX_CONTAINER_OF(node, probe, node);
        if (p->ref.worker.slot == ref.worker.slot && p->ref.worker.generation == ref.worker.generation &&
            p->ref.number == ref.number)
            free_probe(p);
    }
}

void sbx_probes_deinit(sbx_shell *shell)
{
    SBX_LIST_EACH(node, &shell->probes)
    {
        free_probe(SBX_CONTAINER_OF(node, probe, node));
    }
}
