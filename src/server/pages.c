/* Models and health: small pages read from the registry. */
#include <cjson/cJSON.h>
#include <string.h>

#include "server/reply.h"

/* ---- models ---- */

static cJSON *model_object(const sbx_server *server, sbx_view id, const char *owner)
{
    cJSON *object = cJSON_CreateObject();
    sbx_reply_put(object, "id", id);
    cJSON_AddStringToObject(object, "object", "model");
    cJSON_AddNumberToObject(object, "created", (double)server->started_unix);
    cJSON_AddStringToObject(object, "owned_by", owner);
    return object;
}

/* All names a client may use: models that somebody serves, then names that stand for models. */
typedef bool name_fn(void *user, sbx_view name, const char *owner);

static bool is_served(const sbx_server *server, sbx_view name)
{
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(server->shell));
    for (size_t i = 0; i < sbx_registry_model_count(registry); i++) {
        if (sbx_view_eq(sbx_registry_model_at(registry, i), name))
            return true;
    }
    return false;
}

/* Models of helper nodes are for /v1/embeddings and /v1/rerank alone; the first of a role has its name too.
 */
static bool each_helper(const sbx_server *server, name_fn *fn, void *user)
{
    const sbx_policy *policy = sbx_router_policy(sbx_shell_router(server->shell));
    sbx_helper_role seen = SBX_HELPER_NONE;
    bool goes_on = true;
    for (size_t i = 0; goes_on && i < policy->helper_count; i++) {
        const sbx_model_alias *helper = &policy->helpers[i];
        if (!is_served(server, helper->name))
            goes_on = fn(user, helper->name, "signalbox");
        if (goes_on && helper->helper != seen)
            goes_on = fn(user, sbx_helper_role_name(helper->helper), "signalbox-role");
        seen = helper->helper;
    }
    return goes_on;
}

static void each_name(const sbx_server *server, name_fn *fn, void *user)
{
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(server->shell));
    const sbx_policy *policy = sbx_router_policy(sbx_shell_router(server->shell));
    bool goes_on = true;
    for (size_t i = 0; goes_on && i < sbx_registry_model_count(registry); i++)
        goes_on = fn(user, sbx_registry_model_at(registry, i), "signalbox");
    for (size_t i = 0; goes_on && i < policy->alias_count; i++) {
        sbx_view name = policy->aliases[i].name;
        bool is_first = sbx_policy_alias(policy, name) == &policy->aliases[i];
        if (is_first && !is_served(server, name))
            goes_on = fn(user, name, "signalbox-role");
    }
    if (goes_on)
        (void)each_helper(server, fn, user);
}

typedef struct lister {
    const sbx_server *server;
    cJSON *data;
} lister;

static bool list_name(void *user, sbx_view name, const char *owner)
{
    lister *l = user;
    cJSON_AddItemToArray(l->data, model_object(l->server, name, owner));
    return true;
}

void sbx_page_models(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    cJSON *list = cJSON_CreateObject();
    cJSON_AddStringToObject(list, "object", "list");
    lister l = {.server = server, .data = cJSON_AddArrayToObject(list, "data")};
    each_name(server, list_name, &l);
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

sbx_view sbx_reply_decode_path(sbx_arena *arena, sbx_view path)
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

typedef struct finder {
    sbx_view wanted;
    const char *owner; /* NULL: not found */
} finder;

static bool find_name(void *user, sbx_view name, const char *owner)
{
    finder *f = user;
    if (sbx_view_eq(name, f->wanted))
        f->owner = owner;
    return f->owner == NULL;
}

void sbx_page_model(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    finder f = {.wanted = sbx_reply_decode_path(sbx_http_request_arena(request), rest)};
    each_name(server, find_name, &f);
    if (f.owner == NULL)
        sbx_reply_error(server, request, SBX_API_MODEL_NOT_FOUND, /* message: */ NULL);
    else
        sbx_reply_json(server, request, 200, model_object(server, f.wanted, f.owner));
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

static bool is_eligible(sbx_worker_info info)
{
    return info.eligible && !info.is_helper;
}

static size_t eligible_workers(const sbx_server *server)
{
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(server->shell));
    sbx_time_ns now = sbx_shell_now(server->shell);
    size_t count = 0;
    for (size_t i = 0; i < sbx_registry_count(registry); i++)
        count += is_eligible(sbx_worker_describe(sbx_registry_at(registry, i), now)) ? 1 : 0;
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
