/* http and https URLs of engines, backends and helper nodes: split once, joined with a path for each call.
 *
 * People write the URL of an OpenAI-compatible server with or without /v1, with or without a slash at the end
 * and sometimes below a prefix; all of these mean the same server. */
#ifndef SBX_BASE_URL_H
#define SBX_BASE_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/view.h"

typedef struct sbx_url {
    const char *text;   /* as written, without slashes at the end; NULL = no URL */
    const char *host;   /* lower case; an IPv6 address without its brackets */
    const char *prefix; /* "" or begins with '/' and does not end with one, such as "/v1" or "/llm/v1" */
    uint16_t port;      /* 80 or 443 when none was written */
    bool is_https;
} sbx_url;

/* Splits scheme://host[:port][/prefix]. User information, query and fragment are refused: none of them
 * belongs in a base URL, and the first would end up in logs. The strings come from the arena.
 *
 * reterr_why  set on SBX_E_PARSE: a static text that completes "expected a URL: "
 *
 * Returns SBX_OK, SBX_E_PARSE or SBX_E_NOMEM. */
sbx_err sbx_url_parse(sbx_arena *arena, sbx_view text, sbx_url *ret_url, const char **reterr_why);

/* Whether `host` is a host name, an IPv4 or (without brackets) an IPv6 address. */
bool sbx_url_is_host(sbx_view host);

/* Appends the request target for `path` (begins with '/') below a URL's prefix. OpenAI paths begin with /v1
 * here: a prefix that ends in a version (/v1, /v4) replaces it, so /v1 is never doubled; other paths
 * (/health) go beside the version, not below it:
 *   ""        /v1/models -> /v1/models          "/v1" /v1/models -> /v1/models     "/v1"   /health -> /health
 *   "/x"      /v1/models -> /x/v1/models        "/x/v1" /v1/models -> /x/v1/models "/x/v4" /v1/models ->
 * /x/v4/models Returns what the buffer's append returned. */
sbx_err sbx_url_join(const char *prefix, const char *path, sbx_buf *buf);

#endif
