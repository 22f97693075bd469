/* The pace of a simulated run. */
#include "worker/sim_pace.h"

static void on_due(void *user)
{
    sbx_sim_pace *pace = user;
    sbx_timer_stop(&pace->timer);
    sbx_sim_run_step(pace->run, sbx_loop_now(pace->loop));
}

static void on_timer(sbx_timer *timer, void *user)
{
    (void)timer;
    on_due(user);
}

void sbx_sim_pace_init(sbx_sim_pace *pace, sbx_loop *loop)
{
    *pace = (sbx_sim_pace){.loop = loop};
    pace->task = (sbx_task){.fn = on_due, .user = pace};
    sbx_timer_init(&pace->timer, loop, on_timer, pace);
}

void sbx_sim_pace_arm(sbx_sim_pace *pace, sbx_time_ns at)
{
    if (at > sbx_loop_now(pace->loop))
        sbx_timer_start(&pace->timer, at);
    else
        sbx_loop_defer(pace->loop, &pace->task);
}

void sbx_sim_pace_stop(sbx_sim_pace *pace)
{
    sbx_timer_stop(&pace->timer);
    sbx_loop_undefer(pace->loop, &pace->task);
}
