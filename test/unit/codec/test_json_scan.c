/* The JSON scanner: what it accepts, what it rejects and where, what it finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "codec/json_scan.h"

static bool accepts(const char *text)
{
    return sbx_json_scan(sbx_view_cstr(text), NULL, 0, NULL, NULL) == SBX_OK;
}

/* The offset of the complaint; fails when there is none. */
static size_t complaint_at(const char *text)
{
    sbx_errinfo info = {0};
    assert_int_equal(sbx_json_scan(sbx_view_cstr(text), NULL, 0, NULL, &info), SBX_E_PARSE);
    assert_true(info.text[0] != '\0');
    return info.offset;
}

static sbx_json_want find(const char *text, const char *name)
{
    sbx_json_want want = {.name = sbx_view_cstr(name)};
    assert_int_equal(sbx_json_scan(sbx_view_cstr(text), &want, 1, NULL, NULL), SBX_OK);
    return want;
}

static void assert_view(sbx_view view, const char *expected)
{
    if (!sbx_view_eq_cstr(view, expected))
        fail_msg("wanted <%s>, found <%.*s>", expected, SBX_VIEW_ARG(view));
}

static void every_kind_of_value_is_accepted(void **state)
{
    (void)state;
    assert_true(accepts("{}"));
    assert_true(accepts("[]"));
    assert_true(accepts(" \t\r\n{ \"a\" : [ 1 , -0.5e+10 , true , false , null , \"x\" , { } , [ ] ] } \n"));
    assert_true(accepts("\"root string\""));
    assert_true(accepts("0"));
    assert_true(accepts("-0"));
    assert_true(accepts("1E5"));
    assert_true(accepts("[[[[[[1]]]]]]"));
    assert_true(accepts("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\ud83d\\ude00\""));
    assert_true(accepts("\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \x7f\""));
}

static void broken_structure_is_rejected(void **state)
{
    (void)state;
    assert_false(accepts(""));
    assert_false(accepts("   "));
    assert_false(accepts("{"));
    assert_false(accepts("["));
    assert_false(accepts("}"));
    assert_false(accepts("{]"));
    assert_false(accepts("[}"));
    assert_false(accepts("[1,]"));
    assert_false(accepts("[,1]"));
    assert_false(accepts("[1 2]"));
    assert_false(accepts("{\"a\":1,}"));
    assert_false(accepts("{\"a\"}"));
    assert_false(accepts("{\"a\":}"));
    assert_false(accepts("{a:1}"));
    assert_false(accepts("{1:1}"));
    assert_false(accepts("{\"a\":1 \"b\":2}"));
    assert_false(accepts("{\"a\":[1}"));
    assert_false(accepts("{\"a\":1]"));
    assert_false(accepts("nul"));
    assert_false(accepts("True"));
    assert_false(accepts("truex"));
    assert_false(accepts("NaN"));
    assert_false(accepts("Infinity"));
    assert_false(accepts("// comment\n1"));
    assert_false(accepts("'x'"));
}

static void bytes_after_the_value_are_rejected(void **state)
{
    (void)state;
    assert_int_equal(complaint_at("{} x"), 3);
    assert_int_equal(complaint_at("{}{}"), 2);
    assert_int_equal(complaint_at("1,2"), 1);
    assert_int_equal(sbx_json_scan(SBX_VIEW("{}\0"), NULL, 0, NULL, NULL), SBX_E_PARSE);
}

static void a_byte_order_mark_is_rejected(void **state)
{
    (void)state;
    assert_int_equal(complaint_at("\xef\xbb\xbf{}"), 0);
}

static void numbers_follow_the_grammar(void **state)
{
    (void)state;
    assert_false(accepts("01"));
    assert_false(accepts("-01"));
    assert_false(accepts("-"));
    assert_false(accepts("+1"));
    assert_false(accepts(".5"));
    assert_false(accepts("5."));
    assert_false(accepts("1e"));
    assert_false(accepts("1e+"));
    assert_false(accepts("0x10"));
    assert_false(accepts("1_000"));
}

static void a_number_may_have_63_bytes_but_not_64(void **state)
{
    (void)state;
    char digits[65];
    memset(digits, '7', 64);
    digits[64] = '\0';
    assert_false(accepts(digits));
    digits[63] = '\0';
    assert_true(accepts(digits));
}

static void strings_follow_the_grammar(void **state)
{
    (void)state;
    assert_false(accepts("\"abc"));
    assert_false(accepts("\"abc\\"));
    assert_false(accepts("\"abc\\\""));
    assert_false(accepts("\"\\x41\""));
    assert_false(accepts("\"\\u12\""));
    assert_false(accepts("\"\\u12g4\""));
    assert_false(accepts("\"a\nb\""));
    assert_false(accepts("\"a\tb\""));
    assert_int_equal(complaint_at("\"0123456789abcdef\x01\""), 17);
}

static void lone_surrogates_are_rejected(void **state)
{
    (void)state;
    assert_int_equal(complaint_at("\"ab\\ud800\""), 3);
    assert_false(accepts("\"\\udc00\""));
    assert_false(accepts("\"\\ud800\\u0041\""));
    assert_false(accepts("\"\\ud800\\ud800\""));
    assert_false(accepts("\"\\ud800\\udc0\""));
    assert_true(accepts("\"\\ud800\\udc00\""));
    assert_true(accepts("\"\\uDBFF\\uDFFF\""));
}

static void bytes_that_are_not_utf8_are_rejected(void **state)
{
    (void)state;
    assert_int_equal(complaint_at("\"ab\xff\""), 3);
    assert_false(accepts("\"\xc0\xaf\""));
    assert_false(accepts("\"\xe0\x80\xaf\""));
    assert_false(accepts("\"\xed\xa0\x80\""));
    assert_false(accepts("\"\xf4\x90\x80\x80\""));
    assert_false(accepts("\"\xe2\x82\""));
    assert_false(accepts("\"\x80\""));
}

static void sixty_four_levels_pass_and_sixty_five_do_not(void **state)
{
    (void)state;
    char text[131] = {0};
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    assert_true(accepts(text));
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    assert_int_equal(complaint_at(text), 64);
}

static void a_mix_of_levels_remembers_which_is_which(void **state)
{
    (void)state;
    assert_true(accepts("{\"a\":[{\"b\":[{}]}],\"c\":{\"d\":[[],{}]}}"));
    assert_false(accepts("{\"a\":[{\"b\":[{}]]}"));
    assert_false(accepts("[{\"a\":1},2}"));
}

static void a_duplicate_top_level_key_of_any_name_is_rejected(void **state)
{
    (void)state;
    assert_int_equal(complaint_at("{\"x\":1,\"y\":2,\"x\":3}"), 13);
    assert_false(accepts("{\"model\":\"a\",\"mod\\u0065l\":\"b\"}"));
    assert_false(accepts("{\"\\u006dodel\":\"a\",\"mod\\u0065l\":\"b\"}"));
    assert_true(accepts("{\"model\":\"a\",\"Model\":\"b\"}"));
}

static void a_duplicate_key_further_down_is_the_engines_business(void **state)
{
    (void)state;
    assert_true(accepts("{\"a\":{\"x\":1,\"x\":2}}"));
}

static void there_may_be_256_top_level_keys_but_not_257(void **state)
{
    (void)state;
    char text[8192] = "{";
    for (int i = 0; i < 256; i++)
        snprintf(text + strlen(text), 32, "%s\"key%d\":%d", i == 0 ? "" : ",", i, i);
    size_t len = strlen(text);
    text[len] = '}';
    assert_true(accepts(text));
    strcpy(text + len, ",\"one more\":1}");
    assert_int_equal(complaint_at(text), len + 1);
}

static void wanted_members_are_found_with_type_and_exact_bytes(void **state)
{
    (void)state;
    const char *text = "{ \"a\" : {\"b\": [1, \"}\"]} , \"s\":\"x\\\"y\", \"n\":-1.5 ,\"t\":true,\"z\":null}";
    sbx_json_want a = find(text, "a");
    assert_int_equal(a.value.type, SBX_JSON_OBJECT);
    assert_view(a.value.text, "{\"b\": [1, \"}\"]}");
    assert_int_equal(a.key_offset, 2);
    assert_view(find(text, "s").value.text, "\"x\\\"y\"");
    assert_view(find(text, "n").value.text, "-1.5");
    assert_int_equal(find(text, "n").value.type, SBX_JSON_NUMBER);
    assert_view(find(text, "t").value.text, "true");
    assert_int_equal(find(text, "z").value.type, SBX_JSON_NULL);
    assert_int_equal(find(text, "nothere").value.type, SBX_JSON_NONE);
}

static void a_member_of_the_same_name_further_down_is_not_found(void **state)
{
    (void)state;
    assert_int_equal(find("{\"a\":{\"model\":1}}", "model").value.type, SBX_JSON_NONE);
    assert_view(find("{\"a\":{\"model\":1},\"model\":2}", "model").value.text, "2");
    assert_int_equal(find("[{\"model\":1}]", "model").value.type, SBX_JSON_NONE);
}

static void a_key_with_escapes_is_compared_decoded(void **state)
{
    (void)state;
    assert_view(find("{\"mod\\u0065l\":2}", "model").value.text, "2");
    assert_view(find("{\"\\u20ac\":2}", "\xe2\x82\xac").value.text, "2");
    assert_int_equal(find("{\"model\\u0000\":2}", "model").value.type, SBX_JSON_NONE);
}

static void the_root_is_told(void **state)
{
    (void)state;
    sbx_json_value root;
    assert_int_equal(sbx_json_scan(SBX_VIEW(" [1,2] "), NULL, 0, &root, NULL), SBX_OK);
    assert_int_equal(root.type, SBX_JSON_ARRAY);
    assert_view(root.text, "[1,2]");
}

static void a_complaint_names_line_and_column(void **state)
{
    (void)state;
    sbx_errinfo info = {0};
    assert_int_equal(sbx_json_scan(SBX_VIEW("{\n  \"a\": 1,\n  \"b\": tru\n}"), NULL, 0, NULL, &info),
                     SBX_E_PARSE);
    assert_int_equal(info.line, 3);
    assert_int_equal(info.column, 8);
    assert_int_equal(info.code, SBX_E_PARSE);
}

static void every_cut_of_a_text_is_rejected_without_reading_beyond(void **state)
{
    (void)state;
    const char *text = "{\"a\":[1,-2.5e3,\"x\\u00e9\\ud83d\\ude00\xc3\xa9\",true,null],\"b\":{}}";
    for (size_t len = 0; len < strlen(text); len++) {
        uint8_t *exact = malloc(len + (len == 0));
        memcpy(exact, text, len);
        assert_int_equal(sbx_json_scan(sbx_view_of(exact, len), NULL, 0, NULL, NULL), SBX_E_PARSE);
        free(exact);
    }
    assert_true(accepts(text));
}

static double seconds_for(const char *unit, size_t total)
{
    char *text = malloc(total);
    struct timespec from, to;
    for (size_t i = 0; i < total; i++)
        text[i] = unit[i % strlen(unit)];
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    (void)sbx_json_scan(sbx_view_of(text, total), NULL, 0, NULL, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    free(text);
    return (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

static void ten_megabytes_of_anything_take_linear_time(void **state)
{
    (void)state;
    size_t size = 10U << 20;
    assert_true(seconds_for("[", size) < 2);
    assert_true(seconds_for("9", size) < 2);
    assert_true(seconds_for("\"\\u0041", size) < 2);
    assert_true(seconds_for("\"\\u0041\",", size) < 2);
    assert_true(seconds_for("[1,", size) < 2);
    assert_true(seconds_for(" ", size) < 2);
    assert_true(seconds_for("{\"a\":1,\"b\":", size) < 2);
}

static sbx_json_value scanned(const char *text)
{
    sbx_json_value root = {0};
    assert_int_equal(sbx_json_scan(sbx_view_cstr(text), NULL, 0, &root, NULL), SBX_OK);
    return root;
}

static void elements_of_an_array_are_walked_in_order(void **state)
{
    (void)state;
    sbx_json_iter iter;
    sbx_json_value value;
    sbx_json_iter_init(&iter, scanned("[ 1 ,\"a,]\\\"\", [2,[3]] , {\"k\":\"}\"},null ]"));
    assert_true(sbx_json_iter_next(&iter, NULL, &value));
    assert_view(value.text, "1");
    assert_true(sbx_json_iter_next(&iter, NULL, &value));
    assert_view(value.text, "\"a,]\\\"\"");
    assert_true(sbx_json_iter_next(&iter, NULL, &value));
    assert_view(value.text, "[2,[3]]");
    assert_true(sbx_json_iter_next(&iter, NULL, &value));
    assert_view(value.text, "{\"k\":\"}\"}");
    assert_true(sbx_json_iter_next(&iter, NULL, &value));
    assert_int_equal(value.type, SBX_JSON_NULL);
    assert_false(sbx_json_iter_next(&iter, NULL, &value));
}

static void members_of_an_object_are_found_by_name(void **state)
{
    (void)state;
    sbx_json_value value;
    sbx_json_value object = scanned("{\"a\":{\"b\":9},\"b\" : \"x\" ,\"c\\n\":false}");
    assert_true(sbx_json_find(object, SBX_VIEW("b"), &value));
    assert_view(value.text, "\"x\"");
    assert_true(sbx_json_find(object, SBX_VIEW("c\n"), &value));
    assert_int_equal(value.type, SBX_JSON_BOOL);
    assert_false(sbx_json_find(object, SBX_VIEW("d"), &value));
    assert_int_equal(value.type, SBX_JSON_NONE);
    assert_false(sbx_json_find(scanned("[1]"), SBX_VIEW("a"), &value));
}

static void emptiness_is_seen_through_space(void **state)
{
    (void)state;
    assert_true(sbx_json_is_empty(scanned("[ ]")));
    assert_true(sbx_json_is_empty(scanned("{\n}")));
    assert_false(sbx_json_is_empty(scanned("[[]]")));
    assert_false(sbx_json_is_empty(scanned("{\"a\":1}")));
}

static void a_string_without_escapes_is_not_copied(void **state)
{
    (void)state;
    sbx_arena arena;
    sbx_view decoded;
    sbx_view string = SBX_VIEW("\"plain\"");
    sbx_arena_init(&arena, 0);
    assert_int_equal(sbx_json_string(string, &arena, &decoded), SBX_OK);
    assert_ptr_equal(decoded.data, string.data + 1);
    assert_view(decoded, "plain");
}

static void a_string_with_escapes_is_decoded_into_the_arena(void **state)
{
    (void)state;
    sbx_arena arena;
    sbx_view decoded;
    sbx_arena_init(&arena, 1000);
    sbx_view string = SBX_VIEW("\"a\\n\\\"\\\\\\/\\b\\f\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00z\"");
    assert_int_equal(sbx_json_string(string, &arena, &decoded), SBX_OK);
    assert_view(decoded, "a\n\"\\/\b\f\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
    assert_true(sbx_json_string_eq(string, decoded));
    assert_false(sbx_json_string_eq(string, SBX_VIEW("a\n")));
    sbx_arena_deinit(&arena);
}

static void a_full_arena_fails_the_decoding(void **state)
{
    (void)state;
    sbx_arena arena;
    sbx_view decoded;
    sbx_arena_init(&arena, 1);
    assert_int_equal(sbx_json_string(SBX_VIEW("\"\\n\\n\""), &arena, &decoded), SBX_E_NOMEM);
    sbx_arena_deinit(&arena);
}

static void a_raw_text_with_a_backslash_does_not_equal_itself_undecoded(void **state)
{
    (void)state;
    assert_false(sbx_json_string_eq(SBX_VIEW("\"a\\n\""), SBX_VIEW("a\\n")));
    assert_true(sbx_json_string_eq(SBX_VIEW("\"a\\n\""), SBX_VIEW("a\n")));
    assert_true(sbx_json_string_eq(SBX_VIEW("\"\""), SBX_VIEW("")));
}

static void decoded_strings_are_appended_to_a_buffer(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, 100);
    assert_int_equal(sbx_json_string_append(SBX_VIEW("\"x\\ty\""), &buf), SBX_OK);
    assert_view(sbx_buf_view(&buf), "x\ty");
    sbx_buf_deinit(&buf);
}

static void integers_are_read_and_others_refused(void **state)
{
    (void)state;
    int64_t number = 0;
    uint64_t positive = 0;
    assert_int_equal(sbx_json_to_i64(scanned("-12"), &number), SBX_OK);
    assert_int_equal(number, -12);
    assert_int_equal(sbx_json_to_i64(scanned("9223372036854775807"), &number), SBX_OK);
    assert_int_equal(number, INT64_MAX);
    assert_int_equal(sbx_json_to_i64(scanned("9223372036854775808"), &number), SBX_E_RANGE);
    assert_int_equal(sbx_json_to_i64(scanned("1.0"), &number), SBX_E_PARSE);
    assert_int_equal(sbx_json_to_i64(scanned("1e3"), &number), SBX_E_PARSE);
    assert_int_equal(sbx_json_to_i64(scanned("\"1\""), &number), SBX_E_PARSE);
    assert_int_equal(sbx_json_to_u64(scanned("18446744073709551615"), &positive), SBX_OK);
    assert_true(positive == UINT64_MAX);
    assert_int_equal(sbx_json_to_u64(scanned("-1"), &positive), SBX_E_PARSE);
}

static void booleans_are_read_and_others_refused(void **state)
{
    (void)state;
    bool flag = false;
    assert_int_equal(sbx_json_to_bool(scanned("true"), &flag), SBX_OK);
    assert_true(flag);
    assert_int_equal(sbx_json_to_bool(scanned("false"), &flag), SBX_OK);
    assert_false(flag);
    assert_int_equal(sbx_json_to_bool(scanned("1"), &flag), SBX_E_PARSE);
}

static void nonsense_ends_the_walk(void **state)
{
    (void)state;
    sbx_json_iter iter;
    sbx_json_value value;
    sbx_json_iter_init(&iter, (sbx_json_value){SBX_JSON_ARRAY, SBX_VIEW("[,,,]")});
    assert_false(sbx_json_iter_next(&iter, NULL, &value));
    sbx_json_iter_init(&iter, (sbx_json_value){SBX_JSON_OBJECT, SBX_VIEW("{\"a\":]}")});
    assert_false(sbx_json_iter_next(&iter, NULL, &value));
    sbx_json_iter_init(&iter, (sbx_json_value){SBX_JSON_ARRAY, SBX_VIEW("[[\"\\]")});
    assert_true(sbx_json_iter_next(&iter, NULL, &value));
    assert_false(sbx_json_iter_next(&iter, NULL, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value_is_accepted),
        cmocka_unit_test(broken_structure_is_rejected),
        cmocka_unit_test(bytes_after_the_value_are_rejected),
        cmocka_unit_test(a_byte_order_mark_is_rejected),
        cmocka_unit_test(numbers_follow_the_grammar),
        cmocka_unit_test(a_number_may_have_63_bytes_but_not_64),
        cmocka_unit_test(strings_follow_the_grammar),
        cmocka_unit_test(lone_surrogates_are_rejected),
        cmocka_unit_test(bytes_that_are_not_utf8_are_rejected),
        cmocka_unit_test(sixty_four_levels_pass_and_sixty_five_do_not),
        cmocka_unit_test(a_mix_of_levels_remembers_which_is_which),
        cmocka_unit_test(a_duplicate_top_level_key_of_any_name_is_rejected),
        cmocka_unit_test(a_duplicate_key_further_down_is_the_engines_business),
        cmocka_unit_test(there_may_be_256_top_level_keys_but_not_257),
        cmocka_unit_test(wanted_members_are_found_with_type_and_exact_bytes),
        cmocka_unit_test(a_member_of_the_same_name_further_down_is_not_found),
        cmocka_unit_test(a_key_with_escapes_is_compared_decoded),
        cmocka_unit_test(the_root_is_told),
        cmocka_unit_test(a_complaint_names_line_and_column),
        cmocka_unit_test(every_cut_of_a_text_is_rejected_without_reading_beyond),
        cmocka_unit_test(ten_megabytes_of_anything_take_linear_time),
        cmocka_unit_test(elements_of_an_array_are_walked_in_order),
        cmocka_unit_test(members_of_an_object_are_found_by_name),
        cmocka_unit_test(emptiness_is_seen_through_space),
        cmocka_unit_test(a_string_without_escapes_is_not_copied),
        cmocka_unit_test(a_string_with_escapes_is_decoded_into_the_arena),
        cmocka_unit_test(a_full_arena_fails_the_decoding),
        cmocka_unit_test(a_raw_text_with_a_backslash_does_not_equal_itself_undecoded),
        cmocka_unit_test(decoded_strings_are_appended_to_a_buffer),
        cmocka_unit_test(integers_are_read_and_others_refused),
        cmocka_unit_test(booleans_are_read_and_others_refused),
        cmocka_unit_test(nonsense_ends_the_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
