/* The model stack as it is now: GET /admin/stack and /admin/helpers, and the reset of a helper endpoint. What
 * was configured is shown as it was written; what is known of it comes from the registry and the shell. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "server/reply.h"
#include "server/stack.h"

/* ---- values ---- */

static const char *state_name(sbx_breaker_state state)
{
    switch (state) {
    case SBX_BREAKER_CLOSED:
        return "closed";
    case SBX_BREAKER_HALF_OPEN:
        return "half_open";
    case SBX_BREAKER_OPEN:
        return "open";
    case SBX_BREAKER_ISOLATED:
        return "isolated";
    }
    return "closed";
}

/* NULL is null. */
static void add_text(cJSON *object, const char *name, const char *text)
{
    if (text == NULL || text[0] == '\0')
        cJSON_AddNullToObject(object, name);
    else
        cJSON_AddStringToObject(object, name, text);
}

static void add_view(cJSON *array, sbx_view text)
{
    char buffer[SBX_MODEL_ID_MAX + 1];
    if (sbx_view_to_cstr(text, buffer, sizeof buffer) == SBX_OK)
        cJSON_AddItemToArray(array, cJSON_CreateString(buffer));
}

static void add_strings(cJSON *object, const char *name, const sbx_config_strings *strings)
{
    cJSON *array = cJSON_AddArrayToObject(object, name);
    for (size_t i = 0; i < strings->count; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(strings->items[i]));
}

void sbx_stack_add_models(cJSON *object, const char *name, const sbx_config_strings *models)
{
    if (models->count == 1)
        cJSON_AddStringToObject(object, name, models->items[0]);
    else
        add_strings(object, name, models);
}

static void add_ms(cJSON *object, const char *name, sbx_time_ns ns)
{
    sbx_time_ns microseconds = ns / 1000;
    cJSON_AddNumberToObject(object, name, (double)microseconds / 1000.0);
}

/* A moment of our clock as date and time: "2026-11-21T22:58:58.123Z". */
static void add_moment(cJSON *object, const char *name, sbx_time_ns ago)
{
    struct timespec wall;
    struct tm parts;
    char text[40], whole[32];
    clock_gettime(CLOCK_REALTIME, &wall);
    int64_t ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000 - ago / SBX_MS(1);
    time_t seconds = (time_t)(ms / 1000);
    if (gmtime_r(&seconds, &parts) == NULL || strftime(whole, sizeof whole, "%Y-%m-%dT%H:%M:%S", &parts) == 0)
        return;
    snprintf(text, sizeof text, "%s.%03dZ", whole, (int)(ms % 1000));
    cJSON_AddStringToObject(object, name, text);
}

/* ---- what is known of an http worker ---- */

typedef struct known {
    bool is_there; /* in the registry: inactive ones are not */
    sbx_worker_info info;
    sbx_backend_facts facts;
} known;

static known know(const sbx_server *server, sbx_view id)
{
    known k = {.facts = {.last_error = ""}};
    const sbx_worker *worker = sbx_registry_find(sbx_router_registry(sbx_shell_router(server->shell)), id);
    k.is_there = worker != NULL && sbx_shell_backend_facts(server->shell, id, &k.facts);
    if (k.is_there)
        k.info = sbx_worker_describe(worker, sbx_shell_now(server->shell));
    return k;
}

static void add_rate(cJSON *object, const sbx_worker_info *info)
{
    uint64_t ended = info->successes + info->failures;
    if (ended == 0)
        cJSON_AddNullToObject(object, "success_rate_pct");
    else
        cJSON_AddNumberToObject(object, "success_rate_pct", (double)info->successes * 100.0 / (double)ended);
}

static void add_latencies(cJSON *object, const sbx_backend_facts *facts)
{
    if (facts->latency_count == 0) {
        cJSON_AddNullToObject(object, "avg_latency_ms");
        cJSON_AddNullToObject(object, "p95_latency_ms");
        return;
    }
    add_ms(object, "avg_latency_ms", facts->latency_avg);
    add_ms(object, "p95_latency_ms", facts->latency_p95);
}

static void add_known(const sbx_server *server, cJSON *object, const known *k)
{
    bool is_well = k->is_there && k->info.online && k->info.healthy;
    cJSON_AddBoolToObject(object, "healthy", is_well);
    cJSON_AddStringToObject(object, "circuit_state", state_name(k->info.breaker));
    add_ms(object, "retry_in_ms", k->info.retry_in_ns);
    cJSON_AddNumberToObject(object, "in_flight", k->info.in_flight);
    cJSON_AddNumberToObject(object, "total_requests", (double)k->info.attempts);
    cJSON_AddNumberToObject(object, "successes", (double)k->info.successes);
    cJSON_AddNumberToObject(object, "failures", (double)k->info.failures);
    cJSON_AddNumberToObject(object, "rejected", (double)k->info.rejected);
    add_rate(object, &k->info);
    add_latencies(object, &k->facts);
    if (k->facts.is_checked)
        add_moment(object, "last_check_at", sbx_shell_now(server->shell) - k->facts.checked_at);
    else
        cJSON_AddNullToObject(object, "last_check_at");
    add_text(object, "last_error", k->facts.last_error);
}

/* ---- helper nodes ---- */

static const char *const role_names[] = {
    [SBX_CONFIG_HELPER_EMBEDDING] = "embedding",
    [SBX_CONFIG_HELPER_RERANKING] = "reranking",
};

/* Of each state how many endpoints are in it. */
typedef struct tally {
    size_t well;
    size_t states[SBX_BREAKER_ISOLATED + 1];
} tally;

static known know_endpoint(const sbx_server *server, const sbx_config_helper *helper, size_t n)
{
    char id[SBX_WORKER_ID_MAX + 1];
    snprintf(id, sizeof id, "%s/%zu", role_names[helper->role], n);
    return know(server, sbx_view_cstr(id));
}

static cJSON *endpoint_object(const sbx_server *server, const sbx_config_helper *helper, size_t n,
                              tally *counted)
{
    const sbx_config_endpoint *endpoint = &helper->endpoints.items[n];
    known k = know_endpoint(server, helper, n);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "n", (double)n);
    cJSON_AddStringToObject(object, "url", endpoint->url.text);
    cJSON_AddStringToObject(object, "model", endpoint->model);
    cJSON_AddNumberToObject(object, "priority", endpoint->priority);
    cJSON_AddNumberToObject(object, "timeout_sec", (double)endpoint->timeout_ms / 1000.0);
    add_known(server, object, &k);
    counted->well += k.is_there && k.info.online && k.info.healthy ? 1 : 0;
    counted->states[k.info.breaker]++;
    return object;
}

/* Of a role with several endpoints: the best there is. */
static sbx_breaker_state best_state(const tally *counted)
{
    if (counted->states[SBX_BREAKER_CLOSED] > 0)
        return SBX_BREAKER_CLOSED;
    if (counted->states[SBX_BREAKER_HALF_OPEN] > 0)
        return SBX_BREAKER_HALF_OPEN;
    return counted->states[SBX_BREAKER_OPEN] > 0 ? SBX_BREAKER_OPEN : SBX_BREAKER_ISOLATED;
}

/* Who is asked first. */
static size_t first_of(const sbx_config_helper *helper)
{
    size_t first = 0;
    for (size_t i = 1; i < helper->endpoints.count; i++)
        if (helper->endpoints.items[i].priority < helper->endpoints.items[first].priority)
            first = i;
    return first;
}

static cJSON *helper_object(const sbx_server *server, const sbx_config_helper *helper)
{
    const sbx_config_endpoint *first = &helper->endpoints.items[first_of(helper)];
    tally counted = {0};
    cJSON *object = cJSON_CreateObject();
    cJSON *endpoints = cJSON_CreateArray();
    for (size_t i = 0; i < helper->endpoints.count; i++)
        cJSON_AddItemToArray(endpoints, endpoint_object(server, helper, i, &counted));
    cJSON_AddStringToObject(object, "url", first->url.text);
    cJSON_AddStringToObject(object, "model", first->model);
    cJSON_AddBoolToObject(object, "healthy", counted.well > 0);
    cJSON_AddStringToObject(object, "fallback",
                            helper->fallback == SBX_CONFIG_FALLBACK_LOCAL ? "local" : "skip");
    cJSON_AddStringToObject(object, "circuit_state", state_name(best_state(&counted)));
    cJSON_AddItemToObject(object, "endpoints", endpoints);
    return object;
}

static cJSON *helpers_object(const sbx_server *server)
{
    const sbx_config_helpers *helpers = &server->options.config->helpers;
    cJSON *object = cJSON_CreateObject();
    for (size_t i = 0; i < helpers->count; i++)
        cJSON_AddItemToObject(object, role_names[helpers->items[i].role],
                              helper_object(server, &helpers->items[i]));
    return object;
}

void sbx_page_helpers(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    if (sbx_admin_may_pass(server, request))
        sbx_reply_json(server, request, 200, helpers_object(server));
}

/* POST /admin/helpers/{role}/{n}/reset. The endpoint's id in the registry is the path in between. */
void sbx_page_admin_helper(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    if (!sbx_admin_may_pass(server, request))
        return;
    if (!sbx_view_ends_with(rest, SBX_VIEW("/reset"))) {
        sbx_reply_error(server, request, SBX_API_NOT_FOUND, "expected /admin/helpers/{role}/{n}/reset");
        return;
    }
    sbx_view id = sbx_view_slice(rest, 0, rest.len - strlen("/reset"));
    known k = know(server, id);
    if (!k.is_there || !k.info.is_helper) {
        sbx_reply_error(server, request, SBX_API_NOT_FOUND,
                        "no such helper endpoint: {n} counts from 0, as in /admin/helpers");
        return;
    }
    sbx_log(admin_worker, .worker = id, .command = SBX_VIEW("reset"));
    sbx_shell_report(server->shell,
                     &(sbx_event){.kind = SBX_EVENT_WORKER_ADMIN,
                                  .admin = {.worker = k.info.ref, .command = SBX_COMMAND_RESET}});
    sbx_admin_reply_ok(server, request);
}

/* ---- backends ---- */

/* What the configuration names, else what the backend itself listed. */
static void add_backend_models(const sbx_server *server, cJSON *object, const sbx_config_backend *backend,
                               const known *k)
{
    cJSON *models = cJSON_CreateArray();
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(server->shell));
    const sbx_worker *worker = k->is_there ? sbx_registry_get(registry, k->info.ref) : NULL;
    for (size_t i = 0; i < backend->models.count; i++)
        cJSON_AddItemToArray(models, cJSON_CreateString(backend->models.items[i]));
    for (size_t i = 0; backend->models.count == 0 && worker != NULL && i < k->info.model_count; i++)
        add_view(models, sbx_worker_model_at(registry, worker, i));
    const cJSON *first = cJSON_GetArrayItem(models, 0);
    add_text(object, "model", first == NULL ? NULL : cJSON_GetStringValue(first));
    cJSON_AddItemToObject(object, "models", models);
}

static cJSON *backend_object(const sbx_server *server, const sbx_config_backend *backend)
{
    bool is_active = backend->status == SBX_CONFIG_STATUS_ACTIVE;
    known k = know(server, sbx_view_cstr(backend->id));
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "url", backend->url.text);
    add_backend_models(server, object, backend, &k);
    cJSON_AddStringToObject(object, "status", is_active ? "active" : "inactive");
    cJSON_AddNumberToObject(object, "max_concurrent", backend->max_concurrent);
    cJSON_AddNumberToObject(object, "weight", backend->weight);
    cJSON_AddStringToObject(object, "name", backend->name);
    cJSON_AddStringToObject(object, "gpu", backend->gpu);
    cJSON_AddNumberToObject(object, "vram_gb", backend->vram_gb);
    add_strings(object, "roles", &backend->roles);
    add_known(server, object, &k);
    return object;
}

static cJSON *backends_object(const sbx_server *server)
{
    const sbx_config_backends *backends = &server->options.config->backends;
    cJSON *object = cJSON_CreateObject();
    for (size_t i = 0; i < backends->count; i++)
        cJSON_AddItemToObject(object, backends->items[i].id, backend_object(server, &backends->items[i]));
    return object;
}

/* ---- roles ---- */

/* resolved_model: what the role would be given now; its first preference when none is served. */
static cJSON *role_object(const sbx_server *server, const sbx_config_named_list *role)
{
    sbx_router *router = sbx_shell_router(server->shell);
    sbx_view model = sbx_view_cstr(role->models.items[0]);
    bool is_loaded = sbx_router_resolve(router, sbx_router_policy(router), sbx_view_cstr(role->name), &model);
    cJSON *object = cJSON_CreateObject();
    add_strings(object, "preferences", &role->models);
    sbx_reply_put(object, "resolved_model", model);
    cJSON_AddBoolToObject(object, "loaded", is_loaded);
    return object;
}

static cJSON *roles_object(const sbx_server *server)
{
    const sbx_config_preset *preset = sbx_stack_preset(server, sbx_view_cstr(server->active_preset));
    cJSON *object = cJSON_CreateObject();
    for (size_t i = 0; preset != NULL && i < preset->roles.count; i++)
        cJSON_AddItemToObject(object, preset->roles.items[i].name,
                              role_object(server, &preset->roles.items[i]));
    return object;
}

static cJSON *aliases_object(const sbx_server *server)
{
    const sbx_config_named_lists *aliases = &server->options.config->stack.aliases;
    cJSON *object = cJSON_CreateObject();
    for (size_t i = 0; i < aliases->count; i++)
        add_strings(object, aliases->items[i].name, &aliases->items[i].models);
    return object;
}

/* ---- all of it ---- */

void sbx_page_stack(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    if (!sbx_admin_may_pass(server, request))
        return;
    const sbx_config_stack *stack = &server->options.config->stack;
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(server->shell));
    cJSON *object = cJSON_CreateObject();
    cJSON_AddItemToObject(object, "roles", roles_object(server));
    cJSON_AddItemToObject(object, "helper_nodes", helpers_object(server));
    cJSON *loaded = cJSON_AddArrayToObject(object, "loaded_models");
    for (size_t i = 0; i < sbx_registry_model_count(registry); i++)
        add_view(loaded, sbx_registry_model_at(registry, i));
    add_text(object, "default_model", stack->default_model);
    cJSON_AddItemToObject(object, "aliases", aliases_object(server));
    cJSON_AddItemToObject(object, "backends", backends_object(server));
    cJSON_AddItemToObject(object, "stack_presets", sbx_stack_presets_object(server));
    add_text(object, "active_stack_preset", server->active_preset);
    sbx_reply_json(server, request, 200, object);
}
