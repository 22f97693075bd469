/* Kind nats: what is missing is asked for again, and given up after a while.
 *
 * Two reasons. A gap in the numbers: frames were lost, ask from the first missing one. A bus restart: nothing
 * is known to be missing, but everything under way may be; ask too (or send the run again, when it was never
 * acknowledged) until a frame comes. */
#include "transport/nats_priv.h"

/* Credit may have been lost with the restart: it is told again. */
static void ask(nats_call *call)
{
    char text[SBX_BUS_CONTROL_TEXT];
    if (!call->is_accepted) {
        sbx_nats_call_send_run(call);
        return;
    }
    sbx_bus_credit credit = {.seq = call->wanted, .bytes = call->granted};
    if (call->gap.after_restart)
        sbx_nats_call_tell(call, "credit", sbx_bus_credit_write(&credit, text));
    sbx_nats_call_tell(call, "replay", sbx_bus_replay_write(call->wanted, text));
}

static void ask_and_wait(nats_call *call)
{
    ask(call);
    sbx_timer_start(&call->gap.timer, sbx_loop_now(call->peer->link->loop) + SBX_MS(NATS_RETRY_MS));
}

static void on_timer(sbx_timer *timer, void *user)
{
    (void)timer;
    nats_call *call = user;
    sbx_time_ns now = sbx_loop_now(call->peer->link->loop);
    if (now - call->gap.since < SBX_MS(NATS_GIVE_UP_MS)) {
        ask_and_wait(call);
        return;
    }
    sbx_nats_call_tell(call, "cancel", (sbx_view){0});
    sbx_nats_call_fail(call, SBX_OUTCOME_RESET, /* retry_after_ns= */ -1, "frames were lost on the bus");
}

void sbx_nats_recover_init(nats_call *call)
{
    sbx_timer_init(&call->gap.timer, call->peer->link->loop, on_timer, call);
}

void sbx_nats_recover_open(nats_call *call, bool after_restart)
{
    call->gap.after_restart = call->gap.after_restart || after_restart;
    if (call->gap.is_open && !after_restart)
        return;
    call->gap.is_open = true;
    call->gap.since = sbx_loop_now(call->peer->link->loop);
    ask_and_wait(call);
}

void sbx_nats_recover_close(nats_call *call)
{
    call->gap.is_open = false;
    call->gap.after_restart = false;
    sbx_timer_stop(&call->gap.timer);
}

void sbx_nats_recover_pause(nats_call *call)
{
    sbx_timer_stop(&call->gap.timer);
}
