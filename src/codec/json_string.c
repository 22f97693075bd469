/* Strings of accepted JSON texts, decoded piece by piece: a run of plain bytes, or one escape. */
#include <string.h>

#include "base/utf8.h"
#include "codec/json_scan.h"
#include "codec/json_string_priv.h"

typedef struct decoder {
    const uint8_t *at;
    const uint8_t *end;
    uint8_t bytes[4]; /* what the last escape stands for */
} decoder;

static sbx_view inside(sbx_view string)
{
    if (string.len < 2)
        return (sbx_view){0};
    return sbx_view_slice(string, 1, string.len - 2);
}

static void start(decoder *d, sbx_view string)
{
    sbx_view content = inside(string);
    d->at = content.data;
    d->end = content.len == 0 ? content.data : content.data + content.len;
}

static uint32_t hex4(const uint8_t *at)
{
    uint32_t unit = 0;
    for (int i = 0; i < 4; i++)
        unit = unit << 4 | ((uint32_t)sbx_json_hex_digit(at[i]) & 15);
    return unit;
}

static bool is_surrogate(uint32_t unit)
{
    return unit >= 0xd800 && unit <= 0xdfff;
}

/* At \uXXXX, complete. */
static sbx_view decode_unicode(decoder *d)
{
    uint32_t unit = hex4(d->at + 2);
    d->at += 6;
    if (is_surrogate(unit) && d->end - d->at >= 6) {
        unit = 0x10000 + ((unit & 0x3ff) << 10) + (hex4(d->at + 2) & 0x3ff);
        d->at += 6;
    }
    return sbx_view_of(d->bytes, sbx_utf8_encode(is_surrogate(unit) ? 0xfffd : unit, d->bytes));
}

static uint8_t decode_letter(uint8_t letter)
{
    switch (letter) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return letter;
    }
}

/* The next decoded piece, never empty until the end. */
static sbx_view next_piece(decoder *d)
{
    const uint8_t *from = d->at;
    if (d->at == d->end)
        return (sbx_view){0};
    if (*d->at != '\\') {
        const uint8_t *slash = memchr(d->at, '\\', (size_t)(d->end - d->at));
        d->at = slash == NULL ? d->end : slash;
        return sbx_view_of(from, (size_t)(d->at - from));
    }
    if (d->end - d->at >= 6 && d->at[1] == 'u')
        return decode_unicode(d);
    d->bytes[0] = d->end - d->at >= 2 ? decode_letter(d->at[1]) : '\\';
    d->at += d->end - d->at >= 2 ? 2 : 1;
    return sbx_view_of(d->bytes, 1);
}

static bool has_escapes(sbx_view content)
{
    return sbx_view_find(content, '\\', 0) != SIZE_MAX;
}

/* Only to tell keys of one object apart quickly: equality is always checked. */
static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

static uint64_t little_endian(const uint8_t *bytes, size_t len)
{
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++)
        word |= (uint64_t)bytes[i] << (8 * i);
    return word;
}

static uint64_t hash_plain(sbx_view bytes)
{
    uint64_t hash = 0;
    size_t at = 0;
    for (; bytes.len - at >= 8; at += 8)
        hash = mix(hash, little_endian(bytes.data + at, 8));
    return mix(hash, little_endian(bytes.data + at, bytes.len - at) | (uint64_t)bytes.len << 56);
}

/* The same over decoded pieces, eight bytes collected at a time. */
static uint64_t hash_escaped(sbx_view string)
{
    decoder d;
    uint64_t hash = 0;
    uint64_t word = 0;
    size_t len = 0;
    start(&d, string);
    for (sbx_view piece = next_piece(&d); piece.len > 0; piece = next_piece(&d)) {
        for (size_t i = 0; i < piece.len; i++) {
            word |= (uint64_t)piece.data[i] << (8 * (len % 8));
            if (++len % 8 != 0)
                continue;
            hash = mix(hash, word);
            word = 0;
        }
    }
    return mix(hash, word | (uint64_t)len << 56);
}

uint64_t sbx_json_string_hash(sbx_view string)
{
    return has_escapes(inside(string)) ? hash_escaped(string) : hash_plain(inside(string));
}

static size_t common_len(sbx_view a, sbx_view b)
{
    return a.len < b.len ? a.len : b.len;
}

static bool decoders_equal(decoder *a, decoder *b)
{
    sbx_view left = next_piece(a);
    sbx_view right = next_piece(b);
    while (left.len > 0 && right.len > 0) {
        size_t len = common_len(left, right);
        if (memcmp(left.data, right.data, len) != 0)
            return false;
        left = sbx_view_skip(left, len);
        right = sbx_view_skip(right, len);
        if (left.len == 0)
            left = next_piece(a);
        if (right.len == 0)
            right = next_piece(b);
    }
    return left.len == 0 && right.len == 0;
}

bool sbx_json_strings_equal(sbx_view a, sbx_view b)
{
    decoder left, right;
    if (!has_escapes(inside(a)) && !has_escapes(inside(b)))
        return sbx_view_eq(inside(a), inside(b));
    start(&left, a);
    start(&right, b);
    return decoders_equal(&left, &right);
}

bool sbx_json_string_eq(sbx_view string, sbx_view decoded)
{
    decoder d;
    sbx_json_likeness likeness = sbx_json_compare_plain(string, decoded);
    if (likeness != SBX_JSON_ESCAPED)
        return likeness == SBX_JSON_EQUAL;
    start(&d, string);
    for (sbx_view piece = next_piece(&d); piece.len > 0; piece = next_piece(&d)) {
        if (!sbx_view_starts_with(decoded, piece))
            return false;
        decoded = sbx_view_skip(decoded, piece.len);
    }
    return decoded.len == 0;
}

sbx_err sbx_json_string(sbx_view string, sbx_arena *arena, sbx_view *ret_decoded)
{
    decoder d;
    sbx_view content = inside(string);
    if (!has_escapes(content)) {
        *ret_decoded = content;
        return SBX_OK;
    }
    /* No escape is shorter than what it stands for. */
    uint8_t *bytes = sbx_arena_alloc(arena, content.len);
    if (bytes == NULL)
        return SBX_E_NOMEM;
    size_t len = 0;
    start(&d, string);
    for (sbx_view piece = next_piece(&d); piece.len > 0; piece = next_piece(&d)) {
        memcpy(bytes + len, piece.data, piece.len);
        len += piece.len;
    }
    *ret_decoded = sbx_view_of(bytes, len);
    return SBX_OK;
}

sbx_err sbx_json_string_append(sbx_view string, sbx_buf *buf)
{
    decoder d;
    start(&d, string);
    for (sbx_view piece = next_piece(&d); piece.len > 0; piece = next_piece(&d)) {
        sbx_err err = sbx_buf_append_view(buf, piece);
        if (err != SBX_OK)
            return err;
    }
    return sbx_buf_error(buf);
}
