/* The lines of requests that wait for room at a worker (DESIGN 5 "Admission").
 *
 * Each model has two lines. Fresh requests, never at a worker before: one line per API key, the keys take
 * turns. Returned ones (after a busy answer, a failure): one line by arrival, oldest first. A request that
 * several models could serve stands in line at each of them, at SBX_QUEUE_MODELS at most, and leaves all at
 * once.
 *
 * Only the lines are kept here. Who may wait and how long, who is served when: router_queue.c. Requests and
 * models are named by their slots. Every call is O(1), but for a join of a returned request, which looks at
 * SBX_QUEUE_LOOKS others at most. All memory is taken at init. */
#ifndef SBX_CORE_QUEUE_H
#define SBX_CORE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/time.h"
#include "core/policy.h"

enum {
    SBX_QUEUE_MODELS = 4, /* lines that one request stands in */
    SBX_QUEUE_LOOKS = 64
};
#define SBX_QUEUE_NOBODY UINT32_MAX

/* The fresh requests of one key for one model. */
typedef struct sbx_queue_flow {
    uint64_t key;
    uint32_t model;
    sbx_list line;      /* sbx_queue_place.node */
    sbx_list_node node; /* of its model's flows, or of the free ones */
} sbx_queue_flow;

typedef struct sbx_queue_place {
    sbx_list_node node;
    uint32_t request;
    uint32_t model;
    sbx_queue_flow *flow; /* NULL: in the line of returned ones */
} sbx_queue_place;

typedef struct sbx_queue_entry {
    sbx_list_node node; /* of sbx_queue.all */
    sbx_time_ns arrived_at;
    uint64_t bytes;
    uint32_t place_count; /* 0: it does not wait */
    sbx_queue_place places[SBX_QUEUE_MODELS];
} sbx_queue_entry;

typedef struct sbx_queue_model {
    uint32_t length; /* both lines; the lists are set up when it leaves 0 */
    uint32_t fresh;
    uint64_t bytes;
    uint64_t fresh_bytes;
    sbx_list returned; /* sbx_queue_place.node */
    sbx_list flows;    /* sbx_queue_flow.node; whose turn it is comes first */
} sbx_queue_model;

typedef struct sbx_queue {
    uint32_t count; /* requests that wait */
    sbx_queue_entry *entries;
    sbx_queue_model *models;
    sbx_queue_flow *flows;
    uint32_t flow_cap, flow_high_water;
    sbx_list free_flows;
    sbx_map64 flow_by_key;
    sbx_list all;        /* by joining */
    sbx_list_node *next; /* of the walk, see sbx_queue_walk; NULL: no walk */
} sbx_queue;

/* SBX_E_NOMEM. A queue must not be moved after init. */
sbx_err sbx_queue_init(sbx_queue *queue, uint32_t requests, uint32_t models, uint64_t seed);
void sbx_queue_deinit(sbx_queue *queue);

/* Whether a fresh request keeps within the model's bounds. Returned ones were admitted before and are never
 * turned away: there are at most as many as ran. */
bool sbx_queue_fits(const sbx_queue *queue, const sbx_queue_policy *policy, uint32_t model, uint64_t bytes);

typedef struct sbx_queue_join {
    uint32_t request;
    uint32_t model;
    uint64_t key; /* whose request */
    sbx_time_ns arrived_at;
    uint64_t bytes;
    bool is_returned;
} sbx_queue_join;

/* Gets in line at one model. False: it stands there already, or in SBX_QUEUE_MODELS lines. */
bool sbx_queue_add(sbx_queue *queue, const sbx_queue_join *join);

/* Leaves all lines. is_served: its key had its turn. */
void sbx_queue_leave(sbx_queue *queue, uint32_t request, bool is_served);

/* Who is next in each line of the model; SBX_QUEUE_NOBODY: nobody. after: SBX_QUEUE_NOBODY, or one who stands
 * in the line of returned ones. */
uint32_t sbx_queue_fresh(const sbx_queue *queue, uint32_t model);
uint32_t sbx_queue_returned(const sbx_queue *queue, uint32_t model, uint32_t after);

/* A walk over all who wait, that may pause: anybody may join (and is passed if so) or leave meanwhile. */
void sbx_queue_walk(sbx_queue *queue);
uint32_t sbx_queue_walk_next(sbx_queue *queue);
static inline bool sbx_queue_is_walking(const sbx_queue *queue)
{
    return queue->next != NULL;
}

#endif
