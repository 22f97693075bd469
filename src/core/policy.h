/* Every knob of the core as one plain struct: what the configuration says, in the core's own units. The app
 * fills it from sbx_config; tests and the simulator fill it by hand, starting from sbx_policy_default(). */
#ifndef SBX_CORE_POLICY_H
#define SBX_CORE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
#include "base/view.h"

enum {
    SBX_MAX_ATTEMPTS = 32, /* maxRetries is at most 10; busy answers that only wait count apart */
    SBX_MAX_ACTIONS = 64
};

typedef struct sbx_breaker_policy {
    bool enabled;
    uint32_t failure_threshold; /* consecutive failures that open it */
    uint32_t success_threshold; /* successes in half_open that close it */
    sbx_time_ns timeout_ns;     /* the first open time; re-opens double it */
    sbx_time_ns max_open_ns;    /* cap of the doubling */
    uint32_t half_open_max_probes;
    uint32_t rate_threshold_pct; /* 0 = off */
    uint32_t rate_min_attempts;
    sbx_time_ns rate_window_ns;
} sbx_breaker_policy;

typedef struct sbx_retry_policy {
    bool enabled;
    uint32_t max_retries; /* 0..10 */
    sbx_time_ns delay_ns; /* doubles per retry, full jitter */
    sbx_time_ns max_delay_ns;
    bool on_timeout, on_unavailable, on_overloaded; /* retryOnErrors */
    bool same_worker;
} sbx_retry_policy;

typedef struct sbx_limits {
    sbx_time_ns attempt_ns;       /* timeoutMs: one buffered attempt */
    sbx_time_ns first_content_ns; /* streamingTimeoutMs */
    sbx_time_ns idle_ns;          /* streamIdleTimeoutMs */
} sbx_limits;

typedef struct sbx_model_limits {
    sbx_view model;
    sbx_limits limits; /* a value below 0 = the general one */
} sbx_model_limits;

typedef enum sbx_helper_role {
    SBX_HELPER_NONE,
    SBX_HELPER_EMBEDDING,
    SBX_HELPER_RERANKING
} sbx_helper_role;

/* A name that stands for models, in order of preference: an alias, a role of the active preset, or "auto".
 *
 * Also who is asked for one model of a helper role: `name` is the model; `models` are hidden ids that only
 * the role's endpoints claim, one per priority, lower first; then, where the fallback is local, the model
 * itself, which workers of the cluster may serve. A hidden id begins with the byte SBX_MODEL_HIDDEN: no
 * client can name one, and none is listed. */
typedef struct sbx_model_alias {
    sbx_view name;
    const sbx_view *models;
    size_t model_count;
    sbx_helper_role helper; /* NONE: an ordinary list */
    bool falls_back;
} sbx_model_alias;

#define SBX_MODEL_HIDDEN 1

static inline bool sbx_model_is_hidden(sbx_view id)
{
    return id.len > 0 && id.data[0] == SBX_MODEL_HIDDEN;
}

typedef enum sbx_strategy {
    SBX_STRATEGY_ROUND_ROBIN,
    SBX_STRATEGY_LEAST_LOADED,
    SBX_STRATEGY_SMART
} sbx_strategy;

typedef struct sbx_session_policy {
    bool enabled;
    sbx_time_ns ttl_ns;
    uint32_t max_sessions;
    uint32_t load_bound_pct;
} sbx_session_policy;

typedef struct sbx_queue_policy {
    uint32_t max_length; /* entries per model; 0 = no queue */
    uint64_t max_bytes;
    sbx_time_ns max_wait_ns;
} sbx_queue_policy;

typedef struct sbx_policy {
    sbx_breaker_policy breaker;
    sbx_retry_policy retry;
    sbx_limits limits;
    const sbx_model_limits *model_limits;
    size_t model_limit_count;
    sbx_time_ns request_deadline_ns;
    sbx_time_ns connect_ns; /* http: START to ACCEPTED, plus 1 ms per 4 KiB of body */
    sbx_time_ns ack_ns;     /* nats: the same, plus 1 ms per 4 KiB of body */
    sbx_time_ns offline_ns; /* a nats worker silent this long is offline */
    sbx_time_ns slow_start_ns;
    sbx_time_ns quiet_ns; /* a half_open worker to which nobody came for so long is asked by ourselves */
    sbx_strategy strategy;
    sbx_session_policy sessions;
    sbx_queue_policy queue;
    const sbx_model_alias *aliases;
    size_t alias_count;
    const sbx_model_alias *helpers; /* the first of a role is what the role's name means */
    size_t helper_count;
    /* Caps of the tables; read by sbx_router_new only. */
    uint32_t max_requests;
    uint32_t max_workers;
    uint32_t max_models;
} sbx_policy;

/* "embedding", "reranking"; empty for NONE. */
sbx_view sbx_helper_role_name(sbx_helper_role role);

/* The list of that name, the first of them; NULL: none. */
const sbx_model_alias *sbx_policy_alias(const sbx_policy *policy, sbx_view name);

/* The defaults of CONFIG.md. */
sbx_policy sbx_policy_default(void);

/* The two presets of DESIGN 5: workers 5 / 30 s / 2, helper endpoints 3 / 60 s / 1. */
sbx_breaker_policy sbx_breaker_policy_workers(void);
sbx_breaker_policy sbx_breaker_policy_helpers(void);

#endif
