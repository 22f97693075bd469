/* Picking: the candidates by tiers, the census of those that may not be picked, probe duty. */
#include "core/pick.h"

#include <assert.h>

#include "core/balancer.h"

enum {
    PENALTY_WEIGHT = 8 /* a worker that fails all the time counts as this much dearer, plus one */
};
#define PROBE_GAP SBX_SEC(1)

const sbx_balancer *sbx_balancer_of(sbx_strategy strategy)
{
    switch (strategy) {
    case SBX_STRATEGY_ROUND_ROBIN:
        return &sbx_balancer_round_robin;
    case SBX_STRATEGY_LEAST_LOADED:
        return &sbx_balancer_least_loaded;
    case SBX_STRATEGY_SMART:
        break;
    }
    return &sbx_balancer_smart;
}

/* A slow starter takes part in a share of the picks only. */
static bool sits_out(const sbx_pick *pick, uint32_t ramp)
{
    if (ramp == SBX_HOT_ONE || pick->is_ramp_ignored)
        return false;
    return sbx_rng_below(pick->rng, SBX_HOT_ONE) >= ramp;
}

uint32_t sbx_pick_special_factor(const sbx_pick *pick, uint32_t slot)
{
    sbx_registry *registry = pick->registry;
    sbx_worker *worker = &registry->workers[slot];
    sbx_registry_refresh(registry, worker, pick->now);
    if (sbx_pick_is_tried(pick, slot) || sbx_worker_refusal(worker, pick->now) != SBX_REFUSAL_NONE)
        return 0;
    if (sbx_worker_tier(worker, pick->now) != pick->tier)
        return 0;
    uint32_t ramp = sbx_worker_ramp(worker, registry->policy, pick->now);
    if (sits_out(pick, ramp))
        return 0;
    uint32_t penalty = sbx_worker_penalty(worker, pick->now) * PENALTY_WEIGHT;
    return SBX_FACTOR_ONE + penalty * SBX_FACTOR_ONE / SBX_PENALTY_ONE;
}

/* ---- the census --------------------------------------------------------------------------------------- */

void sbx_census_init(sbx_census *census)
{
    *census = (sbx_census){.soonest_room = SBX_TIME_NEVER, .soonest_probe = SBX_TIME_NEVER};
}

static void wait_for_probe(sbx_census *census, const sbx_worker *worker, sbx_time_ns now)
{
    sbx_time_ns wait = sbx_breaker_retry_in(&worker->breaker, now);
    if (wait == 0)
        wait = SBX_ROOM_GUESS; /* half_open, its probe slots taken */
    census->soonest_probe = sbx_time_min(census->soonest_probe, wait);
}

static void count_worker(sbx_census *census, const sbx_worker *worker, sbx_time_ns now)
{
    switch (sbx_worker_refusal(worker, now)) {
    case SBX_REFUSAL_NONE:
        census->eligible[sbx_worker_tier(worker, now)]++;
        return;
    case SBX_REFUSAL_OFFLINE:
        census->offline++;
        return;
    case SBX_REFUSAL_DRAINING:
        census->draining++;
        return;
    case SBX_REFUSAL_BREAKER:
        census->refused++;
        wait_for_probe(census, worker, now);
        return;
    case SBX_REFUSAL_COOLING:
        census->cooling++;
        census->soonest_room = sbx_time_min(census->soonest_room, worker->cooling_until - now);
        return;
    case SBX_REFUSAL_FULL:
        census->full++;
        census->soonest_room = sbx_time_min(census->soonest_room, SBX_ROOM_GUESS);
        return;
    }
}

static bool is_plain(const sbx_hot *hot)
{
    return !hot->special && hot->in_flight < hot->capacity;
}

void sbx_census_sample(sbx_census *census, const sbx_pick *pick, uint32_t most)
{
    const sbx_model *model = pick->model;
    uint32_t count = model->count < most ? model->count : most;
    census->models++;
    census->total += model->count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = sbx_model_candidate(pick->registry, model, i)->worker;
        if (sbx_pick_is_tried(pick, slot))
            census->tried++;
        else if (is_plain(&pick->registry->hot[slot]))
            census->eligible[SBX_TIER_WELL]++;
        else
            count_worker(census, &pick->registry->workers[slot], pick->now);
    }
}

void sbx_census_add(sbx_census *census, const sbx_pick *pick)
{
    sbx_census_sample(census, pick, pick->model->count);
}

/* ---- by tiers ----------------------------------------------------------------------------------------- */

static sbx_worker *first_eligible(sbx_pick *pick)
{
    sbx_model *model = pick->model;
    for (uint32_t i = 0; i < model->count; i++) {
        uint32_t position = (model->cursor + i) % model->count;
        uint32_t slot = sbx_model_candidate(pick->registry, model, position)->worker;
        if (sbx_pick_factor(pick, slot) > 0)
            return &pick->registry->workers[slot];
    }
    return NULL;
}

/* The rare way: no plain candidate came up, so everybody is looked at. */
static sbx_worker *pick_of_best_tier(sbx_pick *pick, const sbx_balancer *balancer)
{
    sbx_census census;
    sbx_census_init(&census);
    sbx_census_add(&census, pick);
    pick->is_ramp_ignored = true;
    for (int tier = SBX_TIER_WELL; tier < SBX_TIER_COUNT; tier++) {
        if (census.eligible[tier] == 0)
            continue;
        pick->tier = (sbx_tier)tier;
        pick->eligible = 0;
        sbx_worker *worker = balancer->pick(pick);
        /* Drawing among very many may miss the few that are eligible. */
        return worker != NULL ? worker : first_eligible(pick);
    }
    return NULL;
}

sbx_worker *sbx_pick_balanced(sbx_pick *pick, sbx_strategy strategy)
{
    const sbx_balancer *balancer = sbx_balancer_of(strategy);
    assert(pick->model->count > 0);
    pick->tier = SBX_TIER_WELL;
    pick->is_ramp_ignored = false;
    pick->eligible = 0;
    sbx_worker *worker = balancer->pick(pick);
    return worker != NULL ? worker : pick_of_best_tier(pick, balancer);
}

sbx_worker *sbx_pick_well(sbx_pick *pick, sbx_strategy strategy)
{
    const sbx_balancer *balancer = sbx_balancer_of(strategy);
    pick->tier = SBX_TIER_WELL;
    pick->is_ramp_ignored = false;
    pick->eligible = 0;
    sbx_worker *worker = balancer->pick(pick);
    if (worker != NULL)
        return worker;
    pick->is_ramp_ignored = true;
    pick->eligible = 0;
    return balancer->pick(pick);
}

/* ---- probe duty --------------------------------------------------------------------------------------- */

static bool may_probe(const sbx_pick *pick, const sbx_worker *worker, bool is_suitable)
{
    if (sbx_pick_is_tried(pick, worker->slot) || sbx_worker_refusal(worker, pick->now) != SBX_REFUSAL_NONE)
        return false;
    if (sbx_worker_tier(worker, pick->now) != SBX_TIER_HALF_OPEN)
        return false;
    return is_suitable || pick->now - worker->breaker.open_until >= PROBE_GAP;
}

sbx_worker *sbx_pick_probe(sbx_pick *pick, bool is_suitable)
{
    sbx_model *model = pick->model;
    bool is_due =
        model->tripped > 0 && pick->now >= model->next_probe_at && pick->now - model->probed_at >= PROBE_GAP;
    if (!is_due)
        return NULL;
    sbx_time_ns soonest = SBX_TIME_NEVER;
    for (uint32_t i = 0; i < model->count; i++) {
        uint32_t position = (model->cursor + i) % model->count;
        uint32_t slot = sbx_model_candidate(pick->registry, model, position)->worker;
        if (!pick->registry->hot[slot].special)
            continue;
        sbx_worker *worker = &pick->registry->workers[slot];
        if (may_probe(pick, worker, is_suitable)) {
            model->probed_at = pick->now;
            return worker;
        }
        if (worker->counts_tripped)
            soonest = sbx_time_min(soonest, sbx_breaker_retry_in(&worker->breaker, pick->now));
    }
    model->next_probe_at = sbx_time_add(pick->now, soonest);
    return NULL;
}
