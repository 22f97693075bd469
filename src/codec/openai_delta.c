/* One chunk of a stream: what kind of progress it is. */
#include "codec/openai_response.h"
#include "codec/openai_usage_priv.h"

static bool is_text(sbx_json_value value)
{
    return value.type == SBX_JSON_STRING && value.text.len > 2;
}

static bool is_list(sbx_json_value value)
{
    return value.type == SBX_JSON_ARRAY && !sbx_json_is_empty(value);
}

static bool is_given(sbx_json_value value)
{
    return value.type != SBX_JSON_NONE && value.type != SBX_JSON_NULL;
}

static void keep_first(sbx_json_value *kept, sbx_json_value value)
{
    if (kept->type == SBX_JSON_NONE)
        *kept = value;
}

static void note_text(sbx_delta *delta, unsigned flag, sbx_json_value *kept, sbx_json_value value)
{
    if (!is_text(value))
        return;
    delta->flags |= flag;
    keep_first(kept, value);
}

static bool named(sbx_view key, const char *name)
{
    return sbx_json_string_eq(key, sbx_view_cstr(name));
}

/* A member of choices[].delta. */
static void note_delta_member(sbx_delta *delta, sbx_view key, sbx_json_value value)
{
    if (named(key, "content"))
        note_text(delta, SBX_DELTA_CONTENT, &delta->text, value);
    else if (named(key, "role"))
        delta->flags |= is_text(value) ? SBX_DELTA_ROLE : 0;
    else if (named(key, "reasoning_content") || named(key, "reasoning"))
        note_text(delta, SBX_DELTA_REASONING, &delta->reasoning, value);
    else if (named(key, "tool_calls"))
        delta->flags |= is_list(value) ? SBX_DELTA_TOOL : 0;
    else if (named(key, "function_call"))
        delta->flags |= value.type == SBX_JSON_OBJECT ? SBX_DELTA_TOOL : 0;
    else if (named(key, "refusal"))
        delta->flags |= is_text(value) ? SBX_DELTA_CONTENT : 0;
    else if (named(key, "audio"))
        delta->flags |= value.type == SBX_JSON_OBJECT ? SBX_DELTA_CONTENT : 0;
}

static void note_delta(sbx_delta *delta, sbx_json_value object)
{
    sbx_json_iter iter;
    sbx_view key;
    sbx_json_value value;
    if (object.type != SBX_JSON_OBJECT)
        return;
    sbx_json_iter_init(&iter, object);
    while (sbx_json_iter_next(&iter, &key, &value))
        note_delta_member(delta, key, value);
}

static void note_finish(sbx_delta *delta, sbx_json_value reason)
{
    if (!is_text(reason))
        return;
    delta->flags |= SBX_DELTA_FINISH;
    keep_first(&delta->finish_reason, reason);
}

static void note_choice(sbx_delta *delta, sbx_json_value choice)
{
    sbx_json_iter iter;
    sbx_view key;
    sbx_json_value value;
    if (choice.type != SBX_JSON_OBJECT) {
        delta->flags |= SBX_DELTA_MALFORMED;
        return;
    }
    sbx_json_iter_init(&iter, choice);
    while (sbx_json_iter_next(&iter, &key, &value)) {
        if (named(key, "delta") || named(key, "message"))
            note_delta(delta, value);
        else if (named(key, "text"))
            note_text(delta, SBX_DELTA_CONTENT, &delta->text, value);
        else if (named(key, "finish_reason"))
            note_finish(delta, value);
        else if (named(key, "logprobs") && is_given(value))
            delta->flags |= SBX_DELTA_LOGPROBS;
    }
}

static void note_choices(sbx_delta *delta, sbx_json_value choices)
{
    sbx_json_iter iter;
    sbx_json_value choice;
    if (is_given(choices) && choices.type != SBX_JSON_ARRAY)
        delta->flags |= SBX_DELTA_MALFORMED;
    if (!is_list(choices)) {
        delta->flags |= SBX_DELTA_NO_CHOICES;
        return;
    }
    sbx_json_iter_init(&iter, choices);
    while (sbx_json_iter_next(&iter, NULL, &choice))
        note_choice(delta, choice);
}

void sbx_delta_classify(sbx_view data, sbx_delta *ret_delta)
{
    sbx_json_value root;
    sbx_json_want wants[] = {
        {.name = SBX_VIEW("choices")},
        {.name = SBX_VIEW("usage")},
        {.name = SBX_VIEW("error")},
        {.name = SBX_VIEW("object")},
    };
    *ret_delta = (sbx_delta){0};
    if (sbx_view_eq(sbx_view_trim(data), SBX_VIEW("[DONE]"))) {
        ret_delta->flags = SBX_DELTA_DONE;
        return;
    }
    if (sbx_json_scan(data, wants, sizeof wants / sizeof wants[0], &root, NULL) != SBX_OK ||
        root.type != SBX_JSON_OBJECT) {
        ret_delta->flags = SBX_DELTA_MALFORMED;
        return;
    }
    note_choices(ret_delta, wants[0].value);
    ret_delta->usage = sbx_usage_of(wants[1].value);
    if (ret_delta->usage.is_present)
        ret_delta->flags |= SBX_DELTA_USAGE;
    if (is_given(wants[2].value) || sbx_json_string_eq(wants[3].value.text, SBX_VIEW("error")))
        ret_delta->flags |= SBX_DELTA_ERROR;
}
