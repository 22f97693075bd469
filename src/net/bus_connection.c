/* One connection of the bus: options, the first connect, and what nats.c tells of its state.
 *
 * The first connect runs on libuv's worker threads (it resolves names and waits), started by a timer until it
 * works; every later one is nats.c's own. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net/bus_priv.h"

enum {
    RECONNECT_WAIT_MS = 150,
    RECONNECT_JITTER_MS = 50,
    CONNECT_TIMEOUT_MS = 300,
    PING_INTERVAL_MS = 1000,
    MAX_PINGS_OUT = 2,
    IO_BUFFER_BYTES = 64 * 1024,
    FLUSH_AT_END_MS = 100,
    CLOSED_AT_END_MS = 500
};

static const char *lane_name(const bus_connection *connection)
{
    return connection == &connection->bus->connections[SBX_BUS_CONTROL] ? "control" : "bulk";
}

bool sbx_bus_connection_is_up(const bus_connection *connection)
{
    return connection->is_ready &&
           atomic_load(&connection->shared.attached) != atomic_load(&connection->shared.removed);
}

/* ---- callbacks of nats.c, on its threads ---- */

static void on_reconnected(natsConnection *nats, void *closure)
{
    sbx_bus_push(closure, (bus_item){.kind = BUS_ITEM_UP, .nats = nats});
}

static void on_closed(natsConnection *nats, void *closure)
{
    bus_connection *connection = closure;
    sbx_bus_push(connection, (bus_item){.kind = BUS_ITEM_GIVEN_UP, .nats = nats});
    atomic_store(&connection->shared.closed, true);
}

static void on_error(natsConnection *nats, natsSubscription *subscription, natsStatus status, void *closure)
{
    (void)nats, (void)subscription, (void)status, (void)closure; /* without it nats.c prints to stderr */
}

/* ---- options ---- */

/* Runs the steps in order until one fails. */
#define STEP(status, call)                                                                                   \
    do {                                                                                                     \
        if ((status) == NATS_OK)                                                                             \
            (status) = (call);                                                                               \
    } while (0)

static natsStatus set_credentials(natsOptions *o, const sbx_bus_options *options)
{
    natsStatus s = NATS_OK;
    if (options->user != NULL)
        STEP(s,
             natsOptions_SetUserInfo(o, options->user, options->password == NULL ? "" : options->password));
    if (options->token != NULL)
        STEP(s, natsOptions_SetToken(o, options->token));
    if (options->nkey_seed_file == NULL)
        return s;
    char key[BUS_NKEY_LEN + 1];
    if (sbx_bus_nkey_public(options->nkey_seed_file, key) != SBX_OK)
        return NATS_INVALID_ARG;
    STEP(s, natsOptions_SetNKeyFromSeed(o, key, options->nkey_seed_file));
    return s;
}

bool sbx_bus_uses_tls(const sbx_bus_options *options)
{
    return options->ca_file != NULL || options->cert_file != NULL || strstr(options->url, "tls://") != NULL;
}

static natsStatus set_tls(natsOptions *o, const sbx_bus_options *options)
{
    natsStatus s = NATS_OK;
    if (options->ca_file != NULL)
        STEP(s, natsOptions_LoadCATrustedCertificates(o, options->ca_file));
    if (options->cert_file != NULL)
        STEP(s, natsOptions_LoadCertificatesChain(o, options->cert_file, options->key_file));
    if (sbx_bus_uses_tls(options))
        STEP(s, natsOptions_SetSecure(o, true));
    return s;
}

static natsStatus set_behaviour(natsOptions *o, bus_connection *connection)
{
    natsStatus s = NATS_OK;
    STEP(s, natsOptions_SetSendAsap(o, true));
    STEP(s, natsOptions_SetReconnectBufSize(o, 0));
    STEP(s, natsOptions_SetMaxReconnect(o, -1));
    STEP(s, natsOptions_SetReconnectWait(o, RECONNECT_WAIT_MS));
    STEP(s, natsOptions_SetReconnectJitter(o, RECONNECT_JITTER_MS, RECONNECT_JITTER_MS));
    STEP(s, natsOptions_SetTimeout(o, CONNECT_TIMEOUT_MS));
    STEP(s, natsOptions_SetPingInterval(o, PING_INTERVAL_MS));
    STEP(s, natsOptions_SetMaxPingsOut(o, MAX_PINGS_OUT));
    STEP(s, natsOptions_SetIOBufSize(o, IO_BUFFER_BYTES));
    STEP(s, natsOptions_UseGlobalMessageDelivery(o, true));
    STEP(s, natsOptions_SetName(o, connection->bus->name));
    STEP(s, natsOptions_SetReconnectedCB(o, on_reconnected, connection));
    STEP(s, natsOptions_SetClosedCB(o, on_closed, connection));
    STEP(s, natsOptions_SetErrorHandler(o, on_error, NULL));
    STEP(s, sbx_bus_poll_use(o, connection));
    return s;
}

static sbx_err err_of(natsStatus status)
{
    if (status == NATS_OK)
        return SBX_OK;
    return status == NATS_NO_MEMORY ? SBX_E_NOMEM : SBX_E_INVALID;
}

static natsStatus make_options(bus_connection *connection, const sbx_bus_options *options)
{
    natsStatus s = natsOptions_Create(&connection->options);
    STEP(s, natsOptions_SetURL(connection->options, options->url));
    STEP(s, set_credentials(connection->options, options));
    STEP(s, set_tls(connection->options, options));
    STEP(s, set_behaviour(connection->options, connection));
    return s;
}

/* ---- the first connect ---- */

static void start_connect(bus_connection *connection);

static void retry_later(bus_connection *connection)
{
    sbx_time_ns now = sbx_loop_now(connection->bus->loop);
    sbx_timer_start(&connection->connect_timer, now + SBX_MS(RECONNECT_WAIT_MS));
}

static void on_connect_timer(sbx_timer *timer, void *user)
{
    (void)timer;
    start_connect(user);
}

/* On a worker thread. */
static void connect_blocking(uv_work_t *work)
{
    bus_connection *connection = work->data;
    connection->connected = NULL;
    atomic_store(&connection->shared.closed, false);
    connection->connect_status = natsConnection_Connect(&connection->connected, connection->options);
    if (connection->connect_status != NATS_OK)
        return;
    /* By the same way as the socket that was just attached, so that it comes after it. */
    sbx_bus_push(connection, (bus_item){.kind = BUS_ITEM_UP, .nats = connection->connected});
}

static void log_failure(bus_connection *connection)
{
    if (connection->connect_status == connection->logged_status)
        return;
    connection->logged_status = connection->connect_status;
    sbx_log(bus_connect_failed, .lane = lane_name(connection),
            .error = natsStatus_GetText(connection->connect_status));
}

static void on_connect_done(uv_work_t *work, int status)
{
    bus_connection *connection = work->data;
    connection->is_connecting = false;
    if (connection->bus->is_closing || (status == 0 && connection->connect_status == NATS_OK))
        return;
    if (status == 0)
        log_failure(connection);
    retry_later(connection);
}

static void start_connect(bus_connection *connection)
{
    connection->connect_work.data = connection;
    int error = uv_queue_work(sbx_loop_uv(connection->bus->loop), &connection->connect_work, connect_blocking,
                              on_connect_done);
    connection->is_connecting = error == 0;
    if (error != 0)
        retry_later(connection);
}

void sbx_bus_connection_init(bus_connection *connection, sbx_bus *bus)
{
    connection->bus = bus;
    sbx_bus_poll_init(connection);
    sbx_timer_init(&connection->connect_timer, bus->loop, on_connect_timer, connection);
}

sbx_err sbx_bus_connection_set_options(bus_connection *connection, const sbx_bus_options *options)
{
    return err_of(make_options(connection, options));
}

void sbx_bus_connection_start(bus_connection *connection)
{
    start_connect(connection);
}

/* ---- state, on the loop ---- */

static void take_up(bus_connection *connection, natsConnection *nats)
{
    connection->nats = nats;
    connection->is_ready = true;
    connection->logged_status = NATS_OK;
    if (sbx_bus_connection_is_up(connection) && connection == &connection->bus->connections[SBX_BUS_CONTROL])
        connection->bus->max_payload = (size_t)natsConnection_GetMaxPayload(nats);
}

/* nats.c gave up on this connection. Its object stays until the process ends (3.4 must not destroy it
 * earlier); a new one takes its place. */
static void take_given_up(bus_connection *connection)
{
    connection->is_ready = false;
    connection->nats = NULL;
    if (connection->bus->is_closing || connection->is_connecting)
        return;
    sbx_log(bus_connection_given_up, .lane = lane_name(connection));
    retry_later(connection);
}

void sbx_bus_connection_take(bus_connection *connection, const bus_item *item)
{
    if (item->kind == BUS_ITEM_UP) {
        take_up(connection, item->nats);
    } else if (item->kind == BUS_ITEM_DOWN) {
        connection->is_ready = false;
        connection->bus->counts.downs++;
    } else if (item->nats == connection->nats) {
        take_given_up(connection);
    }
    sbx_bus_review_state(connection->bus);
}

/* ---- the end ---- */

static void wait_for_connect(bus_connection *connection)
{
    sbx_timer_stop(&connection->connect_timer);
    while (connection->is_connecting)
        uv_run(sbx_loop_uv(connection->bus->loop), UV_RUN_ONCE);
}

static void flush_at_end(bus_connection *connection)
{
    for (int i = 0; i < FLUSH_AT_END_MS && !sbx_bus_poll_write_now(connection); i++)
        uv_sleep(1);
}

static void destroy(bus_connection *connection)
{
    natsConnection *nats = connection->nats != NULL ? connection->nats : connection->connected;
    connection->nats = NULL;
    connection->connected = NULL;
    if (nats == NULL)
        return;
    natsConnection_Destroy(nats);
    for (int i = 0; i < CLOSED_AT_END_MS && !atomic_load(&connection->shared.closed); i++)
        uv_sleep(1);
}

void sbx_bus_connection_close(bus_connection *connection)
{
    wait_for_connect(connection);
    if (sbx_bus_connection_is_up(connection))
        flush_at_end(connection);
    connection->is_ready = false;
    destroy(connection);
    natsOptions_Destroy(connection->options);
    connection->options = NULL;
    sbx_bus_poll_stop(connection);
}
