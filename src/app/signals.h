/* SIGINT and SIGTERM on the loop. */
#ifndef SBX_APP_SIGNALS_H
#define SBX_APP_SIGNALS_H

#include "net/loop.h"

/* fn is called for each; count = how many came so far, this one included. Call once per process. */
typedef void sbx_signal_fn(void *user, unsigned count);
sbx_err sbx_signals_start(sbx_loop *loop, sbx_signal_fn *fn, void *user);

/* SIGHUP: fn is called for each, with the same count of its own. After sbx_signals_start. */
sbx_err sbx_signals_on_hangup(sbx_loop *loop, sbx_signal_fn *fn, void *user);
void sbx_signals_stop(void);

#endif
