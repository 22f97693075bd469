/* Accessors of the client-facing errors, generated from api_error.def. */
#include "base/api_error.h"

#include <string.h>

static const struct row {
    const char *code;
    int status;
    const char *type;
    const char *message;
} rows[] = {
    {"INTERNAL_ERROR", 500, "server_error", "Unknown error."},
#define SBX_API_ROW(code, status, type, message) {#code, status, type, message},
#include "base/api_error.def"
#undef SBX_API_ROW
};

static const struct row *row_of(sbx_api_error error)
{
    return (unsigned)error < SBX_API_COUNT ? &rows[error] : &rows[0];
}

const char *sbx_api_error_code(sbx_api_error error)
{
    return row_of(error)->code;
}

int sbx_api_error_status(sbx_api_error error)
{
    return row_of(error)->status;
}

const char *sbx_api_error_type(sbx_api_error error)
{
    return row_of(error)->type;
}

const char *sbx_api_error_message(sbx_api_error error)
{
    return row_of(error)->message;
}

bool sbx_api_error_from_code(const char *code, sbx_api_error *ret_error)
{
    for (unsigned i = SBX_API_NONE + 1; i < SBX_API_COUNT; i++) {
        if (strcmp(rows[i].code, code) != 0)
            continue;
        *ret_error = (sbx_api_error)i;
        return true;
    }
    return false;
}
