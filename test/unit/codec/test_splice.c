/* Edited bodies: the edits, and that every other byte stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/splice.h"

static sbx_arena arena;
static char joined[4096];

static int make_arena(void **state)
{
    (void)state;
    sbx_arena_init(&arena, 100000);
    return 0;
}

static int drop_arena(void **state)
{
    (void)state;
    sbx_arena_deinit(&arena);
    return 0;
}

static const char *text_of(const sbx_splice *splice)
{
    sbx_view pieces[SBX_SPLICE_MAX_PIECES];
    size_t total;
    size_t len = 0;
    size_t count = sbx_splice_pieces(splice, pieces, &total);
    for (size_t i = 0; i < count; i++) {
        assert_true(pieces[i].len > 0);
        memcpy(joined + len, pieces[i].data, pieces[i].len);
        len += pieces[i].len;
    }
    joined[len] = '\0';
    assert_int_equal(len, total);
    return joined;
}

/* An edited body must be one that we would take ourselves. */
static void assert_valid(const char *text)
{
    sbx_errinfo info = {0};
    if (sbx_json_scan(sbx_view_cstr(text), NULL, 0, NULL, &info) != SBX_OK)
        fail_msg("%s: %s", text, info.text);
}

typedef enum edit {
    EDIT_MODEL = 1,
    EDIT_SESSION = 2,
    EDIT_USAGE = 4,
} edit;

static const char *edited(const char *body, int edits)
{
    sbx_openai_request request;
    sbx_splice splice;
    assert_int_equal(
        sbx_openai_request_parse(sbx_view_cstr(body), SBX_ENDPOINT_COMPLETIONS, &arena, &request, NULL),
        SBX_OK);
    sbx_splice_init(&splice, request.body);
    if (edits & EDIT_USAGE)
        assert_int_equal(sbx_splice_include_usage(&splice, &request), SBX_OK);
    if (edits & EDIT_SESSION)
        assert_int_equal(sbx_splice_drop_session(&splice, &request), SBX_OK);
    if (edits & EDIT_MODEL)
        assert_int_equal(sbx_splice_model(&splice, &request, SBX_VIEW("real \"id\""), &arena), SBX_OK);
    assert_valid(text_of(&splice));
    return joined;
}

static void without_edits_the_body_is_one_piece_and_not_copied(void **state)
{
    (void)state;
    sbx_splice splice;
    sbx_view pieces[SBX_SPLICE_MAX_PIECES];
    size_t total;
    sbx_view body = SBX_VIEW("{\"a\":1}");
    sbx_splice_init(&splice, body);
    assert_int_equal(sbx_splice_pieces(&splice, pieces, &total), 1);
    assert_ptr_equal(pieces[0].data, body.data);
    assert_int_equal(total, body.len);
}

static void edits_come_out_in_order_however_they_came_in(void **state)
{
    (void)state;
    sbx_splice splice;
    sbx_splice_init(&splice, SBX_VIEW("0123456789"));
    assert_int_equal(sbx_splice_add(&splice, 8, 2, SBX_VIEW("END")), SBX_OK);
    assert_int_equal(sbx_splice_add(&splice, 0, 1, SBX_VIEW("")), SBX_OK);
    assert_int_equal(sbx_splice_add(&splice, 4, 0, SBX_VIEW("+")), SBX_OK);
    assert_int_equal(sbx_splice_add(&splice, 4, 1, SBX_VIEW("-")), SBX_OK);
    assert_string_equal(text_of(&splice), "123+-567END");
}

static void an_insertion_goes_before_a_removal_at_the_same_place(void **state)
{
    (void)state;
    sbx_splice splice;
    sbx_splice_init(&splice, SBX_VIEW("abc"));
    assert_int_equal(sbx_splice_add(&splice, 1, 1, SBX_VIEW("X")), SBX_OK);
    assert_int_equal(sbx_splice_add(&splice, 1, 0, SBX_VIEW("+")), SBX_OK);
    assert_string_equal(text_of(&splice), "a+Xc");
}

static void overlapping_edits_are_refused(void **state)
{
    (void)state;
    sbx_splice splice;
    sbx_splice_init(&splice, SBX_VIEW("0123456789"));
    assert_int_equal(sbx_splice_add(&splice, 2, 4, SBX_VIEW("x")), SBX_OK);
    assert_int_equal(sbx_splice_add(&splice, 5, 1, SBX_VIEW("y")), SBX_E_INVALID);
    assert_int_equal(sbx_splice_add(&splice, 1, 2, SBX_VIEW("y")), SBX_E_INVALID);
    assert_int_equal(sbx_splice_add(&splice, 3, 0, SBX_VIEW("y")), SBX_E_INVALID);
    assert_int_equal(sbx_splice_add(&splice, 2, 4, SBX_VIEW("y")), SBX_E_INVALID);
    assert_string_equal(text_of(&splice), "01x6789");
}

static void edits_outside_the_body_and_too_many_are_refused(void **state)
{
    (void)state;
    sbx_splice splice;
    sbx_splice_init(&splice, SBX_VIEW("0123"));
    assert_int_equal(sbx_splice_add(&splice, 5, 0, SBX_VIEW("x")), SBX_E_RANGE);
    assert_int_equal(sbx_splice_add(&splice, 3, 2, SBX_VIEW("x")), SBX_E_RANGE);
    assert_int_equal(sbx_splice_add(&splice, 0, SIZE_MAX, SBX_VIEW("x")), SBX_E_RANGE);
    assert_int_equal(sbx_splice_add(&splice, 0, 1, SBX_VIEW("a")), SBX_OK);
    assert_int_equal(sbx_splice_add(&splice, 1, 1, SBX_VIEW("b")), SBX_OK);
    assert_int_equal(sbx_splice_add(&splice, 2, 1, SBX_VIEW("c")), SBX_OK);
    assert_int_equal(sbx_splice_add(&splice, 3, 1, SBX_VIEW("d")), SBX_OK);
    assert_int_equal(sbx_splice_add(&splice, 4, 0, SBX_VIEW("e")), SBX_E_CAP);
    assert_string_equal(text_of(&splice), "abcd");
}

static void the_model_is_replaced_and_escaped(void **state)
{
    (void)state;
    assert_string_equal(edited("{ \"prompt\":\"coding\",\"model\" :  \"coding\" }", EDIT_MODEL),
                        "{ \"prompt\":\"coding\",\"model\" :  \"real \\\"id\\\"\" }");
}

static void the_same_model_is_left_alone_byte_for_byte(void **state)
{
    (void)state;
    sbx_openai_request request;
    sbx_splice splice;
    const char *body = "{\"model\":\"a\\u002fb\",\"prompt\":\"x\"}";
    assert_int_equal(
        sbx_openai_request_parse(sbx_view_cstr(body), SBX_ENDPOINT_COMPLETIONS, &arena, &request, NULL),
        SBX_OK);
    sbx_splice_init(&splice, request.body);
    assert_int_equal(sbx_splice_model(&splice, &request, SBX_VIEW("a/b"), &arena), SBX_OK);
    assert_string_equal(text_of(&splice), body);
}

static void the_session_id_goes_with_its_comma_wherever_it_stands(void **state)
{
    (void)state;
    assert_string_equal(edited("{\"session_id\":\"s\",\"model\":\"m\",\"prompt\":\"x\"}", EDIT_SESSION),
                        "{\"model\":\"m\",\"prompt\":\"x\"}");
    assert_string_equal(edited("{\"model\":\"m\", \"session_id\" : \"s\" , \"prompt\":\"x\"}", EDIT_SESSION),
                        "{\"model\":\"m\",  \"prompt\":\"x\"}");
    assert_string_equal(edited("{\"model\":\"m\",\"prompt\":\"x\" ,\n \"session_id\":null\n}", EDIT_SESSION),
                        "{\"model\":\"m\",\"prompt\":\"x\" \n}");
    assert_string_equal(edited("{\"model\":\"m\",\"prompt\":\"x\"}", EDIT_SESSION),
                        "{\"model\":\"m\",\"prompt\":\"x\"}");
}

static void a_session_id_inside_the_prompt_is_not_ours(void **state)
{
    (void)state;
    const char *body =
        "{\"model\":\"m\",\"prompt\":\",\\\"session_id\\\":\\\"s\\\"\",\"user\":{\"session_id\":1}}";
    assert_string_equal(edited(body, EDIT_SESSION), body);
}

static void include_usage_is_set_in_every_shape_of_stream_options(void **state)
{
    (void)state;
    assert_string_equal(edited(" {\"model\":\"m\",\"prompt\":\"x\"}", EDIT_USAGE),
                        " {\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"prompt\":\"x\"}");
    assert_string_equal(edited("{\"model\":\"m\",\"prompt\":\"x\",\"stream_options\":null}", EDIT_USAGE),
                        "{\"model\":\"m\",\"prompt\":\"x\",\"stream_options\":{\"include_usage\":true}}");
    assert_string_equal(edited("{\"model\":\"m\",\"prompt\":\"x\",\"stream_options\":{ }}", EDIT_USAGE),
                        "{\"model\":\"m\",\"prompt\":\"x\",\"stream_options\":{\"include_usage\":true }}");
    assert_string_equal(
        edited("{\"model\":\"m\",\"prompt\":\"x\",\"stream_options\":{\"a\":1}}", EDIT_USAGE),
        "{\"model\":\"m\",\"prompt\":\"x\",\"stream_options\":{\"include_usage\":true,\"a\":1}}");
    assert_string_equal(
        edited("{\"model\":\"m\",\"prompt\":\"x\",\"stream_options\":{\"include_usage\": false}}",
               EDIT_USAGE),
        "{\"model\":\"m\",\"prompt\":\"x\",\"stream_options\":{\"include_usage\": true}}");
    assert_string_equal(
        edited("{\"model\":\"m\",\"prompt\":\"x\",\"stream_options\":{\"include_usage\":null}}", EDIT_USAGE),
        "{\"model\":\"m\",\"prompt\":\"x\",\"stream_options\":{\"include_usage\":true}}");
}

static void include_usage_that_is_true_is_left_alone(void **state)
{
    (void)state;
    const char *body = "{\"model\":\"m\",\"prompt\":\"x\",\"stream_options\":{ \"include_usage\" : true } }";
    assert_string_equal(edited(body, EDIT_USAGE), body);
}

static void all_edits_at_once_leave_every_other_byte(void **state)
{
    (void)state;
    assert_string_equal(
        edited("{\"session_id\":\"s\",\"model\":\"m\", \"prompt\":\"\\u00e9 \xc3\xa9\",\"x\":[1, 2.50]}",
               EDIT_MODEL | EDIT_SESSION | EDIT_USAGE),
        "{\"stream_options\":{\"include_usage\":true},\"model\":\"real \\\"id\\\"\", "
        "\"prompt\":\"\\u00e9 \xc3\xa9\",\"x\":[1, 2.50]}");
    assert_string_equal(
        edited("{\"prompt\":\"x\",\"stream_options\":{},\"model\":\"m\",\"session_id\":\"s\"}",
               EDIT_MODEL | EDIT_SESSION | EDIT_USAGE),
        "{\"prompt\":\"x\",\"stream_options\":{\"include_usage\":true},\"model\":\"real \\\"id\\\"\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_edits_the_body_is_one_piece_and_not_copied),
        cmocka_unit_test(edits_come_out_in_order_however_they_came_in),
        cmocka_unit_test(an_insertion_goes_before_a_removal_at_the_same_place),
        cmocka_unit_test(overlapping_edits_are_refused),
        cmocka_unit_test(edits_outside_the_body_and_too_many_are_refused),
        cmocka_unit_test(the_model_is_replaced_and_escaped),
        cmocka_unit_test(the_same_model_is_left_alone_byte_for_byte),
        cmocka_unit_test(the_session_id_goes_with_its_comma_wherever_it_stands),
        cmocka_unit_test(a_session_id_inside_the_prompt_is_not_ours),
        cmocka_unit_test(include_usage_is_set_in_every_shape_of_stream_options),
        cmocka_unit_test(include_usage_that_is_true_is_left_alone),
        cmocka_unit_test(all_edits_at_once_leave_every_other_byte),
    };
    return cmocka_run_group_tests(tests, make_arena, drop_arena);
}
