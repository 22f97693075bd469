/* A job: one client request on its way through the shell, whoever the client side is (HTTP today).
 *
 * The client side submits a job and gets exactly one ending: on_reply (a whole answer), or on_open, any
 * number of on_chunk, and on_close. After sbx_job_cancel nothing comes. Nothing is called from within submit.
 */
#ifndef SBX_SHELL_JOB_H
#define SBX_SHELL_JOB_H

#include "base/arena.h"
#include "codec/openai_request.h"
#include "shell/shell.h"

typedef struct sbx_job sbx_job;

/* What goes into the head of an answer; views are borrowed for the call. */
typedef struct sbx_job_head {
    unsigned status;
    sbx_view content_type;
    sbx_view request_id;
    sbx_view worker_id; /* empty: none */
    uint32_t retry_count;
    bool is_fallback;           /* of a worker of the cluster in place of helper endpoints */
    bool hides_routing;         /* neither worker nor retry count are told (responseMetadata: off) */
    sbx_time_ns retry_after_ns; /* -1: no header */
    int should_retry;           /* -1: no header, 0 false, 1 true */
    sbx_view metadata;          /* JSON for a header, or empty */
} sbx_job_head;

typedef struct sbx_job_events {
    void (*on_reply)(void *user, const sbx_job_head *head, const sbx_view *pieces, size_t piece_count);
    void (*on_open)(void *user, const sbx_job_head *head, const sbx_view *pieces, size_t piece_count);
    void (*on_chunk)(void *user, const sbx_view *pieces, size_t piece_count);
    void (*on_close)(void *user);
} sbx_job_events;

typedef struct sbx_job_params {
    sbx_arena *arena; /* the request's; kept until the job is over */
    sbx_endpoint endpoint;
    sbx_view path;                     /* upstream path, such as "/v1/chat/completions" */
    sbx_view body;                     /* kept until the job is over */
    const sbx_openai_request *request; /* spans into body; kept */
    sbx_view request_id;               /* 32 hex characters; kept */
    sbx_view traceparent;              /* kept; may be empty */
    sbx_view session_id;               /* from a header; empty: the body's */
    uint64_t key_hash;
    sbx_time_ns timeout_ns; /* x-request-timeout-ms; SBX_TIME_NEVER: none */
    bool wants_metadata_chunk;
} sbx_job_params;

/* Returns SBX_OK or SBX_E_NOMEM (then nothing is called). */
sbx_err sbx_job_submit(sbx_shell *shell, const sbx_job_params *params, const sbx_job_events *events,
                       void *user, sbx_job **ret_job);

/* The client is gone: the attempt is cancelled at the worker in this loop turn; the job is invalid on return.
 */
void sbx_job_cancel(sbx_job *job);

/* Back-pressure from the client side: while paused the upstream is not read. */
void sbx_job_pause(sbx_job *job);
void sbx_job_resume(sbx_job *job);

#endif
