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
}
