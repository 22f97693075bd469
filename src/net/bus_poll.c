/* nats.c on our loop: the four functions it asks of an event loop.
 *
 * Not the adapter that nats.c ships: before 3.10 that one goes on polling a socket's number after nats.c
 * closed it, and by then the number may belong to an HTTP connection, which would never hear of an event
 * again. We poll a duplicate, whose number is ours until we give it back. Also, any thread may attach, so
 * that the first connect need not block the loop; and what is to be written is written at the end of the loop
 * turn, without asking for writability first (docs/decisions/0008-nats-on-the-loop.md).
 *
 * Threads: nats.c calls these on any thread, with its own lock held. What does not come from the loop's
 * thread goes through the hand-off. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/bus_priv.h"

#if NATS_VERSION_NUMBER >= 0x030A00
#define NATS_GIVES_SOCKET 1 /* the socket is ours to close, by natsConnection_ProcessCloseEvent */
#else
#define NATS_GIVES_SOCKET 0
#endif

static bool is_on_loop(const bus_connection *connection)
{
    uv_thread_t self = uv_thread_self();
    return uv_thread_equal(&self, &connection->bus->thread);
}

/* False as soon as nats.c gave the socket up, on whatever thread: from then on its lock may be held long. */
static bool is_attached(const bus_connection *connection)
{
    return atomic_load(&connection->shared.attached) != atomic_load(&connection->shared.removed);
}

/* ---- on the loop ---- */

typedef struct watched {
    uv_poll_t poll; /* first: freed through it */
    natsConnection *nats;
    int socket;
} watched;

static natsConnection *watched_nats(const bus_connection *connection)
{
    return ((const watched *)(const void *)connection->poll.handle)->nats;
}

static void close_socket(int number)
{
#if NATS_GIVES_SOCKET
    natsSock socket = (natsSock)number;
    natsConnection_ProcessCloseEvent(&socket);
#else
    close(number);
#endif
}

static void on_handle_closed(uv_handle_t *handle)
{
    watched *w = (watched *)(void *)handle;
    close_socket(w->socket);
    free(w);
}

void sbx_bus_poll_stop(bus_connection *connection)
{
    bus_poll *poll = &connection->poll;
    poll->wants_write = false;
    poll->polls_write = false;
    sbx_loop_undefer(connection->bus->loop, &poll->flush);
    if (poll->handle == NULL)
        return;
    uv_close((uv_handle_t *)poll->handle, on_handle_closed);
    poll->handle = NULL;
}

static void on_poll(uv_poll_t *handle, int status, int events);

static void watch_write(bus_connection *connection, bool write)
{
    bus_poll *poll = &connection->poll;
    if (poll->polls_write == write || poll->handle == NULL)
        return;
    poll->polls_write = write;
    uv_poll_start(poll->handle, write ? UV_READABLE | UV_WRITABLE : UV_READABLE, on_poll);
}

/* nats.c takes a write of nothing for a closed connection, hence the look at the buffer. */
bool sbx_bus_poll_write_now(bus_connection *connection)
{
    bus_poll *poll = &connection->poll;
    if (poll->handle == NULL || !poll->wants_write || !is_attached(connection))
        return true;
    natsConnection *nats = watched_nats(connection);
    if (natsConnection_Buffered(nats) > 0)
        natsConnection_ProcessWriteEvent(nats);
    return poll->handle == NULL || !poll->wants_write;
}

static void flush(void *user)
{
    bus_connection *connection = user;
    watch_write(connection, /* write= */ !sbx_bus_poll_write_now(connection));
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    bus_connection *connection = handle->data;
    natsConnection *nats = ((watched *)(void *)handle)->nats;
    if (!is_attached(connection)) {
        sbx_bus_poll_stop(connection);
        return;
    }
    /* An error is read too: reading tells nats.c, which then reconnects. */
    if (status != 0 || (events & (UV_READABLE | UV_DISCONNECT)) != 0)
        natsConnection_ProcessReadEvent(nats);
    if (handle == connection->poll.handle && (events & UV_WRITABLE) != 0)
        flush(connection);
}

void sbx_bus_poll_write_soon(bus_connection *connection)
{
    if (connection->poll.wants_write && !connection->poll.polls_write)
        sbx_loop_defer(connection->bus->loop, &connection->poll.flush);
}

static void attach(bus_connection *connection, natsConnection *nats, int socket)
{
    sbx_bus_poll_stop(connection);
    if (!is_attached(connection)) {
        close_socket(socket);
        return;
    }
    watched *w = calloc(1, sizeof *w);
    if (w == NULL || uv_poll_init(sbx_loop_uv(connection->bus->loop), &w->poll, socket) != 0) {
        free(w);
        close_socket(socket);
        return; /* nats.c's own pings find out and reconnect */
    }
    w->nats = nats;
    w->socket = socket;
    w->poll.data = connection;
    connection->poll.handle = &w->poll;
    uv_poll_start(&w->poll, UV_READABLE, on_poll);
    connection->poll.wants_write = natsConnection_Buffered(nats) > 0;
    sbx_bus_poll_write_soon(connection);
}

static void set_wants_write(bus_connection *connection, bool wants_write)
{
    connection->poll.wants_write = wants_write;
    if (wants_write)
        sbx_bus_poll_write_soon(connection);
}

void sbx_bus_poll_take(bus_connection *connection, const bus_item *item)
{
    if (item->kind == BUS_ITEM_ATTACH)
        attach(connection, item->nats, item->socket);
    else if (item->kind == BUS_ITEM_REMOVE_READ)
        sbx_bus_poll_stop(connection);
    else
        set_wants_write(connection, item->kind == BUS_ITEM_ADD_WRITE);
}

void sbx_bus_poll_init(bus_connection *connection)
{
    connection->poll.flush = (sbx_task){.fn = flush, .user = connection};
}

/* ---- called by nats.c ---- */

static natsStatus on_attach(void **user_data, void *loop, natsConnection *nats, natsSock socket)
{
    bus_connection *connection = loop;
    *user_data = connection;
#if NATS_GIVES_SOCKET
    int number = (int)socket;
#else
    int number = fcntl((int)socket, F_DUPFD_CLOEXEC, 0);
#endif
    if (number < 0)
        return NATS_ERR;
    atomic_fetch_add(&connection->shared.attached, 1);
    bus_item item = {.kind = BUS_ITEM_ATTACH, .nats = nats, .socket = number};
    if (sbx_bus_push(connection, item))
        return NATS_OK;
    atomic_fetch_add(&connection->shared.removed, 1);
    close_socket(number);
    return NATS_NO_MEMORY;
}

static natsStatus on_read(void *user_data, bool add)
{
    bus_connection *connection = user_data;
    if (add)
        return NATS_OK;
    atomic_fetch_add(&connection->shared.removed, 1);
    sbx_bus_push(connection, (bus_item){.kind = BUS_ITEM_DOWN});
    if (is_on_loop(connection))
        sbx_bus_poll_stop(connection);
    else if (!sbx_bus_push(connection, (bus_item){.kind = BUS_ITEM_REMOVE_READ}))
        return NATS_NO_MEMORY;
    return NATS_OK;
}

static natsStatus on_write(void *user_data, bool add)
{
    bus_connection *connection = user_data;
    if (is_on_loop(connection)) {
        set_wants_write(connection, add);
        return NATS_OK;
    }
    bus_item item = {.kind = add ? BUS_ITEM_ADD_WRITE : BUS_ITEM_REMOVE_WRITE};
    return sbx_bus_push(connection, item) ? NATS_OK : NATS_NO_MEMORY;
}

static natsStatus on_detach(void *user_data)
{
    (void)user_data; /* a removed read has stopped everything already */
    return NATS_OK;
}

natsStatus sbx_bus_poll_use(natsOptions *options, bus_connection *connection)
{
    return natsOptions_SetEventLoop(options, connection, on_attach, on_read, on_write, on_detach);
}
