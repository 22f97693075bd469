/* The table of log events: its rows keep to the rules, and docs/events.md says what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "support/page.h"

static bool is_word(const char *text)
{
    return text[0] >= 'a' && text[0] <= 'z' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(text);
}

static sbx_log_event_info row(unsigned event)
{
    return sbx_log_event_at((sbx_log_event)event);
}

static void no_two_events_share_a_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SBX_LOG_EVENT_COUNT; i++) {
        assert_true(is_word(row(i).name));
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(row(i).name, row(k).name);
    }
}

static void keys_are_words_and_differ_from_what_each_line_has(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SBX_LOG_EVENT_COUNT; i++) {
        sbx_log_event_info info = row(i);
        assert_in_range(info.field_count, 1, SBX_LOG_FIELDS_MAX);
        for (size_t k = 0; k < info.field_count; k++) {
            assert_true(is_word(info.fields[k].key));
            assert_string_not_equal(info.fields[k].key, "time");
            assert_string_not_equal(info.fields[k].key, "level");
            assert_string_not_equal(info.fields[k].key, "event");
        }
    }
}

/* ---- the page ---- */

static const char introduction[] =
    "# Events in the log\n\n"
    "This page is made from `src/base/events.def`; `SBX_UPDATE_DOCS=1 build/dev/base_test_events` writes it "
    "anew.\n\n"
    "Every line of the log is one event: the time (UTC), the level, the event's name and its fields, as "
    "text\n"
    "(`logging.format: text`) or as one JSON object (`json`). Controller, workers and engines share this "
    "table. "
    "Levels:\n"
    "`error` = a human must act, `warn` = degraded but served, `info` = lifecycle and one line per request, "
    "`debug` = per\n"
    "attempt. Keys that end in `_ms` are milliseconds with three decimals. Keys in brackets are left out "
    "when "
    "there is\n"
    "nothing to say. Prompts and answers are never logged.\n\n"
    "| event | level | fields | what it says |\n"
    "|---|---|---|---|\n";

static void append_fields(sbx_buf *buf, const sbx_log_event_info *info)
{
    for (size_t i = 0; i < info->field_count; i++) {
        const sbx_log_key *key = &info->fields[i];
        bool is_optional = key->kind == SBX_LOG_KEY_OPT;
        sbx_buf_appendf(buf, "%s%s`%s`%s", i == 0 ? "" : ", ", is_optional ? "[" : "", key->key,
                        is_optional ? "]" : "");
    }
}

static void the_page_is_what_the_table_says(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    sbx_buf_append_cstr(&buf, introduction);
    for (unsigned i = 0; i < SBX_LOG_EVENT_COUNT; i++) {
        sbx_log_event_info info = row(i);
        sbx_buf_appendf(&buf, "| `%s` | %s | ", info.name, sbx_log_level_name(info.level));
        append_fields(&buf, &info);
        sbx_buf_appendf(&buf, " | %s |\n", info.text);
    }
    page_is_fresh("docs/events.md", &buf);
    sbx_buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_two_events_share_a_name),
        cmocka_unit_test(keys_are_words_and_differ_from_what_each_line_has),
        cmocka_unit_test(the_page_is_what_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
