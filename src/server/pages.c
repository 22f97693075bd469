/* Models and health: small pages read from the registry. */
#include <cjson/cJSON.h>
#include <string.h>

#include "server/reply.h"

/* ---- models ---- */

static cJSON *model_object(const sbx_server *server, sbx_view id)
{
    cJSON *object = cJSON_CreateObject();
    sbx_reply_put(object, "id", id);
    cJSON_AddStringToObject(object, "object", "model");
    cJSON_AddNumberToObject(object, "created", (double)server->started_unix);
    cJSON_AddStringToObject(object, "owned_by", "signalbox");
    return object;
}

void sbx_page_models(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(server->shell));
    cJSON *list = cJSON_CreateObject();
    cJSON_AddStringToObject(list, "object", "list");
    cJSON *data = cJSON_AddArrayToObject(list, "data");
    for (size_t i = 0; i < sbx_registry_model_count(registry); i++)
        cJSON_AddItemToArray(data, model_object(server, sbx_registry_model_at(registry, i)));
    sbx_reply_json(server, request, 200, list);
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f')
        return (byte | 0x20) - 'a' + 10;
    return -1;
}

/* Percent-decoding in place of a copy; the view is empty when it is malformed or memory is out. */
static sbx_view decode_path(sbx_arena *arena, sbx_view path)
{
    uint8_t *out = sbx_arena_alloc(arena, path.len + 1);
    size_t len = 0;
    if (out == NULL)
        return (sbx_view){0};
    for (size_t i = 0; i < path.len; i++) {
        if (path.data[i] != '%') {
            out[len++] = path.data[i];
            continue;
        }
        int high = i + 2 < path.len ? hex_digit(path.data[i + 1]) : -1;
        int low = i + 2 < path.len ? hex_digit(path.data[i + 2]) : -1;
        if (high < 0 || low < 0)
            return (sbx_view){0};
        out[len++] = (uint8_t)(high * 16 + low);
        i += 2;
    }
    return sbx_view_of(out, len);
}

void sbx_page_model(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(server->shell));
    sbx_view wanted = decode_path(sbx_http_request_arena(request), rest);
    for (size_t i = 0; i < sbx_registry_model_count(registry); i++) {
        sbx_view id = sbx_registry_model_at(registry, i);
        if (sbx_view_eq(id, wanted)) {
            sbx_reply_json(server, request, 200, model_object(server, id));
            return;
        }
    }
    sbx_reply_error(server, request, SBX_API_MODEL_NOT_FOUND, /* message: */ NULL);
}

/* ---- health ---- */

static void reply_status(sbx_server *server, sbx_http_request *request, unsigned status, const char *word)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "status", word);
    sbx_reply_json(server, request, status, object);
}

void sbx_page_livez(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    reply_status(server, request, 200, "ok");
}

void sbx_page_readyz(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    bool is_draining = server->is_draining;
    reply_status(server, request, is_draining ? 503 : 200, is_draining ? "draining" : "ok");
}

static size_t eligible_workers(const sbx_server *server)
{
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(server->shell));
    sbx_time_ns now = sbx_shell_now(server->shell);
    size_t count = 0;
    for (size_t i = 0; i < sbx_registry_count(registry); i++)
        count += sbx_worker_describe(sbx_registry_at(registry, i), now).eligible ? 1 : 0;
    return count;
}

void sbx_page_routablez(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    size_t count = eligible_workers(server);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "status", count > 0 ? "ok" : "no eligible worker");
    cJSON_AddNumberToObject(object, "eligibleWorkers", (double)count);
    sbx_reply_json(server, request, count > 0 ? 200 : 503, object);
}

void sbx_page_health(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "status", server->is_draining ? "draining" : "ok");
    cJSON_AddStringToObject(object, "version", SBX_VERSION);
    cJSON_AddNumberToObject(object, "eligibleWorkers", (double)eligible_workers(server));
    sbx_reply_json(server, request, server->is_draining ? 503 : 200, object);
}
