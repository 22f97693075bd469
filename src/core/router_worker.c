/* Workers come, boot again, fall silent, leave; what they had under way is lost and goes elsewhere. */
#include <assert.h>
#include <string.h>

#include "core/router_priv.h"

/* ---- time --------------------------------------------------------------------------------------------- */

static sbx_time_ns silent_at(const sbx_router *router, const sbx_worker *worker)
{
    bool beats = worker->kind == SBX_WORKER_NATS && worker->is_online;
    return beats ? sbx_time_add(worker->seen_at, router->policy.offline_ns) : SBX_TIME_NEVER;
}

static sbx_time_ns half_open_at(const sbx_worker *worker)
{
    bool waits = worker->counts_tripped && !worker->half_open_noted;
    return waits ? worker->breaker.open_until : SBX_TIME_NEVER;
}

static sbx_time_ns cooled_at(const sbx_router *router, const sbx_worker *worker)
{
    return router->now < worker->cooling_until ? worker->cooling_until : SBX_TIME_NEVER;
}

static sbx_time_ns lost_at(const sbx_router *router, const sbx_worker *worker)
{
    return worker->runs_on ? sbx_time_add(worker->offline_at, router->policy.offline_ns) : SBX_TIME_NEVER;
}

static sbx_time_ns forgotten_at(const sbx_worker *worker)
{
    return worker->is_gone ? sbx_time_add(worker->offline_at, SBX_GONE_FORGOTTEN) : SBX_TIME_NEVER;
}

void sbx_router_arm_worker(sbx_router *router, sbx_worker *worker)
{
    sbx_time_ns due = sbx_time_min(silent_at(router, worker), half_open_at(worker));
    due = sbx_time_min(due, sbx_time_min(cooled_at(router, worker), sbx_router_quiet_at(router, worker)));
    due = sbx_time_min(due, sbx_time_min(lost_at(router, worker), forgotten_at(worker)));
    bool is_armed = sbx_wheel_is_armed(&worker->timer);
    if (is_armed && worker->timer.deadline <= due)
        return;
    if (is_armed || due != SBX_TIME_NEVER)
        sbx_wheel_arm(&router->worker_timers, &worker->timer, due);
}

/* ---- what changes ------------------------------------------------------------------------------------- */

void sbx_router_breaker_changed(sbx_router *router, sbx_request *request, sbx_worker *worker,
                                sbx_breaker_change change)
{
    switch (change) {
    case SBX_BREAKER_UNCHANGED:
        break;
    case SBX_BREAKER_OPENED:
        sbx_router_got_worse(router);
        worker->half_open_noted = false;
        router->counts.breaker_trips++;
        if (request != NULL)
            request->breaker_trips++;
        sbx_router_note(router, SBX_NOTE_BREAKER_OPENED, request, worker)->note.delay_ns =
            sbx_breaker_retry_in(&worker->breaker, router->now);
        break;
    case SBX_BREAKER_WAS_CLOSED:
        worker->ramp_from = router->now; /* what failed before is paid for by the slow start */
        worker->penalty = 0;
        sbx_router_note(router, SBX_NOTE_BREAKER_CLOSED, request, worker);
        break;
    }
    bool is_special = router->registry.hot[worker->slot].special != 0;
    if (change == SBX_BREAKER_UNCHANGED && !is_special && worker->penalty == 0)
        return; /* the usual case */
    sbx_registry_refresh(&router->registry, worker, router->now);
    sbx_router_arm_worker(router, worker);
    sbx_router_got_room(router, worker);
}

static void set_pending(sbx_router *router, sbx_worker *worker)
{
    if (!sbx_list_node_is_linked(&worker->pending_node))
        sbx_list_push_back(&router->pending, &worker->pending_node);
}

/* All attempts that run at the worker now are lost; they fail over in do_pending. */
static void lose_attempts(sbx_router *router, sbx_worker *worker)
{
    worker->epoch++;
    worker->lost_without_blame = worker->is_bus_cut;
    worker->is_bus_cut = false;
    worker->runs_on = false;
    sbx_router_got_worse(router);
    sbx_router_cancel_probe(router, worker, SBX_OUTCOME_CANCELLED);
    if (!sbx_list_is_empty(&worker->running))
        set_pending(router, worker);
}

static void go_offline(sbx_router *router, sbx_worker *worker)
{
    if (!worker->is_online)
        return;
    sbx_registry_set_online(&router->registry, worker, false);
    worker->offline_at = router->now;
    worker->note_offline = true;
    set_pending(router, worker);
    sbx_registry_refresh(&router->registry, worker, router->now);
}

void sbx_router_worker_silent(sbx_router *router, sbx_worker *worker)
{
    go_offline(router, worker);
    worker->runs_on = true;
    sbx_router_arm_worker(router, worker);
}

void sbx_router_on_worker_timer(sbx_router *router, sbx_worker *worker)
{
    sbx_time_ns now = router->now;
    if (now >= silent_at(router, worker)) {
        go_offline(router, worker);
        lose_attempts(router, worker);
    }
    if (now >= lost_at(router, worker))
        lose_attempts(router, worker);
    if (now >= half_open_at(worker)) {
        worker->half_open_noted = true;
        sbx_router_note(router, SBX_NOTE_BREAKER_HALF_OPEN, NULL, worker);
    }
    if (now >= sbx_router_quiet_at(router, worker))
        sbx_router_on_quiet(router, worker);
    bool is_idle = sbx_list_is_empty(&worker->running) && !sbx_list_node_is_linked(&worker->pending_node);
    if (now >= forgotten_at(worker) && is_idle) {
        sbx_registry_forget(&router->registry, worker);
        return;
    }
    sbx_router_arm_worker(router, worker);
    sbx_router_got_room(router, worker); /* a cool-down or an open time may have ended */
}

/* ---- lost attempts, a page at a time --------------------------------------------------------------------
 */

static sbx_request *first_lost(const sbx_worker *worker)
{
    /* New attempts join at the end, so the lost ones are in front. */
    sbx_list_node *node = sbx_list_first(&worker->running);
    if (node == NULL)
        return NULL;
    sbx_request *request = SBX_CONTAINER_OF(node, sbx_request, running_node);
    return request->attempt.worker_epoch != worker->epoch ? request : NULL;
}

/* One piece of pending work; false when there was none left at this worker. */
static bool do_piece(sbx_router *router, sbx_worker *worker)
{
    if (worker->note_offline) {
        worker->note_offline = false;
        sbx_router_note(router, SBX_NOTE_WORKER_OFFLINE, NULL, worker);
        return true;
    }
    sbx_request *lost = first_lost(worker);
    if (lost == NULL)
        return false;
    sbx_router_end_attempt(router, lost,
                           (sbx_attempt_end){.outcome = SBX_OUTCOME_RESET,
                                             .retry_after_ns = -1,
                                             .is_cancelled_by_us = true,
                                             .is_blameless = worker->lost_without_blame,
                                             .is_confirmed_death = !worker->lost_without_blame});
    return true;
}

void sbx_router_do_pending(sbx_router *router)
{
    while (sbx_router_has_room(router, 2 * SBX_STEP_ROOM)) {
        sbx_list_node *node = sbx_list_first(&router->pending);
        if (node == NULL)
            return;
        sbx_worker *worker = SBX_CONTAINER_OF(node, sbx_worker, pending_node);
        if (do_piece(router, worker))
            continue;
        sbx_list_remove(node);
        sbx_router_arm_worker(router, worker);
    }
}

/* ---- seen --------------------------------------------------------------------------------------------- */

static void remember_boot(sbx_worker *worker, sbx_view boot_id, sbx_time_ns now)
{
    size_t len = boot_id.len < SBX_BOOT_ID_MAX ? boot_id.len : SBX_BOOT_ID_MAX;
    if (len > 0)
        memcpy(worker->boot_id, boot_id.data, len);
    worker->boot_id_len = (uint16_t)len;
    sbx_breaker_boot(&worker->breaker, now);
}

/* A new worker under the old id: nothing of the old one counts any more, and it starts slowly. */
static void reboot(sbx_router *router, sbx_worker *worker, sbx_view boot_id)
{
    worker->is_bus_cut = false; /* a boot id that changed meanwhile is a death all the same */
    lose_attempts(router, worker);
    remember_boot(worker, boot_id, router->now);
    worker->half_open_noted = false;
    sbx_registry_forget_busy(&router->registry, worker);
    worker->penalty = 0;
    worker->impatience = 0;
    worker->is_unhealthy = false;
    worker->ramp_from = router->now;
    sbx_router_note(router, SBX_NOTE_WORKER_REBOOTED, NULL, worker);
}

static void check_boot(sbx_router *router, sbx_worker *worker, sbx_view boot_id)
{
    sbx_view known = sbx_view_of(worker->boot_id, worker->boot_id_len);
    sbx_view cut = sbx_view_slice(boot_id, 0, SBX_BOOT_ID_MAX);
    if (cut.len == 0 || sbx_view_eq(known, cut))
        return;
    if (known.len == 0)
        remember_boot(worker, cut, router->now);
    else
        reboot(router, worker, cut);
}

static void use_breaker_policy(sbx_router *router, sbx_worker *worker, const sbx_breaker_policy *own)
{
    if (own != NULL)
        worker->own_policy = *own;
    worker->breaker.policy = own != NULL ? &worker->own_policy : &router->policy.breaker;
}

/* The last word counts: a list's, or what was said when a prompt did not fit. */
static void take_contexts(sbx_router *router, const sbx_worker_seen *seen)
{
    for (size_t i = 0; seen->contexts != NULL && i < seen->model_count; i++) {
        sbx_model *model = sbx_registry_model(&router->registry, seen->models[i]);
        if (model != NULL && seen->contexts[i] > 0)
            model->context = seen->contexts[i];
    }
}

static void copy_facts(sbx_router *router, sbx_worker *worker, const sbx_worker_seen *seen)
{
    worker->kind = seen->kind;
    worker->peer = seen->peer;
    worker->is_helper = seen->is_helper;
    worker->attempt_ns = seen->attempt_ns;
    worker->engine = seen->engine;
    worker->says_draining = seen->draining;
    worker->is_gone = false;
    worker->runs_on = false;
    worker->seen_at = router->now;
    use_breaker_policy(router, worker, seen->breaker);
    sbx_registry_set_capacity(&router->registry, worker, seen->capacity, seen->weight);
    bool lost_models =
        sbx_registry_claim(&router->registry, worker, seen->models, seen->model_count, router->now);
    take_contexts(router, seen);
    if (lost_models || seen->draining || seen->engine == SBX_ENGINE_DOWN)
        sbx_router_got_worse(router);
}

/* The bus is back: what was not accepted gets its ACK limit anew, and no blame if it was lost on the way. */
static void end_bus_cut(sbx_router *router, sbx_worker *worker)
{
    worker->is_bus_cut = false;
    SBX_LIST_EACH(node, &worker->running)
    {
        sbx_request *request = SBX_CONTAINER_OF(node, sbx_request, running_node);
        if (request->attempt.is_accepted)
            continue;
        request->attempt.was_cut = true;
        request->attempt.accept_by = sbx_time_add(router->now, router->policy.ack_ns);
        sbx_router_arm(router, request);
    }
}

static void go_online(sbx_router *router, sbx_worker *worker)
{
    if (worker->is_online)
        return;
    sbx_registry_set_online(&router->registry, worker, true);
    worker->penalty = 0; /* what failed while nobody could reach it says nothing of it now */
    sbx_router_note(router, SBX_NOTE_WORKER_ONLINE, NULL, worker);
    sbx_router_got_worse(router); /* it may be back, and yet open or isolated */
}

/* NULL: no room for it, or no id; it cannot be used. */
static sbx_worker *add_worker(sbx_router *router, sbx_view id)
{
    sbx_registry *registry = &router->registry;
    sbx_worker *worker = NULL;
    sbx_err err = sbx_registry_add(registry, id, router->now, &worker);
    if (err != SBX_E_CAP)
        return worker;
    sbx_worker *old = sbx_registry_longest_gone(registry);
    if (old == NULL)
        return NULL;
    sbx_wheel_cancel(&router->worker_timers, &old->timer);
    sbx_registry_forget(registry, old);
    err = sbx_registry_add(registry, id, router->now, &worker);
    assert(err == SBX_OK);
    return worker;
}

void sbx_router_on_seen(sbx_router *router, const sbx_worker_seen *seen)
{
    sbx_registry *registry = &router->registry;
    sbx_worker *worker = sbx_registry_worker_by_id(registry, seen->id);
    if (worker == NULL)
        worker = add_worker(router, seen->id);
    if (worker == NULL)
        return;
    check_boot(router, worker, seen->boot_id);
    copy_facts(router, worker, seen);
    if (worker->is_bus_cut)
        end_bus_cut(router, worker);
    go_online(router, worker);
    sbx_registry_refresh(registry, worker, router->now);
    sbx_router_arm_worker(router, worker);
    sbx_router_got_room(router, worker);
}

/* ---- gone, health, admin, bus ---------------------------------------------------------------------------
 */

void sbx_router_on_gone(sbx_router *router, sbx_worker_ref ref)
{
    sbx_worker *worker = sbx_registry_worker(&router->registry, ref);
    if (worker == NULL)
        return;
    go_offline(router, worker);
    worker->is_gone = true;
    worker->is_bus_cut = false;
    lose_attempts(router, worker);
    sbx_router_arm_worker(router, worker);
}

void sbx_router_on_health(sbx_router *router, sbx_worker_ref ref, bool good, bool changes_nothing_yet)
{
    sbx_worker *worker = sbx_registry_worker(&router->registry, ref);
    if (worker == NULL)
        return;
    if (!changes_nothing_yet)
        worker->is_unhealthy = !good;
    sbx_breaker_change change = sbx_breaker_health(&worker->breaker, good, router->now);
    sbx_router_breaker_changed(router, NULL, worker, change);
    sbx_registry_refresh(&router->registry, worker, router->now);
}

static void reset(sbx_router *router, sbx_worker *worker)
{
    bool was_closed = worker->breaker.phase == SBX_BREAKER_PHASE_CLOSED;
    sbx_breaker_reset(&worker->breaker);
    sbx_registry_forget_busy(&router->registry, worker);
    worker->penalty = 0;
    worker->impatience = 0;
    worker->ramp_from = SBX_TIME_NEVER;
    if (!was_closed)
        sbx_router_note(router, SBX_NOTE_BREAKER_CLOSED, NULL, worker);
}

static void isolate(sbx_router *router, sbx_worker *worker)
{
    sbx_breaker_isolate(&worker->breaker);
    sbx_router_note(router, SBX_NOTE_BREAKER_OPENED, NULL, worker)->note.delay_ns = SBX_TIME_NEVER;
}

void sbx_router_on_admin(sbx_router *router, sbx_worker_ref ref, sbx_worker_command command)
{
    sbx_worker *worker = sbx_registry_worker(&router->registry, ref);
    if (worker == NULL)
        return;
    switch (command) {
    case SBX_COMMAND_RESET:
        reset(router, worker);
        break;
    case SBX_COMMAND_ISOLATE:
        isolate(router, worker);
        break;
    case SBX_COMMAND_DRAIN:
        worker->is_drained = true;
        break;
    case SBX_COMMAND_UNDRAIN:
        worker->is_drained = false;
        break;
    }
    sbx_registry_refresh(&router->registry, worker, router->now);
    sbx_router_arm_worker(router, worker);
    sbx_router_got_room(router, worker);
    sbx_router_got_worse(router);
}

/* Nobody can be picked while the bus is down. What runs already may survive: workers replay when it is back
 * soon, and are lost, without blame, when it is not. */
void sbx_router_on_bus_down(sbx_router *router)
{
    sbx_registry *registry = &router->registry;
    for (uint32_t i = 0; i < registry->count; i++) {
        sbx_worker *worker = &registry->workers[registry->order[i]];
        if (worker->kind != SBX_WORKER_NATS || !worker->is_online)
            continue;
        go_offline(router, worker);
        worker->is_bus_cut = true;
        worker->runs_on = true;
        sbx_router_arm_worker(router, worker);
    }
}
