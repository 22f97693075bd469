/* The conformance suite's world: one loop, one peer of the kind under test, what the worker behind it shall
 * do, and calls that write down everything they hear and fail the test when it breaks transport.h. */
#ifndef CONFORMANCE_SUPPORT_WORLD_H
#define CONFORMANCE_SUPPORT_WORLD_H

#include "base/buf.h"
#include "transport/transport.h"

/* ---- what the worker does with a request ---- */

typedef enum conf_end {
    CONF_END,   /* the answer is complete */
    CONF_HANG,  /* nothing more comes */
    CONF_CUT,   /* the connection ends in the middle of the answer */
    CONF_RESET, /* it is reset there */
} conf_end;

typedef struct conf_answer {
    bool is_mute; /* takes the request and says nothing at all, not even a head */
    unsigned status;
    bool is_stream; /* text/event-stream: `events` events of `event_len` bytes, else `body` */
    uint32_t events;
    size_t event_len;
    sbx_time_ns gap_ns; /* before each event but the first */
    sbx_view body;      /* kept */
    bool echoes;        /* the body is the request's */
    unsigned retry_after_s;
    conf_end end;
} conf_answer;

/* Event n of a stream is these bytes: "data: <n> ....\n\n". */
void conf_write_event(sbx_buf *buf, uint32_t n, size_t len);
/* Bytes without any pattern that a transport could lean on; all 256 values. */
void conf_write_bytes(sbx_buf *buf, size_t len, uint32_t seed);

/* What one request looked like at the worker. */
typedef struct conf_seen {
    sbx_view path, body, request_id, traceparent;
    sbx_time_ns budget_ns; /* -1: this kind does not tell */
    bool is_aborted;       /* it was told to stop */
} conf_seen;

/* ---- the kind under test ---- */

typedef struct conf_world conf_world;

typedef struct conf_factory {
    const char *name;
    void (*open)(conf_world *w);  /* sets peer and side; the peer works when it returns */
    void (*close)(conf_world *w); /* all but the peer, which is freed before */
    void (*answer_with)(conf_world *w, const conf_answer *answer); /* requests from now on */
    void (*unplug)(conf_world *w); /* the worker is gone for good; nothing was under way */
    void (*die)(conf_world *w);    /* it is killed in the middle of its work */
    size_t (*seen_count)(conf_world *w);
    conf_seen (*seen)(conf_world *w, size_t index); /* in the order of arrival */
} conf_factory;

struct conf_world {
    const conf_factory *factory;
    sbx_loop *loop;
    sbx_peer *peer; /* NULL once freed */
    void *side;     /* the factory's */
    struct conf_call *starting;
    bool (*until)(conf_world *w, const void *what);
    const void *what;
    bool timed_out;
    sbx_timer limit, poll;
};

/* One call and what it heard. */
typedef struct conf_call {
    conf_world *world;
    sbx_transport_call *call; /* NULL: never begun, over, or cancelled */
    sbx_err start_err;
    unsigned accepted, progressed, heads, datas, ends, failures;
    sbx_answer_head head; /* without its views */
    char content_type[64];
    sbx_buf body;
    sbx_outcome outcome;
    sbx_time_ns retry_after_ns;
    sbx_time_ns started_at, first_data_at, over_at;
    bool is_cancelled;
    /* What to do from within a callback; NULL: nothing. */
    void (*when_accepted)(struct conf_call *call);
    void (*when_head)(struct conf_call *call);
    void (*when_data)(struct conf_call *call);
    void (*when_over)(struct conf_call *call);
    struct conf_call *other; /* for these */
} conf_call;

/* ---- running ---- */

/* Runs the loop until the condition holds; fails the test after limit_ms. */
void conf_run_until(conf_world *w, bool (*until)(conf_world *w, const void *what), const void *what,
                    long limit_ms);
/* Runs it for that long, to see that nothing happens. */
void conf_run_for(conf_world *w, long ms);

bool conf_is_over(conf_world *w, const void *call); /* it ended or failed */
bool conf_has_data(conf_world *w, const void *call);
bool conf_has_head(conf_world *w, const void *call);
bool conf_was_seen(conf_world *w, const void *count); /* const size_t *: so many requests arrived */

/* ---- calls ---- */

/* A request that asks for `answer` with this body; start may refuse it (call->start_err). */
void conf_start(conf_world *w, conf_call *call, const char *body);
void conf_start_pieces(conf_world *w, conf_call *call, const sbx_view *pieces, size_t count,
                       sbx_time_ns budget_ns, uint32_t number);
void conf_cancel(conf_call *call);
void conf_forget(conf_call *call); /* frees what it heard */

/* Fails the test unless it ended well with exactly these bytes. */
void conf_assert_ended_with(const conf_call *call, unsigned status, sbx_view body);
void conf_assert_failed_with(const conf_call *call, sbx_outcome outcome);
void conf_assert_silent(const conf_call *call); /* neither ended nor failed */

/* cmocka: *state is the factory before and the world after setup. */
int conf_setup(void **state);
int conf_teardown(void **state);

#endif
