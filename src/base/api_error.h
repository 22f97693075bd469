/* The errors a client can see: code, HTTP status, OpenAI type and default message, from one table. */
#ifndef SBX_BASE_API_ERROR_H
#define SBX_BASE_API_ERROR_H

#include <stdbool.h>

typedef enum sbx_api_error {
    SBX_API_NONE = 0,
#define SBX_API_ROW(code, status, type, message) SBX_API_##code,
#include "base/api_error.def"
#undef SBX_API_ROW
    SBX_API_COUNT
} sbx_api_error;

/* "WORKER_TIMEOUT", 504, "server_error", and a sentence. The status is the default: WORKER_UNAVAILABLE is 503
 * when the worker never saw the request, ALL_RETRIES_EXHAUSTED 504 when the last attempt timed out.
 * Total: NONE and unknown values read as INTERNAL_ERROR with status 500. */
const char *sbx_api_error_code(sbx_api_error error);
int sbx_api_error_status(sbx_api_error error);
const char *sbx_api_error_type(sbx_api_error error);
const char *sbx_api_error_message(sbx_api_error error);

/* The error with that code; false (ret untouched) when there is none. */
bool sbx_api_error_from_code(const char *code, sbx_api_error *ret_error);

#endif
