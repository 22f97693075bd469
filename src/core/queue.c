/* The lines; see queue.h. */
#include "core/queue.h"

#include <assert.h>

#include "base/block.h"

sbx_err sbx_queue_init(sbx_queue *queue, uint32_t requests, uint32_t models, uint64_t seed)
{
    *queue = (sbx_queue){.flow_cap = requests * SBX_QUEUE_MODELS};
    sbx_list_init(&queue->all);
    sbx_list_init(&queue->free_flows);
    sbx_map64_init(&queue->flow_by_key, seed, queue->flow_cap);
    queue->entries = sbx_block_new(requests, sizeof *queue->entries);
    queue->models = sbx_block_new(models, sizeof *queue->models);
    queue->flows = sbx_block_new(queue->flow_cap, sizeof *queue->flows);
    if (queue->entries == NULL || queue->models == NULL || queue->flows == NULL)
        return SBX_E_NOMEM;
    return sbx_map64_reserve(&queue->flow_by_key, queue->flow_cap);
}

void sbx_queue_deinit(sbx_queue *queue)
{
    sbx_map64_deinit(&queue->flow_by_key);
    sbx_block_free(queue->entries);
    sbx_block_free(queue->models);
    sbx_block_free(queue->flows);
    *queue = (sbx_queue){0};
}

bool sbx_queue_fits(const sbx_queue *queue, const sbx_queue_policy *policy, uint32_t model, uint64_t bytes)
{
    const sbx_queue_model *lines = &queue->models[model];
    return lines->fresh < policy->max_length && lines->fresh_bytes <= policy->max_bytes &&
           bytes <= policy->max_bytes - lines->fresh_bytes;
}

static sbx_queue_place *place_of(sbx_list_node *node)
{
    return SBX_CONTAINER_OF(node, sbx_queue_place, node);
}

/* ---- flows -------------------------------------------------------------------------------------------- */

static uint64_t flow_key(uint32_t model, uint64_t key)
{
    return key ^ (((uint64_t)model + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

static sbx_queue_flow *take_flow(sbx_queue *queue)
{
    sbx_list_node *node = sbx_list_pop_front(&queue->free_flows);
    if (node != NULL)
        return SBX_CONTAINER_OF(node, sbx_queue_flow, node);
    assert(queue->flow_high_water < queue->flow_cap); /* one for every place there is */
    return &queue->flows[queue->flow_high_water++];
}

static sbx_queue_flow *new_flow(sbx_queue *queue, uint32_t model, uint64_t key)
{
    sbx_queue_flow *flow = take_flow(queue);
    *flow = (sbx_queue_flow){.model = model, .key = key};
    sbx_list_init(&flow->line);
    sbx_list_push_back(&queue->models[model].flows, &flow->node);
    sbx_err err = sbx_map64_put(&queue->flow_by_key, flow_key(model, key), flow);
    assert(err == SBX_OK); /* reserved at init */
    (void)err;
    return flow;
}

/* NULL when two keys of different models meet under one number, which practically never happens: there is no
 * line for such a request then, and it stands with the returned ones. */
static sbx_queue_flow *flow_of(sbx_queue *queue, uint32_t model, uint64_t key)
{
    sbx_queue_flow *flow = sbx_map64_get(&queue->flow_by_key, flow_key(model, key));
    if (flow == NULL)
        return new_flow(queue, model, key);
    return flow->model == model && flow->key == key ? flow : NULL;
}

static void end_flow(sbx_queue *queue, sbx_queue_flow *flow)
{
    sbx_map64_remove(&queue->flow_by_key, flow_key(flow->model, flow->key));
    sbx_list_remove(&flow->node);
    sbx_list_push_back(&queue->free_flows, &flow->node);
}

/* ---- getting in line ---------------------------------------------------------------------------------- */

static sbx_queue_model *lines_of(sbx_queue *queue, uint32_t model)
{
    sbx_queue_model *lines = &queue->models[model];
    if (lines->length == 0) {
        sbx_list_init(&lines->returned);
        sbx_list_init(&lines->flows);
    }
    return lines;
}

/* Requests return nearly in the order in which they arrived, so the place is near the end. */
static void add_by_arrival(sbx_queue *queue, sbx_list *line, sbx_queue_place *place)
{
    sbx_time_ns arrived_at = queue->entries[place->request].arrived_at;
    sbx_list_node *after = &line->head;
    for (int i = 0; i < SBX_QUEUE_LOOKS && after->prev != &line->head; i++) {
        if (queue->entries[place_of(after->prev)->request].arrived_at <= arrived_at)
            break;
        after = after->prev;
    }
    sbx_list_insert_before(after, &place->node);
}

static bool has_place(const sbx_queue_entry *entry, uint32_t model)
{
    for (uint32_t i = 0; i < entry->place_count; i++) {
        if (entry->places[i].model == model)
            return true;
    }
    return false;
}

static void begin_entry(sbx_queue *queue, sbx_queue_entry *entry, const sbx_queue_join *join)
{
    entry->arrived_at = join->arrived_at;
    entry->bytes = join->bytes;
    sbx_list_push_back(&queue->all, &entry->node);
    queue->count++;
}

bool sbx_queue_add(sbx_queue *queue, const sbx_queue_join *join)
{
    sbx_queue_entry *entry = &queue->entries[join->request];
    if (entry->place_count == SBX_QUEUE_MODELS || has_place(entry, join->model))
        return false;
    if (entry->place_count == 0)
        begin_entry(queue, entry, join);
    sbx_queue_model *lines = lines_of(queue, join->model);
    sbx_queue_place *place = &entry->places[entry->place_count++];
    sbx_queue_flow *flow = join->is_returned ? NULL : flow_of(queue, join->model, join->key);
    *place = (sbx_queue_place){.request = join->request, .model = join->model, .flow = flow};
    if (flow != NULL)
        sbx_list_push_back(&flow->line, &place->node);
    else
        add_by_arrival(queue, &lines->returned, place);
    lines->length++;
    lines->bytes += entry->bytes;
    lines->fresh += flow != NULL;
    lines->fresh_bytes += flow != NULL ? entry->bytes : 0;
    return true;
}

/* ---- leaving ------------------------------------------------------------------------------------------ */

static void leave_place(sbx_queue *queue, sbx_queue_place *place, bool is_served)
{
    sbx_queue_model *lines = &queue->models[place->model];
    sbx_queue_flow *flow = place->flow;
    uint64_t bytes = queue->entries[place->request].bytes;
    assert(lines->length > 0 && lines->bytes >= bytes);
    sbx_list_remove(&place->node);
    lines->length--;
    lines->bytes -= bytes;
    if (flow == NULL)
        return;
    lines->fresh--;
    lines->fresh_bytes -= bytes;
    if (sbx_list_is_empty(&flow->line)) {
        end_flow(queue, flow);
    } else if (is_served) {
        sbx_list_remove(&flow->node);
        sbx_list_push_back(&lines->flows, &flow->node);
    }
}

static sbx_list_node *next_of(const sbx_queue *queue, const sbx_list_node *node)
{
    return sbx_list_next(&queue->all, node);
}

void sbx_queue_leave(sbx_queue *queue, uint32_t request, bool is_served)
{
    sbx_queue_entry *entry = &queue->entries[request];
    assert(entry->place_count > 0);
    while (entry->place_count > 0)
        leave_place(queue, &entry->places[--entry->place_count], is_served);
    if (queue->next == &entry->node)
        queue->next = next_of(queue, &entry->node);
    sbx_list_remove(&entry->node);
    queue->count--;
}

/* ---- who is next -------------------------------------------------------------------------------------- */

uint32_t sbx_queue_fresh(const sbx_queue *queue, uint32_t model)
{
    const sbx_queue_model *lines = &queue->models[model];
    if (lines->fresh == 0)
        return SBX_QUEUE_NOBODY;
    sbx_list_node *node = sbx_list_first(&lines->flows);
    const sbx_queue_flow *flow = SBX_CONTAINER_OF(node, sbx_queue_flow, node);
    return place_of(sbx_list_first(&flow->line))->request;
}

static const sbx_queue_place *place_at(const sbx_queue *queue, uint32_t request, uint32_t model)
{
    const sbx_queue_entry *entry = &queue->entries[request];
    uint32_t i = 0;
    while (entry->places[i].model != model)
        i++;
    assert(i < entry->place_count);
    return &entry->places[i];
}

uint32_t sbx_queue_returned(const sbx_queue *queue, uint32_t model, uint32_t after)
{
    const sbx_queue_model *lines = &queue->models[model];
    if (lines->length == lines->fresh)
        return SBX_QUEUE_NOBODY;
    sbx_list_node *node = after == SBX_QUEUE_NOBODY
                              ? sbx_list_first(&lines->returned)
                              : sbx_list_next(&lines->returned, &place_at(queue, after, model)->node);
    return node == NULL ? SBX_QUEUE_NOBODY : place_of(node)->request;
}

/* ---- the walk ----------------------------------------------------------------------------------------- */

void sbx_queue_walk(sbx_queue *queue)
{
    queue->next = sbx_list_first(&queue->all);
}

uint32_t sbx_queue_walk_next(sbx_queue *queue)
{
    if (queue->next == NULL)
        return SBX_QUEUE_NOBODY;
    const sbx_queue_entry *entry = SBX_CONTAINER_OF(queue->next, sbx_queue_entry, node);
    queue->next = next_of(queue, queue->next);
    return (uint32_t)(entry - queue->entries);
}
