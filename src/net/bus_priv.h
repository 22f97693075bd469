/* Inside the bus: what bus.c, bus_connection.c and bus_poll.c share. Included by bus*.c only. */
#ifndef SBX_NET_BUS_PRIV_H
#define SBX_NET_BUS_PRIV_H

#include <nats/nats.h>
#include <stdatomic.h>
#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "net/bus.h"
#include "net/bus_handoff.h"

enum {
    BUS_LANES = 2,
    BUS_SUBJECT_MAX = 512
};

typedef struct bus_connection bus_connection;

/* How a connection's socket is watched on the loop: what nats.c asks of an event loop (bus_poll.c). */
typedef struct bus_poll {
    uv_poll_t *handle; /* NULL: not watching */
    sbx_task flush;
    bool wants_write; /* nats.c has bytes to write */
    bool polls_write; /* and the socket was full */
} bus_poll;

struct bus_connection {
    sbx_bus *bus;
    bus_poll poll;
    natsConnection *nats; /* NULL until first connected, and after nats.c gave up on one */
    bool is_ready;        /* as the loop has seen it; the counters below may know better */
    struct {
        /* Any thread. A socket is attached once more than it was removed while the connection is up. */
        atomic_uint attached, removed;
        atomic_bool closed; /* nats.c has called back for the last time */
    } shared;
    natsOptions *options;
    sbx_timer connect_timer;
    uv_work_t connect_work;
    bool is_connecting;
    natsConnection *connected; /* result of connect_work */
    natsStatus connect_status;
    natsStatus logged_status; /* of the last failed connect that was logged */
};

struct sbx_bus_subscription {
    sbx_list_node node;
    sbx_bus *bus;
    sbx_bus_message_fn *fn;
    void *user;
    natsSubscription *nats; /* NULL: to be made when the bus is up */
    bool is_closed;
    char subject[];
};

struct sbx_bus {
    sbx_loop *loop;
    uv_thread_t thread;
    sbx_handoff *handoff;
    bus_connection connections[BUS_LANES];
    sbx_list subscriptions;
    sbx_bus_state_fn *on_state;
    void *user;
    bool is_up, told_up;
    char *name;
    char *prefix;
    size_t prefix_len;
    size_t max_buffered_bytes, max_pending_bytes;
    size_t max_payload;
    sbx_buf scratch;
    sbx_bus_counts counts;
    atomic_size_t pending_bytes;
    atomic_ullong dropped;
    bool is_closing;
    atomic_bool is_parked; /* freed, but nats.c's threads still run: nothing is taken any more */
    sbx_bus *next_parked;
};

/* Everything that comes from nats.c's threads. */
typedef enum bus_item_kind {
    BUS_ITEM_MESSAGE, /* .subscription, .message */
    BUS_ITEM_UP,      /* connected or reconnected; .nats */
    BUS_ITEM_DOWN,
    BUS_ITEM_GIVEN_UP, /* nats.c closed the connection for good (refused credentials twice) */
    BUS_ITEM_ATTACH,   /* .nats, .socket */
    BUS_ITEM_REMOVE_READ,
    BUS_ITEM_ADD_WRITE,
    BUS_ITEM_REMOVE_WRITE
} bus_item_kind;

typedef struct bus_item {
    sbx_handoff_item link;
    bus_item_kind kind;
    bus_connection *connection;
    sbx_bus_subscription *subscription;
    natsMsg *message;
    natsConnection *nats;
    int socket;
} bus_item;

/* bus.c */
bool sbx_bus_push(bus_connection *connection, bus_item item); /* false: no memory */
void sbx_bus_on_message(natsConnection *nats, natsSubscription *subscription, natsMsg *message,
                        void *closure);
void sbx_bus_review_state(sbx_bus *bus);
void sbx_bus_subscribe_all(sbx_bus *bus);

/* bus_connection.c */
bool sbx_bus_uses_tls(const sbx_bus_options *options);
void sbx_bus_connection_init(bus_connection *connection, sbx_bus *bus);
sbx_err sbx_bus_connection_set_options(bus_connection *connection, const sbx_bus_options *options);
void sbx_bus_connection_start(bus_connection *connection);
bool sbx_bus_connection_is_up(const bus_connection *connection);
void sbx_bus_connection_take(bus_connection *connection, const bus_item *item); /* UP, DOWN, GIVEN_UP */
void sbx_bus_connection_close(bus_connection *connection); /* at process end; blocks a little */

/* bus_poll.c */
natsStatus sbx_bus_poll_use(natsOptions *options, bus_connection *connection);
void sbx_bus_poll_init(bus_connection *connection);
void sbx_bus_poll_take(bus_connection *connection, const bus_item *item); /* ATTACH .. REMOVE_WRITE */
void sbx_bus_poll_write_soon(bus_connection *connection);
bool sbx_bus_poll_write_now(bus_connection *connection); /* false: bytes are left */
void sbx_bus_poll_stop(bus_connection *connection);

/* bus_nkey.c: the public key ("U...") of a seed file, as nats.c wants it. SBX_E_IO, SBX_E_PARSE. */
enum {
    BUS_NKEY_LEN = 56
};
sbx_err sbx_bus_nkey_public(const char *seed_file, char ret_key[BUS_NKEY_LEN + 1]);

#endif
