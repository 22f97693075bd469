/* Kind nats against a real nats-server and a worker played by the test, frame by frame. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

#include "base/buf.h"
#include "codec/bus_control.h"
#include "codec/bus_frame.h"
#include "transport/nats.h"
#include "unit/net/support_nats.h"

#define RID "0123456789abcdef0123456789abcdef"

enum {
    NOTES_MAX = 256,
    WINDOW = 1000
};

/* ---- what the owner of a call heard ---- */

typedef struct heard {
    int accepted, progress, heads, ends, fails;
    unsigned status;
    char content_type[64];
    sbx_buf data;
    sbx_outcome outcome;
    sbx_time_ns retry_after_ns;
    char detail[128];
    struct world *world;
    sbx_transport_call **cancel_on_data; /* cancelled from within on_data */
} heard;

/* ---- what the worker heard: one note per message ---- */

typedef struct note {
    char verb[16], reply[160], body[160];
    size_t len;
    char path[64], deadline[24], expires[24], credit[24], body_bytes[24], offset[24], rid[40], attempt[8],
        stream[4], traceparent[64];
} note;

typedef struct world {
    support_nats server;
    sbx_loop *loop;
    sbx_nats_link *link;
    bool link_up;
    sbx_peer *peer; /* of w1 */
    int workers_seen, workers_left;

    sbx_bus *worker;
    bool worker_up;
    int worker_ups;
    sbx_bus_subscription *worker_subscription;
    int whos;
    note notes[NOTES_MAX];
    size_t note_count;
    bool assembles; /* the worker puts chunks together and answers them */
    int drop_chunk; /* 0: none; n: the nth chunk is lost */
    int chunks;
    sbx_buf body;

    heard h[2];
    bool (*until)(struct world *w);
    bool timed_out;
    sbx_timer limit, poll;
} world;

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

static long run_until_or(world *w, bool (*until)(world *w), long limit_ms)
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

static long run_until(world *w, bool (*until)(world *w), long limit_ms)
{
    long ms = run_until_or(w, until, limit_ms);
    assert_false(w->timed_out);
    return ms;
}

static bool never(world *w)
{
    (void)w;
    return false;
}

/* ---- the worker's part ---- */

static void header_to(const sbx_bus_message *m, const char *name, char *to, size_t size)
{
    sbx_view_to_cstr(sbx_bus_message_header(m, name), to, size);
}

static void send_frame(world *w, const char *reply, sbx_frame frame, sbx_view payload)
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
    send_frame(w, reply, ping, (sbx_view){0});
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

static const note *find_note(const world *w, const char *verb, int nth)
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

static void frame(world *w, const char *reply, uint32_t seq, sbx_frame_type type, const char *payload)
{
    send_frame(w, reply, (sbx_frame){.seq = seq, .type = type}, sbx_view_cstr(payload));
}

static const char head_json[] = "{\"status\":200,\"contentType\":\"text/event-stream\"}";

static void say_hello(world *w, const char *boot_id, uint64_t clock_ms)
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

static sbx_err start_call(world *w, int i, const sbx_view *body, size_t count, sbx_transport_call **ret_call)
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

static const sbx_view small_body[] = {SBX_VIEW_INIT("{\"model\":"), SBX_VIEW_INIT("\"m\"}")};

static bool got_run(world *w)
{
    return find_note(w, "run", 1) != NULL;
}

static int count_notes(const world *w, const char *verb)
{
    int count = 0;
    while (find_note(w, verb, count + 1) != NULL)
        count++;
    return count;
}

/* Starts call i and gives the attempt's subject as the worker sees it. */
static const char *start_small(world *w, int i, sbx_transport_call **ret_call)
{
    static char replies[2][160];
    int before = count_notes(w, "run");
    assert_int_equal(start_call(w, i, small_body, 2, ret_call), SBX_OK);
    while (count_notes(w, "run") == before)
        run_until_or(w, never, 2);
    strcpy(replies[i], find_note(w, "run", before + 1)->reply);
    return replies[i];
}

static bool is_over(world *w)
{
    return w->h[0].ends + w->h[0].fails > 0;
}
static bool both_over(world *w)
{
    return is_over(w) && w->h[1].ends + w->h[1].fails > 0;
}
static bool has_data(world *w)
{
    return w->h[0].data.len > 0;
}
static bool got_credit(world *w)
{
    return find_note(w, "credit", 1) != NULL;
}
static bool got_replay(world *w)
{
    return find_note(w, "replay", 1) != NULL;
}
static bool got_second_run(world *w)
{
    return find_note(w, "run", 2) != NULL;
}
static bool got_cancel(world *w)
{
    return find_note(w, "cancel", 1) != NULL;
}
static bool all_up(world *w)
{
    return w->link_up && w->worker_up;
}
static bool all_down(world *w)
{
    return !w->link_up && !w->worker_up;
}
static bool seen(world *w)
{
    return w->workers_seen > 0;
}
static bool seen_twice(world *w)
{
    return w->workers_seen > 1;
}
static bool left(world *w)
{
    return w->workers_left > 0;
}

static int open_world(void **state)
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
    run_until(w, all_up, 3000);
    for (int i = 0; i < 20 && !seen(w);
         i++) { /* the server may have it before the controller's subscription */
        say_hello(w, "boot1", 5000000);
        run_until_or(w, seen, 50);
    }
    assert_true(seen(w));
    w->workers_seen = 1;
    *state = w;
    return 0;
}

static int close_world(void **state)
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

static void assert_data(world *w, const char *wanted)
{
    assert_int_equal(w->h[0].data.len, strlen(wanted));
    assert_memory_equal(sbx_buf_view(&w->h[0].data).data, wanted, strlen(wanted));
}

/* Past the second in which "no responders" does not mean a death. */
static void settle(world *w)
{
    run_until_or(w, never, 1050);
}

/* ---- tests ---- */

static void a_run_carries_all_that_the_worker_needs(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    start_small(w, 0, &call);
    const note *n = find_note(w, "run", 1);
    assert_string_equal(n->reply, "response.c1." RID ".1");
    assert_string_equal(n->body, "{\"model\":\"m\"}");
    assert_string_equal(n->path, "/v1/chat/completions");
    assert_string_equal(n->rid, RID);
    assert_string_equal(n->attempt, "1");
    assert_string_equal(n->stream, "1");
    assert_string_equal(n->credit, "1000");
    assert_string_equal(n->traceparent, "00-ab-cd-01");
    assert_string_equal(n->body_bytes, "");
    assert_string_equal(n->deadline, "30000");
    /* The worker said 5000000 ms when it greeted, a moment ago. */
    assert_in_range(atol(n->expires), 5029000, 5031000);
    sbx_transport_cancel(call);
}

static void frames_become_events_in_order(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = start_small(w, 0, &call);
    frame(w, reply, 0, SBX_FRAME_ACK, "");
    frame(w, reply, 1, SBX_FRAME_HEAD, head_json);
    frame(w, reply, 2, SBX_FRAME_DATA, "one ");
    send_frame(w, reply, (sbx_frame){.seq = 3, .type = SBX_FRAME_PING, .flags = SBX_FRAME_PING_PROGRESS},
               (sbx_view){0});
    send_frame(w, reply, (sbx_frame){.seq = 3, .type = SBX_FRAME_PING}, (sbx_view){0});
    frame(w, reply, 3, SBX_FRAME_DATA, "two");
    frame(w, reply, 4, SBX_FRAME_END, "");
    run_until(w, is_over, 1000);
    assert_int_equal(w->h[0].accepted, 1);
    assert_int_equal(w->h[0].progress, 1);
    assert_int_equal(w->h[0].heads, 1);
    assert_int_equal(w->h[0].status, 200);
    assert_string_equal(w->h[0].content_type, "text/event-stream");
    assert_int_equal(w->h[0].ends, 1);
    assert_int_equal(w->h[0].fails, 0);
    assert_data(w, "one two");
    run_until(w, got_credit, 1000); /* all is acknowledged, so that the worker may forget it */
    assert_non_null(strstr(find_note(w, "credit", 1)->body, "\"seq\":5"));
}

static void a_worker_that_is_not_there_refuses_at_once(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    settle(w);
    sbx_bus_unsubscribe(w->worker_subscription);
    run_until_or(w, never, 20);
    assert_int_equal(start_call(w, 0, small_body, 2, &call), SBX_OK);
    long ms = run_until(w, is_over, 1000);
    assert_true(ms < 50);
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_REFUSED);
    assert_int_equal(w->workers_left, 1);
    assert_int_equal(start_call(w, 1, small_body, 2, &call), SBX_E_CLOSED); /* until it is seen again */
    say_hello(w, "boot1", 0);
    run_until(w, seen_twice, 1000);
    assert_int_equal(start_call(w, 1, small_body, 2, &call), SBX_OK);
    sbx_transport_cancel(call);
}

static void a_busy_workers_death_is_noticed_by_the_ping(void **state)
{
    world *w = *state;
    sbx_transport_call *a, *b;
    settle(w);
    frame(w, start_small(w, 0, &a), 0, SBX_FRAME_ACK, "");
    frame(w, start_small(w, 1, &b), 0, SBX_FRAME_ACK, "");
    run_until_or(w, never, 50);
    sbx_bus_unsubscribe(w->worker_subscription);
    long ms = run_until(w, both_over, 1000);
    assert_true(ms < 350);
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_RESET);
    assert_int_equal(w->h[1].outcome, SBX_OUTCOME_RESET);
    assert_int_equal(w->workers_left, 1);
}

static void a_gap_is_asked_for_and_duplicates_are_dropped(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = start_small(w, 0, &call);
    frame(w, reply, 0, SBX_FRAME_ACK, "");
    frame(w, reply, 1, SBX_FRAME_HEAD, head_json);
    frame(w, reply, 3, SBX_FRAME_DATA, "b"); /* 2 was lost */
    run_until(w, got_replay, 1000);
    assert_string_equal(find_note(w, "replay", 1)->body, "{\"from\":2}");
    frame(w, reply, 1, SBX_FRAME_HEAD, head_json);
    frame(w, reply, 2, SBX_FRAME_DATA, "a");
    frame(w, reply, 2, SBX_FRAME_DATA, "a");
    frame(w, reply, 3, SBX_FRAME_DATA, "b");
    frame(w, reply, 4, SBX_FRAME_END, "");
    frame(w, reply, 4, SBX_FRAME_END, "");
    run_until(w, is_over, 1000);
    assert_data(w, "ab");
    assert_int_equal(w->h[0].heads, 1);
    assert_int_equal(w->h[0].ends, 1);
}

static void a_ping_shows_that_the_tail_was_lost(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = start_small(w, 0, &call);
    frame(w, reply, 0, SBX_FRAME_ACK, "");
    frame(w, reply, 2, SBX_FRAME_PING, "");
    run_until(w, got_replay, 1000);
    assert_string_equal(find_note(w, "replay", 1)->body, "{\"from\":1}");
    sbx_transport_cancel(call);
}

static void a_gap_that_stays_fails_the_attempt(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = start_small(w, 0, &call);
    frame(w, reply, 0, SBX_FRAME_ACK, "");
    frame(w, reply, 2, SBX_FRAME_DATA, "?");
    long ms = run_until(w, is_over, 4000);
    assert_in_range(ms, 1900, 2400);
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_RESET);
    assert_non_null(find_note(w, "replay", 5)); /* it was asked for again and again */
    run_until(w, got_cancel, 1000);
}

static void a_worker_that_forgot_the_attempt_ends_it_at_once(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = start_small(w, 0, &call);
    frame(w, reply, 0, SBX_FRAME_ACK, "");
    sbx_frame f = {.seq = 0, .type = SBX_FRAME_ERROR, .flags = SBX_FRAME_ERROR_UNKNOWN};
    send_frame(w, reply, f, SBX_VIEW("{\"outcome\":\"reset\",\"text\":\"not here\"}"));
    run_until(w, is_over, 1000);
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_RESET);
    assert_string_equal(w->h[0].detail, "not here");
}

static void an_error_frame_tells_outcome_and_wait(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = start_small(w, 0, &call);
    frame(w, reply, 0, SBX_FRAME_ERROR,
          "{\"outcome\":\"overloaded\",\"retryAfterMs\":1500,\"text\":\"full\"}");
    run_until(w, is_over, 1000);
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_OVERLOADED);
    assert_true(w->h[0].retry_after_ns == SBX_MS(1500));
    assert_int_equal(w->h[0].accepted, 0);
}

static void credit_is_granted_as_data_is_taken_and_not_while_paused(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    char text[400];
    memset(text, 'x', sizeof text);
    const char *reply = start_small(w, 0, &call);
    frame(w, reply, 0, SBX_FRAME_ACK, "");
    frame(w, reply, 1, SBX_FRAME_HEAD, head_json);
    for (uint32_t i = 2; i < 4; i++)
        send_frame(w, reply, (sbx_frame){.seq = i, .type = SBX_FRAME_DATA}, sbx_view_of(text, sizeof text));
    run_until(w, got_credit, 1000); /* 800 of 1000 */
    assert_string_equal(find_note(w, "credit", 1)->body, "{\"seq\":4,\"bytes\":1800}");
    call->kind->pause(call);
    for (uint32_t i = 4; i < 6; i++)
        send_frame(w, reply, (sbx_frame){.seq = i, .type = SBX_FRAME_DATA}, sbx_view_of(text, sizeof text));
    run_until_or(w, never, 50);
    assert_int_equal(w->h[0].data.len, 1600);
    assert_null(find_note(w, "credit", 2));
    call->kind->resume(call);
    run_until_or(w, never, 50);
    assert_string_equal(find_note(w, "credit", 2)->body, "{\"seq\":6,\"bytes\":2600}");
    sbx_transport_cancel(call);
}

static void a_cancel_reaches_the_worker_and_nothing_follows(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = start_small(w, 0, &call);
    frame(w, reply, 0, SBX_FRAME_ACK, "");
    frame(w, reply, 1, SBX_FRAME_HEAD, head_json);
    run_until_or(w, never, 20);
    sbx_transport_cancel(call);
    long ms = run_until(w, got_cancel, 1000);
    assert_true(ms < 20);
    assert_string_equal(find_note(w, "cancel", 1)->reply, "response.c1." RID ".1");
    frame(w, reply, 2, SBX_FRAME_DATA, "late");
    frame(w, reply, 3, SBX_FRAME_END, "");
    run_until_or(w, never, 50);
    assert_int_equal(w->h[0].data.len, 0);
    assert_int_equal(w->h[0].ends + w->h[0].fails, 0);
}

static void a_callback_may_cancel_its_own_call(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = start_small(w, 0, &call);
    w->h[0].cancel_on_data = &call;
    frame(w, reply, 0, SBX_FRAME_ACK, "");
    frame(w, reply, 1, SBX_FRAME_HEAD, head_json);
    frame(w, reply, 2, SBX_FRAME_DATA, "enough");
    frame(w, reply, 3, SBX_FRAME_DATA, "more");
    run_until(w, got_cancel, 1000);
    assert_data(w, "enough");
}

static void what_is_no_frame_or_out_of_turn_is_malformed(void **state)
{
    world *w = *state;
    sbx_transport_call *a, *b;
    sbx_view junk = SBX_VIEW("junk");
    const char *reply = start_small(w, 0, &a);
    sbx_bus_publish(w->worker, SBX_BUS_CONTROL, reply, NULL, NULL, 0, &junk, 1);
    reply = start_small(w, 1, &b);
    frame(w, reply, 0, SBX_FRAME_ACK, "");
    frame(w, reply, 1, SBX_FRAME_DATA, "no head");
    run_until(w, both_over, 1000);
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_MALFORMED);
    assert_int_equal(w->h[1].outcome, SBX_OUTCOME_MALFORMED);
    run_until_or(w, never, 20);
    assert_non_null(find_note(w, "cancel", 2));
}

/* ---- large bodies ---- */

static bool body_is_there(world *w)
{
    return w->body.len >= 7 * 1024 * 1024;
}

static void upload(world *w, int drop_chunk)
{
    size_t len = 7 * 1024 * 1024;
    uint8_t *bytes = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    sbx_view pieces[] = {sbx_view_of(bytes, 10), sbx_view_of(bytes + 10, 0), sbx_view_of(bytes + 10, 3000000),
                         sbx_view_of(bytes + 3000010, len - 3000010)};
    sbx_transport_call *call;
    w->assembles = true;
    w->drop_chunk = drop_chunk;
    assert_int_equal(start_call(w, 0, pieces, 4, &call), SBX_OK);
    run_until(w, got_run, 1000);
    const note *n = find_note(w, "run", 1);
    assert_int_equal(n->len, 0);
    assert_int_equal(atol(n->body_bytes), len);
    run_until_or(w, never, 30);
    assert_null(find_note(w, "chunk", 1)); /* not before it is accepted */
    frame(w, n->reply, 0, SBX_FRAME_ACK, "");
    run_until(w, body_is_there, 5000);
    assert_int_equal(w->body.len, len);
    assert_memory_equal(sbx_buf_view(&w->body).data, bytes, len);
    sbx_transport_cancel(call);
    free(bytes);
}

static void a_large_body_arrives_whole_in_chunks(void **state)
{
    world *w = *state;
    upload(w, 0);
    assert_int_equal(w->chunks, 8); /* of 1 MiB less the margin */
}

static void a_lost_chunk_is_sent_again(void **state)
{
    upload(*state, 3);
}

static void a_lost_last_chunk_is_sent_again(void **state)
{
    upload(*state, 8);
}

static void a_stuck_worker_holds_four_chunks_at_most(void **state)
{
    world *w = *state;
    size_t len = 20 * 1024 * 1024;
    uint8_t *bytes = calloc(1, len);
    sbx_view piece = sbx_view_of(bytes, len);
    sbx_transport_call *call;
    assert_int_equal(start_call(w, 0, &piece, 1, &call), SBX_OK);
    run_until(w, got_run, 1000);
    frame(w, find_note(w, "run", 1)->reply, 0, SBX_FRAME_ACK, "");
    run_until_or(w, never, 1300);
    assert_non_null(find_note(w, "chunk", 4));
    assert_null(find_note(w, "chunk", 5));
    assert_non_null(find_note(w, "replay", 2)); /* asked what it has */
    sbx_transport_cancel(call);
    free(bytes);
}

/* ---- the bus restarts ---- */

static void ping_as_a_worker(world *w, const char *reply)
{
    uint8_t header[SBX_FRAME_HEADER_BYTES];
    sbx_frame ping = {.seq = 1, .type = SBX_FRAME_PING};
    sbx_frame_encode_header(&ping, header);
    sbx_view piece = sbx_view_of(header, sizeof header);
    sbx_bus_publish(w->worker, SBX_BUS_CONTROL, reply, "inference.w1.orphan.c1", NULL, 0, &piece, 1);
}

static void an_attempt_that_nobody_waits_for_is_cancelled_when_it_pings(void **state)
{
    world *w = *state;
    ping_as_a_worker(w, "response.c1.feedfeedfeedfeedfeedfeedfeedfeed.3");
    run_until(w, got_cancel, 1000);
    assert_string_equal(find_note(w, "cancel", 1)->reply, "response.c1.feedfeedfeedfeedfeedfeedfeedfeed.3");
}

static void restart_bus(world *w)
{
    support_nats_kill(&w->server);
    run_until(w, all_down, 1000);
    support_nats_restart(&w->server);
    run_until(w, all_up, 3000);
}

static void a_stream_lives_through_a_restart_of_the_bus(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = start_small(w, 0, &call);
    frame(w, reply, 0, SBX_FRAME_ACK, "");
    frame(w, reply, 1, SBX_FRAME_HEAD, head_json);
    frame(w, reply, 2, SBX_FRAME_DATA, "a");
    run_until(w, has_data, 1000);
    restart_bus(w);
    int whos = w->whos;
    run_until(w, got_replay, 1000);
    assert_string_equal(find_note(w, "replay", 1)->body, "{\"from\":3}");
    assert_string_equal(find_note(w, "credit", 1)->body, "{\"seq\":3,\"bytes\":1000}");
    assert_in_range(whos, 0, 2);
    frame(w, reply, 2, SBX_FRAME_DATA, "a"); /* the worker sends again what was not acknowledged */
    frame(w, reply, 3, SBX_FRAME_DATA, "b");
    frame(w, reply, 4, SBX_FRAME_END, "");
    run_until(w, is_over, 1000);
    assert_int_equal(w->h[0].fails, 0);
    assert_data(w, "ab");
    assert_int_equal(w->workers_left, 0);
}

static void a_run_without_ack_is_sent_again_after_a_restart(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = start_small(w, 0, &call);
    restart_bus(w);
    run_until(w, got_second_run, 1000);
    assert_string_equal(find_note(w, "run", 2)->reply, reply);
    frame(w, reply, 0, SBX_FRAME_ACK, "");
    frame(w, reply, 1, SBX_FRAME_HEAD, head_json);
    frame(w, reply, 2, SBX_FRAME_END, "");
    run_until(w, is_over, 1000);
    assert_int_equal(w->h[0].ends, 1);
}

static void a_worker_that_does_not_come_back_loses_its_streams(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    frame(w, start_small(w, 0, &call), 0, SBX_FRAME_ACK, "");
    run_until_or(w, never, 50);
    sbx_bus_unsubscribe(w->worker_subscription);
    run_until_or(w, never, 10);
    restart_bus(w);
    long ms = run_until(w, is_over, 4000);
    assert_in_range(ms, 800, 1600); /* after settling */
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_RESET);
    assert_int_equal(w->workers_left, 1);
}

static void while_the_bus_is_down_starts_are_refused_and_cancels_kept(void **state)
{
    world *w = *state;
    sbx_transport_call *call, *other;
    frame(w, start_small(w, 0, &call), 0, SBX_FRAME_ACK, "");
    run_until_or(w, never, 20);
    support_nats_kill(&w->server);
    run_until(w, all_down, 1000);
    assert_int_equal(start_call(w, 1, small_body, 2, &other), SBX_E_CLOSED);
    sbx_transport_cancel(call);
    support_nats_restart(&w->server);
    run_until(w, all_up, 3000);
    for (int i = 0; i < 20 && !got_cancel(w); i++) { /* as a worker does that is back */
        ping_as_a_worker(w, "response.c1." RID ".1");
        run_until_or(w, got_cancel, 50);
    }
    assert_non_null(find_note(w, "cancel", 1));
    assert_int_equal(w->h[0].ends + w->h[0].fails, 0);
}

/* ---- workers come and go ---- */

static void a_new_boot_ends_what_the_old_one_had(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    frame(w, start_small(w, 0, &call), 0, SBX_FRAME_ACK, "");
    run_until_or(w, never, 20);
    say_hello(w, "boot2", 0);
    run_until(w, is_over, 1000);
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_RESET);
    assert_int_equal(w->workers_seen, 2);
}

static void only_the_boot_that_is_known_may_take_leave(void **state)
{
    world *w = *state;
    sbx_view other = SBX_VIEW("{\"workerId\":\"w1\",\"bootId\":\"boot0\"}");
    sbx_view right = SBX_VIEW("{\"workerId\":\"w1\",\"bootId\":\"boot1\"}");
    sbx_bus_publish(w->worker, SBX_BUS_CONTROL, "worker.deregister", NULL, NULL, 0, &other, 1);
    run_until_or(w, never, 50);
    assert_int_equal(w->workers_left, 0);
    sbx_bus_publish(w->worker, SBX_BUS_CONTROL, "worker.deregister", NULL, NULL, 0, &right, 1);
    run_until(w, left, 1000);
}

static void a_registration_that_is_not_valid_is_ignored(void **state)
{
    world *w = *state;
    sbx_view bad = SBX_VIEW("{\"workerId\":\"w 1\",\"bootId\":\"b\",\"models\":[]}");
    sbx_bus_publish(w->worker, SBX_BUS_CONTROL, "worker.register", NULL, NULL, 0, &bad, 1);
    run_until_or(w, never, 50);
    assert_int_equal(w->workers_seen, 1);
}

static void freeing_a_peer_cancels_its_calls(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    start_small(w, 0, &call);
    w->peer->kind->free_peer(w->peer);
    w->peer = NULL;
    run_until(w, got_cancel, 1000);
    assert_int_equal(w->h[0].fails, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
        T(a_run_carries_all_that_the_worker_needs),
        T(frames_become_events_in_order),
        T(a_worker_that_is_not_there_refuses_at_once),
        T(a_busy_workers_death_is_noticed_by_the_ping),
        T(a_gap_is_asked_for_and_duplicates_are_dropped),
        T(a_ping_shows_that_the_tail_was_lost),
        T(a_gap_that_stays_fails_the_attempt),
        T(a_worker_that_forgot_the_attempt_ends_it_at_once),
        T(an_error_frame_tells_outcome_and_wait),
        T(credit_is_granted_as_data_is_taken_and_not_while_paused),
        T(a_cancel_reaches_the_worker_and_nothing_follows),
        T(a_callback_may_cancel_its_own_call),
        T(what_is_no_frame_or_out_of_turn_is_malformed),
        T(a_large_body_arrives_whole_in_chunks),
        T(a_lost_chunk_is_sent_again),
        T(a_lost_last_chunk_is_sent_again),
        T(a_stuck_worker_holds_four_chunks_at_most),
        T(a_stream_lives_through_a_restart_of_the_bus),
        T(an_attempt_that_nobody_waits_for_is_cancelled_when_it_pings),
        T(a_run_without_ack_is_sent_again_after_a_restart),
        T(a_worker_that_does_not_come_back_loses_its_streams),
        T(while_the_bus_is_down_starts_are_refused_and_cancels_kept),
        T(a_new_boot_ends_what_the_old_one_had),
        T(only_the_boot_that_is_known_may_take_leave),
        T(a_registration_that_is_not_valid_is_ignored),
        T(freeing_a_peer_cancels_its_calls),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
