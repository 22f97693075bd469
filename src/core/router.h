/* The router: the one place where events meet decisions. Sans-I/O.
 *
 * The shell turns what happens outside (a request came, a worker answered, a heartbeat arrived, time
 * passed) into events and carries out the actions it gets back, in order. The router never sees payload
 * bytes, a clock, a socket or a log: `now` is a parameter, a FORWARD action tells the shell to pass on the
 * very bytes of the event it just reported. The same code runs on virtual time in the simulator.
 *
 * Threads: none; one router belongs to one loop. Memory: all tables are allocated in sbx_router_new. */
#ifndef SBX_CORE_ROUTER_H
#define SBX_CORE_ROUTER_H

#include "base/api_error.h"
#include "base/err.h"
#include "base/outcome.h"
#include "base/time.h"
#include "base/view.h"
#include "core/notes.h"
#include "core/policy.h"
#include "core/registry.h"
#include "core/types.h"

typedef struct sbx_router sbx_router;

/* ---- events ---------------------------------------------------------------------------------------- */

typedef enum sbx_event_kind {
    SBX_EVENT_TICK,             /* time passed; nothing else happened */
    SBX_EVENT_REQUEST_NEW,      /* .request_new */
    SBX_EVENT_REQUEST_GONE,     /* .request_gone: the client left or stalled; the request ends cancelled */
    SBX_EVENT_ATTEMPT_ACCEPTED, /* .attempt: connected and sent (http), ACK (nats) */
    SBX_EVENT_ATTEMPT_PROGRESS, /* .attempt: the worker says it is at work on this attempt */
    SBX_EVENT_ATTEMPT_CHUNK,    /* .chunk: one event of a stream came */
    SBX_EVENT_ATTEMPT_PAUSED,   /* .attempt: our client reads slowly, upstream is paused; no idle limit now */
    SBX_EVENT_ATTEMPT_RESUMED,  /* .attempt */
    SBX_EVENT_ATTEMPT_ENDED,    /* .ended: exactly once per START unless the router cancelled it */
    SBX_EVENT_WORKER_SEEN,      /* .seen: configuration, registration or heartbeat; adds or refreshes */
    SBX_EVENT_WORKER_GONE,      /* .worker: deregistered, no responder to a ping, removed by reload */
    SBX_EVENT_WORKER_HEALTH,    /* .health: an http worker's health check ended */
    SBX_EVENT_WORKER_ADMIN,     /* .admin */
    SBX_EVENT_PROBE_ENDED,      /* .probe_ended: exactly once per PROBE unless the router cancelled it */
    SBX_EVENT_BUS_DOWN,         /* every nats worker is offline until its next heartbeat; what runs goes on
                                   for offline_ns, since workers replay when the bus is soon back */
    SBX_EVENT_DRAIN             /* no new request is admitted from now on */
} sbx_event_kind;

/* Bits of sbx_event.chunk.flags; codec/openai_response.h finds them. */
enum {
    SBX_CHUNK_CONTENT = 1, /* content, tool call, reasoning or finish reason: commits and resets idle */
    SBX_CHUNK_FINISH = 2,  /* carries a finish_reason */
    SBX_CHUNK_DONE = 4,    /* is [DONE] */
    SBX_CHUNK_SILENT = 8   /* comment, role-only, usage-only: resets no timer and commits nothing */
};

typedef enum sbx_worker_command {
    SBX_COMMAND_RESET,   /* breaker closed, hard-down and cool-down lifted */
    SBX_COMMAND_ISOLATE, /* held open until reset */
    SBX_COMMAND_DRAIN,
    SBX_COMMAND_UNDRAIN
} sbx_worker_command;

typedef struct sbx_event_request_new {
    void *owner;            /* the shell's; handed back in every action of this request, never followed */
    sbx_view model;         /* borrowed for the step: id, alias, role or "auto", as the client wrote it */
    sbx_helper_role helper; /* whose endpoints may be asked; NONE: no helper serves this kind of request */
    bool streaming;
    uint64_t body_bytes;    /* scales the ACK limit */
    uint64_t body_hash;     /* poison guard */
    uint64_t key_hash;      /* whose request; fairness and session scope */
    uint64_t session_hash;  /* 0 = none */
    sbx_time_ns timeout_ns; /* what the client allows at most; SBX_TIME_NEVER = requestDeadlineMs */
} sbx_event_request_new;

typedef struct sbx_event_ended {
    sbx_attempt_ref attempt;
    sbx_outcome outcome;
    uint32_t http_status;       /* 0 when none came */
    sbx_time_ns retry_after_ns; /* -1 when the worker named none */
    uint64_t completion_tokens; /* 0 when unknown */
    bool is_too_long;           /* a CLIENT_ERROR: the prompt does not fit the model's context */
    uint64_t context;           /* which has so many tokens; 0 when it did not say */
} sbx_event_ended;

typedef struct sbx_event {
    sbx_event_kind kind;
    union {
        sbx_event_request_new request_new;
        sbx_request_ref request_gone;
        sbx_attempt_ref attempt;
        struct {
            sbx_attempt_ref attempt;
            uint32_t flags;
        } chunk;
        sbx_event_ended ended;
        sbx_worker_seen seen; /* core/registry.h */
        sbx_worker_ref worker;
        struct {
            sbx_worker_ref worker;
            bool good;
            bool changes_nothing_yet; /* one such check is not enough to demote it or to trust it again */
        } health;
        struct {
            sbx_worker_ref worker;
            sbx_worker_command command;
        } admin;
        struct {
            sbx_probe_ref probe;
            sbx_outcome outcome;
            sbx_time_ns retry_after_ns; /* -1 when the worker named none */
        } probe_ended;
    };
} sbx_event;

/* ---- actions --------------------------------------------------------------------------------------- */

typedef enum sbx_action_kind {
    SBX_ACTION_ADMITTED, /* .request: this is the handle of the request just reported */
    SBX_ACTION_START,    /* .start: send the request to this worker */
    SBX_ACTION_CANCEL,   /* .cancel: stop this attempt now; nothing it still says matters */
    SBX_ACTION_COMMIT,   /* .commit: this attempt's answer is the one: send the head and everything held */
    SBX_ACTION_FORWARD,  /* pass on the chunk just reported */
    SBX_ACTION_HOLD,     /* keep the chunk just reported */
    SBX_ACTION_DROP,     /* forget the event just reported: its attempt is stale */
    SBX_ACTION_SUCCEED,  /* .end: the request ended ok; send or finish its answer */
    SBX_ACTION_PASS,     /* .end: the request ended client_error: send the worker's 4xx answer unchanged */
    SBX_ACTION_FAIL,     /* .end: the request ended otherwise: send .end.error (in-band when committed) */
    SBX_ACTION_NOTE,     /* .note: something to log and count; changes nothing */
    /* No request comes to a half_open worker: it is to be asked. */
    SBX_ACTION_CHECK_HEALTH, /* .probe: of an http worker, now; reported as any check */
    SBX_ACTION_PROBE,        /* .probe: a buffered run of one token at a nats worker */
    SBX_ACTION_PROBE_CANCEL  /* .probe: stop it; nothing it still says matters */
} sbx_action_kind;

/* What `metadata` and error `context` tell a client (DESIGN 7). */
typedef struct sbx_request_meta {
    sbx_time_ns started_at;
    uint32_t attempts; /* retryCount is attempts - 1, never below 0 */
    uint32_t breaker_trips;
    uint32_t timeouts;
    sbx_time_ns queue_wait_ns; /* for room, in all */
    uint32_t failed_count;
    sbx_worker_ref failed[SBX_MAX_ATTEMPTS]; /* in order */
    sbx_worker_ref selected;                 /* generation 0: none */
} sbx_request_meta;

enum {
    SBX_CANDIDATES_LOOKED_AT = 64
};

typedef struct sbx_action {
    sbx_action_kind kind;
    sbx_request_ref request; /* generation 0 on notes about workers, and on FAIL of a refused request */
    void *owner;             /* the request's; NULL where request is none */
    union {
        struct {
            sbx_attempt_ref attempt;
            sbx_worker_ref worker;
            void *peer;                /* the worker's sbx_worker_seen.peer */
            sbx_view model;            /* the id to ask the worker for; borrowed until the next step */
            bool is_fallback;          /* a worker of the cluster in place of the helper endpoints */
            sbx_time_ns budget_ns;     /* what is left for this attempt; travels with it */
            sbx_time_ns queue_wait_ns; /* how long it waited for room just now; 0: not at all */
        } start;
        struct {
            sbx_attempt_ref attempt;
            sbx_outcome outcome; /* why: a limit, the client left, the worker died */
        } cancel;
        struct {
            sbx_request_meta meta; /* as far as it is known now */
        } commit;
        struct {
            sbx_request_end end;
            sbx_api_error error;        /* FAIL only */
            uint32_t http_status;       /* FAIL only: differs from the error's own in a few rows */
            sbx_outcome last_outcome;   /* of the last attempt; SBX_OUTCOME_OK when there was none */
            sbx_api_error last_error;   /* `lastError`: what the last attempt alone would have given */
            sbx_time_ns retry_after_ns; /* -1: none */
            int should_retry;           /* x-should-retry: -1 no header, 0 false, 1 true */
            bool committed;
            sbx_helper_role helper; /* it was for helper endpoints; NONE: not */
            bool has_fallback;      /* of these: a worker of the cluster serves the model too */
            sbx_request_meta meta;
        } end;
        struct {
            sbx_probe_ref probe;
            void *peer;
            sbx_view model; /* PROBE only, as is budget_ns; borrowed until the next step */
            sbx_time_ns budget_ns;
        } probe;
        struct {
            sbx_note note; /* core/notes.def */
            sbx_worker_ref worker;
            uint32_t attempt_number;
            sbx_outcome outcome;
            sbx_time_ns delay_ns; /* retry delay, open time, wait; by note */
            /* Candidates: all that serve the model; those that may be picked; why the others may not. Of more
             * than SBX_CANDIDATES_LOOKED_AT candidates that many are looked at. */
            uint32_t total;
            uint32_t eligible;
            uint32_t filtered[SBX_FILTER_COUNT];
        } note;
    };
} sbx_action;

typedef struct sbx_actions {
    uint32_t count;
    const sbx_action *items; /* valid until the next step */
} sbx_actions;

/* ---- calls ----------------------------------------------------------------------------------------- */

/* Allocates all tables. policy is copied; seed feeds jitter and draws. Returns SBX_OK or SBX_E_NOMEM. */
sbx_err sbx_router_new(const sbx_policy *policy, uint64_t seed, sbx_router **ret_router);
void sbx_router_free(sbx_router *router);

/* Swaps knobs, models, roles and aliases between two steps; running attempts keep their limits. */
sbx_err sbx_router_set_policy(sbx_router *router, const sbx_policy *policy);

const sbx_policy *sbx_router_policy(const sbx_router *router);

/* The model that a name would be given now under this policy: the first of its list that an online worker
 * serves. false: nobody serves any. */
bool sbx_router_resolve(sbx_router *router, const sbx_policy *policy, sbx_view name, sbx_view *ret_model);

/* Reports one event. Work that is due at `now` (limits, retries) is done first. `now` never runs backwards.
 * A step returns at most SBX_MAX_ACTIONS actions; when more is due, sbx_router_next_deadline answers `now`
 * at once and a TICK brings the rest. */
sbx_actions sbx_router_step(sbx_router *router, sbx_time_ns now, const sbx_event *event);

/* When the next TICK is due at the latest; SBX_TIME_NEVER when nothing waits. */
sbx_time_ns sbx_router_next_deadline(const sbx_router *router);

/* The registry, to read: workers, models, breakers, in flight counts. */
const sbx_registry *sbx_router_registry(const sbx_router *router);

/* Totals since start and gauges; accepted = the sum of all ends + in_flight, always. */
typedef struct sbx_router_counts {
    uint64_t accepted;
    uint64_t ended[SBX_END_COUNT];
    uint64_t in_flight; /* admitted and not ended: running, queued or waiting for a retry */
    uint64_t attempts;
    uint64_t retries;
    uint64_t breaker_trips;
    uint64_t sessions;      /* gauge */
    uint64_t session_moves; /* each lost a KV cache */
    uint64_t queued;        /* gauge: requests that wait for room */
    uint64_t queue_joins;
    uint64_t queue_given_up; /* of these, told without having got room */
} sbx_router_counts;
sbx_router_counts sbx_router_counts_of(const sbx_router *router);

/* Who waits for room at this model's workers; all 0 when nobody does. A request that several models could
 * serve waits at each of them (core/queue.h). */
typedef struct sbx_queue_info {
    uint32_t length;
    uint64_t bytes;            /* of their bodies */
    sbx_time_ns next_waits_ns; /* how long the one whose turn it is has waited */
} sbx_queue_info;
sbx_queue_info sbx_router_queue_of(const sbx_router *router, sbx_view id);

#endif
