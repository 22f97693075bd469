/* What the simulated engine saw: one entry per request, the newest of them kept. Outside checks read it as
 * JSON. */
#ifndef SBX_WORKER_SIM_LOG_H
#define SBX_WORKER_SIM_LOG_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/time.h"
#include "net/http_message.h"

enum {
    SBX_SIM_LOG_ENTRIES = 8192,
    SBX_SIM_LOG_BODIES = 16 /* whole bodies kept, of the newest requests that have one */
};

typedef struct sbx_sim_log sbx_sim_log;

/* started_at: the log's times count from there. SBX_E_NOMEM. */
sbx_err sbx_sim_log_new(sbx_time_ns started_at, sbx_sim_log **ret_log);
void sbx_sim_log_free(sbx_sim_log *log);
/* Forgets all entries; ids go on. */
void sbx_sim_log_clear(sbx_sim_log *log);

/* Gives the id of a new entry (from 1); 0 when there is no memory for it. */
uint64_t sbx_sim_log_begin(sbx_sim_log *log, const sbx_http_head *head, sbx_view body, sbx_time_ns now);

typedef struct sbx_sim_log_end {
    unsigned status;     /* 0: no head was sent */
    uint64_t body_bytes; /* of the answer */
    uint32_t tokens;
    const char *fault; /* static; NULL: none */
    bool is_aborted;   /* the peer left before the answer was complete */
    bool is_finished;  /* the answer went out whole */
} sbx_sim_log_end;

/* An entry that was dropped or cleared meanwhile is no matter. */
void sbx_sim_log_finish(sbx_sim_log *log, uint64_t id, const sbx_sim_log_end *end, sbx_time_ns now);

/* {"now_ms","total","dropped","requests":[...]}; path: only that one, empty = all. since: only ids above it.
 */
void sbx_sim_log_write(const sbx_sim_log *log, sbx_view path, uint64_t since, sbx_time_ns now, sbx_buf *out);
/* The kept body of that entry, 0: of the newest; data NULL when there is none. */
sbx_view sbx_sim_log_body(const sbx_sim_log *log, uint64_t id);

#endif
