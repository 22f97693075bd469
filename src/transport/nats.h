/* Transport kind nats: workers reached over the bus (DESIGN 6, docs/bus.md), the controller's side. One
 * sbx_nats_link per controller joins all of them: it listens for registrations and for response frames. */
#ifndef SBX_TRANSPORT_NATS_H
#define SBX_TRANSPORT_NATS_H

#include "codec/bus_message.h"
#include "net/bus.h"
#include "transport/transport.h"

typedef struct sbx_nats_link sbx_nats_link;

typedef struct sbx_nats_link_events {
    void (*on_up)(void *user, bool is_up);
    /* A registration or heartbeat, validated; borrowed for the call. */
    void (*on_worker)(void *user, const sbx_bus_worker *worker);
    void (*on_worker_left)(void *user, sbx_view worker_id); /* deregistered, or no responder to a ping */
    void *user;
} sbx_nats_link_events;

typedef struct sbx_nats_link_options {
    sbx_bus_options bus;
    const char *controller_id;    /* [A-Za-z0-9_-]{1,64} */
    sbx_time_ns ping_interval_ns; /* of busy workers: 200 ms */
    size_t credit_bytes;          /* per stream: what a worker may send ahead; 128 KiB */
} sbx_nats_link_options;

sbx_err sbx_nats_link_new(sbx_loop *loop, const sbx_nats_link_options *options,
                          const sbx_nats_link_events *events, sbx_nats_link **ret_link);
void sbx_nats_link_free(sbx_nats_link *link); /* at process end */

/* worker_id is copied. */
sbx_err sbx_nats_peer_new(sbx_nats_link *link, sbx_view worker_id, sbx_peer **ret_peer);

#endif
