/* The managed nats-server: a child (through the guard) with a private directory, a configuration that only we
 * can read and a credential, started again on the same port when it dies.
 *
 * Ready means: it wrote its ports file, so it listens. The token never stands on a command line.
 *
 * Threads: the loop's. */
#ifndef SBX_NET_NATS_SERVER_H
#define SBX_NET_NATS_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/guard.h"
#include "net/loop.h"

typedef struct sbx_nats_server sbx_nats_server;

typedef struct sbx_nats_server_options {
    const char *bind;    /* NULL: 127.0.0.1 */
    uint16_t port;       /* 0: a free one, which is then kept over restarts */
    const char *token;   /* NULL: 32 random hex characters. [A-Za-z0-9_-]{1,256} */
    const char *dir;     /* where the private directory is made; NULL: TMPDIR, else /tmp */
    const char *program; /* NULL: nats-server, in PATH and where packages put it */
} sbx_nats_server_options;

typedef struct sbx_nats_server_events {
    /* It listens (again). url has no credential in it: nats://host:port, where host is one to connect to from
     * this machine. Valid until free. */
    void (*on_ready)(void *user, const char *url, uint16_t port);
    /* It died and will be started again, or could not be started (again) and will be tried again. */
    void (*on_down)(void *user);
    void *user;
} sbx_nats_server_events;

/* Makes directory and configuration and starts it. SBX_E_NOMEM, SBX_E_IO (directory), SBX_E_INVALID (bind or
 * token), SBX_E_NOT_FOUND (no such program), SBX_E_CLOSED (guard lost). reterr_info says more. */
sbx_err sbx_nats_server_start(sbx_loop *loop, sbx_guard *guard, const sbx_nats_server_options *options,
                              const sbx_nats_server_events *events, sbx_nats_server **ret_server,
                              sbx_errinfo *reterr_info);

const char *sbx_nats_server_token(const sbx_nats_server *server);
const char *sbx_nats_server_url(const sbx_nats_server *server); /* "" while never ready */
const char *sbx_nats_server_dir(const sbx_nats_server *server);
bool sbx_nats_server_is_ready(const sbx_nats_server *server);
pid_t sbx_nats_server_pid(const sbx_nats_server *server); /* 0: not running */

/* Ends the child (TERM; the guard does the rest at its own end) and removes the directory. NULL is fine. */
void sbx_nats_server_free(sbx_nats_server *server);

#endif
