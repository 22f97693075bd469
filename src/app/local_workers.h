/* The worker processes that `up` keeps beside this machine's engines: one process per engine, joined over the
 * bus like any other worker, started again with back-off when it dies. */
#ifndef SBX_APP_LOCAL_WORKERS_H
#define SBX_APP_LOCAL_WORKERS_H

#include "config/config.h"
#include "net/bus.h"
#include "net/guard.h"

typedef struct sbx_local_workers sbx_local_workers;

typedef struct sbx_local_workers_options {
    const sbx_config *config;         /* heartbeat, logging; kept */
    const sbx_config_engine *engines; /* kept */
    size_t count;
    const char *id_prefix;      /* worker ids are <prefix>-1, <prefix>-2 ...; copied */
    const sbx_bus_options *bus; /* url and credentials; copied */
} sbx_local_workers_options;

/* Starts them. SBX_E_NOMEM, SBX_E_IO. */
sbx_err sbx_local_workers_start(sbx_loop *loop, sbx_guard *guard, const sbx_local_workers_options *options,
                                sbx_local_workers **ret_workers);

/* A child of the guard ended. Returns false when it is none of these. */
bool sbx_local_workers_on_exited(sbx_local_workers *workers, uint32_t child, int exit_code, int signal);

/* SIGTERM to all: they finish what they have and say goodbye. None is started again. */
void sbx_local_workers_stop(sbx_local_workers *workers);
size_t sbx_local_workers_running(const sbx_local_workers *workers);

void sbx_local_workers_free(sbx_local_workers *workers); /* NULL is fine */

#endif
