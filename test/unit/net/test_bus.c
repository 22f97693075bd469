/* The bus against a real nats-server that is killed, restarted and stopped under it. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "net/bus.h"
#include "support_nats.h"

typedef struct received {
    char subject[128], reply[128], header[64];
    size_t len;
    uint8_t first;
    bool no_responders;
} received;

typedef struct side {
    struct world *world;
    sbx_bus *bus;
    bool is_up;
    int ups, downs;
    int count;
    char here[24]; /* a subject of its own */
    int heres;     /* what came back on it */
    int gaps;
    uint32_t next_number;
    received last;
} side;

typedef struct world {
    support_nats server;
    sbx_loop *loop;
    side a, b;
    bool (*until)(struct world *w);
    bool timed_out;
    sbx_timer limit, poll;
} world;

/* ---- running the loop until something holds ---- */

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

/* Milliseconds it took; fails the test after limit_ms. */
static long run_until(world *w, bool (*until)(world *w), long limit_ms)
{
    sbx_time_ns start = (sbx_time_ns)uv_hrtime();
    w->until = until;
    w->timed_out = false;
    sbx_timer_start(&w->limit, start + SBX_MS(limit_ms));
    sbx_timer_start(&w->poll, start);
    sbx_loop_run(w->loop);
    sbx_timer_stop(&w->limit);
    sbx_timer_stop(&w->poll);
    assert_false(w->timed_out);
    return (long)sbx_time_to_ms((sbx_time_ns)uv_hrtime() - start);
}

static bool both_up(world *w)
{
    return w->a.is_up && w->b.is_up;
}
static bool both_down(world *w)
{
    return !w->a.is_up && !w->b.is_up;
}
static bool both_here(world *w)
{
    return w->a.heres > 0 && w->b.heres > 0;
}
static bool a_got_one(world *w)
{
    return w->a.count >= 1;
}
static bool b_got_one(world *w)
{
    return w->b.count >= 1;
}

/* ---- sides ---- */

static void copy_view(char *to, size_t size, sbx_view v)
{
    assert_int_equal(sbx_view_to_cstr(v, to, size), SBX_OK);
}

static void on_message(void *user, const sbx_bus_message *m)
{
    side *s = user;
    copy_view(s->last.subject, sizeof s->last.subject, m->subject);
    copy_view(s->last.reply, sizeof s->last.reply, m->reply);
    copy_view(s->last.header, sizeof s->last.header, sbx_bus_message_header(m, "Sbx-Test"));
    s->last.len = m->data.len;
    s->last.first = m->data.len > 0 ? m->data.data[0] : 0;
    s->last.no_responders = m->no_responders;
    s->count++;
}

static void on_state(void *user, bool is_up)
{
    side *s = user;
    assert_true(s->is_up != is_up);
    s->is_up = is_up;
    *(is_up ? &s->ups : &s->downs) += 1;
}

static void on_here(void *user, const sbx_bus_message *m)
{
    (void)m;
    ((side *)user)->heres++;
}

static void open_side(world *w, side *s, const char *name, const char *prefix)
{
    sbx_bus_options options = {.url = w->server.url, .name = name, .subject_prefix = prefix};
    *s = (side){.world = w};
    snprintf(s->here, sizeof s->here, "here.%s", name);
    assert_int_equal(sbx_bus_new(w->loop, &options, on_state, s, &s->bus), SBX_OK);
    sbx_bus_subscription *subscription;
    assert_int_equal(sbx_bus_subscribe(s->bus, s->here, on_here, s, &subscription), SBX_OK);
}

static void listen_on(side *s, const char *subject, sbx_bus_message_fn *fn)
{
    sbx_bus_subscription *subscription;
    assert_int_equal(sbx_bus_subscribe(s->bus, subject, fn, s, &subscription), SBX_OK);
}

static sbx_err say(side *s, const char *subject, const char *reply, const char *text)
{
    sbx_view piece = sbx_view_cstr(text);
    return sbx_bus_publish(s->bus, SBX_BUS_CONTROL, subject, reply, NULL, 0, &piece, 1);
}

/* Up is one thing, known to the server what a side listens to another: what a side says to itself comes back
 * after that. */
static void until_ready(world *w, long limit_ms)
{
    run_until(w, both_up, limit_ms);
    w->a.heres = w->b.heres = 0;
    assert_int_equal(say(&w->a, w->a.here, NULL, ""), SBX_OK);
    assert_int_equal(say(&w->b, w->b.here, NULL, ""), SBX_OK);
    run_until(w, both_here, 1000);
}

static int open_world(void **state)
{
    world *w = calloc(1, sizeof *w);
    support_nats_start(&w->server);
    assert_int_equal(sbx_loop_new(&w->loop), SBX_OK);
    sbx_timer_init(&w->limit, w->loop, on_limit, w);
    sbx_timer_init(&w->poll, w->loop, on_poll_timer, w);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    sbx_bus_free(w->a.bus);
    sbx_bus_free(w->b.bus);
    sbx_loop_free(w->loop);
    support_nats_stop(&w->server);
    free(w);
    return 0;
}

/* ---- tests ---- */

static void a_message_arrives_with_reply_and_headers_and_without_the_prefix(void **state)
{
    world *w = *state;
    open_side(w, &w->a, "a", "team.");
    open_side(w, &w->b, "b", "team.");
    listen_on(&w->b, "inference.w1.>", on_message);
    assert_int_equal(say(&w->a, "x", NULL, "too early"), SBX_E_CLOSED);
    until_ready(w, 3000);
    assert_true(sbx_bus_is_up(w->a.bus));
    assert_int_equal(sbx_bus_max_payload(w->a.bus), 1024 * 1024);

    sbx_bus_header header = {.name = "Sbx-Test", .value = "17"};
    sbx_view pieces[] = {SBX_VIEW("one"), SBX_VIEW(" and two")};
    sbx_err err = sbx_bus_publish(w->a.bus, SBX_BUS_CONTROL, "inference.w1.run", "response.c.r.1", &header, 1,
                                  pieces, 2);
    assert_int_equal(err, SBX_OK);
    run_until(w, b_got_one, 1000);
    assert_string_equal(w->b.last.subject, "inference.w1.run");
    assert_string_equal(w->b.last.reply, "team.response.c.r.1");
    assert_string_equal(w->b.last.header, "17");
    assert_int_equal(w->b.last.len, 11);
    assert_false(w->b.last.no_responders);
}

static void a_missing_worker_answers_no_responders_on_the_reply_subject(void **state)
{
    world *w = *state;
    open_side(w, &w->a, "a", NULL);
    open_side(w, &w->b, "b", NULL);
    listen_on(&w->a, "response.c.>", on_message);
    until_ready(w, 3000);
    assert_int_equal(say(&w->a, "inference.nobody.run", "response.c.r.1", "{}"), SBX_OK);
    long ms = run_until(w, a_got_one, 1000);
    assert_true(w->a.last.no_responders);
    assert_string_equal(w->a.last.subject, "response.c.r.1");
    assert_true(ms < 50);
}

static void a_plain_request_is_answered_to_its_own_inbox(void **state)
{
    world *w = *state;
    open_side(w, &w->a, "asker", NULL);
    open_side(w, &w->b, "worker", "team.");
    listen_on(&w->a, "inbox.1", on_message);
    listen_on(&w->b, "inference.w1", on_message);
    until_ready(w, 3000);
    assert_int_equal(say(&w->a, "team.inference.w1", "inbox.1", "?"), SBX_OK);
    run_until(w, b_got_one, 1000);
    sbx_view answer = SBX_VIEW("!");
    assert_int_equal(sbx_bus_respond(w->b.bus, sbx_view_cstr(w->b.last.reply), NULL, 0, &answer, 1), SBX_OK);
    run_until(w, a_got_one, 1000);
    assert_int_equal(w->a.last.first, '!');
}

static void what_breaks_the_rules_is_refused(void **state)
{
    world *w = *state;
    open_side(w, &w->a, "a", NULL);
    open_side(w, &w->b, "b", NULL);
    until_ready(w, 3000);
    assert_int_equal(say(&w->a, "a b", NULL, ""), SBX_E_INVALID);
    assert_int_equal(say(&w->a, "a\r\nPUB x 0", NULL, ""), SBX_E_INVALID);
    assert_int_equal(say(&w->a, "", NULL, ""), SBX_E_INVALID);
    sbx_bus_header header = {.name = "H", .value = "1\r\nX: 2"};
    sbx_view piece = SBX_VIEW("x");
    assert_int_equal(sbx_bus_publish(w->a.bus, SBX_BUS_CONTROL, "s", NULL, &header, 1, &piece, 1),
                     SBX_E_INVALID);
    void *big = calloc(1, 1024 * 1024 + 1);
    sbx_view too_big = sbx_view_of(big, 1024 * 1024 + 1);
    assert_int_equal(sbx_bus_publish(w->a.bus, SBX_BUS_BULK, "s", NULL, NULL, 0, &too_big, 1), SBX_E_CAP);
    free(big);
}

/* Each message carries its number; gaps are counted, the order checked. */
static void on_numbered(void *user, const sbx_bus_message *m)
{
    side *s = user;
    uint32_t number;
    memcpy(&number, m->data.data, sizeof number);
    if (number != s->next_number)
        s->gaps++;
    s->next_number = number + 1;
    s->count++;
}

static bool b_got_50000(world *w)
{
    return w->b.count >= 50000;
}

static void many_messages_arrive_in_order(void **state)
{
    world *w = *state;
    open_side(w, &w->a, "a", NULL);
    open_side(w, &w->b, "b", NULL);
    listen_on(&w->b, "n", on_numbered);
    until_ready(w, 3000);
    uint64_t before = sbx_bus_counts_of(w->b.bus).received;
    uint8_t frame[220] = {0};
    for (uint32_t i = 0; i < 50000; i++) {
        memcpy(frame, &i, sizeof i);
        sbx_view piece = sbx_view_of(frame, sizeof frame);
        while (sbx_bus_publish(w->a.bus, SBX_BUS_CONTROL, "n", NULL, NULL, 0, &piece, 1) == SBX_E_CLOSED)
            uv_run(sbx_loop_uv(w->loop), UV_RUN_NOWAIT); /* the cap of unsent bytes */
    }
    run_until(w, b_got_50000, 20000);
    assert_int_equal(w->b.gaps, 0);
    assert_int_equal(sbx_bus_counts_of(w->b.bus).received - before, 50000);
}

static void after_a_server_crash_it_is_up_again_and_subscribed(void **state)
{
    world *w = *state;
    open_side(w, &w->a, "a", NULL);
    open_side(w, &w->b, "b", NULL);
    listen_on(&w->b, "s", on_message);
    until_ready(w, 3000);
    support_nats_kill(&w->server);
    long ms = run_until(w, both_down, 1000);
    assert_true(ms < 100);
    assert_int_equal(say(&w->a, "s", NULL, "lost"), SBX_E_CLOSED);
    support_nats_restart(&w->server);
    ms = run_until(w, both_up, 5000);
    assert_true(ms < 800);
    assert_int_equal(w->a.ups, 2);
    assert_int_equal(w->a.downs, 1);
    until_ready(w, 1000);
    assert_int_equal(say(&w->a, "s", NULL, "again"), SBX_OK);
    run_until(w, b_got_one, 1000);
    assert_int_equal(w->b.last.first, 'a');
}

static void it_connects_to_a_server_that_comes_later(void **state)
{
    world *w = *state;
    support_nats_kill(&w->server);
    open_side(w, &w->a, "a", NULL);
    open_side(w, &w->b, "b", NULL);
    listen_on(&w->b, "s", on_message);
    sbx_time_ns start = (sbx_time_ns)uv_hrtime();
    while ((sbx_time_ns)uv_hrtime() - start < SBX_MS(300))
        uv_run(sbx_loop_uv(w->loop), UV_RUN_NOWAIT);
    assert_int_equal(w->a.ups, 0);
    support_nats_restart(&w->server);
    until_ready(w, 3000);
    assert_int_equal(say(&w->a, "s", NULL, "hello"), SBX_OK);
    run_until(w, b_got_one, 1000);
}

/* While nats.c reconnects, another socket of ours may get the number of the one it closed: that socket must
 * go on hearing its events. */
typedef struct pair {
    uv_poll_t poll;
    int ours, theirs;
    int heard;
} pair;

static void on_pair(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    pair *p = poll->data;
    char c;
    if (read(p->ours, &c, 1) == 1)
        p->heard++;
}

static void sockets_that_reuse_the_lost_connections_numbers_keep_their_events(void **state)
{
    enum {
        PAIRS = 16
    };
    world *w = *state;
    pair pairs[PAIRS] = {0};
    open_side(w, &w->a, "a", NULL);
    open_side(w, &w->b, "b", NULL);
    until_ready(w, 3000);
    support_nats_kill(&w->server);
    run_until(w, both_down, 1000);
    for (int i = 0; i < PAIRS; i++) {
        int fds[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        pairs[i].ours = fds[0];
        pairs[i].theirs = fds[1];
        pairs[i].poll.data = &pairs[i];
        uv_poll_init(sbx_loop_uv(w->loop), &pairs[i].poll, fds[0]);
        uv_poll_start(&pairs[i].poll, UV_READABLE, on_pair);
    }
    uv_run(sbx_loop_uv(w->loop), UV_RUN_NOWAIT);
    support_nats_restart(&w->server);
    run_until(w, both_up, 5000);
    for (int i = 0; i < PAIRS; i++)
        assert_int_equal(write(pairs[i].theirs, "x", 1), 1);
    for (int i = 0; i < 5; i++)
        uv_run(sbx_loop_uv(w->loop), UV_RUN_NOWAIT);
    for (int i = 0; i < PAIRS; i++)
        assert_int_equal(pairs[i].heard, 1);
    for (int i = 0; i < PAIRS; i++) {
        uv_close((uv_handle_t *)&pairs[i].poll, NULL);
        close(pairs[i].theirs);
    }
    uv_run(sbx_loop_uv(w->loop), UV_RUN_NOWAIT);
    for (int i = 0; i < PAIRS; i++)
        close(pairs[i].ours);
}

static void a_stopped_server_neither_blocks_the_loop_nor_fills_memory(void **state)
{
    world *w = *state;
    open_side(w, &w->a, "a", NULL);
    open_side(w, &w->b, "b", NULL);
    until_ready(w, 3000);
    kill(w->server.pid, SIGSTOP);
    uint8_t *body = calloc(1, 64 * 1024);
    sbx_view piece = sbx_view_of(body, 64 * 1024);
    sbx_time_ns worst = 0;
    int refused = 0;
    sbx_time_ns end = (sbx_time_ns)uv_hrtime() + SBX_MS(5000);
    while ((sbx_time_ns)uv_hrtime() < end && w->a.is_up) {
        sbx_time_ns before = (sbx_time_ns)uv_hrtime();
        if (sbx_bus_publish(w->a.bus, SBX_BUS_CONTROL, "s", NULL, NULL, 0, &piece, 1) != SBX_OK)
            refused++;
        uv_run(sbx_loop_uv(w->loop), UV_RUN_NOWAIT);
        worst = sbx_time_max(worst, (sbx_time_ns)uv_hrtime() - before);
        uv_sleep(1);
    }
    kill(w->server.pid, SIGCONT);
    free(body);
    assert_false(w->a.is_up); /* found by pings */
    assert_true(refused > 0); /* 8 MiB were reached */
    print_message("worst loop turn: %ld us\n", (long)(worst / 1000));
    assert_true(worst < SBX_MS(100));
    run_until(w, both_up, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
        T(a_message_arrives_with_reply_and_headers_and_without_the_prefix),
        T(a_missing_worker_answers_no_responders_on_the_reply_subject),
        T(a_plain_request_is_answered_to_its_own_inbox),
        T(what_breaks_the_rules_is_refused),
        T(many_messages_arrive_in_order),
        T(after_a_server_crash_it_is_up_again_and_subscribed),
        T(it_connects_to_a_server_that_comes_later),
        T(sockets_that_reuse_the_lost_connections_numbers_keep_their_events),
        T(a_stopped_server_neither_blocks_the_loop_nor_fills_memory),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
