/* A complete buffered answer: its check, its usage, and our metadata spliced into it. */
#include "codec/openai_response.h"
#include "codec/openai_usage_priv.h"

static const struct {
    const char *member;
    const char *other; /* a second spelling that engines use; or NULL */
    bool may_be_empty;
} expected[] = {
    [SBX_ENDPOINT_CHAT] = {"choices", NULL, false},
    [SBX_ENDPOINT_COMPLETIONS] = {"choices", NULL, false},
    [SBX_ENDPOINT_EMBEDDINGS] = {"data", NULL, false},
    [SBX_ENDPOINT_RERANK] = {"results", "data", true},
};

enum {
    MEMBER,
    OTHER,
    ERROR,
    OBJECT,
    USAGE,
    METADATA,
    WANT_COUNT
};

static uint64_t count_at(sbx_json_value usage, sbx_view name)
{
    sbx_json_value value;
    uint64_t count = 0;
    if (sbx_json_find(usage, name, &value))
        (void)sbx_json_to_u64(value, &count);
    return count;
}

sbx_usage sbx_usage_of(sbx_json_value usage)
{
    if (usage.type != SBX_JSON_OBJECT)
        return (sbx_usage){0};
    return (sbx_usage){
        .is_present = true,
        .prompt_tokens = count_at(usage, SBX_VIEW("prompt_tokens")),
        .completion_tokens = count_at(usage, SBX_VIEW("completion_tokens")),
        .total_tokens = count_at(usage, SBX_VIEW("total_tokens")),
    };
}

static bool is_given(sbx_json_value value)
{
    return value.type != SBX_JSON_NONE && value.type != SBX_JSON_NULL;
}

static bool has_expected_member(const sbx_json_want *wants, sbx_endpoint endpoint)
{
    sbx_json_value value = wants[MEMBER].value;
    if (value.type == SBX_JSON_NONE && expected[endpoint].other != NULL)
        value = wants[OTHER].value;
    return value.type == SBX_JSON_ARRAY && (expected[endpoint].may_be_empty || !sbx_json_is_empty(value));
}

static sbx_err check_members(const sbx_json_want *wants, sbx_endpoint endpoint, sbx_errinfo *info)
{
    if (is_given(wants[ERROR].value) || sbx_json_string_eq(wants[OBJECT].value.text, SBX_VIEW("error")))
        return sbx_errinfo_set(info, SBX_E_PARSE, 0, "an error body under a success status");
    if (!has_expected_member(wants, endpoint))
        return sbx_errinfo_set(info, SBX_E_PARSE, 0, "no usable '%s' array", expected[endpoint].member);
    return SBX_OK;
}

sbx_err sbx_answer_check(sbx_view body, sbx_endpoint endpoint, sbx_answer_info *ret_info,
                         sbx_errinfo *reterr_info)
{
    sbx_json_value root;
    sbx_json_want wants[WANT_COUNT] = {
        [MEMBER] = {.name = sbx_view_cstr(expected[endpoint].member)},
        [OTHER] = {.name = sbx_view_cstr(expected[endpoint].other)},
        [ERROR] = {.name = SBX_VIEW("error")},
        [OBJECT] = {.name = SBX_VIEW("object")},
        [USAGE] = {.name = SBX_VIEW("usage")},
        [METADATA] = {.name = SBX_VIEW("metadata")},
    };
    sbx_err err = sbx_json_scan(body, wants, WANT_COUNT, &root, reterr_info);
    if (err != SBX_OK)
        return err;
    if (root.type != SBX_JSON_OBJECT)
        return sbx_errinfo_set(reterr_info, SBX_E_PARSE, 0, "%s instead of an object",
                               sbx_json_type_name(root.type));
    err = check_members(wants, endpoint, reterr_info);
    if (err != SBX_OK)
        return err;
    *ret_info = (sbx_answer_info){
        .usage = sbx_usage_of(wants[USAGE].value),
        .metadata = wants[METADATA].value,
        .close_offset = sbx_json_offset(body, root.text) + root.text.len - 1,
    };
    return SBX_OK;
}

size_t sbx_answer_with_metadata(sbx_view body, const sbx_answer_info *info, sbx_view metadata,
                                sbx_view ret_pieces[SBX_ANSWER_MAX_PIECES], size_t *ret_total_bytes)
{
    size_t count = 0;
    bool replaces = info->metadata.type != SBX_JSON_NONE;
    size_t at = replaces ? sbx_json_offset(body, info->metadata.text) : info->close_offset;
    size_t rest_at = at + info->metadata.text.len;
    sbx_view label = SBX_VIEW(",\"metadata\":"); /* a checked answer has a member before it */
    ret_pieces[count++] = sbx_view_slice(body, 0, at);
    if (!replaces)
        ret_pieces[count++] = label;
    ret_pieces[count++] = metadata;
    ret_pieces[count++] = sbx_view_skip(body, rest_at);
    *ret_total_bytes = body.len - info->metadata.text.len + metadata.len + (replaces ? 0 : label.len);
    return count;
}
