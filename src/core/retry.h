/* Retry arithmetic: back-off with full jitter, and the budget that keeps retries from becoming a storm. */
#ifndef SBX_CORE_RETRY_H
#define SBX_CORE_RETRY_H

#include "base/rng.h"
#include "base/time.h"
#include "core/classify.h"
#include "core/policy.h"

/* A token bucket per model, in tenths of a retry: 100 retries at most, full at start, +0.2 per request,
 * +10 per second. */
typedef struct sbx_retry_budget {
    uint32_t tenths;
    sbx_time_ns refilled_at;
} sbx_retry_budget;

enum {
    SBX_BUDGET_CAP_TENTHS = 1000,
    SBX_BUDGET_RETRY_TENTHS = 10,
    SBX_BUDGET_REQUEST_TENTHS = 2
};

void sbx_retry_budget_init(sbx_retry_budget *budget, sbx_time_ns now);
void sbx_retry_budget_request(sbx_retry_budget *budget, sbx_time_ns now);

/* Takes one retry's worth; false when the bucket holds less. */
bool sbx_retry_budget_take(sbx_retry_budget *budget, sbx_time_ns now);

/* The wait before the n-th retry, n from 1: uniform in [0, min(max_delay, delay * 2^(n-1))]. */
sbx_time_ns sbx_retry_delay(const sbx_retry_policy *policy, uint32_t n, sbx_rng *rng);

/* Whether retryOnErrors asks for this class. */
bool sbx_retry_wants(const sbx_retry_policy *policy, sbx_class_on on);

#endif
