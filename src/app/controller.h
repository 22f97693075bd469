/* A running controller: shell, server, the bus with its managed nats-server, and the local workers of `up`.
 * Made of parts that know nothing of each other; here is where they meet. */
#ifndef SBX_APP_CONTROLLER_H
#define SBX_APP_CONTROLLER_H

#include "base/err.h"
#include "config/config.h"

typedef struct sbx_controller_options {
    const sbx_config *config;
    bool with_local_workers; /* `up`: engines of the configuration, or else those found here, or else
                                simulated ones */
    /* Reads the configuration anew (SIGHUP, POST /admin/config/reload); gives it, or says on stderr what is
     * wrong. */
    sbx_err (*reload)(void *user, sbx_config **ret_config);
    void *user;
} sbx_controller_options;

/* Runs until SIGINT or SIGTERM and the drain that follows. Returns the exit code. */
int sbx_controller_run(const sbx_controller_options *options);

#endif
