/* The bus: subscriptions, publishing, and handing out what came. bus_connection.c holds the connections,
 * bus_poll.c their sockets. */
#include "net/bus.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/bus_priv.h"

enum {
    DELIVERY_THREADS = 1, /* one: a cancel must not overtake its run */
    SCRATCH_KEEP_BYTES = 256 * 1024,
    PREFIX_MAX = 128,
    DEFAULT_MAX_BUFFERED_BYTES = 8 * 1024 * 1024,
    DEFAULT_MAX_PENDING_BYTES = 256 * 1024 * 1024,
    DELIVERY_END_MS = 50,
    LIBRARY_END_MS = 1000
};

/* nats.c's threads end with the last bus (one per process, but for tests). Until then one of them may still
 * be in a callback of a bus that was freed: its memory is parked. */
static unsigned open_buses;
static sbx_bus *parked;

/* Once TLS was used, nats.c's end would take parts of OpenSSL with it that OpenSSL frees again at exit (a
 * crash, in 3.4.1): then its threads are left to the end of the process. */
static bool used_tls;

/* ---- from nats.c's threads ---- */

bool sbx_bus_push(bus_connection *connection, bus_item item)
{
    if (atomic_load(&connection->bus->is_parked))
        return false;
    bus_item *copy = malloc(sizeof *copy);
    if (copy == NULL)
        return false;
    *copy = item;
    copy->connection = connection;
    sbx_handoff_push(connection->bus->handoff, &copy->link);
    return true;
}

static size_t cost_of(natsMsg *message)
{
    return (size_t)natsMsg_GetDataLength(message) + sizeof(bus_item);
}

static bool has_room(sbx_bus *bus, size_t bytes)
{
    size_t before = atomic_fetch_add(&bus->pending_bytes, bytes);
    if (before <= bus->max_pending_bytes)
        return true;
    atomic_fetch_sub(&bus->pending_bytes, bytes);
    return false;
}

void sbx_bus_on_message(natsConnection *nats, natsSubscription *subscription, natsMsg *message, void *closure)
{
    (void)nats, (void)subscription;
    sbx_bus_subscription *s = closure;
    sbx_bus *bus = s->bus;
    size_t bytes = cost_of(message);
    bus_item item = {.kind = BUS_ITEM_MESSAGE, .subscription = s, .message = message};
    if (has_room(bus, bytes)) {
        if (sbx_bus_push(&bus->connections[SBX_BUS_CONTROL], item))
            return;
        atomic_fetch_sub(&bus->pending_bytes, bytes);
    }
    atomic_fetch_add(&bus->dropped, 1);
    natsMsg_Destroy(message);
}

/* ---- handing out ---- */

static sbx_view without_prefix(const sbx_bus *bus, const char *subject)
{
    sbx_view v = sbx_view_cstr(subject);
    return sbx_view_starts_with(v, sbx_view_of(bus->prefix, bus->prefix_len))
               ? sbx_view_skip(v, bus->prefix_len)
               : v;
}

static void hand_out(sbx_bus_subscription *subscription, natsMsg *message)
{
    sbx_bus *bus = subscription->bus;
    bus->counts.received++;
    sbx_bus_message m = {
        .subject = without_prefix(bus, natsMsg_GetSubject(message)),
        .reply = sbx_view_cstr(natsMsg_GetReply(message)),
        .data = sbx_view_of(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message)),
        .no_responders = natsMsg_IsNoResponders(message),
        .native = message,
    };
    subscription->fn(subscription->user, &m);
}

static void take_message(sbx_bus *bus, const bus_item *item)
{
    atomic_fetch_sub(&bus->pending_bytes, cost_of(item->message));
    if (!item->subscription->is_closed && !bus->is_closing)
        hand_out(item->subscription, item->message);
    if (open_buses > 0) /* else nats.c is gone, and this one with it */
        natsMsg_Destroy(item->message);
}

static void take_item(void *user, sbx_handoff_item *link)
{
    sbx_bus *bus = user;
    bus_item *item = SBX_CONTAINER_OF(link, bus_item, link);
    switch (item->kind) {
    case BUS_ITEM_MESSAGE:
        take_message(bus, item);
        break;
    case BUS_ITEM_UP:
    case BUS_ITEM_DOWN:
    case BUS_ITEM_GIVEN_UP:
        sbx_bus_connection_take(item->connection, item);
        break;
    case BUS_ITEM_ATTACH:
    case BUS_ITEM_REMOVE_READ:
    case BUS_ITEM_ADD_WRITE:
    case BUS_ITEM_REMOVE_WRITE:
        sbx_bus_poll_take(item->connection, item);
        break;
    }
    free(item);
}

sbx_view sbx_bus_message_header(const sbx_bus_message *message, const char *name)
{
    const char *value = NULL;
    union {
        const void *given;
        natsMsg *taken; /* nats.c reads headers lazily and so wants it writable */
    } native = {.given = message->native};
    if (natsMsgHeader_Get(native.taken, name, &value) != NATS_OK)
        return (sbx_view){0};
    return sbx_view_cstr(value);
}

/* ---- state ---- */

bool sbx_bus_is_up(const sbx_bus *bus)
{
    return bus->is_up && sbx_bus_connection_is_up(&bus->connections[SBX_BUS_CONTROL]) &&
           sbx_bus_connection_is_up(&bus->connections[SBX_BUS_BULK]);
}

static void tell_state(void *user)
{
    sbx_bus *bus = user;
    if (bus->told_up == bus->is_up || bus->is_closing)
        return;
    bus->told_up = bus->is_up;
    if (bus->on_state != NULL)
        bus->on_state(bus->user, bus->is_up);
}

void sbx_bus_review_state(sbx_bus *bus)
{
    bus->is_up = sbx_bus_connection_is_up(&bus->connections[SBX_BUS_CONTROL]) &&
                 sbx_bus_connection_is_up(&bus->connections[SBX_BUS_BULK]);
    if (bus->is_up)
        sbx_bus_subscribe_all(bus);
    tell_state(bus);
}

size_t sbx_bus_max_payload(const sbx_bus *bus)
{
    return bus->max_payload;
}

sbx_bus_counts sbx_bus_counts_of(const sbx_bus *bus)
{
    sbx_bus_counts counts = bus->counts;
    counts.dropped = atomic_load(&bus->dropped);
    return counts;
}

/* ---- subscriptions ---- */

static bool is_clean(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return false;
    }
    return true;
}

/* Subjects have no spaces either. */
static sbx_err with_prefix(const sbx_bus *bus, const char *subject, char ret_full[BUS_SUBJECT_MAX])
{
    size_t len = strlen(subject);
    if (len == 0 || !is_clean(subject) || strchr(subject, ' ') != NULL)
        return SBX_E_INVALID;
    if (len >= BUS_SUBJECT_MAX - bus->prefix_len)
        return SBX_E_INVALID;
    memcpy(ret_full, bus->prefix, bus->prefix_len);
    memcpy(ret_full + bus->prefix_len, subject, len + 1);
    return SBX_OK;
}

static void subscribe_now(sbx_bus_subscription *s)
{
    natsConnection *nats = s->bus->connections[SBX_BUS_CONTROL].nats;
    if (natsConnection_Subscribe(&s->nats, nats, s->subject, sbx_bus_on_message, s) != NATS_OK)
        return; /* tried again at the next rising edge */
    natsSubscription_SetPendingLimits(s->nats, -1, -1);
}

void sbx_bus_subscribe_all(sbx_bus *bus)
{
    SBX_LIST_EACH(node, &bus->subscriptions)
    {
        sbx_bus_subscription *s = SBX_CONTAINER_OF(node, sbx_bus_subscription, node);
        if (s->nats == NULL && !s->is_closed)
            subscribe_now(s);
    }
}

sbx_err sbx_bus_subscribe(sbx_bus *bus, const char *subject, sbx_bus_message_fn *fn, void *user,
                          sbx_bus_subscription **ret_subscription)
{
    char full[BUS_SUBJECT_MAX];
    sbx_err err = with_prefix(bus, subject, full);
    if (err != SBX_OK)
        return err;
    size_t size = strlen(full) + 1;
    sbx_bus_subscription *s = calloc(1, sizeof *s + size);
    if (s == NULL)
        return SBX_E_NOMEM;
    s->bus = bus;
    s->fn = fn;
    s->user = user;
    memcpy(s->subject, full, size);
    sbx_list_push_back(&bus->subscriptions, &s->node);
    if (sbx_bus_is_up(bus))
        subscribe_now(s);
    *ret_subscription = s;
    return SBX_OK;
}

/* The object stays until the bus ends: nats.c may still deliver to it. */
void sbx_bus_unsubscribe(sbx_bus_subscription *subscription)
{
    if (subscription == NULL || subscription->is_closed)
        return;
    subscription->is_closed = true;
    if (subscription->nats == NULL || !sbx_bus_is_up(subscription->bus))
        return;
    natsSubscription_Unsubscribe(subscription->nats);
    sbx_bus_poll_write_soon(&subscription->bus->connections[SBX_BUS_CONTROL]);
}

/* ---- publishing ---- */

static sbx_err err_of(natsStatus status)
{
    if (status == NATS_OK)
        return SBX_OK;
    if (status == NATS_NO_MEMORY)
        return SBX_E_NOMEM;
    return status == NATS_MAX_PAYLOAD ? SBX_E_CAP : SBX_E_CLOSED;
}

static sbx_err gather(sbx_bus *bus, const sbx_view *pieces, size_t piece_count, sbx_view *ret_data)
{
    if (piece_count == 1) {
        *ret_data = pieces[0];
        return SBX_OK;
    }
    sbx_buf_clear(&bus->scratch);
    for (size_t i = 0; i < piece_count; i++)
        sbx_buf_append_view(&bus->scratch, pieces[i]);
    *ret_data = sbx_buf_view(&bus->scratch);
    return sbx_buf_error(&bus->scratch);
}

static void trim_scratch(sbx_bus *bus)
{
    if (bus->scratch.size <= SCRATCH_KEEP_BYTES)
        return;
    sbx_buf_deinit(&bus->scratch);
    sbx_buf_init(&bus->scratch, SIZE_MAX);
}

static natsStatus publish_with_headers(natsConnection *nats, const char *subject, const char *reply,
                                       const sbx_bus_header *headers, size_t header_count, sbx_view data)
{
    natsMsg *message = NULL;
    natsStatus s = natsMsg_Create(&message, subject, reply, (const char *)data.data, (int)data.len);
    for (size_t i = 0; i < header_count && s == NATS_OK; i++)
        s = natsMsgHeader_Set(message, headers[i].name, headers[i].value);
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(nats, message);
    natsMsg_Destroy(message);
    return s;
}

static natsStatus publish_plain(natsConnection *nats, const char *subject, const char *reply, sbx_view data)
{
    if (reply == NULL)
        return natsConnection_Publish(nats, subject, data.data, (int)data.len);
    return natsConnection_PublishRequest(nats, subject, reply, data.data, (int)data.len);
}

static sbx_err check(const sbx_bus *bus, const bus_connection *connection, const sbx_bus_header *headers,
                     size_t header_count, const sbx_view *pieces, size_t piece_count)
{
    if (!sbx_bus_connection_is_up(connection))
        return SBX_E_CLOSED;
    if ((size_t)natsConnection_Buffered(connection->nats) > bus->max_buffered_bytes)
        return SBX_E_CLOSED;
    for (size_t i = 0; i < header_count; i++) {
        if (!is_clean(headers[i].value))
            return SBX_E_INVALID;
    }
    size_t room = bus->max_payload;
    for (size_t i = 0; i < piece_count; i++) {
        if (pieces[i].len > room)
            return SBX_E_CAP;
        room -= pieces[i].len;
    }
    return SBX_OK;
}

static sbx_err publish(sbx_bus *bus, sbx_bus_lane lane, const char *subject, const char *reply,
                       const sbx_bus_header *headers, size_t header_count, const sbx_view *pieces,
                       size_t piece_count)
{
    bus_connection *connection = &bus->connections[lane];
    sbx_err err = check(bus, connection, headers, header_count, pieces, piece_count);
    if (err != SBX_OK)
        return err;
    sbx_view data;
    err = gather(bus, pieces, piece_count, &data);
    if (err != SBX_OK)
        return err;
    natsStatus s = header_count == 0
                       ? publish_plain(connection->nats, subject, reply, data)
                       : publish_with_headers(connection->nats, subject, reply, headers, header_count, data);
    sbx_bus_poll_write_soon(connection);
    trim_scratch(bus);
    if (s == NATS_OK)
        bus->counts.published++;
    return err_of(s);
}

sbx_err sbx_bus_publish(sbx_bus *bus, sbx_bus_lane lane, const char *subject, const char *reply,
                        const sbx_bus_header *headers, size_t header_count, const sbx_view *pieces,
                        size_t piece_count)
{
    char full[BUS_SUBJECT_MAX], full_reply[BUS_SUBJECT_MAX];
    sbx_err err = with_prefix(bus, subject, full);
    if (err == SBX_OK && reply != NULL)
        err = with_prefix(bus, reply, full_reply);
    if (err != SBX_OK)
        return err;
    return publish(bus, lane, full, reply == NULL ? NULL : full_reply, headers, header_count, pieces,
                   piece_count);
}

sbx_err sbx_bus_respond(sbx_bus *bus, sbx_view reply, const sbx_bus_header *headers, size_t header_count,
                        const sbx_view *pieces, size_t piece_count)
{
    char subject[BUS_SUBJECT_MAX];
    if (reply.len == 0 || sbx_view_to_cstr(reply, subject, sizeof subject) != SBX_OK)
        return SBX_E_INVALID;
    return publish(bus, SBX_BUS_CONTROL, subject, /* reply= */ NULL, headers, header_count, pieces,
                   piece_count);
}

/* ---- begin and end ---- */

static char *copy_or_empty(const char *text)
{
    return strdup(text == NULL ? "" : text);
}

static sbx_err init(sbx_bus *bus, const sbx_bus_options *options)
{
    bus->name = copy_or_empty(options->name);
    bus->prefix = copy_or_empty(options->subject_prefix);
    if (bus->name == NULL || bus->prefix == NULL)
        return SBX_E_NOMEM;
    used_tls = used_tls || sbx_bus_uses_tls(options);
    bus->prefix_len = strlen(bus->prefix);
    if (bus->prefix_len > PREFIX_MAX || !is_clean(bus->prefix))
        return SBX_E_INVALID;
    bus->max_buffered_bytes =
        options->max_buffered_bytes == 0 ? DEFAULT_MAX_BUFFERED_BYTES : options->max_buffered_bytes;
    bus->max_pending_bytes =
        options->max_pending_bytes == 0 ? DEFAULT_MAX_PENDING_BYTES : options->max_pending_bytes;
    if (nats_SetMessageDeliveryPoolSize(DELIVERY_THREADS) != NATS_OK)
        return SBX_E_NOMEM;
    sbx_err err = sbx_handoff_new(bus->loop, take_item, bus, &bus->handoff);
    for (int lane = 0; lane < BUS_LANES && err == SBX_OK; lane++)
        err = sbx_bus_connection_set_options(&bus->connections[lane], options);
    return err;
}

static void free_memory(sbx_bus *bus)
{
    SBX_LIST_EACH(node, &bus->subscriptions)
    {
        sbx_bus_subscription *s = SBX_CONTAINER_OF(node, sbx_bus_subscription, node);
        free(s);
    }
    sbx_buf_deinit(&bus->scratch);
    free(bus->name);
    free(bus->prefix);
    free(bus);
}

sbx_err sbx_bus_new(sbx_loop *loop, const sbx_bus_options *options, sbx_bus_state_fn *on_state, void *user,
                    sbx_bus **ret_bus)
{
    sbx_bus *bus = calloc(1, sizeof *bus);
    if (bus == NULL)
        return SBX_E_NOMEM;
    bus->loop = loop;
    bus->thread = uv_thread_self();
    bus->on_state = on_state;
    bus->user = user;
    sbx_list_init(&bus->subscriptions);
    sbx_buf_init(&bus->scratch, SIZE_MAX);
    for (int lane = 0; lane < BUS_LANES; lane++)
        sbx_bus_connection_init(&bus->connections[lane], bus);
    sbx_err err = init(bus, options);
    open_buses++;
    if (err != SBX_OK) {
        sbx_bus_free(bus);
        return err;
    }
    for (int lane = 0; lane < BUS_LANES; lane++)
        sbx_bus_connection_start(&bus->connections[lane]);
    *ret_bus = bus;
    return SBX_OK;
}

/* nats.c forgets to free what it had not delivered yet. */
static void wait_for_deliveries(sbx_bus *bus)
{
    int messages = 1, bytes;
    SBX_LIST_EACH(node, &bus->subscriptions)
    {
        natsSubscription *s = SBX_CONTAINER_OF(node, sbx_bus_subscription, node)->nats;
        for (int i = 0; s != NULL && i < DELIVERY_END_MS; i++) {
            if (natsSubscription_GetPending(s, &messages, &bytes) != NATS_OK || messages == 0)
                break;
            uv_sleep(1);
        }
    }
}

/* nats.c's threads end only when nothing of it is held any more. */
static void release_subscriptions(sbx_bus *bus)
{
    SBX_LIST_EACH(node, &bus->subscriptions)
    {
        sbx_bus_subscription *s = SBX_CONTAINER_OF(node, sbx_bus_subscription, node);
        natsSubscription_Destroy(s->nats);
        s->nats = NULL;
    }
}

static bool library_ends(void)
{
    return open_buses == 0 && !used_tls;
}

static void leave_library(void)
{
    assert(open_buses > 0);
    open_buses--;
    if (library_ends())
        nats_CloseAndWait(LIBRARY_END_MS);
}

static void park(sbx_bus *bus)
{
    bus->next_parked = parked;
    parked = bus;
}

static void free_parked(void)
{
    while (parked != NULL) {
        sbx_bus *bus = parked;
        parked = bus->next_parked;
        free_memory(bus);
    }
}

void sbx_bus_free(sbx_bus *bus)
{
    if (bus == NULL)
        return;
    bus->is_closing = true;
    wait_for_deliveries(bus);
    for (int lane = 0; lane < BUS_LANES; lane++)
        sbx_bus_connection_close(&bus->connections[lane]);
    release_subscriptions(bus);
    atomic_store(&bus->is_parked, true);
    if (bus->handoff != NULL)
        sbx_handoff_drain(bus->handoff); /* messages must go before the library does */
    leave_library();
    sbx_handoff_free(bus->handoff);
    for (int lane = 0; lane < BUS_LANES; lane++)
        sbx_bus_poll_stop(&bus->connections[lane]); /* what was handed out just now may have begun a write */
    park(bus);
    if (library_ends())
        free_parked();
}
