/* Kind nats: the link to all workers of the bus, and its peers. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "transport/nats_priv.h"

enum {
    ARENA_BYTES = 512 * 1024,
    PEERS_MAX = 1 << 16,
    PING_PREFIX_LEN = 5 /* "ping." */
};

static const sbx_siphash_key map_seed = {.k0 = 0x6c696e6b, .k1 = 0x70656572};

bool sbx_nats_link_is_settling(const sbx_nats_link *link)
{
    return sbx_loop_now(link->loop) - link->up_at < SBX_MS(NATS_SETTLE_MS);
}

/* ---- peers ---- */

sbx_err sbx_nats_peer_new(sbx_nats_link *link, sbx_view worker_id, sbx_peer **ret_peer)
{
    if (!sbx_id_is_token(worker_id))
        return SBX_E_INVALID;
    if (sbx_map_get(&link->peers, worker_id) != NULL)
        return SBX_E_EXISTS;
    nats_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return SBX_E_NOMEM;
    peer->super.kind = &sbx_nats_kind;
    peer->link = link;
    sbx_list_init(&peer->calls);
    memcpy(peer->id, worker_id.data, worker_id.len);
    sbx_err err = sbx_map_put(&link->peers, sbx_view_cstr(peer->id), peer);
    if (err != SBX_OK) {
        free(peer);
        return err;
    }
    *ret_peer = &peer->super;
    return SBX_OK;
}

/* ---- calls that fail together ---- */

void sbx_nats_peer_doom(nats_peer *peer, nats_pick_fn *pick, const void *with)
{
    SBX_LIST_EACH(node, &peer->calls)
    {
        nats_call *call = SBX_CONTAINER_OF(node, nats_call, node);
        if (!pick(call, with))
            continue;
        sbx_list_remove(node);
        sbx_list_push_back(&peer->link->doomed, node);
    }
}

/* One by one: each callback may cancel others and free peers. */
void sbx_nats_link_fail_doomed(sbx_nats_link *link, sbx_outcome outcome, const char *detail)
{
    while (!sbx_list_is_empty(&link->doomed)) {
        nats_call *call = SBX_CONTAINER_OF(sbx_list_first(&link->doomed), nats_call, node);
        sbx_nats_call_fail(call, outcome, /* retry_after_ns= */ -1, detail);
    }
}

static bool is_unseen(const nats_call *call, const void *with)
{
    (void)with;
    return !call->is_accepted;
}

static bool is_any(const nats_call *call, const void *with)
{
    (void)call, (void)with;
    return true;
}

/* First those that the worker never saw, as what they are; then the worker, so that its other requests fail
 * over as one; then what is still there. */
void sbx_nats_peer_lose(nats_peer *peer)
{
    sbx_nats_link *link = peer->link;
    char id[SBX_TOKEN_MAX + 1];
    memcpy(id, peer->id, sizeof id);
    peer->is_gone = true;
    sbx_nats_peer_doom(peer, is_unseen, NULL);
    sbx_nats_link_fail_doomed(link, SBX_OUTCOME_REFUSED, "no responder on the bus");
    link->events.on_worker_left(link->events.user, sbx_view_cstr(id));
    peer = sbx_map_get(&link->peers, sbx_view_cstr(id));
    if (peer == NULL)
        return;
    sbx_nats_peer_doom(peer, is_any, NULL);
    sbx_nats_link_fail_doomed(link, SBX_OUTCOME_RESET, "the worker left the bus");
}

/* ---- registrations and heartbeats ---- */

/* Messages are late by their way, never early: the most that the worker's clock was ahead is nearest. */
static void note_clock(nats_peer *peer, uint64_t clock_ms)
{
    if (clock_ms == 0 || clock_ms > INT64_MAX / 2)
        return;
    int64_t ahead = (int64_t)clock_ms - sbx_time_to_ms(sbx_loop_now(peer->link->loop));
    if (!peer->has_clock || ahead > peer->clock_ahead_ms)
        peer->clock_ahead_ms = ahead;
    peer->has_clock = true;
}

/* True when it is another boot than before. */
static bool note_seen(nats_peer *peer, const sbx_bus_worker *worker)
{
    bool is_new = !sbx_view_eq_cstr(worker->boot_id, peer->boot_id);
    bool is_reboot = is_new && peer->boot_id[0] != '\0';
    peer->is_gone = false;
    if (is_new) {
        peer->has_clock = false;
        sbx_view_to_cstr(worker->boot_id, peer->boot_id, sizeof peer->boot_id);
    }
    note_clock(peer, worker->clock_ms);
    return is_reboot;
}

static bool is_older(const nats_call *call, const void *with)
{
    const sbx_time_ns *since = with;
    return call->started_at <= *since;
}

static void take_worker(sbx_nats_link *link, const sbx_bus_worker *worker)
{
    nats_peer *peer = sbx_map_get(&link->peers, worker->worker_id);
    bool is_known = peer != NULL;
    sbx_time_ns now = sbx_loop_now(link->loop);
    bool is_reboot = is_known && note_seen(peer, worker);
    if (is_reboot)
        sbx_nats_peer_doom(peer, is_older, &now); /* the new process knows nothing of them */
    link->events.on_worker(link->events.user, worker);
    sbx_nats_link_fail_doomed(link, SBX_OUTCOME_RESET, "the worker was started anew");
    peer = sbx_map_get(&link->peers, worker->worker_id);
    if (!is_known && peer != NULL)
        note_seen(peer, worker);
}

static void on_worker_message(void *user, const sbx_bus_message *message)
{
    sbx_nats_link *link = user;
    sbx_bus_worker worker;
    sbx_errinfo info = {.text = ""};
    if (sbx_bus_worker_parse(message->data, &link->arena, &worker, &info) == SBX_OK)
        take_worker(link, &worker);
    else
        sbx_log(registration_refused, .why = info.text);
    sbx_arena_clear(&link->arena);
}

static void take_leave(sbx_nats_link *link, sbx_view worker_id, sbx_view boot_id)
{
    nats_peer *peer = sbx_map_get(&link->peers, worker_id);
    if (peer == NULL || !sbx_view_eq_cstr(boot_id, peer->boot_id))
        return;
    peer->is_gone = true;
    link->events.on_worker_left(link->events.user, worker_id);
}

static void on_leave_message(void *user, const sbx_bus_message *message)
{
    sbx_nats_link *link = user;
    sbx_view worker_id, boot_id;
    if (sbx_bus_leave_parse(message->data, &link->arena, &worker_id, &boot_id, NULL) == SBX_OK)
        take_leave(link, worker_id, boot_id);
    sbx_arena_clear(&link->arena);
}

/* ---- pings ---- */

static void ping(const nats_peer *peer)
{
    char subject[NATS_SUBJECT_MAX], reply[NATS_SUBJECT_MAX];
    snprintf(subject, sizeof subject, "inference.%s.ping", peer->id);
    snprintf(reply, sizeof reply, "response.%s.ping.%s", peer->link->controller_id, peer->id);
    sbx_bus_publish(peer->link->bus, SBX_BUS_CONTROL, subject, reply, NULL, 0, NULL, 0);
}

static void ping_busy(sbx_nats_link *link)
{
    size_t position = 0;
    void *value;
    while (sbx_map_next(&link->peers, &position, NULL, &value)) {
        const nats_peer *peer = value;
        if (!sbx_list_is_empty(&peer->calls))
            ping(peer);
    }
}

static void on_ping_timer(sbx_timer *timer, void *user)
{
    sbx_nats_link *link = user;
    link->is_pinging = link->calls.count > 0;
    if (!link->is_pinging)
        return;
    if (link->is_up)
        ping_busy(link);
    sbx_timer_start(timer, sbx_loop_now(link->loop) + link->ping_interval_ns);
}

void sbx_nats_link_start_pings(sbx_nats_link *link)
{
    if (link->is_pinging)
        return;
    link->is_pinging = true;
    sbx_timer_start(&link->ping_timer, sbx_loop_now(link->loop) + link->ping_interval_ns);
}

/* ---- responses ---- */

static void take_no_ping_responder(sbx_nats_link *link, sbx_view worker_id)
{
    nats_peer *peer = sbx_map_get(&link->peers, worker_id);
    if (peer != NULL && !peer->is_gone && !sbx_nats_link_is_settling(link))
        sbx_nats_peer_lose(peer);
}

/* While the bus settles, an attempt that lived through the restart waits for its worker to reconnect. */
static void take_no_responder(nats_call *call)
{
    if (call->gap.after_restart && sbx_nats_link_is_settling(call->peer->link))
        return;
    sbx_nats_peer_lose(call->peer);
}

/* An attempt that we do not have (any more) is still at work: its cancel was lost. A PING names its worker in
 * its reply subject, "inference.<workerId>.orphan.<controllerId>" behind the prefix. */
static void stop_stray(const sbx_nats_link *link, const sbx_bus_message *message)
{
    char id[SBX_TOKEN_MAX + 1], subject[NATS_SUBJECT_MAX], attempt[NATS_SUBJECT_MAX];
    size_t end = message->reply.len;
    sbx_view rest = message->reply;
    for (int dots = 0; end > 0 && dots < 2; end--)
        dots += rest.data[end - 1] == '.';
    rest = sbx_view_slice(rest, 0, end);
    size_t start = rest.len;
    while (start > 0 && rest.data[start - 1] != '.')
        start--;
    if (!sbx_id_is_token(sbx_view_skip(rest, start)))
        return;
    sbx_view_to_cstr(sbx_view_skip(rest, start), id, sizeof id);
    if (sbx_view_to_cstr(message->subject, attempt, sizeof attempt) != SBX_OK)
        return;
    snprintf(subject, sizeof subject, "inference.%s.cancel", id);
    sbx_bus_publish(link->bus, SBX_BUS_CONTROL, subject, attempt, NULL, 0, NULL, 0);
}

/* After "response.<controllerId>.". */
static void take_response(sbx_nats_link *link, sbx_view tail, const sbx_bus_message *message)
{
    if (sbx_view_starts_with(tail, SBX_VIEW("ping."))) {
        if (message->no_responders)
            take_no_ping_responder(link, sbx_view_skip(tail, PING_PREFIX_LEN));
        return;
    }
    nats_call *call = sbx_map_get(&link->calls, tail);
    if (call == NULL && message->reply.len > 0)
        stop_stray(link, message);
    else if (call != NULL && message->no_responders)
        take_no_responder(call);
    else if (call != NULL)
        sbx_nats_call_take(call, message->data);
}

static void on_response(void *user, const sbx_bus_message *message)
{
    sbx_nats_link *link = user;
    size_t prefix = strlen("response.") + strlen(link->controller_id) + 1;
    take_response(link, sbx_view_skip(message->subject, prefix), message);
    sbx_arena_clear(&link->arena);
}

/* ---- the bus comes and goes ---- */

static void send_late_cancels(sbx_nats_link *link)
{
    char subject[NATS_SUBJECT_MAX];
    sbx_time_ns now = sbx_loop_now(link->loop);
    SBX_LIST_EACH(node, &link->late_cancels)
    {
        late_cancel *late = SBX_CONTAINER_OF(node, late_cancel, node);
        sbx_list_remove(node);
        snprintf(subject, sizeof subject, "inference.%s.cancel", late->worker_id);
        if (now < late->until)
            sbx_bus_publish(link->bus, SBX_BUS_CONTROL, subject, late->subject, NULL, 0, NULL, 0);
        free(late);
    }
    link->late_cancel_count = 0;
}

static void each_call(sbx_nats_link *link, void (*fn)(nats_call *call))
{
    size_t position = 0;
    void *value;
    while (sbx_map_next(&link->calls, &position, NULL, &value))
        fn(value);
}

static void recover(nats_call *call)
{
    sbx_nats_recover_open(call, /* after_restart= */ true);
}

static void halt(nats_call *call)
{
    sbx_nats_recover_pause(call);
    sbx_nats_upload_stop(call);
}

static void on_bus_state(void *user, bool is_up)
{
    sbx_nats_link *link = user;
    link->is_up = is_up;
    if (is_up) {
        link->up_at = sbx_loop_now(link->loop);
        sbx_bus_publish(link->bus, SBX_BUS_CONTROL, "worker.who", NULL, NULL, 0, NULL, 0);
        send_late_cancels(link);
        each_call(link, recover);
    } else {
        each_call(link, halt);
    }
    link->events.on_up(link->events.user, is_up);
}

/* ---- begin and end ---- */

static sbx_err subscribe(sbx_nats_link *link)
{
    static const struct {
        const char *subject;
        sbx_bus_message_fn *fn;
    } all[] = {{"worker.register", on_worker_message},
               {"worker.heartbeat", on_worker_message},
               {"worker.deregister", on_leave_message}};
    sbx_bus_subscription *unused;
    char responses[NATS_SUBJECT_MAX];
    snprintf(responses, sizeof responses, "response.%s.>", link->controller_id);
    sbx_err err = sbx_bus_subscribe(link->bus, responses, on_response, link, &unused);
    for (size_t i = 0; i < sizeof all / sizeof all[0] && err == SBX_OK; i++)
        err = sbx_bus_subscribe(link->bus, all[i].subject, all[i].fn, link, &unused);
    return err;
}

static void init(sbx_nats_link *link, sbx_loop *loop, const sbx_nats_link_options *options,
                 const sbx_nats_link_events *events)
{
    link->loop = loop;
    link->events = *events;
    link->ping_interval_ns = options->ping_interval_ns;
    link->credit_bytes = options->credit_bytes;
    link->up_at = INT64_MIN / 2;
    memcpy(link->controller_id, options->controller_id, strlen(options->controller_id) + 1);
    sbx_map_init(&link->peers, map_seed, PEERS_MAX);
    sbx_map_init(&link->calls, map_seed, NATS_CALLS_MAX);
    sbx_list_init(&link->doomed);
    sbx_list_init(&link->late_cancels);
    sbx_arena_init(&link->arena, ARENA_BYTES);
    sbx_timer_init(&link->ping_timer, loop, on_ping_timer, link);
}

sbx_err sbx_nats_link_new(sbx_loop *loop, const sbx_nats_link_options *options,
                          const sbx_nats_link_events *events, sbx_nats_link **ret_link)
{
    if (!sbx_id_is_token(sbx_view_cstr(options->controller_id)))
        return SBX_E_INVALID;
    sbx_nats_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return SBX_E_NOMEM;
    init(link, loop, options, events);
    sbx_err err = sbx_bus_new(loop, &options->bus, on_bus_state, link, &link->bus);
    if (err == SBX_OK)
        err = subscribe(link);
    if (err != SBX_OK) {
        sbx_nats_link_free(link);
        return err;
    }
    *ret_link = link;
    return SBX_OK;
}

void sbx_nats_link_free(sbx_nats_link *link)
{
    if (link == NULL)
        return;
    assert(link->calls.count == 0 && link->peers.count == 0);
    sbx_timer_stop(&link->ping_timer);
    send_late_cancels(link);
    sbx_bus_free(link->bus);
    sbx_map_deinit(&link->peers);
    sbx_map_deinit(&link->calls);
    sbx_arena_deinit(&link->arena);
    free(link);
}
