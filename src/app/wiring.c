/* See wiring.h. */
#include "app/wiring.h"

#include "base/log.h"

static sbx_time_ns ms(uint32_t value)
{
    return SBX_MS((sbx_time_ns)value);
}

/* ---- policy ---- */

static sbx_breaker_policy breaker_of(const sbx_config_routing *routing)
{
    return (sbx_breaker_policy){
        .enabled = routing->breaker.enabled,
        .failure_threshold = routing->breaker.failure_threshold,
        .success_threshold = routing->breaker.success_threshold,
        .timeout_ns = ms(routing->breaker.timeout_ms),
        .max_open_ns = ms(routing->breaker.max_open_ms),
        .half_open_max_probes = routing->breaker.half_open_max_probes,
        .rate_threshold_pct = routing->breaker.rate_threshold_pct,
        .rate_min_attempts = routing->breaker.rate_min_attempts,
        .rate_window_ns = ms(routing->breaker.rate_window_ms),
    };
}

static sbx_retry_policy retry_of(const sbx_config_routing *routing)
{
    return (sbx_retry_policy){
        .enabled = routing->retry.enabled,
        .max_retries = routing->retry.max_retries,
        .delay_ns = ms(routing->retry.delay_ms),
        .max_delay_ns = ms(routing->retry.max_delay_ms),
        .on_timeout = (routing->retry.on_errors & SBX_CONFIG_RETRY_ON_TIMEOUT) != 0,
        .on_unavailable = (routing->retry.on_errors & SBX_CONFIG_RETRY_ON_UNAVAILABLE) != 0,
        .on_overloaded = (routing->retry.on_errors & SBX_CONFIG_RETRY_ON_OVERLOADED) != 0,
        .same_worker = routing->retry.same_worker,
    };
}

static sbx_limits limits_of(sbx_config_limits limits)
{
    return (sbx_limits){
        .attempt_ns = ms(limits.timeout_ms),
        .first_content_ns = ms(limits.streaming_timeout_ms),
        .idle_ns = ms(limits.stream_idle_timeout_ms),
    };
}

static sbx_err add_model_limits(const sbx_config *config, sbx_arena *arena, sbx_policy *policy)
{
    const sbx_config_model_limits_list *list = &config->cluster.routing.models;
    sbx_model_limits *limits = SBX_ARENA_ARRAY(arena, sbx_model_limits, list->count);
    if (limits == NULL)
        return SBX_E_NOMEM;
    for (size_t i = 0; i < list->count; i++) {
        const char *model = list->items[i].model;
        limits[i] = (sbx_model_limits){.model = sbx_view_cstr(model),
                                       .limits = limits_of(sbx_config_limits_of(config, model))};
    }
    policy->model_limits = limits;
    policy->model_limit_count = list->count;
    return SBX_OK;
}

static sbx_err views_of(sbx_arena *arena, const char *const *items, size_t count, const sbx_view **ret_views)
{
    sbx_view *views = SBX_ARENA_ARRAY(arena, sbx_view, count);
    if (views == NULL)
        return SBX_E_NOMEM;
    for (size_t i = 0; i < count; i++)
        views[i] = sbx_view_cstr(items[i]);
    *ret_views = views;
    return SBX_OK;
}

static sbx_err add_named(sbx_arena *arena, const sbx_config_named_lists *lists, sbx_model_alias *aliases,
                         size_t *count)
{
    for (size_t i = 0; i < lists->count; i++) {
        const sbx_config_named_list *list = &lists->items[i];
        sbx_model_alias *alias = &aliases[(*count)++];
        *alias = (sbx_model_alias){.name = sbx_view_cstr(list->name), .model_count = list->models.count};
        sbx_err err = views_of(arena, list->models.items, list->models.count, &alias->models);
        if (err != SBX_OK)
            return err;
    }
    return SBX_OK;
}

static const sbx_config_preset *preset_of(const sbx_config_stack *stack, const char *name)
{
    for (size_t i = 0; name != NULL && i < stack->presets.count; i++) {
        if (sbx_view_eq_cstr(sbx_view_cstr(stack->presets.items[i].name), name))
            return &stack->presets.items[i];
    }
    return NULL;
}

/* auto, then aliases, then the roles of the active preset (DESIGN 4.2): the first of a name wins. */
static sbx_err add_aliases(const sbx_config *config, const sbx_config_preset *preset, sbx_arena *arena,
                           sbx_policy *policy)
{
    const sbx_config_stack *stack = &config->stack;
    size_t room = 1 + stack->aliases.count + (preset == NULL ? 0 : preset->roles.count);
    sbx_model_alias *aliases = SBX_ARENA_ARRAY(arena, sbx_model_alias, room);
    size_t count = 0;
    sbx_err err = aliases == NULL ? SBX_E_NOMEM : SBX_OK;
    if (err == SBX_OK && stack->default_model != NULL) {
        aliases[count] = (sbx_model_alias){.name = SBX_VIEW("auto"), .model_count = 1};
        err = views_of(arena, &stack->default_model, 1, &aliases[count++].models);
    }
    if (err == SBX_OK)
        err = add_named(arena, &stack->aliases, aliases, &count);
    if (err == SBX_OK && preset != NULL)
        err = add_named(arena, &preset->roles, aliases, &count);
    policy->aliases = aliases;
    policy->alias_count = count;
    return err;
}

static sbx_strategy strategy_of(sbx_config_strategy strategy)
{
    switch (strategy) {
    case SBX_CONFIG_STRATEGY_ROUND_ROBIN:
        return SBX_STRATEGY_ROUND_ROBIN;
    case SBX_CONFIG_STRATEGY_LEAST_LOADED:
        return SBX_STRATEGY_LEAST_LOADED;
    case SBX_CONFIG_STRATEGY_SMART:
        return SBX_STRATEGY_SMART;
    }
    return SBX_STRATEGY_SMART;
}

static void add_sessions_and_queue(const sbx_config_cluster *cluster, sbx_policy *policy)
{
    policy->sessions = (sbx_session_policy){
        .enabled = cluster->balancing.sessions.enabled,
        .ttl_ns = ms(cluster->balancing.sessions.ttl_ms),
        .max_sessions = cluster->balancing.sessions.max_sessions,
        .load_bound_pct = cluster->balancing.sessions.load_bound_pct,
    };
    policy->queue = (sbx_queue_policy){
        .max_length = cluster->routing.queue.max_length,
        .max_bytes = cluster->routing.queue.max_bytes,
        .max_wait_ns = ms(cluster->routing.queue.max_wait_ms),
    };
}

sbx_err sbx_wire_policy(const sbx_config *config, const char *preset, sbx_arena *arena,
                        sbx_policy *ret_policy)
{
    const sbx_config_cluster *cluster = &config->cluster;
    sbx_policy policy = sbx_policy_default();
    policy.breaker = breaker_of(&cluster->routing);
    policy.retry = retry_of(&cluster->routing);
    policy.limits = limits_of(cluster->routing.limits);
    policy.request_deadline_ns = ms(cluster->routing.request_deadline_ms);
    policy.connect_ns = ms(cluster->routing.connect_timeout_ms);
    policy.ack_ns = ms(cluster->routing.ack_timeout_ms);
    policy.offline_ns = ms(cluster->discovery.offline_timeout_ms);
    policy.slow_start_ns = ms(cluster->balancing.slow_start_ms);
    policy.strategy = strategy_of(cluster->balancing.strategy);
    policy.max_requests = cluster->controller.max_connections;
    add_sessions_and_queue(cluster, &policy);
    sbx_err err = add_model_limits(config, arena, &policy);
    if (err == SBX_OK)
        err = add_aliases(config, preset_of(&config->stack, preset), arena, &policy);
    if (err == SBX_OK)
        err = sbx_wire_helper_lists(config, arena, &policy);
    if (err == SBX_OK)
        *ret_policy = policy;
    return err;
}

/* ---- server ---- */

sbx_server_options sbx_wire_server(const sbx_config *config, const char *controller_id, uint64_t seed)
{
    const sbx_config_controller *controller = &config->cluster.controller;
    return (sbx_server_options){
        .http =
            {
                .max_connections = controller->max_connections,
                .max_body_bytes = controller->max_body_bytes,
                .max_buffered_bytes = controller->max_buffered_bytes,
                .header_timeout_ns = ms(controller->header_timeout_ms),
                .body_timeout_ns = ms(controller->body_timeout_ms),
                .keep_alive_timeout_ns = ms(controller->keep_alive_timeout_ms),
                .write_timeout_ns = ms(controller->client_write_timeout_ms),
                .high_water_bytes = 128 * 1024,
                .arena_cap_bytes = 256 * 1024,
            },
        .config = config,
        .make_policy = sbx_wire_policy,
        .controller_id = controller_id,
        .admin_key = config->security.admin_key,
        .allowed_origins = controller->allowed_origins.items,
        .allowed_origin_count = controller->allowed_origins.count,
        .drain_grace_ns = ms(controller->drain_grace_ms),
        .drain_timeout_ns = ms(controller->drain_timeout_ms),
        .seed = seed,
    };
}

/* ---- backends ---- */

sbx_health_expect sbx_wire_expect(const sbx_config_health *health)
{
    switch (health->expect) {
    case SBX_CONFIG_HEALTH_AUTO:
        return SBX_HEALTH_AUTO;
    case SBX_CONFIG_HEALTH_OK:
        return SBX_HEALTH_OK;
    case SBX_CONFIG_HEALTH_MODELS:
        return SBX_HEALTH_MODELS;
    }
    return SBX_HEALTH_AUTO;
}

static sbx_err add_backend(const sbx_config *config, const sbx_config_backend *backend, sbx_shell *shell)
{
    sbx_view models[SBX_CONFIG_MODELS_MAX];
    for (size_t i = 0; i < backend->models.count; i++)
        models[i] = sbx_view_cstr(backend->models.items[i]);
    return sbx_shell_add_backend(
        shell, &(sbx_backend_options){
                   .id = sbx_view_cstr(backend->id),
                   .peer =
                       {
                           .host = backend->url.host,
                           .port = backend->url.port,
                           .tls = backend->url.is_https,
                           .path_prefix = backend->url.prefix,
                           .api_key = backend->api_key,
                           .max_concurrent = backend->max_concurrent,
                           .connect_timeout_ns = ms(config->cluster.routing.connect_timeout_ms),
                       },
                   .models = models,
                   .model_count = backend->models.count,
                   .weight = backend->weight,
                   .asks_for_usage = backend->stream_usage == SBX_CONFIG_STREAM_USAGE_ON,
                   .health_path = backend->health_path,
                   .health_interval_ns = ms(backend->health_check_interval_ms),
                   .health_expect = sbx_wire_expect(&backend->health),
                   .health_rise = backend->health.rise,
                   .health_fall = backend->health.fall,
                   .context_length = backend->context_length,
               });
}

static size_t add_backends(const sbx_config *config, const sbx_config_backends *backends, sbx_shell *shell)
{
    size_t added = 0;
    for (size_t i = 0; i < backends->count; i++) {
        const sbx_config_backend *backend = &backends->items[i];
        if (backend->status != SBX_CONFIG_STATUS_ACTIVE)
            continue;
        sbx_err err = add_backend(config, backend, shell);
        if (err == SBX_OK)
            added++;
        else
            sbx_log(backend_refused, .worker = backend->id, .why = sbx_err_text(err));
    }
    return added;
}

size_t sbx_wire_backends(const sbx_config *config, sbx_shell *shell)
{
    return add_backends(config, &config->backends, shell) +
           add_backends(config, &config->cluster.static_workers, shell);
}
