/* Sessions: the table, and how the router sticks to it and moves them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/router_priv.h"
#include "unit/core/support_rig.h"

static rig r;

static int open_rig(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.sessions.max_sessions = 3;
    rig_open(&r, &policy);
    rig_worker(&r, "w0", 16);
    rig_worker(&r, "w1", 16);
    rig_worker(&r, "w2", 16);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    rig_close(&r);
    return 0;
}

static sbx_attempt_ref ask_as(uint64_t key, uint64_t session)
{
    return rig_request(&r, (sbx_event_request_new){.key_hash = key, .session_hash = session});
}

static sbx_attempt_ref ask(uint64_t session)
{
    return ask_as(1, session);
}

static const char *serve(uint64_t session)
{
    sbx_attempt_ref attempt = ask(session);
    const char *where = rig_started_at(&r);
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
    return where;
}

static sbx_worker_ref named(const char *id)
{
    const sbx_worker *worker = sbx_registry_find(sbx_router_registry(r.router), sbx_view_cstr(id));
    return sbx_worker_describe(worker, r.now).ref;
}

static uint64_t moves(void)
{
    return sbx_router_counts_of(r.router).session_moves;
}

static void requests_of_a_session_go_to_the_same_worker(void **state)
{
    (void)state;
    const char *first = serve(7);
    for (int i = 0; i < 5; i++)
        assert_string_equal(serve(7), first);
    serve(8);
    assert_int_equal(moves(), 0);
    assert_int_equal(sbx_router_counts_of(r.router).sessions, 2);
}

static void the_same_id_under_another_key_is_another_session(void **state)
{
    (void)state;
    assert_string_equal(serve(7), "w0");
    ask_as(2, 7);
    assert_string_equal(rig_started_at(&r), "w1");
}

static void a_first_request_that_fails_binds_nothing(void **state)
{
    (void)state;
    rig_ended(&r, ask(7), SBX_OUTCOME_LOCAL);
    assert_int_equal(sbx_router_counts_of(r.router).sessions, 0);
    rig_ended(&r, ask(7), SBX_OUTCOME_REFUSED);
    assert_int_equal(sbx_router_counts_of(r.router).sessions, 0);
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_OK);
    assert_int_equal(sbx_router_counts_of(r.router).sessions, 1);
}

static void it_moves_when_another_worker_succeeded_because_its_own_could_not_be_picked(void **state)
{
    (void)state;
    assert_string_equal(serve(7), "w0");
    rig_trip(&r, named("w0"));
    sbx_attempt_ref attempt = ask(7);
    const char *other = rig_started_at(&r);
    assert_string_not_equal(other, "w0");
    assert_int_equal(moves(), 0);
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
    assert_true(rig_noted(&r, SBX_NOTE_SESSION_MOVED));
    assert_int_equal(moves(), 1);
    rig_admin(&r, named("w0"), SBX_COMMAND_RESET);
    assert_string_equal(serve(7), other);
}

static void it_stays_when_the_request_elsewhere_failed(void **state)
{
    (void)state;
    assert_string_equal(serve(7), "w0");
    rig_admin(&r, named("w0"), SBX_COMMAND_DRAIN);
    rig_ended(&r, ask(7), SBX_OUTCOME_LOCAL);
    rig_admin(&r, named("w0"), SBX_COMMAND_UNDRAIN);
    assert_string_equal(serve(7), "w0");
    assert_int_equal(moves(), 0);
}

static void it_moves_after_a_failover_within_one_request(void **state)
{
    (void)state;
    assert_string_equal(serve(7), "w0");
    rig_ended(&r, ask(7), SBX_OUTCOME_REFUSED);
    const char *other = rig_started_at(&r);
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_OK);
    assert_int_equal(moves(), 1);
    assert_string_equal(serve(7), other);
}

static void a_worker_above_the_load_bound_is_relieved_and_keeps_its_session(void **state)
{
    (void)state;
    assert_string_equal(serve(7), "w0");
    uint32_t at_home = 0;
    for (int i = 0; i < 12; i++) {
        ask(7);
        at_home += rig_started_at(&r)[1] == '0';
    }
    assert_in_range(at_home, 4, 8); /* 150 % of the mean of 4, and one more */
    assert_int_equal(moves(), 0);
}

static void a_session_expires_when_it_was_not_used_for_its_time(void **state)
{
    (void)state;
    assert_string_equal(serve(7), "w0");
    for (int i = 0; i < 4; i++) {
        rig_tick(&r, SBX_SEC(1700)); /* sliding: each use begins it anew */
        assert_string_equal(serve(7), "w0");
    }
    rig_tick(&r, SBX_SEC(1801));
    assert_string_not_equal(serve(7), "w0");
    assert_int_equal(moves(), 0);
}

static void the_least_recently_used_session_makes_room(void **state)
{
    (void)state;
    serve(1);
    serve(2);
    serve(3);
    serve(1);
    serve(4);
    assert_int_equal(sbx_router_counts_of(r.router).sessions, 3);
    sbx_sessions *sessions = &r.router->sessions;
    assert_int_equal(sbx_sessions_use(sessions, sbx_session_key(2, 1), SBX_SEC(9), r.now).generation, 0);
    assert_int_not_equal(sbx_sessions_use(sessions, sbx_session_key(1, 1), SBX_SEC(9), r.now).generation, 0);
}

static void disabled_nothing_sticks(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.sessions.enabled = false;
    assert_int_equal(sbx_router_set_policy(r.router, &policy), SBX_OK);
    assert_string_equal(serve(7), "w0");
    assert_string_equal(serve(7), "w1");
    assert_int_equal(sbx_router_counts_of(r.router).sessions, 0);
}

static void a_session_of_a_worker_that_was_forgotten_moves(void **state)
{
    (void)state;
    assert_string_equal(serve(7), "w0");
    rig_gone(&r, named("w0"));
    rig_run(&r, SBX_SEC(601));
    assert_null(sbx_registry_find(sbx_router_registry(r.router), SBX_VIEW("w0")));
    serve(7);
    assert_int_equal(moves(), 1);
}

static void two_first_requests_at_once_bind_the_session_once(void **state)
{
    (void)state;
    sbx_attempt_ref a = ask(7), b = ask(7);
    rig_ended(&r, a, SBX_OUTCOME_OK);
    rig_ended(&r, b, SBX_OUTCOME_OK);
    assert_string_equal(serve(7), "w0");
    assert_int_equal(moves(), 0);
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(requests_of_a_session_go_to_the_same_worker),
        PLAIN(the_same_id_under_another_key_is_another_session),
        PLAIN(a_first_request_that_fails_binds_nothing),
        PLAIN(it_moves_when_another_worker_succeeded_because_its_own_could_not_be_picked),
        PLAIN(it_stays_when_the_request_elsewhere_failed),
        PLAIN(it_moves_after_a_failover_within_one_request),
        PLAIN(a_worker_above_the_load_bound_is_relieved_and_keeps_its_session),
        PLAIN(a_session_expires_when_it_was_not_used_for_its_time),
        PLAIN(the_least_recently_used_session_makes_room),
        PLAIN(disabled_nothing_sticks),
        PLAIN(a_session_of_a_worker_that_was_forgotten_moves),
        PLAIN(two_first_requests_at_once_bind_the_session_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
