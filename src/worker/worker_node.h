/* The worker node: the bus on one side, one engine on the other (DESIGN 6, docs/bus.md).
 *
 * It registers, says every heartbeat interval how it is, takes runs up to its engine's maxConcurrent, and
 * passes the engine's answers on exactly as they came. A process may hold several nodes, one per engine, each
 * with an id and a bus connection of its own; they share nothing.
 *
 * It decides nothing about requests: no retry, no routing, no reading of answers.
 *
 * Threads: the loop's. */
#ifndef SBX_WORKER_WORKER_NODE_H
#define SBX_WORKER_WORKER_NODE_H

#include "base/err.h"
#include "config/config.h"
#include "net/bus.h"
#include "net/loop.h"

typedef struct sbx_worker_node sbx_worker_node;

typedef struct sbx_worker_node_options {
    const char *worker_id;           /* [A-Za-z0-9_-]{1,64} */
    const sbx_config_engine *engine; /* what it runs */
    sbx_bus_options bus;             /* name NULL: "worker-<id>" */
    uint32_t heartbeat_interval_ms;
} sbx_worker_node_options;

/* Starts it: it connects and registers by itself, for ever. All options are copied.
 *
 * SBX_E_INVALID (id), SBX_E_NOMEM, or what the engine's or bus's options are refused with. */
sbx_err sbx_worker_node_new(sbx_loop *loop, const sbx_worker_node_options *options,
                            sbx_worker_node **ret_node);

/* Drains: tells the controllers, refuses new runs, finishes those it has, deregisters; then calls on_stopped,
 * once, from the loop. A second call ends what is still at work, as if its requests had been cancelled, and
 * leaves. */
typedef void sbx_worker_node_stopped_fn(void *user);
void sbx_worker_node_stop(sbx_worker_node *node, sbx_worker_node_stopped_fn *on_stopped, void *user);

/* At process end (see sbx_bus_free). Cancels what is at work; on_stopped is not called any more. NULL is
 * fine. */
void sbx_worker_node_free(sbx_worker_node *node);

/* What a status line or a test wants to know. */
typedef struct sbx_worker_node_state {
    bool is_up; /* the bus */
    bool is_draining;
    const char *engine; /* "up", "loading", "down" */
    uint32_t running;   /* runs that hold a place, plain requests included */
    uint32_t attempts;  /* known attempts, finished and not yet acknowledged ones included */
} sbx_worker_node_state;
sbx_worker_node_state sbx_worker_node_state_of(const sbx_worker_node *node);

#endif
