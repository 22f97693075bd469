/* Probes of half_open workers that no request comes to; when, and what follows, the router says (PROBE and
 * CHECK_HEALTH). A backend's health check is brought forward; a worker on the bus gets a run of one token,
 * and its outcome is reported like an attempt's.
 *
 * Threads: the loop's. */
#ifndef SBX_SHELL_PROBE_H
#define SBX_SHELL_PROBE_H

#include "core/router.h"
#include "shell/shell.h"

void sbx_probe_on_start(sbx_shell *shell, const sbx_action *action);
void sbx_probe_on_cancel(sbx_shell *shell, const sbx_action *action);

/* Cancels what is out; before the peers are freed. */
void sbx_probes_deinit(sbx_shell *shell);

#endif
