/* What both sides of HTTP/1.1 share: parsed heads, header lists, and how a body is framed. */
#ifndef SBX_NET_HTTP_MESSAGE_H
#define SBX_NET_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

enum {
    SBX_HTTP_MAX_HEADERS = 100,
    SBX_HTTP_MAX_HEAD_BYTES = 32 * 1024
};

typedef struct sbx_http_header {
    sbx_view name;  /* as received; compare without case */
    sbx_view value; /* trimmed */
} sbx_http_header;

typedef struct sbx_http_head {
    sbx_view method; /* requests */
    sbx_view target; /* requests: path with query, origin form */
    sbx_view path;   /* requests: target up to '?' */
    sbx_view query;  /* requests: after '?', or empty */
    unsigned status; /* responses */
    unsigned minor_version;
    const sbx_http_header *headers;
    size_t header_count;
} sbx_http_head;

/* The first header of that name, or an empty view with data NULL. */
sbx_view sbx_http_head_get(const sbx_http_head *head, const char *name);

#endif
