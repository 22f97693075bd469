/* Handles and shared enums of the core.
 *
 * A handle names a slot of one of the router's tables and the slot's generation: a handle that outlived
 * its request or worker is recognised and ignored, never followed. */
#ifndef SBX_CORE_TYPES_H
#define SBX_CORE_TYPES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct sbx_request_ref {
    uint32_t slot;
    uint32_t generation; /* 0 names no request */
} sbx_request_ref;

/* One try of a request. Numbers count from 1; an event of an attempt that is no longer the request's
 * current one is stale and is dropped by the router. */
typedef struct sbx_attempt_ref {
    sbx_request_ref request;
    uint32_t number;
} sbx_attempt_ref;

typedef struct sbx_worker_ref {
    uint32_t slot;
    uint32_t generation; /* 0 names no worker */
} sbx_worker_ref;

/* One probe of a worker by ourselves. Numbers count from 1; an earlier one's event is stale. */
typedef struct sbx_probe_ref {
    sbx_worker_ref worker;
    uint32_t number;
} sbx_probe_ref;

typedef enum sbx_worker_kind {
    SBX_WORKER_HTTP = 0,
    SBX_WORKER_NATS = 1
} sbx_worker_kind;

typedef enum sbx_engine_state {
    SBX_ENGINE_UP = 0,
    SBX_ENGINE_LOADING = 1,
    SBX_ENGINE_DOWN = 2
} sbx_engine_state;

#endif
