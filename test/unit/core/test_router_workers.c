/* Workers come, boot again, fall silent, leave: what happens to them and to what they had under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/router_priv.h"
#include "unit/core/support_rig.h"

static rig r;

static int open_rig(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    rig_open(&r, &policy);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    rig_close(&r);
    return 0;
}

static void bus_down(void)
{
    sbx_event event = {.kind = SBX_EVENT_BUS_DOWN};
    r.last = sbx_router_step(r.router, r.now, &event);
}

/* Heartbeats of all of them, so that only what a test wants falls silent. */
static void beat_for(sbx_time_ns time, const char *id, const char *boot_id)
{
    for (sbx_time_ns end = r.now + time; r.now < end;) {
        rig_tick(&r, SBX_SEC(1));
        rig_nats(&r, id, boot_id, 4);
    }
}

/* ---- death --------------------------------------------------------------------------------------------- */

static void a_worker_that_leaves_hands_its_work_over_in_the_same_step(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_nats(&r, "w1", "a", 4);
    rig_nats(&r, "w2", "a", 4);
    sbx_attempt_ref attempt = rig_streaming(&r);
    rig_gone(&r, w1);
    assert_true(rig_noted(&r, SBX_NOTE_WORKER_OFFLINE));
    assert_int_equal(rig_find(&r, SBX_ACTION_CANCEL)->cancel.attempt.number, attempt.number);
    assert_string_equal(rig_started_at(&r), "w2");
    assert_int_equal(rig_info(&r, w1).in_flight, 0);
    assert_false(rig_info(&r, w1).online);
}

static void a_committed_stream_of_a_dead_worker_ends_interrupted(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_nats(&r, "w1", "a", 4);
    rig_nats(&r, "w2", "a", 4);
    rig_content(&r, rig_streaming(&r));
    rig_gone(&r, w1);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_STREAM_INTERRUPTED);
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 0);
}

static void a_silent_nats_worker_is_offline_after_its_time_and_its_work_moves(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_nats(&r, "w1", "a", 4);
    rig_accepted(&r, rig_streaming(&r));
    rig_nats(&r, "w2", "a", 4);
    beat_for(SBX_SEC(4), "w2", "a");
    assert_true(rig_info(&r, w1).online);
    rig_tick(&r, SBX_SEC(1));
    assert_false(rig_info(&r, w1).online);
    assert_string_equal(rig_started_at(&r), "w2");
}

static void frames_of_a_worker_are_a_sign_of_life(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_nats(&r, "w1", "a", 4);
    sbx_attempt_ref attempt = rig_streaming(&r);
    for (int i = 0; i < 20; i++) {
        rig_content(&r, attempt);
        rig_run(&r, SBX_SEC(1));
    }
    assert_true(rig_info(&r, w1).online);
}

static void an_http_worker_needs_no_heartbeat(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_run(&r, SBX_SEC(3600));
    assert_true(rig_info(&r, w1).online);
}

static void no_responder_takes_a_nats_worker_offline_until_it_is_seen(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_nats(&r, "w1", "a", 4);
    rig_nats(&r, "w2", "a", 4);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_REFUSED);
    assert_false(rig_info(&r, w1).online);
    assert_string_equal(rig_started_at(&r), "w2");
    rig_nats(&r, "w1", "a", 4);
    assert_true(rig_noted(&r, SBX_NOTE_WORKER_ONLINE));
    assert_true(rig_info(&r, w1).online);
}

static void a_new_boot_id_is_a_new_worker(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_nats(&r, "w1", "a", 4);
    rig_trip(&r, w1);
    rig_nats(&r, "w1", "b", 4);
    assert_true(rig_noted(&r, SBX_NOTE_WORKER_REBOOTED));
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_CLOSED);
    assert_true(rig_info(&r, w1).eligible);
}

static void work_of_the_old_boot_moves_and_its_frames_are_dropped(void **state)
{
    (void)state;
    rig_nats(&r, "w1", "a", 4);
    sbx_attempt_ref old = rig_streaming(&r);
    rig_nats(&r, "w2", "a", 4);
    rig_nats(&r, "w1", "b", 4);
    assert_string_equal(rig_started_at(&r), "w2");
    rig_content(&r, old);
    assert_int_equal(rig_count(&r, SBX_ACTION_DROP), 1);
}

static void the_same_boot_id_again_changes_nothing(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_nats(&r, "w1", "a", 4);
    rig_trip(&r, w1);
    rig_nats(&r, "w1", "a", 4);
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_OPEN);
    assert_int_equal(r.last.count, 0);
}

static void the_third_boot_in_a_minute_starts_half_open(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_nats(&r, "w1", "a", 4);
    rig_nats(&r, "w1", "b", 4);
    rig_nats(&r, "w1", "c", 4);
    assert_int_equal(rig_info(&r, w1).breaker, SBX_BREAKER_HALF_OPEN);
}

static void many_lost_attempts_are_paged_over_ticks_and_none_is_forgotten(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_nats(&r, "w1", "a", 200);
    for (int i = 0; i < 200; i++)
        rig_streaming(&r);
    rig_nats(&r, "w2", "a", 200);
    rig_gone(&r, w1);
    size_t moved = rig_count(&r, SBX_ACTION_START);
    assert_in_range(moved, 1, 199);
    while (sbx_router_next_deadline(r.router) <= r.now) {
        rig_tick(&r, 0);
        assert_true(r.last.count <= SBX_MAX_ACTIONS);
        moved += rig_count(&r, SBX_ACTION_START);
    }
    assert_int_equal(moved, 200);
    assert_int_equal(rig_info(&r, w1).in_flight, 0);
}

static void events_of_a_lost_attempt_whose_turn_has_not_come_are_dropped(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_nats(&r, "w1", "a", 200);
    sbx_attempt_ref last = {0};
    for (int i = 0; i < 200; i++)
        last = rig_streaming(&r);
    rig_gone(&r, w1);
    rig_content(&r, last);
    assert_int_equal(rig_count(&r, SBX_ACTION_COMMIT), 0);
}

/* ---- the bus ------------------------------------------------------------------------------------------- */

static void while_the_bus_is_down_no_nats_worker_is_picked_and_http_ones_are(void **state)
{
    (void)state;
    rig_nats(&r, "n1", "a", 4);
    bus_down();
    rig_buffered(&r);
    assert_int_equal(rig_end(&r)->end.error, SBX_API_NO_WORKERS_AVAILABLE);
    rig_worker(&r, "h1", 4);
    rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "h1");
}

static void a_stream_survives_a_bus_that_is_soon_back(void **state)
{
    (void)state;
    rig_nats(&r, "n1", "a", 4);
    sbx_attempt_ref attempt = rig_streaming(&r);
    rig_content(&r, attempt);
    bus_down();
    rig_run(&r, SBX_SEC(1));
    rig_nats(&r, "n1", "a", 4);
    rig_content(&r, attempt);
    assert_int_equal(rig_count(&r, SBX_ACTION_FORWARD), 1);
}

static void work_is_lost_without_blame_when_the_bus_stays_away(void **state)
{
    (void)state;
    sbx_worker_ref n1 = rig_nats(&r, "n1", "a", 4);
    rig_accepted(&r, rig_streaming(&r));
    rig_worker(&r, "h1", 4);
    bus_down();
    rig_tick(&r, SBX_SEC(4));
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 0);
    rig_tick(&r, SBX_SEC(1));
    assert_string_equal(rig_started_at(&r), "h1");
    assert_int_equal(rig_info(&r, n1).consecutive_failures, 0);
}

static void a_worker_that_booted_again_while_the_bus_was_down_did_die(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        rig_nats(&r, i == 0 ? "n1" : "n2", "a", 1);
        rig_request(&r, (sbx_event_request_new){.body_hash = 7});
        bus_down();
        rig_nats(&r, i == 0 ? "n1" : "n2", "b", 1);
        assert_true(rig_noted(&r, SBX_NOTE_WORKER_REBOOTED));
    }
    rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    rig_ended(&r, rig_request(&r, (sbx_event_request_new){.body_hash = 7}), SBX_OUTCOME_REFUSED);
    assert_int_equal(rig_end(&r)->end.should_retry, 0); /* the body killed two workers */
}

static void an_ack_that_cannot_come_is_waited_for_until_the_bus_is_back(void **state)
{
    (void)state;
    sbx_worker_ref n1 = rig_nats(&r, "n1", "a", 4);
    sbx_attempt_ref attempt = rig_buffered(&r);
    bus_down();
    rig_run(&r, SBX_SEC(1));
    assert_int_equal(sbx_router_counts_of(r.router).in_flight, 1);
    rig_nats(&r, "n1", "a", 4);
    rig_run(&r, SBX_MS(100));
    rig_accepted(&r, attempt);
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
    assert_int_equal(rig_end(&r)->kind, SBX_ACTION_SUCCEED);
    assert_int_equal(rig_info(&r, n1).consecutive_failures, 0);
}

static void an_ack_lost_with_the_bus_is_nobodys_fault(void **state)
{
    (void)state;
    sbx_worker_ref n1 = rig_nats(&r, "n1", "a", 4);
    rig_buffered(&r);
    bus_down();
    rig_tick(&r, SBX_SEC(1));
    rig_nats(&r, "n1", "a", 4);
    rig_tick(&r, SBX_MS(250));
    assert_int_equal(rig_find(&r, SBX_ACTION_CANCEL)->cancel.outcome, SBX_OUTCOME_ACK_TIMEOUT);
    assert_int_equal(rig_info(&r, n1).consecutive_failures, 0);
}

/* ---- the table of workers ------------------------------------------------------------------------------ */

static void a_gone_worker_stays_readable_and_is_forgotten_after_ten_minutes(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_gone(&r, w1);
    rig_run(&r, SBX_SEC(599));
    assert_non_null(sbx_registry_get(sbx_router_registry(r.router), w1));
    rig_run(&r, SBX_SEC(2));
    assert_null(sbx_registry_get(sbx_router_registry(r.router), w1));
    assert_int_equal(sbx_registry_count(sbx_router_registry(r.router)), 0);
}

static void a_worker_that_comes_back_in_time_keeps_its_handle(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_gone(&r, w1);
    rig_run(&r, SBX_SEC(599));
    assert_int_equal(rig_worker(&r, "w1", 4).generation, w1.generation);
    rig_run(&r, SBX_SEC(100));
    assert_non_null(sbx_registry_get(sbx_router_registry(r.router), w1));
}

static void a_full_table_makes_room_by_the_longest_gone_and_refuses_otherwise(void **state)
{
    (void)state;
    char id[16];
    sbx_worker_ref first = {0};
    for (int i = 0; i < 64; i++) {
        snprintf(id, sizeof id, "w%d", i);
        sbx_worker_ref ref = rig_worker(&r, id, 4);
        first = i == 0 ? ref : first;
    }
    sbx_event one_more = {.kind = SBX_EVENT_WORKER_SEEN, .seen = {.id = SBX_VIEW("more"), .capacity = 1}};
    r.last = sbx_router_step(r.router, r.now, &one_more);
    assert_null(sbx_registry_find(sbx_router_registry(r.router), SBX_VIEW("more")));
    rig_gone(&r, first);
    r.last = sbx_router_step(r.router, r.now, &one_more);
    assert_non_null(sbx_registry_find(sbx_router_registry(r.router), SBX_VIEW("more")));
    assert_null(sbx_registry_get(sbx_router_registry(r.router), first));
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(a_worker_that_leaves_hands_its_work_over_in_the_same_step),
        PLAIN(a_committed_stream_of_a_dead_worker_ends_interrupted),
        PLAIN(a_silent_nats_worker_is_offline_after_its_time_and_its_work_moves),
        PLAIN(frames_of_a_worker_are_a_sign_of_life),
        PLAIN(an_http_worker_needs_no_heartbeat),
        PLAIN(no_responder_takes_a_nats_worker_offline_until_it_is_seen),
        PLAIN(a_new_boot_id_is_a_new_worker),
        PLAIN(work_of_the_old_boot_moves_and_its_frames_are_dropped),
        PLAIN(the_same_boot_id_again_changes_nothing),
        PLAIN(the_third_boot_in_a_minute_starts_half_open),
        PLAIN(many_lost_attempts_are_paged_over_ticks_and_none_is_forgotten),
        PLAIN(events_of_a_lost_attempt_whose_turn_has_not_come_are_dropped),
        PLAIN(while_the_bus_is_down_no_nats_worker_is_picked_and_http_ones_are),
        PLAIN(a_stream_survives_a_bus_that_is_soon_back),
        PLAIN(work_is_lost_without_blame_when_the_bus_stays_away),
        PLAIN(a_worker_that_booted_again_while_the_bus_was_down_did_die),
        PLAIN(an_ack_that_cannot_come_is_waited_for_until_the_bus_is_back),
        PLAIN(an_ack_lost_with_the_bus_is_nobodys_fault),
        PLAIN(a_gone_worker_stays_readable_and_is_forgotten_after_ten_minutes),
        PLAIN(a_worker_that_comes_back_in_time_keeps_its_handle),
        PLAIN(a_full_table_makes_room_by_the_longest_gone_and_refuses_otherwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
