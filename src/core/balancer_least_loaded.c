/* least_loaded: the smallest share of its capacity in use; recent failures count as load. */
#include "core/balancer.h"

static inline uint64_t load(const sbx_candidate *candidate, const sbx_hot *hot)
{
    (void)candidate;
    return (uint64_t)hot->in_flight * hot->inverse + 1;
}

static sbx_worker *pick_least_loaded(sbx_pick *pick)
{
    return sbx_scan_cheapest(pick, load);
}

const sbx_balancer sbx_balancer_least_loaded = {.name = "least_loaded", .pick = pick_least_loaded};
