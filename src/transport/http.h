/* Transport kind http: an OpenAI-compatible server called directly (backends, static workers, helper nodes).
 */
#ifndef SBX_TRANSPORT_HTTP_H
#define SBX_TRANSPORT_HTTP_H

#include "transport/transport.h"

typedef struct sbx_http_peer_options {
    const char *host;
    uint16_t port;
    bool tls;
    const char *path_prefix; /* of the URL: "", "/v1", "/x/v1"; joined by sbx_url_join */
    const char *api_key;     /* NULL: none is sent */
    uint32_t max_concurrent; /* as many connections are kept at most */
    sbx_time_ns connect_timeout_ns;
} sbx_http_peer_options;

sbx_err sbx_http_peer_new(sbx_loop *loop, const sbx_http_peer_options *options, sbx_peer **ret_peer);

/* One GET beside the inference traffic: health checks and model lists. done is called once, from the loop;
 * status 0 = failed. body is at most max_body bytes. Not called when the peer is freed first. */
typedef void sbx_http_probe_fn(void *user, unsigned status, sbx_view body);
sbx_err sbx_http_peer_get(sbx_peer *peer, const char *path, sbx_time_ns timeout_ns, size_t max_body,
                          sbx_http_probe_fn *done, void *user);

#endif
