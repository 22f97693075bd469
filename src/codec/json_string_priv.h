/* Inside of JSON strings: skipping, decoding, comparing. Shared by the scanner and the value helpers. */
#ifndef SBX_CODEC_JSON_STRING_PRIV_H
#define SBX_CODEC_JSON_STRING_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__) && !defined(SBX_JSON_PORTABLE)
#include <emmintrin.h>
#endif

#include "base/view.h"

static inline bool sbx_json_is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

#if defined(__SSE2__) && !defined(SBX_JSON_PORTABLE)

/* Most of a body is the inside of strings, so it is worth looking at 16 bytes at a time. */
enum {
    SBX_JSON_STEP = 16
};

/* Bit n: byte n is special. Compared as signed, bytes from 0x80 on are below 0x20 too. */
static inline unsigned sbx_json_specials(const uint8_t *at)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i slashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i others = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, slashes), others));
}

static inline size_t sbx_json_first_special(unsigned specials)
{
    return (size_t)__builtin_ctz(specials);
}

#else

enum {
    SBX_JSON_STEP = 8
};

/* The top bit of byte n is set when byte n is special. Borrows may set bits above the lowest one that is
 * right, so only that one counts. */
static inline uint64_t sbx_json_specials(const uint8_t *at)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = UINT64_C(0x8080808080808080);
    uint64_t word = 0;
    for (unsigned i = 0; i < 8; i++)
        word |= (uint64_t)at[i] << (8 * i);
    uint64_t quotes = word ^ (ones * '"');
    uint64_t slashes = word ^ (ones * '\\');
    return ((word - ones * 0x20) | (quotes - ones) | (slashes - ones) | word) & tops;
}

static inline size_t sbx_json_first_special(uint64_t specials)
{
    return (size_t)__builtin_ctzll(specials) / 8;
}

#endif

/* The first byte of a string's inside that is not plain ASCII, or `end`. */
static inline const uint8_t *sbx_json_skip_plain(const uint8_t *at, const uint8_t *end)
{
    for (; end - at >= SBX_JSON_STEP; at += SBX_JSON_STEP) {
        if (sbx_json_specials(at) != 0)
            return at + sbx_json_first_special(sbx_json_specials(at));
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

/* Whether the string (with its quotes) needs decoding to be compared with `name`, or which way it ends
 * without: nearly always the first bytes tell. */
typedef enum sbx_json_likeness {
    SBX_JSON_UNLIKE,
    SBX_JSON_EQUAL,
    SBX_JSON_ESCAPED,
} sbx_json_likeness;

static inline sbx_json_likeness sbx_json_compare_plain(sbx_view string, sbx_view name)
{
    if (string.len < name.len + 2) /* no escape is shorter than what it stands for */
        return SBX_JSON_UNLIKE;
    const uint8_t *bytes = string.data + 1;
    for (size_t i = 0; i < name.len; i++) {
        if (bytes[i] == '\\')
            return SBX_JSON_ESCAPED;
        if (bytes[i] != name.data[i])
            return SBX_JSON_UNLIKE;
    }
    return string.len == name.len + 2 ? SBX_JSON_EQUAL : SBX_JSON_UNLIKE;
}

/* Strings are given with their quotes and are valid; on others these end but yield nonsense.
 * The hash is equal for strings that decode to the same bytes. */
uint64_t sbx_json_string_hash(sbx_view string);
bool sbx_json_strings_equal(sbx_view a, sbx_view b);

#endif
