/* The answer to GET /v1/models. */
#include "codec/openai_response.h"

/* vLLM: max_model_len. LM Studio, OpenRouter and others: context_length. llama.cpp: meta.n_ctx_train. */
static uint64_t context_length(sbx_json_value entry)
{
    sbx_json_value value, meta;
    uint64_t length = 0;
    if (sbx_json_find(entry, SBX_VIEW("max_model_len"), &value) && sbx_json_to_u64(value, &length) == SBX_OK)
        return length;
    if (sbx_json_find(entry, SBX_VIEW("context_length"), &value) && sbx_json_to_u64(value, &length) == SBX_OK)
        return length;
    if (sbx_json_find(entry, SBX_VIEW("meta"), &meta) && sbx_json_find(meta, SBX_VIEW("n_ctx_train"), &value))
        (void)sbx_json_to_u64(value, &length);
    return length;
}

static sbx_err text_at(sbx_json_value entry, sbx_view name, sbx_arena *arena, sbx_view *ret_text)
{
    sbx_json_value value;
    if (!sbx_json_find(entry, name, &value) || value.type != SBX_JSON_STRING)
        return SBX_OK;
    return sbx_json_string(value.text, arena, ret_text);
}

static bool is_usable(sbx_view id)
{
    bool usable = id.len > 0 && id.len <= SBX_MODEL_MAX;
    for (size_t i = 0; usable && i < id.len; i++)
        usable = id.data[i] >= 0x20 && id.data[i] != 0x7f;
    return usable;
}

static sbx_err read_entry(sbx_json_value entry, sbx_arena *arena, sbx_model_info *ret_model)
{
    sbx_model_info model = {.context_length = context_length(entry)};
    sbx_err err = text_at(entry, SBX_VIEW("id"), arena, &model.id);
    if (err == SBX_OK)
        err = text_at(entry, SBX_VIEW("owned_by"), arena, &model.owned_by);
    if (err == SBX_OK)
        *ret_model = model;
    return err;
}

static sbx_err read_list(sbx_json_value list, sbx_arena *arena, sbx_model_info *models, size_t *ret_count)
{
    sbx_json_iter iter;
    sbx_json_value entry;
    size_t count = 0;
    sbx_json_iter_init(&iter, list);
    while (count < SBX_MODELS_MAX && sbx_json_iter_next(&iter, NULL, &entry)) {
        sbx_err err = read_entry(entry, arena, &models[count]);
        if (err != SBX_OK)
            return err;
        if (is_usable(models[count].id))
            count++;
    }
    *ret_count = count;
    return SBX_OK;
}

sbx_err sbx_models_parse(sbx_view body, sbx_arena *arena, const sbx_model_info **ret_models,
                         size_t *ret_count, sbx_errinfo *reterr_info)
{
    sbx_json_want data = {.name = SBX_VIEW("data")};
    sbx_err err = sbx_json_scan(body, &data, 1, NULL, reterr_info);
    if (err != SBX_OK)
        return err;
    if (data.value.type != SBX_JSON_ARRAY)
        return sbx_errinfo_set(reterr_info, SBX_E_PARSE, 0, "no 'data' array in the list of models");
    sbx_model_info *models = SBX_ARENA_ARRAY(arena, sbx_model_info, SBX_MODELS_MAX);
    if (models == NULL)
        return SBX_E_NOMEM;
    err = read_list(data.value, arena, models, ret_count);
    if (err == SBX_OK)
        *ret_models = models;
    return err;
}
