/* HTTP/1.1 server side: listeners and connections; one handler gets whole requests.
 *
 * A request is handed over when its body is complete (at most max_body_bytes, else 413 is sent from here).
 * Framing errors, limits, Expect, pipelining (answers in order, one request at work per connection), HEAD and
 * keep-alive are handled here. While a request is at work its connection is read, so that a client that
 * leaves is noticed at once. */
#ifndef SBX_NET_HTTP_SERVER_H
#define SBX_NET_HTTP_SERVER_H

#include "base/arena.h"
#include "base/err.h"
#include "base/outcome.h"
#include "net/http_message.h"
#include "net/loop.h"

typedef struct sbx_http_server sbx_http_server;
typedef struct sbx_http_request sbx_http_request;

typedef struct sbx_http_handler {
    /* A whole request. head and body stay valid until the request ended. Answer now or later with the calls
     * below; the request ends with the last byte of the answer, or with on_gone. */
    void (*on_request)(void *user, sbx_http_request *request);
    /* The client left, or could not be written to for clientWriteTimeoutMs, before the answer was complete.
     * Called at most once; the request is invalid on return. Never called after the answer is complete. */
    void (*on_gone)(void *user, sbx_http_request *request);
    /* Everything queued went out, after sbx_http_queued() had been above the high-water mark. */
    void (*on_drained)(void *user, sbx_http_request *request);
    /* Writes the body of an error answer sent from here (400, 413, 431, 408, 417 ...): OpenAI error JSON.
     * Gives the bytes to send as content-type application/json; valid until the next call. */
    sbx_view (*error_body)(void *user, unsigned status, const char *message);
    void *user;
} sbx_http_handler;

typedef struct sbx_http_server_options {
    uint32_t max_connections;
    uint64_t max_body_bytes;
    uint64_t max_buffered_bytes; /* all request bodies together; above: 503 */
    sbx_time_ns header_timeout_ns, body_timeout_ns, keep_alive_timeout_ns, write_timeout_ns;
    size_t high_water_bytes;  /* 128 KiB: above it sbx_http_is_full() is true */
    uint64_t arena_cap_bytes; /* per request, body not included */
    bool shares_port;         /* SO_REUSEPORT: several processes may listen on one port */
} sbx_http_server_options;

sbx_err sbx_http_server_new(sbx_loop *loop, const sbx_http_server_options *options,
                            const sbx_http_handler *handler, sbx_http_server **ret_server);
/* host: numeric address or name; port 0 = free port; SO_REUSEPORT on request. reterr_info says what failed.
 * May be called more than once. */
sbx_err sbx_http_server_listen(sbx_http_server *server, const char *host, uint16_t port, uint16_t *ret_port,
                               sbx_errinfo *reterr_info);
/* close: stops accepting; idle connections are closed, those at work finish with `connection: close`. */
void sbx_http_server_close(sbx_http_server *server);
/* Connections open, and those of them whose request is at work or whose answer has not gone out whole: the
 * owner polls the latter while draining. */
uint32_t sbx_http_server_connections(const sbx_http_server *server);
uint32_t sbx_http_server_answering(const sbx_http_server *server);

/* Totals since the start; bytes are those of the sockets, inside TLS if any. */
typedef struct sbx_http_server_counts {
    uint64_t connections;
    uint64_t received_bytes;
    uint64_t sent_bytes;
} sbx_http_server_counts;
sbx_http_server_counts sbx_http_server_counts_of(const sbx_http_server *server);

void sbx_http_server_free(sbx_http_server *server); /* cuts what is left, on_gone is called for each */

/* ---- one request ---- */
const sbx_http_head *sbx_http_request_head(const sbx_http_request *request);
sbx_view sbx_http_request_body(const sbx_http_request *request);
sbx_arena *sbx_http_request_arena(sbx_http_request *request);       /* freed with the request */
bool sbx_http_request_is_loopback(const sbx_http_request *request); /* the peer's address */
void sbx_http_request_set_user(sbx_http_request *request, void *user);
void *sbx_http_request_user(const sbx_http_request *request);

/* ---- answering: names and values must be free of CR, LF, NUL (asserted for names, cleaned for values) ----
 */

/* A whole answer: head and body in one writev; content-length is added. Pieces are borrowed until return
 * (what the socket does not take is copied). Ends the request. Returns SBX_OK, or SBX_E_NOMEM after which the
 * connection is cut and the request invalid without on_gone. */
sbx_err sbx_http_respond(sbx_http_request *request, unsigned status, const sbx_http_header *headers,
                         size_t header_count, const sbx_view *pieces, size_t piece_count);

/* A streamed answer: head at once (chunked, or close-delimited to a 1.0 client), then pieces, each flushed,
 * then the end, which ends the request. cut: closes without the final chunk, so that the client sees a broken
 * answer; ends the request too. */
sbx_err sbx_http_start(sbx_http_request *request, unsigned status, const sbx_http_header *headers,
                       size_t header_count, const sbx_view *first_pieces, size_t first_count);
sbx_err sbx_http_write(sbx_http_request *request, const sbx_view *pieces, size_t piece_count);
void sbx_http_end(sbx_http_request *request);
void sbx_http_cut(sbx_http_request *request);

size_t sbx_http_queued(const sbx_http_request *request); /* bytes not yet taken by the socket */
bool sbx_http_is_full(const sbx_http_request *request);

/* ---- for the simulated engine, which breaks its word on purpose ---- */

/* These bytes go out as they are, outside all framing, before the head or in the middle of an answer. The
 * request stays at work; end it with sbx_http_cut() or sbx_http_reset(). The bytes are borrowed until return.
 */
sbx_err sbx_http_write_raw(sbx_http_request *request, sbx_view bytes);
/* Closes the connection with a TCP reset, at any time before the answer is complete; what was written and not
 * yet taken by the socket is lost. Ends the request, without on_gone. sbx_http_cut() too is fine before the
 * head. */
void sbx_http_reset(sbx_http_request *request);

#endif
