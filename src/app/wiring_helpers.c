/* Helper nodes: each endpoint becomes an http worker that claims one hidden model id, the same for all
 * endpoints of one role, model and priority; and for each model of a role the policy has the list of these
 * ids, lower priority first, with the model itself behind them where the fallback is local. */
#include <stdio.h>
#include <string.h>

#include "app/wiring.h"
#include "base/log.h"

enum {
    ENDPOINT_CONCURRENT = 16, /* as a backend's default */
    ID_SIZE = 64
};

static sbx_helper_role role_of(const sbx_config_helper *helper)
{
    switch (helper->role) {
    case SBX_CONFIG_HELPER_EMBEDDING:
        return SBX_HELPER_EMBEDDING;
    case SBX_CONFIG_HELPER_RERANKING:
        return SBX_HELPER_RERANKING;
    }
    return SBX_HELPER_NONE;
}

/* Endpoints are known by the first one of their model. */
static size_t first_of_model(const sbx_config_helper *helper, size_t n)
{
    const sbx_config_endpoint *items = helper->endpoints.items;
    size_t first = 0;
    while (strcmp(items[first].model, items[n].model) != 0)
        first++;
    return first;
}

static void write_tier(const sbx_config_helper *helper, size_t first, uint32_t priority, char ret_id[ID_SIZE])
{
    sbx_view role = sbx_helper_role_name(role_of(helper));
    snprintf(ret_id, ID_SIZE, "%c%.*s/%zu/%u", SBX_MODEL_HIDDEN, SBX_VIEW_ARG(role), first, priority);
}

/* ---- lists ---- */

/* The least priority above `above` among the model's endpoints; false: none. */
static bool next_priority(const sbx_config_helper *helper, size_t first, int64_t above,
                          uint32_t *ret_priority)
{
    bool is_found = false;
    for (size_t i = first; i < helper->endpoints.count; i++) {
        uint32_t priority = helper->endpoints.items[i].priority;
        if (first_of_model(helper, i) != first || (int64_t)priority <= above)
            continue;
        if (!is_found || priority < *ret_priority)
            *ret_priority = priority;
        is_found = true;
    }
    return is_found;
}

static sbx_err make_list(const sbx_config_helper *helper, size_t first, sbx_arena *arena,
                         sbx_model_alias *ret_list)
{
    sbx_view *models = SBX_ARENA_ARRAY(arena, sbx_view, helper->endpoints.count + 1);
    size_t count = 0;
    uint32_t priority = 0;
    char id[ID_SIZE];
    if (models == NULL)
        return SBX_E_NOMEM;
    for (int64_t above = -1; next_priority(helper, first, above, &priority); above = priority) {
        write_tier(helper, first, priority, id);
        if (sbx_arena_dup(arena, sbx_view_cstr(id), &models[count++]) != SBX_OK)
            return SBX_E_NOMEM;
    }
    bool falls_back = helper->fallback == SBX_CONFIG_FALLBACK_LOCAL;
    sbx_view model = sbx_view_cstr(helper->endpoints.items[first].model);
    if (falls_back)
        models[count++] = model;
    *ret_list = (sbx_model_alias){.name = model,
                                  .models = models,
                                  .model_count = count,
                                  .helper = role_of(helper),
                                  .falls_back = falls_back};
    return SBX_OK;
}

/* What the role's name means is the model of its best endpoint: that list comes first. */
static size_t best_of(const sbx_config_helper *helper)
{
    const sbx_config_endpoint *items = helper->endpoints.items;
    size_t best = 0;
    for (size_t i = 1; i < helper->endpoints.count; i++)
        if (items[i].priority < items[best].priority)
            best = i;
    return first_of_model(helper, best);
}

static sbx_err add_lists(const sbx_config_helper *helper, sbx_arena *arena, sbx_model_alias *lists,
                         size_t *count)
{
    size_t best = best_of(helper);
    sbx_err err = make_list(helper, best, arena, &lists[(*count)++]);
    for (size_t i = 0; err == SBX_OK && i < helper->endpoints.count; i++)
        if (i != best && first_of_model(helper, i) == i)
            err = make_list(helper, i, arena, &lists[(*count)++]);
    return err;
}

sbx_err sbx_wire_helper_lists(const sbx_config *config, sbx_arena *arena, sbx_policy *policy)
{
    size_t room = 1, count = 0;
    for (size_t i = 0; i < config->helpers.count; i++)
        room += config->helpers.items[i].endpoints.count;
    sbx_model_alias *lists = SBX_ARENA_ARRAY(arena, sbx_model_alias, room);
    sbx_err err = lists == NULL ? SBX_E_NOMEM : SBX_OK;
    for (size_t i = 0; err == SBX_OK && i < config->helpers.count; i++)
        err = add_lists(&config->helpers.items[i], arena, lists, &count);
    policy->helpers = lists;
    policy->helper_count = count;
    return err;
}

/* ---- endpoints ---- */

static sbx_breaker_policy breaker_of(const sbx_config_helper *helper)
{
    sbx_breaker_policy policy = sbx_breaker_policy_helpers();
    policy.failure_threshold = helper->breaker.failure_threshold;
    policy.success_threshold = helper->breaker.success_threshold;
    policy.timeout_ns = SBX_MS((sbx_time_ns)helper->breaker.reset_timeout_ms);
    policy.max_open_ns = sbx_time_max(policy.max_open_ns, policy.timeout_ns);
    return policy;
}

static sbx_err add_endpoint(const sbx_config *config, const sbx_config_helper *helper, size_t n,
                            const char *id, sbx_shell *shell)
{
    const sbx_config_endpoint *endpoint = &helper->endpoints.items[n];
    sbx_breaker_policy breaker = breaker_of(helper);
    sbx_view model = sbx_view_cstr(endpoint->model);
    char tier[ID_SIZE];
    write_tier(helper, first_of_model(helper, n), endpoint->priority, tier);
    sbx_backend_options options = {
        .id = sbx_view_cstr(id),
        .peer = {.host = endpoint->url.host,
                 .port = endpoint->url.port,
                 .tls = endpoint->url.is_https,
                 .path_prefix = endpoint->url.prefix,
                 .api_key = endpoint->api_key,
                 .max_concurrent = ENDPOINT_CONCURRENT,
                 .connect_timeout_ns = SBX_MS((sbx_time_ns)config->cluster.routing.connect_timeout_ms)},
        .models = &model,
        .model_count = 1,
        .weight = 100,
        .health_path = endpoint->health_path,
        .health_interval_ns = SBX_MS((sbx_time_ns)helper->health_check_interval_ms),
        .health_expect = sbx_wire_expect(&helper->health),
        .health_rise = helper->health.rise,
        .health_fall = helper->health.fall,
        .helper = role_of(helper),
        .url = endpoint->url.text,
        .helper_tier = sbx_view_cstr(tier),
        .attempt_ns = SBX_MS((sbx_time_ns)endpoint->timeout_ms),
        .breaker = &breaker,
    };
    return sbx_shell_add_backend(shell, &options);
}

void sbx_wire_helpers(const sbx_config *config, sbx_shell *shell)
{
    for (size_t i = 0; i < config->helpers.count; i++) {
        const sbx_config_helper *helper = &config->helpers.items[i];
        sbx_view role = sbx_helper_role_name(role_of(helper));
        for (size_t n = 0; n < helper->endpoints.count; n++) {
            char id[SBX_WORKER_ID_MAX + 1];
            snprintf(id, sizeof id, "%.*s/%zu", SBX_VIEW_ARG(role), n);
            sbx_err err = add_endpoint(config, helper, n, id, shell);
            if (err != SBX_OK)
                sbx_log(backend_refused, .worker = id, .why = sbx_err_text(err));
        }
    }
}
