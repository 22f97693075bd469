/* The SSE decoder on every split, its caps, and the encoder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "codec/sse.h"

enum {
    CAP = 1000
};

/* Everything the decoder says about a stream, as text: <raw>|<data>|flags, one line an event. */
static void describe(sbx_sse *sse, sbx_buf *out)
{
    sbx_sse_event event;
    sbx_err err = sbx_sse_next(sse, &event);
    for (; err == SBX_OK; err = sbx_sse_next(sse, &event)) {
        sbx_buf_append_json(out, event.raw);
        sbx_buf_append_json(out, event.data);
        sbx_buf_appendf(out, "%s%s%s;", event.has_data ? "D" : "", event.is_comment ? "C" : "",
                        event.has_other_fields ? "F" : "");
    }
    if (err != SBX_E_AGAIN)
        sbx_buf_append_cstr(out, sbx_err_name(err));
}

/* Feeds a copy of exactly these bytes and frees it, so that nobody may look at it later. */
static void feed(sbx_sse *sse, const char *bytes, size_t len, sbx_buf *out)
{
    char *copy = malloc(len + (len == 0));
    memcpy(copy, bytes, len);
    (void)sbx_sse_feed(sse, sbx_view_of(copy, len));
    describe(sse, out);
    free(copy);
}

static void describe_split(const char *stream, size_t first, size_t second, sbx_buf *out)
{
    sbx_sse sse;
    size_t len = strlen(stream);
    sbx_sse_init(&sse, CAP);
    sbx_buf_clear(out);
    feed(&sse, stream, first, out);
    feed(&sse, stream + first, second - first, out);
    feed(&sse, stream + second, len - second, out);
    sbx_sse_end(&sse);
    describe(&sse, out);
    sbx_buf_appendf(out, "%zu", sbx_sse_pending(&sse));
    sbx_sse_deinit(&sse);
}

/* Fed whole, in any three parts, and byte by byte, the stream reads the same. */
static void assert_reads(const char *stream, const char *expected)
{
    sbx_buf out;
    size_t len = strlen(stream);
    sbx_buf_init(&out, SIZE_MAX);
    for (size_t first = 0; first <= len; first++) {
        for (size_t second = first; second <= len; second++) {
            describe_split(stream, first, second, &out);
            if (!sbx_view_eq_cstr(sbx_buf_view(&out), expected))
                fail_msg("split %zu,%zu: wanted %s, found %.*s", first, second, expected,
                         SBX_VIEW_ARG(sbx_buf_view(&out)));
        }
    }
    sbx_buf_deinit(&out);
}

static void events_come_with_their_exact_bytes_and_their_data(void **state)
{
    (void)state;
    assert_reads("data: {\"a\":1}\n\ndata: [DONE]\n\n",
                 "\"data: {\\\"a\\\":1}\\n\\n\"\"{\\\"a\\\":1}\"D;\"data: [DONE]\\n\\n\"\"[DONE]\"D;0");
}

static void all_three_line_ends_are_understood(void **state)
{
    (void)state;
    assert_reads("data: a\r\n\r\ndata: b\r\n\r\n",
                 "\"data: a\\r\\n\\r\\n\"\"a\"D;\"data: b\\r\\n\\r\\n\"\"b\"D;0");
    assert_reads("data: a\r\rdata: b\r\r", "\"data: a\\r\\r\"\"a\"D;\"data: b\\r\\r\"\"b\"D;0");
    assert_reads("data: a\r\n\ndata: b\n\r\n", "\"data: a\\r\\n\\n\"\"a\"D;\"data: b\\n\\r\\n\"\"b\"D;0");
    assert_reads("data: a\n\rdata: b\r\n\n", "\"data: a\\n\\r\"\"a\"D;\"data: b\\r\\n\\n\"\"b\"D;0");
}

static void several_data_lines_are_joined(void **state)
{
    (void)state;
    assert_reads("data: a\ndata: b\r\ndata:\ndata:  c\n\n",
                 "\"data: a\\ndata: b\\r\\ndata:\\ndata:  c\\n\\n\"\"a\\nb\\n\\n c\"D;0");
}

static void one_space_behind_the_colon_is_not_data(void **state)
{
    (void)state;
    assert_reads(
        "data:x\n\ndata:  y\n\ndata\n\ndata: \n\n",
        "\"data:x\\n\\n\"\"x\"D;\"data:  y\\n\\n\"\" y\"D;\"data\\n\\n\"\"\"D;\"data: \\n\\n\"\"\"D;0");
}

static void comments_and_stray_blank_lines_are_told_apart(void **state)
{
    (void)state;
    assert_reads(": keep-alive\n\n\n:\n\ndata: x\n: c\n\n",
                 "\": keep-alive\\n\\n\"\"\"C;\"\\n\"\"\"C;\":\\n\\n\"\"\"C;\"data: x\\n: c\\n\\n\"\"x\"D;0");
}

static void other_fields_are_told(void **state)
{
    (void)state;
    assert_reads("event: ping\nid: 7\ndata: x\n\nretry: 5\n\nfoo\n\nDATA: x\n\n",
                 "\"event: ping\\nid: 7\\ndata: x\\n\\n\"\"x\"DF;\"retry: 5\\n\\n\"\"\"F;\"foo\\n\\n\"\"\"F;"
                 "\"DATA: x\\n\\n\"\"\"F;0");
}

static void a_byte_order_mark_at_the_start_is_dropped(void **state)
{
    (void)state;
    assert_reads("\xef\xbb\xbf"
                 "data: x\n\n",
                 "\"data: x\\n\\n\"\"x\"D;0");
    assert_reads("\xef\xbb\n\n", "\"\xef\xbf\xbd\xef\xbf\xbd\\n\\n\"\"\"F;0");
    assert_reads("data: x\n\n\xef\xbb\xbf"
                 "data: y\n\n",
                 "\"data: x\\n\\n\"\"x\"D;\"\xef\xbb\xbf"
                 "data: y\\n\\n\"\"\"F;0");
}

static void an_event_that_was_cut_is_not_an_event(void **state)
{
    (void)state;
    assert_reads("data: x\n\ndata: [DONE]\n", "\"data: x\\n\\n\"\"x\"D;13");
    assert_reads("data: x", "7");
    assert_reads("\xef\xbb", "2");
    assert_reads("", "0");
}

static void an_event_is_given_as_soon_as_its_last_byte_is_there(void **state)
{
    (void)state;
    sbx_sse sse;
    sbx_sse_event event;
    sbx_sse_init(&sse, CAP);
    assert_int_equal(sbx_sse_feed(&sse, SBX_VIEW("data: x\n")), SBX_OK);
    assert_int_equal(sbx_sse_next(&sse, &event), SBX_E_AGAIN);
    assert_int_equal(sbx_sse_feed(&sse, SBX_VIEW("\nd")), SBX_OK);
    assert_int_equal(sbx_sse_next(&sse, &event), SBX_OK);
    assert_int_equal(sbx_sse_next(&sse, &event), SBX_E_AGAIN);
    assert_int_equal(sbx_sse_pending(&sse), 1);
    sbx_sse_deinit(&sse);
}

static void raw_bytes_of_all_events_of_a_feed_stay_valid_together(void **state)
{
    (void)state;
    sbx_sse sse;
    sbx_sse_event first, second, none;
    sbx_sse_init(&sse, CAP);
    assert_int_equal(sbx_sse_feed(&sse, SBX_VIEW("data: fir")), SBX_OK);
    assert_int_equal(sbx_sse_next(&sse, &none), SBX_E_AGAIN);
    assert_int_equal(sbx_sse_feed(&sse, SBX_VIEW("st\n\ndata: second\n\ndata: third")), SBX_OK);
    assert_int_equal(sbx_sse_next(&sse, &first), SBX_OK);
    assert_int_equal(sbx_sse_next(&sse, &second), SBX_OK);
    assert_int_equal(sbx_sse_next(&sse, &none), SBX_E_AGAIN);
    assert_true(sbx_view_eq_cstr(first.raw, "data: first\n\n"));
    assert_true(sbx_view_eq_cstr(second.raw, "data: second\n\n"));
    sbx_sse_deinit(&sse);
}

static void an_event_in_one_feed_is_not_copied(void **state)
{
    (void)state;
    sbx_sse sse;
    sbx_sse_event event;
    sbx_view bytes = SBX_VIEW("data: x\n\n");
    sbx_sse_init(&sse, CAP);
    assert_int_equal(sbx_sse_feed(&sse, bytes), SBX_OK);
    assert_int_equal(sbx_sse_next(&sse, &event), SBX_OK);
    assert_ptr_equal(event.raw.data, bytes.data);
    assert_ptr_equal(event.data.data, bytes.data + 6);
    sbx_sse_deinit(&sse);
}

static void an_event_may_be_as_large_as_the_cap_and_no_larger(void **state)
{
    (void)state;
    sbx_sse sse;
    sbx_sse_event event;
    sbx_sse_init(&sse, 9);
    assert_int_equal(sbx_sse_feed(&sse, SBX_VIEW("data: x\n\ndata: yy\n\n")), SBX_OK);
    assert_int_equal(sbx_sse_next(&sse, &event), SBX_OK);
    assert_int_equal(sbx_sse_next(&sse, &event), SBX_E_CAP);
    assert_int_equal(sbx_sse_next(&sse, &event), SBX_E_CAP);
    assert_int_equal(sbx_sse_feed(&sse, SBX_VIEW("\n\n")), SBX_E_CAP);
    sbx_sse_deinit(&sse);
}

static void an_endless_event_is_stopped_at_the_cap(void **state)
{
    (void)state;
    sbx_sse sse;
    sbx_sse_event event;
    sbx_sse_init(&sse, 20);
    assert_int_equal(sbx_sse_feed(&sse, SBX_VIEW("data: 0123456789")), SBX_OK);
    assert_int_equal(sbx_sse_next(&sse, &event), SBX_E_AGAIN);
    assert_int_equal(sbx_sse_feed(&sse, SBX_VIEW("01234")), SBX_OK);
    assert_int_equal(sbx_sse_next(&sse, &event), SBX_E_CAP);
    sbx_sse_deinit(&sse);
}

static void megabytes_of_any_line_end_take_linear_time(void **state)
{
    (void)state;
    enum {
        SIZE = 4 << 20
    };
    uint8_t *bytes = malloc(SIZE);
    sbx_sse sse;
    sbx_sse_event event;
    size_t count = 0;
    clock_t from = clock();
    memset(bytes, '\r', SIZE);
    sbx_sse_init(&sse, SIZE);
    assert_int_equal(sbx_sse_feed(&sse, sbx_view_of(bytes, SIZE)), SBX_OK);
    while (sbx_sse_next(&sse, &event) == SBX_OK)
        count++;
    assert_int_equal(count, SIZE - 1);
    assert_true(clock() - from < 4 * CLOCKS_PER_SEC);
    sbx_sse_deinit(&sse);
    free(bytes);
}

static void assert_written(sbx_err (*write)(sbx_buf *, sbx_view), const char *payload, const char *expected)
{
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    assert_int_equal(write(&buf, sbx_view_cstr(payload)), SBX_OK);
    if (!sbx_view_eq_cstr(sbx_buf_view(&buf), expected))
        fail_msg("wanted <%s>, found <%.*s>", expected, SBX_VIEW_ARG(sbx_buf_view(&buf)));
    sbx_buf_deinit(&buf);
}

static void data_is_written_as_one_event(void **state)
{
    (void)state;
    assert_written(sbx_sse_write_data, "{}", "data: {}\n\n");
    assert_written(sbx_sse_write_data, "", "data: \n\n");
}

static void line_ends_in_a_payload_cannot_forge_events(void **state)
{
    (void)state;
    assert_written(sbx_sse_write_data, "a\n\ndata: [DONE]\r\rb\r\nevent: x",
                   "data: a\ndata: \ndata: data: [DONE]\ndata: \ndata: b\ndata: event: x\n\n");
    assert_written(sbx_sse_write_comment, "x\n\ndata: y", ": x\n: \n: data: y\n\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_with_their_exact_bytes_and_their_data),
        cmocka_unit_test(all_three_line_ends_are_understood),
        cmocka_unit_test(several_data_lines_are_joined),
        cmocka_unit_test(one_space_behind_the_colon_is_not_data),
        cmocka_unit_test(comments_and_stray_blank_lines_are_told_apart),
        cmocka_unit_test(other_fields_are_told),
        cmocka_unit_test(a_byte_order_mark_at_the_start_is_dropped),
        cmocka_unit_test(an_event_that_was_cut_is_not_an_event),
        cmocka_unit_test(an_event_is_given_as_soon_as_its_last_byte_is_there),
        cmocka_unit_test(raw_bytes_of_all_events_of_a_feed_stay_valid_together),
        cmocka_unit_test(an_event_in_one_feed_is_not_copied),
        cmocka_unit_test(an_event_may_be_as_large_as_the_cap_and_no_larger),
        cmocka_unit_test(an_endless_event_is_stopped_at_the_cap),
        cmocka_unit_test(megabytes_of_any_line_end_take_linear_time),
        cmocka_unit_test(data_is_written_as_one_event),
        cmocka_unit_test(line_ends_in_a_payload_cannot_forge_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
