/* See signals.h. */
#include "app/signals.h"

#include <signal.h>
#include <uv.h>

static struct {
    uv_signal_t handles[2];
    sbx_signal_fn *fn;
    void *user;
    unsigned count;
    bool is_started;
} state;

static struct {
    uv_signal_t handle;
    sbx_signal_fn *fn;
    void *user;
    unsigned count;
    bool is_started;
} hangup;

static void on_hangup(uv_signal_t *handle, int number)
{
    (void)handle;
    (void)number;
    hangup.count++;
    hangup.fn(hangup.user, hangup.count);
}

sbx_err sbx_signals_on_hangup(sbx_loop *loop, sbx_signal_fn *fn, void *user)
{
    hangup.fn = fn;
    hangup.user = user;
    if (uv_signal_init(sbx_loop_uv(loop), &hangup.handle) != 0)
        return SBX_E_IO;
    hangup.is_started = true;
    return uv_signal_start(&hangup.handle, on_hangup, SIGHUP) == 0 ? SBX_OK : SBX_E_IO;
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)handle;
    (void)number;
    state.count++;
    state.fn(state.user, state.count);
}

sbx_err sbx_signals_start(sbx_loop *loop, sbx_signal_fn *fn, void *user)
{
    static const int numbers[2] = {SIGINT, SIGTERM};
    state.fn = fn;
    state.user = user;
    state.is_started = true;
    for (size_t i = 0; i < 2; i++) {
        if (uv_signal_init(sbx_loop_uv(loop), &state.handles[i]) != 0 ||
            uv_signal_start(&state.handles[i], on_signal, numbers[i]) != 0)
            return SBX_E_IO;
    }
    return SBX_OK;
}

void sbx_signals_stop(void)
{
    for (size_t i = 0; state.is_started && i < 2; i++)
        uv_close((uv_handle_t *)&state.handles[i], NULL);
    state.is_started = false;
    if (hangup.is_started)
        uv_close((uv_handle_t *)&hangup.handle, NULL);
    hangup.is_started = false;
}
