/* Probes without traffic (DESIGN 5 "Probe duty", last sentence): a half_open worker that nobody came to for a
 * while is asked by ourselves. A backend has its health checks: one is due now. A worker on the bus gets a
 * run of one token, with a permit like any attempt; its end counts like that of one. */
#include <assert.h>

#include "core/router_priv.h"

enum {
    LEARNED_FACTOR = 4 /* times the learned time is long */
};
#define PROBE_LEAST SBX_SEC(2)

sbx_time_ns sbx_router_quiet_at(const sbx_router *router, const sbx_worker *worker)
{
    if (worker->is_probed)
        return worker->probe_by;
    if (!worker->counts_tripped || !sbx_list_is_empty(&worker->running))
        return SBX_TIME_NEVER;
    return sbx_time_add(sbx_time_max(worker->breaker.open_until, worker->traffic_at),
                        router->policy.quiet_ns);
}

static sbx_action *push(sbx_router *router, sbx_action_kind kind, const sbx_worker *worker)
{
    sbx_action *action = sbx_router_push(router, kind, NULL);
    action->probe.probe =
        (sbx_probe_ref){.worker = sbx_worker_ref_of(worker), .number = worker->probe_number};
    action->probe.peer = worker->peer;
    action->probe.model = (sbx_view){0};
    action->probe.budget_ns = 0;
    return action;
}

/* As for any probe: not longer than four times what it usually takes to the first token. */
static sbx_time_ns limit_of(const sbx_edge *edge, const sbx_model *model)
{
    sbx_time_ns known = sbx_learned_first_content(edge, model);
    if (known < 0)
        known = sbx_learned_whole(edge, model);
    sbx_time_ns limit = model->limits.attempt_ns;
    return known < 0 ? limit : sbx_time_min(limit, sbx_time_max(PROBE_LEAST, known * LEARNED_FACTOR));
}

static void start(sbx_router *router, sbx_worker *worker)
{
    const sbx_edge *edge = &router->registry.edges[worker->first_edge];
    const sbx_model *model = &router->registry.models[edge->model];
    sbx_time_ns limit = limit_of(edge, model);
    sbx_err err = sbx_breaker_acquire(&worker->breaker, router->now,
                                      sbx_time_add(router->now, limit + SBX_SEC(1)), &worker->probe_permit);
    assert(err == SBX_OK); /* it was eligible in this very step */
    (void)err;
    worker->is_probed = true;
    worker->probe_number++;
    worker->probe_by = sbx_time_add(router->now, limit);
    router->registry.hot[worker->slot].in_flight++;
    sbx_action *action = push(router, SBX_ACTION_PROBE, worker);
    action->probe.model = sbx_model_view(model);
    action->probe.budget_ns = limit;
}

static void end(sbx_router *router, sbx_worker *worker, sbx_outcome outcome, sbx_time_ns retry_after_ns)
{
    const sbx_class *row = sbx_router_judge(outcome);
    worker->is_probed = false;
    worker->traffic_at = router->now;
    router->registry.hot[worker->slot].in_flight--;
    sbx_router_report(router, NULL, worker, worker->probe_permit, row->breaker);
    if (row->worker != SBX_CLASS_WORKER_DROP_MODEL) /* it may serve its models for other kinds of request */
        sbx_router_affect_worker(router, NULL, worker, row, retry_after_ns);
    if (outcome == SBX_OUTCOME_REFUSED)
        sbx_router_worker_silent(router, worker);
    sbx_router_arm_worker(router, worker);
    sbx_router_got_room(router, worker);
}

void sbx_router_cancel_probe(sbx_router *router, sbx_worker *worker, sbx_outcome outcome)
{
    if (!worker->is_probed)
        return;
    push(router, SBX_ACTION_PROBE_CANCEL, worker);
    end(router, worker, outcome, /* retry_after_ns: */ -1);
}

void sbx_router_on_quiet(sbx_router *router, sbx_worker *worker)
{
    bool is_half_open = sbx_breaker_state_at(&worker->breaker, router->now) == SBX_BREAKER_HALF_OPEN;
    if (worker->is_probed) {
        sbx_router_cancel_probe(router, worker, SBX_OUTCOME_ATTEMPT_TIMEOUT);
        return;
    }
    worker->traffic_at = router->now; /* asked, or not to be asked now: looked at again in a while */
    if (!is_half_open || worker->first_edge == SBX_NONE ||
        sbx_worker_refusal(worker, router->now) != SBX_REFUSAL_NONE)
        return;
    if (worker->kind == SBX_WORKER_HTTP)
        push(router, SBX_ACTION_CHECK_HEALTH, worker);
    else
        start(router, worker);
}

void sbx_router_on_probe_ended(sbx_router *router, sbx_probe_ref probe, sbx_outcome outcome,
                               sbx_time_ns retry_after_ns)
{
    sbx_worker *worker = sbx_registry_worker(&router->registry, probe.worker);
    if (worker != NULL && worker->is_probed && worker->probe_number == probe.number)
        end(router, worker, outcome, retry_after_ns);
}
