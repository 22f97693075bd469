/* What sim_server.c (connections, inference) and sim_control.c (everything under /sim/) share. */
#ifndef SBX_WORKER_SIM_SERVER_PRIV_H
#define SBX_WORKER_SIM_SERVER_PRIV_H

#include "net/http_server.h"
#include "worker/sim_log.h"
#include "worker/sim_server.h"

struct sbx_sim_server {
    sbx_loop *loop;
    sbx_http_server *http;
    sbx_sim_engine *engine;
    sbx_sim_log *log;
    sbx_sim_options initial; /* for reset; names live in initial_names */
    sbx_arena initial_names;
    char *api_key;
    uint16_t port;
    sbx_buf scratch; /* bodies being written */
};

/* Answers with JSON from the scratch buffer, or with an OpenAI error. Ends the request. */
void sbx_sim_server_answer(sbx_sim_server *server, sbx_http_request *request, unsigned status);
void sbx_sim_server_refuse(sbx_sim_server *server, sbx_http_request *request, unsigned status,
                           const char *message);

/* Handles a request whose path begins with /sim/. */
void sbx_sim_control(sbx_sim_server *server, sbx_http_request *request);

#endif
