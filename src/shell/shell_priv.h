/* What the shell's own files share. Never included from another layer. */
#ifndef SBX_SHELL_SHELL_PRIV_H
#define SBX_SHELL_SHELL_PRIV_H

#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"
#include "shell/answer.h"
#include "shell/job.h"
#include "shell/metrics.h"
#include "shell/shell.h"

struct sbx_shell {
    sbx_loop *loop;
    sbx_router *router;
    sbx_shell_options options;
    sbx_rng rng;
    sbx_siphash_key hash_key; /* of bodies and sessions, before the core sees them */
    sbx_timer tick;

    /* Events raised while actions are carried out wait here, so that steps never nest. */
    bool is_stepping;
    sbx_event *waiting; /* a ring; sized so that every job may have all its events in it */
    uint32_t waiting_size, waiting_first, waiting_count;

    sbx_list jobs; /* sbx_job.node */
    uint32_t job_count;

    sbx_list backends; /* sbx_backend.node */
    sbx_map64 by_peer; /* the same, by peer */
    sbx_list retired;  /* the same, of old configurations: until their last call is over */
    sbx_timer retire_timer;
    bool is_updating;
    sbx_backend_update update;
    sbx_map nats_workers; /* by id; nats_worker of workers.c */
    sbx_nats_link *link;
    bool bus_is_up;
    sbx_list probes; /* that are out (probe.c) */

    sbx_metrics metrics;

    sbx_buf scratch; /* the JSON being written for an answer */
    sbx_buf message; /* the sentence in it */
};

/* One try of a job at one worker: the transport's call and what its bytes mean so far. */
typedef struct sbx_attempt {
    sbx_attempt_ref ref;
    sbx_worker_ref worker;
    sbx_peer *peer;
    sbx_time_ns started_at;
    bool is_fallback;         /* a worker of the cluster in place of helper endpoints */
    sbx_transport_call *call; /* NULL: over */
    sbx_answer answer;
    bool is_ended; /* reported to the router, or cancelled by it */
} sbx_attempt;

struct sbx_job {
    sbx_shell *shell;
    sbx_list_node node;
    sbx_job_params params;
    const sbx_job_events *events; /* NULL once the client is gone */
    void *user;
    sbx_task submit;  /* the first event, at the end of the turn in which the job came */
    sbx_task release; /* frees the job, at the end of the turn in which it ended */
    sbx_request_ref ref;
    sbx_time_ns submitted_at;
    uint32_t counted_model; /* of its last attempt, in the metrics */
    sbx_attempt attempt;
    sbx_timer tail;         /* after [DONE] the answer's end is awaited this long, and no longer */
    bool is_open;           /* the head of a stream went out */
    bool is_over;           /* the router ended it */
    bool is_paused;         /* by the client side */
    sbx_answer_chunk chunk; /* the one just reported to the router */
    bool hold_failed;       /* it could not be kept */
    sbx_request_meta meta;  /* at the commit */
    size_t piece_count;     /* to be written: chunks of the read at hand */
    sbx_view pieces[16];
};

/* Reports an event; carries out the actions; then those of the events this raised. */
void sbx_shell_step(sbx_shell *shell, const sbx_event *event);

/* Whose helper endpoints may serve what the job asks for. */
sbx_helper_role sbx_job_helper_of(const sbx_job *job);

/* The actions that concern a job (job.c, attempt.c). */
void sbx_job_on_admitted(sbx_job *job, sbx_request_ref ref);
void sbx_job_on_end(sbx_job *job, const sbx_action *action);
void sbx_attempt_on_start(sbx_job *job, const sbx_action *action);
void sbx_attempt_on_cancel(sbx_job *job, const sbx_action *action);
void sbx_attempt_on_commit(sbx_job *job, const sbx_action *action);
void sbx_attempt_on_forward(sbx_job *job);
void sbx_attempt_on_hold(sbx_job *job);
void sbx_attempt_flush(sbx_job *job);        /* sends what was collected */
void sbx_attempt_drop(sbx_attempt *attempt); /* cancels the call, frees what was read; fine when over */
sbx_timer_fn sbx_attempt_on_tail;

/* Sends pieces to the client: the first ones open the stream. */
void sbx_job_send(sbx_job *job, const sbx_view *pieces, size_t count);

/* The reply of an ended job (reply.c): a whole answer, the end of a stream, or an error. */
void sbx_job_reply(sbx_job *job, const sbx_action *action);
sbx_view sbx_job_worker_id(const sbx_job *job, sbx_worker_ref ref); /* empty: none */

/* Logs a note; logs how a job ended (notes.c). */
void sbx_shell_note(sbx_shell *shell, const sbx_action *action);
void sbx_shell_note_end(const sbx_job *job, const sbx_action *action);

sbx_err sbx_workers_init(sbx_shell *shell);
void sbx_workers_deinit(sbx_shell *shell);

#endif
