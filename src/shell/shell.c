/* The pump: one event in, its actions carried out, then the events these raised. Nothing else in the program
 * calls sbx_router_step. */
#include "shell/shell.h"

#include <assert.h>
#include <stdlib.h>

#include "shell/backend.h"
#include "shell/probe.h"

/* ---- actions ---- */

static void check_health(sbx_shell *shell, const sbx_peer *peer)
{
    sbx_backend *backend = sbx_backend_of(shell, peer);
    if (backend != NULL)
        sbx_backend_check_soon(backend);
}

static void carry_out(sbx_shell *shell, const sbx_action *action)
{
    sbx_job *job = action->owner;
    switch (action->kind) {
    case SBX_ACTION_ADMITTED:
        sbx_job_on_admitted(job, action->request);
        return;
    case SBX_ACTION_START:
        sbx_attempt_on_start(job, action);
        return;
    case SBX_ACTION_CANCEL:
        sbx_attempt_on_cancel(job, action);
        return;
    case SBX_ACTION_COMMIT:
        sbx_attempt_on_commit(job, action);
        return;
    case SBX_ACTION_FORWARD:
        sbx_attempt_on_forward(job);
        return;
    case SBX_ACTION_HOLD:
        sbx_attempt_on_hold(job);
        return;
    case SBX_ACTION_DROP:
        return;
    case SBX_ACTION_SUCCEED:
    case SBX_ACTION_PASS:
    case SBX_ACTION_FAIL:
        sbx_job_on_end(job, action);
        return;
    case SBX_ACTION_NOTE:
        sbx_shell_note(shell, action);
        return;
    case SBX_ACTION_CHECK_HEALTH:
        check_health(shell, action->probe.peer);
        return;
    case SBX_ACTION_PROBE:
        sbx_probe_on_start(shell, action);
        return;
    case SBX_ACTION_PROBE_CANCEL:
        sbx_probe_on_cancel(shell, action);
        return;
    }
    assert(false); /* an action of unknown kind */
}

/* ---- events ---- */

static void step_once(sbx_shell *shell, const sbx_event *event)
{
    sbx_actions actions = sbx_router_step(shell->router, sbx_loop_now(shell->loop), event);
    for (uint32_t i = 0; i < actions.count; i++)
        carry_out(shell, &actions.items[i]);
}

static void keep_for_later(sbx_shell *shell, const sbx_event *event)
{
    assert(shell->waiting_count < shell->waiting_size);
    uint32_t place = (shell->waiting_first + shell->waiting_count) % shell->waiting_size;
    shell->waiting[place] = *event;
    shell->waiting_count++;
}

static bool take_waiting(sbx_shell *shell, sbx_event *ret_event)
{
    if (shell->waiting_count == 0) {
        shell->waiting_first = 0; /* the ring's far end is not touched as long as it need not be */
        return false;
    }
    *ret_event = shell->waiting[shell->waiting_first];
    shell->waiting_first = (shell->waiting_first + 1) % shell->waiting_size;
    shell->waiting_count--;
    return true;
}

static void rearm(sbx_shell *shell)
{
    sbx_time_ns deadline = sbx_router_next_deadline(shell->router);
    if (deadline == SBX_TIME_NEVER)
        sbx_timer_stop(&shell->tick);
    else
        sbx_timer_start(&shell->tick, deadline);
}

void sbx_shell_step(sbx_shell *shell, const sbx_event *event)
{
    if (shell->is_stepping) {
        keep_for_later(shell, event);
        return;
    }
    shell->is_stepping = true;
    step_once(shell, event);
    sbx_event next;
    while (take_waiting(shell, &next))
        step_once(shell, &next);
    shell->is_stepping = false;
    rearm(shell);
}

void sbx_shell_report(sbx_shell *shell, const sbx_event *event)
{
    sbx_shell_step(shell, event);
}

static void on_tick(sbx_timer *timer, void *user)
{
    (void)timer;
    sbx_shell_step(user, &(sbx_event){.kind = SBX_EVENT_TICK});
}

/* ---- life ---- */

enum {
    EVENTS_PER_JOB = 4, /* an attempt's end, pause, resume, gone: at most one of each waits */
    EVENTS_BESIDE = 64
};

static sbx_err make_ring(sbx_shell *shell)
{
    shell->waiting_size = shell->options.policy.max_requests * EVENTS_PER_JOB + EVENTS_BESIDE;
    shell->waiting = calloc(shell->waiting_size, sizeof *shell->waiting);
    return shell->waiting == NULL ? SBX_E_NOMEM : SBX_OK;
}

sbx_err sbx_shell_new(sbx_loop *loop, const sbx_shell_options *options, sbx_shell **ret_shell)
{
    sbx_shell *shell = calloc(1, sizeof *shell);
    if (shell == NULL)
        return SBX_E_NOMEM;
    shell->loop = loop;
    shell->options = *options;
    sbx_rng_seed(&shell->rng, options->seed);
    shell->hash_key = (sbx_siphash_key){.k0 = sbx_rng_next(&shell->rng), .k1 = sbx_rng_next(&shell->rng)};
    sbx_list_init(&shell->jobs);
    sbx_list_init(&shell->backends);
    sbx_list_init(&shell->retired);
    sbx_timer_init(&shell->retire_timer, loop, sbx_backend_on_retire_timer, shell);
    sbx_list_init(&shell->probes);
    sbx_buf_init(&shell->scratch, 1 << 20);
    sbx_buf_init(&shell->message, 1 << 16);
    sbx_timer_init(&shell->tick, loop, on_tick, shell);
    sbx_err err = sbx_metrics_init(
        &shell->metrics, (sbx_siphash_key){.k0 = sbx_rng_next(&shell->rng), .k1 = sbx_rng_next(&shell->rng)});
    if (err == SBX_OK)
        err = sbx_workers_init(shell);
    if (err == SBX_OK)
        err = make_ring(shell);
    if (err == SBX_OK)
        err = sbx_router_new(&options->policy, options->seed, &shell->router);
    if (err != SBX_OK) {
        sbx_shell_free(shell);
        return err;
    }
    *ret_shell = shell;
    return SBX_OK;
}

void sbx_shell_free(sbx_shell *shell)
{
    if (shell == NULL)
        return;
    assert(shell->job_count == 0);
    sbx_timer_stop(&shell->tick);
    sbx_timer_stop(&shell->retire_timer);
    sbx_workers_deinit(shell);
    sbx_router_free(shell->router);
    sbx_metrics_deinit(&shell->metrics);
    sbx_buf_deinit(&shell->scratch);
    sbx_buf_deinit(&shell->message);
    free(shell->waiting);
    free(shell);
}

sbx_router *sbx_shell_router(sbx_shell *shell)
{
    return shell->router;
}

sbx_time_ns sbx_shell_now(const sbx_shell *shell)
{
    return sbx_loop_now(shell->loop);
}

uint32_t sbx_shell_job_count(const sbx_shell *shell)
{
    return shell->job_count;
}

bool sbx_shell_bus_is_up(const sbx_shell *shell)
{
    return shell->bus_is_up;
}

const sbx_metrics *sbx_shell_metrics(const sbx_shell *shell)
{
    return &shell->metrics;
}
