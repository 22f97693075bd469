/* The router from inside. Reading order: router.c (step), router_request.c (a request comes and goes),
 * router_attempt.c (what a worker says), router_retry.c (what a failure leads to), router_queue.c
 * (waiting for room), router_finish.c (how requests end), router_limits.c (time), router_probe.c (probes
 * without traffic), router_worker.c (workers come and go).
 *
 * Each piece of work (one event, one timer, one lost attempt) takes at most SBX_STEP_ROOM actions; the step
 * loop begins a piece only when there is room for it, so the action array never overflows. */
#ifndef SBX_CORE_ROUTER_PRIV_H
#define SBX_CORE_ROUTER_PRIV_H

#include "base/arena.h"
#include "base/rng.h"
#include "core/classify.h"
#include "core/pick.h"
#include "core/poison.h"
#include "core/queue.h"
#include "core/registry_priv.h"
#include "core/router.h"
#include "core/sessions.h"

enum {
    SBX_STEP_ROOM = 16
};

typedef enum sbx_request_phase {
    SBX_REQUEST_FREE,
    SBX_REQUEST_RUNNING, /* its attempt is at a worker */
    SBX_REQUEST_WAITING, /* for its next attempt */
    SBX_REQUEST_QUEUED   /* for room at a worker */
} sbx_request_phase;

/* The lists of a policy. They stay while a request is under way that came by them, so that none sees half of
 * the old and half of the new. */
typedef struct sbx_policy_lists {
    sbx_list_node node; /* of sbx_router.all_lists */
    sbx_arena memory;
    sbx_policy policy;
    uint32_t requests; /* that came by them */
} sbx_policy_lists;

enum {
    SBX_TOO_LONG_MODELS = 16 /* of one list, that one request may be too long for */
};

/* The current try. */
typedef struct sbx_attempt {
    uint32_t number; /* from 1 */
    sbx_worker *worker;
    uint32_t worker_epoch; /* differs from the worker's when the attempt is lost */
    uint32_t edge;
    sbx_breaker_permit permit;
    bool is_accepted;
    bool has_content;
    bool has_progressed; /* since the last content */
    bool is_paused;
    bool was_cut; /* the bus went down before it was accepted */
    sbx_time_ns started_at;
    sbx_time_ns accept_by;
    sbx_time_ns answer_by; /* buffered: the whole answer; streaming: first content */
    sbx_time_ns first_content_at;
    sbx_time_ns content_at; /* last content, or end of a pause */
    sbx_time_ns idle_ns;
    sbx_time_ns flow_at; /* when a probe's flow counts as success; NEVER */
} sbx_attempt;

typedef struct sbx_request {
    sbx_policy_lists *lists;
    uint32_t slot;
    uint32_t generation;
    sbx_request_phase phase;
    void *owner;
    sbx_model *model;             /* of the current attempt; referred to */
    const sbx_model_alias *alias; /* what to walk for each attempt; NULL: only `model` */
    uint64_t context_floor;       /* a model of its list must have a longer context than this */
    uint32_t too_long_count;
    uint32_t too_long[SBX_TOO_LONG_MODELS]; /* models whose context it did not fit */
    bool is_streaming;
    bool is_committed;
    uint64_t body_bytes, body_hash, key_hash;
    uint64_t session;        /* its key; 0: none */
    sbx_worker_ref stuck_to; /* what the session sticks to, as far as this request has seen */
    bool may_move;           /* that one could not be picked: a success elsewhere moves the session */
    sbx_time_ns started_at;
    sbx_time_ns deadline_at;
    sbx_time_ns retry_at;
    sbx_time_ns queued_at;
    sbx_time_ns wait_until;    /* it waits for room before this, not at it */
    sbx_time_ns waited_ns;     /* for room, just before its next attempt */
    sbx_time_ns queue_wait_ns; /* in all */
    uint32_t retries;          /* that used up one of max_retries */
    uint32_t deaths;           /* workers that died on it */
    uint32_t overloads;
    uint32_t breaker_trips;
    uint32_t timeouts;
    const sbx_class *last_row; /* of the last attempt that failed; NULL: none */
    sbx_outcome last_outcome;
    bool is_resent; /* its one free resend is spent */
    bool is_poison;
    uint32_t tried_count;
    uint32_t tried[SBX_MAX_ATTEMPTS];
    uint32_t failed_count;
    sbx_worker_ref failed[SBX_MAX_ATTEMPTS];
    sbx_attempt attempt;
    sbx_list_node running_node;
    sbx_wheel_entry timer;
} sbx_request;

struct sbx_router {
    sbx_policy policy; /* a copy of lists->policy */
    sbx_policy_lists *lists;
    sbx_list all_lists; /* these, and older ones that requests under way came by */
    sbx_rng rng;
    sbx_time_ns now;
    bool is_draining;
    sbx_registry registry;
    sbx_poison poison;
    sbx_sessions sessions;
    sbx_queue queue;
    sbx_request *requests;
    uint32_t request_cap, request_high_water, free_requests;
    uint32_t *free_list;
    sbx_wheel request_timers;
    sbx_wheel worker_timers;
    sbx_list pending; /* workers with a note to emit or attempts that are lost */
    sbx_list roomy;   /* workers that may have room for those that wait */
    sbx_router_counts counts;
    uint32_t action_count;
    sbx_action actions[SBX_MAX_ACTIONS];
};

/* ---- actions (router.c) ------------------------------------------------------------------------------- */

/* The next action, its kind and request set; request NULL: none. */
sbx_action *sbx_router_push(sbx_router *router, sbx_action_kind kind, const sbx_request *request);
bool sbx_router_has_room(const sbx_router *router, uint32_t actions);
sbx_request_ref sbx_request_ref_of(const sbx_request *request);
sbx_attempt_ref sbx_attempt_ref_of(const sbx_request *request);

/* A note about a worker, within a request or not (NULL). Fill in the rest of the returned note. */
sbx_action *sbx_router_note(sbx_router *router, sbx_note note, const sbx_request *request,
                            const sbx_worker *worker);

/* ---- requests (router_request.c) ---------------------------------------------------------------------- */

void sbx_router_on_request_new(sbx_router *router, const sbx_event_request_new *event);
void sbx_router_on_request_gone(sbx_router *router, sbx_request_ref ref);
sbx_request *sbx_router_request(sbx_router *router, sbx_request_ref ref); /* NULL: stale */
void sbx_router_release(sbx_router *router, sbx_request *request);

/* A request is done with them: forgotten when it was the last one and there are newer ones (router.c). */
void sbx_router_let_go_of_lists(const sbx_router *router, sbx_policy_lists *lists);

/* Chooses a worker for the next attempt; NULL: none is eligible. */
sbx_worker *sbx_router_choose(sbx_router *router, sbx_request *request, sbx_model **ret_model,
                              uint32_t *ret_eligible);

/* The request was answered by its worker: its session sticks there now, if it may. */
void sbx_router_settle_session(sbx_router *router, const sbx_request *request);

/* CANDIDATES_FILTERED, before an attempt starts (eligible: as choose said) or when none can (0). */
void sbx_router_note_candidates(sbx_router *router, const sbx_request *request, sbx_model *model,
                                uint32_t eligible);

/* Why there is none, over all models the request may have. */
sbx_census sbx_router_census(sbx_router *router, const sbx_request *request);

/* The same as if it had tried nobody. */
sbx_census sbx_router_census_untried(sbx_router *router, const sbx_request *request);

/* It is for helper endpoints / its attempt is at one of them. */
static inline sbx_helper_role sbx_request_helper(const sbx_request *request)
{
    return request->alias == NULL ? SBX_HELPER_NONE : request->alias->helper;
}

static inline bool sbx_request_is_at_helper(const sbx_request *request)
{
    return request->model != NULL && sbx_model_is_hidden(sbx_model_view(request->model));
}

/* Whether it did not fit this model's context, or surely would not. */
bool sbx_request_is_too_long(const sbx_request *request, const sbx_model *model);

/* The worker says that the request does not fit its context of so many tokens (0: it does not say): another
 * attempt at the next model of its list that may have a longer one. false: there is none. */
bool sbx_router_try_longer(sbx_router *router, sbx_request *request, uint64_t context);

/* ---- attempts (router_attempt.c) ---------------------------------------------------------------------- */

void sbx_router_start(sbx_router *router, sbx_request *request, sbx_worker *worker, sbx_model *model,
                      uint32_t eligible);
void sbx_router_on_attempt(sbx_router *router, const sbx_event *event);
void sbx_router_on_ended(sbx_router *router, const sbx_event_ended *ended);

/* Ends the current attempt: cancelled at the worker unless the worker ended it itself, reported once,
 * accounted; then retries or ends the request. is_blameless: whatever the outcome, not the worker's fault. */
typedef struct sbx_attempt_end {
    sbx_outcome outcome;
    sbx_time_ns retry_after_ns; /* -1: none named */
    uint64_t completion_tokens;
    bool is_cancelled_by_us;
    bool is_blameless;
    bool is_confirmed_death; /* the worker is gone or has booted again */
    bool is_too_long;
    uint64_t context;
} sbx_attempt_end;
void sbx_router_end_attempt(sbx_router *router, sbx_request *request, sbx_attempt_end end);

/* The one place that asks core/classify, for attempts of requests and for probes alike. */
const sbx_class *sbx_router_judge(sbx_outcome outcome);

/* Gives a permit back; what this does to the breaker is noted. request NULL: a probe of our own. */
void sbx_router_report(sbx_router *router, sbx_request *request, sbx_worker *worker,
                       sbx_breaker_permit permit, sbx_breaker_effect effect);

/* What else an outcome does to the worker. */
void sbx_router_affect_worker(sbx_router *router, sbx_request *request, sbx_worker *worker,
                              const sbx_class *row, sbx_time_ns retry_after_ns);

/* What the worker's service of the request's model has taught; NULL when the model was dropped since. */
sbx_edge *sbx_router_edge(const sbx_router *router, const sbx_request *request);

/* From now on the request's attempts ask for this model. */
void sbx_router_use_model(sbx_router *router, sbx_request *request, sbx_model *model);

/* ---- waiting for room (router_queue.c) -----------------------------------------------------------------
 *
 * A request waits when no worker can take it now, one at least is full or cools down, and one may take it
 * before its wait is over: maxWaitMs in all its stays together, and never beyond its deadline. Else, or when
 * the line of fresh requests is full, it is told at once. When a full worker will have room nobody knows:
 * that counts as any moment; a cool-down, an open breaker end when they say.
 *
 * Whenever a worker may have got room it is listed, and before anything else happens it takes, again and
 * again, the oldest of those whose turn it is at its models: returned requests by arrival, fresh ones in
 * turns over API keys. So while somebody waits, a worker with room is one that all who wait have been at
 * already.
 *
 * When something got worse (a worker offline, open, cooling, draining, a model dropped) all who wait are
 * asked whether there is hope for them still: a worker that is full, cools down or is open for less than what
 * is left of their wait, or was cut off a moment ago and whose attempts are not given up yet. Who has none
 * ends with what a new request would hear (NO_WORKERS_AVAILABLE, CIRCUIT_BREAKER_OPEN ...), or, if it was at
 * a worker before, as its last failure says. So does who waited to the end: WORKER_OVERLOADED, then. */

/* Whether it could wait now; does nothing. */
bool sbx_router_could_wait(sbx_router *router, const sbx_request *request);

/* Puts a request in line; false: it has to be told. Hopes that the caller saw somebody full or cooling. */
bool sbx_router_wait(sbx_router *router, sbx_request *request);
void sbx_router_note_queued(sbx_router *router, const sbx_request *request);
void sbx_router_leave_queue(sbx_router *router, sbx_request *request, bool is_served);

/* Its wait is over. */
void sbx_router_end_waiting(sbx_router *router, sbx_request *request);

/* What may be served now is, as far as there is room for actions. */
void sbx_router_serve_queue(sbx_router *router);

void sbx_router_list_roomy(sbx_router *router, sbx_worker *worker);

/* The worker may have room that it had not. */
static inline void sbx_router_got_room(sbx_router *router, sbx_worker *worker)
{
    if (router->queue.count > 0)
        sbx_router_list_roomy(router, worker);
}

/* Somebody may have become hopeless. */
static inline void sbx_router_got_worse(sbx_router *router)
{
    if (router->queue.count > 0)
        sbx_queue_walk(&router->queue);
}

/* ---- what follows (router_retry.c, router_finish.c) --------------------------------------------------- */

void sbx_router_after_failure(sbx_router *router, sbx_request *request, const sbx_class *row,
                              const sbx_attempt_end *end, bool may_retry);
void sbx_router_retry_now(sbx_router *router, sbx_request *request);

/* Returns the action, to be added to. */
sbx_action *sbx_router_refuse(sbx_router *router, void *owner, sbx_api_error error,
                              sbx_time_ns retry_after_ns);

/* The error as it is told of a request that helper endpoints should have served. */
sbx_api_error sbx_router_helper_error(sbx_router *router, const sbx_request *request, sbx_api_error error);
bool sbx_router_has_fallback(sbx_router *router, const sbx_request *request);
sbx_api_error sbx_router_error_of_census(const sbx_router *router, const sbx_census *census,
                                         sbx_time_ns *ret_retry_after);
/* COMMIT, with the metadata as far as it is known. */
void sbx_router_push_commit(sbx_router *router, sbx_request *request);
void sbx_router_succeed(sbx_router *router, sbx_request *request);
void sbx_router_pass(sbx_router *router, sbx_request *request);
void sbx_router_fail(sbx_router *router, sbx_request *request); /* by its last failure */
void sbx_router_end_cancelled(sbx_router *router, sbx_request *request);
void sbx_router_shed(sbx_router *router, sbx_request *request); /* it never was at a worker */

/* ---- time (router_limits.c) --------------------------------------------------------------------------- */

/* Sets the attempt's limits from the model's and the policy's. */
void sbx_router_set_limits(sbx_router *router, sbx_request *request);
sbx_time_ns sbx_router_attempt_budget(const sbx_router *router, const sbx_request *request);

/* Arms the request's timer for its next limit; an earlier one already armed stays (it re-arms itself). */
void sbx_router_arm(sbx_router *router, sbx_request *request);
void sbx_router_on_request_timer(sbx_router *router, sbx_request *request);

/* Whether a client that leaves now waited long enough to suspect the worker. */
bool sbx_router_was_patient(const sbx_router *router, const sbx_request *request);

/* ---- probes without traffic (router_probe.c) ------------------------------------------------------------
 */

/* When on_quiet is due; NEVER. */
sbx_time_ns sbx_router_quiet_at(const sbx_router *router, const sbx_worker *worker);
void sbx_router_on_quiet(sbx_router *router, sbx_worker *worker);
void sbx_router_on_probe_ended(sbx_router *router, sbx_probe_ref probe, sbx_outcome outcome,
                               sbx_time_ns retry_after_ns);

/* Stops the probe that is out, if one is; this is how it ended. */
void sbx_router_cancel_probe(sbx_router *router, sbx_worker *worker, sbx_outcome outcome);

/* ---- workers (router_worker.c) ------------------------------------------------------------------------ */

void sbx_router_on_seen(sbx_router *router, const sbx_worker_seen *seen);
void sbx_router_on_gone(sbx_router *router, sbx_worker_ref ref);
void sbx_router_on_health(sbx_router *router, sbx_worker_ref ref, bool good, bool changes_nothing_yet);
void sbx_router_on_admin(sbx_router *router, sbx_worker_ref ref, sbx_worker_command command);
void sbx_router_on_bus_down(sbx_router *router);
void sbx_router_on_worker_timer(sbx_router *router, sbx_worker *worker);
void sbx_router_do_pending(sbx_router *router);

/* Nobody answers for this worker: offline until it is seen again, its attempts lost if that takes long. */
void sbx_router_worker_silent(sbx_router *router, sbx_worker *worker);

/* Notes what a report did to the breaker, and what follows from it. */
void sbx_router_breaker_changed(sbx_router *router, sbx_request *request, sbx_worker *worker,
                                sbx_breaker_change change);
void sbx_router_arm_worker(sbx_router *router, sbx_worker *worker);

#endif
