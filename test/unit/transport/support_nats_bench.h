/* A controller's side of kind nats on a real nats-server, and a worker w1 played by the test, frame by frame.
 * Call 0 and call 1 are the most that a test has; what their owner heard is in h[0] and h[1]. */
#ifndef SUPPORT_NATS_BENCH_H
#define SUPPORT_NATS_BENCH_H

#include "base/buf.h"
#include "codec/bus_control.h"
#include "codec/bus_frame.h"
#include "transport/nats.h"
#include "unit/net/support_nats.h"

#define RID "0123456789abcdef0123456789abcdef"

enum {
    NOTES_MAX = 256,
    WINDOW = 1000
};

/* ---- what the owner of a call heard ---- */

typedef struct heard {
    int accepted, progress, heads, ends, fails;
    unsigned status;
    char content_type[64];
    sbx_buf data;
    sbx_outcome outcome;
    sbx_time_ns retry_after_ns;
    char detail[128];
    struct world *world;
    sbx_transport_call **cancel_on_data; /* cancelled from within on_data */
} heard;

/* ---- what the worker heard: one note per message ---- */

typedef struct note {
    char verb[16], reply[160], body[160];
    size_t len;
    char path[64], deadline[24], expires[24], credit[24], body_bytes[24], offset[24], rid[40], attempt[8],
        stream[4], traceparent[64];
} note;

typedef struct world {
    support_nats server;
    sbx_loop *loop;
    sbx_nats_link *link;
    bool link_up;
    sbx_peer *peer; /* of w1 */
    int workers_seen, workers_left;

    sbx_bus *worker;
    bool worker_up;
    int worker_ups;
    sbx_bus_subscription *worker_subscription;
    int whos;
    note notes[NOTES_MAX];
    size_t note_count;
    bool assembles; /* the worker puts chunks together and answers them */
    int drop_chunk; /* 0: none; n: the nth chunk is lost */
    int chunks;
    sbx_buf body;

    heard h[2];
    bool (*until)(struct world *w);
    bool timed_out;
    sbx_timer limit, poll;
} world;

/* For cmocka: server, link and worker are up, and the controller has seen the worker once. */
int world_open(void **state);
int world_close(void **state);

/* Runs the loop until `until` or, which fails the test (not with _or), limit_ms passed. Both give the
 * milliseconds it took. */
long world_until(world *w, bool (*until)(world *w), long limit_ms);
long world_until_or(world *w, bool (*until)(world *w), long limit_ms);
/* Past the second in which "no responders" does not mean a death. */
void world_settle(world *w);

/* ---- the worker's part ---- */

void world_frame(world *w, const char *reply, uint32_t seq, sbx_frame_type type, const char *payload);
void world_send_frame(world *w, const char *reply, sbx_frame frame, sbx_view payload);
/* A heartbeat. */
void world_hello(world *w, const char *boot_id, uint64_t clock_ms);
/* The nth message with that verb; NULL: there was none. */
const note *world_note(const world *w, const char *verb, int nth);
extern const char world_head_json[];

/* ---- the controller's part ---- */

extern const sbx_view world_small_body[2];
/* Starts call i. */
sbx_err world_start(world *w, int i, const sbx_view *body, size_t count, sbx_transport_call **ret_call);
/* Starts call i with the small body and gives the attempt's subject as the worker sees it. */
const char *world_start_small(world *w, int i, sbx_transport_call **ret_call);
/* Of call 0. */
void world_assert_data(world *w, const char *wanted);

/* ---- conditions to wait for ---- */

bool world_never(world *w);
bool world_all_up(world *w);
bool world_all_down(world *w);
bool world_seen_twice(world *w);
bool world_has_left(world *w);
bool world_got_run(world *w);
bool world_got_second_run(world *w);
bool world_got_cancel(world *w);
bool world_got_credit(world *w);
bool world_got_replay(world *w);
bool world_is_over(world *w); /* call 0 */
bool world_both_over(world *w);
bool world_has_data(world *w); /* of call 0 */

#endif
