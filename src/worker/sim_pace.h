/* Steps a run of the simulated engine when it asks to: the timer and the task that both owners of runs need.
 * It lives in its owner's memory.
 *
 * Threads: the loop's. */
#ifndef SBX_WORKER_SIM_PACE_H
#define SBX_WORKER_SIM_PACE_H

#include "net/loop.h"
#include "worker/sim_engine.h"

typedef struct sbx_sim_pace {
    sbx_loop *loop;
    sbx_sim_run *run; /* set by the owner once it has one */
    sbx_timer timer;
    sbx_task task;
} sbx_sim_pace;

void sbx_sim_pace_init(sbx_sim_pace *pace, sbx_loop *loop);

/* For the sink's arm: the run is stepped at that time, or in this turn of the loop when it has come. */
void sbx_sim_pace_arm(sbx_sim_pace *pace, sbx_time_ns at);

/* No step comes after it. */
void sbx_sim_pace_stop(sbx_sim_pace *pace);

#endif
