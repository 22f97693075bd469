/* smart: the least expected wait. What is in flight over the capacity, weighted by how long the worker takes
 * against the model's average; recent failures make it dearer, so that who fails fast never looks idle. */
#include "core/balancer.h"

static inline uint64_t expected_wait(const sbx_candidate *candidate, const sbx_hot *hot)
{
    return (uint64_t)candidate->speed * ((uint64_t)hot->base + (uint64_t)hot->in_flight * hot->inverse);
}

static sbx_worker *pick_smart(sbx_pick *pick)
{
    sbx_model *model = pick->model;
    sbx_candidate_doubt(pick->registry, model, model->cursor % model->count, pick->now);
    return sbx_scan_cheapest(pick, expected_wait);
}

const sbx_balancer sbx_balancer_smart = {.name = "smart", .pick = pick_smart};
