/* The simulated engine as an HTTP server: `signalbox engine simulated`. OpenAI endpoints, and under /sim/
 * what a test needs (docs/simulated-engine.md): faults, the log of what was seen, speed.
 *
 * Threads: the loop's. */
#ifndef SBX_WORKER_SIM_SERVER_H
#define SBX_WORKER_SIM_SERVER_H

#include "base/err.h"
#include "net/loop.h"
#include "worker/sim_engine.h"

typedef struct sbx_sim_server_options {
    const char *host;
    uint16_t port;       /* 0: a free one */
    const char *api_key; /* NULL: none is asked for; else 401 for inference and models without it. Copied. */
    sbx_sim_options engine;
} sbx_sim_server_options;

typedef struct sbx_sim_server sbx_sim_server;

/* Listens at once. SBX_E_NOMEM, or what listening failed with (reterr_info says how). */
sbx_err sbx_sim_server_new(sbx_loop *loop, const sbx_sim_server_options *options, sbx_sim_server **ret_server,
                           sbx_errinfo *reterr_info);
uint16_t sbx_sim_server_port(const sbx_sim_server *server);
/* The engine behind it, for those in the same process. */
sbx_sim_engine *sbx_sim_server_engine(sbx_sim_server *server);
/* Cuts what is at work. NULL is fine. */
void sbx_sim_server_free(sbx_sim_server *server);

#endif
