/* A running worker process: one worker node per engine, until SIGINT or SIGTERM and the drain that follows.
 */
#ifndef SBX_APP_WORKER_PROCESS_H
#define SBX_APP_WORKER_PROCESS_H

#include "config/config.h"

/* Engines that the configuration does not name are looked for on this machine. Returns the exit code. */
int sbx_worker_process_run(const sbx_config *config);

#endif
