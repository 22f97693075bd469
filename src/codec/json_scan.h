/* A strict one-pass JSON scanner: checks a whole text and yields where the wanted top-level members are,
 * without a tree and without copying. Stricter than RFC 8259 where leniency lets two readers disagree:
 * valid UTF-8 only, no lone surrogates, no BOM, no duplicate top-level key (compared decoded), at most
 * 64 levels, 256 top-level keys and 63 bytes in a number. Linear time; nothing is allocated. */
#ifndef SBX_CODEC_JSON_SCAN_H
#define SBX_CODEC_JSON_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/view.h"

enum {
    SBX_JSON_MAX_DEPTH = 64,
    SBX_JSON_MAX_KEYS = 256,
    SBX_JSON_MAX_NUMBER = 63
};

typedef enum sbx_json_type {
    SBX_JSON_NONE = 0, /* not there */
    SBX_JSON_NULL,
    SBX_JSON_BOOL,
    SBX_JSON_NUMBER,
    SBX_JSON_STRING,
    SBX_JSON_ARRAY,
    SBX_JSON_OBJECT,
} sbx_json_type;

/* "null", "a boolean", "a number" ...: for messages. */
const char *sbx_json_type_name(sbx_json_type type);

/* A value in place: text is the exact bytes, with quotes or brackets, without space around. */
typedef struct sbx_json_value {
    sbx_json_type type;
    sbx_view text;
} sbx_json_value;

/* A top-level member to look for. Set `name`; the scan sets the rest. */
typedef struct sbx_json_want {
    sbx_view name;
    sbx_json_value value; /* type NONE when the object has no such member */
    size_t key_offset;    /* of the key's opening quote in the scanned text */
} sbx_json_want;

/* Checks `text` and finds members of the root object (any root is accepted; ret_root says which).
 * `wants` may be NULL with want_count 0; they are set also on failure, as far as the scan came.
 * SBX_E_PARSE with offset, line, column and what was expected. Values point into `text`. */
sbx_err sbx_json_scan(sbx_view text, sbx_json_want *wants, size_t want_count, sbx_json_value *ret_root,
                      sbx_errinfo *reterr_info);

/* Offset of something inside `text`. */
static inline size_t sbx_json_offset(sbx_view text, sbx_view inner)
{
    return (size_t)(inner.data - text.data);
}

/* Fills line and column of an errinfo from its offset. */
void sbx_json_locate(sbx_view text, sbx_errinfo *info);

/* ---- looking into values of a text that sbx_json_scan() accepted ---- */
/* On other text these stay inside the view and end, but yield nonsense. */

typedef struct sbx_json_iter {
    const uint8_t *at;
    const uint8_t *end;
    bool is_object;
} sbx_json_iter;

/* Walks the members of an object or the elements of an array; of anything else there are none.
 * ret_key: the key's text with its quotes; empty for elements; may be NULL. */
void sbx_json_iter_init(sbx_json_iter *iter, sbx_json_value container);
bool sbx_json_iter_next(sbx_json_iter *iter, sbx_view *ret_key, sbx_json_value *ret_value);

/* The first member of that (decoded) name; false and type NONE when there is none or it is no object. */
bool sbx_json_find(sbx_json_value object, sbx_view name, sbx_json_value *ret_value);

/* Whether an array or object has no element. */
bool sbx_json_is_empty(sbx_json_value container);

/* Whether a string (text with quotes) decodes to exactly these bytes. */
bool sbx_json_string_eq(sbx_view string, sbx_view decoded);

/* The decoded string: a view into `string` when it has no escapes, else a copy in the arena.
 * SBX_E_NOMEM. */
sbx_err sbx_json_string(sbx_view string, sbx_arena *arena, sbx_view *ret_decoded);

/* Appends the decoded string. SBX_E_CAP, SBX_E_NOMEM. */
sbx_err sbx_json_string_append(sbx_view string, sbx_buf *buf);

/* An integer without fraction and exponent. SBX_E_PARSE (not one), SBX_E_RANGE. */
sbx_err sbx_json_to_i64(sbx_json_value value, int64_t *ret_number);

/* SBX_E_PARSE when it is no integer or negative, SBX_E_RANGE. */
sbx_err sbx_json_to_u64(sbx_json_value value, uint64_t *ret_number);

/* SBX_E_PARSE when it is no boolean. */
sbx_err sbx_json_to_bool(sbx_json_value value, bool *ret_flag);

#endif
