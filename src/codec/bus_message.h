/* What workers tell controllers about themselves: worker.register, worker.heartbeat (the same body, so that a
 * restarted controller knows all within one interval) and worker.deregister. JSON, camelCase:
 *   {"workerId","bootId","version","engine":{"kind","state"},"models":[..],"maxConcurrent",
 *    "load":{"inFlight","queued"},"resume":"off|prefill","streamUsage":"auto|on|off","draining","clockMs"} */
#ifndef SBX_CODEC_BUS_MESSAGE_H
#define SBX_CODEC_BUS_MESSAGE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"

enum {
    SBX_BUS_MAX_MODELS = 256,
    SBX_BUS_MAX_CONCURRENT = 65536,
    SBX_BUS_MAX_MESSAGE = 256 * 1024,
};

typedef enum sbx_bus_engine_kind {
    SBX_BUS_ENGINE_OPENAI,
    SBX_BUS_ENGINE_SIMULATED,
} sbx_bus_engine_kind;

typedef enum sbx_bus_engine_state {
    SBX_BUS_ENGINE_UP,
    SBX_BUS_ENGINE_LOADING,
    SBX_BUS_ENGINE_DOWN,
} sbx_bus_engine_state;

typedef enum sbx_bus_stream_usage {
    SBX_BUS_USAGE_AUTO,
    SBX_BUS_USAGE_ON,
    SBX_BUS_USAGE_OFF,
} sbx_bus_stream_usage;

typedef struct sbx_bus_worker {
    sbx_view worker_id; /* a token */
    sbx_view boot_id;   /* a token, new at each start of the worker */
    sbx_view version;   /* of the program, at most 64 bytes; may be empty */
    sbx_bus_engine_kind engine_kind;
    sbx_bus_engine_state engine_state;
    const sbx_view *models;  /* each 1 to 512 bytes, no control bytes, no duplicates */
    size_t model_count;      /* 0 while the engine is not up */
    uint32_t max_concurrent; /* 1 to SBX_BUS_MAX_CONCURRENT */
    uint32_t in_flight;
    uint32_t queued;
    bool can_resume; /* takes an assistant prefill */
    sbx_bus_stream_usage stream_usage;
    bool draining;
    uint64_t clock_ms; /* the worker's monotonic clock when it wrote this, whole ms; 0: not told */
} sbx_bus_worker;

const char *sbx_bus_engine_kind_name(sbx_bus_engine_kind kind);
const char *sbx_bus_engine_state_name(sbx_bus_engine_state state);
const char *sbx_bus_stream_usage_name(sbx_bus_stream_usage usage);

/* Registration and heartbeat. SBX_E_CAP, SBX_E_NOMEM. */
sbx_err sbx_bus_worker_write(sbx_buf *buf, const sbx_bus_worker *worker);

/* Validated; unknown members are ignored, members that are missing have their defaults (engine up, openai,
 * maxConcurrent 1, load 0, resume off, streamUsage auto), but for workerId, bootId and models.
 * Views are borrowed from the message or live in the arena. SBX_E_PARSE, SBX_E_NOMEM. */
sbx_err sbx_bus_worker_parse(sbx_view message, sbx_arena *arena, sbx_bus_worker *ret_worker,
                             sbx_errinfo *reterr_info);

/* {"workerId","bootId"} of a worker that leaves. Errors as above. */
sbx_err sbx_bus_leave_write(sbx_buf *buf, sbx_view worker_id, sbx_view boot_id);
sbx_err sbx_bus_leave_parse(sbx_view message, sbx_arena *arena, sbx_view *ret_worker_id,
                            sbx_view *ret_boot_id, sbx_errinfo *reterr_info);

#endif
