/* What the two ways to an engine share, transport kind http and a worker's engine kind openai: the headers
 * that an engine gets, exactly these and never a client's, and what the heads of its answers say.
 *
 * Threads: any. */
#ifndef SBX_NET_HTTP_ENGINE_H
#define SBX_NET_HTTP_ENGINE_H

#include "base/time.h"
#include "net/http_message.h"

enum {
    SBX_HTTP_ENGINE_HEADERS = 8
};

typedef struct sbx_http_engine_request {
    bool has_body;
    bool streaming;
    sbx_view request_id;       /* empty: none */
    sbx_view traceparent;      /* empty: none */
    const char *authorization; /* as sbx_http_engine_bearer() gives it; NULL: none */
} sbx_http_engine_request;

/* Fills ret_headers, which borrow the request's texts, and returns how many there are. */
size_t sbx_http_engine_headers(const sbx_http_engine_request *request,
                               sbx_http_header ret_headers[SBX_HTTP_ENGINE_HEADERS]);

/* The wait that an answer asks for; -1: none, or a date, which says nothing on a machine whose clock we do
 * not trust. */
sbx_time_ns sbx_http_engine_retry_after(const sbx_http_head *head);

/* Gives "Bearer KEY" (free() it); NULL: no memory. */
char *sbx_http_engine_bearer(const char *api_key);

#endif
