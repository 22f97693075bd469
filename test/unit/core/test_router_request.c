/* A request comes: which model, which worker, or why not. One attempt at most in these scenarios. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

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

static const sbx_action *refused(sbx_api_error error, uint32_t status, sbx_request_end end)
{
    const sbx_action *action = rig_end(&r);
    assert_int_equal(action->kind, SBX_ACTION_FAIL);
    assert_int_equal(action->request.generation, 0);
    assert_int_equal(action->end.error, error);
    assert_int_equal(action->end.http_status, status);
    assert_int_equal(action->end.end, end);
    assert_int_equal(action->end.meta.attempts, 0);
    assert_int_equal(rig_count(&r, SBX_ACTION_ADMITTED), 0);
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 0);
    return action;
}

/* ---- the happy path ------------------------------------------------------------------------------------ */

static void a_buffered_request_is_admitted_started_and_succeeds_with_one_attempt(void **state)
{
    (void)state;
    int owner;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    sbx_attempt_ref attempt = rig_request(&r, (sbx_event_request_new){.owner = &owner});
    const sbx_action *start = rig_find(&r, SBX_ACTION_START);
    assert_ptr_equal(rig_find(&r, SBX_ACTION_ADMITTED)->owner, &owner);
    assert_ptr_equal(start->owner, &owner);
    assert_int_equal(start->start.worker.slot, w1.slot);
    assert_true(sbx_view_eq_cstr(start->start.model, "m"));
    assert_int_equal(start->start.budget_ns, SBX_SEC(30));
    assert_int_equal(rig_info(&r, w1).in_flight, 1);

    rig_accepted(&r, attempt);
    rig_ended(&r, attempt, SBX_OUTCOME_OK);
    const sbx_action *end = rig_end(&r);
    assert_int_equal(end->kind, SBX_ACTION_SUCCEED);
    assert_int_equal(end->end.end, SBX_END_OK);
    assert_int_equal(end->end.meta.attempts, 1);
    assert_int_equal(end->end.meta.failed_count, 0);
    assert_int_equal(end->end.meta.selected.slot, w1.slot);
    assert_int_equal(rig_info(&r, w1).in_flight, 0);
    assert_int_equal(rig_info(&r, w1).successes, 1);
}

static void a_streaming_request_may_take_its_whole_deadline(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_streaming(&r);
    assert_int_equal(rig_find(&r, SBX_ACTION_START)->start.budget_ns, SBX_SEC(600));
}

static void a_4xx_of_the_requests_own_fault_is_passed_through(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    rig_ended(&r, rig_buffered(&r), SBX_OUTCOME_CLIENT_ERROR);
    const sbx_action *end = rig_end(&r);
    assert_int_equal(end->kind, SBX_ACTION_PASS);
    assert_int_equal(end->end.end, SBX_END_CLIENT_ERROR);
    assert_int_equal(end->end.meta.selected.slot, w1.slot);
    assert_int_equal(rig_info(&r, w1).failures, 0);
}

static void the_candidates_are_noted_with_total_and_eligible(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    sbx_worker_ref w2 = rig_worker(&r, "w2", 4);
    rig_admin(&r, w2, SBX_COMMAND_ISOLATE);
    rig_buffered(&r);
    const sbx_action *note = rig_find(&r, SBX_ACTION_NOTE);
    assert_int_equal(note->note.note, SBX_NOTE_CANDIDATES_FILTERED);
    assert_int_equal(note->note.total, 2);
    assert_int_equal(note->note.eligible, 1);
}

/* ---- nobody to ask ------------------------------------------------------------------------------------- */

static void without_any_worker_it_is_no_workers_available(void **state)
{
    (void)state;
    rig_buffered(&r);
    const sbx_action *end = refused(SBX_API_NO_WORKERS_AVAILABLE, 503, SBX_END_SHED);
    assert_int_equal(end->end.should_retry, 1);
    assert_true(end->end.retry_after_ns > 0);
}

static void an_unknown_model_is_404_while_some_worker_is_online(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_request(&r, (sbx_event_request_new){.model = SBX_VIEW("unknown")});
    const sbx_action *end = refused(SBX_API_MODEL_NOT_FOUND, 404, SBX_END_CLIENT_ERROR);
    assert_int_equal(end->end.should_retry, -1);
    assert_int_equal(end->end.retry_after_ns, -1);
}

static void an_unknown_model_is_503_while_no_worker_is_online(void **state)
{
    (void)state;
    rig_gone(&r, rig_worker(&r, "w1", 4));
    rig_request(&r, (sbx_event_request_new){.model = SBX_VIEW("unknown")});
    refused(SBX_API_NO_WORKERS_AVAILABLE, 503, SBX_END_SHED);
}

static void a_model_whose_workers_are_all_offline_is_no_workers_available(void **state)
{
    (void)state;
    rig_worker_of(&r, "other", "n", 4);
    rig_gone(&r, rig_worker(&r, "w1", 4));
    rig_buffered(&r);
    refused(SBX_API_NO_WORKERS_AVAILABLE, 503, SBX_END_SHED);
}

static void all_draining_is_no_workers_available(void **state)
{
    (void)state;
    rig_admin(&r, rig_worker(&r, "w1", 4), SBX_COMMAND_DRAIN);
    rig_buffered(&r);
    refused(SBX_API_NO_WORKERS_AVAILABLE, 503, SBX_END_SHED);
}

static void all_breakers_open_is_told_in_one_step_with_the_time_of_the_soonest_probe(void **state)
{
    (void)state;
    sbx_worker_ref w1 = rig_worker(&r, "w1", 4);
    sbx_worker_ref w2 = rig_worker(&r, "w2", 4);
    rig_trip(&r, w1);
    rig_tick(&r, SBX_SEC(10));
    rig_trip(&r, w2);
    rig_tick(&r, SBX_SEC(5));
    rig_buffered(&r);
    const sbx_action *end = refused(SBX_API_CIRCUIT_BREAKER_OPEN, 503, SBX_END_SHED);
    assert_int_equal(end->end.retry_after_ns, SBX_SEC(15));
    assert_int_equal(end->end.should_retry, 1);
}

static void all_full_is_worker_overloaded_at_once(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    rig_buffered(&r);
    const sbx_action *end = refused(SBX_API_WORKER_OVERLOADED, 503, SBX_END_SHED);
    assert_int_equal(end->end.should_retry, 1);
    assert_true(end->end.retry_after_ns > 0);
}

static void one_full_and_one_open_is_worker_overloaded(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1);
    rig_buffered(&r);
    rig_trip(&r, rig_worker(&r, "w2", 1));
    rig_buffered(&r);
    refused(SBX_API_WORKER_OVERLOADED, 503, SBX_END_SHED);
}

static void a_cooling_worker_tells_when_it_has_cooled_down(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    rig_busy(&r, rig_buffered(&r), SBX_SEC(7));
    rig_tick(&r, SBX_SEC(2));
    rig_buffered(&r);
    assert_int_equal(refused(SBX_API_WORKER_OVERLOADED, 503, SBX_END_SHED)->end.retry_after_ns, SBX_SEC(5));
    rig_tick(&r, SBX_SEC(5));
    rig_buffered(&r);
    assert_string_equal(rig_started_at(&r), "w1");
}

static void a_draining_controller_admits_nothing_more(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    sbx_attempt_ref running = rig_buffered(&r);
    sbx_event drain = {.kind = SBX_EVENT_DRAIN};
    r.last = sbx_router_step(r.router, r.now, &drain);
    rig_buffered(&r);
    refused(SBX_API_CONTROLLER_DRAINING, 503, SBX_END_SHED);
    rig_ended(&r, running, SBX_OUTCOME_OK);
    assert_int_equal(rig_end(&r)->kind, SBX_ACTION_SUCCEED);
}

static void a_full_request_table_sheds(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 1000);
    for (int i = 0; i < 256; i++)
        rig_buffered(&r);
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 1);
    rig_buffered(&r);
    refused(SBX_API_WORKER_OVERLOADED, 503, SBX_END_SHED);
    assert_int_equal(sbx_router_counts_of(r.router).in_flight, 256);
}

/* ---- names --------------------------------------------------------------------------------------------- */

static const sbx_view FAST[] = {SBX_VIEW_INIT("big"), SBX_VIEW_INIT("small")};
static const sbx_view AUTO[] = {SBX_VIEW_INIT("fast")};
static const sbx_view LOOP[] = {SBX_VIEW_INIT("loop"), SBX_VIEW_INIT("loop")};
static const sbx_model_alias ALIASES[] = {
    {.name = SBX_VIEW_INIT("fast"), .models = FAST, .model_count = 2},
    {.name = SBX_VIEW_INIT("auto"), .models = AUTO, .model_count = 1},
    {.name = SBX_VIEW_INIT("loop"), .models = LOOP, .model_count = 2},
    {.name = SBX_VIEW_INIT("m"), .models = AUTO, .model_count = 1},
};

static int open_with_aliases(void **state)
{
    (void)state;
    sbx_policy policy = rig_policy();
    policy.aliases = ALIASES;
    policy.alias_count = sizeof ALIASES / sizeof ALIASES[0];
    rig_open(&r, &policy);
    return 0;
}

static void ask_for(const char *model)
{
    rig_request(&r, (sbx_event_request_new){.model = sbx_view_cstr(model)});
}

static void an_alias_stands_for_its_first_model(void **state)
{
    (void)state;
    rig_worker_of(&r, "small", "small", 4);
    rig_worker_of(&r, "big", "big", 4);
    ask_for("fast");
    assert_string_equal(rig_started_at(&r), "big");
    assert_true(sbx_view_eq_cstr(rig_find(&r, SBX_ACTION_START)->start.model, "big"));
}

static void a_preference_list_falls_through_to_a_model_with_an_eligible_worker(void **state)
{
    (void)state;
    rig_worker_of(&r, "small", "small", 4);
    ask_for("fast");
    assert_string_equal(rig_started_at(&r), "small");
    rig_trip(&r, rig_worker_of(&r, "big", "big", 4));
    ask_for("fast");
    assert_string_equal(rig_started_at(&r), "small");
}

static void names_may_stand_for_names(void **state)
{
    (void)state;
    rig_worker_of(&r, "small", "small", 4);
    ask_for("auto");
    assert_string_equal(rig_started_at(&r), "small");
}

static void a_cycle_of_names_ends_as_not_found(void **state)
{
    (void)state;
    rig_worker(&r, "w1", 4);
    ask_for("loop");
    refused(SBX_API_MODEL_NOT_FOUND, 404, SBX_END_CLIENT_ERROR);
}

static void an_exact_id_goes_before_an_alias_of_the_same_name(void **state)
{
    (void)state;
    rig_worker_of(&r, "small", "small", 4);
    rig_worker(&r, "w1", 4);
    ask_for("m");
    assert_string_equal(rig_started_at(&r), "w1");
}

static void a_retry_falls_through_the_preference_list_too(void **state)
{
    (void)state;
    rig_worker_of(&r, "big", "big", 4);
    rig_worker_of(&r, "small", "small", 4);
    ask_for("fast");
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_REFUSED);
    assert_string_equal(rig_started_at(&r), "small");
}

static void a_new_policy_leaves_running_requests_the_list_they_came_by(void **state)
{
    (void)state;
    rig_worker_of(&r, "b1", "big", 4);
    rig_worker_of(&r, "b2", "big", 4);
    rig_worker_of(&r, "small", "small", 4);
    ask_for("fast");
    sbx_attempt_ref attempt = rig_started(&r);
    sbx_policy policy = rig_policy();
    assert_int_equal(sbx_router_set_policy(r.router, &policy), SBX_OK);
    rig_ended(&r, attempt, SBX_OUTCOME_REFUSED);
    assert_string_equal(rig_started_at(&r), "b2");
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_REFUSED);
    assert_string_equal(rig_started_at(&r), "small");
    ask_for("fast");
    refused(SBX_API_MODEL_NOT_FOUND, 404, SBX_END_CLIENT_ERROR);
}

static void all_preferences_exhausted_the_error_looks_at_all_of_them(void **state)
{
    (void)state;
    rig_worker_of(&r, "small", "small", 1);
    rig_gone(&r, rig_worker_of(&r, "big", "big", 1));
    ask_for("fast");
    ask_for("fast");
    refused(SBX_API_WORKER_OVERLOADED, 503, SBX_END_SHED);
}

#define PLAIN(test)   cmocka_unit_test_setup_teardown(test, open_rig, close_rig)
#define ALIASED(test) cmocka_unit_test_setup_teardown(test, open_with_aliases, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(a_buffered_request_is_admitted_started_and_succeeds_with_one_attempt),
        PLAIN(a_streaming_request_may_take_its_whole_deadline),
        PLAIN(a_4xx_of_the_requests_own_fault_is_passed_through),
        PLAIN(the_candidates_are_noted_with_total_and_eligible),
        PLAIN(without_any_worker_it_is_no_workers_available),
        PLAIN(an_unknown_model_is_404_while_some_worker_is_online),
        PLAIN(an_unknown_model_is_503_while_no_worker_is_online),
        PLAIN(a_model_whose_workers_are_all_offline_is_no_workers_available),
        PLAIN(all_draining_is_no_workers_available),
        PLAIN(all_breakers_open_is_told_in_one_step_with_the_time_of_the_soonest_probe),
        PLAIN(all_full_is_worker_overloaded_at_once),
        PLAIN(one_full_and_one_open_is_worker_overloaded),
        PLAIN(a_cooling_worker_tells_when_it_has_cooled_down),
        PLAIN(a_draining_controller_admits_nothing_more),
        PLAIN(a_full_request_table_sheds),
        ALIASED(an_alias_stands_for_its_first_model),
        ALIASED(a_preference_list_falls_through_to_a_model_with_an_eligible_worker),
        ALIASED(names_may_stand_for_names),
        ALIASED(a_cycle_of_names_ends_as_not_found),
        ALIASED(an_exact_id_goes_before_an_alias_of_the_same_name),
        ALIASED(a_retry_falls_through_the_preference_list_too),
        ALIASED(a_new_policy_leaves_running_requests_the_list_they_came_by),
        ALIASED(all_preferences_exhausted_the_error_looks_at_all_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
