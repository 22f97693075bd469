/* The suite's second half: calls that are cancelled, cut, refused, or lose their worker end as transport.h
 * says: exactly once, or silently when they were cancelled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support_suite.h"

enum {
    MANY = 100
};

static const conf_answer mute = {.is_mute = true};
static const conf_answer head_only = {.status = 200, .is_stream = true, .end = CONF_HANG};
static const conf_answer some_events = {
    .status = 200, .is_stream = true, .events = 3, .event_len = 100, .end = CONF_HANG};
static const conf_answer slow_stream = {
    .status = 200, .is_stream = true, .events = 1000, .event_len = 100, .gap_ns = SBX_MS(5)};
static const conf_answer good = {.status = 200, .echoes = true};

/* ---- cancel ---- */

static bool all_seen_are_aborted(conf_world *w, const void *unused)
{
    (void)unused;
    for (size_t i = 0; i < w->factory->seen_count(w); i++) {
        if (!w->factory->seen(w, i).is_aborted)
            return false;
    }
    return true;
}

/* The worker hears of it, the caller nothing more; and the peer works as before. */
static void expect_cancelled(conf_world *w, conf_call *call)
{
    conf_call after = {0};
    conf_run_until(w, all_seen_are_aborted, NULL, 2000);
    conf_run_for(w, 50);
    conf_assert_silent(call);
    w->factory->answer_with(w, &good);
    conf_start(w, &after, "after");
    conf_run_until(w, conf_is_over, &after, 5000);
    conf_assert_ended_with(&after, 200, SBX_VIEW("after"));
    conf_forget(&after);
    conf_forget(call);
}

static void cancel_in_the_turn_of_the_start_leaves_nothing_running(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    w->factory->answer_with(w, &some_events);
    conf_start(w, &call, "{}");
    conf_cancel(&call);
    conf_run_for(w, 100);
    expect_cancelled(w, &call);
}

static void cancel_before_the_head_stops_the_worker(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    const size_t one = 1;
    w->factory->answer_with(w, &mute);
    conf_start(w, &call, "{}");
    conf_run_until(w, conf_was_seen, &one, 5000);
    conf_cancel(&call);
    expect_cancelled(w, &call);
}

static void cancel_after_the_head_stops_the_worker(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    w->factory->answer_with(w, &head_only);
    conf_start(w, &call, "{}");
    conf_run_until(w, conf_has_head, &call, 5000);
    conf_cancel(&call);
    expect_cancelled(w, &call);
}

static void cancel_in_the_middle_of_a_stream_stops_the_worker(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    w->factory->answer_with(w, &slow_stream);
    conf_start(w, &call, "{}");
    conf_run_until(w, conf_has_data, &call, 5000);
    conf_cancel(&call);
    expect_cancelled(w, &call);
}

static void a_call_may_cancel_itself_when_it_is_accepted(void **state)
{
    conf_world *w = *state;
    conf_call call = {.when_accepted = conf_cancel};
    w->factory->answer_with(w, &slow_stream);
    conf_start(w, &call, "{}");
    conf_run_for(w, 150);
    assert_true(call.is_cancelled);
    expect_cancelled(w, &call);
}

static void a_call_may_cancel_itself_at_its_head(void **state)
{
    conf_world *w = *state;
    conf_call call = {.when_head = conf_cancel};
    w->factory->answer_with(w, &slow_stream);
    conf_start(w, &call, "{}");
    conf_run_until(w, conf_has_head, &call, 5000);
    assert_int_equal(call.datas, 0);
    expect_cancelled(w, &call);
}

static void a_call_may_cancel_itself_at_its_first_data(void **state)
{
    conf_world *w = *state;
    conf_call call = {.when_data = conf_cancel};
    w->factory->answer_with(w, &slow_stream);
    conf_start(w, &call, "{}");
    conf_run_until(w, conf_has_data, &call, 5000);
    assert_int_equal(call.datas, 1);
    expect_cancelled(w, &call);
}

static void cancel_other(conf_call *call)
{
    if (call->other->call != NULL)
        conf_cancel(call->other);
}

static void a_callback_may_cancel_another_call(void **state)
{
    conf_world *w = *state;
    conf_call victim = {0};
    conf_call call = {.when_over = cancel_other, .other = &victim};
    w->factory->answer_with(w, &slow_stream);
    conf_start(w, &victim, "{}");
    conf_run_until(w, conf_has_data, &victim, 5000);
    w->factory->answer_with(w, &good);
    conf_start(w, &call, "short");
    conf_run_until(w, conf_is_over, &call, 5000);
    conf_assert_ended_with(&call, 200, SBX_VIEW("short"));
    assert_true(victim.is_cancelled);
    conf_run_for(w, 50);
    conf_assert_silent(&victim);
    assert_true(w->factory->seen(w, 0).is_aborted);
    conf_forget(&call);
    conf_forget(&victim);
}

static void a_paused_call_can_be_cancelled(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    w->factory->answer_with(w, &slow_stream);
    conf_start(w, &call, "{}");
    conf_run_until(w, conf_has_data, &call, 5000);
    call.call->kind->pause(call.call);
    conf_run_for(w, 30);
    conf_cancel(&call);
    expect_cancelled(w, &call);
}

static bool all_have_data(conf_world *w, const void *what)
{
    const conf_call *calls = what;
    for (int i = 0; i < MANY; i++) {
        if (!conf_has_data(w, &calls[i]))
            return false;
    }
    return true;
}

static void a_hundred_streams_cancelled_in_one_turn_all_stop(void **state)
{
    conf_world *w = *state;
    conf_call *calls = calloc(MANY, sizeof *calls);
    conf_call last = {0};
    assert_non_null(calls);
    w->factory->answer_with(w, &slow_stream);
    for (int i = 0; i < MANY; i++)
        conf_start(w, &calls[i], "{}");
    conf_run_until(w, all_have_data, calls, 20000);
    for (int i = 0; i < MANY; i++)
        conf_cancel(&calls[i]);
    conf_run_until(w, all_seen_are_aborted, NULL, 5000);
    for (int i = 0; i < MANY; i++) {
        conf_assert_silent(&calls[i]);
        conf_forget(&calls[i]);
    }
    free(calls);
    conf_start(w, &last, "{}");
    conf_run_until(w, conf_has_data, &last, 5000);
    conf_cancel(&last);
    conf_forget(&last);
}

static void one_cancelled_call_leaves_the_others_alone(void **state)
{
    conf_world *w = *state;
    conf_call calls[3] = {{0}};
    conf_answer answer = slow_stream;
    answer.events = 20;
    w->factory->answer_with(w, &answer);
    for (int i = 0; i < 3; i++)
        conf_start(w, &calls[i], "{}");
    conf_run_until(w, conf_has_data, &calls[1], 5000);
    conf_cancel(&calls[1]);
    conf_run_until(w, conf_is_over, &calls[0], 5000);
    conf_run_until(w, conf_is_over, &calls[2], 5000);
    assert_int_equal(calls[0].body.len, 20 * 100);
    assert_int_equal(calls[2].body.len, 20 * 100);
    conf_assert_silent(&calls[1]);
    for (int i = 0; i < 3; i++)
        conf_forget(&calls[i]);
}

/* ---- the worker's side goes wrong ---- */

static void an_answer_that_ends_too_early_is_a_reset(void **state)
{
    conf_world *w = *state;
    conf_call buffered = {0}, streamed = {0};
    conf_answer cut = some_events;
    cut.end = CONF_CUT;
    w->factory->answer_with(w, &cut);
    conf_start(w, &streamed, "{}");
    conf_run_until(w, conf_is_over, &streamed, 5000);
    conf_assert_failed_with(&streamed, SBX_OUTCOME_RESET);
    assert_int_equal(streamed.body.len, 3 * 100); /* what came before counts */

    w->factory->answer_with(w, &(conf_answer){.status = 200, .echoes = true, .end = CONF_CUT});
    conf_start(w, &buffered, "a body of some length");
    conf_run_until(w, conf_is_over, &buffered, 5000);
    conf_assert_failed_with(&buffered, SBX_OUTCOME_RESET);
    conf_forget(&buffered);
    conf_forget(&streamed);
}

static void a_reset_connection_is_a_reset(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    conf_answer reset = some_events;
    reset.end = CONF_RESET;
    w->factory->answer_with(w, &reset);
    conf_start(w, &call, "{}");
    conf_run_until(w, conf_is_over, &call, 5000);
    conf_assert_failed_with(&call, SBX_OUTCOME_RESET);
    conf_forget(&call);
}

static bool all_are_over(conf_world *w, const void *what)
{
    const conf_call *calls = what;
    for (int i = 0; i < MANY; i++) {
        if (!conf_is_over(w, &calls[i]))
            return false;
    }
    return true;
}

static void a_killed_worker_fails_all_its_calls_at_once(void **state)
{
    conf_world *w = *state;
    conf_call *calls = calloc(MANY, sizeof *calls);
    assert_non_null(calls);
    w->factory->answer_with(w, &slow_stream);
    for (int i = 0; i < MANY; i++)
        conf_start(w, &calls[i], "{}");
    conf_run_until(w, all_have_data, calls, 20000);
    w->factory->die(w);
    conf_run_until(w, all_are_over, calls, 2000);
    for (int i = 0; i < MANY; i++) {
        conf_assert_failed_with(&calls[i], SBX_OUTCOME_RESET);
        conf_forget(&calls[i]);
    }
    free(calls);
}

static void a_mute_worker_that_is_killed_fails_its_call(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    const size_t one = 1;
    w->factory->answer_with(w, &mute);
    conf_start(w, &call, "{}");
    conf_run_until(w, conf_was_seen, &one, 5000);
    w->factory->die(w);
    conf_run_until(w, conf_is_over, &call, 2000);
    conf_assert_failed_with(&call, SBX_OUTCOME_RESET);
    conf_forget(&call);
}

static void a_worker_that_is_not_there_is_refused(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    w->factory->unplug(w);
    conf_start(w, &call, "{}");
    if (call.start_err == SBX_E_CLOSED) {
        assert_null(call.call);
        conf_run_for(w, 50);
        conf_assert_silent(&call);
    } else {
        conf_run_until(w, conf_is_over, &call, 2000);
        conf_assert_failed_with(&call, SBX_OUTCOME_REFUSED);
        assert_int_equal(call.heads + call.datas, 0);
    }
    conf_forget(&call);
}

/* ---- the end of the peer ---- */

static void a_freed_peer_says_nothing_more(void **state)
{
    conf_world *w = *state;
    conf_call calls[4] = {{0}};
    const size_t four = 4;
    const conf_answer *answers[] = {&mute, &head_only, &some_events, &slow_stream};
    for (int i = 0; i < 4; i++) {
        const size_t count = (size_t)i + 1;
        w->factory->answer_with(w, answers[i]);
        conf_start(w, &calls[i], "{}");
        conf_run_until(w, conf_was_seen, &count, 5000);
    }
    conf_run_until(w, conf_has_data, &calls[3], 5000);
    w->peer->kind->free_peer(w->peer);
    w->peer = NULL;
    for (int i = 0; i < 4; i++)
        calls[i].is_cancelled = true; /* a callback from here on fails the test */
    if (conf_was_seen(w, &four))
        conf_run_for(w, 150);
    for (int i = 0; i < 4; i++) {
        conf_assert_silent(&calls[i]);
        conf_forget(&calls[i]);
    }
}

static void a_peer_can_be_freed_right_after_a_start(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    w->factory->answer_with(w, &some_events);
    conf_start(w, &call, "{}");
    w->peer->kind->free_peer(w->peer);
    w->peer = NULL;
    call.is_cancelled = true;
    conf_run_for(w, 100);
    conf_assert_silent(&call);
    conf_forget(&call);
}

int conf_run_endings(const conf_factory *factory)
{
    const struct CMUnitTest tests[] = {
        CONF_TEST(cancel_in_the_turn_of_the_start_leaves_nothing_running, factory),
        CONF_TEST(cancel_before_the_head_stops_the_worker, factory),
        CONF_TEST(cancel_after_the_head_stops_the_worker, factory),
        CONF_TEST(cancel_in_the_middle_of_a_stream_stops_the_worker, factory),
        CONF_TEST(a_call_may_cancel_itself_when_it_is_accepted, factory),
        CONF_TEST(a_call_may_cancel_itself_at_its_head, factory),
        CONF_TEST(a_call_may_cancel_itself_at_its_first_data, factory),
        CONF_TEST(a_callback_may_cancel_another_call, factory),
        CONF_TEST(a_paused_call_can_be_cancelled, factory),
        CONF_TEST(a_hundred_streams_cancelled_in_one_turn_all_stop, factory),
        CONF_TEST(one_cancelled_call_leaves_the_others_alone, factory),
        CONF_TEST(an_answer_that_ends_too_early_is_a_reset, factory),
        CONF_TEST(a_reset_connection_is_a_reset, factory),
        CONF_TEST(a_killed_worker_fails_all_its_calls_at_once, factory),
        CONF_TEST(a_mute_worker_that_is_killed_fails_its_call, factory),
        CONF_TEST(a_worker_that_is_not_there_is_refused, factory),
        CONF_TEST(a_freed_peer_says_nothing_more, factory),
        CONF_TEST(a_peer_can_be_freed_right_after_a_start, factory),
    };
    print_message("kind %s: endings\n", factory->name);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
