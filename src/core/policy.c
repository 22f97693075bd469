/* The defaults of CONFIG.md, and a policy's deep copy. */
#include "core/policy.h"

#include "core/policy_priv.h"

sbx_breaker_policy sbx_breaker_policy_workers(void)
{
    return (sbx_breaker_policy){.enabled = true,
                                .failure_threshold = 5,
                                .success_threshold = 2,
                                .timeout_ns = SBX_SEC(30),
                                .max_open_ns = SBX_SEC(300),
                                .half_open_max_probes = 1,
                                .rate_threshold_pct = 50,
                                .rate_min_attempts = 20,
                                .rate_window_ns = SBX_SEC(10)};
}

sbx_breaker_policy sbx_breaker_policy_helpers(void)
{
    sbx_breaker_policy policy = sbx_breaker_policy_workers();
    policy.failure_threshold = 3;
    policy.success_threshold = 1;
    policy.timeout_ns = SBX_SEC(60);
    return policy;
}

sbx_view sbx_helper_role_name(sbx_helper_role role)
{
    switch (role) {
    case SBX_HELPER_EMBEDDING:
        return SBX_VIEW("embedding");
    case SBX_HELPER_RERANKING:
        return SBX_VIEW("reranking");
    case SBX_HELPER_NONE:
        break;
    }
    return (sbx_view){0};
}

const sbx_model_alias *sbx_policy_alias(const sbx_policy *policy, sbx_view name)
{
    for (size_t i = 0; i < policy->alias_count; i++) {
        if (sbx_view_eq(policy->aliases[i].name, name))
            return &policy->aliases[i];
    }
    return NULL;
}

sbx_policy sbx_policy_default(void)
{
    return (sbx_policy){
        .breaker = sbx_breaker_policy_workers(),
        .retry = {.enabled = true,
                  .max_retries = 2,
                  .delay_ns = SBX_MS(100),
                  .max_delay_ns = SBX_MS(1000),
                  .on_timeout = true,
                  .on_unavailable = true,
                  .on_overloaded = true},
        .limits = {.attempt_ns = SBX_SEC(30), .first_content_ns = SBX_SEC(60), .idle_ns = SBX_SEC(20)},
        .request_deadline_ns = SBX_SEC(600),
        .connect_ns = SBX_MS(1000),
        .ack_ns = SBX_MS(250),
        .offline_ns = SBX_SEC(5),
        .slow_start_ns = SBX_SEC(30),
        .quiet_ns = SBX_SEC(5),
        .strategy = SBX_STRATEGY_SMART,
        .sessions = {.enabled = true, .ttl_ns = SBX_SEC(1800), .max_sessions = 100000, .load_bound_pct = 150},
        .queue = {.max_length = 1000, .max_bytes = UINT64_C(256) << 20, .max_wait_ns = SBX_SEC(30)},
        .max_requests = 10000,
        .max_workers = 10000,
        .max_models = 1024,
    };
}

static sbx_err copy_views(const sbx_view *views, size_t count, sbx_arena *arena, const sbx_view **ret_copy)
{
    sbx_view *copy = SBX_ARENA_ARRAY(arena, sbx_view, count);
    if (copy == NULL)
        return SBX_E_NOMEM;
    for (size_t i = 0; i < count; i++) {
        sbx_err err = sbx_arena_dup(arena, views[i], &copy[i]);
        if (err != SBX_OK)
            return err;
    }
    *ret_copy = copy;
    return SBX_OK;
}

static sbx_err copy_aliases(const sbx_model_alias *from, size_t count, sbx_arena *arena,
                            const sbx_model_alias **ret_copy)
{
    sbx_model_alias *copy = SBX_ARENA_ARRAY(arena, sbx_model_alias, count);
    if (copy == NULL)
        return SBX_E_NOMEM;
    for (size_t i = 0; i < count; i++) {
        copy[i] = from[i];
        sbx_err err = sbx_arena_dup(arena, from[i].name, &copy[i].name);
        if (err == SBX_OK)
            err = copy_views(from[i].models, from[i].model_count, arena, &copy[i].models);
        if (err != SBX_OK)
            return err;
    }
    *ret_copy = copy;
    return SBX_OK;
}

static sbx_err copy_limits(const sbx_policy *policy, sbx_arena *arena, const sbx_model_limits **ret_copy)
{
    sbx_model_limits *copy = SBX_ARENA_ARRAY(arena, sbx_model_limits, policy->model_limit_count);
    if (copy == NULL)
        return SBX_E_NOMEM;
    for (size_t i = 0; i < policy->model_limit_count; i++) {
        copy[i] = policy->model_limits[i];
        sbx_err err = sbx_arena_dup(arena, policy->model_limits[i].model, &copy[i].model);
        if (err != SBX_OK)
            return err;
    }
    *ret_copy = copy;
    return SBX_OK;
}

sbx_err sbx_policy_copy(const sbx_policy *policy, sbx_arena *arena, sbx_policy *ret_copy)
{
    sbx_policy copy = *policy;
    sbx_err err = copy_aliases(policy->aliases, policy->alias_count, arena, &copy.aliases);
    if (err == SBX_OK)
        err = copy_aliases(policy->helpers, policy->helper_count, arena, &copy.helpers);
    if (err == SBX_OK)
        err = copy_limits(policy, arena, &copy.model_limits);
    if (err == SBX_OK)
        *ret_copy = copy;
    return err;
}

static sbx_time_ns or_general(sbx_time_ns own, sbx_time_ns general)
{
    return own < 0 ? general : own;
}

sbx_limits sbx_policy_limits_of(const sbx_policy *policy, sbx_view model)
{
    const sbx_limits *general = &policy->limits;
    for (size_t i = 0; i < policy->model_limit_count; i++) {
        const sbx_limits *own = &policy->model_limits[i].limits;
        if (!sbx_view_eq(policy->model_limits[i].model, model))
            continue;
        return (sbx_limits){.attempt_ns = or_general(own->attempt_ns, general->attempt_ns),
                            .first_content_ns = or_general(own->first_content_ns, general->first_content_ns),
                            .idle_ns = or_general(own->idle_ns, general->idle_ns)};
    }
    return *general;
}
