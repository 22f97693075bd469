/* How requests end: exactly once, with the code that DESIGN 5 "Retry" and 7 "Errors" name. */
#include <assert.h>

#include "core/router_priv.h"

static sbx_request_meta meta_of(const sbx_request *request, bool is_answered)
{
    sbx_request_meta meta = {
        .started_at = request->started_at,
        .attempts = request->attempt.number,
        .breaker_trips = request->breaker_trips,
        .timeouts = request->timeouts,
        .queue_wait_ns = request->queue_wait_ns,
        .failed_count = request->failed_count,
    };
    for (uint32_t i = 0; i < request->failed_count; i++)
        meta.failed[i] = request->failed[i];
    if (is_answered)
        meta.selected = sbx_worker_ref_of(request->attempt.worker);
    return meta;
}

static sbx_action *push_end(sbx_router *router, sbx_action_kind kind, const sbx_request *request,
                            sbx_request_end end)
{
    bool is_answered = end == SBX_END_OK || end == SBX_END_CLIENT_ERROR;
    sbx_action *action = sbx_router_push(router, kind, request);
    action->end.end = end;
    action->end.error = SBX_API_NONE;
    action->end.http_status = 0;
    action->end.last_outcome = request->last_outcome;
    action->end.last_error = request->last_row == NULL ? SBX_API_NONE : request->last_row->error;
    action->end.retry_after_ns = -1;
    action->end.should_retry = -1;
    action->end.committed = request->is_committed;
    action->end.helper = sbx_request_helper(request);
    action->end.has_fallback = sbx_router_has_fallback(router, request);
    action->end.meta = meta_of(request, is_answered && kind != SBX_ACTION_FAIL);
    return action;
}

void sbx_router_push_commit(sbx_router *router, sbx_request *request)
{
    sbx_router_push(router, SBX_ACTION_COMMIT, request)->commit.meta =
        meta_of(request, /* is_answered: */ true);
}

static void finish(sbx_router *router, sbx_request *request, sbx_request_end end)
{
    router->counts.ended[end]++;
    sbx_router_release(router, request);
}

void sbx_router_succeed(sbx_router *router, sbx_request *request)
{
    if (request->is_streaming && !request->is_committed) {
        request->is_committed = true; /* a stream without content, complete all the same */
        sbx_router_push_commit(router, request);
    }
    push_end(router, SBX_ACTION_SUCCEED, request, SBX_END_OK);
    finish(router, request, SBX_END_OK);
}

void sbx_router_pass(sbx_router *router, sbx_request *request)
{
    sbx_router_note(router, SBX_NOTE_ATTEMPT_SUCCEEDED, request, request->attempt.worker)->note.outcome =
        SBX_OUTCOME_CLIENT_ERROR;
    push_end(router, SBX_ACTION_PASS, request, SBX_END_CLIENT_ERROR);
    finish(router, request, SBX_END_CLIENT_ERROR);
}

void sbx_router_end_cancelled(sbx_router *router, sbx_request *request)
{
    sbx_action *action = push_end(router, SBX_ACTION_FAIL, request, SBX_END_CANCELLED);
    action->end.error = SBX_API_CLIENT_CLOSED_REQUEST;
    action->end.http_status = 499;
    action->end.last_outcome = SBX_OUTCOME_CANCELLED;
    finish(router, request, SBX_END_CANCELLED);
}

/* ---- helpers ------------------------------------------------------------------------------------------ */

bool sbx_router_has_fallback(sbx_router *router, const sbx_request *request)
{
    if (sbx_request_helper(request) == SBX_HELPER_NONE || !request->alias->falls_back)
        return false;
    const sbx_model *model = sbx_registry_model(&router->registry, request->alias->name);
    return model != NULL && model->online > 0;
}

/* With somebody to fall back on it is told as of any request. Without, the endpoints are what is missing,
 * unless they are only busy or it was not about them at all. */
sbx_api_error sbx_router_helper_error(sbx_router *router, const sbx_request *request, sbx_api_error error)
{
    bool is_theirs = error != SBX_API_WORKER_OVERLOADED && error != SBX_API_INTERNAL_ERROR &&
                     request->last_outcome != SBX_OUTCOME_DEADLINE;
    if (sbx_request_helper(request) == SBX_HELPER_NONE || !is_theirs ||
        sbx_router_has_fallback(router, request))
        return error;
    return request->alias->falls_back ? SBX_API_NO_WORKERS_AVAILABLE : SBX_API_HELPER_NODE_UNAVAILABLE;
}

/* ---- nothing was tried -------------------------------------------------------------------------------- */

static bool has_eligible(const sbx_census *census)
{
    return census->eligible[SBX_TIER_WELL] + census->eligible[SBX_TIER_DOUBTFUL] +
               census->eligible[SBX_TIER_HALF_OPEN] >
           0;
}

sbx_api_error sbx_router_error_of_census(const sbx_router *router, const sbx_census *census,
                                         sbx_time_ns *ret_retry_after)
{
    sbx_time_ns soonest = sbx_time_min(census->soonest_room, census->soonest_probe);
    *ret_retry_after = soonest == SBX_TIME_NEVER ? -1 : soonest;
    if (census->models == 0 && router->registry.online > 0)
        return SBX_API_MODEL_NOT_FOUND;
    if (census->full + census->cooling > 0)
        return SBX_API_WORKER_OVERLOADED;
    if (has_eligible(census)) {
        *ret_retry_after = SBX_ROOM_GUESS;
        return SBX_API_WORKER_OVERLOADED; /* it waited too long when one had room */
    }
    if (census->refused > 0)
        return SBX_API_CIRCUIT_BREAKER_OPEN;
    *ret_retry_after = SBX_ROOM_GUESS;
    return SBX_API_NO_WORKERS_AVAILABLE;
}

sbx_action *sbx_router_refuse(sbx_router *router, void *owner, sbx_api_error error,
                              sbx_time_ns retry_after_ns)
{
    bool is_unknown = error == SBX_API_MODEL_NOT_FOUND;
    sbx_request_end end = is_unknown ? SBX_END_CLIENT_ERROR : SBX_END_SHED;
    sbx_action *action = sbx_router_push(router, SBX_ACTION_FAIL, NULL);
    action->owner = owner;
    action->end.end = end;
    action->end.error = error;
    action->end.http_status = (uint32_t)sbx_api_error_status(error);
    action->end.last_outcome = SBX_OUTCOME_OK;
    action->end.last_error = SBX_API_NONE;
    action->end.retry_after_ns = is_unknown ? -1 : retry_after_ns;
    action->end.should_retry = is_unknown ? -1 : 1;
    action->end.committed = false;
    action->end.helper = SBX_HELPER_NONE;
    action->end.has_fallback = false;
    action->end.meta = (sbx_request_meta){.started_at = router->now};
    router->counts.ended[end]++;
    return action;
}

void sbx_router_shed(sbx_router *router, sbx_request *request)
{
    sbx_time_ns retry_after = -1;
    sbx_census census = sbx_router_census(router, request);
    sbx_api_error error = sbx_router_error_of_census(router, &census, &retry_after);
    error = sbx_router_helper_error(router, request, error);
    bool is_unknown = error == SBX_API_MODEL_NOT_FOUND;
    sbx_request_end end = is_unknown ? SBX_END_CLIENT_ERROR : SBX_END_SHED;
    sbx_action *action = push_end(router, SBX_ACTION_FAIL, request, end);
    action->end.error = error;
    action->end.http_status = (uint32_t)sbx_api_error_status(error);
    action->end.retry_after_ns = is_unknown ? -1 : retry_after;
    action->end.should_retry = is_unknown ? -1 : 1;
    finish(router, request, end);
}

/* ---- attempts failed ---------------------------------------------------------------------------------- */

static sbx_api_error error_of(const sbx_request *request)
{
    if (request->is_committed)
        return SBX_API_STREAM_INTERRUPTED;
    if (request->last_outcome == SBX_OUTCOME_LOCAL)
        return SBX_API_INTERNAL_ERROR;
    if (request->overloads == request->attempt.number)
        return SBX_API_WORKER_OVERLOADED;
    return request->attempt.number > 1 ? SBX_API_ALL_RETRIES_EXHAUSTED : request->last_row->error;
}

static uint32_t status_of(const sbx_request *request, sbx_api_error error)
{
    bool is_timeout = (request->last_row->flags & SBX_CLASS_TIMEOUT) != 0;
    if (error == SBX_API_ALL_RETRIES_EXHAUSTED && is_timeout)
        return 504;
    return error == request->last_row->error ? request->last_row->http_status
                                             : (uint32_t)sbx_api_error_status(error);
}

static sbx_request_end end_of(const sbx_request *request, sbx_api_error error)
{
    if (request->last_row->flags & SBX_CLASS_TIMEOUT)
        return SBX_END_TIMEOUT;
    if (error == SBX_API_WORKER_OVERLOADED || error == SBX_API_INTERNAL_ERROR)
        return SBX_END_SHED;
    return error == SBX_API_MODEL_NOT_FOUND ? SBX_END_CLIENT_ERROR : SBX_END_UPSTREAM_ERROR;
}

/* 503s say when to come back; what all retries or a poisonous body ended says not to. */
static void advise(sbx_router *router, const sbx_request *request, sbx_action *action)
{
    if (action->end.committed)
        return;
    if (action->end.error == SBX_API_ALL_RETRIES_EXHAUSTED || request->is_poison) {
        action->end.should_retry = 0;
        return;
    }
    if (action->end.http_status != 503)
        return;
    sbx_census census = sbx_router_census_untried(router, request);
    sbx_time_ns soonest = sbx_time_min(census.soonest_room, census.soonest_probe);
    action->end.should_retry = 1;
    action->end.retry_after_ns = soonest == SBX_TIME_NEVER ? SBX_ROOM_GUESS : soonest;
}

void sbx_router_fail(sbx_router *router, sbx_request *request)
{
    sbx_api_error error = sbx_router_helper_error(router, request, error_of(request));
    sbx_request_end end = end_of(request, error);
    assert(request->last_row != NULL && request->phase == SBX_REQUEST_WAITING);
    sbx_action *action = push_end(router, SBX_ACTION_FAIL, request, end);
    action->end.error = error;
    action->end.http_status = status_of(request, error);
    advise(router, request, action);
    finish(router, request, end);
}
