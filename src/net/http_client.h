/* HTTP/1.1 client side: one upstream = one host with a LIFO pool of keep-alive connections.
 *
 * A call sends one request and reports its answer piece by piece. A pooled connection that turns out stale
 * (closed before the first byte of the answer) is replaced by a fresh one once, unseen by the caller; so is
 * nothing else. Responses are held to the same strictness as requests (notes: framing, limits). */
#ifndef SBX_NET_HTTP_CLIENT_H
#define SBX_NET_HTTP_CLIENT_H

#include "base/err.h"
#include "base/outcome.h"
#include "net/http_message.h"
#include "net/loop.h"

typedef struct sbx_http_upstream sbx_http_upstream;
typedef struct sbx_http_call sbx_http_call;

typedef struct sbx_http_upstream_options {
    const char *host; /* kept copies; resolved asynchronously, the answer used until a connect fails */
    uint16_t port;
    bool tls;
    const char *ca_file;         /* NULL: the system's */
    uint32_t max_idle;           /* pooled connections kept at most */
    sbx_time_ns idle_timeout_ns; /* a pooled connection older than this is closed, not used */
    sbx_time_ns connect_timeout_ns;
    uint64_t max_head_bytes;
} sbx_http_upstream_options;

/* Returns SBX_OK, SBX_E_NOMEM, SBX_E_TLS (ca_file cannot be used). */
sbx_err sbx_http_upstream_new(sbx_loop *loop, const sbx_http_upstream_options *options,
                              sbx_http_upstream **ret_upstream);
/* Calls at work are cancelled without a callback. NULL is fine. */
void sbx_http_upstream_free(sbx_http_upstream *upstream);

/* All callbacks come from the loop, never from within sbx_http_call_start. Exactly one of on_end and on_fail
 * is the last; the call is invalid after it. Views are valid during the callback. */
typedef struct sbx_http_call_events {
    void (*on_sent)(void *user);                            /* connected and request handed to the socket */
    void (*on_head)(void *user, const sbx_http_head *head); /* final head; 1xx are swallowed */
    void (*on_body)(void *user, sbx_view bytes);            /* de-chunked */
    void (*on_end)(void *user);                             /* the message is complete */
    /* REFUSED (refused, unreachable, DNS, TLS), CONNECT_TIMEOUT, RESET (also: EOF before complete),
     * MALFORMED, LOCAL. detail: short text for the log, valid during the callback. */
    void (*on_fail)(void *user, sbx_outcome outcome, const char *detail);
} sbx_http_call_events;

typedef struct sbx_http_call_params {
    const char *method;
    sbx_view target;
    const sbx_http_header *headers; /* copied; Host, Content-Length and Connection are added here */
    size_t header_count;
    const sbx_view *body; /* the array is copied, the bytes are kept: must outlive the call */
    size_t body_count;
} sbx_http_call_params;

/* Returns SBX_OK or SBX_E_NOMEM (then nothing is called). */
sbx_err sbx_http_call_start(sbx_http_upstream *upstream, const sbx_http_call_params *params,
                            const sbx_http_call_events *events, void *user, sbx_http_call **ret_call);

/* Stops it now, closing its connection (that is what aborts an engine); no callback follows. */
void sbx_http_call_cancel(sbx_http_call *call);

/* Back-pressure: while paused nothing is read from the socket. */
void sbx_http_call_pause(sbx_http_call *call);
void sbx_http_call_resume(sbx_http_call *call);

#endif
