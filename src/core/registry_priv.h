/* The registry from inside: workers, models, and the edges between them.
 *
 * What a pick must look at for every candidate lies close together: a model's candidates are an array of
 * {worker, speed}, a worker's load is a 20-byte sbx_hot. All that is out of the ordinary about a worker (an
 * open breaker, a cool-down, a drain, a slow start ...) is one flag there, `special`; only a special worker
 * is looked at in full. Whoever changes a worker calls sbx_registry_refresh(). */
#ifndef SBX_CORE_REGISTRY_PRIV_H
#define SBX_CORE_REGISTRY_PRIV_H

#include "base/ewma.h"
#include "base/list.h"
#include "base/map.h"
#include "base/wheel.h"
#include "core/policy.h"
#include "core/registry.h"
#include "core/retry.h"

#define SBX_NONE UINT32_MAX /* no slot, no edge */

enum {
    SBX_CHUNK_CANDIDATES = 64, /* candidates are stored in chunks of so many */
    SBX_HOT_ONE = 1 << 16,     /* fixed-point 1 of sbx_hot */
    SBX_SPEED_AVERAGE = 1024,  /* a candidate as fast as its model's average; also: nothing known */
    SBX_SPEED_MAX = 64 * SBX_SPEED_AVERAGE,
    SBX_PENALTY_ONE = 1024
};
#define SBX_GONE_FORGOTTEN    SBX_SEC(600) /* a worker that deregistered is forgotten after this long */
#define SBX_LEARNED_STALE     SBX_SEC(60)  /* a speed not measured for so long counts as unknown */
#define SBX_PENALTY_HALF_LIFE SBX_SEC(5)
#define SBX_COOL_DOWN_FIRST   SBX_SEC(1)
#define SBX_COOL_DOWN_LEAST   SBX_MS(100)  /* of a named one; this grows too */
#define SBX_COOL_DOWN_MAX     SBX_SEC(30)  /* of the growing default */
#define SBX_COOL_DOWN_NAMED   SBX_SEC(600) /* most that a Retry-After may ask for */
#define SBX_ROOM_GUESS        SBX_SEC(1)   /* when a full worker will have room: we cannot know */

/* What a pick reads of each candidate. weight is folded in: a worker of weight 200 looks half as busy. */
typedef struct sbx_hot {
    uint32_t in_flight;
    uint32_t capacity; /* see sbx_registry_learn_busy */
    uint32_t base;     /* SBX_HOT_ONE * 100 / weight */
    uint32_t inverse;  /* base / capacity */
    uint32_t special;  /* see sbx_registry_refresh */
} sbx_hot;

typedef struct sbx_candidate {
    uint32_t worker; /* slot */
    uint32_t speed;  /* time it takes, against its model's average; coarse, so that near ones tie */
    uint32_t edge;
} sbx_candidate;

/* One worker's service of one model. */
typedef struct sbx_edge {
    uint32_t worker;
    uint32_t model;
    uint32_t next;          /* of the same worker, or of the free list */
    uint32_t position;      /* among the model's candidates */
    uint32_t seen;          /* mark of the last registration that named it */
    sbx_ewma first_content; /* of streams */
    sbx_ewma whole;         /* of buffered answers */
    sbx_ewma per_token;     /* of both, where usage is known */
    sbx_time_ns learned_at;
} sbx_edge;

typedef struct sbx_model {
    uint32_t slot;
    uint32_t next; /* free list */
    bool is_live;
    uint16_t id_len;
    char id[SBX_MODEL_ID_MAX + 1];
    uint32_t count;            /* candidates, online or not */
    uint32_t online;           /* of these */
    uint32_t in_flight;        /* attempts that ask for this model */
    uint32_t tripped;          /* of these, breakers that are open or half_open */
    uint32_t listed;           /* place in the registry's list of online models, or SBX_NONE */
    uint32_t requests;         /* that refer to it */
    uint64_t context;          /* tokens, as was told or learned last; 0: unknown */
    uint32_t cursor;           /* where the next pick begins: ties rotate, round_robin walks */
    sbx_time_ns probed_at;     /* last probe duty */
    sbx_time_ns next_probe_at; /* no worker is half_open before this */
    sbx_retry_budget budget;
    sbx_limits limits;
    sbx_ewma first_content; /* over all workers: what an unknown one is taken for */
    sbx_ewma whole;
    sbx_ewma per_token;
} sbx_model;

struct sbx_worker {
    uint32_t slot;
    uint32_t generation;
    uint32_t order; /* place in the registry's order */
    uint16_t id_len, boot_id_len;
    char id[SBX_WORKER_ID_MAX + 1];
    char boot_id[SBX_BOOT_ID_MAX + 1];
    sbx_worker_kind kind;
    sbx_engine_state engine;
    void *peer;
    const sbx_hot *hot; /* its own entry of the registry's array */
    uint32_t weight;
    uint32_t capacity;       /* maxConcurrent; what it is trusted with now is hot->capacity */
    uint32_t room_step;      /* successes until it is trusted with one more */
    uint32_t room_successes; /* of these */
    bool room_was_raised;    /* since it was busy last */
    uint32_t first_edge;
    uint32_t edge_count;
    bool is_online;
    bool is_gone;       /* deregistered or removed */
    bool says_draining; /* by its own word */
    bool is_drained;    /* by admin */
    bool is_unhealthy;  /* its last health check failed */
    bool is_bus_cut;    /* offline only because the bus is down */
    bool runs_on;       /* offline, but its attempts go on for offline_ns: it may come back */
    bool has_own_policy;
    bool counts_tripped; /* counted in its models' `tripped` */
    bool half_open_noted;
    uint32_t epoch; /* grows when its running attempts are lost */
    sbx_breaker breaker;
    sbx_breaker_policy own_policy;
    sbx_time_ns seen_at;
    sbx_time_ns offline_at;
    sbx_time_ns cooling_until;
    uint32_t cool_downs;   /* in a row */
    sbx_time_ns ramp_from; /* slow start; SBX_TIME_NEVER: none */
    uint32_t penalty;      /* recent failures, 0 to SBX_PENALTY_ONE, at penalty_at; halves as time passes */
    sbx_time_ns penalty_at;
    uint32_t impatience;    /* cancels in a row before first content */
    bool is_helper;         /* no worker of the cluster */
    sbx_time_ns attempt_ns; /* most that one buffered attempt may take; 0: the model's limit */
    uint64_t attempts, successes, failures, rejected;
    /* The router's: */
    sbx_list running; /* its attempts, oldest first */
    sbx_list_node pending_node;
    sbx_list_node roomy_node; /* it may have room for one that waits */
    sbx_time_ns traffic_at;   /* when its last attempt or probe ended */
    bool is_probed;           /* by a run of our own, see router_probe.c */
    uint32_t probe_number;
    sbx_breaker_permit probe_permit;
    sbx_time_ns probe_by;
    bool note_offline;
    bool lost_without_blame;
    sbx_wheel_entry timer;
};

struct sbx_registry {
    const sbx_policy *policy;
    sbx_worker *workers;
    sbx_hot *hot;
    uint32_t *order; /* slots of the known workers */
    uint32_t count, high_water, free_slots, cap;
    uint32_t *free_list;
    sbx_map by_id;

    sbx_model *models;
    uint32_t model_cap, model_high_water, model_free;
    sbx_map by_model;
    uint32_t *listed; /* slots of models that an online worker serves */
    uint32_t listed_count;

    sbx_edge *edges;
    uint32_t edge_cap, edge_high_water, edge_free;
    sbx_candidate *chunks; /* SBX_CHUNK_CANDIDATES each */
    uint32_t chunk_cap, chunk_high_water, chunk_free_count;
    uint32_t *chunk_free;
    uint32_t *chunk_dir; /* dir_size per model: its chunks, in order */
    uint32_t dir_size;

    uint32_t online;
    uint32_t mark; /* of the registration being read */
};

sbx_err sbx_registry_init(sbx_registry *registry, const sbx_policy *policy, uint64_t seed);
void sbx_registry_deinit(sbx_registry *registry);

/* ---- workers (registry.c) --------------------------------------------------------------------------- */

sbx_worker *sbx_registry_worker(sbx_registry *registry, sbx_worker_ref ref); /* NULL: stale */
sbx_worker *sbx_registry_worker_by_id(sbx_registry *registry, sbx_view id);
sbx_worker_ref sbx_worker_ref_of(const sbx_worker *worker);

/* A slot for a new id, offline and without models. SBX_E_CAP: all are in use; SBX_E_INVALID: the id is empty
 * or too long. */
sbx_err sbx_registry_add(sbx_registry *registry, sbx_view id, sbx_time_ns now, sbx_worker **ret_worker);

/* The worker that may be forgotten to make room; NULL: none. */
sbx_worker *sbx_registry_longest_gone(sbx_registry *registry);

/* Forgets a worker that has nothing running and no timer; its handles are stale afterwards. */
void sbx_registry_forget(sbx_registry *registry, sbx_worker *worker);

void sbx_registry_set_online(sbx_registry *registry, sbx_worker *worker, bool is_online);
void sbx_registry_set_capacity(sbx_registry *registry, sbx_worker *worker, uint32_t capacity,
                               uint32_t weight);

/* A worker that says that it is busy is trusted with what still runs there, at least one: when its cool-down
 * ends not all come back at once. Successes bring one place after the other back: one success each when it
 * took nothing at all, else as many as ran there, and more and more, up to 256, each time one place turns out
 * to be too many. forget: it is trusted with its capacity again, and its cool-down is over. */
void sbx_registry_learn_busy(sbx_registry *registry, sbx_worker *worker);
void sbx_registry_learn_room(sbx_registry *registry, sbx_worker *worker);
void sbx_registry_forget_busy(sbx_registry *registry, sbx_worker *worker);

/* Recomputes what picks and lists know of a worker, after anything about it changed. */
void sbx_registry_refresh(sbx_registry *registry, sbx_worker *worker, sbx_time_ns now);

/* ---- models and edges (registry_models.c) ------------------------------------------------------------ */

sbx_model *sbx_registry_model(sbx_registry *registry, sbx_view id); /* NULL: nobody claims it */
sbx_view sbx_model_view(const sbx_model *model);

/* Makes the worker's models exactly these; unreadable or surplus ones are left out. Whether it lost one. */
bool sbx_registry_claim(sbx_registry *registry, sbx_worker *worker, const sbx_view *models, size_t count,
                        sbx_time_ns now);
void sbx_registry_drop_model(sbx_registry *registry, sbx_worker *worker, const sbx_model *model);
void sbx_registry_drop_all(sbx_registry *registry, sbx_worker *worker);
sbx_edge *sbx_registry_edge(sbx_registry *registry, const sbx_worker *worker, const sbx_model *model);

/* A request refers to the model: it stays while so. */
void sbx_model_ref(sbx_model *model);
void sbx_model_unref(sbx_registry *registry, sbx_model *model);

static inline sbx_candidate *sbx_model_candidate(const sbx_registry *registry, const sbx_model *model,
                                                 uint32_t position)
{
    uint32_t chunk =
        registry->chunk_dir[(size_t)model->slot * registry->dir_size + position / SBX_CHUNK_CANDIDATES];
    return &registry->chunks[(size_t)chunk * SBX_CHUNK_CANDIDATES + position % SBX_CHUNK_CANDIDATES];
}

/* ---- what is learned of a worker (worker_state.c) ---------------------------------------------------- */

/* Why a worker may not be picked. */
typedef enum sbx_refusal {
    SBX_REFUSAL_NONE,
    SBX_REFUSAL_OFFLINE,
    SBX_REFUSAL_DRAINING,
    SBX_REFUSAL_BREAKER,
    SBX_REFUSAL_COOLING,
    SBX_REFUSAL_FULL
} sbx_refusal;
sbx_refusal sbx_worker_refusal(const sbx_worker *worker, sbx_time_ns now);

/* First the well ones, then the doubtful (failed health check, engine loading), then half_open ones. */
typedef enum sbx_tier {
    SBX_TIER_WELL,
    SBX_TIER_DOUBTFUL,
    SBX_TIER_HALF_OPEN,
    SBX_TIER_COUNT
} sbx_tier;
sbx_tier sbx_worker_tier(const sbx_worker *worker, sbx_time_ns now);

/* Slow start: SBX_HOT_ONE when it has its full share, else the part it may have, at least a tenth. */
uint32_t sbx_worker_ramp(const sbx_worker *worker, const sbx_policy *policy, sbx_time_ns now);
uint32_t sbx_worker_penalty(const sbx_worker *worker, sbx_time_ns now);
void sbx_worker_failed(sbx_worker *worker, sbx_time_ns now);

/* Busy: no traffic for what it asked, or for a default that grows while it answers nothing else. What it asks
 * is believed less, too, the more often. Returns how long. */
sbx_time_ns sbx_worker_cool_down(sbx_worker *worker, sbx_time_ns retry_after_ns, sbx_time_ns now);

/* An answer's times, for smart balancing, probe limits and impatient clients. */
void sbx_edge_learn_first_content(sbx_registry *registry, sbx_edge *edge, sbx_time_ns took, sbx_time_ns now);
void sbx_edge_learn_whole(sbx_registry *registry, sbx_edge *edge, sbx_time_ns took, sbx_time_ns now);
void sbx_edge_learn_rate(sbx_registry *registry, sbx_edge *edge, sbx_time_ns took, uint64_t tokens,
                         sbx_time_ns now); /* tokens 0: unknown, nothing is learned */

/* Never measured, or so long ago that it may have become faster: what was learned is then forgotten with the
 * next measurement. */
bool sbx_edge_is_stale(const sbx_registry *registry, const sbx_candidate *candidate, sbx_time_ns now);

/* What the edge (NULL allowed), else its model, has learned; -1 when nothing. */
sbx_time_ns sbx_learned_first_content(const sbx_edge *edge, const sbx_model *model);
sbx_time_ns sbx_learned_whole(const sbx_edge *edge, const sbx_model *model);

#endif
