/* The simulated engine's faults: what comes out, up to which byte or token, and how it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/worker/support_probe.h"

/* ---- faults ---- */

static void a_fault_that_answers_replaces_the_whole_answer(void **state)
{
    probe_world *w = *state;
    probe_fault(w, SBX_SIM_FAULT_ERROR_429, -1, -1);
    probe *p = probe_chat(w, STREAMING(""));
    probe_run_until(w, w->now);
    assert_true(p->is_ended);
    assert_int_equal(p->status, 429);
    assert_int_equal(p->retry_after_s, 1);
}

static void a_hang_before_the_head_says_nothing_and_keeps_its_place(void **state)
{
    probe_world *w = *state;
    probe_fault(w, SBX_SIM_FAULT_HANG_BEFORE_HEAD, -1, -1);
    probe *p = probe_chat(w, STREAMING(""));
    probe_run_all(w);
    assert_false(p->has_head);
    assert_false(p->is_over);
    assert_int_equal(sbx_sim_engine_load(w->engine).active, 1);
}

static void after_bytes_sends_exactly_that_many(void **state)
{
    probe_world *w = *state;
    probe_fault(w, SBX_SIM_FAULT_RESET_AFTER_BYTES, 300, -1);
    probe *p = probe_chat(w, STREAMING(""));
    probe_run_all(w);
    assert_true(p->is_broken);
    assert_int_equal(p->effect, SBX_SIM_RESET);
    assert_int_equal(p->body.len, 300);
}

static void after_0_bytes_sends_the_head_alone(void **state)
{
    probe_world *w = *state;
    probe_fault(w, SBX_SIM_FAULT_HANG_AFTER_BYTES, 0, -1);
    probe *p = probe_chat(w, STREAMING(""));
    probe_run_all(w);
    assert_true(p->has_head);
    assert_int_equal(p->pieces, 0);
    assert_false(p->is_over);
}

static void after_tokens_sends_exactly_that_many(void **state)
{
    probe_world *w = *state;
    probe_fault(w, SBX_SIM_FAULT_CUT, -1, 3);
    probe *p = probe_chat(w, STREAMING(""));
    probe_run_all(w);
    assert_int_equal(p->effect, SBX_SIM_CUT);
    assert_int_equal(probe_occurrences(p, "\"content\":\" "), 3);
}

static void after_0_tokens_sends_the_role_alone(void **state)
{
    probe_world *w = *state;
    probe_fault(w, SBX_SIM_FAULT_CUT, -1, 0);
    probe *p = probe_chat(w, STREAMING(""));
    probe_run_all(w);
    assert_true(p->is_broken);
    assert_int_equal(probe_occurrences(p, "\"role\""), 1);
    assert_int_equal(probe_occurrences(p, "\"content\":\" "), 0);
}

static void a_buffered_answer_breaks_off_in_the_middle(void **state)
{
    probe_world *w = *state;
    probe_fault(w, SBX_SIM_FAULT_CUT, -1, -1);
    probe *p = probe_chat(w, BUFFERED(",\"max_tokens\":5"));
    probe_run_all(w);
    assert_true(p->is_broken);
    assert_in_range(p->body.len, 100, 300);
}

static void a_crash_after_tokens_waits_for_them(void **state)
{
    probe_world *w = *state;
    probe_fault(w, SBX_SIM_FAULT_CRASH, -1, 2);
    probe *p = probe_chat(w, STREAMING(""));
    probe_run_all(w);
    assert_int_equal(p->effect, SBX_SIM_CRASH);
    assert_int_equal(probe_occurrences(p, "\"content\":\" "), 2);
}

static void no_done_leaves_out_done_alone(void **state)
{
    probe_world *w = *state;
    probe_fault(w, SBX_SIM_FAULT_NO_DONE, -1, -1);
    probe *p = probe_chat(w, STREAMING(",\"max_tokens\":2"));
    probe_run_all(w);
    assert_true(p->is_ended);
    assert_int_equal(probe_occurrences(p, "[DONE]"), 0);
    assert_int_equal(probe_occurrences(p, "\"finish_reason\":\"length\""), 1);
}

static void no_finish_leaves_out_both(void **state)
{
    probe_world *w = *state;
    probe_fault(w, SBX_SIM_FAULT_NO_FINISH, -1, -1);
    probe *p = probe_chat(w, STREAMING(",\"max_tokens\":2"));
    probe_run_all(w);
    assert_true(p->is_ended);
    assert_int_equal(probe_occurrences(p, "[DONE]"), 0);
    assert_int_equal(probe_occurrences(p, "\"finish_reason\":\""), 0);
}

static void role_only_chunks_come_for_ever(void **state)
{
    probe_world *w = *state;
    probe_fault(w, SBX_SIM_FAULT_ROLE_ONLY, -1, -1);
    probe *p = probe_chat(w, STREAMING(""));
    probe_run_until(w, w->now + SBX_SEC(5));
    assert_true(probe_occurrences(p, "\"role\"") > 20);
    assert_int_equal(probe_occurrences(p, "\"content\":\" "), 0);
    assert_false(p->is_over);
}

static void slow_multiplies_every_wait(void **state)
{
    probe_world *w = *state;
    probe_fault(w, SBX_SIM_FAULT_SLOW, -1, -1);
    sbx_time_ns began = w->now;
    probe *p = probe_chat(w, STREAMING(",\"max_tokens\":2"));
    probe_run_all(w);
    assert_int_equal(p->over_at - began, SBX_MS(10 * (TTFT_MS + GAP_MS)));
}

static void an_error_in_the_stream_ends_it_without_done(void **state)
{
    probe_world *w = *state;
    probe_fault(w, SBX_SIM_FAULT_ERROR_IN_STREAM, -1, 2);
    probe *p = probe_chat(w, STREAMING(""));
    probe_run_all(w);
    assert_true(p->is_ended);
    assert_int_equal(probe_occurrences(p, "data: {\"error\""), 1);
    assert_int_equal(probe_occurrences(p, "[DONE]"), 0);
}

static void a_loading_engine_says_so(void **state)
{
    probe_world *w = *state;
    sbx_sim_engine_set_loading(w->engine, true);
    probe *p = probe_chat(w, BUFFERED(""));
    probe_run_all(w);
    assert_int_equal(p->status, 503);
    assert_int_equal(probe_occurrences(p, "Loading model"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, probe_setup, probe_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_fault_that_answers_replaces_the_whole_answer),
        TEST(a_hang_before_the_head_says_nothing_and_keeps_its_place),
        TEST(after_bytes_sends_exactly_that_many),
        TEST(after_0_bytes_sends_the_head_alone),
        TEST(after_tokens_sends_exactly_that_many),
        TEST(after_0_tokens_sends_the_role_alone),
        TEST(a_buffered_answer_breaks_off_in_the_middle),
        TEST(a_crash_after_tokens_waits_for_them),
        TEST(no_done_leaves_out_done_alone),
        TEST(no_finish_leaves_out_both),
        TEST(role_only_chunks_come_for_ever),
        TEST(slow_multiplies_every_wait),
        TEST(an_error_in_the_stream_ends_it_without_done),
        TEST(a_loading_engine_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
