/* A world around the router for random events: what the shell would know is kept here as plainly as can be,
 * as a second opinion, and what the router says is held against it:
 *   I1 each admitted request ends exactly once, and nothing is said about it afterwards
 *   I2 no attempt starts at a worker that is offline, isolated, open or draining
 *   I3 a half_open worker never has more probes without content than its policy allows
 *   I4 attempts stay within 1 + maxRetries (+ free ones), and never at a tried worker
 *   I6 no START after COMMIT
 *   I7 in-flight counts equal the truth; all zero in the end
 *   I13 who waits for room: first come, first served within a key; never started when its wait is over; lines
 *       within their bounds; nobody waits for what a worker with room could do; nobody without hope
 *   conservation: accepted = all ends + in flight */
#ifndef TEST_UNIT_CORE_SUPPORT_WORLD_H
#define TEST_UNIT_CORE_SUPPORT_WORLD_H

#include "unit/core/support_rig.h"

enum {
    WORKERS = 6,
    REQUESTS = 64 /* live at once, at most */
};

typedef struct live {
    bool is_live;
    bool is_streaming, is_committed, has_attempt;
    sbx_request_ref ref;
    sbx_attempt_ref attempt;
    sbx_worker_ref worker;
    const char *model; /* what it asked for */
    uint64_t key;
    uint64_t order; /* of arrival */
    sbx_time_ns came_at;
    uint32_t starts, free_starts;
    uint32_t tried[SBX_MAX_ATTEMPTS];
    uint32_t tried_count;
    sbx_outcome last_outcome; /* reported by us for the last attempt */
} live;

typedef struct world {
    rig r;
    uint64_t seed;
    sbx_rng rng;
    sbx_policy policy;
    live requests[REQUESTS];
    live *newest; /* the owner of the request being raised */
    uint32_t boots[WORKERS];
    sbx_probe_ref probes[WORKERS]; /* number 0: none is out */
    uint32_t capacity;
    uint64_t arrivals;
    uint64_t accepted, ended;
    uint64_t sometimes[16]; /* that rare things did happen */
} world;

/* Fails the test with the seed and the time; whoever uses it includes cmocka.h. */
#define HOLDS(w, condition)                                                                                  \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            fail_msg("seed %llu at %lld: %s", (unsigned long long)(w)->seed, (long long)(w)->r.now,          \
                     #condition);                                                                            \
    } while (0)

uint64_t world_below(world *w, uint64_t bound);

/* The request's attempt ended so, by us or by the router. */
void world_attempt_over(live *request, sbx_outcome outcome);

/* Takes in and checks all that the last step said, then what must hold between steps. */
void world_take(world *w);

/* Who waits, and with what hope; only when nothing is due. */
void world_check_queue(world *w);

#endif
