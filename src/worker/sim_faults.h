/* Faults of the simulated engine: which there are (sim_faults.def), which are ordered at the moment, and
 * which of them hits the next request. Pure: chance comes from the caller's generator. */
#ifndef SBX_WORKER_SIM_FAULTS_H
#define SBX_WORKER_SIM_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/view.h"

typedef enum sbx_sim_fault {
#define SBX_SIM_FAULT(symbol, name, effect, moment, status, retry_after, body, text) SBX_SIM_FAULT_##symbol,
#include "worker/sim_faults.def"
#undef SBX_SIM_FAULT
    SBX_SIM_FAULT_COUNT
} sbx_sim_fault;

typedef enum sbx_sim_effect {
    SBX_SIM_ANSWER,      /* another answer instead */
    SBX_SIM_HANG,        /* nothing more, until the peer leaves */
    SBX_SIM_RESET,       /* TCP reset */
    SBX_SIM_CUT,         /* clean close without an end */
    SBX_SIM_GARBAGE,     /* bytes that break the framing, then close */
    SBX_SIM_CRASH,       /* the process dies */
    SBX_SIM_ERROR_EVENT, /* an error event, then the end */
    SBX_SIM_NO_DONE,     /* from here on: the shape of the stream changes */
    SBX_SIM_NO_FINISH,
    SBX_SIM_ROLE_ONLY,
    SBX_SIM_COMMENTS,
    SBX_SIM_SLOW
} sbx_sim_effect;

typedef struct sbx_sim_fault_row {
    const char *name;
    sbx_sim_effect effect;
    bool before_head; /* when the order does not say otherwise */
    unsigned status;
    int retry_after_s; /* -1: no such header */
    sbx_view body;
    const char *text;
} sbx_sim_fault_row;

const sbx_sim_fault_row *sbx_sim_fault_row_of(sbx_sim_fault fault);
/* SBX_E_NOT_FOUND */
sbx_err sbx_sim_fault_by_name(sbx_view name, sbx_sim_fault *ret_fault);

enum {
    SBX_SIM_ORDERS_MAX = 32,
    SBX_SIM_PATH_MAX = 64
};

/* One order: this fault, from now on, for so many requests. */
typedef struct sbx_sim_order {
    sbx_sim_fault fault;
    int64_t after_bytes;  /* of the answer's body; -1: not said */
    int64_t after_tokens; /* of content; -1: not said */
    int64_t count;        /* requests it still hits; -1: until cleared */
    int64_t skip;         /* requests it lets pass first */
    uint32_t probability_pct;
    uint32_t delay_ms;           /* waited before the request is begun at all */
    uint32_t factor;             /* of slow */
    char path[SBX_SIM_PATH_MAX]; /* only requests of this path; "": every inference request */
} sbx_sim_order;

/* The defaults of an order for this fault: always, until cleared, at the fault's own moment. */
sbx_sim_order sbx_sim_order_of(sbx_sim_fault fault);

typedef struct sbx_sim_faults {
    sbx_sim_order orders[SBX_SIM_ORDERS_MAX];
    size_t count;
} sbx_sim_faults;

void sbx_sim_faults_clear(sbx_sim_faults *faults);
/* SBX_E_CAP */
sbx_err sbx_sim_faults_add(sbx_sim_faults *faults, const sbx_sim_order *order);

/* Which fault hits the request that just came in: the oldest order that concerns it, has requests left and
 * wins its draw. Uses up one of its count; an order with none left is gone. Returns false when the request is
 * spared. */
bool sbx_sim_faults_draw(sbx_sim_faults *faults, sbx_view path, bool is_inference, sbx_rng *rng,
                         sbx_sim_order *ret_order);

/* Appends [{"fault":...}] for GET /sim/faults; the buffer remembers a failure. */
void sbx_sim_faults_write(const sbx_sim_faults *faults, sbx_buf *out);

#endif
