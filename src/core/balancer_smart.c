/* smart: the least expected wait. What would be in flight with this request, over the capacity, weighted by
 * how long the worker takes against the model's average: one request more weighs as much as twice the time,
 * so that noise in what was learned never outweighs load, and equal workers get equal shares. Recent failures
 * make it dearer: who fails fast never looks idle. Who was not measured lately is tried in its turn, one
 * request at a time. */
#include "core/balancer.h"

static inline uint64_t expected_wait(const sbx_candidate *candidate, const sbx_hot *hot, uint32_t factor)
{
    return (uint64_t)candidate->speed * ((uint64_t)hot->in_flight + 1) * hot->inverse * factor;
}

static sbx_worker *worth_measuring(sbx_pick *pick)
{
    sbx_registry *registry = pick->registry;
    uint32_t position = pick->model->cursor % pick->model->count;
    const sbx_candidate *candidate = sbx_model_candidate(registry, pick->model, position);
    if (registry->hot[candidate->worker].in_flight > 0 || !sbx_edge_is_stale(registry, candidate, pick->now))
        return NULL;
    return sbx_pick_factor(pick, candidate->worker) == SBX_FACTOR_ONE ? &registry->workers[candidate->worker]
                                                                      : NULL;
}

static sbx_worker *pick_smart(sbx_pick *pick)
{
    sbx_worker *worker = worth_measuring(pick);
    return worker != NULL ? worker : sbx_scan_cheapest(pick, expected_wait);
}

const sbx_balancer sbx_balancer_smart = {.name = "smart", .pick = pick_smart};
