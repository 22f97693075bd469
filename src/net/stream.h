/* A byte stream over TCP, or over TLS for https upstreams: connect or accept, read with pause, write at once
 * and queue only what the socket does not take.
 *
 * Threads: the loop's. Callbacks never come from within a call to the stream. */
#ifndef SBX_NET_STREAM_H
#define SBX_NET_STREAM_H

#include <stdbool.h>

#include "base/err.h"
#include "base/view.h"
#include "net/loop.h"
#include "net/stream_tls.h"

struct sockaddr;
struct uv_stream_s;

typedef struct sbx_stream sbx_stream;

typedef struct sbx_stream_events {
    /* Connecting streams: ready to be written to. */
    void (*on_open)(void *user);
    /* Connecting streams: REFUSED, TLS, NOMEM ...; nothing follows. detail: a short text, valid in the call.
     */
    void (*on_refused)(void *user, sbx_err err, const char *detail);
    void (*on_read)(void *user, sbx_view bytes); /* valid in the call */
    /* Nothing more will be read: SBX_OK = the peer ended its side, SBX_E_RESET = the connection broke. */
    void (*on_end)(void *user, sbx_err err);
    /* Nothing more can be written; what was queued is gone. Reading goes on until on_end. NULL: not wanted.
     */
    void (*on_broken)(void *user);
    /* What was queued has gone out. NULL: not wanted. */
    void (*on_drained)(void *user);
} sbx_stream_events;

/* events is kept. Both return SBX_OK or SBX_E_NOMEM, SBX_E_IO; a refused connect is told by on_refused. */
sbx_err sbx_stream_connect(sbx_loop *loop, const struct sockaddr *address, const sbx_stream_events *events,
                           void *user, sbx_stream **ret_stream);
/* Right after connect: on_open waits for the TLS handshake, and all bytes are encrypted from here on. The
 * context is kept. A peer that fails verification is told by on_refused with SBX_E_TLS. Returns SBX_OK,
 * SBX_E_NOMEM. */
sbx_err sbx_stream_start_tls(sbx_stream *stream, sbx_tls_context *context, const char *host);
/* Takes the connection that waits at a listener, and starts reading. */
sbx_err sbx_stream_accept(sbx_loop *loop, struct uv_stream_s *listener, const sbx_stream_events *events,
                          void *user, sbx_stream **ret_stream);

/* Ends it now: what is queued is dropped, no callback follows. NULL is fine. */
void sbx_stream_close(sbx_stream *stream);
/* The same with a TCP reset instead of a clean end. */
void sbx_stream_reset(sbx_stream *stream);

/* Writes pieces, in one system call where the socket has room; the rest is copied. SBX_OK also when the
 * connection broke (on_broken tells); SBX_E_NOMEM when the rest could not be queued: close it then. */
sbx_err sbx_stream_write(sbx_stream *stream, const sbx_view *pieces, size_t count);
/* The same without a copy: the bytes are kept, they must outlive the stream or the next on_drained. Only
 * while nothing is queued. */
sbx_err sbx_stream_write_kept(sbx_stream *stream, const sbx_view *pieces, size_t count);

/* Bytes that the socket has not taken / has taken so far. */
size_t sbx_stream_queued(const sbx_stream *stream);
uint64_t sbx_stream_sent(const sbx_stream *stream);

/* Ends our side once all that is queued has gone out. */
void sbx_stream_shutdown(sbx_stream *stream);

void sbx_stream_pause(sbx_stream *stream);
void sbx_stream_resume(sbx_stream *stream);

bool sbx_stream_peer_is_loopback(const sbx_stream *stream);

#endif
