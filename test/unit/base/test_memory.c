/* The growable buffer and the arena: content, caps, reuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"

static void assert_holds(const sbx_buf *buf, const char *expected)
{
    if (!sbx_view_eq_cstr(sbx_buf_view(buf), expected))
        fail_msg("wanted <%s>, found <%.*s>", expected, SBX_VIEW_ARG(sbx_buf_view(buf)));
}

static void everything_appended_stands_in_order(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    sbx_buf_append(&buf, "a", 1);
    sbx_buf_append_view(&buf, SBX_VIEW("b"));
    sbx_buf_append_view(&buf, (sbx_view){0});
    sbx_buf_append_cstr(&buf, "c ");
    sbx_buf_append_u64(&buf, 0);
    sbx_buf_append_u64(&buf, UINT64_MAX);
    sbx_buf_append_byte(&buf, ' ');
    sbx_buf_append_i64(&buf, INT64_MIN);
    sbx_buf_appendf(&buf, " %s=%d", "x", -5);
    assert_int_equal(sbx_buf_error(&buf), SBX_OK);
    assert_holds(&buf, "abc 018446744073709551615 -9223372036854775808 x=-5");
    sbx_buf_deinit(&buf);
}

static void json_strings_are_escaped_and_made_valid(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    sbx_buf_append_json(&buf,
                        SBX_VIEW("plain \"q\" \\ \n\r\t\x01\x1f\x7f \xc3\xa9\xf0\x9f\x98\x80 \xff\xe2\x82"));
    assert_holds(&buf, "\"plain \\\"q\\\" \\\\ \\n\\r\\t\\u0001\\u001f\\u007f \xc3\xa9\xf0\x9f\x98\x80 "
                       "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    sbx_buf_deinit(&buf);
}

static void the_cap_is_reached_exactly_and_not_passed(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, 4);
    assert_int_equal(sbx_buf_append_cstr(&buf, "abcd"), SBX_OK);
    assert_int_equal(sbx_buf_append_byte(&buf, 'e'), SBX_E_CAP);
    assert_holds(&buf, "abcd");
    sbx_buf_deinit(&buf);
}

static void the_first_failure_sticks_until_the_buffer_is_cleared(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, 4);
    assert_int_equal(sbx_buf_append_cstr(&buf, "abcde"), SBX_E_CAP);
    assert_int_equal(sbx_buf_append_cstr(&buf, "a"), SBX_E_CAP);
    assert_int_equal(sbx_buf_appendf(&buf, "a"), SBX_E_CAP);
    assert_int_equal(sbx_buf_error(&buf), SBX_E_CAP);
    assert_holds(&buf, "");
    sbx_buf_clear(&buf);
    assert_int_equal(sbx_buf_append_cstr(&buf, "a"), SBX_OK);
    assert_holds(&buf, "a");
    sbx_buf_deinit(&buf);
}

static void printf_fills_up_to_the_cap(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, 300);
    assert_int_equal(sbx_buf_appendf(&buf, "%0300d", 7), SBX_OK);
    assert_int_equal(buf.len, 300);
    assert_int_equal(sbx_buf_appendf(&buf, "x"), SBX_E_CAP);
    sbx_buf_deinit(&buf);
}

static void consumed_room_is_used_again(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, 8);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(sbx_buf_append_cstr(&buf, "12345"), SBX_OK);
        sbx_buf_consume(&buf, 4);
        assert_int_equal(sbx_buf_append_cstr(&buf, "67"), SBX_OK);
        assert_holds(&buf, "567");
        sbx_buf_consume(&buf, 3);
    }
    assert_true(buf.size <= 8);
    sbx_buf_deinit(&buf);
}

static void the_cap_counts_what_is_held_not_what_passed(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, 8);
    assert_int_equal(sbx_buf_append_cstr(&buf, "12345678"), SBX_OK);
    sbx_buf_consume(&buf, 5);
    assert_int_equal(sbx_buf_append_cstr(&buf, "abcde"), SBX_OK);
    assert_holds(&buf, "678abcde");
    sbx_buf_truncate(&buf, 2);
    assert_holds(&buf, "67");
    sbx_buf_deinit(&buf);
}

static void room_can_be_filled_in_place(void **state)
{
    (void)state;
    sbx_buf buf;
    uint8_t *place = NULL;
    sbx_buf_init(&buf, 1000);
    sbx_buf_append_cstr(&buf, "a");
    assert_int_equal(sbx_buf_reserve(&buf, 999, &place), SBX_OK);
    memset(place, 'b', 999);
    sbx_buf_commit(&buf, 2);
    assert_holds(&buf, "abb");
    assert_int_equal(sbx_buf_reserve(&buf, 998, &place), SBX_E_CAP);
    sbx_buf_deinit(&buf);
}

static void detached_bytes_belong_to_the_caller(void **state)
{
    (void)state;
    sbx_buf buf;
    uint8_t *memory = NULL;
    sbx_view view;
    sbx_buf_init(&buf, 100);
    sbx_buf_append_cstr(&buf, "xyz");
    sbx_buf_consume(&buf, 1);
    sbx_buf_detach(&buf, &memory, &view);
    assert_true(sbx_view_eq_cstr(view, "yz"));
    assert_int_equal(buf.len, 0);
    assert_int_equal(sbx_buf_append_cstr(&buf, "new"), SBX_OK);
    assert_true(sbx_view_eq_cstr(view, "yz"));
    free(memory);
    sbx_buf_deinit(&buf);
}

static void arena_memory_is_zeroed_and_aligned(void **state)
{
    (void)state;
    sbx_arena arena;
    sbx_arena_init(&arena, 100000);
    (void)sbx_arena_alloc(&arena, 3);
    uint64_t *number = SBX_ARENA_NEW(&arena, uint64_t);
    assert_non_null(number);
    assert_int_equal((uintptr_t)number % sizeof(uint64_t), 0);
    assert_int_equal(*number, 0);
    assert_ptr_not_equal(sbx_arena_alloc(&arena, 0), sbx_arena_alloc(&arena, 0));
    sbx_arena_deinit(&arena);
}

static void an_arena_gives_its_cap_and_no_more(void **state)
{
    (void)state;
    sbx_arena arena;
    sbx_arena_init(&arena, 1000);
    assert_non_null(sbx_arena_alloc(&arena, 600));
    assert_null(sbx_arena_alloc(&arena, 401));
    assert_non_null(sbx_arena_alloc(&arena, 400));
    assert_null(sbx_arena_alloc(&arena, 1));
    assert_null(sbx_arena_alloc(&arena, SIZE_MAX));
    sbx_arena_clear(&arena);
    assert_non_null(sbx_arena_alloc(&arena, 1000));
    sbx_arena_deinit(&arena);
}

static void an_array_whose_size_overflows_is_refused(void **state)
{
    (void)state;
    sbx_arena arena;
    sbx_arena_init(&arena, SIZE_MAX);
    assert_null(sbx_arena_alloc_array(&arena, SIZE_MAX / 4, 8));
    assert_null(sbx_arena_alloc(&arena, SIZE_MAX - 8));
    assert_non_null(SBX_ARENA_ARRAY(&arena, int, 100));
    sbx_arena_deinit(&arena);
}

static void many_objects_do_not_overlap(void **state)
{
    (void)state;
    static unsigned char *objects[2000];
    sbx_arena arena;
    sbx_arena_init(&arena, SIZE_MAX);
    for (size_t i = 0; i < 2000; i++) {
        objects[i] = sbx_arena_alloc(&arena, i);
        memset(objects[i], (int)(i & 0xff), i);
    }
    for (size_t i = 1; i < 2000; i++) {
        assert_int_equal(objects[i][0], i & 0xff);
        assert_int_equal(objects[i][i - 1], i & 0xff);
    }
    sbx_arena_deinit(&arena);
}

static void copies_are_terminated(void **state)
{
    (void)state;
    sbx_arena arena;
    sbx_view copy;
    char *text;
    sbx_arena_init(&arena, 10);
    assert_int_equal(sbx_arena_dup(&arena, SBX_VIEW("abc"), &copy), SBX_OK);
    assert_true(sbx_view_eq_cstr(copy, "abc"));
    assert_int_equal(copy.data[3], 0);
    assert_int_equal(sbx_arena_dup_cstr(&arena, (sbx_view){0}, &text), SBX_OK);
    assert_string_equal(text, "");
    assert_int_equal(sbx_arena_dup_cstr(&arena, SBX_VIEW("abcde"), &text), SBX_E_NOMEM);
    sbx_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_appended_stands_in_order),
        cmocka_unit_test(json_strings_are_escaped_and_made_valid),
        cmocka_unit_test(the_cap_is_reached_exactly_and_not_passed),
        cmocka_unit_test(the_first_failure_sticks_until_the_buffer_is_cleared),
        cmocka_unit_test(printf_fills_up_to_the_cap),
        cmocka_unit_test(consumed_room_is_used_again),
        cmocka_unit_test(the_cap_counts_what_is_held_not_what_passed),
        cmocka_unit_test(room_can_be_filled_in_place),
        cmocka_unit_test(detached_bytes_belong_to_the_caller),
        cmocka_unit_test(arena_memory_is_zeroed_and_aligned),
        cmocka_unit_test(an_arena_gives_its_cap_and_no_more),
        cmocka_unit_test(an_array_whose_size_overflows_is_refused),
        cmocka_unit_test(many_objects_do_not_overlap),
        cmocka_unit_test(copies_are_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
