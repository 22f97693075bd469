/* Kind nats frame by frame: how frames become events, what is asked for again, and cancels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/transport/support_nats_bench.h"

static void a_run_carries_all_that_the_worker_needs(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    world_start_small(w, 0, &call);
    const note *n = world_note(w, "run", 1);
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
    const char *reply = world_start_small(w, 0, &call);
    world_frame(w, reply, 0, SBX_FRAME_ACK, "");
    world_frame(w, reply, 1, SBX_FRAME_HEAD, world_head_json);
    world_frame(w, reply, 2, SBX_FRAME_DATA, "one ");
    world_send_frame(w, reply,
                     (sbx_frame){.seq = 3, .type = SBX_FRAME_PING, .flags = SBX_FRAME_PING_PROGRESS},
                     (sbx_view){0});
    world_send_frame(w, reply, (sbx_frame){.seq = 3, .type = SBX_FRAME_PING}, (sbx_view){0});
    world_frame(w, reply, 3, SBX_FRAME_DATA, "two");
    world_frame(w, reply, 4, SBX_FRAME_END, "");
    world_until(w, world_is_over, 1000);
    assert_int_equal(w->h[0].accepted, 1);
    assert_int_equal(w->h[0].progress, 1);
    assert_int_equal(w->h[0].heads, 1);
    assert_int_equal(w->h[0].status, 200);
    assert_string_equal(w->h[0].content_type, "text/event-stream");
    assert_int_equal(w->h[0].ends, 1);
    assert_int_equal(w->h[0].fails, 0);
    world_assert_data(w, "one two");
    world_until(w, world_got_credit, 1000); /* all is acknowledged, so that the worker may forget it */
    assert_non_null(strstr(world_note(w, "credit", 1)->body, "\"seq\":5"));
}

static void a_worker_that_is_not_there_refuses_at_once(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    world_settle(w);
    sbx_bus_unsubscribe(w->worker_subscription);
    world_until_or(w, world_never, 20);
    assert_int_equal(world_start(w, 0, world_small_body, 2, &call), SBX_OK);
    long ms = world_until(w, world_is_over, 1000);
    assert_true(ms < 50);
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_REFUSED);
    assert_int_equal(w->workers_left, 1);
    assert_int_equal(world_start(w, 1, world_small_body, 2, &call),
                     SBX_E_CLOSED); /* until it is seen again */
    world_hello(w, "boot1", 0);
    world_until(w, world_seen_twice, 1000);
    assert_int_equal(world_start(w, 1, world_small_body, 2, &call), SBX_OK);
    sbx_transport_cancel(call);
}

static void a_busy_workers_death_is_noticed_by_the_ping(void **state)
{
    world *w = *state;
    sbx_transport_call *a, *b;
    world_settle(w);
    world_frame(w, world_start_small(w, 0, &a), 0, SBX_FRAME_ACK, "");
    world_frame(w, world_start_small(w, 1, &b), 0, SBX_FRAME_ACK, "");
    world_until_or(w, world_never, 50);
    sbx_bus_unsubscribe(w->worker_subscription);
    long ms = world_until(w, world_both_over, 1000);
    assert_true(ms < 350);
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_RESET);
    assert_int_equal(w->h[1].outcome, SBX_OUTCOME_RESET);
    assert_int_equal(w->workers_left, 1);
}

static void a_gap_is_asked_for_and_duplicates_are_dropped(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = world_start_small(w, 0, &call);
    world_frame(w, reply, 0, SBX_FRAME_ACK, "");
    world_frame(w, reply, 1, SBX_FRAME_HEAD, world_head_json);
    world_frame(w, reply, 3, SBX_FRAME_DATA, "b"); /* 2 was lost */
    world_until(w, world_got_replay, 1000);
    assert_string_equal(world_note(w, "replay", 1)->body, "{\"from\":2}");
    world_frame(w, reply, 1, SBX_FRAME_HEAD, world_head_json);
    world_frame(w, reply, 2, SBX_FRAME_DATA, "a");
    world_frame(w, reply, 2, SBX_FRAME_DATA, "a");
    world_frame(w, reply, 3, SBX_FRAME_DATA, "b");
    world_frame(w, reply, 4, SBX_FRAME_END, "");
    world_frame(w, reply, 4, SBX_FRAME_END, "");
    world_until(w, world_is_over, 1000);
    world_assert_data(w, "ab");
    assert_int_equal(w->h[0].heads, 1);
    assert_int_equal(w->h[0].ends, 1);
}

static void a_ping_shows_that_the_tail_was_lost(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = world_start_small(w, 0, &call);
    world_frame(w, reply, 0, SBX_FRAME_ACK, "");
    world_frame(w, reply, 2, SBX_FRAME_PING, "");
    world_until(w, world_got_replay, 1000);
    assert_string_equal(world_note(w, "replay", 1)->body, "{\"from\":1}");
    sbx_transport_cancel(call);
}

static void a_gap_that_stays_fails_the_attempt(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = world_start_small(w, 0, &call);
    world_frame(w, reply, 0, SBX_FRAME_ACK, "");
    world_frame(w, reply, 2, SBX_FRAME_DATA, "?");
    long ms = world_until(w, world_is_over, 4000);
    assert_in_range(ms, 1900, 2400);
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_RESET);
    assert_non_null(world_note(w, "replay", 5)); /* it was asked for again and again */
    world_until(w, world_got_cancel, 1000);
}

static void a_worker_that_forgot_the_attempt_ends_it_at_once(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = world_start_small(w, 0, &call);
    world_frame(w, reply, 0, SBX_FRAME_ACK, "");
    sbx_frame f = {.seq = 0, .type = SBX_FRAME_ERROR, .flags = SBX_FRAME_ERROR_UNKNOWN};
    world_send_frame(w, reply, f, SBX_VIEW("{\"outcome\":\"reset\",\"text\":\"not here\"}"));
    world_until(w, world_is_over, 1000);
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_RESET);
    assert_string_equal(w->h[0].detail, "not here");
}

static void an_error_frame_tells_outcome_and_wait(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = world_start_small(w, 0, &call);
    world_frame(w, reply, 0, SBX_FRAME_ERROR,
                "{\"outcome\":\"overloaded\",\"retryAfterMs\":1500,\"text\":\"full\"}");
    world_until(w, world_is_over, 1000);
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
    const char *reply = world_start_small(w, 0, &call);
    world_frame(w, reply, 0, SBX_FRAME_ACK, "");
    world_frame(w, reply, 1, SBX_FRAME_HEAD, world_head_json);
    for (uint32_t i = 2; i < 4; i++)
        world_send_frame(w, reply, (sbx_frame){.seq = i, .type = SBX_FRAME_DATA},
                         sbx_view_of(text, sizeof text));
    world_until(w, world_got_credit, 1000); /* 800 of 1000 */
    assert_string_equal(world_note(w, "credit", 1)->body, "{\"seq\":4,\"bytes\":1800}");
    call->kind->pause(call);
    for (uint32_t i = 4; i < 6; i++)
        world_send_frame(w, reply, (sbx_frame){.seq = i, .type = SBX_FRAME_DATA},
                         sbx_view_of(text, sizeof text));
    world_until_or(w, world_never, 50);
    assert_int_equal(w->h[0].data.len, 1600);
    assert_null(world_note(w, "credit", 2));
    call->kind->resume(call);
    world_until_or(w, world_never, 50);
    assert_string_equal(world_note(w, "credit", 2)->body, "{\"seq\":6,\"bytes\":2600}");
    sbx_transport_cancel(call);
}

static void a_cancel_reaches_the_worker_and_nothing_follows(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = world_start_small(w, 0, &call);
    world_frame(w, reply, 0, SBX_FRAME_ACK, "");
    world_frame(w, reply, 1, SBX_FRAME_HEAD, world_head_json);
    world_until_or(w, world_never, 20);
    sbx_transport_cancel(call);
    long ms = world_until(w, world_got_cancel, 1000);
    assert_true(ms < 20);
    assert_string_equal(world_note(w, "cancel", 1)->reply, "response.c1." RID ".1");
    world_frame(w, reply, 2, SBX_FRAME_DATA, "late");
    world_frame(w, reply, 3, SBX_FRAME_END, "");
    world_until_or(w, world_never, 50);
    assert_int_equal(w->h[0].data.len, 0);
    assert_int_equal(w->h[0].ends + w->h[0].fails, 0);
}

static void a_callback_may_cancel_its_own_call(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = world_start_small(w, 0, &call);
    w->h[0].cancel_on_data = &call;
    world_frame(w, reply, 0, SBX_FRAME_ACK, "");
    world_frame(w, reply, 1, SBX_FRAME_HEAD, world_head_json);
    world_frame(w, reply, 2, SBX_FRAME_DATA, "enough");
    world_frame(w, reply, 3, SBX_FRAME_DATA, "more");
    world_until(w, world_got_cancel, 1000);
    world_assert_data(w, "enough");
}

static void what_is_no_frame_or_out_of_turn_is_malformed(void **state)
{
    world *w = *state;
    sbx_transport_call *a, *b;
    sbx_view junk = SBX_VIEW("junk");
    const char *reply = world_start_small(w, 0, &a);
    sbx_bus_publish(w->worker, SBX_BUS_CONTROL, reply, NULL, NULL, 0, &junk, 1);
    reply = world_start_small(w, 1, &b);
    world_frame(w, reply, 0, SBX_FRAME_ACK, "");
    world_frame(w, reply, 1, SBX_FRAME_DATA, "no head");
    world_until(w, world_both_over, 1000);
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_MALFORMED);
    assert_int_equal(w->h[1].outcome, SBX_OUTCOME_MALFORMED);
    world_until_or(w, world_never, 20);
    assert_non_null(world_note(w, "cancel", 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
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
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
