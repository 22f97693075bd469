/* The rig; see support_rig.h. */
#include "unit/core/support_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/router_priv.h"

sbx_policy rig_policy(void)
{
    sbx_policy policy = sbx_policy_default();
    policy.strategy = SBX_STRATEGY_ROUND_ROBIN;
    policy.slow_start_ns = 0;
    policy.queue.max_length = 0; /* what has no worker now is told at once */
    policy.max_requests = 256;
    policy.max_workers = 64;
    policy.max_models = 16;
    return policy;
}

void rig_open(rig *r, const sbx_policy *policy)
{
    *r = (rig){.now = SBX_SEC(1000)};
    assert_int_equal(sbx_router_new(policy, 42, &r->router), SBX_OK);
    rig_tick(r, 0);
}

void rig_close(rig *r)
{
    sbx_router_free(r->router);
}

static void step(rig *r, sbx_event event)
{
    r->last = sbx_router_step(r->router, r->now, &event);
}

void rig_tick(rig *r, sbx_time_ns after)
{
    r->now += after;
    step(r, (sbx_event){.kind = SBX_EVENT_TICK});
}

void rig_run(rig *r, sbx_time_ns after)
{
    sbx_time_ns end = r->now + after;
    for (sbx_time_ns due = sbx_router_next_deadline(r->router); due <= end;
         due = sbx_router_next_deadline(r->router)) {
        r->now = sbx_time_max(r->now, due);
        rig_tick(r, 0);
    }
    r->now = end;
}

void rig_until_start(rig *r, sbx_time_ns at_most)
{
    sbx_time_ns end = r->now + at_most;
    while (rig_count(r, SBX_ACTION_START) == 0 && r->now < end)
        rig_tick(r, SBX_MS(1));
}

/* ---- workers ------------------------------------------------------------------------------------------ */

static sbx_worker_ref seen(rig *r, sbx_worker_seen what)
{
    step(r, (sbx_event){.kind = SBX_EVENT_WORKER_SEEN, .seen = what});
    const sbx_worker *worker = sbx_registry_find(sbx_router_registry(r->router), what.id);
    assert_non_null(worker);
    return sbx_worker_describe(worker, r->now).ref;
}

sbx_worker_ref rig_worker_of(rig *r, const char *id, const char *model, uint32_t capacity)
{
    sbx_view models[] = {sbx_view_cstr(model)};
    return seen(r, (sbx_worker_seen){.id = sbx_view_cstr(id),
                                     .kind = SBX_WORKER_HTTP,
                                     .models = models,
                                     .model_count = 1,
                                     .capacity = capacity,
                                     .weight = 100});
}

sbx_worker_ref rig_worker(rig *r, const char *id, uint32_t capacity)
{
    return rig_worker_of(r, id, "m", capacity);
}

sbx_worker_ref rig_nats(rig *r, const char *id, const char *boot_id, uint32_t capacity)
{
    sbx_view models[] = {SBX_VIEW_INIT("m")};
    return seen(r, (sbx_worker_seen){.id = sbx_view_cstr(id),
                                     .kind = SBX_WORKER_NATS,
                                     .boot_id = sbx_view_cstr(boot_id),
                                     .models = models,
                                     .model_count = 1,
                                     .capacity = capacity,
                                     .weight = 100});
}

void rig_gone(rig *r, sbx_worker_ref worker)
{
    step(r, (sbx_event){.kind = SBX_EVENT_WORKER_GONE, .worker = worker});
}

void rig_health(rig *r, sbx_worker_ref worker, bool good)
{
    step(r, (sbx_event){.kind = SBX_EVENT_WORKER_HEALTH, .health = {.worker = worker, .good = good}});
}

void rig_admin(rig *r, sbx_worker_ref worker, sbx_worker_command command)
{
    step(r, (sbx_event){.kind = SBX_EVENT_WORKER_ADMIN, .admin = {.worker = worker, .command = command}});
}

sbx_worker_info rig_info(const rig *r, sbx_worker_ref ref)
{
    const sbx_worker *worker = sbx_registry_get(sbx_router_registry(r->router), ref);
    assert_non_null(worker);
    return sbx_worker_describe(worker, r->now);
}

const char *rig_name(const rig *r, sbx_worker_ref ref)
{
    static char names[8][SBX_WORKER_ID_MAX + 1];
    static size_t next;
    char *name = names[next++ % 8];
    if (ref.generation == 0)
        return "-";
    sbx_view id = rig_info(r, ref).id;
    snprintf(name, sizeof names[0], "%.*s", SBX_VIEW_ARG(id));
    return name;
}

/* ---- requests ----------------------------------------------------------------------------------------- */

sbx_attempt_ref rig_request(rig *r, sbx_event_request_new what)
{
    if (what.model.data == NULL)
        what.model = SBX_VIEW("m");
    if (what.timeout_ns == 0)
        what.timeout_ns = SBX_TIME_NEVER;
    step(r, (sbx_event){.kind = SBX_EVENT_REQUEST_NEW, .request_new = what});
    return rig_count(r, SBX_ACTION_START) == 0 ? (sbx_attempt_ref){0} : rig_started(r);
}

sbx_attempt_ref rig_buffered(rig *r)
{
    return rig_request(r, (sbx_event_request_new){0});
}

sbx_attempt_ref rig_streaming(rig *r)
{
    return rig_request(r, (sbx_event_request_new){.streaming = true});
}

void rig_leave(rig *r, sbx_attempt_ref attempt)
{
    step(r, (sbx_event){.kind = SBX_EVENT_REQUEST_GONE, .request_gone = attempt.request});
}

void rig_accepted(rig *r, sbx_attempt_ref attempt)
{
    step(r, (sbx_event){.kind = SBX_EVENT_ATTEMPT_ACCEPTED, .attempt = attempt});
}

void rig_progress(rig *r, sbx_attempt_ref attempt)
{
    step(r, (sbx_event){.kind = SBX_EVENT_ATTEMPT_PROGRESS, .attempt = attempt});
}

void rig_chunk(rig *r, sbx_attempt_ref attempt, uint32_t flags)
{
    step(r, (sbx_event){.kind = SBX_EVENT_ATTEMPT_CHUNK, .chunk = {.attempt = attempt, .flags = flags}});
}

void rig_content(rig *r, sbx_attempt_ref attempt)
{
    rig_chunk(r, attempt, SBX_CHUNK_CONTENT);
}

void rig_paused(rig *r, sbx_attempt_ref attempt, bool is_paused)
{
    step(r, (sbx_event){.kind = is_paused ? SBX_EVENT_ATTEMPT_PAUSED : SBX_EVENT_ATTEMPT_RESUMED,
                        .attempt = attempt});
}

static void ended(rig *r, sbx_attempt_ref attempt, sbx_outcome outcome, sbx_time_ns retry_after)
{
    step(r, (sbx_event){
                .kind = SBX_EVENT_ATTEMPT_ENDED,
                .ended = {.attempt = attempt, .outcome = outcome, .retry_after_ns = retry_after},
            });
}

void rig_ended(rig *r, sbx_attempt_ref attempt, sbx_outcome outcome)
{
    ended(r, attempt, outcome, -1);
}

void rig_busy(rig *r, sbx_attempt_ref attempt, sbx_time_ns retry_after)
{
    ended(r, attempt, SBX_OUTCOME_OVERLOADED, retry_after);
}

/* ---- what the last step said -------------------------------------------------------------------------- */

size_t rig_count(const rig *r, sbx_action_kind kind)
{
    size_t count = 0;
    for (uint32_t i = 0; i < r->last.count; i++)
        count += r->last.items[i].kind == kind;
    return count;
}

const sbx_action *rig_find(const rig *r, sbx_action_kind kind)
{
    for (uint32_t i = 0; i < r->last.count; i++) {
        if (r->last.items[i].kind == kind)
            return &r->last.items[i];
    }
    fail_msg("no action of kind %d in the last step", kind);
    return NULL;
}

bool rig_noted(const rig *r, sbx_note note)
{
    for (uint32_t i = 0; i < r->last.count; i++) {
        if (r->last.items[i].kind == SBX_ACTION_NOTE && r->last.items[i].note.note == note)
            return true;
    }
    return false;
}

static const sbx_action *last_start(const rig *r)
{
    const sbx_action *found = NULL;
    for (uint32_t i = 0; i < r->last.count; i++) {
        if (r->last.items[i].kind == SBX_ACTION_START)
            found = &r->last.items[i];
    }
    if (found == NULL)
        fail_msg("no START in the last step");
    return found;
}

sbx_attempt_ref rig_started(const rig *r)
{
    return last_start(r)->start.attempt;
}

const char *rig_started_at(const rig *r)
{
    return rig_name(r, last_start(r)->start.worker);
}

const sbx_action *rig_end(const rig *r)
{
    for (uint32_t i = 0; i < r->last.count; i++) {
        sbx_action_kind kind = r->last.items[i].kind;
        if (kind == SBX_ACTION_SUCCEED || kind == SBX_ACTION_PASS || kind == SBX_ACTION_FAIL)
            return &r->last.items[i];
    }
    fail_msg("no request ended in the last step");
    return NULL;
}

void rig_trip(rig *r, sbx_worker_ref ref)
{
    sbx_worker *worker = sbx_registry_worker(&r->router->registry, ref);
    assert_non_null(worker);
    for (uint32_t i = 0; i < worker->breaker.policy->failure_threshold; i++) {
        sbx_breaker_permit permit;
        assert_int_equal(sbx_breaker_acquire(&worker->breaker, r->now, SBX_TIME_NEVER, &permit), SBX_OK);
        sbx_breaker_change change =
            sbx_breaker_report(&worker->breaker, permit, SBX_EFFECT_FAILURE, r->now, &r->router->rng);
        r->router->action_count = 0;
        sbx_router_breaker_changed(r->router, NULL, worker, change);
    }
}
