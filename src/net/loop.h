/* The event loop, the only clock, and timers on one wheel. Wraps libuv.
 *
 * Threads: everything here belongs to the loop's thread; others wake it through a uv_async_t of their own. */
#ifndef SBX_NET_LOOP_H
#define SBX_NET_LOOP_H

#include <stdbool.h>

#include "base/err.h"
#include "base/time.h"
#include "base/wheel.h"

struct uv_loop_s;
typedef struct sbx_loop sbx_loop;

/* Also makes the process ignore SIGPIPE. Returns SBX_OK, SBX_E_NOMEM. */
sbx_err sbx_loop_new(sbx_loop **ret_loop);
void sbx_loop_free(sbx_loop *loop); /* closes what is left and waits for it; NULL is fine */

/* Runs until sbx_loop_stop. */
void sbx_loop_run(sbx_loop *loop);
void sbx_loop_stop(sbx_loop *loop);

/* CLOCK_MONOTONIC, read once per loop turn (refreshed after a blocking wait and by timers). */
sbx_time_ns sbx_loop_now(const sbx_loop *loop);
struct uv_loop_s *sbx_loop_uv(sbx_loop *loop);

/* A timer lives in its owner's memory. fn may start it again, stop others, and free its owner. */
typedef struct sbx_timer sbx_timer;
typedef void sbx_timer_fn(sbx_timer *timer, void *user);
struct sbx_timer {
    sbx_wheel_entry entry;
    sbx_loop *loop;
    sbx_timer_fn *fn;
    void *user;
};
void sbx_timer_init(sbx_timer *timer, sbx_loop *loop, sbx_timer_fn *fn, void *user);
void sbx_timer_start(sbx_timer *timer, sbx_time_ns at); /* absolute; moves a running one */
void sbx_timer_stop(sbx_timer *timer);                  /* fine when not running */

/* Runs fn once, at the end of this loop turn, before the loop waits again; for work that must not nest in the
 * callback at hand. The task lives in its owner's memory; deferring a pending one again changes nothing. */
typedef struct sbx_task sbx_task;
typedef void sbx_task_fn(void *user);
struct sbx_task {
    sbx_task *next;
    sbx_task_fn *fn;
    void *user;
    bool pending;
    sbx_task **link; /* what points at it */
};
void sbx_loop_defer(sbx_loop *loop, sbx_task *task);
void sbx_loop_undefer(sbx_loop *loop, sbx_task *task);

#endif
