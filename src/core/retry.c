/* Retry arithmetic; see retry.h. */
#include "core/retry.h"

#include <assert.h>

static void add(sbx_retry_budget *budget, uint64_t tenths)
{
    uint64_t sum = budget->tenths + tenths;
    budget->tenths = sum < SBX_BUDGET_CAP_TENTHS ? (uint32_t)sum : SBX_BUDGET_CAP_TENTHS;
}

static void refill(sbx_retry_budget *budget, sbx_time_ns now)
{
    int64_t tenths = (now - budget->refilled_at) / SBX_MS(10); /* 10 retries a second */
    if (tenths <= 0)
        return;
    budget->refilled_at += tenths * SBX_MS(10);
    add(budget, (uint64_t)tenths);
}

void sbx_retry_budget_init(sbx_retry_budget *budget, sbx_time_ns now)
{
    *budget = (sbx_retry_budget){.tenths = SBX_BUDGET_CAP_TENTHS, .refilled_at = now};
}

void sbx_retry_budget_request(sbx_retry_budget *budget, sbx_time_ns now)
{
    refill(budget, now);
    add(budget, SBX_BUDGET_REQUEST_TENTHS);
}

bool sbx_retry_budget_take(sbx_retry_budget *budget, sbx_time_ns now)
{
    refill(budget, now);
    if (budget->tenths < SBX_BUDGET_RETRY_TENTHS)
        return false;
    budget->tenths -= SBX_BUDGET_RETRY_TENTHS;
    return true;
}

sbx_time_ns sbx_retry_delay(const sbx_retry_policy *policy, uint32_t n, sbx_rng *rng)
{
    sbx_time_ns ceiling = policy->delay_ns;
    for (uint32_t i = 1; i < n && ceiling < policy->max_delay_ns; i++)
        ceiling = ceiling > policy->max_delay_ns / 2 ? policy->max_delay_ns : ceiling * 2;
    ceiling = sbx_time_max(0, sbx_time_min(ceiling, policy->max_delay_ns));
    return (sbx_time_ns)sbx_rng_below(rng, (uint64_t)ceiling + 1);
}

bool sbx_retry_wants(const sbx_retry_policy *policy, sbx_class_on on)
{
    switch (on) {
    case SBX_CLASS_ON_ALWAYS:
        return true;
    case SBX_CLASS_ON_TIMEOUT:
        return policy->on_timeout;
    case SBX_CLASS_ON_UNAVAILABLE:
        return policy->on_unavailable;
    case SBX_CLASS_ON_OVERLOADED:
        return policy->on_overloaded;
    }
    assert(0 && "a class without a word");
    return false;
}
