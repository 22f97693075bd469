/* Clients that leave, read slowly, or come in numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support_shell.h"

static void run_until_asked(rig *r, size_t times)
{
    rig_run_until(r, rig_was_asked, &times, 5000);
}

static void expect_silent(const client *c)
{
    assert_int_equal(c->replies + c->closes, 0);
}

/* ---- leaving ---- */

static void a_client_that_leaves_stops_its_worker_in_the_same_turn(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200));
    client_ask(&r, &c, ASK, /* change: */ NULL);
    run_until_asked(&r, 1);
    assert_true(sbx_fake_peer_record(r.peer, 0)->cancelled_at < 0);
    client_cancel(&c);
    assert_true(sbx_fake_peer_record(r.peer, 0)->cancelled_at >= 0);
    assert_int_equal(sbx_shell_job_count(r.shell), 0);
    client_forget(&c); /* its memory is its own again at once */
    rig_run_for(&r, 20);
    sbx_router_counts counts = sbx_router_counts_of(sbx_shell_router(r.shell));
    assert_int_equal(counts.ended[SBX_END_CANCELLED], 1);
    rig_close(&r);
}

static void a_client_that_leaves_before_its_turn_ends_is_never_sent(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    client_ask(&r, &c, ASK, /* change: */ NULL);
    client_cancel(&c);
    client_forget(&c);
    rig_run_for(&r, 20);
    assert_int_equal(sbx_fake_peer_call_count(r.peer), 0);
    rig_close(&r);
}

static void a_client_may_leave_while_its_retry_waits(void **state)
{
    rig r;
    client c = {0};
    (void)state;
    rig_init(&r);
    r.options.policy.retry.delay_ns = SBX_SEC(20);
    r.options.policy.retry.max_delay_ns = SBX_SEC(20);
    rig_open(&r, 2);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(500), DATA("{}"), END);
    client_ask(&r, &c, ASK, /* change: */ NULL);
    run_until_asked(&r, 1);
    rig_run_for(&r, 20);
    expect_silent(&c);
    client_cancel(&c);
    client_forget(&c);
    assert_int_equal(sbx_shell_job_count(r.shell), 0);
    rig_close(&r);
}

static void a_client_may_leave_as_its_stream_opens(void **state)
{
    rig r;
    client c = {.when_open = client_cancel};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(ROLE HELLO WORLD), DATA(STOP DONE), END);
    client_ask(&r, &c, ASK_STREAM, /* change: */ NULL);
    rig_run_for(&r, 30);
    assert_true(c.is_cancelled);
    assert_int_equal(c.chunks, 0);
    assert_true(sbx_fake_peer_record(r.peer, 0)->cancelled_at >= 0);
    client_forget(&c);
    rig_close(&r);
}

static void a_client_may_leave_at_any_chunk(void **state)
{
    rig r;
    client c = {.when_chunk = client_cancel};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(HELLO), DATA_AFTER(2, WORLD "event: x\n" WORLD WORLD),
               DATA_AFTER(2, STOP), END);
    client_ask(&r, &c, ASK_STREAM, /* change: */ NULL);
    rig_run_for(&r, 50);
    assert_int_equal(c.chunks, 1);
    assert_true(sbx_fake_peer_record(r.peer, 0)->cancelled_at >= 0);
    client_forget(&c);
    rig_close(&r);
}

static void a_client_may_leave_at_the_last_chunk(void **state)
{
    rig r;
    client c = {.when_chunk = client_cancel};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(HELLO STOP DONE), END);
    client_ask(&r, &c, ASK_STREAM, /* change: */ NULL); /* its one chunk is [DONE] */
    rig_run_for(&r, 30);
    assert_true(c.is_cancelled);
    client_forget(&c);
    rig_close(&r);
}

static void a_client_may_leave_at_the_error_event(void **state)
{
    rig r;
    client c = {.when_chunk = client_cancel};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(HELLO), FAILS(RESET));
    client_ask(&r, &c, ASK_STREAM, /* change: */ NULL);
    rig_run_for(&r, 30);
    assert_true(c.is_cancelled);
    client_forget(&c);
    rig_close(&r);
}

static void ask_again(client *c)
{
    static client next;
    next = (client){0};
    client_ask(c->rig, &next, ASK, /* change: */ NULL);
    client_cancel(&next);
    client_forget(&next);
}

static void a_reply_may_begin_and_leave_the_next_request(void **state)
{
    rig r;
    client c = {.when_reply = ask_again};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA(GOOD), END);
    client_ask(&r, &c, ASK, /* change: */ NULL);
    rig_run_until(&r, rig_is_over, &c, 5000);
    client_forget(&c);
    rig_close(&r);
}

/* ---- reading slowly ---- */

static void pause_job(client *c)
{
    sbx_job_pause(c->job);
}

static void a_slow_client_pauses_the_worker_and_is_not_timed_out(void **state)
{
    rig r;
    client c = {.when_open = pause_job};
    (void)state;
    rig_init(&r);
    r.options.policy.limits.idle_ns = SBX_MS(50);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(HELLO), DATA(WORLD), DATA(STOP), END);
    client_ask(&r, &c, ASK_STREAM, /* change: */ NULL);
    rig_run_until(&r, rig_has_bytes, &c, 1000);
    rig_run_for(&r, 200);
    assert_int_equal(sbx_fake_peer_record(r.peer, 0)->pauses, 1);
    client_expect_bytes(&c, HELLO);
    sbx_job_resume(c.job);
    rig_run_until(&r, rig_is_over, &c, 1000);
    assert_int_equal(sbx_fake_peer_record(r.peer, 0)->resumes, 1);
    client_expect_bytes(&c, HELLO WORLD STOP DONE);
    client_forget(&c);
    rig_close(&r);
}

static void pausing_twice_and_resuming_twice_is_once(void **state)
{
    rig r;
    client c = {.when_open = pause_job};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(HELLO), DATA(STOP), END);
    client_ask(&r, &c, ASK_STREAM, /* change: */ NULL);
    sbx_job_resume(c.job); /* never paused */
    rig_run_until(&r, rig_has_bytes, &c, 1000);
    sbx_job_pause(c.job);
    sbx_job_resume(c.job);
    sbx_job_resume(c.job);
    rig_run_until(&r, rig_is_over, &c, 1000);
    assert_int_equal(sbx_fake_peer_record(r.peer, 0)->pauses, 1);
    assert_int_equal(sbx_fake_peer_record(r.peer, 0)->resumes, 1);
    client_forget(&c);
    rig_close(&r);
}

static void a_paused_client_can_leave(void **state)
{
    rig r;
    client c = {.when_open = pause_job};
    (void)state;
    rig_init(&r);
    rig_open(&r, 1);
    RIG_SCRIPT(&r, ACCEPT, HEAD_SSE, DATA(HELLO), DATA(WORLD), END);
    client_ask(&r, &c, ASK_STREAM, /* change: */ NULL);
    rig_run_until(&r, rig_has_bytes, &c, 1000);
    client_cancel(&c);
    client_forget(&c);
    assert_true(sbx_fake_peer_record(r.peer, 0)->cancelled_at >= 0);
    rig_close(&r);
}

/* ---- in numbers ---- */

enum {
    MANY = 500
};

static bool all_are_over(rig *r, const void *what)
{
    const client *clients = what;
    for (int i = 0; i < MANY; i++) {
        if (!rig_is_over(r, &clients[i]))
            return false;
    }
    return true;
}

static client *ask_many(rig *r)
{
    client *clients = calloc(MANY, sizeof *clients);
    assert_non_null(clients);
    for (int i = 0; i < MANY; i++)
        client_ask(r, &clients[i], ASK, /* change: */ NULL);
    return clients;
}

static void forget_many(client *clients)
{
    for (int i = 0; i < MANY; i++)
        client_forget(&clients[i]);
    free(clients);
}

static void many_clients_at_once_are_all_answered(void **state)
{
    rig r;
    (void)state;
    rig_init(&r);
    rig_open(&r, 3);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA(GOOD), END);
    client *clients = ask_many(&r);
    rig_run_until(&r, all_are_over, clients, 10000);
    for (int i = 0; i < MANY; i++)
        client_expect_reply(&clients[i], 200);
    forget_many(clients);
    rig_close(&r);
}

/* Both workers go while everything runs on them, and nothing can be started: hundreds of events are raised
 * while actions are carried out. */
static void a_fleet_that_goes_away_under_load_ends_every_request_once(void **state)
{
    rig r;
    const size_t all = MANY;
    (void)state;
    rig_init(&r);
    r.options.policy.breaker.enabled = false;
    rig_open(&r, 2);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200));
    client *clients = ask_many(&r);
    rig_run_until(&r, rig_was_asked, &all, 5000);
    sbx_fake_peer_refuse(r.peer, SBX_E_CLOSED);
    sbx_shell_report(r.shell, &(sbx_event){.kind = SBX_EVENT_WORKER_GONE, .worker = rig_worker(&r, "w0")});
    sbx_shell_report(r.shell, &(sbx_event){.kind = SBX_EVENT_WORKER_GONE, .worker = rig_worker(&r, "w1")});
    rig_run_until(&r, all_are_over, clients, 10000);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(clients[i].replies, 1);
        assert_int_not_equal(clients[i].head.status, 200);
    }
    forget_many(clients);
    rig_close(&r);
}

static void many_clients_that_leave_in_one_turn_leave_nothing(void **state)
{
    rig r;
    const size_t all = MANY;
    (void)state;
    rig_init(&r);
    rig_open(&r, 3);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200));
    client *clients = ask_many(&r);
    rig_run_until(&r, rig_was_asked, &all, 5000);
    for (int i = 0; i < MANY; i++)
        client_cancel(&clients[i]);
    assert_int_equal(sbx_shell_job_count(r.shell), 0);
    forget_many(clients);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_leaves_stops_its_worker_in_the_same_turn),
        cmocka_unit_test(a_client_that_leaves_before_its_turn_ends_is_never_sent),
        cmocka_unit_test(a_client_may_leave_while_its_retry_waits),
        cmocka_unit_test(a_client_may_leave_as_its_stream_opens),
        cmocka_unit_test(a_client_may_leave_at_any_chunk),
        cmocka_unit_test(a_client_may_leave_at_the_last_chunk),
        cmocka_unit_test(a_client_may_leave_at_the_error_event),
        cmocka_unit_test(a_reply_may_begin_and_leave_the_next_request),
        cmocka_unit_test(a_slow_client_pauses_the_worker_and_is_not_timed_out),
        cmocka_unit_test(pausing_twice_and_resuming_twice_is_once),
        cmocka_unit_test(a_paused_client_can_leave),
        cmocka_unit_test(many_clients_at_once_are_all_answered),
        cmocka_unit_test(a_fleet_that_goes_away_under_load_ends_every_request_once),
        cmocka_unit_test(many_clients_that_leave_in_one_turn_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
