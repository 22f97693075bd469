/* Inside kind nats: what its files share. Reading order: nats_link.c (workers and the bus), nats_call.c (one
 * attempt: start, cancel, back-pressure), nats_frames.c (what comes back), nats_upload.c (large bodies),
 * nats_recover.c (gaps and bus restarts). docs/bus.md is the protocol. */
#ifndef SBX_TRANSPORT_NATS_PRIV_H
#define SBX_TRANSPORT_NATS_PRIV_H

#include "base/arena.h"
#include "base/id.h"
#include "base/list.h"
#include "base/map.h"
#include "codec/bus_control.h"
#include "codec/bus_frame.h"
#include "transport/nats.h"

enum {
    NATS_SUBJECT_MAX = 256,
    NATS_KEY_MAX = SBX_ID_LEN + 32,
    NATS_CALLS_MAX = 1 << 20,
    NATS_RETRY_MS = 200,    /* between two replay requests, and between two pings of a busy worker */
    NATS_GIVE_UP_MS = 2000, /* a gap that stays open fails the attempt */
    NATS_SETTLE_MS = 1000,  /* after a reconnect "no responders" may mean "not yet" */
    NATS_CANCEL_KEEP_MS = 10000,
    NATS_CANCELS_MAX = 4096,
    NATS_UPLOAD_STALL_MS = 500, /* then the worker is asked what it has */
    NATS_UPLOAD_FULL_MS = 10    /* the bus took no more: tried again */
};

typedef struct nats_call nats_call;

typedef struct nats_peer {
    sbx_peer super;
    sbx_nats_link *link;
    sbx_list calls; /* nats_call.node */
    char id[SBX_TOKEN_MAX + 1];
    char boot_id[SBX_TOKEN_MAX + 1]; /* "" until it was seen */
    bool is_gone;                    /* no responder; until it is seen again */
    bool has_clock;
    int64_t clock_ahead_ms; /* the worker's clock minus ours */
} nats_peer;

/* A cancel that could not be sent because the bus was down. */
typedef struct late_cancel {
    sbx_list_node node;
    sbx_time_ns until;
    char worker_id[SBX_TOKEN_MAX + 1];
    char subject[NATS_SUBJECT_MAX];
} late_cancel;

struct sbx_nats_link {
    sbx_loop *loop;
    sbx_bus *bus;
    sbx_nats_link_events events;
    sbx_time_ns ping_interval_ns;
    uint64_t credit_bytes;
    char controller_id[SBX_TOKEN_MAX + 1];
    sbx_map peers;      /* by id */
    sbx_map calls;      /* by key */
    sbx_list doomed;    /* calls that are about to fail, out of their peer's list */
    nats_call *current; /* whose frame is being passed on; NULL when that call ended meanwhile */
    sbx_list late_cancels;
    size_t late_cancel_count;
    sbx_timer ping_timer;
    bool is_pinging;
    bool is_up;
    sbx_time_ns up_at;
    sbx_arena arena; /* of the message at hand */
};

struct nats_call {
    sbx_transport_call super;
    sbx_list_node node;
    nats_peer *peer;
    const sbx_transport_events *events;
    void *user;
    sbx_time_ns started_at, deadline;
    bool streaming, is_accepted, has_head, is_paused;

    uint32_t wanted;   /* next seq */
    uint64_t received; /* DATA bytes */
    uint64_t granted;  /* what the worker may send in all */

    struct {
        sbx_timer timer;
        bool is_open;       /* something is missing, or may be */
        bool after_restart; /* then nothing is known to be missing: any frame in order closes it */
        sbx_time_ns since;
    } gap;
    struct {
        bool is_needed;
        bool is_full;         /* the bus took no more */
        bool is_asked;        /* the next figure is the truth, whatever was sent */
        uint64_t sent, there; /* bytes handed to the bus; bytes the worker said it has */
        uint64_t rewound_to;  /* UINT64_MAX: not yet */
        sbx_timer timer;
    } upload;

    char key[NATS_KEY_MAX]; /* "<request id>.<attempt>": key in link->calls */
    char subject[NATS_SUBJECT_MAX];
    char request_id[SBX_ID_LEN + 1];
    char attempt[16];
    char *path;
    char *traceparent; /* NULL: none */
    uint64_t body_len;
    size_t body_count;
    sbx_view body[];
};

extern const sbx_transport_kind sbx_nats_kind;

/* nats_link.c */
bool sbx_nats_link_is_settling(const sbx_nats_link *link);
void sbx_nats_link_start_pings(sbx_nats_link *link);
/* "No responders": the peer's calls fail and the worker has left. The peer may be freed on return. */
void sbx_nats_peer_lose(nats_peer *peer);
/* Moves those of the peer's calls to link->doomed that `pick` picks; then fails them one by one. */
typedef bool nats_pick_fn(const nats_call *call, const void *with);
void sbx_nats_peer_doom(nats_peer *peer, nats_pick_fn *pick, const void *with);
void sbx_nats_link_fail_doomed(sbx_nats_link *link, sbx_outcome outcome, const char *detail);

/* nats_call.c */
nats_call *sbx_nats_call_of(sbx_transport_call *call);
sbx_err sbx_nats_call_send_run(nats_call *call);
/* To inference.<workerId>.<verb>, with the attempt's subject as reply. */
sbx_err sbx_nats_call_tell(const nats_call *call, const char *verb, sbx_view body);
void sbx_nats_call_grant(nats_call *call);
/* Takes it out of all books and frees it; what its owner is told comes after. */
typedef struct nats_owner {
    const sbx_transport_events *events;
    void *user;
} nats_owner;
nats_owner sbx_nats_call_finish(nats_call *call);
void sbx_nats_call_fail(nats_call *call, sbx_outcome outcome, sbx_time_ns retry_after_ns, const char *detail);

/* nats_frames.c */
void sbx_nats_call_take(nats_call *call, sbx_view message);

/* nats_upload.c */
void sbx_nats_upload_init(nats_call *call);
void sbx_nats_upload_go(nats_call *call);                   /* sends what may be sent */
void sbx_nats_upload_take(nats_call *call, uint32_t there); /* the worker has that many bytes */
void sbx_nats_upload_stop(nats_call *call);

/* nats_recover.c */
void sbx_nats_recover_init(nats_call *call);
void sbx_nats_recover_open(nats_call *call, bool after_restart);
void sbx_nats_recover_close(nats_call *call);
void sbx_nats_recover_pause(nats_call *call); /* the bus is down */

#endif
