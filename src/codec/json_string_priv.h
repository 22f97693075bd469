/* Inside of JSON strings: skipping, decoding, comparing. Shared by the scanner and the value helpers. */
#ifndef SBX_CODEC_JSON_STRING_PRIV_H
#define SBX_CODEC_JSON_STRING_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/view.h"

/* Has any of 8 bytes its top bit set, or is it below 0x20, '"' or '\\'? May be wrong only towards "yes". */
static inline bool sbx_json_has_special(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = UINT64_C(0x8080808080808080);
    uint64_t quotes = word ^ (ones * '"');
    uint64_t slashes = word ^ (ones * '\\');
    return (((word - ones * 0x20) | (quotes - ones) | (slashes - ones) | word) & tops) != 0;
}

static inline bool sbx_json_is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* The first byte of a string's inside that is not plain ASCII, or `end`. */
static inline const uint8_t *sbx_json_skip_plain(const uint8_t *at, const uint8_t *end)
{
    uint64_t word;
    while (end - at >= (ptrdiff_t)sizeof word) {
        memcpy(&word, at, sizeof word);
        if (sbx_json_has_special(word))
            break;
        at += sizeof word;
    }
    while (at < end && sbx_json_is_plain(*at))
        at++;
    return at;
}

/* 0 to 15, or -1. */
static inline int sbx_json_hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    uint8_t lower = byte | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Strings are given with their quotes and are valid; on others these end but yield nonsense. */
uint64_t sbx_json_string_hash(sbx_view string);
bool sbx_json_strings_equal(sbx_view a, sbx_view b);

#endif
