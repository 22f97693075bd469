/* The JSON and the SSE events that the simulated engine answers with. Pure writers into a buffer, which
 * remembers the first failure; nothing here knows of time or faults. */
#ifndef SBX_WORKER_SIM_ANSWER_H
#define SBX_WORKER_SIM_ANSWER_H

#include "base/buf.h"
#include "worker/sim_request.h"

/* What all pieces of one answer share. */
typedef struct sbx_sim_meta {
    const sbx_sim_request *request;
    char id[40];
    int64_t created; /* seconds, of a made-up calendar */
    uint32_t completion_tokens;
    const char *finish_reason;
} sbx_sim_meta;

/* Events of a stream: the role (not for completions), a token, what comes behind the last token of a tool's
 * arguments, the finish reason, the usage (if asked for), [DONE]. */
void sbx_sim_write_role(const sbx_sim_meta *meta, sbx_buf *out);
void sbx_sim_write_token(const sbx_sim_meta *meta, sbx_view text, sbx_buf *out);
void sbx_sim_write_finish(const sbx_sim_meta *meta, sbx_buf *out);
void sbx_sim_write_usage(const sbx_sim_meta *meta, sbx_buf *out);
void sbx_sim_write_done(sbx_buf *out);

/* The whole body of a buffered answer. */
void sbx_sim_write_whole(const sbx_sim_meta *meta, sbx_view text, sbx_buf *out);
void sbx_sim_write_embeddings(const sbx_sim_request *request, sbx_buf *out);
/* SBX_E_NOMEM: the arena is full. */
sbx_err sbx_sim_write_rerank(const sbx_sim_request *request, sbx_arena *arena, sbx_buf *out);

/* {"error":{...}}; param and code may be NULL. */
void sbx_sim_write_error(const char *message, const char *type, const char *param, const char *code,
                         sbx_buf *out);
/* GET /v1/models */
void sbx_sim_write_models(const char *const *models, size_t count, sbx_buf *out);
void sbx_sim_write_model(const char *model, sbx_buf *out);

#endif
