/* The breaker's transitions. Each has one function; the contract is in breaker.h. */
#include "core/breaker.h"

#include <assert.h>
#include <string.h>

static bool is_off(const sbx_breaker *breaker)
{
    return !breaker->policy->enabled && !breaker->is_hard_down;
}

static bool is_current(const sbx_breaker *breaker, const sbx_breaker_permit *permit)
{
    return permit->generation == breaker->generation;
}

static bool is_half_open(const sbx_breaker *breaker, sbx_time_ns now)
{
    return sbx_breaker_state_at(breaker, now) == SBX_BREAKER_HALF_OPEN;
}

/* Every change of state starts a new generation with nothing counted. */
static void enter(sbx_breaker *breaker, sbx_breaker_phase phase)
{
    breaker->phase = phase;
    breaker->generation++;
    breaker->consecutive_failures = 0;
    breaker->successes = 0;
    breaker->probes_out = 0;
    breaker->health_goods = 0;
    breaker->helped_by_request = false;
    breaker->on_probation = false;
    breaker->is_hard_down = false;
    memset(breaker->buckets, 0, sizeof breaker->buckets);
    memset(&breaker->window, 0, sizeof breaker->window);
}

void sbx_breaker_init(sbx_breaker *breaker, const sbx_breaker_policy *policy)
{
    *breaker = (sbx_breaker){.policy = policy, .generation = 1};
}

sbx_breaker_state sbx_breaker_state_at(const sbx_breaker *breaker, sbx_time_ns now)
{
    if (breaker->phase == SBX_BREAKER_PHASE_ISOLATED)
        return SBX_BREAKER_ISOLATED;
    if (breaker->phase == SBX_BREAKER_PHASE_CLOSED || is_off(breaker))
        return SBX_BREAKER_CLOSED;
    return now < breaker->open_until ? SBX_BREAKER_OPEN : SBX_BREAKER_HALF_OPEN;
}

sbx_time_ns sbx_breaker_retry_in(const sbx_breaker *breaker, sbx_time_ns now)
{
    switch (sbx_breaker_state_at(breaker, now)) {
    case SBX_BREAKER_ISOLATED:
        return SBX_TIME_NEVER;
    case SBX_BREAKER_OPEN:
        return sbx_time_left(breaker->open_until, now);
    case SBX_BREAKER_CLOSED:
    case SBX_BREAKER_HALF_OPEN:
        break;
    }
    return 0;
}

/* The attempt's deadline is the permit's lease: a slot that nobody gave back by then is free. */
static bool leases_expired(const sbx_breaker *breaker, sbx_time_ns now)
{
    return breaker->probes_out > 0 && now >= breaker->lease_until;
}

bool sbx_breaker_admits(const sbx_breaker *breaker, sbx_time_ns now)
{
    switch (sbx_breaker_state_at(breaker, now)) {
    case SBX_BREAKER_CLOSED:
        return true;
    case SBX_BREAKER_HALF_OPEN:
        return breaker->probes_out < breaker->policy->half_open_max_probes || leases_expired(breaker, now);
    case SBX_BREAKER_OPEN:
    case SBX_BREAKER_ISOLATED:
        break;
    }
    return false;
}

static void take_probe_slot(sbx_breaker *breaker, sbx_time_ns now, sbx_time_ns lease_until)
{
    if (leases_expired(breaker, now)) {
        breaker->generation++; /* what the lost probes may still say is stale */
        breaker->probes_out = 0;
    }
    breaker->lease_until =
        breaker->probes_out == 0 ? lease_until : sbx_time_max(breaker->lease_until, lease_until);
    breaker->probes_out++;
    assert(breaker->probes_out <= breaker->policy->half_open_max_probes);
}

sbx_err sbx_breaker_acquire(sbx_breaker *breaker, sbx_time_ns now, sbx_time_ns lease_until,
                            sbx_breaker_permit *ret_permit)
{
    if (!sbx_breaker_admits(breaker, now))
        return SBX_E_BREAKER;
    bool is_probe = is_half_open(breaker, now);
    if (is_probe)
        take_probe_slot(breaker, now, lease_until);
    *ret_permit =
        (sbx_breaker_permit){.generation = breaker->generation, .is_probe = is_probe, .holds_slot = is_probe};
    return SBX_OK;
}

static void give_slot_back(sbx_breaker *breaker, sbx_breaker_permit *permit)
{
    if (!permit->holds_slot || !is_current(breaker, permit))
        return;
    assert(breaker->probes_out > 0);
    breaker->probes_out--;
    permit->holds_slot = false;
}

void sbx_breaker_content(sbx_breaker *breaker, sbx_breaker_permit *permit)
{
    give_slot_back(breaker, permit);
}

/* The first open lasts exactly timeout_ns; each further one doubles, plus jitter, up to the cap. */
static sbx_time_ns open_time(const sbx_breaker *breaker, sbx_rng *rng)
{
    const sbx_breaker_policy *policy = breaker->policy;
    if (breaker->opens <= 1)
        return policy->timeout_ns;
    sbx_time_ns cap = sbx_time_max(policy->max_open_ns, policy->timeout_ns);
    sbx_time_ns length = policy->timeout_ns;
    for (uint32_t i = 1; i < breaker->opens && length < cap; i++)
        length = length > cap / 2 ? cap : length * 2;
    uint64_t spread = (uint64_t)length / 100 * SBX_BREAKER_JITTER_PCT;
    return sbx_time_min(cap, length + (sbx_time_ns)sbx_rng_below(rng, spread + 1));
}

static sbx_breaker_change trip(sbx_breaker *breaker, sbx_time_ns now, sbx_rng *rng)
{
    enter(breaker, SBX_BREAKER_PHASE_TRIPPED);
    breaker->opens++;
    breaker->failed_at = now;
    breaker->open_until = sbx_time_add(now, open_time(breaker, rng));
    return SBX_BREAKER_OPENED;
}

static sbx_breaker_change close_again(sbx_breaker *breaker)
{
    bool by_health_alone = !breaker->helped_by_request;
    enter(breaker, SBX_BREAKER_PHASE_CLOSED);
    breaker->on_probation = by_health_alone;
    if (!by_health_alone)
        breaker->opens = 0;
    return SBX_BREAKER_WAS_CLOSED;
}

static sbx_breaker_change half_open_success(sbx_breaker *breaker)
{
    breaker->successes++;
    if (breaker->successes < breaker->policy->success_threshold)
        return SBX_BREAKER_UNCHANGED;
    return close_again(breaker);
}

/* Moves the ring to the bucket of `now`; buckets that fell out of the window leave the sum. */
static void roll_window(sbx_breaker *breaker, sbx_time_ns now)
{
    sbx_time_ns width = sbx_time_max(1, breaker->policy->rate_window_ns / SBX_BREAKER_BUCKETS);
    int64_t current = now / width;
    int64_t steps = current - breaker->bucket;
    if (steps < 0 || steps > SBX_BREAKER_BUCKETS)
        steps = SBX_BREAKER_BUCKETS;
    for (int64_t i = 0; i < steps; i++) {
        size_t oldest = (size_t)((uint64_t)(current - i) % SBX_BREAKER_BUCKETS);
        breaker->window.attempts -= breaker->buckets[oldest].attempts;
        breaker->window.failures -= breaker->buckets[oldest].failures;
        breaker->buckets[oldest].attempts = 0;
        breaker->buckets[oldest].failures = 0;
    }
    breaker->bucket = current;
}

/* Adds one completed attempt; true when the failure rate says trip. */
static bool rate_trips(sbx_breaker *breaker, bool failed, sbx_time_ns now)
{
    const sbx_breaker_policy *policy = breaker->policy;
    if (policy->rate_threshold_pct == 0)
        return false;
    roll_window(breaker, now);
    size_t newest = (size_t)((uint64_t)breaker->bucket % SBX_BREAKER_BUCKETS);
    breaker->buckets[newest].attempts++;
    breaker->window.attempts++;
    breaker->buckets[newest].failures += failed;
    breaker->window.failures += failed;
    return breaker->window.attempts >= policy->rate_min_attempts &&
           (uint64_t)breaker->window.failures * 100 >=
               (uint64_t)policy->rate_threshold_pct * breaker->window.attempts;
}

static sbx_breaker_change on_failure(sbx_breaker *breaker, bool half_open, sbx_time_ns now, sbx_rng *rng)
{
    if (half_open || breaker->on_probation)
        return trip(breaker, now, rng);
    breaker->consecutive_failures++;
    bool by_rate = rate_trips(breaker, /* failed= */ true, now);
    if (by_rate || breaker->consecutive_failures >= breaker->policy->failure_threshold)
        return trip(breaker, now, rng);
    return SBX_BREAKER_UNCHANGED;
}

static sbx_breaker_change on_success(sbx_breaker *breaker, bool half_open, sbx_time_ns now, sbx_rng *rng)
{
    if (half_open) {
        breaker->helped_by_request = true;
        return half_open_success(breaker);
    }
    breaker->consecutive_failures = 0;
    if (breaker->on_probation) {
        breaker->on_probation = false;
        breaker->opens = 0;
    }
    return rate_trips(breaker, /* failed= */ false, now) ? trip(breaker, now, rng) : SBX_BREAKER_UNCHANGED;
}

sbx_breaker_change sbx_breaker_flowing(sbx_breaker *breaker, sbx_breaker_permit *permit, sbx_time_ns now)
{
    if (!permit->is_probe || permit->counted || !is_current(breaker, permit) || is_off(breaker))
        return SBX_BREAKER_UNCHANGED;
    assert(is_half_open(breaker, now));
    permit->counted = true;
    breaker->helped_by_request = true;
    return half_open_success(breaker);
}

sbx_breaker_change sbx_breaker_report(sbx_breaker *breaker, sbx_breaker_permit permit,
                                      sbx_breaker_effect effect, sbx_time_ns now, sbx_rng *rng)
{
    if (!is_current(breaker, &permit))
        return SBX_BREAKER_UNCHANGED;
    give_slot_back(breaker, &permit);
    bool given_while_off = !permit.is_probe && breaker->phase != SBX_BREAKER_PHASE_CLOSED;
    if (is_off(breaker) || given_while_off)
        return SBX_BREAKER_UNCHANGED;
    switch (effect) {
    case SBX_EFFECT_NONE:
        return SBX_BREAKER_UNCHANGED;
    case SBX_EFFECT_FAILURE:
        return on_failure(breaker, permit.is_probe, now, rng);
    case SBX_EFFECT_SUCCESS:
        return permit.counted ? SBX_BREAKER_UNCHANGED : on_success(breaker, permit.is_probe, now, rng);
    case SBX_EFFECT_ALIVE:
        return permit.is_probe && !permit.counted ? on_success(breaker, true, now, rng)
                                                  : SBX_BREAKER_UNCHANGED;
    }
    assert(0 && "an effect without a row");
    return SBX_BREAKER_UNCHANGED;
}

/* A wait that was doubled may end when the first, plain open time would have. */
static void shorten_wait(sbx_breaker *breaker)
{
    if (breaker->is_hard_down || ++breaker->health_goods < SBX_BREAKER_HEALTH_GOODS)
        return;
    sbx_time_ns plain = sbx_time_add(breaker->failed_at, breaker->policy->timeout_ns);
    breaker->open_until = sbx_time_min(breaker->open_until, plain);
}

sbx_breaker_change sbx_breaker_health(sbx_breaker *breaker, bool good, sbx_time_ns now)
{
    if (!good)
        breaker->health_goods = 0;
    if (!good || is_off(breaker))
        return SBX_BREAKER_UNCHANGED;
    switch (sbx_breaker_state_at(breaker, now)) {
    case SBX_BREAKER_HALF_OPEN:
        return half_open_success(breaker);
    case SBX_BREAKER_OPEN:
        shorten_wait(breaker);
        break;
    case SBX_BREAKER_CLOSED:
    case SBX_BREAKER_ISOLATED:
        break;
    }
    return SBX_BREAKER_UNCHANGED;
}

static bool boots_too_often(const sbx_breaker *breaker, sbx_time_ns now)
{
    if (breaker->boot_count < SBX_BREAKER_BOOTS)
        return false;
    sbx_time_ns oldest = breaker->boots[breaker->boot_count % SBX_BREAKER_BOOTS];
    return now - oldest <= SBX_BREAKER_BOOT_SPAN;
}

void sbx_breaker_boot(sbx_breaker *breaker, sbx_time_ns now)
{
    breaker->boots[breaker->boot_count % SBX_BREAKER_BOOTS] = now;
    breaker->boot_count++;
    if (breaker->phase == SBX_BREAKER_PHASE_ISOLATED)
        return;
    bool flaps = boots_too_often(breaker, now);
    enter(breaker, flaps ? SBX_BREAKER_PHASE_TRIPPED : SBX_BREAKER_PHASE_CLOSED);
    breaker->opens = 0;
    breaker->failed_at = now;
    breaker->open_until = now;
}

void sbx_breaker_isolate(sbx_breaker *breaker)
{
    enter(breaker, SBX_BREAKER_PHASE_ISOLATED);
}

void sbx_breaker_reset(sbx_breaker *breaker)
{
    enter(breaker, SBX_BREAKER_PHASE_CLOSED);
    breaker->opens = 0;
}

void sbx_breaker_hard_down(sbx_breaker *breaker, sbx_time_ns now)
{
    if (breaker->phase == SBX_BREAKER_PHASE_ISOLATED)
        return;
    enter(breaker, SBX_BREAKER_PHASE_TRIPPED);
    breaker->is_hard_down = true;
    breaker->failed_at = now;
    breaker->open_until = sbx_time_add(now, SBX_BREAKER_HARD_DOWN);
}
