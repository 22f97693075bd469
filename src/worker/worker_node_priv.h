/* The worker node's inside. Reading order: worker_node.c (life, registration, heartbeat, drain),
 * worker_inbox.c (what comes from the bus), worker_attempt.c (one run from arrival to end), worker_send.c
 * (frames, credit, replay), worker_peers.c (controllers: who is alive), worker_plain.c (plain requests).
 * docs/bus.md is the protocol. */
#ifndef SBX_WORKER_WORKER_NODE_PRIV_H
#define SBX_WORKER_WORKER_NODE_PRIV_H

#include "base/arena.h"
#include "base/id.h"
#include "base/list.h"
#include "base/map.h"
#include "codec/bus_control.h"
#include "codec/bus_message.h"
#include "worker/engine.h"
#include "worker/event_cut.h"
#include "worker/outbox.h"
#include "worker/recent.h"
#include "worker/worker_node.h"

enum {
    SBX_NODE_SUBJECT_MAX = 256,
    SBX_NODE_PATH_MAX = 64,
    SBX_NODE_TRACE_MAX = 128,
    SBX_NODE_ENDED_MAX = 4096, /* attempts that are over and kept for their last frames */
    SBX_NODE_TICK_MS = 250
};
#define SBX_NODE_BODY_MAX (UINT64_C(256) << 20)
#define SBX_NODE_KEPT_MAX (UINT64_C(64) << 20) /* frames one attempt keeps, whatever credit it was given */

/* A controller that has attempts here. */
typedef struct sbx_node_controller {
    sbx_list_node node;
    char id[SBX_TOKEN_MAX + 1];
    uint32_t attempts;
    sbx_time_ns heard_at;
    sbx_time_ns missed_at; /* "no responders" the first time since then; NEVER: not missed */
} sbx_node_controller;

typedef enum sbx_attempt_state {
    SBX_ATTEMPT_BODY,    /* its body comes in chunks */
    SBX_ATTEMPT_READY,   /* the engine is asked at the end of this turn */
    SBX_ATTEMPT_RUNNING, /* the engine is at work */
    SBX_ATTEMPT_ENDED    /* END or ERROR is out; kept until acknowledged */
} sbx_attempt_state;

typedef struct sbx_attempt {
    sbx_worker_node *worker;
    sbx_list_node node;
    sbx_node_controller *controller;
    char subject[SBX_NODE_SUBJECT_MAX]; /* its name, and where its frames go */
    char path[SBX_NODE_PATH_MAX];
    char traceparent[SBX_NODE_TRACE_MAX];
    char request_id[SBX_ID_LEN + 1];
    bool streaming;
    sbx_attempt_state state;
    sbx_time_ns began_at, ended_at;
    sbx_time_ns last_frame_at;
    sbx_timer deadline, start_timer;
    sbx_task start_task;

    sbx_buf body;
    uint64_t body_bytes; /* announced */
    sbx_engine_call *call;

    sbx_outbox outbox;
    uint64_t credit;     /* DATA bytes allowed in all */
    uint64_t sent_bytes; /* DATA bytes sent */
    sbx_buf pending;     /* of the engine's answer, not yet in a frame */
    sbx_event_cut cut;   /* where the stream stands at the start of pending */
    bool is_event_stream;
    bool is_paused;
    bool has_whole_answer; /* the engine ended; END follows when pending is out */
    bool saw_progress;     /* the engine said something since the last frame */
} sbx_attempt;

typedef struct sbx_plain sbx_plain;

struct sbx_worker_node {
    sbx_loop *loop;
    sbx_bus *bus;
    sbx_engine *engine;
    char id[SBX_TOKEN_MAX + 1];
    sbx_id boot_id;
    char *bus_prefix; /* what the bus puts before subjects */
    uint32_t max_concurrent;
    sbx_bus_engine_kind engine_kind;
    sbx_bus_stream_usage stream_usage;
    bool can_resume;
    sbx_time_ns heartbeat_interval;

    sbx_bus_engine_state engine_state;
    bool has_own_models; /* configured: the engine is not asked which */
    sbx_arena model_names;
    const sbx_view *models;
    size_t model_count;
    uint32_t silent_probes; /* in a row */
    bool is_probing;

    sbx_map attempts_by_subject;
    sbx_list attempts;
    uint32_t running;     /* places taken, plain requests included */
    uint32_t ended_count; /* attempts in state ENDED */
    sbx_recent recent;
    sbx_list controllers;
    sbx_list plains;

    sbx_timer heartbeat, probe_timer, tick, leave_timer;
    sbx_time_ns ticked_at;
    sbx_time_ns up_at;             /* since when silence counts */
    sbx_time_ns hold_starts_until; /* after a standstill of ours: cancels behind old runs come first */

    bool is_draining, has_left;
    sbx_worker_node_stopped_fn *on_stopped;
    void *stopped_user;
    sbx_buf scratch; /* of a message being written */
};

/* worker_node.c */
void sbx_node_heartbeat_now(sbx_worker_node *node);
void sbx_node_note_engine(sbx_worker_node *node, sbx_bus_engine_state state);
/* A place became free, or an attempt was forgotten: a draining node may be done. */
void sbx_node_check_drained(sbx_worker_node *node);

/* worker_inbox.c. SBX_E_NOMEM */
sbx_err sbx_node_subscribe(sbx_worker_node *node);

/* worker_attempt.c */
typedef struct sbx_run_headers {
    char request_id[SBX_ID_LEN + 1];
    char path[SBX_NODE_PATH_MAX];
    char traceparent[SBX_NODE_TRACE_MAX];
    bool streaming;
    uint64_t deadline_ms;
    uint64_t expires_ms; /* 0: not told */
    uint64_t credit;
    uint64_t body_bytes; /* 0: the body is in the run */
} sbx_run_headers;

/* A run that is new to us. */
void sbx_attempt_begin(sbx_worker_node *node, const char *subject, sbx_node_controller *controller,
                       const sbx_run_headers *headers, sbx_view body);
sbx_attempt *sbx_attempt_find(sbx_worker_node *node, const char *subject);
void sbx_attempt_take_chunk(sbx_attempt *attempt, uint64_t offset, sbx_view bytes);
/* Aborts the engine and forgets the attempt; nothing more is sent. */
void sbx_attempt_cancel(sbx_attempt *attempt);
/* Ends it with an ERROR frame. */
void sbx_attempt_fail(sbx_attempt *attempt, sbx_outcome outcome, const char *text);
/* Ends it: state, place, engine call, timers. Its frames stay until acknowledged. */
void sbx_attempt_end(sbx_attempt *attempt);
void sbx_attempt_forget(sbx_attempt *attempt);
/* Every tick: pings, and forgetting what was never acknowledged. */
void sbx_attempt_tick(sbx_attempt *attempt, sbx_time_ns now);

/* worker_send.c */
/* Numbers, keeps and publishes a frame; fails the attempt when it cannot be kept. */
void sbx_attempt_send(sbx_attempt *attempt, sbx_frame_type type, uint8_t flags, sbx_view payload);
void sbx_attempt_send_head(sbx_attempt *attempt, const sbx_engine_head *head);
void sbx_attempt_send_error(sbx_attempt *attempt, sbx_outcome outcome, const char *text);
void sbx_attempt_ping(sbx_attempt *attempt);
/* Bytes of the engine's answer: into frames as far as events and credit go, the rest waits. */
void sbx_attempt_take_bytes(sbx_attempt *attempt, sbx_view bytes);
/* The engine's answer is complete. */
void sbx_attempt_finish(sbx_attempt *attempt);
void sbx_attempt_take_credit(sbx_attempt *attempt, const sbx_bus_credit *credit);
void sbx_attempt_replay(sbx_attempt *attempt, uint32_t from);
/* ERROR with UNKNOWN for an attempt we do not have. */
void sbx_node_send_unknown(sbx_worker_node *node, const char *subject);
/* An ERROR for a run that is refused without being kept. */
void sbx_node_send_refusal(sbx_worker_node *node, const char *subject, sbx_outcome outcome, const char *text);

/* worker_peers.c */
/* The controller of that id, new when need be; NULL when there is no memory. */
sbx_node_controller *sbx_node_controller_get(sbx_worker_node *node, sbx_view id);
/* NULL when it has no attempts here. */
sbx_node_controller *sbx_node_controller_find(sbx_worker_node *node, sbx_view id);
void sbx_node_controller_put(sbx_worker_node *node, sbx_node_controller *controller);
/* "No responders" to one of our pings. */
void sbx_node_controller_missed(sbx_worker_node *node, sbx_node_controller *controller);
void sbx_node_controllers_tick(sbx_worker_node *node, sbx_time_ns now);

/* worker_plain.c */
void sbx_plain_begin(sbx_worker_node *node, const sbx_bus_message *message);
void sbx_plain_cancel_all(sbx_worker_node *node);

#endif
