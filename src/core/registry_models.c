/* Models, interned while a worker claims them or a request refers to them, and the edges between workers and
 * models. A model's candidates are an array in chunks; taking one out moves the last into its place. */
#include <assert.h>
#include <string.h>

#include "core/policy_priv.h"
#include "core/registry_priv.h"

sbx_view sbx_model_view(const sbx_model *model)
{
    return sbx_view_of(model->id, model->id_len);
}

sbx_model *sbx_registry_model(sbx_registry *registry, sbx_view id)
{
    sbx_model *model = sbx_map_get(&registry->by_model, id);
    return model != NULL && model->count > 0 ? model : NULL;
}

/* ---- interning -------------------------------------------------------------------------------------- */

static uint32_t take_model_slot(sbx_registry *registry)
{
    uint32_t slot = registry->model_free;
    if (slot != SBX_NONE)
        registry->model_free = registry->models[slot].next;
    else if (registry->model_high_water < registry->model_cap)
        slot = registry->model_high_water++;
    return slot;
}

/* NULL when the table is full. */
static sbx_model *intern(sbx_registry *registry, sbx_view id, sbx_time_ns now)
{
    sbx_model *known = sbx_map_get(&registry->by_model, id);
    if (known != NULL)
        return known;
    uint32_t slot = take_model_slot(registry);
    if (slot == SBX_NONE)
        return NULL;
    sbx_model *model = &registry->models[slot];
    *model = (sbx_model){.slot = slot,
                         .is_live = true,
                         .id_len = (uint16_t)id.len,
                         .listed = SBX_NONE,
                         .probed_at = -SBX_SEC(1000),
                         .limits = sbx_policy_limits_of(registry->policy, id)};
    memcpy(model->id, id.data, id.len);
    sbx_retry_budget_init(&model->budget, now);
    sbx_ewma_init(&model->first_content, 3);
    sbx_ewma_init(&model->whole, 3);
    sbx_ewma_init(&model->per_token, 3);
    sbx_err err = sbx_map_put(&registry->by_model, sbx_model_view(model), model);
    assert(err == SBX_OK); /* reserved at start */
    (void)err;
    return model;
}

static void forget_if_unused(sbx_registry *registry, sbx_model *model)
{
    if (model->count > 0 || model->requests > 0)
        return;
    sbx_map_remove(&registry->by_model, sbx_model_view(model));
    model->is_live = false;
    model->next = registry->model_free;
    registry->model_free = model->slot;
}

void sbx_model_ref(sbx_model *model)
{
    model->requests++;
}

void sbx_model_unref(sbx_registry *registry, sbx_model *model)
{
    assert(model->requests > 0);
    model->requests--;
    forget_if_unused(registry, model);
}

/* ---- the list of models that somebody online serves --------------------------------------------------- */

static void list_model(sbx_registry *registry, sbx_model *model)
{
    model->listed = registry->listed_count;
    registry->listed[registry->listed_count++] = model->slot;
}

static void unlist_model(sbx_registry *registry, sbx_model *model)
{
    uint32_t last = registry->listed[--registry->listed_count];
    registry->listed[model->listed] = last;
    registry->models[last].listed = model->listed;
    model->listed = SBX_NONE;
}

static void count_online(sbx_registry *registry, sbx_model *model, bool is_online)
{
    bool is_listed = !sbx_model_is_hidden(sbx_model_view(model));
    if (is_online && model->online++ == 0 && is_listed)
        list_model(registry, model);
    if (!is_online && --model->online == 0 && is_listed)
        unlist_model(registry, model);
}

void sbx_registry_set_online(sbx_registry *registry, sbx_worker *worker, bool is_online)
{
    if (worker->is_online == is_online)
        return;
    worker->is_online = is_online;
    if (!worker->is_helper)
        registry->online += is_online ? 1U : UINT32_MAX; /* plus or minus one */
    for (uint32_t e = worker->first_edge; e != SBX_NONE; e = registry->edges[e].next)
        count_online(registry, &registry->models[registry->edges[e].model], is_online);
}

/* ---- candidates --------------------------------------------------------------------------------------- */

static uint32_t take_chunk(sbx_registry *registry)
{
    if (registry->chunk_free_count > 0)
        return registry->chunk_free[--registry->chunk_free_count];
    assert(registry->chunk_high_water < registry->chunk_cap); /* sized for every edge and model */
    return registry->chunk_high_water++;
}

static uint32_t *chunk_place(sbx_registry *registry, const sbx_model *model, uint32_t position)
{
    return &registry->chunk_dir[(size_t)model->slot * registry->dir_size + position / SBX_CHUNK_CANDIDATES];
}

static void add_candidate(sbx_registry *registry, sbx_model *model, uint32_t edge)
{
    uint32_t position = model->count;
    if (position % SBX_CHUNK_CANDIDATES == 0)
        *chunk_place(registry, model, position) = take_chunk(registry);
    model->count++;
    *sbx_model_candidate(registry, model, position) =
        (sbx_candidate){.worker = registry->edges[edge].worker, .edge = edge, .speed = SBX_SPEED_AVERAGE};
    registry->edges[edge].position = position;
}

static void remove_candidate(sbx_registry *registry, sbx_model *model, uint32_t position)
{
    uint32_t last = model->count - 1;
    sbx_candidate moved = *sbx_model_candidate(registry, model, last);
    *sbx_model_candidate(registry, model, position) = moved;
    registry->edges[moved.edge].position = position;
    if (last % SBX_CHUNK_CANDIDATES == 0)
        registry->chunk_free[registry->chunk_free_count++] = *chunk_place(registry, model, last);
    model->count--;
}

/* ---- edges -------------------------------------------------------------------------------------------- */

static uint32_t take_edge(sbx_registry *registry)
{
    uint32_t edge = registry->edge_free;
    if (edge != SBX_NONE)
        registry->edge_free = registry->edges[edge].next;
    else if (registry->edge_high_water < registry->edge_cap)
        edge = registry->edge_high_water++;
    return edge;
}

static void add_edge(sbx_registry *registry, sbx_worker *worker, sbx_model *model)
{
    uint32_t index = take_edge(registry);
    if (index == SBX_NONE) {
        forget_if_unused(registry, model);
        return;
    }
    sbx_edge *edge = &registry->edges[index];
    *edge = (sbx_edge){
        .worker = worker->slot, .model = model->slot, .next = worker->first_edge, .seen = registry->mark};
    sbx_ewma_init(&edge->first_content, 3);
    sbx_ewma_init(&edge->whole, 3);
    sbx_ewma_init(&edge->per_token, 3);
    worker->first_edge = index;
    worker->edge_count++;
    add_candidate(registry, model, index);
    if (worker->is_online)
        count_online(registry, model, true);
    if (worker->counts_tripped)
        model->tripped++;
    model->next_probe_at = 0;
}

/* `link` is the place that holds the edge's index: first_edge, or its predecessor's next. */
static void remove_edge(sbx_registry *registry, sbx_worker *worker, uint32_t *link)
{
    uint32_t index = *link;
    sbx_edge *edge = &registry->edges[index];
    sbx_model *model = &registry->models[edge->model];
    *link = edge->next;
    worker->edge_count--;
    if (worker->is_online)
        count_online(registry, model, false);
    if (worker->counts_tripped)
        model->tripped--;
    remove_candidate(registry, model, edge->position);
    edge->worker = SBX_NONE;
    edge->next = registry->edge_free;
    registry->edge_free = index;
    forget_if_unused(registry, model);
}

sbx_edge *sbx_registry_edge(sbx_registry *registry, const sbx_worker *worker, const sbx_model *model)
{
    for (uint32_t e = worker->first_edge; e != SBX_NONE; e = registry->edges[e].next) {
        if (registry->edges[e].model == model->slot)
            return &registry->edges[e];
    }
    return NULL;
}

static bool remove_unseen(sbx_registry *registry, sbx_worker *worker)
{
    uint32_t before = worker->edge_count;
    uint32_t *link = &worker->first_edge;
    while (*link != SBX_NONE) {
        if (registry->edges[*link].seen == registry->mark)
            link = &registry->edges[*link].next;
        else
            remove_edge(registry, worker, link);
    }
    return worker->edge_count < before;
}

static void claim_one(sbx_registry *registry, sbx_worker *worker, sbx_view id, sbx_time_ns now)
{
    if (id.len == 0 || id.len > SBX_MODEL_ID_MAX)
        return;
    sbx_model *model = intern(registry, id, now);
    if (model == NULL)
        return;
    sbx_edge *edge = sbx_registry_edge(registry, worker, model);
    if (edge != NULL)
        edge->seen = registry->mark;
    else
        add_edge(registry, worker, model);
}

bool sbx_registry_claim(sbx_registry *registry, sbx_worker *worker, const sbx_view *models, size_t count,
                        sbx_time_ns now)
{
    registry->mark++;
    size_t most = count < SBX_WORKER_MODELS_MAX ? count : SBX_WORKER_MODELS_MAX;
    for (size_t i = 0; i < most; i++)
        claim_one(registry, worker, models[i], now);
    return remove_unseen(registry, worker);
}

void sbx_registry_drop_model(sbx_registry *registry, sbx_worker *worker, const sbx_model *model)
{
    uint32_t *link = &worker->first_edge;
    while (*link != SBX_NONE && registry->edges[*link].model != model->slot)
        link = &registry->edges[*link].next;
    if (*link != SBX_NONE)
        remove_edge(registry, worker, link);
}

void sbx_registry_drop_all(sbx_registry *registry, sbx_worker *worker)
{
    while (worker->first_edge != SBX_NONE)
        remove_edge(registry, worker, &worker->first_edge);
}
