/* What sim_engine.c (engine, places, queue) and sim_run.c (one run) share. */
#ifndef SBX_WORKER_SIM_ENGINE_PRIV_H
#define SBX_WORKER_SIM_ENGINE_PRIV_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/rng.h"
#include "worker/sim_answer.h"
#include "worker/sim_engine.h"
#include "worker/sim_text.h"

struct sbx_sim_engine {
    sbx_sim_options options;
    sbx_arena names; /* of the models in options */
    sbx_sim_faults faults;
    sbx_rng rng; /* draws faults */
    bool is_loading;
    uint32_t active_count; /* runs with a place */
    uint32_t waiting_count;
    uint64_t total;
    sbx_list waiting;
};

typedef enum sbx_sim_state {
    SBX_SIM_BEGIN,   /* nothing done yet */
    SBX_SIM_WAITING, /* for a place */
    SBX_SIM_OPENING, /* head and role of a stream */
    SBX_SIM_TOKENS,  /* one token at a time */
    SBX_SIM_WHOLE,   /* a buffered answer, when its time has come */
    SBX_SIM_NOISE,   /* role-only chunks or comments, for ever */
    SBX_SIM_HUNG,    /* nothing more */
    SBX_SIM_OVER,    /* the last call was made */
    SBX_SIM_STATE_COUNT
} sbx_sim_state;

/* How much text there will be: decided when the run gets its place. */
typedef struct sbx_sim_plan {
    sbx_sim_position from;
    uint32_t tokens;
    size_t last_bytes; /* of the last token, when a stop sequence cuts it; SIZE_MAX: all */
    const char *finish_reason;
} sbx_sim_plan;

struct sbx_sim_run {
    sbx_sim_engine *engine;
    const sbx_sim_sink *sink;
    void *user;
    sbx_sim_state state;
    sbx_time_ns due; /* SBX_TIME_NEVER: nothing to do */
    bool is_stepping, is_cancelled, is_paused, has_place;
    sbx_list_node node; /* in the engine's queue */

    sbx_arena arena;
    sbx_sim_request request;
    sbx_err refusal; /* SBX_OK, or why the request is no good */
    sbx_errinfo why;
    sbx_sim_meta meta;
    sbx_sim_plan plan;
    sbx_rng jitter;
    sbx_buf out;

    bool has_fault;
    sbx_sim_order order;
    bool is_headed;      /* the head went out */
    int64_t break_bytes; /* of the body, until the fault strikes; -1: not by bytes */
    int64_t break_tokens;
    uint64_t sent_bytes;
    uint32_t sent_tokens;
};

/* A place at once; false when there is none, or others wait already. */
bool sbx_sim_place_take(sbx_sim_run *run);
/* A seat in the queue; false when it is full. */
bool sbx_sim_place_wait(sbx_sim_run *run);
/* Gives back place or seat, if it has one. */
void sbx_sim_place_leave(sbx_sim_run *run);

/* The text ahead of a run: how many tokens, and why it ends. SBX_E_NOMEM. */
sbx_err sbx_sim_plan_make(const sbx_sim_options *options, const sbx_sim_request *request,
                          sbx_sim_plan *ret_plan);
/* Token number `made` of the plan, cut where the plan says. */
sbx_view sbx_sim_plan_token(const sbx_sim_plan *plan, uint32_t made);

#endif
