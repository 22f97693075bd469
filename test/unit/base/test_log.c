/* The log sink: one event is one line, in both formats, whatever the values hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "base/log_priv.h"

#define STR(k, view)                                                                                         \
    {                                                                                                        \
        .kind = SBX_LOG_KEY_STR, .key = (k), .text = (view)                                                  \
    }
#define CSTR(k, text_)                                                                                       \
    {                                                                                                        \
        .kind = SBX_LOG_KEY_CSTR, .key = (k), .text = sbx_view_cstr(text_)                                   \
    }
#define INT(k, n)                                                                                            \
    {                                                                                                        \
        .kind = SBX_LOG_KEY_INT, .key = (k), .number = (n)                                                   \
    }
#define UINT(k, n)                                                                                           \
    {                                                                                                        \
        .kind = SBX_LOG_KEY_UINT, .key = (k), .number = (int64_t)(n)                                         \
    }
#define BOOL(k, b)                                                                                           \
    {                                                                                                        \
        .kind = SBX_LOG_KEY_BOOL, .key = (k), .number = (b)                                                  \
    }
#define MS(k, ns)                                                                                            \
    {                                                                                                        \
        .kind = SBX_LOG_KEY_MS, .key = (k), .number = (ns)                                                   \
    }
#define WRITE(level, name, ...)                                                                              \
    sbx_log_write(SBX_LOG_##level, name, (const sbx_log_field[]){__VA_ARGS__},                               \
                  sizeof((const sbx_log_field[]){__VA_ARGS__}) / sizeof(sbx_log_field))

static char last[SBX_LOG_LINE_MAX + 1];
static int lines;

static void keep(void *user, sbx_view line)
{
    (void)user;
    memcpy(last, line.data, line.len);
    last[line.len] = '\0';
    lines++;
}

static int capture(void **state)
{
    (void)state;
    lines = 0;
    last[0] = '\0';
    sbx_log_capture(keep, NULL);
    return 0;
}

static int release(void **state)
{
    (void)state;
    sbx_log_capture(NULL, NULL);
    sbx_log_close();
    return 0;
}

/* The line without its time stamp. */
static const char *behind_time(void)
{
    const char *mark = strstr(last, "Z");
    assert_non_null(mark);
    return mark + 1;
}

static void a_text_line_names_level_event_and_fields(void **state)
{
    (void)state;
    WRITE(INFO, "worker_online", STR("worker", SBX_VIEW("mac-1")), INT("models", -3),
          UINT("bytes", UINT64_MAX), BOOL("resume", true), MS("took_ms", SBX_MS(12) + 345678),
          CSTR("note", "two words"));
    assert_string_equal(behind_time(),
                        " info  worker_online worker=mac-1 models=-3 bytes=18446744073709551615 "
                        "resume=true took_ms=12.345 note=\"two words\"\n");
}

static void a_json_line_is_one_object(void **state)
{
    (void)state;
    assert_int_equal(sbx_log_open(SBX_LOG_INFO, SBX_LOG_JSON, NULL), SBX_OK);
    WRITE(WARN, "x", CSTR("a", "q\"\\\n\x01"), INT("n", 5), BOOL("b", false));
    assert_string_equal(
        behind_time(),
        "\",\"level\":\"warn\",\"event\":\"x\",\"a\":\"q\\\"\\\\\\n\\u0001\",\"n\":5,\"b\":false}\n");
    assert_int_equal(strncmp(last, "{\"time\":\"2", 10), 0);
}

static void an_event_without_fields_is_a_line(void **state)
{
    (void)state;
    sbx_log_write(SBX_LOG_ERROR, "started", NULL, 0);
    assert_string_equal(behind_time(), " error started\n");
}

static void an_event_brings_its_level_and_its_keys(void **state)
{
    (void)state;
    sbx_log(breaker_opened, .request_id = SBX_VIEW("ab12"), .worker = SBX_VIEW("w1"), .delay = SBX_MS(1500));
    assert_string_equal(behind_time(), " warn  breaker_opened request_id=ab12 worker=w1 delay_ms=1500.000\n");
    sbx_log(drained, .nothing_was_cut = true);
    assert_string_equal(behind_time(), " info  drained nothing_was_cut=true\n");
    sbx_log(nats_server_exited, .pid = 7, .exit_code = -1, .signal = 9);
    assert_string_equal(behind_time(), " error nats_server_exited pid=7 exit_code=-1 signal=9\n");
    sbx_log(backend_models, .worker = "b", .models = UINT64_MAX);
    assert_string_equal(behind_time(), " info  backend_models worker=b models=18446744073709551615\n");
}

static void what_an_event_does_not_have_is_left_out(void **state)
{
    (void)state;
    sbx_log(breaker_opened, .request_id = (sbx_view){0}, .worker = SBX_VIEW("w1"), .delay = SBX_TIME_NEVER);
    assert_string_equal(behind_time(), " warn  breaker_opened worker=w1\n");
}

static void the_time_is_utc_with_milliseconds(void **state)
{
    (void)state;
    int year, month, day, hour, minute, second, ms;
    sbx_log_write(SBX_LOG_INFO, "x", NULL, 0);
    assert_int_equal(
        sscanf(last, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ ", &year, &month, &day, &hour, &minute, &second, &ms), 7);
    assert_true(year >= 2024);
}

static int evaluations;

static int counted(void)
{
    return ++evaluations;
}

static void fields_of_a_level_that_is_off_are_not_evaluated(void **state)
{
    (void)state;
    evaluations = 0;
    sbx_log(child_started, .child = 1, .pid = counted());
    assert_int_equal(lines, 0);
    assert_int_equal(evaluations, 0);
    sbx_log_set_level(SBX_LOG_DEBUG);
    sbx_log(child_started, .child = 1, .pid = counted());
    assert_int_equal(lines, 1);
    assert_int_equal(evaluations, 1);
}

static void nothing_a_peer_sends_can_forge_a_line_or_obey_a_terminal(void **state)
{
    (void)state;
    WRITE(INFO, "x", STR("id", SBX_VIEW("a\r\n2030 info y=1\x1b[2J\x7f\xc2\x9b\xff")));
    assert_string_equal(behind_time(),
                        " info  x id=\"a\\u000d\\n2030 info y=1\\u001b[2J\\u007f\\u009b\xef\xbf\xbd\"\n");
}

static void values_that_look_like_syntax_are_quoted(void **state)
{
    (void)state;
    WRITE(INFO, "x", CSTR("a", "b=c"), CSTR("e", ""), CSTR("q", "\""));
    assert_string_equal(behind_time(), " info  x a=\"b=c\" e=\"\" q=\"\\\"\"\n");
}

static void long_values_are_cut_and_a_line_stays_a_line(void **state)
{
    (void)state;
    static char text[20000];
    memset(text, '\x01', sizeof text - 1);
    WRITE(INFO, "x", CSTR("a", text), CSTR("b", text), CSTR("c", "short"));
    assert_true(strlen(last) <= SBX_LOG_LINE_MAX);
    assert_non_null(strstr(last, "...\" c=short\n"));
    assert_null(strstr(last, "b="));
}

static char path[] = "/tmp/sbx_test_log_XXXXXX";

static size_t size_of(const char *name)
{
    FILE *file = fopen(name, "rb");
    if (file == NULL)
        return 0;
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    fclose(file);
    return size;
}

static void a_file_is_appended_to_and_reopened_after_rotation(void **state)
{
    (void)state;
    char rotated[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    sbx_log_capture(NULL, NULL);
    assert_int_equal(sbx_log_open(SBX_LOG_INFO, SBX_LOG_TEXT, path), SBX_OK);
    sbx_log_write(SBX_LOG_INFO, "one", NULL, 0);
    snprintf(rotated, sizeof rotated, "%s.1", path);
    assert_int_equal(rename(path, rotated), 0);
    sbx_log_write(SBX_LOG_INFO, "two", NULL, 0);
    size_t before = size_of(rotated);
    assert_int_equal(size_of(path), 0);
    assert_int_equal(sbx_log_reopen(), SBX_OK);
    sbx_log_write(SBX_LOG_INFO, "three", NULL, 0);
    assert_int_equal(size_of(rotated), before);
    assert_true(size_of(path) > 0);
    unlink(path);
    unlink(rotated);
}

static void a_file_that_cannot_be_opened_leaves_the_old_sink(void **state)
{
    (void)state;
    assert_int_equal(sbx_log_open(SBX_LOG_ERROR, SBX_LOG_JSON, "/nonexistent/dir/log"), SBX_E_IO);
    sbx_log_write(SBX_LOG_INFO, "still", NULL, 0);
    assert_string_equal(behind_time(), " info  still\n");
}

static void levels_have_names(void **state)
{
    (void)state;
    sbx_log_level level = SBX_LOG_ERROR;
    assert_true(sbx_log_level_from_name(SBX_VIEW("debug"), &level));
    assert_int_equal(level, SBX_LOG_DEBUG);
    assert_false(sbx_log_level_from_name(SBX_VIEW("Debug"), &level));
    assert_string_equal(sbx_log_level_name(SBX_LOG_WARN), "warn");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_text_line_names_level_event_and_fields, capture, release),
        cmocka_unit_test_setup_teardown(a_json_line_is_one_object, capture, release),
        cmocka_unit_test_setup_teardown(an_event_without_fields_is_a_line, capture, release),
        cmocka_unit_test_setup_teardown(an_event_brings_its_level_and_its_keys, capture, release),
        cmocka_unit_test_setup_teardown(what_an_event_does_not_have_is_left_out, capture, release),
        cmocka_unit_test_setup_teardown(the_time_is_utc_with_milliseconds, capture, release),
        cmocka_unit_test_setup_teardown(fields_of_a_level_that_is_off_are_not_evaluated, capture, release),
        cmocka_unit_test_setup_teardown(nothing_a_peer_sends_can_forge_a_line_or_obey_a_terminal, capture,
                                        release),
        cmocka_unit_test_setup_teardown(values_that_look_like_syntax_are_quoted, capture, release),
        cmocka_unit_test_setup_teardown(long_values_are_cut_and_a_line_stays_a_line, capture, release),
        cmocka_unit_test_setup_teardown(a_file_is_appended_to_and_reopened_after_rotation, capture, release),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_opened_leaves_the_old_sink, capture, release),
        cmocka_unit_test_setup_teardown(levels_have_names, capture, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
