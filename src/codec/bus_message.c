/* Registrations, heartbeats and leave-takings of workers. */
#include "codec/bus_message.h"

#include "base/id.h"
#include "codec/json_scan.h"

static const char *const kind_names[] = {"openai", "simulated"};
static const char *const state_names[] = {"up", "loading", "down"};
static const char *const usage_names[] = {"auto", "on", "off"};
static const char *const resume_names[] = {"off", "prefill"};

enum {
    MODEL_BYTES = 512,
    VERSION_BYTES = 64
};

const char *sbx_bus_engine_kind_name(sbx_bus_engine_kind kind)
{
    return kind_names[kind];
}

const char *sbx_bus_engine_state_name(sbx_bus_engine_state state)
{
    return state_names[state];
}

const char *sbx_bus_stream_usage_name(sbx_bus_stream_usage usage)
{
    return usage_names[usage];
}

/* ---- writing ---- */

static void write_ids(sbx_buf *buf, sbx_view worker_id, sbx_view boot_id)
{
    sbx_buf_append_cstr(buf, "{\"workerId\":");
    sbx_buf_append_json(buf, worker_id);
    sbx_buf_append_cstr(buf, ",\"bootId\":");
    sbx_buf_append_json(buf, boot_id);
}

static void write_models(sbx_buf *buf, const sbx_bus_worker *worker)
{
    sbx_buf_append_cstr(buf, ",\"models\":[");
    for (size_t i = 0; i < worker->model_count; i++) {
        if (i > 0)
            sbx_buf_append_byte(buf, ',');
        sbx_buf_append_json(buf, worker->models[i]);
    }
    sbx_buf_append_byte(buf, ']');
}

sbx_err sbx_bus_worker_write(sbx_buf *buf, const sbx_bus_worker *worker)
{
    write_ids(buf, worker->worker_id, worker->boot_id);
    sbx_buf_append_cstr(buf, ",\"version\":");
    sbx_buf_append_json(buf, worker->version);
    sbx_buf_appendf(buf, ",\"engine\":{\"kind\":\"%s\",\"state\":\"%s\"}", kind_names[worker->engine_kind],
                    state_names[worker->engine_state]);
    write_models(buf, worker);
    sbx_buf_appendf(buf, ",\"maxConcurrent\":%lu,\"load\":{\"inFlight\":%lu,\"queued\":%lu}",
                    (unsigned long)worker->max_concurrent, (unsigned long)worker->in_flight,
                    (unsigned long)worker->queued);
    sbx_buf_appendf(buf, ",\"resume\":\"%s\",\"streamUsage\":\"%s\",\"draining\":%s",
                    resume_names[worker->can_resume], usage_names[worker->stream_usage],
                    worker->draining ? "true" : "false");
    if (worker->clock_ms > 0)
        sbx_buf_appendf(buf, ",\"clockMs\":%llu", (unsigned long long)worker->clock_ms);
    return sbx_buf_append_byte(buf, '}');
}

sbx_err sbx_bus_leave_write(sbx_buf *buf, sbx_view worker_id, sbx_view boot_id)
{
    write_ids(buf, worker_id, boot_id);
    return sbx_buf_append_byte(buf, '}');
}

/* ---- reading ---- */

enum member {
    WORKER_ID,
    BOOT_ID,
    VERSION,
    ENGINE,
    MODELS,
    MAX_CONCURRENT,
    LOAD,
    RESUME,
    STREAM_USAGE,
    DRAINING,
    CLOCK_MS,
    MEMBER_COUNT
};

typedef struct parse {
    sbx_view message;
    sbx_arena *arena;
    sbx_json_want wants[MEMBER_COUNT];
    sbx_errinfo *info;
} parse;

static sbx_err refuse(const parse *p, const char *param, sbx_json_value found, const char *expected)
{
    size_t offset = found.type == SBX_JSON_NONE ? 0 : sbx_json_offset(p->message, found.text);
    sbx_errinfo_set(p->info, SBX_E_PARSE, offset, "'%s': expected %s, found %s", param, expected,
                    sbx_json_type_name(found.type));
    if (p->info != NULL)
        p->info->param = param;
    return SBX_E_PARSE;
}

static bool is_given(sbx_json_value value)
{
    return value.type != SBX_JSON_NONE && value.type != SBX_JSON_NULL;
}

static sbx_err read_token(const parse *p, const char *param, sbx_json_value value, sbx_view *ret_token)
{
    sbx_view token;
    if (value.type != SBX_JSON_STRING)
        return refuse(p, param, value, "a token");
    sbx_err err = sbx_json_string(value.text, p->arena, &token);
    if (err != SBX_OK)
        return err;
    if (!sbx_id_is_token(token))
        return refuse(p, param, value, "1 to 64 of A-Z a-z 0-9 _ -");
    *ret_token = token;
    return SBX_OK;
}

static bool is_printable(sbx_view text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7f)
            return false;
    }
    return true;
}

/* A short text without control bytes. */
static sbx_err read_text(const parse *p, const char *param, sbx_json_value value, size_t max,
                         sbx_view *ret_text)
{
    sbx_view text;
    if (value.type != SBX_JSON_STRING)
        return refuse(p, param, value, "a string");
    sbx_err err = sbx_json_string(value.text, p->arena, &text);
    if (err != SBX_OK)
        return err;
    if (text.len > max || !is_printable(text))
        return refuse(p, param, value, "a short text without control characters");
    *ret_text = text;
    return SBX_OK;
}

/* One of a few words; unchanged when not given. A word that is not known comes from a newer version: the
 * same. */
static sbx_err read_word(const parse *p, const char *param, sbx_json_value value, const char *const *words,
                         unsigned count, unsigned *ret_index)
{
    if (!is_given(value))
        return SBX_OK;
    if (value.type != SBX_JSON_STRING)
        return refuse(p, param, value, "a word");
    for (unsigned i = 0; i < count; i++) {
        if (sbx_json_string_eq(value.text, sbx_view_cstr(words[i])))
            *ret_index = i;
    }
    return SBX_OK;
}

static sbx_err read_count(const parse *p, const char *param, sbx_json_value value, uint32_t min, uint32_t max,
                          uint32_t *ret_count)
{
    uint64_t count;
    if (!is_given(value))
        return SBX_OK;
    if (sbx_json_to_u64(value, &count) != SBX_OK || count < min || count > max)
        return refuse(p, param, value, "an integer in range");
    *ret_count = (uint32_t)count;
    return SBX_OK;
}

static bool is_known(const sbx_view *models, size_t count, sbx_view model)
{
    for (size_t i = 0; i < count; i++) {
        if (sbx_view_eq(models[i], model))
            return true;
    }
    return false;
}

static sbx_err read_models(const parse *p, sbx_bus_worker *worker)
{
    sbx_json_iter iter;
    sbx_json_value value;
    sbx_json_value list = p->wants[MODELS].value;
    if (list.type != SBX_JSON_ARRAY)
        return refuse(p, "models", list, "an array");
    sbx_view *models = SBX_ARENA_ARRAY(p->arena, sbx_view, SBX_BUS_MAX_MODELS);
    if (models == NULL)
        return SBX_E_NOMEM;
    size_t count = 0;
    sbx_json_iter_init(&iter, list);
    while (sbx_json_iter_next(&iter, NULL, &value)) {
        if (count == SBX_BUS_MAX_MODELS)
            return refuse(p, "models", list, "fewer models");
        sbx_err err = read_text(p, "models", value, MODEL_BYTES, &models[count]);
        if (err != SBX_OK)
            return err;
        if (models[count].len == 0)
            return refuse(p, "models", value, "a name that is not empty");
        if (!is_known(models, count, models[count]))
            count++;
    }
    worker->models = models;
    worker->model_count = count;
    return SBX_OK;
}

static sbx_err read_engine(const parse *p, sbx_bus_worker *worker)
{
    sbx_json_value kind, state;
    unsigned kind_index = SBX_BUS_ENGINE_OPENAI;
    unsigned state_index = SBX_BUS_ENGINE_UP;
    sbx_json_find(p->wants[ENGINE].value, SBX_VIEW("kind"), &kind);
    sbx_json_find(p->wants[ENGINE].value, SBX_VIEW("state"), &state);
    sbx_err err = read_word(p, "engine.kind", kind, kind_names, 2, &kind_index);
    if (err == SBX_OK)
        err = read_word(p, "engine.state", state, state_names, 3, &state_index);
    worker->engine_kind = (sbx_bus_engine_kind)kind_index;
    worker->engine_state = (sbx_bus_engine_state)state_index;
    return err;
}

static sbx_err read_load(const parse *p, sbx_bus_worker *worker)
{
    sbx_json_value in_flight, queued;
    sbx_json_find(p->wants[LOAD].value, SBX_VIEW("inFlight"), &in_flight);
    sbx_json_find(p->wants[LOAD].value, SBX_VIEW("queued"), &queued);
    sbx_err err = read_count(p, "load.inFlight", in_flight, 0, UINT32_MAX, &worker->in_flight);
    if (err == SBX_OK)
        err = read_count(p, "load.queued", queued, 0, UINT32_MAX, &worker->queued);
    worker->max_concurrent = 1;
    if (err == SBX_OK)
        err = read_count(p, "maxConcurrent", p->wants[MAX_CONCURRENT].value, 1, SBX_BUS_MAX_CONCURRENT,
                         &worker->max_concurrent);
    return err;
}

static sbx_err read_flags(const parse *p, sbx_bus_worker *worker)
{
    unsigned resume = 0;
    unsigned usage = SBX_BUS_USAGE_AUTO;
    sbx_err err = read_word(p, "resume", p->wants[RESUME].value, resume_names, 2, &resume);
    if (err == SBX_OK)
        err = read_word(p, "streamUsage", p->wants[STREAM_USAGE].value, usage_names, 3, &usage);
    worker->can_resume = resume == 1;
    worker->stream_usage = (sbx_bus_stream_usage)usage;
    if (err == SBX_OK && is_given(p->wants[DRAINING].value) &&
        sbx_json_to_bool(p->wants[DRAINING].value, &worker->draining) != SBX_OK)
        return refuse(p, "draining", p->wants[DRAINING].value, "true or false");
    if (err == SBX_OK && is_given(p->wants[CLOCK_MS].value) &&
        sbx_json_to_u64(p->wants[CLOCK_MS].value, &worker->clock_ms) != SBX_OK)
        return refuse(p, "clockMs", p->wants[CLOCK_MS].value, "an integer in range");
    return err;
}

static sbx_err read_names(const parse *p, sbx_bus_worker *worker)
{
    sbx_err err = read_token(p, "workerId", p->wants[WORKER_ID].value, &worker->worker_id);
    if (err == SBX_OK)
        err = read_token(p, "bootId", p->wants[BOOT_ID].value, &worker->boot_id);
    if (err == SBX_OK && is_given(p->wants[VERSION].value))
        err = read_text(p, "version", p->wants[VERSION].value, VERSION_BYTES, &worker->version);
    return err;
}

static sbx_err scan(parse *p)
{
    static const char *const names[MEMBER_COUNT] = {
        [WORKER_ID] = "workerId", [BOOT_ID] = "bootId",   [VERSION] = "version",
        [ENGINE] = "engine",      [MODELS] = "models",    [MAX_CONCURRENT] = "maxConcurrent",
        [LOAD] = "load",          [RESUME] = "resume",    [STREAM_USAGE] = "streamUsage",
        [DRAINING] = "draining",  [CLOCK_MS] = "clockMs",
    };
    for (int i = 0; i < MEMBER_COUNT; i++)
        p->wants[i].name = sbx_view_cstr(names[i]);
    if (p->message.len > SBX_BUS_MAX_MESSAGE)
        return sbx_errinfo_set(p->info, SBX_E_PARSE, SBX_BUS_MAX_MESSAGE, "the message is too long");
    return sbx_json_scan(p->message, p->wants, MEMBER_COUNT, NULL, p->info);
}

sbx_err sbx_bus_worker_parse(sbx_view message, sbx_arena *arena, sbx_bus_worker *ret_worker,
                             sbx_errinfo *reterr_info)
{
    static sbx_err (*const steps[])(const parse *, sbx_bus_worker *) = {
        read_names, read_engine, read_models, read_load, read_flags,
    };
    parse p = {.message = message, .arena = arena, .info = reterr_info};
    sbx_bus_worker worker = {0};
    sbx_err err = scan(&p);
    for (size_t i = 0; err == SBX_OK && i < sizeof steps / sizeof steps[0]; i++)
        err = steps[i](&p, &worker);
    if (err == SBX_OK)
        *ret_worker = worker;
    return err;
}

sbx_err sbx_bus_leave_parse(sbx_view message, sbx_arena *arena, sbx_view *ret_worker_id,
                            sbx_view *ret_boot_id, sbx_errinfo *reterr_info)
{
    parse p = {.message = message, .arena = arena, .info = reterr_info};
    sbx_bus_worker worker = {0};
    sbx_err err = scan(&p);
    if (err == SBX_OK)
        err = read_names(&p, &worker);
    if (err != SBX_OK)
        return err;
    *ret_worker_id = worker.worker_id;
    *ret_boot_id = worker.boot_id;
    return SBX_OK;
}
