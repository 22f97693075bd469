/* The bus: the one file pair that knows nats.c (shared notes "Binding" are what it does).
 *
 * A bus is a connection for frames and control messages plus a second one for large bodies, so that a stuck
 * worker never delays messages to healthy ones. nats.c delivers on its own thread; messages are copied,
 * pushed to a queue and handed out on the loop, in order per connection. Publishing never blocks: while the
 * connection is down or its buffer is above the cap, publish fails at once.
 *
 * The bus is up when both connections are. Only a rising or falling edge is reported, from the loop, never
 * from within a call.
 *
 * Threads: all functions belong to the loop's thread. */
#ifndef SBX_NET_BUS_H
#define SBX_NET_BUS_H

#include "base/err.h"
#include "base/view.h"
#include "net/loop.h"

typedef struct sbx_bus sbx_bus;
typedef struct sbx_bus_subscription sbx_bus_subscription;

typedef struct sbx_bus_options {
    const char *url; /* nats://host:port or tls://; several separated by commas */
    const char *name;
    const char *user, *password, *token, *nkey_seed_file; /* NULL: none */
    const char *ca_file, *cert_file, *key_file;
    const char *subject_prefix; /* "" or "x.": put before every subject */
    size_t max_buffered_bytes;  /* 0 = 8 MiB: above it publish fails as if the bus were down */
    size_t
        max_pending_bytes; /* 0 = 256 MiB: received and not yet handed out; above it messages are dropped */
} sbx_bus_options;

typedef struct sbx_bus_header {
    const char *name;
    const char *value;
} sbx_bus_header;

/* A message; everything is valid during the callback. */
typedef struct sbx_bus_message {
    sbx_view subject; /* without the prefix */
    sbx_view reply;   /* empty when none; as received, with the prefix: for sbx_bus_respond */
    sbx_view data;
    bool no_responders;
    const void *native; /* for sbx_bus_message_header */
} sbx_bus_message;
/* Empty view (data NULL) when there is none. Valid during the callback. */
sbx_view sbx_bus_message_header(const sbx_bus_message *message, const char *name);

typedef void sbx_bus_message_fn(void *user, const sbx_bus_message *message);
typedef void sbx_bus_state_fn(void *user, bool is_up);

/* Starts connecting, retrying for ever; on_state tells each change. Subscriptions survive reconnects. */
sbx_err sbx_bus_new(sbx_loop *loop, const sbx_bus_options *options, sbx_bus_state_fn *on_state, void *user,
                    sbx_bus **ret_bus);
/* Only at process end (nats.c 3.4 must not destroy connections earlier). */
void sbx_bus_free(sbx_bus *bus);

bool sbx_bus_is_up(const sbx_bus *bus);
size_t sbx_bus_max_payload(const sbx_bus *bus); /* 0 while never connected */

/* subject may hold wildcards. Made as soon as the bus is up. */
sbx_err sbx_bus_subscribe(sbx_bus *bus, const char *subject, sbx_bus_message_fn *fn, void *user,
                          sbx_bus_subscription **ret_subscription);
void sbx_bus_unsubscribe(sbx_bus_subscription *subscription);

typedef enum sbx_bus_lane {
    SBX_BUS_CONTROL, /* small: frames, cancels, heartbeats, pings */
    SBX_BUS_BULK     /* request bodies */
} sbx_bus_lane;

/* reply NULL: none; it gets the prefix too. Pieces are copied. "No responders" comes only to a reply subject
 * that this bus subscribed, and only for the control lane. SBX_E_CLOSED (down, or max_buffered_bytes
 * reached), SBX_E_CAP (above max_payload), SBX_E_INVALID (a subject or header value with control bytes or too
 * long), SBX_E_NOMEM. */
sbx_err sbx_bus_publish(sbx_bus *bus, sbx_bus_lane lane, const char *subject, const char *reply,
                        const sbx_bus_header *headers, size_t header_count, const sbx_view *pieces,
                        size_t piece_count);

/* Answers a plain request: to the message's own reply subject, which gets no prefix. Errors as above. */
sbx_err sbx_bus_respond(sbx_bus *bus, sbx_view reply, const sbx_bus_header *headers, size_t header_count,
                        const sbx_view *pieces, size_t piece_count);

/* Counters since start. */
typedef struct sbx_bus_counts {
    uint64_t received, published; /* messages */
    uint64_t dropped;             /* received and dropped at max_pending_bytes */
    uint64_t downs;               /* how often a connection was lost */
} sbx_bus_counts;
sbx_bus_counts sbx_bus_counts_of(const sbx_bus *bus);

#endif
