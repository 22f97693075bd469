/* What is known of a worker at a moment: may it be picked, how much of its share, how fast is it. */
#include <assert.h>

#include "core/registry_priv.h"

sbx_refusal sbx_worker_refusal(const sbx_worker *worker, sbx_time_ns now)
{
    if (!worker->is_online || worker->engine == SBX_ENGINE_DOWN)
        return SBX_REFUSAL_OFFLINE;
    if (worker->says_draining || worker->is_drained)
        return SBX_REFUSAL_DRAINING;
    if (!sbx_breaker_admits(&worker->breaker, now))
        return SBX_REFUSAL_BREAKER;
    if (now < worker->cooling_until)
        return SBX_REFUSAL_COOLING;
    if (worker->hot->in_flight >= worker->hot->capacity)
        return SBX_REFUSAL_FULL;
    return SBX_REFUSAL_NONE;
}

sbx_tier sbx_worker_tier(const sbx_worker *worker, sbx_time_ns now)
{
    if (sbx_breaker_state_at(&worker->breaker, now) == SBX_BREAKER_HALF_OPEN)
        return SBX_TIER_HALF_OPEN;
    bool is_doubtful = worker->is_unhealthy || worker->engine != SBX_ENGINE_UP;
    return is_doubtful ? SBX_TIER_DOUBTFUL : SBX_TIER_WELL;
}

uint32_t sbx_worker_ramp(const sbx_worker *worker, const sbx_policy *policy, sbx_time_ns now)
{
    if (worker->ramp_from == SBX_TIME_NEVER || policy->slow_start_ns <= 0)
        return SBX_HOT_ONE;
    sbx_time_ns passed = now - worker->ramp_from;
    if (passed >= policy->slow_start_ns)
        return SBX_HOT_ONE;
    /* In microseconds: nanoseconds times 65536 would not fit for long ramps. */
    int64_t share = passed / 1000 * SBX_HOT_ONE / sbx_time_max(1, policy->slow_start_ns / 1000);
    return share < SBX_HOT_ONE / 10 ? SBX_HOT_ONE / 10 : (uint32_t)share;
}

uint32_t sbx_worker_penalty(const sbx_worker *worker, sbx_time_ns now)
{
    int64_t halvings = (now - worker->penalty_at) / SBX_PENALTY_HALF_LIFE;
    uint32_t left = halvings > 31 ? 0 : worker->penalty >> halvings;
    /* A trace of it would keep the worker from every pick of an idle cluster, where the cheapest always wins.
     */
    return left <= SBX_PENALTY_ONE / 16 ? 0 : left;
}

void sbx_worker_failed(sbx_worker *worker, sbx_time_ns now)
{
    uint32_t penalty = sbx_worker_penalty(worker, now) + SBX_PENALTY_ONE / 4;
    worker->penalty = penalty < SBX_PENALTY_ONE ? penalty : SBX_PENALTY_ONE;
    worker->penalty_at = now;
}

static sbx_time_ns growing_cool_down(sbx_time_ns first, uint32_t cool_downs)
{
    sbx_time_ns length = first;
    for (uint32_t i = 1; i < cool_downs && length < SBX_COOL_DOWN_MAX; i++)
        length *= 2;
    return sbx_time_min(length, SBX_COOL_DOWN_MAX);
}

sbx_time_ns sbx_worker_cool_down(sbx_worker *worker, sbx_time_ns retry_after_ns, sbx_time_ns now)
{
    /* Many answers of one busy moment are one cool-down. */
    if (now >= worker->cooling_until)
        worker->cool_downs++;
    sbx_time_ns least = retry_after_ns >= 0 ? SBX_COOL_DOWN_LEAST : SBX_COOL_DOWN_FIRST;
    sbx_time_ns length = sbx_time_max(sbx_time_min(retry_after_ns, SBX_COOL_DOWN_NAMED),
                                      growing_cool_down(least, worker->cool_downs));
    worker->cooling_until = sbx_time_max(worker->cooling_until, sbx_time_add(now, length));
    return worker->cooling_until - now;
}

static bool is_special(const sbx_registry *registry, const sbx_worker *worker, sbx_time_ns now)
{
    return !worker->is_online || worker->says_draining || worker->is_drained || worker->is_unhealthy ||
           worker->engine != SBX_ENGINE_UP || worker->breaker.phase != SBX_BREAKER_PHASE_CLOSED ||
           now < worker->cooling_until || sbx_worker_penalty(worker, now) > 0 ||
           sbx_worker_ramp(worker, registry->policy, now) != SBX_HOT_ONE;
}

void sbx_registry_refresh(sbx_registry *registry, sbx_worker *worker, sbx_time_ns now)
{
    bool is_tripped = worker->breaker.phase == SBX_BREAKER_PHASE_TRIPPED;
    if (sbx_worker_penalty(worker, now) == 0)
        worker->penalty = 0;
    registry->hot[worker->slot].special = is_special(registry, worker, now);
    if (!is_tripped && !worker->counts_tripped)
        return;
    for (uint32_t e = worker->first_edge; e != SBX_NONE; e = registry->edges[e].next) {
        sbx_model *model = &registry->models[registry->edges[e].model];
        model->tripped += (uint32_t)is_tripped - (uint32_t)worker->counts_tripped;
        model->next_probe_at = 0; /* look again */
    }
    worker->counts_tripped = is_tripped;
}

/* In steps of a quarter of a power of two: small differences must not decide who is picked. */
static uint32_t coarse(uint64_t ratio)
{
    if (ratio < 4)
        return 4;
    if (ratio > SBX_SPEED_MAX)
        return SBX_SPEED_MAX;
    unsigned drop = 63U - (unsigned)__builtin_clzll(ratio) - 2;
    return (uint32_t)((ratio + (UINT64_C(1) << drop) / 2) >> drop << drop);
}

static uint64_t ratio_of(const sbx_ewma *own, const sbx_ewma *of_all)
{
    uint64_t average = (uint64_t)sbx_ewma_get(of_all, 0) / 1024 + 1;
    return (uint64_t)sbx_ewma_get(own, 0) / average;
}

/* First-token time and time per token, each against the model's average, count alike. */
static void set_speed(sbx_registry *registry, const sbx_edge *edge)
{
    const sbx_model *model = &registry->models[edge->model];
    uint64_t sum = 0, count = 0;
    if (edge->first_content.has_samples) {
        sum += ratio_of(&edge->first_content, &model->first_content);
        count++;
    }
    if (edge->per_token.has_samples) {
        sum += ratio_of(&edge->per_token, &model->per_token);
        count++;
    }
    sbx_model_candidate(registry, model, edge->position)->speed = coarse(sum / count);
}

static bool is_stale(const sbx_edge *edge, sbx_time_ns now)
{
    return edge->learned_at == 0 || now - edge->learned_at > SBX_LEARNED_STALE;
}

bool sbx_edge_is_stale(const sbx_registry *registry, const sbx_candidate *candidate, sbx_time_ns now)
{
    return is_stale(&registry->edges[candidate->edge], now);
}

/* Before a sample is added: what is stale goes first. */
static void touch(sbx_edge *edge, sbx_time_ns now)
{
    if (is_stale(edge, now)) {
        sbx_ewma_init(&edge->first_content, edge->first_content.shift);
        sbx_ewma_init(&edge->whole, edge->whole.shift);
        sbx_ewma_init(&edge->per_token, edge->per_token.shift);
    }
    edge->learned_at = now;
}

void sbx_edge_learn_first_content(sbx_registry *registry, sbx_edge *edge, sbx_time_ns took, sbx_time_ns now)
{
    touch(edge, now);
    sbx_ewma_add(&edge->first_content, took);
    sbx_ewma_add(&registry->models[edge->model].first_content, took);
    set_speed(registry, edge);
}

void sbx_edge_learn_whole(sbx_registry *registry, sbx_edge *edge, sbx_time_ns took, sbx_time_ns now)
{
    touch(edge, now);
    sbx_ewma_add(&edge->whole, took);
    sbx_ewma_add(&registry->models[edge->model].whole, took);
}

void sbx_edge_learn_rate(sbx_registry *registry, sbx_edge *edge, sbx_time_ns took, uint64_t tokens,
                         sbx_time_ns now)
{
    if (tokens == 0)
        return;
    int64_t per_token = (int64_t)((uint64_t)took / tokens);
    touch(edge, now);
    sbx_ewma_add(&edge->per_token, per_token);
    sbx_ewma_add(&registry->models[edge->model].per_token, per_token);
    set_speed(registry, edge);
}

sbx_time_ns sbx_learned_first_content(const sbx_edge *edge, const sbx_model *model)
{
    sbx_time_ns of_all = sbx_ewma_get(&model->first_content, -1);
    return edge == NULL ? of_all : sbx_ewma_get(&edge->first_content, of_all);
}

sbx_time_ns sbx_learned_whole(const sbx_edge *edge, const sbx_model *model)
{
    sbx_time_ns of_all = sbx_ewma_get(&model->whole, -1);
    return edge == NULL ? of_all : sbx_ewma_get(&edge->whole, of_all);
}
