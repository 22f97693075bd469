/* The exposition format 0.0.4, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/prometheus.h"

static sbx_buf out;
static sbx_prom prom;

static int open_writer(void **state)
{
    (void)state;
    sbx_buf_init(&out, SIZE_MAX);
    sbx_prom_init(&prom, &out, 100);
    return 0;
}

static int close_writer(void **state)
{
    (void)state;
    sbx_buf_deinit(&out);
    return 0;
}

static const char *text(void)
{
    sbx_buf_append_byte(&out, 0);
    assert_int_equal(sbx_buf_error(&out), SBX_OK);
    return (const char *)out.data + out.head;
}

static void a_family_has_help_and_type_before_its_samples(void **state)
{
    (void)state;
    sbx_prom_family(&prom, "a_total", SBX_PROM_COUNTER, "all of them");
    sbx_prom_u64(&prom, NULL, 0, UINT64_MAX);
    sbx_prom_family(&prom, "b", SBX_PROM_GAUGE, "now");
    sbx_prom_i64(&prom, NULL, 0, -3);
    assert_string_equal(text(),
                        "# HELP a_total all of them\n# TYPE a_total counter\na_total 18446744073709551615\n"
                        "# HELP b now\n# TYPE b gauge\nb -3\n");
}

static void labels_stand_in_braces(void **state)
{
    (void)state;
    sbx_prom_family(&prom, "b", SBX_PROM_GAUGE, "now");
    sbx_prom_u64(&prom, (sbx_prom_label[]){{"x", SBX_VIEW("1")}, {"y", SBX_VIEW("")}}, 2, 7);
    assert_non_null(strstr(text(), "\nb{x=\"1\",y=\"\"} 7\n"));
}

static void label_values_cannot_break_out(void **state)
{
    (void)state;
    sbx_prom_family(&prom, "b", SBX_PROM_GAUGE, "now");
    sbx_prom_u64(
        &prom, (sbx_prom_label[]){{"x", SBX_VIEW("\"} 1\nevil 2\\\r\x1b[2J\x7f\xc2\x9b\xff\xc3\xa4")}}, 1, 7);
    assert_non_null(strstr(text(),
                           "\nb{x=\"\\\"} 1\\nevil 2\\\\\xef\xbf\xbd\xef\xbf\xbd[2J\xef\xbf\xbd\xef\xbf\xbd"
                           "\xef\xbf\xbd\xc3\xa4\"} 7\n"));
}

static void help_is_one_line(void **state)
{
    (void)state;
    sbx_prom_family(&prom, "b", SBX_PROM_GAUGE, "a\\b\nc");
    assert_string_equal(text(), "# HELP b a\\\\b\\nc\n# TYPE b gauge\n");
}

static void a_histogram_is_cumulative_and_in_seconds(void **state)
{
    (void)state;
    sbx_histogram h = {0};
    sbx_histogram_add(&h, SBX_MS(3));
    sbx_histogram_add(&h, SBX_MS(2500));
    sbx_histogram_add(&h, SBX_SEC(1000));
    sbx_prom_family(&prom, "d_seconds", SBX_PROM_HISTOGRAM, "took");
    sbx_prom_histogram(&prom, (sbx_prom_label[]){{"s", SBX_VIEW("t")}}, 1, &h);
    const char *found = text();
    assert_non_null(strstr(found, "# TYPE d_seconds histogram\nd_seconds_bucket{s=\"t\",le=\"0.001\"} 0\n"
                                  "d_seconds_bucket{s=\"t\",le=\"0.005\"} 1\n"));
    assert_non_null(strstr(found, "le=\"1\"} 1\nd_seconds_bucket{s=\"t\",le=\"2.5\"} 2\n"));
    assert_non_null(strstr(found, "le=\"600\"} 2\nd_seconds_bucket{s=\"t\",le=\"+Inf\"} 3\n"
                                  "d_seconds_sum{s=\"t\"} 1002.503\nd_seconds_count{s=\"t\"} 3\n"));
    assert_int_equal(prom.series, SBX_PROM_HISTOGRAM_SERIES);
}

static void an_empty_histogram_is_written_too(void **state)
{
    (void)state;
    sbx_prom_family(&prom, "d_seconds", SBX_PROM_HISTOGRAM, "took");
    sbx_prom_histogram(&prom, NULL, 0, &(sbx_histogram){0});
    assert_non_null(strstr(text(), "d_seconds_bucket{le=\"+Inf\"} 0\nd_seconds_sum 0\nd_seconds_count 0\n"));
}

static void series_beyond_the_cap_are_left_out_and_counted(void **state)
{
    (void)state;
    sbx_prom_init(&prom, &out, 2);
    sbx_prom_family(&prom, "b", SBX_PROM_GAUGE, "now");
    sbx_prom_histogram(&prom, NULL, 0, &(sbx_histogram){0});
    sbx_prom_u64(&prom, NULL, 0, 1);
    sbx_prom_u64(&prom, NULL, 0, 2);
    sbx_prom_i64(&prom, NULL, 0, 3);
    sbx_prom_leave_out(&prom, 5);
    assert_string_equal(text(), "# HELP b now\n# TYPE b gauge\nb 1\nb 2\n");
    assert_int_equal(prom.series, 2);
    assert_int_equal(prom.left_out, SBX_PROM_HISTOGRAM_SERIES + 1 + 5);
}

static void a_full_buffer_is_told_by_the_buffer(void **state)
{
    (void)state;
    sbx_buf_deinit(&out);
    sbx_buf_init(&out, 10);
    sbx_prom_family(&prom, "b", SBX_PROM_GAUGE, "now");
    sbx_prom_u64(&prom, NULL, 0, 1);
    assert_int_equal(sbx_buf_error(&out), SBX_E_CAP);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_writer, close_writer)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_family_has_help_and_type_before_its_samples),
        TEST(labels_stand_in_braces),
        TEST(label_values_cannot_break_out),
        TEST(help_is_one_line),
        TEST(a_histogram_is_cumulative_and_in_seconds),
        TEST(an_empty_histogram_is_written_too),
        TEST(series_beyond_the_cap_are_left_out_and_counted),
        TEST(a_full_buffer_is_told_by_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
