/* Byte views, and UTF-8 in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "base/view.h"

static void views_compare_by_bytes(void **state)
{
    (void)state;
    assert_true(sbx_view_eq(SBX_VIEW("abc"), SBX_VIEW("abc")));
    assert_false(sbx_view_eq(SBX_VIEW("abc"), SBX_VIEW("abd")));
    assert_false(sbx_view_eq(SBX_VIEW("abc"), SBX_VIEW("ab")));
    assert_true(sbx_view_eq((sbx_view){0}, SBX_VIEW("")));
    assert_true(sbx_view_eq(SBX_VIEW("a\0b"), SBX_VIEW("a\0b")));
    assert_false(sbx_view_eq(SBX_VIEW("a\0b"), SBX_VIEW("a\0c")));
    assert_true(sbx_view_eq_cstr((sbx_view){0}, NULL));
}

static void case_is_ignored_for_ascii_letters_only(void **state)
{
    (void)state;
    assert_true(sbx_view_eq_nocase(SBX_VIEW("Content-TYPE"), SBX_VIEW("content-type")));
    assert_false(sbx_view_eq_nocase(SBX_VIEW("[@"), SBX_VIEW("{`")));
    assert_false(sbx_view_eq_nocase(SBX_VIEW("\xc4"), SBX_VIEW("\xe4")));
}

static void order_puts_a_prefix_first(void **state)
{
    (void)state;
    assert_true(sbx_view_compare(SBX_VIEW("ab"), SBX_VIEW("abc")) < 0);
    assert_true(sbx_view_compare(SBX_VIEW("b"), SBX_VIEW("abc")) > 0);
    assert_int_equal(sbx_view_compare((sbx_view){0}, SBX_VIEW("")), 0);
}

static void prefixes_suffixes_and_parts_are_found(void **state)
{
    (void)state;
    assert_true(sbx_view_starts_with(SBX_VIEW("/v1/models"), SBX_VIEW("/v1/")));
    assert_false(sbx_view_starts_with(SBX_VIEW("/v"), SBX_VIEW("/v1/")));
    assert_true(sbx_view_starts_with((sbx_view){0}, SBX_VIEW("")));
    assert_true(sbx_view_ends_with(SBX_VIEW("a.json"), SBX_VIEW(".json")));
    assert_false(sbx_view_ends_with(SBX_VIEW("json"), SBX_VIEW(".json")));
    assert_true(sbx_view_contains(SBX_VIEW("the server busy now"), SBX_VIEW("server busy")));
    assert_false(sbx_view_contains(SBX_VIEW("Server busy"), SBX_VIEW("server")));
    assert_true(sbx_view_contains_nocase(SBX_VIEW("x Server busy"), SBX_VIEW("server B")));
    assert_false(sbx_view_contains(SBX_VIEW("ab"), SBX_VIEW("abc")));
}

static void slices_stay_inside(void **state)
{
    (void)state;
    sbx_view v = SBX_VIEW("0123456789");
    assert_true(sbx_view_eq_cstr(sbx_view_slice(v, 2, 3), "234"));
    assert_true(sbx_view_eq_cstr(sbx_view_slice(v, 8, 100), "89"));
    assert_int_equal(sbx_view_slice(v, 11, 1).len, 0);
    assert_int_equal(sbx_view_skip((sbx_view){0}, 3).len, 0);
    assert_true(sbx_view_eq_cstr(sbx_view_skip(v, 7), "789"));
}

static void space_at_both_ends_is_trimmed(void **state)
{
    (void)state;
    assert_true(sbx_view_eq_cstr(sbx_view_trim(SBX_VIEW(" \t a b \r\n")), "a b"));
    assert_int_equal(sbx_view_trim(SBX_VIEW("  \t ")).len, 0);
}

static void a_byte_is_found_from_a_place_on(void **state)
{
    (void)state;
    assert_int_equal(sbx_view_find(SBX_VIEW("a,b,c"), ',', 0), 1);
    assert_int_equal(sbx_view_find(SBX_VIEW("a,b,c"), ',', 2), 3);
    assert_true(sbx_view_find(SBX_VIEW("a,b,c"), ',', 4) == SIZE_MAX);
    assert_true(sbx_view_find((sbx_view){0}, ',', 0) == SIZE_MAX);
}

static void decimals_are_read_strictly(void **state)
{
    (void)state;
    uint64_t value = 99;
    assert_int_equal(sbx_view_to_u64(SBX_VIEW("0"), UINT64_MAX, &value), SBX_OK);
    assert_int_equal(value, 0);
    assert_int_equal(sbx_view_to_u64(SBX_VIEW("18446744073709551615"), UINT64_MAX, &value), SBX_OK);
    assert_true(value == UINT64_MAX);
    assert_int_equal(sbx_view_to_u64(SBX_VIEW("18446744073709551616"), UINT64_MAX, &value), SBX_E_RANGE);
    assert_int_equal(sbx_view_to_u64(SBX_VIEW("99999999999999999999999"), UINT64_MAX, &value), SBX_E_RANGE);
    assert_int_equal(sbx_view_to_u64(SBX_VIEW("255"), 255, &value), SBX_OK);
    assert_int_equal(sbx_view_to_u64(SBX_VIEW("256"), 255, &value), SBX_E_RANGE);
    assert_int_equal(sbx_view_to_u64(SBX_VIEW("7"), 5, &value), SBX_E_RANGE);
    assert_int_equal(sbx_view_to_u64(SBX_VIEW("0010"), 10, &value), SBX_OK);
    assert_int_equal(value, 10);
    assert_int_equal(sbx_view_to_u64(SBX_VIEW(""), 5, &value), SBX_E_PARSE);
    assert_int_equal(sbx_view_to_u64(SBX_VIEW("+1"), 5, &value), SBX_E_PARSE);
    assert_int_equal(sbx_view_to_u64(SBX_VIEW("1 "), 5, &value), SBX_E_PARSE);
    assert_int_equal(sbx_view_to_u64(SBX_VIEW("99999999999999999999999x"), 5, &value), SBX_E_PARSE);
}

static void a_c_string_must_fit_and_hold_no_nul(void **state)
{
    (void)state;
    char text[4] = "?";
    assert_int_equal(sbx_view_to_cstr(SBX_VIEW("abc"), text, sizeof text), SBX_OK);
    assert_string_equal(text, "abc");
    assert_int_equal(sbx_view_to_cstr(SBX_VIEW("abcd"), text, sizeof text), SBX_E_RANGE);
    assert_int_equal(sbx_view_to_cstr(SBX_VIEW("a\0b"), text, sizeof text), SBX_E_RANGE);
    assert_int_equal(sbx_view_to_cstr((sbx_view){0}, text, sizeof text), SBX_OK);
    assert_string_equal(text, "");
}

static void utf8_is_judged_by_the_rfc(void **state)
{
    (void)state;
    assert_true(sbx_utf8_is_valid(SBX_VIEW("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
    assert_true(sbx_utf8_is_valid(SBX_VIEW("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf")));
    assert_false(sbx_utf8_is_valid(SBX_VIEW("\xc1\xbf")));
    assert_false(sbx_utf8_is_valid(SBX_VIEW("\xe0\x9f\xbf")));
    assert_false(sbx_utf8_is_valid(SBX_VIEW("\xed\xa0\x80")));
    assert_false(sbx_utf8_is_valid(SBX_VIEW("\xf0\x8f\xbf\xbf")));
    assert_false(sbx_utf8_is_valid(SBX_VIEW("\xf4\x90\x80\x80")));
    assert_false(sbx_utf8_is_valid(SBX_VIEW("\xf5\x80\x80\x80")));
    assert_false(sbx_utf8_is_valid(SBX_VIEW("\xe2\x82")));
    assert_int_equal(sbx_utf8_valid_char((sbx_view){0}), 0);
}

static void every_code_point_is_encoded_to_what_is_valid(void **state)
{
    (void)state;
    uint8_t bytes[4];
    for (uint32_t code_point = 0; code_point <= 0x10ffff; code_point += code_point == 0xd7ff ? 0x801 : 1) {
        size_t len = sbx_utf8_encode(code_point, bytes);
        assert_int_equal(sbx_utf8_valid_char(sbx_view_of(bytes, len)), len);
    }
    assert_int_equal(sbx_utf8_encode(0x20ac, bytes), 3);
    assert_memory_equal(bytes, "\xe2\x82\xac", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_compare_by_bytes),
        cmocka_unit_test(case_is_ignored_for_ascii_letters_only),
        cmocka_unit_test(order_puts_a_prefix_first),
        cmocka_unit_test(prefixes_suffixes_and_parts_are_found),
        cmocka_unit_test(slices_stay_inside),
        cmocka_unit_test(space_at_both_ends_is_trimmed),
        cmocka_unit_test(a_byte_is_found_from_a_place_on),
        cmocka_unit_test(decimals_are_read_strictly),
        cmocka_unit_test(a_c_string_must_fit_and_hold_no_nul),
        cmocka_unit_test(utf8_is_judged_by_the_rfc),
        cmocka_unit_test(every_code_point_is_encoded_to_what_is_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
