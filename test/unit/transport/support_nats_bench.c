/* The bench of kind nats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

#include "unit/transport/support_nats_bench.h"

static void on_limit(sbx_timer *timer, void *user)
{
    (void)timer;
    world *w = user;
    w->timed_out = true;
    sbx_loop_stop(w->loop);
}

static void on_poll_timer(sbx_timer *timer, void *user)
{
    world *w = user;
    if (w->until(w))
        sbx_loop_stop(w->loop);
    else
        sbx_timer_start(timer, sbx_loop_now(w->loop) + SBX_MS(1));
}

long world_until_or(world *w, bool (*until)(world *w), long limit_ms)
{
    sbx_time_ns start = (sbx_time_ns)uv_hrtime();
    w->until = until;
    w->timed_out = false;
    sbx_timer_start(&w->limit, start + SBX_MS(limit_ms));
    sbx_timer_start(&w->poll, start);
    sbx_loop_run(w->loop);
    sbx_timer_stop(&w->limit);
    sbx_timer_stop(&w->poll);
    return (long)sbx_time_to_ms((sbx_time_ns)uv_hrtime() - start);
}

long world_until(world *w, bool (*until)(world *w), long limit_ms)
{
    long ms = world_until_or(w, until, limit_ms);
    assert_false(w->timed_out);
    return ms;
}

bool world_never(world *w)
{
    (void)w;
    return false;
}

/* ---- the worker's part ---- */

static void header_to(const sbx_bus_message *m, const char *name, char *to, size_t size)
{
    sbx_view_to_cstr(sbx_bus_message_header(m, name), to, size);
}

void world_send_frame(world *w, const char *reply, sbx_frame frame, sbx_view payload)
{
    uint8_t header[SBX_FRAME_HEADER_BYTES];
    frame.payload = payload;
    sbx_frame_encode_header(&frame, header);
    sbx_view pieces[] = {sbx_view_of(header, sizeof header), payload};
    sbx_err err = sbx_bus_publish(w->worker, SBX_BUS_CONTROL, reply, NULL, NULL, 0, pieces, 2);
    assert_int_equal(err, SBX_OK);
}

static void tell_body(world *w, const char *reply)
{
    sbx_frame ping = {
        .type = SBX_FRAME_PING, .seq = 1, .flags = SBX_FRAME_PING_BODY, .aux = (uint32_t)w->body.len};
    world_send_frame(w, reply, ping, (sbx_view){0});
}

static void take_chunk(world *w, const char *reply, const char *offset, sbx_view data)
{
    w->chunks++;
    if (w->chunks == w->drop_chunk)
        return;
    if ((size_t)atol(offset) == w->body.len)
        sbx_buf_append_view(&w->body, data);
    tell_body(w, reply);
}

static void on_worker_message(void *user, const sbx_bus_message *m)
{
    world *w = user;
    note n = {.len = m->data.len};
    sbx_view_to_cstr(sbx_view_skip(m->subject, strlen("inference.w1.")), n.verb, sizeof n.verb);
    sbx_view_to_cstr(m->reply, n.reply, sizeof n.reply);
    sbx_view_to_cstr(sbx_view_slice(m->data, 0, sizeof n.body - 1), n.body, sizeof n.body);
    header_to(m, "Sbx-Path", n.path, sizeof n.path);
    header_to(m, "Sbx-Deadline-Ms", n.deadline, sizeof n.deadline);
    header_to(m, "Sbx-Expires-Ms", n.expires, sizeof n.expires);
    header_to(m, "Sbx-Credit", n.credit, sizeof n.credit);
    header_to(m, "Sbx-Body-Bytes", n.body_bytes, sizeof n.body_bytes);
    header_to(m, "Sbx-Offset", n.offset, sizeof n.offset);
    header_to(m, "Sbx-Rid", n.rid, sizeof n.rid);
    header_to(m, "Sbx-Attempt", n.attempt, sizeof n.attempt);
    header_to(m, "Sbx-Stream", n.stream, sizeof n.stream);
    header_to(m, "traceparent", n.traceparent, sizeof n.traceparent);
    if (strcmp(n.verb, "ping") == 0)
        return;
    assert_true(w->note_count < NOTES_MAX);
    w->notes[w->note_count++] = n;
    if (w->assembles && strcmp(n.verb, "chunk") == 0)
        take_chunk(w, n.reply, n.offset, m->data);
    if (w->assembles && strcmp(n.verb, "replay") == 0)
        tell_body(w, n.reply);
}

const note *world_note(const world *w, const char *verb, int nth)
{
    for (size_t i = 0; i < w->note_count; i++) {
        if (strcmp(w->notes[i].verb, verb) == 0 && --nth == 0)
            return &w->notes[i];
    }
    return NULL;
}

static void on_who(void *user, const sbx_bus_message *m)
{
    (void)m;
    ((world *)user)->whos++;
}

static void on_worker_state(void *user, bool is_up)
{
    world *w = user;
    w->worker_up = is_up;
    w->worker_ups += is_up;
}

void world_frame(world *w, const char *reply, uint32_t seq, sbx_frame_type type, const char *payload)
{
    world_send_frame(w, reply, (sbx_frame){.seq = seq, .type = type}, sbx_view_cstr(payload));
}

const char world_head_json[] = "{\"status\":200,\"contentType\":\"text/event-stream\"}";

void world_hello(world *w, const char *boot_id, uint64_t clock_ms)
{
    sbx_buf buf;
    sbx_view model = SBX_VIEW("m");
    sbx_bus_worker worker = {.worker_id = SBX_VIEW("w1"),
                             .boot_id = sbx_view_cstr(boot_id),
                             .models = &model,
                             .model_count = 1,
                             .max_concurrent = 4,
                             .clock_ms = clock_ms};
    sbx_buf_init(&buf, 4096);
    assert_int_equal(sbx_bus_worker_write(&buf, &worker), SBX_OK);
    sbx_view v = sbx_buf_view(&buf);
    assert_int_equal(sbx_bus_publish(w->worker, SBX_BUS_CONTROL, "worker.heartbeat", NULL, NULL, 0, &v, 1),
                     SBX_OK);
    sbx_buf_deinit(&buf);
}

/* ---- the controller's part ---- */

static void on_up(void *user, bool is_up)
{
    ((world *)user)->link_up = is_up;
}

static void on_worker(void *user, const sbx_bus_worker *worker)
{
    world *w = user;
    assert_true(sbx_view_eq_cstr(worker->worker_id, "w1"));
    if (w->peer == NULL)
        assert_int_equal(sbx_nats_peer_new(w->link, worker->worker_id, &w->peer), SBX_OK);
    w->workers_seen++;
}

static void on_worker_left(void *user, sbx_view worker_id)
{
    world *w = user;
    assert_true(sbx_view_eq_cstr(worker_id, "w1"));
    w->workers_left++;
}

static void on_accepted(void *user)
{
    ((heard *)user)->accepted++;
}
static void on_progress(void *user)
{
    ((heard *)user)->progress++;
}
static void on_head(void *user, const sbx_answer_head *head)
{
    heard *h = user;
    h->heads++;
    h->status = head->status;
    sbx_view_to_cstr(head->content_type, h->content_type, sizeof h->content_type);
}
static void on_data(void *user, sbx_view bytes)
{
    heard *h = user;
    sbx_buf_append_view(&h->data, bytes);
    if (h->cancel_on_data != NULL && *h->cancel_on_data != NULL) {
        sbx_transport_call *call = *h->cancel_on_data;
        *h->cancel_on_data = NULL;
        sbx_transport_cancel(call);
    }
}
static void on_end(void *user)
{
    ((heard *)user)->ends++;
}
static void on_fail(void *user, sbx_outcome outcome, sbx_time_ns retry_after_ns, const char *detail)
{
    heard *h = user;
    h->fails++;
    h->outcome = outcome;
    h->retry_after_ns = retry_after_ns;
    snprintf(h->detail, sizeof h->detail, "%s", detail);
}

static const sbx_transport_events events = {
    .on_accepted = on_accepted,
    .on_progress = on_progress,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_fail = on_fail,
};

sbx_err world_start(world *w, int i, const sbx_view *body, size_t count, sbx_transport_call **ret_call)
{
    sbx_transport_request request = {.path = SBX_VIEW("/v1/chat/completions"),
                                     .streaming = true,
                                     .body = body,
                                     .body_count = count,
                                     .request_id = SBX_VIEW(RID),
                                     .attempt = (uint32_t)i + 1,
                                     .traceparent = SBX_VIEW("00-ab-cd-01"),
                                     .budget_ns = SBX_SEC(30)};
    return w->peer->kind->start(w->peer, &request, &events, &w->h[i], ret_call);
}

const sbx_view world_small_body[] = {SBX_VIEW_INIT("{\"model\":"), SBX_VIEW_INIT("\"m\"}")};

bool world_got_run(world *w)
{
    return world_note(w, "run", 1) != NULL;
}

static int count_notes(const world *w, const char *verb)
{
    int count = 0;
    while (world_note(w, verb, count + 1) != NULL)
        count++;
    return count;
}

const char *world_start_small(world *w, int i, sbx_transport_call **ret_call)
{
    static char replies[2][160];
    int before = count_notes(w, "run");
    assert_int_equal(world_start(w, i, world_small_body, 2, ret_call), SBX_OK);
    while (count_notes(w, "run") == before)
        world_until_or(w, world_never, 2);
    strcpy(replies[i], world_note(w, "run", before + 1)->reply);
    return replies[i];
}

bool world_is_over(world *w)
{
    return w->h[0].ends + w->h[0].fails > 0;
}
bool world_both_over(world *w)
{
    return world_is_over(w) && w->h[1].ends + w->h[1].fails > 0;
}
bool world_has_data(world *w)
{
    return w->h[0].data.len > 0;
}
bool world_got_credit(world *w)
{
    return world_note(w, "credit", 1) != NULL;
}
bool world_got_replay(world *w)
{
    return world_note(w, "replay", 1) != NULL;
}
bool world_got_second_run(world *w)
{
    return world_note(w, "run", 2) != NULL;
}
bool world_got_cancel(world *w)
{
    return world_note(w, "cancel", 1) != NULL;
}
bool world_all_up(world *w)
{
    return w->link_up && w->worker_up;
}
bool world_all_down(world *w)
{
    return !w->link_up && !w->worker_up;
}
static bool seen(world *w)
{
    return w->workers_seen > 0;
}
bool world_seen_twice(world *w)
{
    return w->workers_seen > 1;
}
bool world_has_left(world *w)
{
    return w->workers_left > 0;
}

int world_open(void **state)
{
    world *w = calloc(1, sizeof *w);
    support_nats_start(&w->server);
    assert_int_equal(sbx_loop_new(&w->loop), SBX_OK);
    sbx_timer_init(&w->limit, w->loop, on_limit, w);
    sbx_timer_init(&w->poll, w->loop, on_poll_timer, w);
    sbx_buf_init(&w->body, SIZE_MAX);
    for (int i = 0; i < 2; i++) {
        sbx_buf_init(&w->h[i].data, SIZE_MAX);
        w->h[i].world = w;
    }
    sbx_bus_options worker = {.url = w->server.url, .name = "worker-w1"};
    sbx_bus_subscription *unused;
    assert_int_equal(sbx_bus_new(w->loop, &worker, on_worker_state, w, &w->worker), SBX_OK);
    sbx_bus_subscribe(w->worker, "inference.w1.>", on_worker_message, w, &w->worker_subscription);
    sbx_bus_subscribe(w->worker, "worker.who", on_who, w, &unused);
    sbx_nats_link_options options = {.bus = {.url = w->server.url, .name = "controller"},
                                     .controller_id = "c1",
                                     .ping_interval_ns = SBX_MS(200),
                                     .credit_bytes = WINDOW};
    sbx_nats_link_events link_events = {
        .on_up = on_up, .on_worker = on_worker, .on_worker_left = on_worker_left, .user = w};
    assert_int_equal(sbx_nats_link_new(w->loop, &options, &link_events, &w->link), SBX_OK);
    world_until(w, world_all_up, 3000);
    /* The server may have the first before the controller's subscription. */
    for (int i = 0; i < 20 && !seen(w); i++) {
        world_hello(w, "boot1", 5000000);
        world_until_or(w, seen, 50);
    }
    assert_true(seen(w));
    w->workers_seen = 1;
    *state = w;
    return 0;
}

int world_close(void **state)
{
    world *w = *state;
    if (w->peer != NULL)
        w->peer->kind->free_peer(w->peer);
    sbx_nats_link_free(w->link);
    sbx_bus_free(w->worker);
    sbx_loop_free(w->loop);
    for (int i = 0; i < 2; i++)
        sbx_buf_deinit(&w->h[i].data);
    sbx_buf_deinit(&w->body);
    support_nats_stop(&w->server);
    free(w);
    return 0;
}

void world_assert_data(world *w, const char *wanted)
{
    assert_int_equal(w->h[0].data.len, strlen(wanted));
    assert_memory_equal(sbx_buf_view(&w->h[0].data).data, wanted, strlen(wanted));
}

void world_settle(world *w)
{
    world_until_or(w, world_never, 1050);
}
