/* The registry: every worker the controller knows, the models each serves, its breaker and its load.
 *
 * Slots are reused only when nothing refers to them; a worker that went away stays readable (offline) so that
 * failedWorkers and logs can name it. Models are interned: an index per id. */
#ifndef SBX_CORE_REGISTRY_H
#define SBX_CORE_REGISTRY_H

#include "base/err.h"
#include "base/time.h"
#include "base/view.h"
#include "core/breaker.h"
#include "core/types.h"

enum {
    SBX_WORKER_ID_MAX = 64, /* bytes, without the NUL */
    SBX_BOOT_ID_MAX = 64,
    SBX_MODEL_ID_MAX = 256,
    SBX_WORKER_MODELS_MAX = 64
};

/* What a configuration entry, a registration or a heartbeat says of a worker. Everything is borrowed for the
 * step, except peer, which the registry only stores and hands back. */
typedef struct sbx_worker_seen {
    sbx_view id;
    sbx_worker_kind kind;
    sbx_view boot_id; /* empty for http workers */
    void *peer;       /* the shell's way to reach it */
    const sbx_view *models;
    size_t model_count;
    uint32_t capacity; /* maxConcurrent */
    uint32_t weight;   /* 100 = normal */
    sbx_engine_state engine;
    bool draining;
    const sbx_breaker_policy *breaker; /* NULL = the router's */
    const uint64_t *contexts;          /* of each model, in tokens, 0 = not known; NULL = none is known */
    sbx_time_ns attempt_ns;            /* most that one buffered attempt may take; 0 = the model's limit */
    bool is_helper;                    /* a helper endpoint: no worker of the cluster */
} sbx_worker_seen;

typedef struct sbx_worker sbx_worker;
typedef struct sbx_registry sbx_registry;

/* Reading. Workers are visited by index 0 .. count-1; known but offline ones are included. */
size_t sbx_registry_count(const sbx_registry *registry);
const sbx_worker *sbx_registry_at(const sbx_registry *registry, size_t index);
const sbx_worker *sbx_registry_get(const sbx_registry *registry, sbx_worker_ref ref); /* NULL: stale */
const sbx_worker *sbx_registry_find(const sbx_registry *registry, sbx_view id);       /* NULL: unknown */

/* Models that at least one online worker serves, each once: index 0 .. count-1. */
size_t sbx_registry_model_count(const sbx_registry *registry);
sbx_view sbx_registry_model_at(const sbx_registry *registry, size_t index);

/* Whether some worker, online or not, claims this very id. */
bool sbx_registry_knows_model(const sbx_registry *registry, sbx_view id);

/* What may be read of one worker, at a moment. */
typedef struct sbx_worker_info {
    sbx_worker_ref ref;
    sbx_view id;
    sbx_worker_kind kind;
    sbx_view boot_id;
    void *peer;
    size_t model_count;
    uint32_t capacity;
    uint32_t in_flight;
    sbx_engine_state engine;
    bool online;
    bool draining;
    bool healthy;  /* health checks (http) say well, or none said otherwise */
    bool eligible; /* could be picked now, room aside */
    sbx_breaker_state breaker;
    sbx_time_ns retry_in_ns; /* until an open breaker is half_open; 0 otherwise */
    uint32_t consecutive_failures;
    bool is_helper;
    uint64_t attempts, successes, failures;
    uint64_t rejected; /* helper endpoints: requests that would have come here, but for the breaker */
    sbx_time_ns seen_at;
} sbx_worker_info;
sbx_worker_info sbx_worker_describe(const sbx_worker *worker, sbx_time_ns now);
sbx_view sbx_worker_model_at(const sbx_registry *registry, const sbx_worker *worker, size_t index);

#endif
