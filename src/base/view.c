/* Views: the operations that are too long to be inline. */
#include "base/view.h"

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

bool sbx_view_eq_nocase(sbx_view a, sbx_view b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    }
    return true;
}

int sbx_view_compare(sbx_view a, sbx_view b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0 || a.len == b.len)
        return order;
    return a.len < b.len ? -1 : 1;
}

bool sbx_view_contains(sbx_view v, sbx_view part)
{
    for (size_t i = 0; i + part.len <= v.len; i++) {
        if (sbx_view_starts_with(sbx_view_skip(v, i), part))
            return true;
    }
    return false;
}

bool sbx_view_contains_nocase(sbx_view v, sbx_view part)
{
    for (size_t i = 0; i + part.len <= v.len; i++) {
        if (sbx_view_eq_nocase(sbx_view_slice(v, i, part.len), part))
            return true;
    }
    return false;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

sbx_view sbx_view_trim(sbx_view v)
{
    while (v.len > 0 && is_blank(v.data[0]))
        v = sbx_view_skip(v, 1);
    while (v.len > 0 && is_blank(v.data[v.len - 1]))
        v.len--;
    return v;
}

size_t sbx_view_find(sbx_view v, uint8_t byte, size_t from)
{
    if (from >= v.len)
        return SIZE_MAX;
    const uint8_t *hit = memchr(v.data + from, byte, v.len - from);
    return hit == NULL ? SIZE_MAX : (size_t)(hit - v.data);
}

size_t sbx_view_total(const sbx_view *views, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += views[i].len;
    return total;
}

sbx_err sbx_view_to_u64(sbx_view v, uint64_t max, uint64_t *ret_value)
{
    if (v.len == 0)
        return SBX_E_PARSE;
    uint64_t value = 0;
    bool over = false;
    for (size_t i = 0; i < v.len; i++) {
        if (v.data[i] < '0' || v.data[i] > '9')
            return SBX_E_PARSE;
        uint64_t digit = (uint64_t)(v.data[i] - '0');
        over = over || value > (max - (digit < max ? digit : max)) / 10 || digit > max;
        value = over ? 0 : value * 10 + digit;
    }
    if (over)
        return SBX_E_RANGE;
    *ret_value = value;
    return SBX_OK;
}

sbx_err sbx_view_to_cstr(sbx_view v, char *ret_text, size_t size)
{
    if (v.len >= size || sbx_view_find(v, 0, 0) != SIZE_MAX)
        return SBX_E_RANGE;
    if (v.len > 0)
        memcpy(ret_text, v.data, v.len);
    ret_text[v.len] = '\0';
    return SBX_OK;
}
