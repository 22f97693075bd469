/* Waiting for room (DESIGN 5 "Admission"): who may wait, who is served when a worker has room, and when
 * waiting is over without that. The rules are on the page of router_priv.h. */
#include <assert.h>

#include "core/resolve.h"
#include "core/router_priv.h"

static sbx_resolver models_of(sbx_router *router, const sbx_request *request)
{
    sbx_resolver resolver;
    sbx_resolver_init_for(&resolver, router, request);
    return resolver;
}

/* ---- hope --------------------------------------------------------------------------------------------- */

static bool has_tried(const sbx_request *request, uint32_t worker)
{
    for (uint32_t i = 0; i < request->tried_count; i++) {
        if (request->tried[i] == worker)
            return true;
    }
    return false;
}

/* Whether the worker may take something before `by`. When a full one will have room nobody knows: any moment.
 */
static bool may_serve(const sbx_worker *worker, sbx_time_ns now, sbx_time_ns by)
{
    switch (sbx_worker_refusal(worker, now)) {
    case SBX_REFUSAL_NONE:
        return true;
    case SBX_REFUSAL_FULL:
        return worker->hot->capacity > 0;
    case SBX_REFUSAL_COOLING:
        return worker->cooling_until < by;
    case SBX_REFUSAL_BREAKER:
        return sbx_time_add(now, sbx_breaker_retry_in(&worker->breaker, now)) < by;
    case SBX_REFUSAL_OFFLINE:
        return worker->runs_on; /* the bus or a ping may find it again; its attempts wait for that too */
    case SBX_REFUSAL_DRAINING:
        break;
    }
    return false;
}

/* Ends at the first worker that may, and usually that is the first one. */
static bool has_hope_in(const sbx_router *router, const sbx_request *request, const sbx_model *model,
                        sbx_time_ns by)
{
    for (uint32_t i = 0; i < model->count; i++) {
        uint32_t slot = sbx_model_candidate(&router->registry, model, i)->worker;
        if (!has_tried(request, slot) && may_serve(&router->registry.workers[slot], router->now, by))
            return true;
    }
    return false;
}

static bool has_hope(sbx_router *router, const sbx_request *request)
{
    const sbx_queue_entry *entry = &router->queue.entries[request->slot];
    for (uint32_t i = 0; i < entry->place_count; i++) {
        const sbx_model *model = &router->registry.models[entry->places[i].model];
        if (has_hope_in(router, request, model, request->wait_until))
            return true;
    }
    return false;
}

/* ---- getting in line ---------------------------------------------------------------------------------- */

static sbx_time_ns latest_end(const sbx_router *router, const sbx_request *request)
{
    sbx_time_ns left = router->policy.queue.max_wait_ns - request->queue_wait_ns;
    return left <= 0 ? router->now : sbx_time_min(request->deadline_at, sbx_time_add(router->now, left));
}

static void stand_at(sbx_router *router, sbx_request *request, sbx_model *model)
{
    bool is_returned = request->attempt.number > 0;
    const sbx_queue_policy *policy = &router->policy.queue;
    if (!is_returned && !sbx_queue_fits(&router->queue, policy, model->slot, request->body_bytes))
        return;
    sbx_queue_join join = {.request = request->slot,
                           .model = model->slot,
                           .key = request->key_hash,
                           .arrived_at = request->started_at,
                           .bytes = request->body_bytes,
                           .is_returned = is_returned};
    if (sbx_queue_add(&router->queue, &join))
        sbx_model_ref(model);
}

static void forget_places(sbx_router *router, sbx_request *request, bool is_served)
{
    const sbx_queue_entry *entry = &router->queue.entries[request->slot];
    uint32_t models[SBX_QUEUE_MODELS];
    uint32_t count = entry->place_count;
    if (count == 0)
        return;
    for (uint32_t i = 0; i < count; i++)
        models[i] = entry->places[i].model;
    sbx_queue_leave(&router->queue, request->slot, is_served);
    for (uint32_t i = 0; i < count; i++)
        sbx_model_unref(&router->registry, &router->registry.models[models[i]]);
}

bool sbx_router_could_wait(sbx_router *router, const sbx_request *request)
{
    sbx_time_ns until = latest_end(router, request);
    if (router->policy.queue.max_length == 0 || until <= router->now)
        return false;
    sbx_census census = sbx_router_census(router, request);
    if (census.full + census.cooling == 0)
        return false;
    sbx_resolver resolver = models_of(router, request);
    for (sbx_model *model = sbx_resolver_next(&resolver); model != NULL;
         model = sbx_resolver_next(&resolver)) {
        if (has_hope_in(router, request, model, until))
            return true;
    }
    return false;
}

bool sbx_router_wait(sbx_router *router, sbx_request *request)
{
    assert(request->phase == SBX_REQUEST_WAITING);
    sbx_time_ns until = latest_end(router, request);
    if (router->policy.queue.max_length == 0 || until <= router->now)
        return false;
    sbx_resolver resolver = models_of(router, request);
    for (sbx_model *model = sbx_resolver_next(&resolver); model != NULL; model = sbx_resolver_next(&resolver))
        stand_at(router, request, model);
    request->wait_until = until;
    if (!has_hope(router, request)) {
        forget_places(router, request, /* is_served: */ false);
        return false;
    }
    router->counts.queue_joins++;
    request->phase = SBX_REQUEST_QUEUED;
    request->queued_at = router->now;
    sbx_router_arm(router, request);
    return true;
}

void sbx_router_leave_queue(sbx_router *router, sbx_request *request, bool is_served)
{
    assert(request->phase == SBX_REQUEST_QUEUED);
    forget_places(router, request, is_served);
    request->waited_ns = router->now - request->queued_at;
    request->queue_wait_ns += request->waited_ns;
    request->phase = SBX_REQUEST_WAITING;
}

void sbx_router_note_queued(sbx_router *router, const sbx_request *request)
{
    sbx_router_note(router, SBX_NOTE_REQUEST_QUEUED, request, NULL)->note.delay_ns =
        request->wait_until - router->now;
}

/* ---- waiting ends without room ------------------------------------------------------------------------ */

void sbx_router_end_waiting(sbx_router *router, sbx_request *request)
{
    sbx_router_leave_queue(router, request, /* is_served: */ false);
    router->counts.queue_given_up++;
    if (request->attempt.number > 0)
        sbx_router_fail(router, request);
    else
        sbx_router_shed(router, request);
}

/* Goes on with the walk over those that wait, until one of them has to be told; false: all have hope. */
static bool tell_one_hopeless(sbx_router *router)
{
    for (uint32_t slot = sbx_queue_walk_next(&router->queue); slot != SBX_QUEUE_NOBODY;
         slot = sbx_queue_walk_next(&router->queue)) {
        sbx_request *request = &router->requests[slot];
        if (has_hope(router, request))
            continue;
        sbx_router_end_waiting(router, request);
        return true;
    }
    return false;
}

/* ---- a worker has room -------------------------------------------------------------------------------- */

void sbx_router_list_roomy(sbx_router *router, sbx_worker *worker)
{
    if (!sbx_list_node_is_linked(&worker->roomy_node))
        sbx_list_push_back(&router->roomy, &worker->roomy_node);
}

/* The first of those that returned and have not been at this worker. */
static sbx_request *first_returned(const sbx_router *router, uint32_t model, const sbx_worker *worker)
{
    uint32_t slot = sbx_queue_returned(&router->queue, model, SBX_QUEUE_NOBODY);
    for (int i = 0; i < SBX_QUEUE_LOOKS && slot != SBX_QUEUE_NOBODY; i++) {
        sbx_request *request = &router->requests[slot];
        if (!has_tried(request, worker->slot))
            return request;
        slot = sbx_queue_returned(&router->queue, model, slot);
    }
    return NULL;
}

static sbx_request *older(sbx_request *a, sbx_request *b)
{
    if (a == NULL || b == NULL)
        return a == NULL ? b : a;
    return b->started_at < a->started_at ? b : a;
}

static sbx_request *next_of_model(const sbx_router *router, uint32_t model, const sbx_worker *worker)
{
    if (router->queue.models[model].length == 0)
        return NULL;
    uint32_t fresh = sbx_queue_fresh(&router->queue, model);
    return older(first_returned(router, model, worker),
                 fresh == SBX_QUEUE_NOBODY ? NULL : &router->requests[fresh]);
}

/* The oldest of those whose turn it is at the worker's models. */
static sbx_request *next_for(const sbx_router *router, const sbx_worker *worker)
{
    sbx_request *next = NULL;
    for (uint32_t e = worker->first_edge; e != SBX_NONE; e = router->registry.edges[e].next)
        next = older(next, next_of_model(router, router->registry.edges[e].model, worker));
    return next;
}

/* Gives one place at the worker away; false when it has none, or nobody wants it. */
static bool serve_one(sbx_router *router, sbx_worker *worker)
{
    if (router->queue.count == 0 || sbx_worker_refusal(worker, router->now) != SBX_REFUSAL_NONE)
        return false;
    sbx_request *request = next_for(router, worker);
    if (request == NULL)
        return false;
    if (router->now >= request->wait_until) {
        sbx_router_end_waiting(router, request);
        return true;
    }
    sbx_model *model = NULL;
    uint32_t eligible = 0;
    sbx_worker *best = sbx_router_choose(router, request, &model, &eligible);
    assert(best != NULL); /* this one, if no better */
    sbx_router_leave_queue(router, request, /* is_served: */ true);
    sbx_router_start(router, request, best, model, eligible);
    return true;
}

void sbx_router_serve_queue(sbx_router *router)
{
    while (sbx_router_has_room(router, 2 * SBX_STEP_ROOM)) {
        if (tell_one_hopeless(router))
            continue;
        sbx_list_node *node = sbx_list_first(&router->roomy);
        if (node == NULL)
            return;
        if (!serve_one(router, SBX_CONTAINER_OF(node, sbx_worker, roomy_node)))
            sbx_list_remove(node);
    }
}

sbx_queue_info sbx_router_queue_of(const sbx_router *router, sbx_view id)
{
    const sbx_model *model = sbx_map_get(&router->registry.by_model, id);
    if (model == NULL || router->queue.models[model->slot].length == 0)
        return (sbx_queue_info){0};
    const sbx_queue_model *lines = &router->queue.models[model->slot];
    uint32_t fresh = sbx_queue_fresh(&router->queue, model->slot);
    uint32_t returned = sbx_queue_returned(&router->queue, model->slot, SBX_QUEUE_NOBODY);
    const sbx_request *next = older(returned == SBX_QUEUE_NOBODY ? NULL : &router->requests[returned],
                                    fresh == SBX_QUEUE_NOBODY ? NULL : &router->requests[fresh]);
    return (sbx_queue_info){
        .length = lines->length, .bytes = lines->bytes, .next_waits_ns = router->now - next->queued_at};
}
