/* A balancer chooses among the candidates of a model that may be picked. One file each, a const table. */
#ifndef SBX_CORE_BALANCER_H
#define SBX_CORE_BALANCER_H

#include "core/pick.h"

typedef struct sbx_balancer {
    const char *name;
    /* The worker, or NULL when no candidate is eligible in pick->tier. Counts pick->eligible. */
    sbx_worker *(*pick)(sbx_pick *pick);
} sbx_balancer;

extern const sbx_balancer sbx_balancer_round_robin;
extern const sbx_balancer sbx_balancer_least_loaded;
extern const sbx_balancer sbx_balancer_smart;

const sbx_balancer *sbx_balancer_of(sbx_strategy strategy);

/* What one candidate would cost, its factor (sbx_pick_factor) included; the cheapest is picked. Ties go to
 * the one that comes first after the model's cursor, which moves on with every attempt. */
typedef uint64_t sbx_cost_of(const sbx_candidate *candidate, const sbx_hot *hot, uint32_t factor);

typedef struct sbx_scan {
    uint64_t best_cost;
    uint32_t best; /* slot, or SBX_NONE */
    uint32_t eligible;
} sbx_scan;

static inline void sbx_scan_look(sbx_scan *scan, const sbx_pick *pick, const sbx_candidate *candidate,
                                 sbx_cost_of *cost_of)
{
    uint32_t factor = sbx_pick_factor(pick, candidate->worker);
    if (factor == 0)
        return;
    uint64_t cost = cost_of(candidate, &pick->registry->hot[candidate->worker], factor);
    scan->eligible++;
    if (cost < scan->best_cost) {
        scan->best = candidate->worker;
        scan->best_cost = cost;
    }
}

/* Inlined with a constant cost_of, so that a balancer's loop has no calls. */
static inline sbx_worker *sbx_scan_cheapest(sbx_pick *pick, sbx_cost_of *cost_of)
{
    sbx_scan scan = {.best = SBX_NONE, .best_cost = UINT64_MAX};
    uint32_t count = pick->model->count;
    uint32_t start = pick->model->cursor % count;
    if (count <= SBX_PICK_EXACT) {
        const sbx_candidate *all = sbx_model_candidate(pick->registry, pick->model, 0); /* one chunk */
        for (uint32_t i = start; i < count; i++)
            sbx_scan_look(&scan, pick, &all[i], cost_of);
        for (uint32_t i = 0; i < start; i++)
            sbx_scan_look(&scan, pick, &all[i], cost_of);
    } else {
        for (uint32_t i = 0; i < SBX_PICK_DRAWS * 4 && scan.eligible < SBX_PICK_DRAWS; i++) {
            uint32_t drawn = (uint32_t)sbx_rng_below(pick->rng, count);
            sbx_scan_look(&scan, pick, sbx_model_candidate(pick->registry, pick->model, drawn), cost_of);
        }
    }
    pick->eligible = scan.eligible;
    return scan.best == SBX_NONE ? NULL : &pick->registry->workers[scan.best];
}

#endif
