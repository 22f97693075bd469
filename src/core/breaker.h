/* One worker's circuit breaker (DESIGN 5).
 *
 * State is a function of (breaker, now): a tripped breaker whose time has passed IS half_open, for display,
 * health and admission alike. Asking changes nothing; only acquire, content, flowing, report, health, boot,
 * isolate, hard_down and reset do. Who sends a request holds a permit and reports it exactly once. A permit
 * carries the generation of the state it was given in, so that a straggler's result changes nothing.
 *
 * Integers only, no allocation, every call O(1). `now` never runs backwards. */
#ifndef SBX_CORE_BREAKER_H
#define SBX_CORE_BREAKER_H

#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"
#include "core/policy.h"

enum {
    SBX_BREAKER_BUCKETS = 10,     /* the rate window is a ring of this many */
    SBX_BREAKER_BOOTS = 3,        /* that many boots within SBX_BREAKER_BOOT_SPAN start it half_open */
    SBX_BREAKER_HEALTH_GOODS = 2, /* good checks that shorten a doubled wait */
    SBX_BREAKER_JITTER_PCT = 10
};
#define SBX_BREAKER_BOOT_SPAN SBX_SEC(60)
#define SBX_BREAKER_FLOW_TIME SBX_SEC(10)   /* content flowing this long counts as a probe's success */
#define SBX_BREAKER_HARD_DOWN SBX_SEC(1800) /* our key is wrong: retried after this long */

typedef enum sbx_breaker_state {
    SBX_BREAKER_CLOSED,
    SBX_BREAKER_HALF_OPEN,
    SBX_BREAKER_OPEN,
    SBX_BREAKER_ISOLATED
} sbx_breaker_state;

/* What is remembered; OPEN and HALF_OPEN are both TRIPPED, told apart by the time. */
typedef enum sbx_breaker_phase {
    SBX_BREAKER_PHASE_CLOSED,
    SBX_BREAKER_PHASE_TRIPPED,
    SBX_BREAKER_PHASE_ISOLATED
} sbx_breaker_phase;

/* How the end of an attempt counts; core/classify.def says which outcome means what. */
typedef enum sbx_breaker_effect {
    SBX_EFFECT_NONE,    /* gives the permit back */
    SBX_EFFECT_SUCCESS, /* a complete answer */
    SBX_EFFECT_ALIVE,   /* the worker answered, though not with success: a success in half_open only */
    SBX_EFFECT_FAILURE
} sbx_breaker_effect;

typedef enum sbx_breaker_change {
    SBX_BREAKER_UNCHANGED,
    SBX_BREAKER_OPENED,
    SBX_BREAKER_WAS_CLOSED /* it is closed now and was not before */
} sbx_breaker_change;

/* Leave for one attempt. Owned by the attempt; reported once. */
typedef struct sbx_breaker_permit {
    uint32_t generation;
    bool is_probe;   /* given in half_open */
    bool holds_slot; /* one of half_open_max_probes is taken by it */
    bool counted;    /* its success has counted already, after SBX_BREAKER_FLOW_TIME of flow */
} sbx_breaker_permit;

typedef struct sbx_breaker {
    const sbx_breaker_policy *policy; /* kept; may be swapped for another between two calls */
    sbx_breaker_phase phase;
    uint32_t generation;
    uint32_t consecutive_failures;
    uint32_t successes;  /* in this half_open */
    uint32_t probes_out; /* slots taken */
    uint32_t opens;      /* in a row, without a request's success closing it: the doubling */
    uint32_t health_goods;
    bool helped_by_request; /* at least one success of this half_open came from a request */
    bool on_probation;      /* closed by health alone: the first failure re-opens */
    bool is_hard_down;
    sbx_time_ns open_until;
    sbx_time_ns failed_at;   /* when it tripped */
    sbx_time_ns lease_until; /* of the latest probe slot */
    struct {
        uint32_t attempts;
        uint32_t failures;
    } buckets[SBX_BREAKER_BUCKETS], window; /* window: their sum */
    int64_t bucket;                         /* number of the newest bucket */
    sbx_time_ns boots[SBX_BREAKER_BOOTS];   /* a ring */
    uint32_t boot_count;
} sbx_breaker;

/* Starts closed. Keeps policy. */
void sbx_breaker_init(sbx_breaker *breaker, const sbx_breaker_policy *policy);

/* Pure questions. retry_in: until an open breaker is half_open; 0 when it is not open; SBX_TIME_NEVER when
 * isolated. admits: whether acquire would return SBX_OK now. */
sbx_breaker_state sbx_breaker_state_at(const sbx_breaker *breaker, sbx_time_ns now);
sbx_time_ns sbx_breaker_retry_in(const sbx_breaker *breaker, sbx_time_ns now);
bool sbx_breaker_admits(const sbx_breaker *breaker, sbx_time_ns now);

/* Takes a permit. lease_until: when the attempt is over at the latest; a probe slot that was never reported
 * is free again then. ret_permit is set only on SBX_OK; the caller then owes one report.
 * SBX_E_BREAKER: open, isolated, or all probe slots are taken. */
sbx_err sbx_breaker_acquire(sbx_breaker *breaker, sbx_time_ns now, sbx_time_ns lease_until,
                            sbx_breaker_permit *ret_permit);

/* The attempt's first content came: its probe slot is free for the next probe. */
void sbx_breaker_content(sbx_breaker *breaker, sbx_breaker_permit *permit);

/* Content has flowed for SBX_BREAKER_FLOW_TIME: a probe's success counts now instead of at its end. */
sbx_breaker_change sbx_breaker_flowing(sbx_breaker *breaker, sbx_breaker_permit *permit, sbx_time_ns now);

/* The attempt ended. rng draws the jitter of a re-open. A permit of an older generation changes nothing. */
sbx_breaker_change sbx_breaker_report(sbx_breaker *breaker, sbx_breaker_permit permit,
                                      sbx_breaker_effect effect, sbx_time_ns now, sbx_rng *rng);

/* A health check ended. A bad one never trips. */
sbx_breaker_change sbx_breaker_health(sbx_breaker *breaker, bool good, sbx_time_ns now);

/* A new boot id: a new worker, closed; half_open when it boots too often. Isolation stays. */
void sbx_breaker_boot(sbx_breaker *breaker, sbx_time_ns now);

/* Admin: held open until reset; closed with nothing remembered but its boots. */
void sbx_breaker_isolate(sbx_breaker *breaker);
void sbx_breaker_reset(sbx_breaker *breaker);

/* The worker refuses our key: open for SBX_BREAKER_HARD_DOWN, even with enabled = false. */
void sbx_breaker_hard_down(sbx_breaker *breaker, sbx_time_ns now);

#endif
