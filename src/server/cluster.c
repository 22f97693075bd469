/* Cluster pages: what the controller is, and what it knows of each worker. docs/api.md shows the JSON. */
#include <cjson/cJSON.h>

#include "server/reply.h"

static const char *breaker_name(sbx_breaker_state state)
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
    return "unknown";
}

static const char *engine_name(sbx_engine_state state)
{
    switch (state) {
    case SBX_ENGINE_UP:
        return "up";
    case SBX_ENGINE_LOADING:
        return "loading";
    case SBX_ENGINE_DOWN:
        return "down";
    }
    return "unknown";
}

static double to_ms(sbx_time_ns ns)
{
    return (double)sbx_time_to_ms(ns);
}

static void add_models(cJSON *object, const sbx_registry *registry, const sbx_worker *worker, size_t count)
{
    cJSON *models = cJSON_AddArrayToObject(object, "models");
    for (size_t i = 0; i < count; i++) {
        char text[SBX_MODEL_ID_MAX * 2 + 1];
        if (sbx_view_to_cstr(sbx_worker_model_at(registry, worker, i), text, sizeof text) == SBX_OK)
            cJSON_AddItemToArray(models, cJSON_CreateString(text));
    }
}

static void add_breaker(cJSON *object, const sbx_worker_info *info)
{
    cJSON *breaker = cJSON_AddObjectToObject(object, "circuitBreaker");
    cJSON_AddStringToObject(breaker, "state", breaker_name(info->breaker));
    cJSON_AddNumberToObject(breaker, "consecutiveFailures", info->consecutive_failures);
    cJSON_AddNumberToObject(breaker, "retryInMs", to_ms(info->retry_in_ns));
}

static cJSON *worker_object(const sbx_server *server, const sbx_worker *worker)
{
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(server->shell));
    sbx_time_ns now = sbx_shell_now(server->shell);
    sbx_worker_info info = sbx_worker_describe(worker, now);
    cJSON *object = cJSON_CreateObject();
    sbx_reply_put(object, "workerId", info.id);
    cJSON_AddStringToObject(object, "kind", info.kind == SBX_WORKER_NATS ? "nats" : "http");
    cJSON_AddBoolToObject(object, "online", info.online);
    cJSON_AddBoolToObject(object, "eligible", info.eligible);
    cJSON_AddBoolToObject(object, "healthy", info.healthy);
    cJSON_AddBoolToObject(object, "draining", info.draining);
    cJSON_AddStringToObject(object, "engine", engine_name(info.engine));
    add_models(object, registry, worker, info.model_count);
    cJSON_AddNumberToObject(object, "maxConcurrent", info.capacity);
    cJSON_AddNumberToObject(object, "inFlight", info.in_flight);
    add_breaker(object, &info);
    cJSON_AddNumberToObject(object, "attempts", (double)info.attempts);
    cJSON_AddNumberToObject(object, "successes", (double)info.successes);
    cJSON_AddNumberToObject(object, "failures", (double)info.failures);
    cJSON_AddNumberToObject(object, "lastSeenMs", to_ms(now - info.seen_at));
    if (info.boot_id.len > 0)
        sbx_reply_put(object, "bootId", info.boot_id);
    return object;
}

void sbx_page_workers(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(server->shell));
    cJSON *object = cJSON_CreateObject();
    cJSON *workers = cJSON_AddArrayToObject(object, "workers");
    for (size_t i = 0; i < sbx_registry_count(registry); i++) {
        const sbx_worker *worker = sbx_registry_at(registry, i);
        if (!sbx_worker_describe(worker, sbx_shell_now(server->shell))
                 .is_helper) /* /admin/helpers has them */
            cJSON_AddItemToArray(workers, worker_object(server, worker));
    }
    sbx_reply_json(server, request, 200, object);
}

void sbx_page_worker(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    const sbx_worker *worker = sbx_registry_find(sbx_router_registry(sbx_shell_router(server->shell)), rest);
    if (worker == NULL)
        sbx_reply_error(server, request, SBX_API_NOT_FOUND, "no worker of this id is known");
    else
        sbx_reply_json(server, request, 200, worker_object(server, worker));
}

/* ---- status ---- */

static void add_requests(cJSON *object, const sbx_router_counts *counts)
{
    cJSON *requests = cJSON_AddObjectToObject(object, "requests");
    cJSON_AddNumberToObject(requests, "accepted", (double)counts->accepted);
    cJSON_AddNumberToObject(requests, "inFlight", (double)counts->in_flight);
    cJSON_AddNumberToObject(requests, "queued", (double)counts->queued);
    cJSON_AddNumberToObject(requests, "ok", (double)counts->ended[SBX_END_OK]);
    cJSON_AddNumberToObject(requests, "clientError", (double)counts->ended[SBX_END_CLIENT_ERROR]);
    cJSON_AddNumberToObject(requests, "upstreamError", (double)counts->ended[SBX_END_UPSTREAM_ERROR]);
    cJSON_AddNumberToObject(requests, "timeout", (double)counts->ended[SBX_END_TIMEOUT]);
    cJSON_AddNumberToObject(requests, "cancelled", (double)counts->ended[SBX_END_CANCELLED]);
    cJSON_AddNumberToObject(requests, "shed", (double)counts->ended[SBX_END_SHED]);
    cJSON_AddNumberToObject(requests, "attempts", (double)counts->attempts);
    cJSON_AddNumberToObject(requests, "retries", (double)counts->retries);
    cJSON_AddNumberToObject(requests, "circuitBreakerTrips", (double)counts->breaker_trips);
}

static void add_worker_counts(cJSON *object, const sbx_server *server)
{
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(server->shell));
    size_t total = 0, online = 0, eligible = 0, in_flight = 0;
    for (size_t i = 0; i < sbx_registry_count(registry); i++) {
        sbx_worker_info info =
            sbx_worker_describe(sbx_registry_at(registry, i), sbx_shell_now(server->shell));
        if (info.is_helper)
            continue;
        total++;
        online += info.online ? 1 : 0;
        eligible += info.eligible ? 1 : 0;
        in_flight += info.in_flight;
    }
    cJSON *workers = cJSON_AddObjectToObject(object, "workers");
    cJSON_AddNumberToObject(workers, "total", (double)total);
    cJSON_AddNumberToObject(workers, "online", (double)online);
    cJSON_AddNumberToObject(workers, "eligible", (double)eligible);
    cJSON_AddNumberToObject(workers, "inFlight", (double)in_flight);
}

void sbx_page_cluster_status(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    sbx_router_counts counts = sbx_router_counts_of(sbx_shell_router(server->shell));
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "controllerId", server->options.controller_id);
    cJSON_AddStringToObject(object, "version", SBX_VERSION);
    cJSON_AddStringToObject(object, "status", server->is_draining ? "draining" : "ok");
    cJSON_AddNumberToObject(object, "uptimeMs", to_ms(sbx_shell_now(server->shell) - server->started_at));
    cJSON_AddBoolToObject(object, "busUp", sbx_shell_bus_is_up(server->shell));
    cJSON_AddNumberToObject(object, "connections", sbx_http_server_connections(server->http));
    add_worker_counts(object, server);
    add_requests(object, &counts);
    sbx_reply_json(server, request, 200, object);
}
