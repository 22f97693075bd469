/* A view: a pointer and a length into bytes that somebody else owns. Never NUL-terminated. An empty
 * view may have data NULL. Text from outside is always a view; C strings exist only at C APIs' borders. */
#ifndef SBX_BASE_VIEW_H
#define SBX_BASE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

typedef struct sbx_view {
    const uint8_t *data;
    size_t len;
} sbx_view;

/* A view of a string literal; SBX_VIEW_INIT is the same as an initialiser of static data. */
#define SBX_VIEW_INIT(literal)                                                                               \
    {                                                                                                        \
        (const uint8_t *)("" literal), sizeof("" literal) - 1                                                \
    }
#define SBX_VIEW(literal) ((sbx_view)SBX_VIEW_INIT(literal))

/* printf("%.*s", SBX_VIEW_ARG(v)) */
#define SBX_VIEW_ARG(v) (int)(v).len, (const char *)(v).data

static inline sbx_view sbx_view_of(const void *data, size_t len)
{
    return (sbx_view){.data = (const uint8_t *)data, .len = len};
}

static inline sbx_view sbx_view_cstr(const char *text)
{
    if (text == NULL)
        return (sbx_view){0};
    return sbx_view_of(text, strlen(text));
}

static inline bool sbx_view_eq(sbx_view a, sbx_view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool sbx_view_eq_cstr(sbx_view a, const char *text)
{
    return sbx_view_eq(a, sbx_view_cstr(text));
}

/* ASCII letters compare equal in either case; other bytes must be identical. */
bool sbx_view_eq_nocase(sbx_view a, sbx_view b);

/* memcmp order, a prefix before what it begins. */
int sbx_view_compare(sbx_view a, sbx_view b);

static inline bool sbx_view_starts_with(sbx_view v, sbx_view prefix)
{
    return v.len >= prefix.len && (prefix.len == 0 || memcmp(v.data, prefix.data, prefix.len) == 0);
}

static inline bool sbx_view_ends_with(sbx_view v, sbx_view suffix)
{
    return v.len >= suffix.len &&
           (suffix.len == 0 || memcmp(v.data + (v.len - suffix.len), suffix.data, suffix.len) == 0);
}

bool sbx_view_contains(sbx_view v, sbx_view part);
bool sbx_view_contains_nocase(sbx_view v, sbx_view part);

/* The part from offset on, at most len bytes; clamped to the view. */
static inline sbx_view sbx_view_slice(sbx_view v, size_t offset, size_t len)
{
    if (offset >= v.len)
        return (sbx_view){.data = v.data == NULL ? NULL : v.data + v.len, .len = 0};
    size_t rest = v.len - offset;
    return (sbx_view){.data = v.data + offset, .len = len < rest ? len : rest};
}

static inline sbx_view sbx_view_skip(sbx_view v, size_t count)
{
    return sbx_view_slice(v, count, SIZE_MAX);
}

/* Without spaces and tabs (and CR, LF) at both ends. */
sbx_view sbx_view_trim(sbx_view v);

/* Index of the first such byte at or after `from`; SIZE_MAX when there is none. */
size_t sbx_view_find(sbx_view v, uint8_t byte, size_t from);

/* Bytes in all the views together. */
size_t sbx_view_total(const sbx_view *views, size_t count);

/* Digits only, no sign, no spaces. SBX_E_PARSE (empty, other bytes), SBX_E_RANGE (above max). */
sbx_err sbx_view_to_u64(sbx_view v, uint64_t max, uint64_t *ret_value);

/* Copies into a caller's array and terminates it. SBX_E_RANGE when it does not fit or holds a NUL. */
sbx_err sbx_view_to_cstr(sbx_view v, char *ret_text, size_t size);

#endif
