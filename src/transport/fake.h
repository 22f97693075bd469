/* Transport kind fake: no worker at all, a script instead. For tests of what lies above the transport, and
 * held to the same conformance suite as the real kinds.
 *
 * A call takes the next script of its peer (the last one stays for all further calls) and plays it on the
 * loop. Each call leaves a record of what it was asked for and of what was done to it. */
#ifndef SBX_TRANSPORT_FAKE_H
#define SBX_TRANSPORT_FAKE_H

#include "transport/transport.h"

typedef enum sbx_fake_kind {
    SBX_FAKE_ACCEPT,
    SBX_FAKE_PROGRESS,
    SBX_FAKE_HEAD, /* .head */
    SBX_FAKE_DATA, /* .data; repeated .times; more than 64 KiB arrive in several pieces */
    SBX_FAKE_ECHO, /* the request's body, as DATA */
    SBX_FAKE_END,
    SBX_FAKE_FAIL /* .outcome, .retry_after_ns, .detail */
} sbx_fake_kind;

/* One thing that the worker does. A script that stops without END or FAIL hangs from there on. */
typedef struct sbx_fake_step {
    sbx_fake_kind kind;
    sbx_time_ns delay_ns; /* waits this long first, each time */
    sbx_answer_head head; /* its views, and data and detail, are kept */
    sbx_view data;
    uint32_t times; /* 0 counts as 1 */
    sbx_outcome outcome;
    sbx_time_ns retry_after_ns; /* 0 counts as none */
    const char *detail;
} sbx_fake_step;

/* What became of one call. Texts are copies. */
typedef struct sbx_fake_record {
    sbx_view path, body, request_id, traceparent;
    uint32_t attempt;
    bool streaming;
    sbx_time_ns budget_ns;
    sbx_time_ns started_at, cancelled_at; /* cancelled_at: -1 unless it was cancelled */
    uint32_t pauses, resumes;
    bool is_over; /* ended, failed or cancelled */
} sbx_fake_record;

sbx_err sbx_fake_peer_new(sbx_loop *loop, sbx_peer **ret_peer);

/* Adds a script. Steps are copied. SBX_E_NOMEM. */
sbx_err sbx_fake_peer_script(sbx_peer *peer, const sbx_fake_step *steps, size_t count);
/* Forgets all scripts: calls that start from now on hang, until there is one. */
void sbx_fake_peer_clear(sbx_peer *peer);
/* What start returns from now on; SBX_OK (the default): it works. */
void sbx_fake_peer_refuse(sbx_peer *peer, sbx_err err);
/* The worker dies: every call at work fails with RESET, at the end of this turn. */
void sbx_fake_peer_die(sbx_peer *peer);

/* Records in the order of starts, also of those that start refused; valid until the next start. */
size_t sbx_fake_peer_call_count(const sbx_peer *peer);
const sbx_fake_record *sbx_fake_peer_record(const sbx_peer *peer, size_t index);

#endif
