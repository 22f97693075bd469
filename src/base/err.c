/* Names and texts of errors, generated from err.def. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const names[] = {
    "OK",
#define SBX_ERR(name, text) #name,
#include "base/err.def"
#undef SBX_ERR
};

static const char *const texts[] = {
    "no error",
#define SBX_ERR(name, text) text,
#include "base/err.def"
#undef SBX_ERR
};

const char *sbx_err_name(sbx_err err)
{
    return (unsigned)err < SBX_ERR_COUNT ? names[err] : "UNKNOWN";
}

const char *sbx_err_text(sbx_err err)
{
    return (unsigned)err < SBX_ERR_COUNT ? texts[err] : "unknown error";
}

sbx_err sbx_errinfo_set(sbx_errinfo *info, sbx_err code, size_t offset, const char *format, ...)
{
    if (info == NULL)
        return code;
    *info = (sbx_errinfo){.code = code, .offset = offset};
    va_list args;
    va_start(args, format);
    vsnprintf(info->text, sizeof info->text, format, args);
    va_end(args);
    return code;
}
