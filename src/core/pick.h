/* Picking a worker among a model's candidates: who may be picked (DESIGN 4.3), probe duty, the balancer. */
#ifndef SBX_CORE_PICK_H
#define SBX_CORE_PICK_H

#include "base/rng.h"
#include "core/registry_priv.h"

enum {
    SBX_PICK_EXACT = 64, /* up to so many candidates all are compared */
    SBX_PICK_DRAWS = 8   /* above that the best of so many eligible ones, drawn by seed */
};

typedef struct sbx_pick {
    sbx_registry *registry;
    sbx_rng *rng;
    sbx_model *model;
    sbx_time_ns now;
    const uint32_t *tried; /* slots of workers that are not to be picked */
    uint32_t tried_count;
    sbx_tier tier;        /* which candidates count now */
    bool is_ramp_ignored; /* nobody else is left: slow starters take all */
    uint32_t eligible;    /* out: how many of those looked at could have been picked */
} sbx_pick;

/* What stands in the way, over all candidates of one or more models. */
typedef struct sbx_census {
    uint32_t models; /* that somebody claims */
    uint32_t total, offline, draining, refused, cooling, full, tried;
    uint32_t eligible[SBX_TIER_COUNT];
    sbx_time_ns soonest_room;  /* until a cool-down ends or a full one may have room; NEVER */
    sbx_time_ns soonest_probe; /* until an open breaker lets a probe pass; NEVER */
} sbx_census;

void sbx_census_init(sbx_census *census);
void sbx_census_add(sbx_census *census, const sbx_pick *pick);
/* Looks at `most` candidates only. */
void sbx_census_sample(sbx_census *census, const sbx_pick *pick, uint32_t most);

/* The worker for a request, by tiers; NULL: none. Sets pick->eligible. Who starts the attempt moves the
 * model's cursor on. */
sbx_worker *sbx_pick_balanced(sbx_pick *pick, sbx_strategy strategy);

/* The same among those that are well. */
sbx_worker *sbx_pick_well(sbx_pick *pick, sbx_strategy strategy);

/* A half_open worker that waits for a probe, at most one a second per model; NULL: none. A request that
 * is buffered and without session suits best; others are taken when none came for a second. */
sbx_worker *sbx_pick_probe(sbx_pick *pick, bool is_suitable);

/* For balancers: whether the candidate in `slot` may be picked in pick->tier, and as how expensive it counts:
 * 0 = not, SBX_FACTOR_ONE = plain, more = it failed lately or starts slowly. */
enum {
    SBX_FACTOR_ONE = 256
};
uint32_t sbx_pick_special_factor(const sbx_pick *pick, uint32_t slot);

static inline bool sbx_pick_is_tried(const sbx_pick *pick, uint32_t worker)
{
    for (uint32_t i = 0; i < pick->tried_count; i++) {
        if (pick->tried[i] == worker)
            return true;
    }
    return false;
}

static inline uint32_t sbx_pick_factor(const sbx_pick *pick, uint32_t worker)
{
    const sbx_hot *hot = &pick->registry->hot[worker];
    if (hot->in_flight >= hot->capacity)
        return 0;
    if (hot->special)
        return sbx_pick_special_factor(pick, worker);
    if (pick->tier != SBX_TIER_WELL || (pick->tried_count > 0 && sbx_pick_is_tried(pick, worker)))
        return 0;
    return SBX_FACTOR_ONE;
}

#endif
