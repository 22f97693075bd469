/* See reply.h. */
#include "server/reply.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "codec/error_body.h"

static const char content_type_json[] = "application/json";

enum {
    GIVEN_ID_MAX = 128 /* bytes of a client's own request id that are echoed */
};

void sbx_reply_add(sbx_reply_headers *headers, sbx_view name, sbx_view value)
{
    assert(headers->count < SBX_REPLY_HEADERS_MAX);
    headers->items[headers->count++] = (sbx_http_header){.name = name, .value = value};
}

/* ---- CORS ---- */

static bool is_allowed_origin(const sbx_server *server, sbx_view origin)
{
    for (size_t i = 0; i < server->options.allowed_origin_count; i++) {
        const char *allowed = server->options.allowed_origins[i];
        if (strcmp(allowed, "*") == 0 || sbx_view_eq_cstr(origin, allowed))
            return true;
    }
    return false;
}

void sbx_reply_add_cors(const sbx_server *server, sbx_http_request *request, sbx_reply_headers *headers)
{
    sbx_view origin = sbx_http_head_get(sbx_http_request_head(request), "origin");
    if (origin.len == 0 || !is_allowed_origin(server, origin))
        return;
    sbx_reply_add(headers, SBX_VIEW("access-control-allow-origin"), origin);
    sbx_reply_add(headers, SBX_VIEW("access-control-expose-headers"),
                  SBX_VIEW("x-request-id, x-signalbox-worker, x-signalbox-retry-count, "
                           "x-signalbox-metadata, x-signalbox-fallback, retry-after, x-should-retry"));
    sbx_reply_add(headers, SBX_VIEW("vary"), SBX_VIEW("origin"));
}

/* ---- JSON ---- */

sbx_view sbx_reply_request_id(sbx_http_request *request, const sbx_id *own)
{
    sbx_view given = sbx_http_head_get(sbx_http_request_head(request), "x-request-id");
    return given.len > 0 && given.len <= GIVEN_ID_MAX ? given : sbx_id_view(own);
}

static void send_answer(sbx_server *server, sbx_http_request *request, unsigned status, sbx_view content_type,
                        sbx_view text, sbx_reply_headers *headers)
{
    sbx_id id;
    sbx_id_make(&server->rng, &id);
    sbx_reply_add(headers, SBX_VIEW("content-type"), content_type);
    sbx_reply_add(headers, SBX_VIEW("x-request-id"), sbx_reply_request_id(request, &id));
    sbx_reply_add_cors(server, request, headers);
    (void)sbx_http_respond(request, status, headers->items, headers->count, &text, 1);
}

static void send_json(sbx_server *server, sbx_http_request *request, unsigned status, sbx_view text,
                      sbx_reply_headers *headers)
{
    send_answer(server, request, status, sbx_view_cstr(content_type_json), text, headers);
}

void sbx_reply_text(sbx_server *server, sbx_http_request *request, unsigned status, sbx_view content_type,
                    sbx_view text)
{
    sbx_reply_headers headers = {0};
    send_answer(server, request, status, content_type, text, &headers);
}

void sbx_reply_put(cJSON *object, const char *name, sbx_view value)
{
    char text[2 * SBX_MODEL_ID_MAX + 1];
    if (sbx_view_to_cstr(value, text, sizeof text) == SBX_OK)
        cJSON_AddStringToObject(object, name, text);
}

void sbx_reply_json(sbx_server *server, sbx_http_request *request, unsigned status, cJSON *tree)
{
    sbx_reply_headers headers = {0};
    char *text = tree == NULL ? NULL : cJSON_PrintUnformatted(tree);
    cJSON_Delete(tree);
    if (text == NULL) {
        sbx_reply_error(server, request, SBX_API_INTERNAL_ERROR, "out of memory");
        return;
    }
    send_json(server, request, status, sbx_view_cstr(text), &headers);
    cJSON_free(text);
}

/* ---- errors ---- */

static sbx_view error_text(sbx_server *server, const sbx_error_body *body)
{
    sbx_buf_clear(&server->scratch);
    sbx_error_body_write(&server->scratch, body);
    return sbx_buf_view(&server->scratch);
}

static void send_error(sbx_server *server, sbx_http_request *request, const sbx_error_body *body,
                       sbx_reply_headers *headers)
{
    sbx_view text = error_text(server, body);
    send_json(server, request, (unsigned)sbx_api_error_status(body->error), text, headers);
}

void sbx_reply_error(sbx_server *server, sbx_http_request *request, sbx_api_error error, const char *message)
{
    sbx_reply_headers headers = {0};
    sbx_error_body body = {.error = error, .message = sbx_view_cstr(message)};
    send_error(server, request, &body, &headers);
}

void sbx_reply_invalid(sbx_server *server, sbx_http_request *request, const char *message, const char *param)
{
    sbx_reply_headers headers = {0};
    sbx_error_body body = {.error = SBX_API_REQUEST_VALIDATION_FAILED,
                           .message = sbx_view_cstr(message),
                           .param = sbx_view_cstr(param)};
    send_error(server, request, &body, &headers);
}

void sbx_reply_not_allowed(sbx_server *server, sbx_http_request *request, sbx_view allow)
{
    sbx_reply_headers headers = {0};
    sbx_reply_add(&headers, SBX_VIEW("allow"), allow);
    send_error(server, request, &(sbx_error_body){.error = SBX_API_METHOD_NOT_ALLOWED}, &headers);
}

void sbx_reply_options(sbx_server *server, sbx_http_request *request, sbx_view allow)
{
    sbx_reply_headers headers = {0};
    sbx_reply_add(&headers, SBX_VIEW("allow"), allow);
    size_t before = headers.count;
    sbx_reply_add_cors(server, request, &headers);
    if (headers.count > before) {
        sbx_reply_add(&headers, SBX_VIEW("access-control-allow-methods"), allow);
        sbx_reply_add(
            &headers, SBX_VIEW("access-control-allow-headers"),
            SBX_VIEW("authorization, content-type, x-request-id, x-session-id, x-request-timeout-ms, "
                     "x-signalbox-metadata"));
        sbx_reply_add(&headers, SBX_VIEW("access-control-max-age"), SBX_VIEW("600"));
    }
    (void)sbx_http_respond(request, 204, headers.items, headers.count, NULL, 0);
}

/* The code that fits a status which net found by itself. */
static sbx_api_error error_of_status(unsigned status)
{
    switch (status) {
    case 408:
        return SBX_API_REQUEST_TIMEOUT;
    case 413:
        return SBX_API_REQUEST_TOO_LARGE;
    case 414:
        return SBX_API_URI_TOO_LONG;
    case 417:
        return SBX_API_EXPECTATION_FAILED;
    case 431:
        return SBX_API_HEADERS_TOO_LARGE;
    case 501:
        return SBX_API_NOT_IMPLEMENTED;
    case 503:
        return SBX_API_TOO_MANY_CONNECTIONS;
    case 505:
        return SBX_API_VERSION_NOT_SUPPORTED;
    default:
        return SBX_API_BAD_REQUEST;
    }
}

sbx_view sbx_reply_error_text(sbx_server *server, unsigned status, const char *message)
{
    return error_text(server,
                      &(sbx_error_body){.error = error_of_status(status), .message = sbx_view_cstr(message)});
}
