/* Time: the limits of an attempt, the deadline of a request, the wait before a retry. One lazy timer per
 * request: it is armed for the earliest limit, fires, looks what is due, and re-arms itself. Content only
 * stamps the time. */
#include <assert.h>

#include "core/router_priv.h"

enum {
    BYTES_PER_MS = 4096, /* how fast a body must go out, on top of the connect or ACK limit */
    LEARNED_FACTOR = 4   /* times the learned time is long */
};
#define PROBE_LEAST   SBX_SEC(2)
#define PATIENT_LEAST SBX_SEC(5)

static sbx_time_ns learned(const sbx_router *router, const sbx_request *request)
{
    const sbx_edge *edge = sbx_router_edge(router, request);
    return request->is_streaming ? sbx_learned_first_content(edge, request->model)
                                 : sbx_learned_whole(edge, request->model);
}

/* max(least, 4 x learned); NEVER when nothing was learned. */
static sbx_time_ns suspicious(const sbx_router *router, const sbx_request *request, sbx_time_ns least)
{
    sbx_time_ns known = learned(router, request);
    return known < 0 ? SBX_TIME_NEVER : sbx_time_max(least, known * LEARNED_FACTOR);
}

static sbx_time_ns accept_limit(const sbx_router *router, const sbx_request *request)
{
    bool is_nats = request->attempt.worker->kind == SBX_WORKER_NATS;
    sbx_time_ns base = is_nats ? router->policy.ack_ns : router->policy.connect_ns;
    uint64_t extra_ms = request->body_bytes / BYTES_PER_MS;
    return sbx_time_add(base, SBX_MS(extra_ms < UINT32_MAX ? extra_ms : UINT32_MAX));
}

void sbx_router_set_limits(sbx_router *router, sbx_request *request)
{
    sbx_attempt *attempt = &request->attempt;
    const sbx_limits *limits = &request->model->limits;
    bool is_probe = sbx_worker_tier(attempt->worker, router->now) == SBX_TIER_HALF_OPEN;
    sbx_time_ns answer = request->is_streaming ? limits->first_content_ns : limits->attempt_ns;
    if (!request->is_streaming && attempt->worker->attempt_ns > 0)
        answer = attempt->worker->attempt_ns;
    if (is_probe)
        answer = sbx_time_min(answer, suspicious(router, request, PROBE_LEAST));
    attempt->accept_by = sbx_time_add(router->now, accept_limit(router, request));
    attempt->answer_by = sbx_time_add(router->now, answer);
    attempt->idle_ns = limits->idle_ns;
}

sbx_time_ns sbx_router_attempt_budget(const sbx_router *router, const sbx_request *request)
{
    sbx_time_ns left = sbx_time_left(request->deadline_at, router->now);
    if (request->is_streaming)
        return left; /* once content flows only the request's deadline ends it */
    return sbx_time_min(left, sbx_time_left(request->attempt.answer_by, router->now));
}

static sbx_time_ns idle_at(const sbx_attempt *attempt)
{
    return attempt->is_paused ? SBX_TIME_NEVER : sbx_time_add(attempt->content_at, attempt->idle_ns);
}

/* While the bus is down no ACK can come: that limit waits for it. */
static sbx_time_ns accept_at(const sbx_attempt *attempt)
{
    return attempt->is_accepted || attempt->worker->is_bus_cut ? SBX_TIME_NEVER : attempt->accept_by;
}

static sbx_time_ns attempt_due(const sbx_attempt *attempt)
{
    sbx_time_ns answer = attempt->has_content ? idle_at(attempt) : attempt->answer_by;
    return sbx_time_min(sbx_time_min(accept_at(attempt), answer), attempt->flow_at);
}

void sbx_router_arm(sbx_router *router, sbx_request *request)
{
    sbx_time_ns due = request->deadline_at;
    if (request->phase == SBX_REQUEST_RUNNING)
        due = sbx_time_min(due, attempt_due(&request->attempt));
    else if (request->phase == SBX_REQUEST_QUEUED)
        due = sbx_time_min(due, request->wait_until);
    else
        due = sbx_time_min(due, request->retry_at);
    if (!sbx_wheel_is_armed(&request->timer) || request->timer.deadline > due)
        sbx_wheel_arm(&router->request_timers, &request->timer, due);
}

static void end_by_limit(sbx_router *router, sbx_request *request, sbx_outcome outcome)
{
    sbx_router_end_attempt(router, request,
                           (sbx_attempt_end){.outcome = outcome,
                                             .retry_after_ns = -1,
                                             .is_cancelled_by_us = true,
                                             .is_blameless = request->attempt.was_cut});
}

static sbx_outcome accept_outcome(const sbx_attempt *attempt)
{
    return attempt->worker->kind == SBX_WORKER_NATS ? SBX_OUTCOME_ACK_TIMEOUT : SBX_OUTCOME_CONNECT_TIMEOUT;
}

static void flow(sbx_router *router, sbx_request *request)
{
    sbx_attempt *attempt = &request->attempt;
    attempt->flow_at = SBX_TIME_NEVER;
    sbx_breaker_change change = sbx_breaker_flowing(&attempt->worker->breaker, &attempt->permit, router->now);
    sbx_router_breaker_changed(router, request, attempt->worker, change);
    sbx_router_arm(router, request);
}

static void on_attempt_due(sbx_router *router, sbx_request *request)
{
    sbx_attempt *attempt = &request->attempt;
    sbx_time_ns now = router->now;
    if (now >= accept_at(attempt))
        end_by_limit(router, request, accept_outcome(attempt));
    else if (!attempt->has_content && now >= attempt->answer_by)
        end_by_limit(router, request,
                     request->is_streaming ? SBX_OUTCOME_FIRST_CONTENT_TIMEOUT : SBX_OUTCOME_ATTEMPT_TIMEOUT);
    else if (attempt->has_content && now >= idle_at(attempt))
        end_by_limit(router, request, SBX_OUTCOME_IDLE_TIMEOUT);
    else if (now >= attempt->flow_at)
        flow(router, request);
    else
        sbx_router_arm(router, request); /* content came since the timer was armed */
}

static void on_queued_due(sbx_router *router, sbx_request *request)
{
    if (router->now >= request->wait_until)
        sbx_router_end_waiting(router, request);
    else
        sbx_router_arm(router, request);
}

void sbx_router_on_request_timer(sbx_router *router, sbx_request *request)
{
    bool is_running = request->phase == SBX_REQUEST_RUNNING;
    assert(request->phase != SBX_REQUEST_FREE);
    if (request->phase == SBX_REQUEST_QUEUED)
        on_queued_due(router, request);
    else if (router->now >= request->deadline_at && is_running)
        end_by_limit(router, request, SBX_OUTCOME_DEADLINE);
    else if (router->now >= request->deadline_at)
        sbx_router_fail(router, request); /* while it waited: the last failure is what there is to tell */
    else if (is_running)
        on_attempt_due(router, request);
    else if (router->now >= request->retry_at)
        sbx_router_retry_now(router, request);
    else
        sbx_router_arm(router, request);
}

bool sbx_router_was_patient(const sbx_router *router, const sbx_request *request)
{
    sbx_time_ns known = suspicious(router, request, PATIENT_LEAST);
    sbx_time_ns enough = known == SBX_TIME_NEVER ? PATIENT_LEAST : known;
    return router->now - request->attempt.started_at >= enough;
}
