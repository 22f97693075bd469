/* UTF-8 validation: the second byte carries all the special cases (RFC 3629, section 4). */
#include "base/utf8.h"

#include <assert.h>

static bool in_range(uint8_t byte, uint8_t low, uint8_t high)
{
    return byte >= low && byte <= high;
}

static bool second_is_valid(uint8_t first, uint8_t second)
{
    switch (first) {
    case 0xe0:
        return in_range(second, 0xa0, 0xbf);
    case 0xed:
        return in_range(second, 0x80, 0x9f);
    case 0xf0:
        return in_range(second, 0x90, 0xbf);
    case 0xf4:
        return in_range(second, 0x80, 0x8f);
    default:
        return in_range(second, 0x80, 0xbf);
    }
}

static size_t length_by_first(uint8_t first)
{
    if (first < 0x80)
        return 1;
    if (in_range(first, 0xc2, 0xdf))
        return 2;
    if (in_range(first, 0xe0, 0xef))
        return 3;
    return in_range(first, 0xf0, 0xf4) ? 4 : 0;
}

size_t sbx_utf8_valid_char(sbx_view v)
{
    if (v.len == 0)
        return 0;
    size_t len = length_by_first(v.data[0]);
    if (len < 2 || len > v.len)
        return len <= v.len ? len : 0;
    if (!second_is_valid(v.data[0], v.data[1]))
        return 0;
    for (size_t i = 2; i < len; i++) {
        if (!in_range(v.data[i], 0x80, 0xbf))
            return 0;
    }
    return len;
}

bool sbx_utf8_is_valid(sbx_view v)
{
    while (v.len > 0) {
        size_t len = sbx_utf8_valid_char(v);
        if (len == 0)
            return false;
        v = sbx_view_skip(v, len);
    }
    return true;
}

static uint8_t tail(uint32_t code_point, unsigned shift)
{
    return (uint8_t)(0x80 | ((code_point >> shift) & 0x3f));
}

size_t sbx_utf8_encode(uint32_t code_point, uint8_t ret_bytes[4])
{
    assert(code_point <= 0x10ffff && (code_point < 0xd800 || code_point > 0xdfff));
    if (code_point < 0x80) {
        ret_bytes[0] = (uint8_t)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        ret_bytes[0] = (uint8_t)(0xc0 | (code_point >> 6));
        ret_bytes[1] = tail(code_point, 0);
        return 2;
    }
    if (code_point < 0x10000) {
        ret_bytes[0] = (uint8_t)(0xe0 | (code_point >> 12));
        ret_bytes[1] = tail(code_point, 6);
        ret_bytes[2] = tail(code_point, 0);
        return 3;
    }
    ret_bytes[0] = (uint8_t)(0xf0 | (code_point >> 18));
    ret_bytes[1] = tail(code_point, 12);
    ret_bytes[2] = tail(code_point, 6);
    ret_bytes[3] = tail(code_point, 0);
    return 4;
}
