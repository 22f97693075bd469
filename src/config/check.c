/* What no single key can tell. Each check looks at finished values and asks the tree where they were written.
 */
#include "base/map.h"
#include "config/values_priv.h"
#include "config/walk_priv.h"

typedef struct checker {
    sbx_load *load;
    const sbx_node *root;
    sbx_config *config;
} checker;

static bool is_given(const checker *c, const char *path)
{
    const sbx_node *node = sbx_node_at(c->root, path);
    return node != NULL && !sbx_node_is_null(node);
}

/* Whether what was written was refused already, so that its value says nothing. */
static bool is_bad(const checker *c, const char *path)
{
    const sbx_node *node = sbx_node_at(c->root, path);
    return node != NULL && node->is_bad;
}

static sbx_place place_of(const checker *c, const char *path)
{
    return sbx_node_at(c->root, path)->place;
}

static void tell(const checker *c, const char *key, sbx_place place, const char *text)
{
    size_t up = sbx_load_enter_key(c->load, sbx_view_cstr(key));
    sbx_load_problem(c->load, place, "%s", text);
    sbx_load_leave(c->load, up);
}

/* -- the bus
 * ------------------------------------------------------------------------------------------------------- */

static void check_server_url(const checker *c)
{
    const sbx_config_nats *nats = &c->config->cluster.nats;
    bool has_url = is_given(c, "cluster.nats.serverUrl");
    if (nats->mode == SBX_CONFIG_NATS_EXTERNAL && !has_url)
        tell(c, "cluster.nats.serverUrl", place_of(c, "cluster.nats.mode"),
             "found nothing, expected a URL, as cluster.nats.mode is external");
    if (has_url && !is_given(c, "cluster.nats.mode"))
        tell(c, "cluster.nats.serverUrl", place_of(c, "cluster.nats.serverUrl"),
             "found a server without cluster.nats.mode, expected mode: external beside it");
}

static void check_credentials(const checker *c)
{
    static const char *const ways[] = {"cluster.nats.user", "cluster.nats.token",
                                       "cluster.nats.nkeySeedFile"};
    const char *first = NULL;
    for (size_t i = 0; i < 3; i++) {
        if (!is_given(c, ways[i]))
            continue;
        if (first != NULL)
            tell(c, ways[i], place_of(c, ways[i]),
                 "found a second credential, expected one of user, token, nkeySeedFile");
        first = ways[i];
    }
    if (is_given(c, "cluster.nats.password") && !is_given(c, "cluster.nats.user"))
        tell(c, "cluster.nats.password", place_of(c, "cluster.nats.password"),
             "found a password without cluster.nats.user, expected both");
}

static void check_pair(const checker *c, const char *a, const char *b, const char *text)
{
    if (is_given(c, a) && !is_given(c, b))
        tell(c, a, place_of(c, a), text);
}

static void check_nats(const checker *c)
{
    check_server_url(c);
    check_credentials(c);
    check_pair(c, "cluster.nats.tls.certFile", "cluster.nats.tls.keyFile",
               "found a certificate without cluster.nats.tls.keyFile, expected both");
    check_pair(c, "cluster.nats.tls.keyFile", "cluster.nats.tls.certFile",
               "found a key without cluster.nats.tls.certFile, expected both");
    if (c->config->cluster.mode == SBX_CONFIG_MODE_WORKER &&
        c->config->cluster.nats.mode == SBX_CONFIG_NATS_OFF)
        tell(c, "cluster.nats.mode", place_of(c, "cluster.nats.mode"),
             "found off, expected embedded or external, as cluster.mode is worker");
}

/* -- numbers that must be in order
 * ----------------------------------------------------------------------------------- */

/* The greater one follows the smaller when only that was written; both written, they must be in order. */
static bool may_follow(const checker *c, const char *smaller, const char *greater, bool is_in_order,
                       const char *text)
{
    if (is_in_order || is_bad(c, smaller) || is_bad(c, greater))
        return false;
    if (!is_given(c, greater))
        return true;
    tell(c, greater, place_of(c, greater), text);
    return false;
}

static void check_orders(const checker *c)
{
    sbx_config_cluster *cluster = &c->config->cluster;
    uint32_t beat = cluster->discovery.heartbeat_interval_ms;
    if (may_follow(c, "cluster.discovery.heartbeatIntervalMs", "cluster.discovery.offlineTimeoutMs",
                   cluster->discovery.offline_timeout_ms > beat,
                   "found no more than heartbeatIntervalMs, expected more"))
        cluster->discovery.offline_timeout_ms = 5 * beat;
    if (may_follow(c, "cluster.controller.maxBodyBytes", "cluster.controller.maxBufferedBytes",
                   cluster->controller.max_buffered_bytes >= cluster->controller.max_body_bytes,
                   "found less than maxBodyBytes, expected as much at least"))
        cluster->controller.max_buffered_bytes = cluster->controller.max_body_bytes;
    if (may_follow(c, "cluster.requestRouting.retry.retryDelayMs", "cluster.requestRouting.retry.maxDelayMs",
                   cluster->routing.retry.max_delay_ms >= cluster->routing.retry.delay_ms,
                   "found less than retryDelayMs, expected as much at least"))
        cluster->routing.retry.max_delay_ms = cluster->routing.retry.delay_ms;
    if (may_follow(c, "cluster.requestRouting.circuitBreaker.timeoutMs",
                   "cluster.requestRouting.circuitBreaker.maxOpenMs",
                   cluster->routing.breaker.max_open_ms >= cluster->routing.breaker.timeout_ms,
                   "found less than timeoutMs, expected as much at least"))
        cluster->routing.breaker.max_open_ms = cluster->routing.breaker.timeout_ms;
}

/* -- elements
 * ---------------------------------------------------------------------------------------------------------
 */

/* A list that was read has one element per item of the tree, in order. */
static const sbx_entry *items_at(const checker *c, const char *path)
{
    const sbx_node *list = sbx_node_at(c->root, path);
    return list != NULL && list->kind == SBX_NODE_LIST ? list->first : NULL;
}

static bool has_value(const sbx_node *map, const char *key)
{
    const sbx_entry *entry = map->kind == SBX_NODE_MAP ? sbx_node_find(map, sbx_view_cstr(key)) : NULL;
    return entry != NULL && !sbx_node_is_null(entry->value);
}

static void check_engines(const checker *c)
{
    const sbx_config_engines *engines = &c->config->cluster.worker.engines;
    const sbx_entry *item = items_at(c, "cluster.worker.engines");
    for (size_t i = 0; i < engines->count; i++, item = item->next) {
        bool needs_url = engines->items[i].kind == SBX_CONFIG_ENGINE_OPENAI;
        if (!needs_url || item->value->kind != SBX_NODE_MAP || has_value(item->value, "url"))
            continue;
        size_t up = sbx_load_enter_key(c->load, SBX_VIEW("cluster.worker.engines"));
        sbx_load_enter_item(c->load, i);
        tell(c, "url", item->value->place, "found nothing, expected a URL such as http://host:8080/v1");
        sbx_load_leave(c->load, up);
    }
}

static void check_static_id(const checker *c, sbx_map *ids, size_t index, const sbx_node *item)
{
    const sbx_config_backend *worker = &c->config->cluster.static_workers.items[index];
    if (worker->id == NULL)
        return;
    sbx_view id = sbx_view_cstr(worker->id);
    const char *owner = sbx_map_get(ids, id);
    if (owner == NULL) {
        static char here[] = "another static worker";
        if (sbx_map_put(ids, id, here) != SBX_OK)
            c->load->out_of_memory = true;
        return;
    }
    const sbx_entry *entry = sbx_node_find(item, SBX_VIEW("workerId"));
    size_t up = sbx_load_enter_key(c->load, SBX_VIEW("cluster.workers.static"));
    sbx_load_enter_item(c->load, index);
    size_t item_up = sbx_load_enter_key(c->load, SBX_VIEW("workerId"));
    char quoted[SBX_QUOTE_MAX];
    sbx_load_problem(c->load, entry->value->place, "found %s, which %s has, expected an id of its own",
                     sbx_quote(id, quoted), owner);
    sbx_load_leave(c->load, item_up);
    sbx_load_leave(c->load, up);
}

static void check_worker_ids(const checker *c)
{
    static char backend[] = "a backend";
    sbx_map ids;
    sbx_map_init(&ids, (sbx_siphash_key){0}, SIZE_MAX / 64);
    const sbx_config_backends *backends = &c->config->backends;
    for (size_t i = 0; i < backends->count; i++)
        if (sbx_map_put(&ids, sbx_view_cstr(backends->items[i].id), backend) != SBX_OK)
            c->load->out_of_memory = true;
    const sbx_entry *item = items_at(c, "cluster.workers.static");
    for (size_t i = 0; i < c->config->cluster.static_workers.count; i++, item = item->next)
        check_static_id(c, &ids, i, item->value);
    sbx_map_deinit(&ids);
}

/* -- helper nodes
 * ------------------------------------------------------------------------------------------------------- */

static const char *const short_keys[] = {"url",     "model",        "timeout_sec",
                                         "api_key", "api_key_file", "health_path"};

static void refuse_short_keys(const checker *c, const sbx_node *map)
{
    for (size_t i = 0; i < sizeof short_keys / sizeof short_keys[0]; i++)
        if (has_value(map, short_keys[i]))
            tell(c, short_keys[i], sbx_node_find(map, sbx_view_cstr(short_keys[i]))->place,
                 "found beside endpoints, expected the short form or endpoints, not both");
}

static void check_short_form(const checker *c, const sbx_entry *entry)
{
    if (!has_value(entry->value, "url"))
        tell(c, "url", entry->place,
             "found nothing, expected a URL such as http://host:8080/v1, or endpoints");
    if (!has_value(entry->value, "model"))
        tell(c, "model", entry->place, "found nothing, expected a model id");
}

static void check_helper(const checker *c, sbx_config_helper *helper, const sbx_entry *entry)
{
    const sbx_node *map = entry->value;
    if (map->kind != SBX_NODE_MAP)
        return;
    if (!has_value(map, "endpoints")) {
        check_short_form(c, entry);
        helper->endpoints = (sbx_config_endpoints){.items = &helper->single, .count = 1};
        helper->single.priority = 1;
        return;
    }
    refuse_short_keys(c, map);
    const sbx_node *list = sbx_node_find(map, SBX_VIEW("endpoints"))->value;
    if (list->kind == SBX_NODE_LIST && list->count == 0)
        tell(c, "endpoints", list->place, "found an empty list, expected one endpoint at least");
}

static void check_helpers(const checker *c)
{
    static const char *const roles[] = {"embedding", "reranking"};
    const sbx_node *map = sbx_node_at(c->root, "helper_nodes");
    sbx_config_helper *items = (sbx_config_helper *)(uintptr_t)c->config->helpers.items;
    size_t up = sbx_load_enter_key(c->load, SBX_VIEW("helper_nodes"));
    for (size_t i = 0; i < c->config->helpers.count; i++) {
        size_t role_up = sbx_load_enter_key(c->load, sbx_view_cstr(roles[items[i].role]));
        check_helper(c, &items[i], sbx_node_find(map, sbx_view_cstr(roles[items[i].role])));
        sbx_load_leave(c->load, role_up);
    }
    sbx_load_leave(c->load, up);
}

/* -- the stack
 * ----------------------------------------------------------------------------------------------------------
 */

static void check_active_preset(const checker *c)
{
    const sbx_config_stack *stack = &c->config->stack;
    if (stack->active_preset == NULL)
        return;
    for (size_t i = 0; i < stack->presets.count; i++)
        if (strcmp(stack->presets.items[i].name, stack->active_preset) == 0)
            return;
    char quoted[SBX_QUOTE_MAX];
    size_t up = sbx_load_enter_key(c->load, SBX_VIEW("active_stack_preset"));
    sbx_load_problem(c->load, place_of(c, "active_stack_preset"),
                     "found %s, expected the name of one of stack_presets",
                     sbx_quote(sbx_view_cstr(stack->active_preset), quoted));
    sbx_load_leave(c->load, up);
}

void sbx_check_config(sbx_load *load, const sbx_node *root, sbx_config *config)
{
    checker c = {.load = load, .root = root, .config = config};
    check_nats(&c);
    check_orders(&c);
    check_engines(&c);
    check_worker_ids(&c);
    check_helpers(&c);
    check_active_preset(&c);
    sbx_check_aliases(load, root, &config->stack);
}
