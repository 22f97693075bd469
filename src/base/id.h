/* Ids: the 128-bit request id (also used as boot id), and the rule for names that meet a bus subject. */
#ifndef SBX_BASE_ID_H
#define SBX_BASE_ID_H

#include "base/rng.h"
#include "base/view.h"

enum {
    SBX_ID_LEN = 32,
    SBX_TOKEN_MAX = 64
};

/* 32 lower-case hex digits and a NUL. */
typedef struct sbx_id {
    char text[SBX_ID_LEN + 1];
} sbx_id;

void sbx_id_make(sbx_rng *rng, sbx_id *ret_id);

static inline sbx_view sbx_id_view(const sbx_id *id)
{
    return sbx_view_cstr(id->text);
}

/* Whether it matches [A-Za-z0-9_-]{1,64}: such a name is safe in a subject, a path, a header, a log. */
bool sbx_id_is_token(sbx_view v);

#endif
