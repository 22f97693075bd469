/* least_loaded: the smallest share of its capacity in use. Recent failures count as load, up to more than a
 * full worker's, so that who fails fast never looks idle. */
#include "core/balancer.h"

static inline uint64_t load(const sbx_candidate *candidate, const sbx_hot *hot, uint32_t factor)
{
    (void)candidate;
    uint64_t penalty = (uint64_t)hot->base * (factor - SBX_FACTOR_ONE) / SBX_FACTOR_ONE;
    return (uint64_t)hot->in_flight * hot->inverse + penalty;
}

static sbx_worker *pick_least_loaded(sbx_pick *pick)
{
    return sbx_scan_cheapest(pick, load);
}

const sbx_balancer sbx_balancer_least_loaded = {.name = "least_loaded", .pick = pick_least_loaded};
