/* Workers: slots, handles, lookup by id, and the tables' memory. Models and edges: registry_models.c. */
#include "core/registry_priv.h"

#include <assert.h>
#include <string.h>

#include "base/block.h"

enum {
    EDGES_PER_WORKER = 16, /* on average; one worker may have SBX_WORKER_MODELS_MAX */
    EDGES_LEAST = 1024,
    ROOM_STEP_MAX = 256 /* successes */
};

static void set_sizes(sbx_registry *registry, const sbx_policy *policy)
{
    registry->cap = policy->max_workers;
    registry->model_cap = policy->max_models;
    registry->edge_cap = policy->max_workers * EDGES_PER_WORKER;
    if (registry->edge_cap < EDGES_LEAST)
        registry->edge_cap = EDGES_LEAST;
    registry->chunk_cap = registry->edge_cap / SBX_CHUNK_CANDIDATES + registry->model_cap;
    registry->dir_size = registry->cap / SBX_CHUNK_CANDIDATES + 1;
    registry->model_free = SBX_NONE;
    registry->edge_free = SBX_NONE;
}

static bool all_tables(sbx_registry *registry)
{
    registry->workers = sbx_block_new(registry->cap, sizeof *registry->workers);
    registry->hot = sbx_block_new(registry->cap, sizeof *registry->hot);
    registry->order = sbx_block_new(registry->cap, sizeof *registry->order);
    registry->free_list = sbx_block_new(registry->cap, sizeof *registry->free_list);
    registry->models = sbx_block_new(registry->model_cap, sizeof *registry->models);
    registry->listed = sbx_block_new(registry->model_cap, sizeof *registry->listed);
    registry->edges = sbx_block_new(registry->edge_cap, sizeof *registry->edges);
    registry->chunks =
        sbx_block_new((size_t)registry->chunk_cap * SBX_CHUNK_CANDIDATES, sizeof *registry->chunks);
    registry->chunk_free = sbx_block_new(registry->chunk_cap, sizeof *registry->chunk_free);
    registry->chunk_dir =
        sbx_block_new((size_t)registry->model_cap * registry->dir_size, sizeof *registry->chunk_dir);
    return registry->workers && registry->hot && registry->order && registry->free_list && registry->models &&
           registry->listed && registry->edges && registry->chunks && registry->chunk_free &&
           registry->chunk_dir;
}

sbx_err sbx_registry_init(sbx_registry *registry, const sbx_policy *policy, uint64_t seed)
{
    *registry = (sbx_registry){.policy = policy};
    set_sizes(registry, policy);
    sbx_map_init(&registry->by_id, (sbx_siphash_key){.k0 = seed, .k1 = ~seed}, registry->cap);
    sbx_map_init(&registry->by_model, (sbx_siphash_key){.k0 = ~seed, .k1 = seed}, registry->model_cap);
    sbx_err err = all_tables(registry) ? SBX_OK : SBX_E_NOMEM;
    if (err == SBX_OK)
        err = sbx_map_reserve(&registry->by_id, registry->cap);
    if (err == SBX_OK)
        err = sbx_map_reserve(&registry->by_model, registry->model_cap);
    if (err != SBX_OK)
        sbx_registry_deinit(registry);
    return err;
}

void sbx_registry_deinit(sbx_registry *registry)
{
    sbx_map_deinit(&registry->by_id);
    sbx_map_deinit(&registry->by_model);
    sbx_block_free(registry->workers);
    sbx_block_free(registry->hot);
    sbx_block_free(registry->order);
    sbx_block_free(registry->free_list);
    sbx_block_free(registry->models);
    sbx_block_free(registry->listed);
    sbx_block_free(registry->edges);
    sbx_block_free(registry->chunks);
    sbx_block_free(registry->chunk_free);
    sbx_block_free(registry->chunk_dir);
    *registry = (sbx_registry){0};
}

size_t sbx_registry_count(const sbx_registry *registry)
{
    return registry->count;
}

const sbx_worker *sbx_registry_at(const sbx_registry *registry, size_t index)
{
    assert(index < registry->count);
    return &registry->workers[registry->order[index]];
}

sbx_worker *sbx_registry_worker(sbx_registry *registry, sbx_worker_ref ref)
{
    if (ref.generation == 0 || ref.slot >= registry->high_water)
        return NULL;
    sbx_worker *worker = &registry->workers[ref.slot];
    bool is_known = worker->generation == ref.generation && worker->id_len > 0;
    return is_known ? worker : NULL;
}

const sbx_worker *sbx_registry_get(const sbx_registry *registry, sbx_worker_ref ref)
{
    if (ref.generation == 0 || ref.slot >= registry->high_water)
        return NULL;
    const sbx_worker *worker = &registry->workers[ref.slot];
    bool is_known = worker->generation == ref.generation && worker->id_len > 0;
    return is_known ? worker : NULL;
}

const sbx_worker *sbx_registry_find(const sbx_registry *registry, sbx_view id)
{
    return sbx_map_get(&registry->by_id, id);
}

sbx_worker *sbx_registry_worker_by_id(sbx_registry *registry, sbx_view id)
{
    return sbx_map_get(&registry->by_id, id);
}

sbx_worker_ref sbx_worker_ref_of(const sbx_worker *worker)
{
    return (sbx_worker_ref){.slot = worker->slot, .generation = worker->generation};
}

/* Rare, so a walk will do. */
sbx_worker *sbx_registry_longest_gone(sbx_registry *registry)
{
    sbx_worker *found = NULL;
    for (uint32_t i = 0; i < registry->count; i++) {
        sbx_worker *worker = &registry->workers[registry->order[i]];
        bool is_free = worker->is_gone && sbx_list_is_empty(&worker->running) &&
                       !sbx_list_node_is_linked(&worker->pending_node);
        if (is_free && (found == NULL || worker->offline_at < found->offline_at))
            found = worker;
    }
    return found;
}

static uint32_t take_slot(sbx_registry *registry)
{
    if (registry->free_slots > 0)
        return registry->free_list[--registry->free_slots];
    if (registry->high_water < registry->cap)
        return registry->high_water++;
    return SBX_NONE;
}

static sbx_worker *fill_slot(sbx_registry *registry, uint32_t slot, sbx_view id)
{
    sbx_worker *worker = &registry->workers[slot];
    *worker = (sbx_worker){.slot = slot,
                           .generation = worker->generation + 1,
                           .order = registry->count,
                           .id_len = (uint16_t)id.len,
                           .hot = &registry->hot[slot],
                           .first_edge = SBX_NONE,
                           .ramp_from = SBX_TIME_NEVER,
                           .room_step = 1};
    memcpy(worker->id, id.data, id.len);
    sbx_list_init(&worker->running);
    sbx_breaker_init(&worker->breaker, &registry->policy->breaker);
    registry->hot[slot] = (sbx_hot){.special = 1};
    registry->order[registry->count++] = slot;
    return worker;
}

sbx_err sbx_registry_add(sbx_registry *registry, sbx_view id, sbx_time_ns now, sbx_worker **ret_worker)
{
    if (id.len == 0 || id.len > SBX_WORKER_ID_MAX)
        return SBX_E_INVALID;
    if (registry->count == registry->cap)
        return SBX_E_CAP;
    uint32_t slot = take_slot(registry);
    assert(slot != SBX_NONE);
    sbx_worker *worker = fill_slot(registry, slot, id);
    worker->offline_at = now;
    sbx_err err = sbx_map_put(&registry->by_id, sbx_view_of(worker->id, worker->id_len), worker);
    assert(err == SBX_OK); /* reserved at start */
    (void)err;
    *ret_worker = worker;
    return SBX_OK;
}

void sbx_registry_forget(sbx_registry *registry, sbx_worker *worker)
{
    assert(sbx_list_is_empty(&worker->running) && !worker->is_online);
    assert(!sbx_wheel_is_armed(&worker->timer) && !sbx_list_node_is_linked(&worker->pending_node));
    sbx_list_remove(&worker->roomy_node);
    sbx_registry_drop_all(registry, worker);
    sbx_map_remove(&registry->by_id, sbx_view_of(worker->id, worker->id_len));
    uint32_t last = registry->order[--registry->count];
    registry->order[worker->order] = last;
    registry->workers[last].order = worker->order;
    worker->id_len = 0;
    registry->hot[worker->slot] = (sbx_hot){.special = 1};
    registry->free_list[registry->free_slots++] = worker->slot;
}

static void set_room(sbx_hot *hot, uint32_t capacity)
{
    hot->capacity = capacity;
    hot->inverse = capacity == 0 ? hot->base : hot->base / capacity;
}

void sbx_registry_set_capacity(sbx_registry *registry, sbx_worker *worker, uint32_t capacity, uint32_t weight)
{
    sbx_hot *hot = &registry->hot[worker->slot];
    bool is_as_before = worker->capacity == capacity;
    worker->weight = weight == 0 ? 100 : weight;
    worker->capacity = capacity;
    hot->base = (uint32_t)((uint64_t)SBX_HOT_ONE * 100 / worker->weight);
    set_room(hot, is_as_before ? hot->capacity : capacity);
}

/* How many successes it takes until it is trusted with one more. */
static uint32_t next_step(const sbx_worker *worker, uint32_t running)
{
    bool is_new = worker->room_successes > 0 || worker->room_was_raised; /* not the same busy moment */
    uint32_t step = is_new ? worker->room_step * 4 : worker->room_step;
    if (running == 0)
        return 1; /* it takes nothing at all now: that tells nothing of how much it takes otherwise */
    if (step < running)
        step = running;
    return step < ROOM_STEP_MAX ? step : ROOM_STEP_MAX;
}

void sbx_registry_learn_busy(sbx_registry *registry, sbx_worker *worker)
{
    sbx_hot *hot = &registry->hot[worker->slot];
    uint32_t proven = hot->in_flight > 0 ? hot->in_flight : 1;
    if (proven < hot->capacity)
        set_room(hot, proven);
    worker->room_step = next_step(worker, hot->in_flight);
    worker->room_successes = 0;
    worker->room_was_raised = false;
}

void sbx_registry_learn_room(sbx_registry *registry, sbx_worker *worker)
{
    sbx_hot *hot = &registry->hot[worker->slot];
    if (hot->capacity >= worker->capacity || ++worker->room_successes < worker->room_step)
        return;
    set_room(hot, hot->capacity + 1);
    worker->room_step = worker->room_step > 1 ? worker->room_step / 2 : 1;
    worker->room_successes = 0;
    worker->room_was_raised = true;
}

void sbx_registry_forget_busy(sbx_registry *registry, sbx_worker *worker)
{
    set_room(&registry->hot[worker->slot], worker->capacity);
    worker->room_step = 1;
    worker->room_successes = 0;
    worker->room_was_raised = false;
    worker->cooling_until = 0;
    worker->cool_downs = 0;
}

size_t sbx_registry_model_count(const sbx_registry *registry)
{
    return registry->listed_count;
}

sbx_view sbx_registry_model_at(const sbx_registry *registry, size_t index)
{
    assert(index < registry->listed_count);
    return sbx_model_view(&registry->models[registry->listed[index]]);
}

bool sbx_registry_knows_model(const sbx_registry *registry, sbx_view id)
{
    return sbx_map_get(&registry->by_model, id) != NULL;
}

sbx_worker_info sbx_worker_describe(const sbx_worker *worker, sbx_time_ns now)
{
    sbx_time_ns retry_in = sbx_breaker_retry_in(&worker->breaker, now);
    sbx_refusal refusal = sbx_worker_refusal(worker, now);
    return (sbx_worker_info){
        .ref = sbx_worker_ref_of(worker),
        .id = sbx_view_of(worker->id, worker->id_len),
        .kind = worker->kind,
        .boot_id = sbx_view_of(worker->boot_id, worker->boot_id_len),
        .peer = worker->peer,
        .model_count = worker->edge_count,
        .capacity = worker->capacity,
        .in_flight = worker->hot->in_flight,
        .engine = worker->engine,
        .online = worker->is_online,
        .draining = worker->says_draining || worker->is_drained,
        .healthy = !worker->is_unhealthy,
        .eligible = refusal == SBX_REFUSAL_NONE || refusal == SBX_REFUSAL_FULL,
        .breaker = sbx_breaker_state_at(&worker->breaker, now),
        .retry_in_ns = retry_in == SBX_TIME_NEVER ? 0 : retry_in,
        .consecutive_failures = worker->breaker.consecutive_failures,
        .attempts = worker->attempts,
        .successes = worker->successes,
        .failures = worker->failures,
        .is_helper = worker->is_helper,
        .rejected = worker->rejected,
        .seen_at = worker->seen_at,
    };
}

sbx_view sbx_worker_model_at(const sbx_registry *registry, const sbx_worker *worker, size_t index)
{
    assert(index < worker->edge_count);
    uint32_t edge = worker->first_edge;
    for (size_t i = 0; i < index; i++)
        edge = registry->edges[edge].next;
    return sbx_model_view(&registry->models[registry->edges[edge].model]);
}
