/* Headers to and from engines. */
#include "net/http_engine.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RETRY_AFTER_MAX_S = 24 * 3600
};

static sbx_http_header header(const char *name, sbx_view value)
{
    return (sbx_http_header){sbx_view_cstr(name), value};
}

size_t sbx_http_engine_headers(const sbx_http_engine_request *request,
                               sbx_http_header ret_headers[SBX_HTTP_ENGINE_HEADERS])
{
    size_t count = 0;
    if (request->has_body)
        ret_headers[count++] = header("content-type", SBX_VIEW("application/json"));
    ret_headers[count++] =
        header("accept", request->streaming ? SBX_VIEW("text/event-stream") : SBX_VIEW("application/json"));
    ret_headers[count++] = header("accept-encoding", SBX_VIEW("identity"));
    ret_headers[count++] = header("via", SBX_VIEW("1.1 signalbox"));
    if (request->request_id.len > 0)
        ret_headers[count++] = header("x-request-id", request->request_id);
    if (request->traceparent.len > 0)
        ret_headers[count++] = header("traceparent", request->traceparent);
    if (request->authorization != NULL)
        ret_headers[count++] = header("authorization", sbx_view_cstr(request->authorization));
    assert(count <= SBX_HTTP_ENGINE_HEADERS);
    return count;
}

sbx_time_ns sbx_http_engine_retry_after(const sbx_http_head *head)
{
    uint64_t seconds = 0;
    sbx_view value = sbx_http_head_get(head, "retry-after");
    if (value.data == NULL || sbx_view_to_u64(value, RETRY_AFTER_MAX_S, &seconds) != SBX_OK)
        return -1;
    return SBX_SEC((sbx_time_ns)seconds);
}

char *sbx_http_engine_bearer(const char *api_key)
{
    size_t size = strlen("Bearer ") + strlen(api_key) + 1;
    char *text = malloc(size);
    if (text != NULL)
        snprintf(text, size, "Bearer %s", api_key);
    return text;
}
