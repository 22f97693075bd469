/* An attempt from start to end: the permit taken, what the worker says, the permit reported. */
#include <assert.h>

#include "core/router_priv.h"

enum {
    IMPATIENT_CANCELS = 3 /* in a row without first content count as one failure */
};

sbx_edge *sbx_router_edge(const sbx_router *router, const sbx_request *request)
{
    const sbx_attempt *attempt = &request->attempt;
    if (attempt->edge == SBX_NONE)
        return NULL;
    sbx_edge *edge = &router->registry.edges[attempt->edge];
    bool is_same = edge->worker == attempt->worker->slot && edge->model == request->model->slot;
    return is_same ? edge : NULL;
}

/* ---- start -------------------------------------------------------------------------------------------- */

void sbx_router_use_model(sbx_router *router, sbx_request *request, sbx_model *model)
{
    if (request->model == model)
        return;
    sbx_model_ref(model);
    if (request->model != NULL)
        sbx_model_unref(&router->registry, request->model);
    request->model = model;
}

static void fill_attempt(sbx_router *router, sbx_request *request, sbx_worker *worker)
{
    const sbx_edge *edge = sbx_registry_edge(&router->registry, worker, request->model);
    request->attempt = (sbx_attempt){
        .number = request->attempt.number + 1,
        .worker = worker,
        .worker_epoch = worker->epoch,
        .edge = edge == NULL ? SBX_NONE : (uint32_t)(edge - router->registry.edges),
        .started_at = router->now,
        .flow_at = SBX_TIME_NEVER,
    };
}

static void take_permit(sbx_router *router, sbx_request *request)
{
    sbx_attempt *attempt = &request->attempt;
    /* A second beyond the limit that will end the attempt: the lease is for slots nobody gave back. */
    sbx_time_ns lease_until = sbx_time_add(attempt->answer_by, SBX_SEC(1));
    sbx_err err = sbx_breaker_acquire(&attempt->worker->breaker, router->now, lease_until, &attempt->permit);
    assert(err == SBX_OK); /* it was eligible in this very step */
    (void)err;
}

static void count_start(sbx_router *router, sbx_request *request, sbx_worker *worker)
{
    request->phase = SBX_REQUEST_RUNNING;
    request->retry_at = SBX_TIME_NEVER;
    sbx_list_push_back(&worker->running, &request->running_node);
    router->registry.hot[worker->slot].in_flight++;
    request->model->in_flight++;
    worker->attempts++;
    router->counts.attempts++;
    if (request->attempt.number > 1)
        router->counts.retries++;
}

static void push_start(sbx_router *router, const sbx_request *request)
{
    sbx_worker *worker = request->attempt.worker;
    sbx_router_note(router, SBX_NOTE_ATTEMPT_SENT, request, worker);
    sbx_action *action = sbx_router_push(router, SBX_ACTION_START, request);
    action->start.attempt = sbx_attempt_ref_of(request);
    action->start.worker = sbx_worker_ref_of(worker);
    action->start.peer = worker->peer;
    bool is_at_helper = sbx_request_is_at_helper(request);
    action->start.model = is_at_helper ? request->alias->name : sbx_model_view(request->model);
    action->start.is_fallback = !is_at_helper && sbx_request_helper(request) != SBX_HELPER_NONE;
    action->start.budget_ns = sbx_router_attempt_budget(router, request);
    action->start.queue_wait_ns = request->waited_ns;
}

void sbx_router_start(sbx_router *router, sbx_request *request, sbx_worker *worker, sbx_model *model,
                      uint32_t eligible)
{
    assert(request->phase == SBX_REQUEST_WAITING);
    assert(sbx_worker_refusal(worker, router->now) == SBX_REFUSAL_NONE);
    sbx_router_use_model(router, request, model);
    model->cursor++;
    if (request->attempt.number == 0)
        sbx_retry_budget_request(&model->budget, router->now);
    fill_attempt(router, request, worker);
    sbx_router_set_limits(router, request);
    sbx_router_note_candidates(router, request, model, eligible); /* as they were when it was picked */
    take_permit(router, request);
    count_start(router, request, worker);
    push_start(router, request);
    request->waited_ns = 0;
    sbx_router_arm(router, request);
}

/* ---- what the worker says ----------------------------------------------------------------------------- */

static void drop(sbx_router *router, sbx_attempt_ref ref)
{
    sbx_action *action = sbx_router_push(router, SBX_ACTION_DROP, sbx_router_request(router, ref.request));
    action->request = ref.request;
}

/* The request whose current attempt this is; NULL when it is stale or lost. */
static sbx_request *current(sbx_router *router, sbx_attempt_ref ref)
{
    sbx_request *request = sbx_router_request(router, ref.request);
    if (request == NULL || request->phase != SBX_REQUEST_RUNNING || request->attempt.number != ref.number)
        return NULL;
    bool is_lost = request->attempt.worker_epoch != request->attempt.worker->epoch;
    return is_lost ? NULL : request;
}

static void on_accepted(sbx_router *router, sbx_request *request)
{
    request->attempt.is_accepted = true;
    sbx_router_arm(router, request);
}

static void on_first_content(sbx_router *router, sbx_request *request)
{
    sbx_attempt *attempt = &request->attempt;
    sbx_edge *edge = sbx_router_edge(router, request);
    attempt->has_content = true;
    attempt->first_content_at = router->now;
    attempt->worker->impatience = 0;
    sbx_breaker_content(&attempt->worker->breaker, &attempt->permit);
    if (attempt->permit.is_probe) {
        attempt->flow_at = sbx_time_add(router->now, SBX_BREAKER_FLOW_TIME);
        sbx_router_got_room(router, attempt->worker);
    }
    if (edge != NULL)
        sbx_edge_learn_first_content(&router->registry, edge, router->now - attempt->started_at, router->now);
    request->is_committed = true;
    sbx_router_push_commit(router, request);
}

/* A sign of life moves no limit but idle, and only real content moves that: see SBX_CHUNK_SILENT. */
static void on_chunk(sbx_router *router, sbx_request *request, uint32_t flags)
{
    sbx_attempt *attempt = &request->attempt;
    bool has_content = (flags & SBX_CHUNK_CONTENT) != 0;
    attempt->is_accepted = true;
    attempt->worker->seen_at = router->now;
    if (!request->is_streaming || (!has_content && !request->is_committed)) {
        sbx_router_push(router, SBX_ACTION_HOLD, request);
        return;
    }
    bool is_first = !attempt->has_content && has_content;
    if (is_first)
        on_first_content(router, request);
    if (has_content) {
        attempt->content_at = router->now;
        attempt->has_progressed = false;
    }
    sbx_router_push(router, SBX_ACTION_FORWARD, request);
    if (is_first)
        sbx_router_arm(router, request);
}

static void on_resumed(sbx_router *router, sbx_request *request)
{
    request->attempt.is_paused = false;
    request->attempt.content_at = router->now;
    sbx_router_arm(router, request);
}

void sbx_router_on_attempt(sbx_router *router, const sbx_event *event)
{
    bool is_chunk = event->kind == SBX_EVENT_ATTEMPT_CHUNK;
    sbx_attempt_ref ref = is_chunk ? event->chunk.attempt : event->attempt;
    sbx_request *request = current(router, ref);
    if (request == NULL) {
        drop(router, ref);
        return;
    }
    if (is_chunk)
        on_chunk(router, request, event->chunk.flags);
    else if (event->kind == SBX_EVENT_ATTEMPT_ACCEPTED)
        on_accepted(router, request);
    else if (event->kind == SBX_EVENT_ATTEMPT_PROGRESS)
        request->attempt.has_progressed = true;
    else if (event->kind == SBX_EVENT_ATTEMPT_PAUSED)
        request->attempt.is_paused = true;
    else
        on_resumed(router, request);
}

void sbx_router_on_ended(sbx_router *router, const sbx_event_ended *ended)
{
    sbx_request *request = current(router, ended->attempt);
    if (request == NULL) {
        drop(router, ended->attempt);
        return;
    }
    sbx_router_end_attempt(router, request,
                           (sbx_attempt_end){.outcome = ended->outcome,
                                             .retry_after_ns = ended->retry_after_ns,
                                             .is_too_long = ended->is_too_long,
                                             .context = ended->context,
                                             .completion_tokens = ended->completion_tokens});
}

/* ---- the end ------------------------------------------------------------------------------------------ */

/* Impatient clients must not hide a hang: who left after long enough suspects the worker, and three in a
 * row count as one failure. */
static bool counts_as_hang(sbx_router *router, const sbx_request *request, sbx_outcome outcome)
{
    sbx_worker *worker = request->attempt.worker;
    bool left = outcome == SBX_OUTCOME_CANCELLED || outcome == SBX_OUTCOME_DEADLINE;
    if (!left || request->attempt.has_content || !sbx_router_was_patient(router, request))
        return false;
    if (++worker->impatience < IMPATIENT_CANCELS)
        return false;
    worker->impatience = 0;
    return true;
}

static sbx_breaker_effect effect_of(sbx_router *router, const sbx_request *request, const sbx_class *row,
                                    const sbx_attempt_end *end)
{
    bool is_timeout = (row->flags & SBX_CLASS_TIMEOUT) != 0;
    bool is_blameless = end->is_blameless || request->attempt.worker->is_bus_cut;
    if (row->breaker == SBX_EFFECT_FAILURE &&
        (is_blameless || (is_timeout && request->attempt.has_progressed)))
        return SBX_EFFECT_NONE;
    if (row->breaker == SBX_EFFECT_NONE && counts_as_hang(router, request, end->outcome))
        return SBX_EFFECT_FAILURE;
    return row->breaker;
}

void sbx_router_report(sbx_router *router, sbx_request *request, sbx_worker *worker,
                       sbx_breaker_permit permit, sbx_breaker_effect effect)
{
    sbx_breaker_change change =
        sbx_breaker_report(&worker->breaker, permit, effect, router->now, &router->rng);
    if (effect == SBX_EFFECT_FAILURE) {
        worker->failures += request != NULL;
        sbx_worker_failed(worker, router->now);
    }
    sbx_router_breaker_changed(router, request, worker, change);
}

/* Many answers of one busy moment make nobody who waits hopeless anew. */
static void cool_down(sbx_router *router, const sbx_request *request, sbx_worker *worker,
                      sbx_time_ns retry_after)
{
    bool was_cooling = router->now < worker->cooling_until;
    sbx_time_ns length = sbx_worker_cool_down(worker, retry_after, router->now);
    sbx_registry_learn_busy(&router->registry, worker);
    sbx_router_note(router, SBX_NOTE_WORKER_COOLING, request, worker)->note.delay_ns = length;
    if (!was_cooling)
        sbx_router_got_worse(router);
}

void sbx_router_affect_worker(sbx_router *router, sbx_request *request, sbx_worker *worker,
                              const sbx_class *row, sbx_time_ns retry_after_ns)
{
    switch (row->worker) {
    case SBX_CLASS_WORKER_NOTHING:
        return;
    case SBX_CLASS_WORKER_COOL_DOWN:
        cool_down(router, request, worker, retry_after_ns);
        break;
    case SBX_CLASS_WORKER_DROP_MODEL:
        sbx_router_note(router, SBX_NOTE_MODEL_DROPPED, request, worker);
        sbx_registry_drop_model(&router->registry, worker, request->model);
        break;
    case SBX_CLASS_WORKER_HARD_DOWN:
        sbx_router_note(router, SBX_NOTE_WORKER_HARD_DOWN, request, worker)->note.delay_ns =
            SBX_BREAKER_HARD_DOWN;
        sbx_breaker_hard_down(&worker->breaker, router->now);
        worker->half_open_noted = false;
        break;
    case SBX_CLASS_WORKER_DRAIN:
        worker->says_draining = true;
        break;
    }
    sbx_registry_refresh(&router->registry, worker, router->now);
    sbx_router_arm_worker(router, worker);
    if (row->worker != SBX_CLASS_WORKER_COOL_DOWN)
        sbx_router_got_worse(router);
}

static void learn(sbx_router *router, const sbx_request *request, uint64_t tokens)
{
    const sbx_attempt *attempt = &request->attempt;
    sbx_edge *edge = sbx_router_edge(router, request);
    if (edge == NULL)
        return;
    sbx_time_ns took = router->now - attempt->started_at;
    if (!request->is_streaming)
        sbx_edge_learn_whole(&router->registry, edge, took, router->now);
    else if (attempt->has_content)
        took = router->now - attempt->first_content_at;
    sbx_edge_learn_rate(&router->registry, edge, took, tokens, router->now);
}

static void count_success(sbx_router *router, const sbx_request *request, uint64_t tokens)
{
    sbx_worker *worker = request->attempt.worker;
    worker->successes++;
    worker->cool_downs = 0;
    sbx_registry_learn_room(&router->registry, worker);
    worker->impatience = 0;
    learn(router, request, tokens);
    sbx_poison_served(&router->poison, request->body_hash);
    sbx_router_settle_session(router, request);
    sbx_router_note(router, SBX_NOTE_ATTEMPT_SUCCEEDED, request, worker);
}

static void count_failure(sbx_router *router, sbx_request *request, const sbx_class *row,
                          const sbx_attempt_end *end)
{
    sbx_worker *worker = request->attempt.worker;
    request->failed[request->failed_count++] = sbx_worker_ref_of(worker);
    request->timeouts += (row->flags & SBX_CLASS_TIMEOUT) != 0;
    request->overloads += row->worker == SBX_CLASS_WORKER_COOL_DOWN;
    request->deaths += (row->flags & SBX_CLASS_DEATH) != 0;
    if (end->is_confirmed_death)
        sbx_poison_death(&router->poison, request->body_hash, (uint64_t)worker->slot << 32 | worker->epoch,
                         router->now);
    sbx_router_note(router, SBX_NOTE_ATTEMPT_FAILED, request, worker)->note.outcome = end->outcome;
}

/* Takes the attempt from its worker; its handle is stale from here on. */
static void detach(sbx_router *router, sbx_request *request, const sbx_attempt_end *end)
{
    if (end->is_cancelled_by_us) {
        sbx_action *action = sbx_router_push(router, SBX_ACTION_CANCEL, request);
        action->cancel.attempt = sbx_attempt_ref_of(request);
        action->cancel.outcome = end->outcome;
    }
    sbx_hot *hot = &router->registry.hot[request->attempt.worker->slot];
    assert(hot->in_flight > 0);
    hot->in_flight--;
    request->model->in_flight--;
    request->attempt.worker->traffic_at = router->now;
    sbx_router_got_room(router, request->attempt.worker);
    sbx_list_remove(&request->running_node);
    request->phase = SBX_REQUEST_WAITING;
}

const sbx_class *sbx_router_judge(sbx_outcome outcome)
{
    return sbx_classify(outcome);
}

void sbx_router_end_attempt(sbx_router *router, sbx_request *request, sbx_attempt_end end)
{
    const sbx_class *row = sbx_router_judge(end.outcome);
    bool progressed = (row->flags & SBX_CLASS_TIMEOUT) != 0 && request->attempt.has_progressed;
    detach(router, request, &end);
    sbx_worker *worker = request->attempt.worker;
    sbx_router_report(router, request, worker, request->attempt.permit,
                      effect_of(router, request, row, &end));
    if (end.outcome == SBX_OUTCOME_OK) {
        count_success(router, request, end.completion_tokens);
        sbx_router_succeed(router, request);
        return;
    }
    if (end.outcome == SBX_OUTCOME_CANCELLED) {
        sbx_router_end_cancelled(router, request);
        return;
    }
    if (row->flags & SBX_CLASS_PASSED) {
        if (end.is_too_long && sbx_router_try_longer(router, request, end.context))
            return;
        sbx_router_pass(router, request);
        return;
    }
    count_failure(router, request, row, &end);
    sbx_router_affect_worker(router, request, worker, row, end.retry_after_ns);
    if (end.outcome == SBX_OUTCOME_REFUSED && worker->kind == SBX_WORKER_NATS)
        sbx_router_worker_silent(router, worker);
    sbx_router_after_failure(router, request, row, &end, !progressed);
}
