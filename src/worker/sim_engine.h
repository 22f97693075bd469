/* The simulated engine: a request becomes a schedule of pieces of an answer. No I/O and no clock: `now` is a
 * parameter, and an owner that has a loop arms one timer per run as the run asks.
 *
 * The same object stands behind `signalbox engine simulated` (sim_server.h) and inside a worker (engine kind
 * simulated): a sink takes what comes out, and turns the deeds of a fault into what its side knows.
 *
 * Threads: one. */
#ifndef SBX_WORKER_SIM_ENGINE_H
#define SBX_WORKER_SIM_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/time.h"
#include "base/view.h"
#include "worker/sim_faults.h"

enum {
    SBX_SIM_MODELS_MAX = 64
};

typedef struct sbx_sim_options {
    const char *const *models; /* copied; none: "simulated" */
    size_t model_count;
    uint32_t ttft_ms;       /* to the first token */
    uint32_t tps;           /* tokens per second; 0: all at once */
    uint32_t jitter_pct;    /* of every wait, either way; at most 100 */
    uint32_t capacity;      /* requests at a time; 0: any number */
    uint32_t max_waiting;   /* requests that wait for a place; beyond it: busy */
    uint32_t max_wait_ms;   /* longest wait for a place, then: busy */
    uint32_t max_context;   /* tokens of prompt and answer together */
    uint32_t answer_tokens; /* length of a text that nothing limits; 0: 32 to 95, by the prompt */
    uint64_t seed;
} sbx_sim_options;

/* ttft 50 ms, 50 tokens/s, no jitter, 16 at a time, 16 waiting up to 1 s, context 131072, seed 0. */
sbx_sim_options sbx_sim_options_default(void);

typedef struct sbx_sim_head {
    unsigned status;
    const char *content_type;
    const char *content_encoding; /* NULL: none */
    const char *location;         /* NULL: none */
    int retry_after_s;            /* -1: none */
} sbx_sim_head;

/* Where a run goes. Exactly one of on_whole, on_end and on_break is the last call (none after a cancel); the
 * run is gone with it. A callback may cancel or pause its own run. Views are valid during the call. */
typedef struct sbx_sim_sink {
    /* A whole answer at once: head, body, end. */
    void (*on_whole)(void *user, const sbx_sim_head *head, sbx_view body);
    /* Or piece by piece. */
    void (*on_head)(void *user, const sbx_sim_head *head);
    void (*on_data)(void *user, sbx_view bytes);
    void (*on_end)(void *user);
    /* A fault breaks it off: RESET, CUT, GARBAGE or CRASH, before or after the head. */
    void (*on_break)(void *user, sbx_sim_effect effect);
    /* Call sbx_sim_run_step() at that time (0: now), but never from within this call. */
    void (*arm)(void *user, sbx_time_ns at);
} sbx_sim_sink;

typedef struct sbx_sim_engine sbx_sim_engine;
typedef struct sbx_sim_run sbx_sim_run;

/* SBX_E_NOMEM */
sbx_err sbx_sim_engine_new(const sbx_sim_options *options, sbx_sim_engine **ret_engine);
/* All runs must be over or cancelled. NULL is fine. */
void sbx_sim_engine_free(sbx_sim_engine *engine);

/* Takes effect at once for new requests, and for the pace of those at work. SBX_E_NOMEM: nothing changed. */
sbx_err sbx_sim_engine_configure(sbx_sim_engine *engine, const sbx_sim_options *options);
/* Borrowed until the next configure. */
const sbx_sim_options *sbx_sim_engine_options(const sbx_sim_engine *engine);
/* The orders may be changed at any time. */
sbx_sim_faults *sbx_sim_engine_faults(sbx_sim_engine *engine);
/* A loading engine answers every inference request with 503 "Loading model". */
void sbx_sim_engine_set_loading(sbx_sim_engine *engine, bool loading);
bool sbx_sim_engine_is_loading(const sbx_sim_engine *engine);
bool sbx_sim_engine_serves(const sbx_sim_engine *engine, sbx_view model);

typedef struct sbx_sim_load {
    uint32_t active;
    uint32_t waiting;
    uint64_t total; /* requests since the start */
} sbx_sim_load;
sbx_sim_load sbx_sim_engine_load(const sbx_sim_engine *engine);

/* Begins a request on an inference path. Nothing is called but `arm`. The body is borrowed until return; sink
 * and user are kept until the run is over. now: monotonic. SBX_E_NOMEM. */
sbx_err sbx_sim_engine_start(sbx_sim_engine *engine, sbx_view path, sbx_view body, const sbx_sim_sink *sink,
                             void *user, sbx_time_ns now, sbx_sim_run **ret_run);
void sbx_sim_run_step(sbx_sim_run *run, sbx_time_ns now);
/* Frees it and its place; no call follows. */
void sbx_sim_run_cancel(sbx_sim_run *run);

/* While paused a step does nothing; resume arms it again. */
void sbx_sim_run_pause(sbx_sim_run *run);
void sbx_sim_run_resume(sbx_sim_run *run);

/* What became of it so far, for the log. */
typedef struct sbx_sim_run_stats {
    uint64_t body_bytes;
    uint32_t tokens;
    const char *fault; /* NULL: none */
} sbx_sim_run_stats;
sbx_sim_run_stats sbx_sim_run_stats_of(const sbx_sim_run *run);

#endif
