/* A worker node on a real nats-server, and a controller played by the test, frame by frame. */
#ifndef SUPPORT_WORLD_H
#define SUPPORT_WORLD_H

#include "base/buf.h"
#include "base/id.h"
#include "codec/bus_control.h"
#include "codec/bus_frame.h"
#include "codec/bus_message.h"
#include "net/bus.h"
#include "unit/net/support_nats.h"
#include "worker/sim_server.h"
#include "worker/worker_node.h"

enum {
    WORLD_ATTEMPTS = 24,
    WORLD_FRAMES = 4096
};

/* One frame that the controller took. */
typedef struct seen_frame {
    uint32_t seq;
    sbx_frame_type type;
    uint8_t flags;
    uint32_t aux;
    size_t at, len; /* of its payload, in `payloads` */
} seen_frame;

/* One attempt as the controller sees it. */
typedef struct seen {
    char subject[96];
    seen_frame frames[WORLD_FRAMES]; /* in order of arrival, duplicates and all */
    size_t frame_count;
    sbx_buf payloads;
    uint32_t wanted; /* next numbered frame */
    sbx_buf data;    /* DATA in order */
    unsigned status;
    sbx_view content_type; /* in the arena */
    bool is_ended, has_failed, is_unknown;
    uint32_t pings, progress_pings, body_pings;
    uint32_t body_there; /* of the last PING with BODY */
    sbx_outcome outcome;
    bool no_responders;
} seen;

typedef struct world {
    support_nats server;
    sbx_loop *loop;
    sbx_bus *bus; /* the controller's */
    bool bus_is_up;
    sbx_worker_node *node;
    sbx_sim_server *engine; /* behind an openai worker; NULL else */
    sbx_arena arena;

    seen attempts[WORLD_ATTEMPTS];
    size_t attempt_count;

    uint32_t registers, heartbeats, leaves;
    sbx_bus_worker self; /* what the worker said last */
    char boot_id[SBX_ID_LEN + 1];
    sbx_buf plain_answer;
    char plain_status[8];
    bool has_stopped;
    bool timed_out;
} world;

typedef struct world_options {
    sbx_sim_options sim;        /* of the engine, simulated inside or behind HTTP */
    bool over_http;             /* engine kind openai, with a simulated server */
    const char *api_key;        /* of that server, and of the worker */
    uint32_t max_concurrent;    /* 0: 16 */
    bool asks_for_models;       /* over HTTP: none configured */
    const char *subject_prefix; /* NULL: none */
} world_options;

/* Fast: first token after 5 ms, 1000 tokens/s. */
world_options world_defaults(void);

/* A world whose worker has registered and whose engine is up. */
world *world_new(const world_options *options);
void world_free(world *w);

/* Runs the loop until done() or, which fails the test, limit_ms passed. */
void world_until(world *w, bool (*done)(world *w), long limit_ms);
void world_for(world *w, long ms);

/* A run as a controller sends it. */
typedef struct run_options {
    const char *body; /* NULL: a chat that streams 8 tokens */
    const char *path;
    bool streaming;
    uint64_t credit;
    uint64_t deadline_ms;
    int64_t expires_in_ms; /* on the worker's clock; 0: not told */
    uint64_t body_bytes;   /* announced; the body is not sent then */
} run_options;
run_options run_defaults(void);

/* Sends it as a new attempt, or (again) as an old one. */
seen *world_run(world *w, const run_options *options);
void world_send_run(world *w, const seen *s, const run_options *options);
/* `verb` about an attempt: cancel, credit, replay, chunk. */
void world_tell(world *w, const seen *s, const char *verb, const char *body);
void world_chunk(world *w, const seen *s, uint64_t offset, sbx_view bytes);
void world_credit(world *w, const seen *s, uint32_t seq, uint64_t bytes);

size_t count_frames(const seen *s, sbx_frame_type type);
/* The engine inside a simulated worker. */
struct sbx_sim_engine *world_sim(world *w);
/* Orders a fault of it. */
void world_fault(world *w, sbx_sim_fault fault, int64_t after_tokens);
/* The content deltas of an event stream, joined; static memory. */
const char *content_of(const seen *s);

/* For cmocka: the world of the test at hand, with a simulated engine inside; one that takes a minute to the
 * first token and has two places; one behind HTTP with a key, asked for its models; one under a subject
 * prefix. */
extern world *the_world;
int world_setup(void **state);
int world_setup_slow(void **state);
int world_setup_http(void **state);
int world_setup_prefix(void **state);
int world_teardown(void **state);

/* Conditions to wait for. */
bool world_all_over(world *w);
bool world_all_acked(world *w);
bool world_knows_nothing(world *w); /* the worker, of any attempt */
bool world_engine_works(world *w);
bool world_first_has_1000_bytes(world *w);
/* Requests that ever reached the engine inside. */
uint64_t world_engine_total(world *w);

#endif
