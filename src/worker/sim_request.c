/* See sim_request.h. This is a tool for tests, not the hot path: it reads with cJSON. */
#include "worker/sim_request.h"

#include <cjson/cJSON.h>

#include "worker/sim_text.h"

enum {
    IMAGE_TOKENS = 85,
    MESSAGE_TOKENS = 4
};

/* What parsing needs at hand. */
typedef struct parse {
    sbx_arena *arena;
    const cJSON *root;
    sbx_sim_request *request;
    sbx_errinfo *info;
    uint64_t hash;
    uint64_t prompt_tokens;
} parse;

static sbx_err invalid(const parse *p, const char *what)
{
    return sbx_errinfo_set(p->info, SBX_E_INVALID, 0, "%s", what);
}

static sbx_view text_of(const cJSON *item)
{
    return cJSON_IsString(item) ? sbx_view_cstr(item->valuestring) : (sbx_view){0};
}

static bool is_true(const cJSON *object, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* `otherwise` when there is no such number; SBX_E_INVALID when it is not one or below 0. */
static sbx_err number(const parse *p, const char *name, int64_t otherwise, int64_t *ret_number)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(p->root, name);
    *ret_number = otherwise;
    if (item == NULL || cJSON_IsNull(item))
        return SBX_OK;
    if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > 1e9)
        return sbx_errinfo_set(p->info, SBX_E_INVALID, 0, "%s is not a number from 0", name);
    *ret_number = (int64_t)item->valuedouble;
    return SBX_OK;
}

static void count_text(parse *p, sbx_view text)
{
    p->hash = sbx_sim_hash_add(p->hash, text);
    p->prompt_tokens += sbx_sim_count_tokens(text);
}

/* ---- lists of texts ---- */

static sbx_err item_text(const parse *p, const cJSON *item, sbx_view *ret_text)
{
    const cJSON *text = cJSON_IsObject(item) ? cJSON_GetObjectItemCaseSensitive(item, "text") : item;
    if (cJSON_IsString(text))
        return sbx_arena_dup(p->arena, text_of(text), ret_text);
    char *printed = cJSON_PrintUnformatted(item);
    if (printed == NULL)
        return SBX_E_NOMEM;
    sbx_err err = sbx_arena_dup(p->arena, sbx_view_cstr(printed), ret_text);
    cJSON_free(printed);
    return err;
}

static sbx_err item_list(const parse *p, const cJSON *list, int most, sbx_sim_views *ret_views)
{
    int count = cJSON_GetArraySize(list);
    if (count > most)
        return invalid(p, "the list is too long");
    sbx_view *views = SBX_ARENA_ARRAY(p->arena, sbx_view, (size_t)count);
    if (views == NULL)
        return SBX_E_NOMEM;
    size_t at = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        sbx_err err = item_text(p, item, &views[at++]);
        if (err != SBX_OK)
            return err;
    }
    *ret_views = (sbx_sim_views){views, at};
    return SBX_OK;
}

static sbx_err one_item(const parse *p, const cJSON *item, sbx_sim_views *ret_views)
{
    sbx_view *view = SBX_ARENA_NEW(p->arena, sbx_view);
    if (view == NULL)
        return SBX_E_NOMEM;
    *ret_views = (sbx_sim_views){view, 1};
    return item_text(p, item, view);
}

/* ---- chat ---- */

static void count_part(parse *p, const cJSON *part)
{
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(part, "text");
    if (cJSON_IsString(text)) {
        count_text(p, text_of(text));
        return;
    }
    const cJSON *image = cJSON_GetObjectItemCaseSensitive(part, "image_url");
    const cJSON *url = cJSON_GetObjectItemCaseSensitive(image, "url");
    p->hash = sbx_sim_hash_add(p->hash, text_of(cJSON_IsString(image) ? image : url));
    p->prompt_tokens += IMAGE_TOKENS;
}

static void count_message(parse *p, const cJSON *message)
{
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content");
    p->hash = sbx_sim_hash_add(p->hash, text_of(cJSON_GetObjectItemCaseSensitive(message, "role")));
    p->prompt_tokens += MESSAGE_TOKENS;
    if (cJSON_IsString(content))
        count_text(p, text_of(content));
    const cJSON *part;
    if (cJSON_IsArray(content))
        cJSON_ArrayForEach(part, content) count_part(p, part);
}

/* The text of a message whose content is one string, or one text part. */
static sbx_view plain_content(const cJSON *message)
{
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content");
    if (cJSON_IsArray(content) && cJSON_GetArraySize(content) == 1)
        content = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(content, 0), "text");
    return text_of(content);
}

static bool is_prefill(const cJSON *message)
{
    return sbx_view_eq_cstr(text_of(cJSON_GetObjectItemCaseSensitive(message, "role")), "assistant") &&
           message->next == NULL && plain_content(message).len > 0;
}

static sbx_err parse_messages(parse *p)
{
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(p->root, "messages");
    if (!cJSON_IsArray(messages) || messages->child == NULL)
        return invalid(p, "messages is missing or empty");
    const cJSON *message;
    cJSON_ArrayForEach(message, messages)
    {
        if (!cJSON_IsObject(message))
            return invalid(p, "a message is not an object");
        if (!is_prefill(message)) {
            count_message(p, message);
            continue;
        }
        sbx_view prefill = plain_content(message);
        p->prompt_tokens += sbx_sim_count_tokens(prefill);
        sbx_err err = sbx_arena_dup(p->arena, prefill, &p->request->prefill);
        if (err != SBX_OK)
            return err;
    }
    return SBX_OK;
}

/* tool_choice "required" asks for the first tool, {"function":{"name"}} for that one. */
static sbx_err parse_tool(parse *p)
{
    const cJSON *choice = cJSON_GetObjectItemCaseSensitive(p->root, "tool_choice");
    const cJSON *chosen = choice;
    if (sbx_view_eq_cstr(text_of(choice), "required"))
        chosen = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(p->root, "tools"), 0);
    const cJSON *name =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(chosen, "function"), "name");
    return sbx_arena_dup(p->arena, text_of(name), &p->request->tool_name);
}

/* ---- chat and completions ---- */

static sbx_err parse_prompt(parse *p)
{
    const cJSON *prompt = cJSON_GetObjectItemCaseSensitive(p->root, "prompt");
    if (!cJSON_IsString(prompt) && !cJSON_IsArray(prompt))
        return invalid(p, "prompt is missing");
    sbx_view text;
    sbx_err err = item_text(p, prompt, &text);
    if (err == SBX_OK)
        count_text(p, text);
    return err;
}

static sbx_err parse_stops(parse *p)
{
    const cJSON *stop = cJSON_GetObjectItemCaseSensitive(p->root, "stop");
    if (stop == NULL || cJSON_IsNull(stop))
        return SBX_OK;
    if (cJSON_IsString(stop) && stop->valuestring[0] != '\0')
        return one_item(p, stop, &p->request->stops);
    if (!cJSON_IsArray(stop))
        return invalid(p, "stop is neither a text nor a list of texts");
    const cJSON *item;
    cJSON_ArrayForEach(item, stop)
    {
        if (text_of(item).len == 0)
            return invalid(p, "stop holds something that is not a text");
    }
    return item_list(p, stop, SBX_SIM_STOPS_MAX, &p->request->stops);
}

static sbx_err parse_limits(parse *p)
{
    int64_t choices;
    sbx_err err = number(p, "n", 1, &choices);
    if (err == SBX_OK && choices != 1)
        return invalid(p, "n must be 1");
    if (err == SBX_OK)
        err = number(p, "max_tokens", -1, &p->request->max_tokens);
    if (err == SBX_OK)
        err = number(p, "max_completion_tokens", p->request->max_tokens, &p->request->max_tokens);
    if (err == SBX_OK)
        err = number(p, "min_tokens", 0, &p->request->min_tokens);
    if (err == SBX_OK && p->request->max_tokens == 0)
        return invalid(p, "max_tokens must be at least 1");
    return err;
}

static sbx_err parse_seed(parse *p)
{
    int64_t seed;
    sbx_err err = number(p, "seed", 0, &seed);
    if (err == SBX_OK)
        p->hash = sbx_sim_hash_add(p->hash, sbx_view_of(&seed, sizeof(seed)));
    return err;
}

static sbx_err parse_generation(parse *p)
{
    sbx_sim_request *request = p->request;
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(p->root, "stream_options");
    request->stream = is_true(p->root, "stream");
    request->include_usage = is_true(options, "include_usage");
    request->ignore_eos = is_true(p->root, "ignore_eos");
    sbx_err err = parse_limits(p);
    if (err == SBX_OK)
        err = parse_stops(p);
    if (err == SBX_OK)
        err = parse_seed(p);
    if (err == SBX_OK)
        err = request->kind == SBX_SIM_CHAT ? parse_messages(p) : parse_prompt(p);
    if (err == SBX_OK && request->kind == SBX_SIM_CHAT)
        err = parse_tool(p);
    return err;
}

/* ---- embeddings, rerank ---- */

/* A text, a list of texts, a list of token ids, a list of such lists. */
static sbx_err parse_inputs(parse *p)
{
    const cJSON *input = cJSON_GetObjectItemCaseSensitive(p->root, "input");
    if (cJSON_IsArray(input) && input->child == NULL)
        return invalid(p, "input is empty");
    if (cJSON_IsString(input) || (cJSON_IsArray(input) && cJSON_IsNumber(input->child)))
        return one_item(p, input, &p->request->items);
    if (cJSON_IsArray(input))
        return item_list(p, input, SBX_SIM_ITEMS_MAX, &p->request->items);
    return invalid(p, "input is missing");
}

static sbx_err parse_embeddings(parse *p)
{
    int64_t dimensions;
    sbx_err err = number(p, "dimensions", SBX_SIM_DIMENSIONS, &dimensions);
    if (err == SBX_OK && (dimensions < 1 || dimensions > SBX_SIM_DIMENSIONS_MAX))
        return invalid(p, "dimensions must be from 1 to 4096");
    if (err == SBX_OK)
        err = parse_inputs(p);
    p->request->dimensions = (uint32_t)dimensions;
    p->request->as_base64 =
        sbx_view_eq_cstr(text_of(cJSON_GetObjectItemCaseSensitive(p->root, "encoding_format")), "base64");
    return err;
}

static sbx_err parse_rerank(parse *p)
{
    const cJSON *documents = cJSON_GetObjectItemCaseSensitive(p->root, "documents");
    const cJSON *query = cJSON_GetObjectItemCaseSensitive(p->root, "query");
    if (!cJSON_IsString(query))
        return invalid(p, "query is missing");
    if (!cJSON_IsArray(documents) || documents->child == NULL)
        return invalid(p, "documents is missing or empty");
    p->request->return_documents = is_true(p->root, "return_documents");
    sbx_err err = number(p, "top_n", -1, &p->request->top_n);
    if (err == SBX_OK)
        err = sbx_arena_dup(p->arena, text_of(query), &p->request->query);
    if (err == SBX_OK)
        err = item_list(p, documents, SBX_SIM_ITEMS_MAX, &p->request->items);
    return err;
}

static void count_items(parse *p)
{
    count_text(p, p->request->query);
    for (size_t i = 0; i < p->request->items.count; i++)
        p->prompt_tokens += sbx_sim_count_tokens(p->request->items.items[i]);
}

/* ---- all ---- */

bool sbx_sim_kind_of_path(sbx_view path, sbx_sim_kind *ret_kind)
{
    static const struct {
        const char *path;
        sbx_sim_kind kind;
    } paths[] = {
        {"/v1/chat/completions", SBX_SIM_CHAT}, {"/v1/completions", SBX_SIM_COMPLETION},
        {"/v1/embeddings", SBX_SIM_EMBEDDINGS}, {"/v1/rerank", SBX_SIM_RERANK},
        {"/v1/reranking", SBX_SIM_RERANK},      {"/rerank", SBX_SIM_RERANK},
    };
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (!sbx_view_eq_cstr(path, paths[i].path))
            continue;
        *ret_kind = paths[i].kind;
        return true;
    }
    return false;
}

static sbx_err parse_by_kind(parse *p)
{
    sbx_view model = text_of(cJSON_GetObjectItemCaseSensitive(p->root, "model"));
    if (model.len == 0)
        return invalid(p, "model is missing");
    sbx_err err = sbx_arena_dup(p->arena, model, &p->request->model);
    if (err != SBX_OK)
        return err;
    p->hash = sbx_sim_hash_add(p->hash, model);
    switch (p->request->kind) {
    case SBX_SIM_CHAT:
    case SBX_SIM_COMPLETION:
        return parse_generation(p);
    case SBX_SIM_EMBEDDINGS:
        err = parse_embeddings(p);
        break;
    case SBX_SIM_RERANK:
        err = parse_rerank(p);
        break;
    }
    if (err == SBX_OK)
        count_items(p);
    return err;
}

static bool is_blank(sbx_view rest)
{
    return sbx_view_trim(rest).len == 0;
}

sbx_err sbx_sim_request_parse(sbx_arena *arena, sbx_sim_kind kind, sbx_view body, uint64_t seed,
                              sbx_sim_request *ret_request, sbx_errinfo *reterr_info)
{
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts((const char *)body.data, body.len, &end, 0);
    size_t used = end == NULL ? 0 : (size_t)(end - (const char *)body.data);
    sbx_sim_request request = {.kind = kind, .max_tokens = -1, .top_n = -1};
    parse p = {.arena = arena,
               .root = root,
               .request = &request,
               .info = reterr_info,
               .hash = sbx_sim_hash_init(seed)};
    sbx_err err;
    if (!cJSON_IsObject(root) || !is_blank(sbx_view_skip(body, used)))
        err = sbx_errinfo_set(reterr_info, SBX_E_PARSE, used, "the body is not one JSON object");
    else
        err = parse_by_kind(&p);
    cJSON_Delete(root);
    if (err != SBX_OK)
        return err;
    request.key = p.hash;
    request.prompt_tokens = p.prompt_tokens < UINT32_MAX ? (uint32_t)p.prompt_tokens : UINT32_MAX;
    *ret_request = request;
    return SBX_OK;
}
