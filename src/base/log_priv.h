/* The sink behind the typed call of log.h: any name, any fields. For base/ and its tests only. */
#ifndef SBX_BASE_LOG_PRIV_H
#define SBX_BASE_LOG_PRIV_H

#include "base/log.h"

typedef struct sbx_log_field {
    sbx_log_key_kind kind;
    const char *key; /* of [a-z0-9_] */
    sbx_view text;
    int64_t number;
} sbx_log_field;

void sbx_log_write(sbx_log_level level, const char *name, const sbx_log_field *fields, size_t count);

#endif
