/* After a failed attempt: another one now, another one later, or the end. */
#include <assert.h>

#include "core/router_priv.h"

static bool is_tried_afterwards(const sbx_request *request, const sbx_class *row)
{
    switch (row->retry) {
    case SBX_CLASS_RETRY_RESEND:
        return request->is_resent;
    case SBX_CLASS_RETRY_AT_ONCE:
    case SBX_CLASS_RETRY_NO:
    case SBX_CLASS_RETRY_FIRST_AT_ONCE:
    case SBX_CLASS_RETRY_FREE:
        break;
    case SBX_CLASS_RETRY_DELAY:
        return row->worker != SBX_CLASS_WORKER_COOL_DOWN; /* busy is not tried; it cools down */
    }
    return true;
}

static void mark_tried(sbx_request *request, const sbx_class *row)
{
    if (!is_tried_afterwards(request, row))
        return;
    assert(request->tried_count < SBX_MAX_ATTEMPTS);
    request->tried[request->tried_count++] = request->attempt.worker->slot;
}

/* From one helper endpoint to the next, or to the fallback, is no retry: it costs none and waits for none. */
static bool is_free(const sbx_request *request, const sbx_class *row)
{
    if (sbx_request_is_at_helper(request))
        return true;
    return row->retry == SBX_CLASS_RETRY_FREE ||
           (row->retry == SBX_CLASS_RETRY_RESEND && !request->is_resent);
}

static bool is_poison(const sbx_router *router, const sbx_request *request)
{
    return request->deaths >= SBX_POISON_REQUEST_DEATHS ||
           sbx_poison_is_known(&router->poison, request->body_hash, router->now);
}

/* Whether the rules allow one more attempt, candidates and budget aside. */
static bool is_allowed(sbx_router *router, sbx_request *request, const sbx_class *row)
{
    const sbx_retry_policy *policy = &router->policy.retry;
    bool is_off = !policy->enabled && !sbx_request_is_at_helper(request);
    if (request->is_committed || row->retry == SBX_CLASS_RETRY_NO || is_off)
        return false;
    if (request->attempt.number >= SBX_MAX_ATTEMPTS || router->now >= request->deadline_at)
        return false;
    request->is_poison = is_poison(router, request);
    if (request->is_poison)
        return false;
    if (is_free(request, row))
        return true;
    return request->retries < policy->max_retries && sbx_retry_wants(policy, row->on);
}

/* next NULL: whoever has room first, a closed one most likely. */
static bool has_budget(sbx_router *router, sbx_request *request, const sbx_class *row, const sbx_worker *next)
{
    bool to_closed = next == NULL || sbx_breaker_state_at(&next->breaker, router->now) == SBX_BREAKER_CLOSED;
    if (is_free(request, row) || (request->retries == 0 && to_closed))
        return true;
    return sbx_retry_budget_take(&request->model->budget, router->now);
}

static sbx_time_ns delay_of(sbx_router *router, const sbx_request *request, const sbx_class *row,
                            const sbx_worker *next)
{
    if (next == request->attempt.worker && !is_free(request, row))
        return sbx_retry_delay(&router->policy.retry, request->retries + 1, &router->rng);
    bool at_once = row->retry == SBX_CLASS_RETRY_AT_ONCE || is_free(request, row) ||
                   (row->retry == SBX_CLASS_RETRY_FIRST_AT_ONCE && request->retries == 0);
    return at_once ? 0 : sbx_retry_delay(&router->policy.retry, request->retries + 1, &router->rng);
}

static void schedule(sbx_router *router, sbx_request *request, const sbx_class *row, sbx_time_ns delay)
{
    sbx_action *note = sbx_router_note(router, SBX_NOTE_RETRY_SCHEDULED, request, NULL);
    note->note.delay_ns = delay;
    note->note.outcome = request->last_outcome;
    if (!is_free(request, row))
        request->retries++;
    if (row->retry == SBX_CLASS_RETRY_RESEND)
        request->is_resent = true;
    request->retry_at = sbx_time_add(router->now, delay);
}

/* The same worker again, where the policy allows it, but only when nobody else is left. */
static sbx_worker *choose_same(sbx_router *router, sbx_request *request, const sbx_class *row,
                               sbx_model **ret_model, uint32_t *ret_eligible)
{
    bool was_never_seen = row->retry == SBX_CLASS_RETRY_AT_ONCE && row->breaker == SBX_EFFECT_FAILURE;
    if (!router->policy.retry.same_worker || !was_never_seen)
        return NULL;
    request->tried_count--;
    return sbx_router_choose(router, request, ret_model, ret_eligible);
}

static void wait_or_fail(sbx_router *router, sbx_request *request)
{
    if (sbx_router_could_wait(router, request) && sbx_router_wait(router, request))
        sbx_router_note_queued(router, request);
    else
        sbx_router_fail(router, request);
}

void sbx_router_after_failure(sbx_router *router, sbx_request *request, const sbx_class *row,
                              const sbx_attempt_end *end, bool may_retry)
{
    sbx_model *model = NULL;
    uint32_t eligible = 0;
    mark_tried(request, row);
    request->last_row = row;
    request->last_outcome = end->outcome;
    bool goes_on = may_retry && is_allowed(router, request, row);
    sbx_worker *next = goes_on ? sbx_router_choose(router, request, &model, &eligible) : NULL;
    if (goes_on && next == NULL)
        next = choose_same(router, request, row, &model, &eligible);
    if (goes_on && next == NULL)
        sbx_router_note_candidates(router, request, request->model, /* eligible: */ 0);
    bool waits = goes_on && next == NULL && sbx_router_could_wait(router, request);
    if ((next == NULL && !waits) || !has_budget(router, request, row, next)) {
        sbx_router_fail(router, request);
        return;
    }
    sbx_time_ns delay = delay_of(router, request, row, next);
    if (delay >= sbx_time_left(request->deadline_at, router->now)) {
        sbx_router_fail(router, request);
        return;
    }
    schedule(router, request, row, delay);
    if (delay > 0)
        sbx_router_arm(router, request);
    else if (waits)
        wait_or_fail(router, request);
    else
        sbx_router_start(router, request, next, model, eligible);
}

/* ---- contexts ----------------------------------------------------------------------------------------- */

bool sbx_request_is_too_long(const sbx_request *request, const sbx_model *model)
{
    for (uint32_t i = 0; i < request->too_long_count; i++) {
        if (request->too_long[i] == model->slot)
            return true;
    }
    return request->context_floor > 0 && model->context > 0 && model->context <= request->context_floor;
}

bool sbx_router_try_longer(sbx_router *router, sbx_request *request, uint64_t context)
{
    sbx_model *model = request->model;
    uint32_t eligible = 0;
    bool may_move = request->alias != NULL && request->alias->helper == SBX_HELPER_NONE;
    if (context > 0)
        model->context = context; /* learned */
    if (!may_move || request->is_committed || request->too_long_count == SBX_TOO_LONG_MODELS ||
        request->attempt.number >= SBX_MAX_ATTEMPTS || router->now >= request->deadline_at)
        return false;
    request->too_long[request->too_long_count++] = model->slot;
    if (model->context > request->context_floor)
        request->context_floor = model->context;
    sbx_worker *next = sbx_router_choose(router, request, &model, &eligible);
    if (next == NULL)
        return false;
    sbx_router_note(router, SBX_NOTE_ATTEMPT_SUCCEEDED, request, request->attempt.worker)->note.outcome =
        SBX_OUTCOME_CLIENT_ERROR;
    sbx_router_start(router, request, next, model, eligible);
    return true;
}

void sbx_router_retry_now(sbx_router *router, sbx_request *request)
{
    sbx_model *model = NULL;
    uint32_t eligible = 0;
    sbx_worker *next = sbx_router_choose(router, request, &model, &eligible);
    if (next == NULL)
        wait_or_fail(router, request);
    else
        sbx_router_start(router, request, next, model, eligible);
}
