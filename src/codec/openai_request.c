/* What routing needs from a request body: one scan, then a look at the wanted members. */
#include "codec/openai_request.h"

#include <string.h>

enum member {
    MODEL,
    STREAM,
    STREAM_OPTIONS,
    INPUT,
    SESSION_ID,
    PROMPT_CACHE_KEY,
    MAX_TOKENS,
    MAX_COMPLETION_TOKENS,
    N,
    TOOLS,
    FUNCTIONS,
    RESPONSE_FORMAT,
    LOGPROBS,
    QUERY,
    MEMBER_COUNT
};

typedef struct parse {
    sbx_view body;
    sbx_arena *arena;
    sbx_json_want wants[MEMBER_COUNT];
    sbx_openai_request *request;
    sbx_errinfo *info;
} parse;

static const struct {
    const char *path;
    const char *input; /* the member that holds what the engine works on */
    bool input_may_be_string;
} endpoints[] = {
    [SBX_ENDPOINT_CHAT] = {"/v1/chat/completions", "messages", false},
    [SBX_ENDPOINT_COMPLETIONS] = {"/v1/completions", "prompt", true},
    [SBX_ENDPOINT_EMBEDDINGS] = {"/v1/embeddings", "input", true},
    [SBX_ENDPOINT_RERANK] = {"/v1/rerank", "documents", false},
};

const char *sbx_endpoint_path(sbx_endpoint endpoint)
{
    return endpoints[endpoint].path;
}

bool sbx_endpoint_from_path(sbx_view path, sbx_endpoint *ret_endpoint)
{
    for (unsigned i = SBX_ENDPOINT_CHAT; i <= SBX_ENDPOINT_RERANK; i++) {
        if (!sbx_view_eq_cstr(path, endpoints[i].path))
            continue;
        *ret_endpoint = (sbx_endpoint)i;
        return true;
    }
    if (!sbx_view_eq(path, SBX_VIEW("/v1/reranking")))
        return false;
    *ret_endpoint = SBX_ENDPOINT_RERANK;
    return true;
}

static void set_names(parse *p, sbx_endpoint endpoint)
{
    static const char *const names[MEMBER_COUNT] = {
        [MODEL] = "model",
        [STREAM] = "stream",
        [STREAM_OPTIONS] = "stream_options",
        [SESSION_ID] = "session_id",
        [PROMPT_CACHE_KEY] = "prompt_cache_key",
        [MAX_TOKENS] = "max_tokens",
        [MAX_COMPLETION_TOKENS] = "max_completion_tokens",
        [N] = "n",
        [TOOLS] = "tools",
        [FUNCTIONS] = "functions",
        [RESPONSE_FORMAT] = "response_format",
        [LOGPROBS] = "logprobs",
        [QUERY] = "query",
    };
    for (int i = 0; i < MEMBER_COUNT; i++)
        p->wants[i] = (sbx_json_want){.name = sbx_view_cstr(names[i])};
    p->wants[INPUT].name = sbx_view_cstr(endpoints[endpoint].input);
}

static sbx_json_value value_of(const parse *p, enum member member)
{
    return p->wants[member].value;
}

static bool is_given(sbx_json_value value)
{
    return value.type != SBX_JSON_NONE && value.type != SBX_JSON_NULL;
}

/* "messages: expected an array, found a string", or "... is missing". */
static sbx_err refuse(const parse *p, const char *param, sbx_json_value found, const char *expected)
{
    bool missing = found.type == SBX_JSON_NONE;
    size_t offset = missing ? 0 : sbx_json_offset(p->body, found.text);
    if (missing)
        sbx_errinfo_set(p->info, SBX_E_PARSE, offset, "'%s' is missing: expected %s", param, expected);
    else
        sbx_errinfo_set(p->info, SBX_E_PARSE, offset, "'%s' at byte %zu: expected %s, found %s", param,
                        offset, expected, sbx_json_type_name(found.type));
    if (p->info != NULL) {
        p->info->param = param;
        sbx_json_locate(p->body, p->info);
    }
    return SBX_E_PARSE;
}

/* The decoded string, which must have min to max bytes. */
static sbx_err read_name(const parse *p, const char *param, sbx_json_value value, size_t max,
                         sbx_view *ret_name)
{
    sbx_view name;
    if (value.type != SBX_JSON_STRING)
        return refuse(p, param, value, "a string");
    sbx_err err = sbx_json_string(value.text, p->arena, &name);
    if (err != SBX_OK)
        return err;
    if (name.len == 0)
        return refuse(p, param, value, "a string that is not empty");
    if (name.len > max)
        return refuse(p, param, value, "a shorter string");
    *ret_name = name;
    return SBX_OK;
}

static sbx_err read_model(parse *p)
{
    p->request->model_value = value_of(p, MODEL);
    return read_name(p, "model", p->request->model_value, SBX_MODEL_MAX, &p->request->model);
}

static sbx_err read_stream(parse *p)
{
    sbx_json_value value = value_of(p, STREAM);
    if (!is_given(value))
        return SBX_OK;
    if (sbx_json_to_bool(value, &p->request->stream) != SBX_OK)
        return refuse(p, "stream", value, "true or false");
    /* There is nothing to stream elsewhere; engines do not look at it there. */
    p->request->stream = p->request->stream && p->request->endpoint <= SBX_ENDPOINT_COMPLETIONS;
    return SBX_OK;
}

static bool has_member_twice(sbx_json_value object, sbx_view name)
{
    sbx_json_iter iter;
    sbx_view key;
    sbx_json_value value;
    unsigned count = 0;
    sbx_json_iter_init(&iter, object);
    while (sbx_json_iter_next(&iter, &key, &value))
        count += sbx_json_string_eq(key, name);
    return count > 1;
}

static sbx_err read_stream_options(parse *p)
{
    sbx_openai_request *request = p->request;
    request->stream_options = value_of(p, STREAM_OPTIONS);
    if (!is_given(request->stream_options))
        return SBX_OK;
    if (request->stream_options.type != SBX_JSON_OBJECT)
        return refuse(p, "stream_options", request->stream_options, "an object");
    /* We may set it: two of them could be read as either. */
    if (has_member_twice(request->stream_options, SBX_VIEW("include_usage")))
        return refuse(p, "stream_options", request->stream_options, "include_usage once");
    if (!sbx_json_find(request->stream_options, SBX_VIEW("include_usage"), &request->include_usage) ||
        !is_given(request->include_usage))
        return SBX_OK;
    if (sbx_json_to_bool(request->include_usage, &request->wants_usage) != SBX_OK)
        return refuse(p, "stream_options.include_usage", request->include_usage, "true or false");
    return SBX_OK;
}

static sbx_err read_input(parse *p)
{
    sbx_endpoint endpoint = p->request->endpoint;
    const char *param = endpoints[endpoint].input;
    sbx_json_value value = value_of(p, INPUT);
    bool fits = value.type == SBX_JSON_ARRAY ||
                (value.type == SBX_JSON_STRING && endpoints[endpoint].input_may_be_string);
    if (!fits)
        return refuse(p, param, value,
                      endpoints[endpoint].input_may_be_string ? "a string or an array" : "an array");
    /* Engines fail on an empty list in ways that would be held against them. */
    if (value.type == SBX_JSON_ARRAY && sbx_json_is_empty(value))
        return refuse(p, param, value, "an array that is not empty");
    p->request->input = value;
    if (endpoint == SBX_ENDPOINT_RERANK && value_of(p, QUERY).type != SBX_JSON_STRING)
        return refuse(p, "query", value_of(p, QUERY), "a string");
    return SBX_OK;
}

static sbx_err read_session(parse *p)
{
    sbx_openai_request *request = p->request;
    request->session_value = value_of(p, SESSION_ID);
    request->session_key_offset = p->wants[SESSION_ID].key_offset;
    if (!is_given(request->session_value))
        return SBX_OK;
    return read_name(p, "session_id", request->session_value, SBX_SESSION_MAX, &request->session_id);
}

/* Not our parameter: whatever does not look like a key of a session is left to the engine. */
static sbx_err read_cache_key(parse *p)
{
    sbx_view key;
    sbx_json_value value = value_of(p, PROMPT_CACHE_KEY);
    if (value.type != SBX_JSON_STRING || value.text.len > 6 * SBX_SESSION_MAX)
        return SBX_OK;
    sbx_err err = sbx_json_string(value.text, p->arena, &key);
    if (err != SBX_OK)
        return err;
    if (key.len <= SBX_SESSION_MAX)
        p->request->prompt_cache_key = key;
    return SBX_OK;
}

static int64_t integer_or(sbx_json_value value, int64_t otherwise)
{
    int64_t number;
    return sbx_json_to_i64(value, &number) == SBX_OK && number >= 0 ? number : otherwise;
}

/* Given, and neither false, 0 nor empty. */
static bool is_in_use(sbx_json_value value)
{
    if (value.type == SBX_JSON_ARRAY || value.type == SBX_JSON_OBJECT)
        return !sbx_json_is_empty(value);
    return is_given(value) && !sbx_view_eq(value.text, SBX_VIEW("false")) &&
           !sbx_view_eq(value.text, SBX_VIEW("0"));
}

/* {"type":"text"} is what one gets without it. */
static bool shapes_the_answer(sbx_json_value response_format)
{
    sbx_json_value type;
    if (!is_in_use(response_format))
        return false;
    return !(sbx_json_find(response_format, SBX_VIEW("type"), &type) &&
             sbx_json_string_eq(type.text, SBX_VIEW("text")));
}

static void read_rest(parse *p)
{
    sbx_openai_request *request = p->request;
    int64_t max_tokens = integer_or(value_of(p, MAX_TOKENS), -1);
    request->max_tokens = integer_or(value_of(p, MAX_COMPLETION_TOKENS), max_tokens);
    request->n = integer_or(value_of(p, N), 1);
    request->has_tools = is_in_use(value_of(p, TOOLS)) || is_in_use(value_of(p, FUNCTIONS));
    request->has_response_format = shapes_the_answer(value_of(p, RESPONSE_FORMAT));
    request->has_logprobs = is_in_use(value_of(p, LOGPROBS));
}

static sbx_err read_members(parse *p)
{
    static sbx_err (*const steps[])(parse *) = {
        read_model, read_stream, read_stream_options, read_input, read_session, read_cache_key,
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        sbx_err err = steps[i](p);
        if (err != SBX_OK)
            return err;
    }
    read_rest(p);
    return SBX_OK;
}

sbx_err sbx_openai_request_parse(sbx_view body, sbx_endpoint endpoint, sbx_arena *arena,
                                 sbx_openai_request *ret_request, sbx_errinfo *reterr_info)
{
    sbx_json_value root;
    sbx_openai_request request = {.body = body, .endpoint = endpoint};
    parse p = {.body = body, .arena = arena, .request = &request, .info = reterr_info};
    set_names(&p, endpoint);
    sbx_err err = sbx_json_scan(body, p.wants, MEMBER_COUNT, &root, reterr_info);
    if (err != SBX_OK)
        return err;
    if (root.type != SBX_JSON_OBJECT)
        return refuse(&p, "body", root, "an object");
    err = read_members(&p);
    if (err == SBX_OK)
        *ret_request = request;
    return err;
}
