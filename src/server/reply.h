/* Short answers: JSON pages and errors in the OpenAI shape, with the headers that every answer of ours has.
 */
#ifndef SBX_SERVER_REPLY_H
#define SBX_SERVER_REPLY_H

#include "base/api_error.h"
#include "server/server_priv.h"

struct cJSON;

enum {
    SBX_REPLY_HEADERS_MAX = 16
};

/* A growing list of headers; more than fit is our own bug. */
typedef struct sbx_reply_headers {
    sbx_http_header items[SBX_REPLY_HEADERS_MAX];
    size_t count;
} sbx_reply_headers;

void sbx_reply_add(sbx_reply_headers *headers, sbx_view name, sbx_view value);

/* What x-request-id says: the client's own id if it sent a usable one, else ours. Borrows both. */
sbx_view sbx_reply_request_id(sbx_http_request *request, const sbx_id *own);

/* CORS headers, where the request's Origin is in the configured list. */
void sbx_reply_add_cors(const sbx_server *server, sbx_http_request *request, sbx_reply_headers *headers);

/* Percent-decoding into the arena; empty when it is malformed or memory is out (pages.c). */
sbx_view sbx_reply_decode_path(sbx_arena *arena, sbx_view path);

/* Adds a string member; one that is no C string (it holds a NUL) is left out. */
void sbx_reply_put(struct cJSON *object, const char *name, sbx_view value);

/* A whole answer of some type, with the headers that every answer of ours has. */
void sbx_reply_text(sbx_server *server, sbx_http_request *request, unsigned status, sbx_view content_type,
                    sbx_view text);

/* Takes the tree. 500 when it cannot be printed. */
void sbx_reply_json(sbx_server *server, sbx_http_request *request, unsigned status, struct cJSON *tree);

/* message NULL: the code's own. */
void sbx_reply_error(sbx_server *server, sbx_http_request *request, sbx_api_error error, const char *message);

/* 400 REQUEST_VALIDATION_FAILED; param: the member it is about, or NULL. */
void sbx_reply_invalid(sbx_server *server, sbx_http_request *request, const char *message, const char *param);

/* 405 with an Allow header. */
void sbx_reply_not_allowed(sbx_server *server, sbx_http_request *request, sbx_view allow);

/* 204 with Allow, and the CORS answer to a preflight. */
void sbx_reply_options(sbx_server *server, sbx_http_request *request, sbx_view allow);

/* The JSON of an error, for answers that net writes by itself; valid until the next reply. */
sbx_view sbx_reply_error_text(sbx_server *server, unsigned status, const char *message);

#endif
