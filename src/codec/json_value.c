/* Looking into values of texts that the scanner accepted: walking containers, numbers, booleans. */
#include <string.h>

#include "codec/json_scan.h"
#include "codec/json_string_priv.h"

const char *sbx_json_type_name(sbx_json_type type)
{
    switch (type) {
    case SBX_JSON_NONE:
        return "nothing";
    case SBX_JSON_NULL:
        return "null";
    case SBX_JSON_BOOL:
        return "a boolean";
    case SBX_JSON_NUMBER:
        return "a number";
    case SBX_JSON_STRING:
        return "a string";
    case SBX_JSON_ARRAY:
        return "an array";
    case SBX_JSON_OBJECT:
        return "an object";
    }
    return "nothing";
}

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

static void skip_space(sbx_json_iter *iter)
{
    while (iter->at < iter->end && is_space(*iter->at))
        iter->at++;
}

void sbx_json_iter_init(sbx_json_iter *iter, sbx_json_value container)
{
    bool is_container = container.type == SBX_JSON_OBJECT || container.type == SBX_JSON_ARRAY;
    sbx_view inside = is_container && container.text.len >= 2
                          ? sbx_view_slice(container.text, 1, container.text.len - 2)
                          : (sbx_view){0};
    iter->at = inside.data;
    iter->end = inside.len == 0 ? inside.data : inside.data + inside.len;
    iter->is_object = container.type == SBX_JSON_OBJECT;
}

/* From the opening quote to behind the closing one. */
static const uint8_t *string_end(const uint8_t *at, const uint8_t *end)
{
    at++;
    while (at < end) {
        at = sbx_json_skip_plain(at, end);
        if (at == end)
            return end;
        if (*at == '"')
            return at + 1;
        at += *at == '\\' && end - at >= 2 ? 2 : 1;
    }
    return end;
}

static const uint8_t *container_end(const uint8_t *at, const uint8_t *end)
{
    size_t depth = 0;
    while (at < end) {
        switch (*at) {
        case '"':
            at = string_end(at, end);
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            depth--;
            break;
        default:
            break;
        }
        at++;
        if (depth == 0)
            return at;
    }
    return end;
}

/* Behind a number, true, false or null: letters, digits, '.', '+' and '-' all lie between '+' and 'z', where
 * the only others in JSON are ',', ':' and brackets. */
static bool is_word_byte(uint8_t byte)
{
    return byte >= '+' && byte <= 'z' && byte != ',' && byte != ':' && byte != ']' && byte != '[';
}

static const uint8_t *word_end(const uint8_t *at, const uint8_t *end)
{
    while (at < end && is_word_byte(*at))
        at++;
    return at;
}

static sbx_json_value take_value(sbx_json_iter *iter)
{
    const uint8_t *start = iter->at;
    sbx_json_type type = SBX_JSON_NUMBER;
    switch (*start) {
    case '"':
        type = SBX_JSON_STRING;
        iter->at = string_end(start, iter->end);
        break;
    case '{':
    case '[':
        type = *start == '{' ? SBX_JSON_OBJECT : SBX_JSON_ARRAY;
        iter->at = container_end(start, iter->end);
        break;
    default:
        type = *start == 'n' ? SBX_JSON_NULL : *start == 't' || *start == 'f' ? SBX_JSON_BOOL : type;
        iter->at = word_end(start, iter->end);
    }
    return (sbx_json_value){type, sbx_view_of(start, (size_t)(iter->at - start))};
}

/* Steps over one separator, if there is one, and the space around it. */
static void skip_separator(sbx_json_iter *iter, uint8_t separator)
{
    skip_space(iter);
    if (iter->at < iter->end && *iter->at == separator)
        iter->at++;
    skip_space(iter);
}

bool sbx_json_iter_next(sbx_json_iter *iter, sbx_view *ret_key, sbx_json_value *ret_value)
{
    sbx_view key = {0};
    skip_space(iter);
    if (iter->at == iter->end)
        return false;
    if (iter->is_object) {
        key = take_value(iter).text;
        skip_separator(iter, ':');
        if (iter->at == iter->end)
            return false;
    }
    sbx_json_value value = take_value(iter);
    if (value.text.len == 0) { /* no accepted text: end rather than stand still */
        iter->at = iter->end;
        return false;
    }
    skip_separator(iter, ',');
    if (ret_key != NULL)
        *ret_key = key;
    *ret_value = value;
    return true;
}

bool sbx_json_find(sbx_json_value object, sbx_view name, sbx_json_value *ret_value)
{
    sbx_json_iter iter;
    sbx_view key;
    sbx_json_value value;
    *ret_value = (sbx_json_value){0};
    if (object.type != SBX_JSON_OBJECT)
        return false;
    sbx_json_iter_init(&iter, object);
    while (sbx_json_iter_next(&iter, &key, &value)) {
        if (!sbx_json_string_eq(key, name))
            continue;
        *ret_value = value;
        return true;
    }
    return false;
}

bool sbx_json_is_empty(sbx_json_value container)
{
    sbx_json_iter iter;
    sbx_json_value value;
    sbx_json_iter_init(&iter, container);
    return !sbx_json_iter_next(&iter, NULL, &value);
}

sbx_err sbx_json_to_u64(sbx_json_value value, uint64_t *ret_number)
{
    if (value.type != SBX_JSON_NUMBER)
        return SBX_E_PARSE;
    return sbx_view_to_u64(value.text, UINT64_MAX, ret_number);
}

sbx_err sbx_json_to_i64(sbx_json_value value, int64_t *ret_number)
{
    uint64_t magnitude;
    if (value.type != SBX_JSON_NUMBER)
        return SBX_E_PARSE;
    bool negative = sbx_view_starts_with(value.text, SBX_VIEW("-"));
    sbx_err err = sbx_view_to_u64(sbx_view_skip(value.text, negative), INT64_MAX, &magnitude);
    if (err != SBX_OK)
        return err;
    *ret_number = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return SBX_OK;
}

sbx_err sbx_json_to_bool(sbx_json_value value, bool *ret_flag)
{
    if (value.type != SBX_JSON_BOOL)
        return SBX_E_PARSE;
    *ret_flag = sbx_view_starts_with(value.text, SBX_VIEW("t"));
    return SBX_OK;
}
