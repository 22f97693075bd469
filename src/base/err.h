/* The one error enum. Fallible functions return sbx_err and name in their contract which ones;
 * details for humans travel in an sbx_errinfo, filled at the failing place, logged once at the edge. */
#ifndef SBX_BASE_ERR_H
#define SBX_BASE_ERR_H

#include <stddef.h>

typedef enum sbx_err {
    SBX_OK = 0,
#define SBX_ERR(name, text) SBX_E_##name,
#include "base/err.def"
#undef SBX_ERR
    SBX_ERR_COUNT
} sbx_err;

/* "NOMEM" (SBX_OK: "OK") and a short English text. Total: an unknown code reads as UNKNOWN. */
const char *sbx_err_name(sbx_err err);
const char *sbx_err_text(sbx_err err);

/* Where and why something failed. A field that does not apply is 0. */
typedef struct sbx_errinfo {
    sbx_err code;
    size_t offset;     /* byte offset in the input, from 0 */
    unsigned line;     /* from 1 */
    unsigned column;   /* from 1 */
    const char *param; /* a literal: the key or parameter it is about; NULL when none */
    char text[160];    /* never empty after sbx_errinfo_set */
} sbx_errinfo;

/* Fills `info` (NULL: nothing is kept) and returns `code`, so that a failing place is one line:
 * `return sbx_errinfo_set(info, SBX_E_PARSE, offset, "expected %s", what);` */
__attribute__((format(printf, 4, 5))) sbx_err sbx_errinfo_set(sbx_errinfo *info, sbx_err code, size_t offset,
                                                              const char *format, ...);

#endif
