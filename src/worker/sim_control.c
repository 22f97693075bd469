/* Everything under /sim/: how a test gives orders to the simulated engine and asks what it saw
 * (docs/simulated-engine.md). */
#include <cjson/cJSON.h>

#include "worker/sim_answer.h"
#include "worker/sim_server_priv.h"

/* ---- reading ---- */

/* The value of a query parameter, undecoded; empty when there is none. */
static sbx_view query_value(sbx_view query, const char *name)
{
    sbx_view wanted = sbx_view_cstr(name);
    for (size_t at = 0; at < query.len;) {
        size_t end = sbx_view_find(query, '&', at);
        sbx_view pair = sbx_view_slice(query, at, end == SIZE_MAX ? SIZE_MAX : end - at);
        at = end == SIZE_MAX ? query.len : end + 1;
        if (sbx_view_starts_with(pair, wanted) && pair.len > wanted.len && pair.data[wanted.len] == '=')
            return sbx_view_skip(pair, wanted.len + 1);
    }
    return (sbx_view){0};
}

static uint64_t query_number(sbx_view query, const char *name)
{
    uint64_t value = 0;
    (void)sbx_view_to_u64(query_value(query, name), UINT64_MAX, &value); /* nonsense reads as 0 */
    return value;
}

/* Reads a whole number from `least` on; false when it is none, or too large. */
static bool read_number(const cJSON *item, int64_t least, int64_t most, int64_t *ret_value)
{
    if (!cJSON_IsNumber(item) || item->valuedouble < (double)least || item->valuedouble > (double)most)
        return false;
    *ret_value = (int64_t)item->valuedouble;
    return true;
}

static bool read_u32(const cJSON *item, uint32_t *ret_value)
{
    int64_t value;
    if (!read_number(item, 0, UINT32_MAX, &value))
        return false;
    *ret_value = (uint32_t)value;
    return true;
}

static bool is_named(const cJSON *item, const char *name)
{
    return sbx_view_eq_cstr(sbx_view_cstr(item->string), name);
}

static void answer_ok(sbx_sim_server *server, sbx_http_request *request)
{
    sbx_buf_clear(&server->scratch);
    sbx_buf_append_cstr(&server->scratch, "{\"ok\":true}");
    sbx_sim_server_answer(server, request, 200);
}

/* ---- faults ---- */

static bool read_order_field(const cJSON *item, sbx_sim_order *order)
{
    const int64_t most = INT64_C(1) << 52;
    if (is_named(item, "fault"))
        return true;
    if (is_named(item, "after_bytes"))
        return read_number(item, -1, most, &order->after_bytes);
    if (is_named(item, "after_tokens"))
        return read_number(item, -1, most, &order->after_tokens);
    if (is_named(item, "count"))
        return read_number(item, -1, most, &order->count) && order->count != 0;
    if (is_named(item, "skip"))
        return read_number(item, 0, most, &order->skip);
    if (is_named(item, "probability_pct"))
        return read_u32(item, &order->probability_pct) && order->probability_pct <= 100;
    if (is_named(item, "delay_ms"))
        return read_u32(item, &order->delay_ms);
    if (is_named(item, "factor"))
        return read_u32(item, &order->factor);
    if (is_named(item, "path"))
        return cJSON_IsString(item) &&
               sbx_view_to_cstr(sbx_view_cstr(item->valuestring), order->path, sizeof(order->path)) == SBX_OK;
    return false;
}

static bool read_order(const cJSON *object, sbx_sim_order *ret_order)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(object, "fault");
    sbx_sim_fault fault;
    if (!cJSON_IsString(name) || sbx_sim_fault_by_name(sbx_view_cstr(name->valuestring), &fault) != SBX_OK)
        return false;
    *ret_order = sbx_sim_order_of(fault);
    const cJSON *item;
    cJSON_ArrayForEach(item, object)
    {
        if (!read_order_field(item, ret_order))
            return false;
    }
    return true;
}

static void post_faults(sbx_sim_server *server, sbx_http_request *request, const cJSON *body)
{
    sbx_sim_order order;
    if (!cJSON_IsObject(body) || !read_order(body, &order)) {
        sbx_sim_server_refuse(server, request, 400, "not an order; GET /sim/faults lists the faults");
        return;
    }
    if (sbx_sim_faults_add(sbx_sim_engine_faults(server->engine), &order) != SBX_OK) {
        sbx_sim_server_refuse(server, request, 409, "too many orders");
        return;
    }
    answer_ok(server, request);
}

static void get_faults(sbx_sim_server *server, sbx_http_request *request, const cJSON *body)
{
    (void)body;
    sbx_buf *out = &server->scratch;
    sbx_buf_clear(out);
    sbx_buf_append_cstr(out, "{\"orders\":");
    sbx_sim_faults_write(sbx_sim_engine_faults(server->engine), out);
    sbx_buf_append_cstr(out, ",\"known\":{");
    for (int i = 0; i < SBX_SIM_FAULT_COUNT; i++) {
        const sbx_sim_fault_row *row = sbx_sim_fault_row_of((sbx_sim_fault)i);
        sbx_buf_appendf(out, "%s\"%s\":\"%s\"", i > 0 ? "," : "", row->name, row->text);
    }
    sbx_buf_append_cstr(out, "}}");
    sbx_sim_server_answer(server, request, 200);
}

static void delete_faults(sbx_sim_server *server, sbx_http_request *request, const cJSON *body)
{
    (void)body;
    sbx_sim_faults_clear(sbx_sim_engine_faults(server->engine));
    answer_ok(server, request);
}

/* ---- log ---- */

static void get_log(sbx_sim_server *server, sbx_http_request *request, const cJSON *body)
{
    (void)body;
    sbx_view query = sbx_http_request_head(request)->query;
    sbx_buf_clear(&server->scratch);
    sbx_sim_log_write(server->log, query_value(query, "path"), query_number(query, "since"),
                      sbx_loop_now(server->loop), &server->scratch);
    sbx_sim_server_answer(server, request, 200);
}

static void delete_log(sbx_sim_server *server, sbx_http_request *request, const cJSON *body)
{
    (void)body;
    sbx_sim_log_clear(server->log);
    answer_ok(server, request);
}

static void get_body(sbx_sim_server *server, sbx_http_request *request, const cJSON *body)
{
    (void)body;
    uint64_t id = query_number(sbx_http_request_head(request)->query, "id");
    sbx_view bytes = sbx_sim_log_body(server->log, id);
    if (bytes.data == NULL) {
        sbx_sim_server_refuse(server, request, 404, "that body is not kept");
        return;
    }
    sbx_http_header type = {SBX_VIEW("Content-Type"), SBX_VIEW("application/octet-stream")};
    (void)sbx_http_respond(request, 200, &type, 1, &bytes, 1);
}

/* ---- speed, models, state ---- */

typedef struct config_field {
    const char *name;
    size_t offset;
} config_field;

static const config_field config_fields[] = {
    {"ttft_ms", offsetof(sbx_sim_options, ttft_ms)},
    {"tps", offsetof(sbx_sim_options, tps)},
    {"jitter_pct", offsetof(sbx_sim_options, jitter_pct)},
    {"capacity", offsetof(sbx_sim_options, capacity)},
    {"max_waiting", offsetof(sbx_sim_options, max_waiting)},
    {"max_wait_ms", offsetof(sbx_sim_options, max_wait_ms)},
    {"max_context", offsetof(sbx_sim_options, max_context)},
    {"answer_tokens", offsetof(sbx_sim_options, answer_tokens)},
};
enum {
    CONFIG_FIELDS = sizeof(config_fields) / sizeof(config_fields[0])
};

static uint32_t *field_in(sbx_sim_options *options, const config_field *field)
{
    return (uint32_t *)(void *)((char *)options + field->offset);
}

static void write_config(sbx_sim_server *server)
{
    sbx_sim_options options = *sbx_sim_engine_options(server->engine);
    sbx_buf *out = &server->scratch;
    sbx_buf_clear(out);
    sbx_buf_append_byte(out, '{');
    for (size_t i = 0; i < CONFIG_FIELDS; i++)
        sbx_buf_appendf(out, "\"%s\":%u,", config_fields[i].name, *field_in(&options, &config_fields[i]));
    sbx_buf_appendf(out, "\"seed\":%llu,\"state\":\"%s\",\"models\":[", (unsigned long long)options.seed,
                    sbx_sim_engine_is_loading(server->engine) ? "loading" : "up");
    for (size_t i = 0; i < options.model_count; i++) {
        if (i > 0)
            sbx_buf_append_byte(out, ',');
        sbx_buf_append_json(out, sbx_view_cstr(options.models[i]));
    }
    sbx_buf_append_cstr(out, "]}");
}

static void get_config(sbx_sim_server *server, sbx_http_request *request, const cJSON *body)
{
    (void)body;
    write_config(server);
    sbx_sim_server_answer(server, request, 200);
}

/* What POST /sim/config asks for, before any of it is done. */
typedef struct wanted_config {
    sbx_sim_options options;
    const char *models[SBX_SIM_MODELS_MAX];
    bool is_loading;
} wanted_config;

static bool read_models(const cJSON *list, wanted_config *wanted)
{
    int count = cJSON_GetArraySize(list);
    if (!cJSON_IsArray(list) || count < 1 || count > SBX_SIM_MODELS_MAX)
        return false;
    size_t at = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsString(item))
            return false;
        wanted->models[at++] = item->valuestring;
    }
    wanted->options.models = wanted->models;
    wanted->options.model_count = at;
    return true;
}

static bool read_state(const cJSON *item, wanted_config *wanted)
{
    sbx_view state = cJSON_IsString(item) ? sbx_view_cstr(item->valuestring) : (sbx_view){0};
    wanted->is_loading = sbx_view_eq_cstr(state, "loading");
    return wanted->is_loading || sbx_view_eq_cstr(state, "up");
}

static bool read_config_field(const cJSON *item, wanted_config *wanted)
{
    for (size_t i = 0; i < CONFIG_FIELDS; i++) {
        if (is_named(item, config_fields[i].name))
            return read_u32(item, field_in(&wanted->options, &config_fields[i]));
    }
    if (is_named(item, "models"))
        return read_models(item, wanted);
    if (is_named(item, "state"))
        return read_state(item, wanted);
    int64_t seed;
    if (!is_named(item, "seed") || !read_number(item, 0, INT64_C(1) << 52, &seed))
        return false;
    wanted->options.seed = (uint64_t)seed;
    return true;
}

static bool read_config(const cJSON *object, wanted_config *wanted)
{
    const cJSON *item;
    if (!cJSON_IsObject(object))
        return false;
    cJSON_ArrayForEach(item, object)
    {
        if (!read_config_field(item, wanted))
            return false;
    }
    return true;
}

static void post_config(sbx_sim_server *server, sbx_http_request *request, const cJSON *body)
{
    wanted_config wanted = {.options = *sbx_sim_engine_options(server->engine),
                            .is_loading = sbx_sim_engine_is_loading(server->engine)};
    if (!read_config(body, &wanted)) {
        sbx_sim_server_refuse(server, request, 400, "not a configuration; GET /sim/config shows one");
        return;
    }
    if (sbx_sim_engine_configure(server->engine, &wanted.options) != SBX_OK) {
        sbx_sim_server_refuse(server, request, 500, "out of memory");
        return;
    }
    sbx_sim_engine_set_loading(server->engine, wanted.is_loading);
    get_config(server, request, body);
}

static void get_load(sbx_sim_server *server, sbx_http_request *request, const cJSON *body)
{
    (void)body;
    sbx_sim_load load = sbx_sim_engine_load(server->engine);
    sbx_buf_clear(&server->scratch);
    sbx_buf_appendf(&server->scratch, "{\"active\":%u,\"waiting\":%u,\"total\":%llu}", load.active,
                    load.waiting, (unsigned long long)load.total);
    sbx_sim_server_answer(server, request, 200);
}

static void post_reset(sbx_sim_server *server, sbx_http_request *request, const cJSON *body)
{
    (void)body;
    if (sbx_sim_engine_configure(server->engine, &server->initial) != SBX_OK) {
        sbx_sim_server_refuse(server, request, 500, "out of memory");
        return;
    }
    sbx_sim_engine_set_loading(server->engine, false);
    sbx_sim_faults_clear(sbx_sim_engine_faults(server->engine));
    sbx_sim_log_clear(server->log);
    answer_ok(server, request);
}

/* ---- routes ---- */

typedef void route_fn(sbx_sim_server *server, sbx_http_request *request, const cJSON *body);

static const struct {
    const char *method;
    const char *path;
    route_fn *fn;
} routes[] = {
    {"GET", "/sim/faults", get_faults}, {"POST", "/sim/faults", post_faults},
    {"GET", "/sim/log", get_log},       {"DELETE", "/sim/faults", delete_faults},
    {"DELETE", "/sim/log", delete_log}, {"GET", "/sim/body", get_body},
    {"GET", "/sim/config", get_config}, {"POST", "/sim/config", post_config},
    {"GET", "/sim/load", get_load},     {"POST", "/sim/reset", post_reset},
};

static route_fn *find_route(const sbx_http_head *head, bool *ret_is_path_known)
{
    *ret_is_path_known = false;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!sbx_view_eq_cstr(head->path, routes[i].path))
            continue;
        *ret_is_path_known = true;
        if (sbx_view_eq_cstr(head->method, routes[i].method))
            return routes[i].fn;
    }
    return NULL;
}

void sbx_sim_control(sbx_sim_server *server, sbx_http_request *request)
{
    bool is_path_known;
    route_fn *route = find_route(sbx_http_request_head(request), &is_path_known);
    if (route == NULL) {
        sbx_sim_server_refuse(server, request, is_path_known ? 405 : 404, "there is no such control");
        return;
    }
    sbx_view bytes = sbx_http_request_body(request);
    cJSON *body = bytes.len == 0 ? NULL : cJSON_ParseWithLength((const char *)bytes.data, bytes.len);
    route(server, request, body);
    cJSON_Delete(body);
}
