/* The table of metrics: its rows keep to Prometheus' rules, and docs/metrics.md says what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/metrics.h"
#include "shell/metrics.h"
#include "support/page.h"

static bool ends_with(const char *text, const char *end)
{
    return sbx_view_ends_with(sbx_view_cstr(text), sbx_view_cstr(end));
}

static void no_two_metrics_share_a_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sbx_metric_count(); i++) {
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(sbx_metric_at(i).name, sbx_metric_at(k).name);
    }
}

static void names_are_lower_case_and_tell_their_type(void **state)
{
    (void)state;
    for (size_t i = 0; i < sbx_metric_count(); i++) {
        sbx_metric_info info = sbx_metric_at(i);
        assert_int_equal(strspn(info.name, "abcdefghijklmnopqrstuvwxyz_"), strlen(info.name));
        assert_int_equal(strncmp(info.name, "signalbox_", 10), 0);
        assert_int_equal(info.type == SBX_PROM_COUNTER, ends_with(info.name, "_total"));
        if (info.type == SBX_PROM_HISTOGRAM)
            assert_true(ends_with(info.name, "_seconds"));
        assert_true(ends_with(info.help, "."));
    }
}

/* All that is written at most: every row once, the rows of the labels' tables, models, workers. */
static void the_page_at_its_fullest_has_room_for_its_last_line(void **state)
{
    (void)state;
    size_t histograms = 4 * SBX_PROM_HISTOGRAM_SERIES;
    size_t tables = SBX_END_COUNT + 2 * SBX_OUTCOME_COUNT + SBX_FILTER_COUNT + SBX_NOTE_COUNT;
    size_t models = SBX_METRICS_MODEL_SERIES + SBX_METRICS_CODES;
    size_t workers = (size_t)SBX_METRICS_WORKERS_MAX * 7;
    assert_true(sbx_metric_count() + histograms + tables + models + workers <= SBX_METRICS_SERIES_MAX);
}

static const char introduction[] =
    "# Metrics\n\n"
    "This page is made from `src/server/metrics.def`; `SBX_UPDATE_DOCS=1 build/dev/server_test_metrics` "
    "writes it "
    "anew.\n\n"
    "`GET /metrics` answers in Prometheus' text format (0.0.4). No label takes its value from a client: "
    "models are "
    "those that\n"
    "a worker claims (the first 64 that were asked for; `_other` stands for all others), workers those that "
    "are "
    "configured or\n"
    "registered (the first 190). A page has at most 2000 series.\n\n"
    "Always true, at each scrape: `signalbox_requests_accepted_total` = the sum of "
    "`signalbox_requests_ended_total` "
    "over `end` +\n"
    "`signalbox_requests_in_flight`. `signalbox_conservation_error` is the difference; alert on anything but "
    "0. The "
    "controller\n"
    "checks it by itself after each request and logs `conservation_broken`.\n\n"
    "| metric | type | labels | meaning |\n"
    "|---|---|---|---|\n";

static void the_page_is_what_the_table_says(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    sbx_buf_append_cstr(&buf, introduction);
    for (size_t i = 0; i < sbx_metric_count(); i++) {
        sbx_metric_info info = sbx_metric_at(i);
        sbx_buf_appendf(&buf, "| `%s` | %s | %s | %s |\n", info.name, sbx_prom_type_name(info.type),
                        info.labels, info.help);
    }
    page_is_fresh("docs/metrics.md", &buf);
    sbx_buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_two_metrics_share_a_name),
        cmocka_unit_test(names_are_lower_case_and_tell_their_type),
        cmocka_unit_test(the_page_at_its_fullest_has_room_for_its_last_line),
        cmocka_unit_test(the_page_is_what_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
