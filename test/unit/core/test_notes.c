/* What the router notes: who was filtered and why, and what a retry is for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support_rig.h"

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

/* The last step's last note of this kind. */
static const sbx_action *noted(sbx_note note)
{
    const sbx_action *found = NULL;
    for (uint32_t i = 0; i < r.last.count; i++) {
        const sbx_action *action = &r.last.items[i];
        if (action->kind == SBX_ACTION_NOTE && action->note.note == note)
            found = action;
    }
    assert_non_null(found);
    return found;
}

/* "offline draining breaker cooling full tried" */
static void assert_filtered(uint32_t total, uint32_t eligible, const char *wanted)
{
    const sbx_action *action = noted(SBX_NOTE_CANDIDATES_FILTERED);
    char found[128] = "";
    size_t len = 0;
    for (int i = 0; i < SBX_FILTER_COUNT; i++)
        len += (size_t)snprintf(found + len, sizeof found - len, i == 0 ? "%u" : " %u",
                                action->note.filtered[i]);
    assert_int_equal(action->note.total, total);
    assert_int_equal(action->note.eligible, eligible);
    assert_string_equal(found, wanted);
}

static void each_candidate_is_eligible_or_filtered_for_one_reason(void **state)
{
    (void)state;
    sbx_worker_ref gone = rig_worker(&r, "w1", 4);
    sbx_worker_ref drained = rig_worker(&r, "w2", 4);
    sbx_worker_ref isolated = rig_worker(&r, "w3", 4);
    rig_worker(&r, "w4", 1);
    rig_worker(&r, "w5", 1);
    rig_gone(&r, gone);
    rig_admin(&r, drained, SBX_COMMAND_DRAIN);
    rig_admin(&r, isolated, SBX_COMMAND_ISOLATE);
    rig_buffered(&r);
    assert_filtered(5, 2, "1 1 1 0 0 0");
    rig_buffered(&r);
    assert_filtered(5, 1, "1 1 1 0 1 0");
    rig_request(&r, (sbx_event_request_new){.model = SBX_VIEW("m"), .timeout_ns = SBX_TIME_NEVER});
    assert_filtered(5, 0, "1 1 1 0 2 0");
}

static void when_all_may_be_picked_nobody_is_filtered(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    rig_buffered(&r);
    assert_filtered(2, 2, "0 0 0 0 0 0");
}

static void a_retry_finds_the_failed_worker_filtered_as_tried(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_REFUSED);
    assert_filtered(2, 1, "0 0 0 0 0 1");
}

static void a_busy_worker_is_filtered_as_cooling(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    rig_busy(&r, rig_buffered(&r), SBX_SEC(60));
    if (rig_count(&r, SBX_ACTION_START) == 0)
        rig_until_start(&r, SBX_SEC(2));
    assert_filtered(2, 1, "0 0 0 1 0 0");
}

static void who_is_left_is_noted_when_nobody_is(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_SERVER_ERROR);
    assert_filtered(1, 0, "0 0 0 0 0 1");
}

static void of_very_many_candidates_some_are_looked_at(void **state)
{
    (void)state;
    char id[16];
    rig_close(&r);
    sbx_policy policy = rig_policy();
    policy.max_workers = SBX_CANDIDATES_LOOKED_AT + 3;
    rig_open(&r, &policy);
    for (unsigned i = 0; i < SBX_CANDIDATES_LOOKED_AT + 3; i++) {
        snprintf(id, sizeof id, "w%u", i);
        rig_worker(&r, id, 4);
    }
    rig_buffered(&r);
    assert_filtered(SBX_CANDIDATES_LOOKED_AT + 3, SBX_CANDIDATES_LOOKED_AT, "0 0 0 0 0 0");
}

static void a_retry_is_noted_with_its_reason(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_worker(&r, "w2", 4);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_MALFORMED);
    assert_int_equal(noted(SBX_NOTE_RETRY_SCHEDULED)->note.outcome, SBX_OUTCOME_MALFORMED);
}

static void names_are_total(void **state)
{
    (void)state;
    assert_string_equal(sbx_note_name(SBX_NOTE_BREAKER_OPENED), "breaker_opened");
    assert_string_equal(sbx_note_name(SBX_NOTE_COUNT), "unknown");
    assert_string_equal(sbx_filter_name(SBX_FILTER_TRIED), "tried");
    assert_string_equal(sbx_filter_name(SBX_FILTER_COUNT), "unknown");
    assert_string_equal(sbx_request_end_name(SBX_END_SHED), "shed");
    assert_string_equal(sbx_request_end_name(SBX_END_COUNT), "unknown");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_candidate_is_eligible_or_filtered_for_one_reason),
        TEST(when_all_may_be_picked_nobody_is_filtered),
        TEST(a_retry_finds_the_failed_worker_filtered_as_tried),
        TEST(a_busy_worker_is_filtered_as_cooling),
        TEST(who_is_left_is_noted_when_nobody_is),
        TEST(of_very_many_candidates_some_are_looked_at),
        TEST(a_retry_is_noted_with_its_reason),
        TEST(names_are_total),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
