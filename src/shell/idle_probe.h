/* Probes for half_open nats workers that no request comes to: a backend has its health checks, a worker on
 * the bus gets a run of one token after 5 s without an attempt, then one per second until its breaker is
 * closed. A good one is reported like a good health check; a bad one changes nothing.
 *
 * Threads: the loop's. One probe is out at a time. */
#ifndef SBX_SHELL_IDLE_PROBE_H
#define SBX_SHELL_IDLE_PROBE_H

#include "base/err.h"
#include "shell/shell.h"

typedef struct sbx_idle_probe sbx_idle_probe;

/* Keeps shell. SBX_E_NOMEM. */
sbx_err sbx_idle_probe_new(sbx_shell *shell, sbx_idle_probe **ret_probe);

/* Cancels what is out; before the peers are freed. NULL is fine. */
void sbx_idle_probe_free(sbx_idle_probe *probe);

#endif
