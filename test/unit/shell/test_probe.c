/* Probes through shell, router and a scripted transport: what is sent, and what becomes of the answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support_shell.h"

/* One worker on the bus (its peer is the fake) whose breaker opens at its first failure, is half_open again
 * at once, and closes at two successes. Nobody comes to it: it is asked every 5 ms. */
static void open_quiet(rig *r)
{
    rig_init(r);
    r->options.policy.breaker.failure_threshold = 1;
    r->options.policy.breaker.timeout_ns = 0;
    r->options.policy.quiet_ns = SBX_MS(5);
    r->options.policy.retry.enabled = false;
    rig_open(r, 0);
    const sbx_view models[] = {SBX_VIEW("sim")};
    sbx_shell_report(r->shell, &(sbx_event){.kind = SBX_EVENT_WORKER_SEEN,
                                            .seen = {.id = SBX_VIEW("w0"),
                                                     .kind = SBX_WORKER_NATS,
                                                     .boot_id = SBX_VIEW("boot"),
                                                     .peer = r->peer,
                                                     .models = models,
                                                     .model_count = 1,
                                                     .capacity = 4,
                                                     .weight = 100}});
}

static sbx_breaker_state breaker_of(rig *r)
{
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(r->shell));
    return sbx_worker_describe(sbx_registry_get(registry, rig_worker(r, "w0")), sbx_shell_now(r->shell))
        .breaker;
}

/* A request fails, by the first script, and opens the breaker; the next scripts are for probes. */
static void trip(rig *r)
{
    client c = {0};
    client_ask(r, &c, ASK, /* change: */ NULL);
    rig_run_until(r, rig_is_over, &c, 5000);
    client_forget(&c);
}

static void a_probe_is_a_run_of_one_token(void **state)
{
    rig r;
    const size_t two = 2;
    (void)state;
    open_quiet(&r);
    RIG_SCRIPT(&r, FAILS(SERVER_ERROR));
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA(GOOD), END);
    trip(&r);
    rig_run_until(&r, rig_was_asked, &two, 5000);
    const sbx_fake_record *record = sbx_fake_peer_record(r.peer, 1);
    assert_true(sbx_view_eq_cstr(record->path, "/v1/chat/completions"));
    assert_true(sbx_view_eq_cstr(record->body, "{\"model\":\"sim\",\"messages\":[{\"role\":\"user\","
                                               "\"content\":\"ping\"}],\"max_tokens\":1}"));
    assert_int_equal(record->request_id.len, 32);
    assert_false(record->streaming);
    assert_int_equal(record->budget_ns, SBX_SEC(30));
    rig_close(&r);
}

static void two_good_answers_close_the_breaker(void **state)
{
    rig r;
    const size_t three = 3;
    (void)state;
    open_quiet(&r);
    RIG_SCRIPT(&r, FAILS(SERVER_ERROR));
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA(GOOD), END);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA(GOOD), END);
    trip(&r);
    rig_run_until(&r, rig_was_asked, &three, 5000);
    rig_run_for(&r, 30);
    assert_int_equal(breaker_of(&r), SBX_BREAKER_CLOSED);
    assert_int_equal(sbx_fake_peer_call_count(r.peer), 3); /* and nobody asks any more */
    rig_close(&r);
}

static void an_answer_is_judged_like_any_other(void **state)
{
    rig r;
    const size_t four = 4;
    (void)state;
    open_quiet(&r);
    RIG_SCRIPT(&r, FAILS(SERVER_ERROR));
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(200), DATA("no JSON"), END);
    RIG_SCRIPT(&r, ACCEPT, HEAD_JSON(500), DATA("{}"), END);
    RIG_SCRIPT(&r, FAILS(RESET));
    trip(&r);
    rig_run_until(&r, rig_was_asked, &four, 5000);
    rig_run_for(&r, 2);
    assert_int_equal(sbx_router_counts_of(sbx_shell_router(r.shell)).breaker_trips, 4);
    rig_close(&r);
}

static void a_probe_without_answer_is_stopped_with_its_worker(void **state)
{
    rig r;
    const size_t two = 2;
    (void)state;
    open_quiet(&r);
    RIG_SCRIPT(&r, FAILS(SERVER_ERROR));
    RIG_SCRIPT(&r, ACCEPT);
    trip(&r);
    rig_run_until(&r, rig_was_asked, &two, 5000);
    assert_false(sbx_fake_peer_record(r.peer, 1)->is_over);
    sbx_shell_report(r.shell, &(sbx_event){.kind = SBX_EVENT_WORKER_GONE, .worker = rig_worker(&r, "w0")});
    assert_true(sbx_fake_peer_record(r.peer, 1)->cancelled_at >= 0);
    rig_close(&r);
}

static void what_cannot_be_reached_is_no_answer(void **state)
{
    rig r;
    (void)state;
    open_quiet(&r);
    RIG_SCRIPT(&r, FAILS(SERVER_ERROR));
    trip(&r);
    sbx_fake_peer_refuse(r.peer, SBX_E_CLOSED);
    rig_run_for(&r, 30);
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(r.shell));
    assert_false(
        sbx_worker_describe(sbx_registry_get(registry, rig_worker(&r, "w0")), sbx_shell_now(r.shell)).online);
    rig_close(&r);
}

static void a_probe_that_is_out_at_the_end_is_stopped(void **state)
{
    rig r;
    const size_t two = 2;
    (void)state;
    open_quiet(&r);
    RIG_SCRIPT(&r, FAILS(SERVER_ERROR));
    RIG_SCRIPT(&r, ACCEPT);
    trip(&r);
    rig_run_until(&r, rig_was_asked, &two, 5000);
    sbx_shell_free(r.shell);
    assert_true(sbx_fake_peer_record(r.peer, 1)->is_over);
    r.peer->kind->free_peer(r.peer);
    sbx_loop_free(r.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_probe_is_a_run_of_one_token),
        cmocka_unit_test(two_good_answers_close_the_breaker),
        cmocka_unit_test(an_answer_is_judged_like_any_other),
        cmocka_unit_test(a_probe_without_answer_is_stopped_with_its_worker),
        cmocka_unit_test(what_cannot_be_reached_is_no_answer),
        cmocka_unit_test(a_probe_that_is_out_at_the_end_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
