/* A rig around the router: a fake clock, short ways to raise events, and what the last step answered.
 * Workers are named by short texts; one model "m" unless said otherwise. */
#ifndef TEST_UNIT_CORE_SUPPORT_RIG_H
#define TEST_UNIT_CORE_SUPPORT_RIG_H

#include "core/router.h"

typedef struct rig {
    sbx_router *router;
    sbx_time_ns now;
    sbx_actions last; /* of the last step */
} rig;

/* A policy without chance: no jitter worth mentioning is asked for, round_robin, no queue, small tables. */
sbx_policy rig_policy(void);
void rig_open(rig *r, const sbx_policy *policy);
void rig_close(rig *r);

/* ---- time */
void rig_tick(rig *r, sbx_time_ns after); /* moves on and ticks once */
void rig_run(rig *r, sbx_time_ns after);  /* moves on from deadline to deadline, as a loop would; r->last is
                                             what the last of those steps said */
void rig_until_start(rig *r, sbx_time_ns at_most); /* ticks by 1 ms until a step says START */

/* ---- workers */
sbx_worker_ref rig_worker(rig *r, const char *id, uint32_t capacity);                    /* http, model "m" */
sbx_worker_ref rig_nats(rig *r, const char *id, const char *boot_id, uint32_t capacity); /* model "m" */
sbx_worker_ref rig_worker_of(rig *r, const char *id, const char *model, uint32_t capacity);
void rig_gone(rig *r, sbx_worker_ref worker);
void rig_health(rig *r, sbx_worker_ref worker, bool good);
void rig_admin(rig *r, sbx_worker_ref worker, sbx_worker_command command);
sbx_worker_info rig_info(const rig *r, sbx_worker_ref worker);
const char *rig_name(const rig *r, sbx_worker_ref worker); /* static text, "-" for none */

/* ---- requests: what is at a worker is an attempt */
sbx_attempt_ref rig_buffered(rig *r);
sbx_attempt_ref rig_streaming(rig *r);
sbx_attempt_ref rig_request(rig *r, sbx_event_request_new what); /* generation 0: refused */
void rig_leave(rig *r, sbx_attempt_ref attempt);                 /* its client goes away */

void rig_accepted(rig *r, sbx_attempt_ref attempt);
void rig_progress(rig *r, sbx_attempt_ref attempt);
void rig_chunk(rig *r, sbx_attempt_ref attempt, uint32_t flags);
void rig_content(rig *r, sbx_attempt_ref attempt);
void rig_paused(rig *r, sbx_attempt_ref attempt, bool is_paused);
void rig_ended(rig *r, sbx_attempt_ref attempt, sbx_outcome outcome);
void rig_busy(rig *r, sbx_attempt_ref attempt, sbx_time_ns retry_after);

/* ---- what the last step said */
size_t rig_count(const rig *r, sbx_action_kind kind);
const sbx_action *rig_find(const rig *r, sbx_action_kind kind); /* the first; fails the test when none */
bool rig_noted(const rig *r, sbx_note note);
sbx_attempt_ref rig_started(const rig *r); /* of the last START; fails the test when none */
const char *rig_started_at(const rig *r);  /* the worker's name */
const sbx_action *rig_end(const rig *r);   /* SUCCEED, PASS or FAIL; fails the test when none */

/* Opens the breaker of a worker that is the only candidate or is picked next, by failing it. */
void rig_trip(rig *r, sbx_worker_ref worker);

#endif
