/* The scanner proper: one loop over values, a bit per level instead of recursion. Strings, which are most
 * of a body, are skipped eight bytes at a time. */
#include "codec/json_scan.h"

#include <string.h>

#include "base/utf8.h"
#include "codec/json_string_priv.h"

typedef struct seen_key {
    uint64_t hash;
    sbx_view string;
} seen_key;

typedef struct scanner {
    sbx_view text;
    const uint8_t *at;
    const uint8_t *end;
    uint64_t object_levels; /* bit n: the container at depth n + 1 is an object */
    unsigned depth;
    const char *problem; /* a literal; NULL while all is well */
    const uint8_t *where;

    sbx_json_want *wants;
    size_t want_count;
    sbx_json_want *member; /* the wanted member whose value comes next or is open */
    const uint8_t *member_start;
    sbx_json_type root_type;
    const uint8_t *root_start;

    seen_key *keys; /* SBX_JSON_MAX_KEYS */
    size_t key_count;
} scanner;

static bool fail(scanner *s, const uint8_t *where, const char *problem)
{
    s->problem = problem;
    s->where = where;
    return false;
}

static inline void skip_space(scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

static bool scan_hex4(const uint8_t *at, const uint8_t *end, uint32_t *ret_unit)
{
    uint32_t unit = 0;
    if (end - at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int digit = sbx_json_hex_digit(at[i]);
        if (digit < 0)
            return false;
        unit = unit << 4 | (uint32_t)digit;
    }
    *ret_unit = unit;
    return true;
}

/* At the backslash of \uXXXX. */
static bool scan_unicode_escape(scanner *s)
{
    uint32_t high, low;
    const uint8_t *start = s->at;
    if (!scan_hex4(start + 2, s->end, &high))
        return fail(s, start, "an invalid \\u escape");
    s->at = start + 6;
    if (high < 0xd800 || high > 0xdfff)
        return true;
    bool has_low = high <= 0xdbff && s->end - s->at >= 6 && s->at[0] == '\\' && s->at[1] == 'u' &&
                   scan_hex4(s->at + 2, s->end, &low) && low >= 0xdc00 && low <= 0xdfff;
    if (!has_low)
        return fail(s, start, "a lone surrogate in a \\u escape");
    s->at += 6;
    return true;
}

static bool scan_escape(scanner *s)
{
    if (s->end - s->at < 2)
        return fail(s, s->at, "a string that does not end");
    switch (s->at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        s->at += 2;
        return true;
    case 'u':
        return scan_unicode_escape(s);
    default:
        return fail(s, s->at, "an invalid escape");
    }
}

/* A run of characters beyond ASCII. */
static bool scan_multibyte(scanner *s)
{
    while (s->at < s->end && *s->at >= 0x80) {
        size_t len = sbx_utf8_valid_char(sbx_view_of(s->at, (size_t)(s->end - s->at)));
        if (len == 0)
            return fail(s, s->at, "bytes that are not UTF-8");
        s->at += len;
    }
    return true;
}

/* At the opening quote; ends behind the closing one. */
static bool scan_string(scanner *s)
{
    const uint8_t *start = s->at++;
    for (;;) {
        s->at = sbx_json_skip_plain(s->at, s->end);
        if (s->at == s->end)
            return fail(s, start, "a string that does not end");
        uint8_t byte = *s->at;
        if (byte == '"') {
            s->at++;
            return true;
        }
        if (byte < 0x20)
            return fail(s, s->at, "a control character in a string");
        if (!(byte == '\\' ? scan_escape(s) : scan_multibyte(s)))
            return false;
    }
}

static size_t skip_digits(scanner *s)
{
    const uint8_t *start = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return (size_t)(s->at - start);
}

static bool skip_one_of(scanner *s, const char *bytes)
{
    if (s->at == s->end || *s->at == '\0' || strchr(bytes, *s->at) == NULL)
        return false;
    s->at++;
    return true;
}

static bool scan_number(scanner *s)
{
    const uint8_t *start = s->at;
    skip_one_of(s, "-");
    bool leading_zero = s->at < s->end && *s->at == '0';
    size_t digits = skip_digits(s);
    if (digits == 0 || (leading_zero && digits > 1))
        return fail(s, start, "an invalid number");
    if (skip_one_of(s, ".") && skip_digits(s) == 0)
        return fail(s, start, "an invalid number");
    if (skip_one_of(s, "eE")) {
        skip_one_of(s, "+-");
        if (skip_digits(s) == 0)
            return fail(s, start, "an invalid number");
    }
    if (s->at - start > SBX_JSON_MAX_NUMBER)
        return fail(s, start, "a number of too many digits");
    return true;
}

static bool scan_word(scanner *s, const char *word, size_t len)
{
    if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
        return fail(s, s->at, "an invalid value");
    s->at += len;
    return true;
}

/* A value's first byte tells its type; containers are only told, not scanned. */
static sbx_json_type type_at(const scanner *s)
{
    if (s->at == s->end)
        return SBX_JSON_NONE;
    switch (*s->at) {
    case '"':
        return SBX_JSON_STRING;
    case '{':
        return SBX_JSON_OBJECT;
    case '[':
        return SBX_JSON_ARRAY;
    case 't':
    case 'f':
        return SBX_JSON_BOOL;
    case 'n':
        return SBX_JSON_NULL;
    default:
        return *s->at == '-' || (*s->at >= '0' && *s->at <= '9') ? SBX_JSON_NUMBER : SBX_JSON_NONE;
    }
}

static bool scan_scalar(scanner *s, sbx_json_type type)
{
    switch (type) {
    case SBX_JSON_STRING:
        return scan_string(s);
    case SBX_JSON_NUMBER:
        return scan_number(s);
    case SBX_JSON_NULL:
        return scan_word(s, "null", 4);
    case SBX_JSON_BOOL:
        return *s->at == 't' ? scan_word(s, "true", 4) : scan_word(s, "false", 5);
    case SBX_JSON_NONE:
    case SBX_JSON_ARRAY:
    case SBX_JSON_OBJECT:
        break;
    }
    return fail(s, s->at, s->at == s->end ? "the end, where a value belongs" : "an invalid value");
}

static bool remember_key(scanner *s, sbx_view key)
{
    uint64_t hash = sbx_json_string_hash(key);
    for (size_t i = 0; i < s->key_count; i++) {
        if (s->keys[i].hash == hash && sbx_json_strings_equal(s->keys[i].string, key))
            return fail(s, key.data, "a duplicate key");
    }
    if (s->key_count == SBX_JSON_MAX_KEYS)
        return fail(s, key.data, "too many keys");
    s->keys[s->key_count++] = (seen_key){hash, key};
    return true;
}

static bool is_named(sbx_view key, sbx_view name)
{
    sbx_json_likeness likeness = sbx_json_compare_plain(key, name);
    return likeness == SBX_JSON_EQUAL || (likeness == SBX_JSON_ESCAPED && sbx_json_string_eq(key, name));
}

static void match_wants(scanner *s, sbx_view key)
{
    s->member = NULL;
    for (size_t i = 0; i < s->want_count; i++) {
        if (!is_named(key, s->wants[i].name))
            continue;
        s->member = &s->wants[i];
        s->member->key_offset = sbx_json_offset(s->text, key);
        return;
    }
}

/* At the key; ends at the first byte of the value. */
static bool scan_key(scanner *s)
{
    const uint8_t *start = s->at;
    if (s->at == s->end || *s->at != '"')
        return fail(s, s->at, "no key where a key belongs");
    if (!scan_string(s))
        return false;
    sbx_view key = sbx_view_of(start, (size_t)(s->at - start));
    if (s->depth == 1) {
        if (!remember_key(s, key))
            return false;
        match_wants(s, key);
    }
    skip_space(s);
    if (s->at == s->end || *s->at != ':')
        return fail(s, s->at, "no ':' after a key");
    s->at++;
    skip_space(s);
    return true;
}

static inline bool in_object(const scanner *s)
{
    return (s->object_levels >> (s->depth - 1)) & 1;
}

static void member_begins(scanner *s, sbx_json_type type)
{
    if (s->depth != 1 || s->member == NULL)
        return;
    s->member->value.type = type;
    s->member_start = s->at;
}

static void member_ends(scanner *s)
{
    if (s->depth != 1 || s->member == NULL)
        return;
    s->member->value.text = sbx_view_of(s->member_start, (size_t)(s->at - s->member_start));
    s->member = NULL;
}

/* Behind an opening bracket: an empty container is closed at once. Ends at the first element's value.
 * Returns false on failure; ret_is_closed tells that there is no element. */
static bool open_container(scanner *s, sbx_json_type type, bool *ret_is_closed)
{
    if (s->depth == SBX_JSON_MAX_DEPTH)
        return fail(s, s->at, "more than 64 levels");
    uint64_t bit = UINT64_C(1) << s->depth;
    s->object_levels = type == SBX_JSON_OBJECT ? s->object_levels | bit : s->object_levels & ~bit;
    s->at++;
    skip_space(s);
    *ret_is_closed = s->at < s->end && *s->at == (type == SBX_JSON_OBJECT ? '}' : ']');
    if (*ret_is_closed) {
        s->at++;
        return true;
    }
    s->depth++;
    return type == SBX_JSON_OBJECT ? scan_key(s) : true;
}

/* Behind a value: closes containers until there is a next value (at whose first byte it ends) or the end. */
static bool after_value(scanner *s)
{
    for (;;) {
        member_ends(s);
        if (s->depth == 0)
            return true;
        skip_space(s);
        bool is_object = in_object(s);
        if (s->at == s->end)
            return fail(s, s->at, "the end, inside an object or array");
        if (*s->at == ',') {
            s->at++;
            skip_space(s);
            return is_object ? scan_key(s) : true;
        }
        if (*s->at != (is_object ? '}' : ']'))
            return fail(s, s->at,
                        is_object ? "neither ',' nor '}' in an object" : "neither ',' nor ']' in an array");
        s->at++;
        s->depth--;
    }
}

static bool scan_value(scanner *s)
{
    bool is_complete = true;
    sbx_json_type type = type_at(s);
    member_begins(s, type);
    if (type == SBX_JSON_OBJECT || type == SBX_JSON_ARRAY) {
        if (!open_container(s, type, &is_complete))
            return false;
    } else if (!scan_scalar(s, type)) {
        return false;
    }
    return is_complete ? after_value(s) : true;
}

static bool scan_text(scanner *s)
{
    skip_space(s);
    s->root_start = s->at;
    s->root_type = type_at(s);
    do {
        if (!scan_value(s))
            return false;
    } while (s->depth > 0);
    const uint8_t *root_end = s->at;
    skip_space(s);
    if (s->at != s->end)
        return fail(s, s->at, "more after the end of the value");
    s->at = root_end;
    return true;
}

void sbx_json_locate(sbx_view text, sbx_errinfo *info)
{
    size_t end = info->offset < text.len ? info->offset : text.len;
    size_t line_start = 0;
    unsigned line = 1;
    for (size_t lf = sbx_view_find(text, '\n', 0); lf < end; lf = sbx_view_find(text, '\n', lf + 1)) {
        line++;
        line_start = lf + 1;
    }
    info->line = line;
    info->column = (unsigned)(end - line_start) + 1;
}

static sbx_err report(const scanner *s, sbx_errinfo *reterr_info)
{
    size_t offset = (size_t)(s->where - s->text.data);
    sbx_errinfo_set(reterr_info, SBX_E_PARSE, offset, "malformed JSON at byte %zu: %s", offset, s->problem);
    if (reterr_info != NULL)
        sbx_json_locate(s->text, reterr_info);
    return SBX_E_PARSE;
}

sbx_err sbx_json_scan(sbx_view text, sbx_json_want *wants, size_t want_count, sbx_json_value *ret_root,
                      sbx_errinfo *reterr_info)
{
    seen_key keys[SBX_JSON_MAX_KEYS]; /* not zeroed: it is large, and guarded by the count */
    const uint8_t *start = text.data == NULL ? (const uint8_t *)"" : text.data;
    scanner s = {
        .text = sbx_view_of(start, text.len),
        .at = start,
        .end = start + text.len,
        .wants = wants,
        .want_count = want_count,
        .keys = keys,
    };
    for (size_t i = 0; i < want_count; i++) {
        wants[i].value = (sbx_json_value){0};
        wants[i].key_offset = 0;
    }
    if (!scan_text(&s))
        return report(&s, reterr_info);
    if (ret_root != NULL)
        *ret_root = (sbx_json_value){s.root_type, sbx_view_of(s.root_start, (size_t)(s.at - s.root_start))};
    return SBX_OK;
}
