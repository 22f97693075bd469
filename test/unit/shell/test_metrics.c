/* The shell's counts: labels stay few whatever comes, and a broken conservation law is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "shell/metrics.h"

static sbx_metrics metrics;
static char last[1024];
static int lines;

static void keep(void *user, sbx_view line)
{
    (void)user;
    snprintf(last, sizeof last, "%.*s", SBX_VIEW_ARG(line));
    lines++;
}

static int open_metrics(void **state)
{
    (void)state;
    lines = 0;
    sbx_log_capture(keep, NULL);
    return sbx_metrics_init(&metrics, (sbx_siphash_key){.k0 = 1, .k1 = 2}) == SBX_OK ? 0 : -1;
}

static int close_metrics(void **state)
{
    (void)state;
    sbx_metrics_deinit(&metrics);
    sbx_log_capture(NULL, NULL);
    return 0;
}

static void end_with(uint32_t model, sbx_action_kind kind, sbx_api_error error)
{
    sbx_action end = {.kind = kind, .end = {.error = error}};
    sbx_metrics_take_end(&metrics, model, /* is_stream: */ false, SBX_MS(3), &end);
}

/* ---- models ---- */

static void a_model_keeps_its_index(void **state)
{
    (void)state;
    uint32_t a = sbx_metrics_model(&metrics, SBX_VIEW("a"));
    uint32_t b = sbx_metrics_model(&metrics, SBX_VIEW("b"));
    assert_int_not_equal(a, b);
    assert_int_not_equal(a, SBX_METRICS_OTHER);
    assert_int_equal(sbx_metrics_model(&metrics, SBX_VIEW("a")), a);
    assert_true(sbx_view_eq_cstr(sbx_metrics_model_name(&metrics, b), "b"));
    assert_true(sbx_view_eq_cstr(sbx_metrics_model_name(&metrics, SBX_METRICS_OTHER), "_other"));
}

static void when_the_table_is_full_all_further_models_are_other(void **state)
{
    (void)state;
    char name[16];
    for (unsigned i = 0; i < SBX_METRICS_MODELS_MAX; i++) {
        snprintf(name, sizeof name, "m%u", i);
        assert_int_not_equal(sbx_metrics_model(&metrics, sbx_view_cstr(name)), SBX_METRICS_OTHER);
    }
    assert_int_equal(sbx_metrics_model(&metrics, SBX_VIEW("one more")), SBX_METRICS_OTHER);
    assert_int_not_equal(sbx_metrics_model(&metrics, SBX_VIEW("m0")), SBX_METRICS_OTHER);
    assert_int_equal(metrics.model_count, SBX_METRICS_MODELS_MAX + 1);
}

static void a_name_that_is_no_models_is_other(void **state)
{
    (void)state;
    static char name[SBX_MODEL_ID_MAX + 1];
    memset(name, 'x', sizeof name);
    assert_int_equal(sbx_metrics_model(&metrics, sbx_view_of(name, sizeof name)), SBX_METRICS_OTHER);
    assert_int_equal(sbx_metrics_model(&metrics, (sbx_view){0}), SBX_METRICS_OTHER);
    assert_int_not_equal(sbx_metrics_model(&metrics, sbx_view_of(name, sizeof name - 1)), SBX_METRICS_OTHER);
}

static void pairs_of_model_and_code_are_bounded(void **state)
{
    (void)state;
    char name[16];
    for (unsigned i = 0; i < SBX_METRICS_MODELS_MAX; i++) {
        snprintf(name, sizeof name, "m%u", i);
        for (unsigned error = 1; error <= 10; error++)
            end_with(sbx_metrics_model(&metrics, sbx_view_cstr(name)), SBX_ACTION_FAIL, (sbx_api_error)error);
    }
    uint64_t named = 0, other = 0;
    for (unsigned code = 0; code < SBX_METRICS_CODES; code++) {
        other += metrics.models[SBX_METRICS_OTHER].by_code[code];
        for (uint32_t model = 1; model < metrics.model_count; model++)
            named += metrics.models[model].by_code[code] > 0;
    }
    assert_int_equal(named, SBX_METRICS_MODEL_SERIES);
    assert_int_equal(other, SBX_METRICS_MODELS_MAX * 10 - SBX_METRICS_MODEL_SERIES);
}

/* ---- ends ---- */

static void ends_are_counted_by_code_and_duration(void **state)
{
    (void)state;
    uint32_t a = sbx_metrics_model(&metrics, SBX_VIEW("a"));
    end_with(a, SBX_ACTION_SUCCEED, SBX_API_NONE);
    end_with(a, SBX_ACTION_PASS, SBX_API_NONE);
    end_with(a, SBX_ACTION_FAIL, SBX_API_WORKER_TIMEOUT);
    assert_int_equal(metrics.models[a].by_code[SBX_API_NONE], 1);
    assert_int_equal(metrics.models[a].by_code[SBX_METRICS_CODE_PASSED], 1);
    assert_int_equal(metrics.models[a].by_code[SBX_API_WORKER_TIMEOUT], 1);
    assert_int_equal(sbx_histogram_count(&metrics.duration[0]), 3);
    assert_int_equal(sbx_histogram_count(&metrics.duration[1]), 0);
}

static void codes_have_names(void **state)
{
    (void)state;
    assert_string_equal(sbx_metrics_code_name(SBX_API_NONE), "ok");
    assert_string_equal(sbx_metrics_code_name(SBX_METRICS_CODE_PASSED), "passed");
    assert_string_equal(sbx_metrics_code_name(SBX_API_NO_WORKERS_AVAILABLE), "NO_WORKERS_AVAILABLE");
}

static void notes_are_counted_by_kind_and_reason(void **state)
{
    (void)state;
    sbx_action failed = {.kind = SBX_ACTION_NOTE,
                         .note = {.note = SBX_NOTE_ATTEMPT_FAILED, .outcome = SBX_OUTCOME_RESET}};
    sbx_action retried = {.kind = SBX_ACTION_NOTE,
                          .note = {.note = SBX_NOTE_RETRY_SCHEDULED, .outcome = SBX_OUTCOME_RESET}};
    sbx_action candidates = {
        .kind = SBX_ACTION_NOTE,
        .note = {.note = SBX_NOTE_CANDIDATES_FILTERED, .filtered = {[SBX_FILTER_FULL] = 3}}};
    sbx_metrics_take_note(&metrics, &failed);
    sbx_metrics_take_note(&metrics, &retried);
    sbx_metrics_take_note(&metrics, &candidates);
    sbx_metrics_take_note(&metrics, &candidates);
    assert_int_equal(metrics.failed[SBX_OUTCOME_RESET], 1);
    assert_int_equal(metrics.retried[SBX_OUTCOME_RESET], 1);
    assert_int_equal(metrics.filtered[SBX_FILTER_FULL], 6);
    assert_int_equal(metrics.notes[SBX_NOTE_CANDIDATES_FILTERED], 2);
}

/* ---- the conservation law ---- */

static void balanced_counts_are_silent(void **state)
{
    (void)state;
    sbx_router_counts counts = {.accepted = 8, .in_flight = 2, .ended = {1, 1, 1, 1, 1, 1}};
    assert_int_equal(sbx_metrics_imbalance(&counts), 0);
    sbx_metrics_check(&metrics, &counts);
    assert_int_equal(lines, 0);
}

static void a_lost_request_is_an_error_told_once(void **state)
{
    (void)state;
    sbx_router_counts counts = {.accepted = 9, .in_flight = 2, .ended = {1, 1, 1, 1, 1, 1}};
    sbx_metrics_check(&metrics, &counts);
    sbx_metrics_check(&metrics, &counts);
    assert_int_equal(lines, 1);
    assert_non_null(strstr(last, "error conservation_broken accepted=9 ended=6 in_flight=2 error=1\n"));
}

static void a_request_that_ended_twice_is_an_error_too(void **state)
{
    (void)state;
    sbx_router_counts counts = {.accepted = 1, .ended = {2}};
    assert_int_equal(sbx_metrics_imbalance(&counts), -1);
    sbx_metrics_check(&metrics, &counts);
    assert_non_null(strstr(last, "error=-1\n"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_metrics, close_metrics)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_model_keeps_its_index),
        TEST(when_the_table_is_full_all_further_models_are_other),
        TEST(a_name_that_is_no_models_is_other),
        TEST(pairs_of_model_and_code_are_bounded),
        TEST(ends_are_counted_by_code_and_duration),
        TEST(codes_have_names),
        TEST(notes_are_counted_by_kind_and_reason),
        TEST(balanced_counts_are_silent),
        TEST(a_lost_request_is_an_error_told_once),
        TEST(a_request_that_ended_twice_is_an_error_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
