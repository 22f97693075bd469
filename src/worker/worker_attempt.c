/* One run from its arrival to its end: body, engine call, limits. */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "worker/worker_node_priv.h"

#define PING_AFTER      SBX_SEC(1)
#define FORGET_AFTER    SBX_SEC(10)
#define NO_DEADLINE_SET SBX_SEC(600)

/* ---- ends ---- */

static void stop_engine(sbx_attempt *attempt)
{
    sbx_engine_call *call = attempt->call;
    attempt->call = NULL;
    if (call != NULL)
        call->kind->cancel(call);
}

static void stop_timers(sbx_attempt *attempt)
{
    sbx_timer_stop(&attempt->deadline);
    sbx_timer_stop(&attempt->start_timer);
    sbx_loop_undefer(attempt->worker->loop, &attempt->start_task);
}

void sbx_attempt_end(sbx_attempt *attempt)
{
    sbx_worker_node *node = attempt->worker;
    if (attempt->state == SBX_ATTEMPT_ENDED)
        return;
    attempt->state = SBX_ATTEMPT_ENDED;
    attempt->ended_at = sbx_loop_now(node->loop);
    stop_timers(attempt);
    stop_engine(attempt);
    sbx_buf_deinit(&attempt->body);
    sbx_buf_deinit(&attempt->pending);
    assert(node->running > 0);
    node->running--;
    node->ended_count++;
    sbx_node_check_drained(node);
}

void sbx_attempt_forget(sbx_attempt *attempt)
{
    sbx_worker_node *node = attempt->worker;
    assert(attempt->state == SBX_ATTEMPT_ENDED);
    sbx_recent_add(&node->recent, sbx_view_cstr(attempt->subject), sbx_loop_now(node->loop));
    sbx_map_remove(&node->attempts_by_subject, sbx_view_cstr(attempt->subject));
    sbx_list_remove(&attempt->node);
    attempt->controller->attempts--;
    sbx_node_controller_put(node, attempt->controller);
    sbx_outbox_deinit(&attempt->outbox);
    free(attempt);
    node->ended_count--;
    sbx_node_check_drained(node);
}

void sbx_attempt_cancel(sbx_attempt *attempt)
{
    sbx_attempt_end(attempt);
    sbx_attempt_forget(attempt);
}

void sbx_attempt_fail(sbx_attempt *attempt, sbx_outcome outcome, const char *text)
{
    if (attempt->state == SBX_ATTEMPT_ENDED)
        return;
    sbx_log(run_failed, .worker = attempt->worker->id, .request_id = attempt->request_id,
            .outcome = sbx_outcome_name(outcome), .why = text);
    sbx_attempt_send_error(attempt, outcome, text);
    sbx_attempt_end(attempt);
}

/* ---- what the engine says ---- */

static void on_head(void *user, const sbx_engine_head *head)
{
    sbx_attempt *attempt = user;
    attempt->is_event_stream = sbx_view_starts_with(head->content_type, SBX_VIEW("text/event-stream"));
    sbx_event_cut_init(&attempt->cut);
    sbx_attempt_send_head(attempt, head);
}

static void on_data(void *user, sbx_view bytes)
{
    sbx_attempt_take_bytes(user, bytes);
}

static void on_end(void *user)
{
    sbx_attempt *attempt = user;
    attempt->call = NULL;
    sbx_attempt_finish(attempt);
}

static void on_fail(void *user, sbx_outcome outcome, const char *detail)
{
    sbx_attempt *attempt = user;
    attempt->call = NULL;
    if (outcome == SBX_OUTCOME_REFUSED)
        sbx_node_note_engine(attempt->worker, SBX_BUS_ENGINE_DOWN);
    sbx_attempt_fail(attempt, outcome, detail);
}

static const sbx_engine_events engine_events = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end, .on_fail = on_fail};

static void start_engine(void *user)
{
    sbx_attempt *attempt = user;
    sbx_engine *engine = attempt->worker->engine;
    sbx_engine_request request = {
        .path = sbx_view_cstr(attempt->path),
        .body = sbx_buf_view(&attempt->body),
        .streaming = attempt->streaming,
        .request_id = sbx_view_cstr(attempt->request_id),
        .traceparent = sbx_view_cstr(attempt->traceparent),
    };
    attempt->state = SBX_ATTEMPT_RUNNING;
    sbx_err err = engine->kind->start(engine, &request, &engine_events, attempt, &attempt->call);
    if (err != SBX_OK)
        sbx_attempt_fail(attempt, SBX_OUTCOME_LOCAL, sbx_err_text(err));
}

static void on_start_timer(sbx_timer *timer, void *user)
{
    (void)timer;
    start_engine(user);
}

/* At the end of this turn, so that a cancel behind it is seen first; after a standstill of ours, a little
 * later. */
static void schedule_start(sbx_attempt *attempt)
{
    sbx_worker_node *node = attempt->worker;
    attempt->state = SBX_ATTEMPT_READY;
    if (sbx_loop_now(node->loop) < node->hold_starts_until)
        sbx_timer_start(&attempt->start_timer, node->hold_starts_until);
    else
        sbx_loop_defer(node->loop, &attempt->start_task);
}

static void on_deadline(sbx_timer *timer, void *user)
{
    (void)timer;
    sbx_attempt_fail(user, SBX_OUTCOME_ATTEMPT_TIMEOUT, "the attempt's time at the worker is over");
}

/* ---- arrival ---- */

sbx_attempt *sbx_attempt_find(sbx_worker_node *node, const char *subject)
{
    return sbx_map_get(&node->attempts_by_subject, sbx_view_cstr(subject));
}

static void init(sbx_attempt *attempt, sbx_worker_node *node, const char *subject,
                 const sbx_run_headers *headers)
{
    attempt->worker = node;
    attempt->began_at = attempt->last_frame_at = sbx_loop_now(node->loop);
    attempt->streaming = headers->streaming;
    attempt->credit = headers->credit;
    attempt->body_bytes = headers->body_bytes;
    memcpy(attempt->request_id, headers->request_id, sizeof(attempt->request_id));
    memcpy(attempt->path, headers->path, sizeof(attempt->path));
    memcpy(attempt->traceparent, headers->traceparent, sizeof(attempt->traceparent));
    (void)sbx_view_to_cstr(sbx_view_cstr(subject), attempt->subject,
                           sizeof(attempt->subject)); /* same size */
    sbx_outbox_init(&attempt->outbox, SBX_NODE_KEPT_MAX);
    sbx_buf_init(&attempt->body, SBX_NODE_BODY_MAX);
    sbx_buf_init(&attempt->pending, SIZE_MAX);
    attempt->start_task = (sbx_task){.fn = start_engine, .user = attempt};
    sbx_timer_init(&attempt->start_timer, node->loop, on_start_timer, attempt);
    sbx_timer_init(&attempt->deadline, node->loop, on_deadline, attempt);
}

/* A new attempt that holds a place. NULL: no memory. */
static sbx_attempt *add(sbx_worker_node *node, const char *subject, sbx_node_controller *controller,
                        const sbx_run_headers *headers)
{
    sbx_attempt *attempt = calloc(1, sizeof(*attempt));
    if (attempt == NULL)
        return NULL;
    init(attempt, node, subject, headers);
    if (sbx_map_put(&node->attempts_by_subject, sbx_view_cstr(attempt->subject), attempt) != SBX_OK) {
        free(attempt);
        return NULL;
    }
    attempt->controller = controller;
    controller->attempts++;
    sbx_list_push_back(&node->attempts, &attempt->node);
    node->running++;
    return attempt;
}

static sbx_outcome refusal_of(const sbx_worker_node *node, const sbx_run_headers *headers,
                              const char **ret_why)
{
    uint64_t now_ms = (uint64_t)sbx_time_to_ms(sbx_loop_now(node->loop));
    if (headers->expires_ms > 0 && now_ms >= headers->expires_ms) {
        *ret_why = "its time was over when it came";
        return SBX_OUTCOME_EXPIRED;
    }
    if (node->is_draining) {
        *ret_why = "the worker is draining";
        return SBX_OUTCOME_DRAINING;
    }
    if (node->running >= node->max_concurrent) {
        *ret_why = "all places of the worker are taken";
        return SBX_OUTCOME_OVERLOADED;
    }
    if (headers->body_bytes > SBX_NODE_BODY_MAX) {
        *ret_why = "the body is too large for the worker";
        return SBX_OUTCOME_LOCAL;
    }
    return SBX_OUTCOME_OK;
}

/* A refusal is kept like any other frame, up to a number of them. */
static void refuse(sbx_worker_node *node, const char *subject, sbx_node_controller *controller,
                   const sbx_run_headers *headers, sbx_outcome outcome, const char *why)
{
    sbx_attempt *attempt = NULL;
    if (node->ended_count < SBX_NODE_ENDED_MAX)
        attempt = add(node, subject, controller, headers);
    if (attempt != NULL) {
        sbx_attempt_fail(attempt, outcome, why);
        return;
    }
    sbx_node_send_refusal(node, subject, outcome, why);
    sbx_recent_add(&node->recent, sbx_view_cstr(subject), sbx_loop_now(node->loop));
    sbx_node_controller_put(node, controller);
}

static void accept_run(sbx_attempt *attempt, const sbx_run_headers *headers, sbx_view body)
{
    sbx_worker_node *node = attempt->worker;
    sbx_time_ns limit = headers->deadline_ms == 0 ? NO_DEADLINE_SET : SBX_MS(headers->deadline_ms);
    sbx_attempt_send(attempt, SBX_FRAME_ACK, /* flags= */ 0, (sbx_view){0});
    if (attempt->state == SBX_ATTEMPT_ENDED)
        return;
    sbx_timer_start(&attempt->deadline, sbx_time_add(sbx_loop_now(node->loop), limit));
    if (attempt->body_bytes > 0)
        return; /* it comes in chunks; state is BODY */
    if (sbx_buf_append_view(&attempt->body, body) != SBX_OK)
        sbx_attempt_fail(attempt, SBX_OUTCOME_LOCAL, "out of memory");
    else
        schedule_start(attempt);
}

void sbx_attempt_begin(sbx_worker_node *node, const char *subject, sbx_node_controller *controller,
                       const sbx_run_headers *headers, sbx_view body)
{
    const char *why = NULL;
    sbx_outcome outcome = refusal_of(node, headers, &why);
    if (outcome != SBX_OUTCOME_OK) {
        refuse(node, subject, controller, headers, outcome, why);
        return;
    }
    sbx_attempt *attempt = add(node, subject, controller, headers);
    if (attempt == NULL)
        refuse(node, subject, controller, headers, SBX_OUTCOME_LOCAL, "out of memory");
    else
        accept_run(attempt, headers, body);
}

void sbx_attempt_take_chunk(sbx_attempt *attempt, uint64_t offset, sbx_view bytes)
{
    if (attempt->state == SBX_ATTEMPT_ENDED || attempt->body_bytes == 0)
        return;
    if (attempt->state == SBX_ATTEMPT_BODY && offset == attempt->body.len) {
        if (bytes.len > attempt->body_bytes - attempt->body.len) {
            sbx_attempt_fail(attempt, SBX_OUTCOME_MALFORMED, "more body than was announced");
            return;
        }
        if (sbx_buf_append_view(&attempt->body, bytes) != SBX_OK) {
            sbx_attempt_fail(attempt, SBX_OUTCOME_LOCAL, "out of memory");
            return;
        }
        if (attempt->body.len == attempt->body_bytes)
            schedule_start(attempt);
    }
    sbx_attempt_ping(attempt);
}

/* Over for long, and the controller could have said so. */
static bool is_forgotten(const sbx_attempt *attempt, sbx_time_ns now)
{
    const sbx_worker_node *node = attempt->worker;
    return attempt->state == SBX_ATTEMPT_ENDED && sbx_bus_is_up(node->bus) &&
           now - sbx_time_max(attempt->ended_at, node->up_at) >= FORGET_AFTER;
}

void sbx_attempt_tick(sbx_attempt *attempt, sbx_time_ns now)
{
    if (is_forgotten(attempt, now))
        sbx_attempt_forget(attempt);
    else if (now - attempt->last_frame_at >= PING_AFTER)
        sbx_attempt_ping(attempt);
}
