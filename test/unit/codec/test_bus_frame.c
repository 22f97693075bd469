/* Bus frames: header and payloads, there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/bus_frame.h"

static sbx_arena arena;
static sbx_buf buf;

static int set_up(void **state)
{
    (void)state;
    sbx_arena_init(&arena, 10000);
    sbx_buf_init(&buf, SIZE_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sbx_arena_deinit(&arena);
    sbx_buf_deinit(&buf);
    return 0;
}

static void assert_view(sbx_view view, const char *expected)
{
    if (!sbx_view_eq_cstr(view, expected))
        fail_msg("wanted <%s>, found <%.*s>", expected, SBX_VIEW_ARG(view));
}

static const uint8_t data_frame[] = {0x04, 0x03, 0x02, 0x01, 3, 7, 0, 0,   0x10,
                                     0,    0,    0x80, 2,    0, 0, 0, 'h', 'i'};

static void a_header_is_sixteen_little_endian_bytes(void **state)
{
    (void)state;
    uint8_t header[SBX_FRAME_HEADER_BYTES];
    sbx_frame frame = {
        .seq = 0x01020304, .type = SBX_FRAME_DATA, .flags = 7, .aux = 0x80000010, .payload = SBX_VIEW("hi")};
    sbx_frame_encode_header(&frame, header);
    assert_memory_equal(header, data_frame, sizeof header);
}

static void a_frame_is_decoded_in_place(void **state)
{
    (void)state;
    sbx_frame frame;
    assert_int_equal(sbx_frame_decode(sbx_view_of(data_frame, sizeof data_frame), &frame), SBX_OK);
    assert_int_equal(frame.seq, 0x01020304);
    assert_int_equal(frame.type, SBX_FRAME_DATA);
    assert_int_equal(frame.flags, 7);
    assert_int_equal(frame.aux, 0x80000010);
    assert_view(frame.payload, "hi");
    assert_ptr_equal(frame.payload.data, data_frame + 16);
}

/* The data frame with one byte changed. */
static sbx_err decode_with(size_t at, uint8_t byte)
{
    sbx_frame frame;
    uint8_t bytes[sizeof data_frame];
    memcpy(bytes, data_frame, sizeof bytes);
    bytes[at] = byte;
    return sbx_frame_decode(sbx_view_of(bytes, sizeof bytes), &frame);
}

static void a_length_that_is_not_the_messages_is_refused(void **state)
{
    (void)state;
    sbx_frame frame;
    assert_int_equal(decode_with(12, 1), SBX_E_PARSE);
    assert_int_equal(decode_with(12, 3), SBX_E_PARSE);
    assert_int_equal(decode_with(15, 1), SBX_E_PARSE);
    assert_int_equal(sbx_frame_decode(sbx_view_of(data_frame, 17), &frame), SBX_E_PARSE);
    assert_int_equal(sbx_frame_decode(sbx_view_of(data_frame, 15), &frame), SBX_E_PARSE);
    assert_int_equal(sbx_frame_decode((sbx_view){0}, &frame), SBX_E_PARSE);
}

static void unknown_types_and_reserved_bits_are_refused(void **state)
{
    (void)state;
    assert_int_equal(decode_with(4, 0), SBX_E_PARSE);
    assert_int_equal(decode_with(4, 7), SBX_E_PARSE);
    assert_int_equal(decode_with(6, 1), SBX_E_PARSE);
    assert_int_equal(decode_with(7, 1), SBX_E_PARSE);
    assert_int_equal(decode_with(5, 255), SBX_OK);
}

static void frames_without_content_must_be_empty(void **state)
{
    (void)state;
    assert_int_equal(decode_with(4, SBX_FRAME_ACK), SBX_E_PARSE);
    assert_int_equal(decode_with(4, SBX_FRAME_END), SBX_E_PARSE);
    assert_int_equal(decode_with(4, SBX_FRAME_PING), SBX_E_PARSE);
    assert_int_equal(decode_with(4, SBX_FRAME_ERROR), SBX_OK);
}

static void types_have_names(void **state)
{
    (void)state;
    assert_string_equal(sbx_frame_type_name(SBX_FRAME_PING), "ping");
    assert_string_equal(sbx_frame_type_name((sbx_frame_type)99), "unknown");
}

static void a_head_survives_the_way(void **state)
{
    (void)state;
    sbx_frame_head head = {.status = 503,
                           .content_type = SBX_VIEW("text/event-stream; x=\"y\""),
                           .content_encoding = SBX_VIEW("gzip"),
                           .retry_after_ns = SBX_MS(1500) + 1};
    sbx_frame_head back;
    assert_int_equal(sbx_frame_head_write(&buf, &head), SBX_OK);
    assert_view(sbx_buf_view(&buf), "{\"status\":503,\"contentType\":\"text/event-stream; x=\\\"y\\\"\","
                                    "\"contentEncoding\":\"gzip\",\"retryAfterMs\":1501}");
    assert_int_equal(sbx_frame_head_parse(sbx_buf_view(&buf), &arena, &back), SBX_OK);
    assert_int_equal(back.status, 503);
    assert_view(back.content_type, "text/event-stream; x=\"y\"");
    assert_view(back.content_encoding, "gzip");
    assert_int_equal(back.retry_after_ns, SBX_MS(1501));
}

static void what_a_head_does_not_say_is_empty(void **state)
{
    (void)state;
    sbx_frame_head head;
    assert_int_equal(sbx_frame_head_parse(SBX_VIEW("{\"status\":200,\"new\":[1]}"), &arena, &head), SBX_OK);
    assert_int_equal(head.status, 200);
    assert_int_equal(head.content_type.len, 0);
    assert_int_equal(head.retry_after_ns, -1);
    head.retry_after_ns = -1;
    assert_int_equal(sbx_frame_head_write(&buf, &head), SBX_OK);
    assert_view(sbx_buf_view(&buf), "{\"status\":200}");
}

static sbx_err parse_head(const char *text)
{
    sbx_frame_head head;
    return sbx_frame_head_parse(sbx_view_cstr(text), &arena, &head);
}

static void odd_heads_are_refused(void **state)
{
    (void)state;
    assert_int_equal(parse_head(""), SBX_E_PARSE);
    assert_int_equal(parse_head("[]"), SBX_E_PARSE);
    assert_int_equal(parse_head("{}"), SBX_E_PARSE);
    assert_int_equal(parse_head("{\"status\":99}"), SBX_E_PARSE);
    assert_int_equal(parse_head("{\"status\":600}"), SBX_E_PARSE);
    assert_int_equal(parse_head("{\"status\":\"200\"}"), SBX_E_PARSE);
    assert_int_equal(parse_head("{\"status\":200,\"contentType\":5}"), SBX_E_PARSE);
    assert_int_equal(parse_head("{\"status\":200,\"retryAfterMs\":-1}"), SBX_E_PARSE);
    assert_int_equal(parse_head("{\"status\":200,\"retryAfterMs\":9223372036854775807}"), SBX_E_PARSE);
}

static void an_error_survives_the_way_by_name(void **state)
{
    (void)state;
    sbx_frame_error error = {
        .outcome = SBX_OUTCOME_OVERLOADED, .retry_after_ns = SBX_SEC(2), .text = SBX_VIEW("full \"now\"\n")};
    sbx_frame_error back;
    assert_int_equal(sbx_frame_error_write(&buf, &error), SBX_OK);
    assert_view(sbx_buf_view(&buf),
                "{\"outcome\":\"overloaded\",\"text\":\"full \\\"now\\\"\\n\",\"retryAfterMs\":2000}");
    assert_int_equal(sbx_frame_error_parse(sbx_buf_view(&buf), &arena, &back), SBX_OK);
    assert_int_equal(back.outcome, SBX_OUTCOME_OVERLOADED);
    assert_int_equal(back.retry_after_ns, SBX_SEC(2));
    assert_view(back.text, "full \"now\"\n");
}

static void an_outcome_that_is_not_known_is_a_server_error(void **state)
{
    (void)state;
    sbx_frame_error error;
    assert_int_equal(sbx_frame_error_parse(SBX_VIEW("{\"outcome\":\"exploded\"}"), &arena, &error), SBX_OK);
    assert_int_equal(error.outcome, SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(error.retry_after_ns, -1);
}

static void an_error_frame_cannot_claim_success(void **state)
{
    (void)state;
    sbx_frame_error error;
    assert_int_equal(sbx_frame_error_parse(SBX_VIEW("{\"outcome\":\"ok\"}"), &arena, &error), SBX_OK);
    assert_int_equal(error.outcome, SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(sbx_frame_error_parse(SBX_VIEW("{\"text\":\"x\"}"), &arena, &error), SBX_E_PARSE);
}

static void a_long_error_text_is_cut(void **state)
{
    (void)state;
    static uint8_t long_text[2000];
    sbx_frame_error back;
    memset(long_text, 'x', sizeof long_text);
    sbx_frame_error error = {
        .outcome = SBX_OUTCOME_RESET, .retry_after_ns = -1, .text = {long_text, sizeof long_text}};
    assert_int_equal(sbx_frame_error_write(&buf, &error), SBX_OK);
    assert_int_equal(sbx_frame_error_parse(sbx_buf_view(&buf), &arena, &back), SBX_OK);
    assert_int_equal(back.text.len, SBX_FRAME_TEXT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_header_is_sixteen_little_endian_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_frame_is_decoded_in_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_length_that_is_not_the_messages_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_types_and_reserved_bits_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(frames_without_content_must_be_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(types_have_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_head_survives_the_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_head_does_not_say_is_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(odd_heads_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_error_survives_the_way_by_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_outcome_that_is_not_known_is_a_server_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_error_frame_cannot_claim_success, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_long_error_text_is_cut, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
