/* A transport carries one attempt to one worker and reports what comes back. Kinds: http, nats, and fake (for
 * tests). A kind is one const table of functions; test/conformance holds every kind to this page.
 *
 * A transport only moves bytes and reports; it decides nothing: no retry (but the one resend on a stale
 * keep-alive connection), no limits (but what it takes to notice a dead peer), no reading of bodies. */
#ifndef SBX_TRANSPORT_TRANSPORT_H
#define SBX_TRANSPORT_TRANSPORT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/outcome.h"
#include "base/time.h"
#include "base/view.h"
#include "net/loop.h"

/* One attempt under way; `super` of each kind's own struct. Freed by the kind after its last event or cancel.
 */
typedef struct sbx_transport_call sbx_transport_call;

typedef struct sbx_answer_head {
    unsigned status;
    sbx_view content_type;      /* as sent; empty when none */
    sbx_view content_encoding;  /* empty or "identity" is what we asked for */
    sbx_time_ns retry_after_ns; /* -1 when none */
} sbx_answer_head;

/* Called from the loop, never from within start. on_end or on_fail comes exactly once and last, unless the
 * call was cancelled: then nothing comes. Views are valid during the callback. A callback may cancel any
 * call. */
typedef struct sbx_transport_events {
    void (*on_accepted)(void *user); /* connected and sent; the worker's ACK */
    void (*on_progress)(void *user); /* "still at it", from workers that can say so */
    void (*on_head)(void *user, const sbx_answer_head *head);
    void (*on_data)(void *user, sbx_view bytes); /* body bytes exactly as the engine sent them */
    void (*on_end)(void *user);                  /* the answer is complete */
    /* detail: for the log, never for a client. retry_after_ns: -1 when unknown. */
    void (*on_fail)(void *user, sbx_outcome outcome, sbx_time_ns retry_after_ns, const char *detail);
} sbx_transport_events;

/* Borrowed until start returns, but for the bytes of the body. */
typedef struct sbx_transport_request {
    sbx_view path; /* "/v1/chat/completions" */
    bool streaming;
    const sbx_view *body; /* pieces: array is copied; the bytes are kept until the call is over */
    size_t body_count;
    sbx_view request_id;   /* 32 hex characters */
    uint32_t attempt;      /* from 1 */
    sbx_view traceparent;  /* empty: none */
    sbx_time_ns budget_ns; /* what is left for this attempt */
} sbx_transport_request;

/* How to reach one worker. Made once per worker by the kind's own constructor, kept in the registry's `peer`.
 */
typedef struct sbx_peer sbx_peer;

typedef struct sbx_transport_kind {
    const char *name;
    /* SBX_OK, SBX_E_NOMEM, or SBX_E_CLOSED when the worker cannot be reached at all now (counts as REFUSED).
     */
    sbx_err (*start)(sbx_peer *peer, const sbx_transport_request *request, const sbx_transport_events *events,
                     void *user, sbx_transport_call **ret_call);
    void (*cancel)(sbx_transport_call *call); /* the worker is told in this loop turn; no event follows */
    void (*pause)(sbx_transport_call *call);  /* back-pressure: events may still come for what is in flight */
    void (*resume)(sbx_transport_call *call);
    void (*free_peer)(sbx_peer *peer); /* its calls are cancelled first */
} sbx_transport_kind;

struct sbx_peer {
    const sbx_transport_kind *kind;
    bool asks_for_usage; /* the shell's: streams are asked for token counts (stream_usage: on) */
};

struct sbx_transport_call {
    const sbx_transport_kind *kind;
};

static inline void sbx_transport_cancel(sbx_transport_call *call)
{
    call->kind->cancel(call);
}

#endif
