/* The simulated engine's text: the same for the same prompt, and a prefill goes on where it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "worker/sim_text.h"

enum {
    KEY = 4711
};

/* The first `count` tokens of the text that goes on at a position, as one string. */
static sbx_buf text_at(sbx_sim_position position, uint32_t count)
{
    sbx_buf text;
    sbx_buf_init(&text, SIZE_MAX);
    for (uint32_t i = 0; i < count; i++) {
        sbx_view token = sbx_sim_token(position.key, position.index + i);
        sbx_buf_append_view(&text, i == 0 ? sbx_view_skip(token, position.offset) : token);
    }
    return text;
}

static sbx_sim_position start(void)
{
    return (sbx_sim_position){.key = KEY};
}

static void the_same_key_gives_the_same_text(void **state)
{
    (void)state;
    sbx_buf a = text_at(start(), 50), b = text_at(start(), 50);
    assert_true(sbx_view_eq(sbx_buf_view(&a), sbx_buf_view(&b)));
    sbx_buf_deinit(&a);
    sbx_buf_deinit(&b);
}

/* Pins the text itself: other programs (and other versions of this one) must make the same. */
static void the_text_of_a_key_never_changes(void **state)
{
    (void)state;
    uint64_t key = sbx_sim_hash_add(sbx_sim_hash_init(1), SBX_VIEW("hello"));
    sbx_buf text = text_at((sbx_sim_position){.key = key}, 5);
    sbx_buf_append_byte(&text, 0);
    assert_string_equal((const char *)text.data, " track up clear it north");
    sbx_buf_deinit(&text);
}

static void another_prompt_gives_another_text(void **state)
{
    (void)state;
    sbx_buf a = text_at(start(), 50), b = text_at((sbx_sim_position){.key = KEY + 1}, 50);
    assert_false(sbx_view_eq(sbx_buf_view(&a), sbx_buf_view(&b)));
    sbx_buf_deinit(&a);
    sbx_buf_deinit(&b);
}

static void every_token_is_a_word_with_the_space_before_it(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        sbx_view token = sbx_sim_token(KEY, i);
        assert_in_range(token.len, 2, 8);
        assert_int_equal(token.data[0], ' ');
        assert_int_equal(sbx_view_find(token, ' ', 1), SIZE_MAX);
    }
}

static void a_text_cut_at_any_byte_goes_on_with_the_rest(void **state)
{
    (void)state;
    sbx_buf whole = text_at(start(), 40);
    for (size_t cut = 0; cut < 150; cut++) {
        sbx_sim_position position = sbx_sim_text_after(KEY, sbx_view_slice(sbx_buf_view(&whole), 0, cut));
        sbx_buf rest = text_at(position, (uint32_t)(40 - position.index));
        assert_int_equal(position.key, KEY);
        assert_true(sbx_view_eq(sbx_buf_view(&rest), sbx_view_skip(sbx_buf_view(&whole), cut)));
        sbx_buf_deinit(&rest);
    }
    sbx_buf_deinit(&whole);
}

static void a_prefill_of_other_text_gets_a_text_of_its_own(void **state)
{
    (void)state;
    sbx_sim_position position = sbx_sim_text_after(KEY, SBX_VIEW("Sure, here it is:"));
    assert_true(position.key != KEY);
    assert_int_equal(position.index, 0);
    assert_int_equal(position.offset, 0);
}

static void an_empty_prefill_is_the_start(void **state)
{
    (void)state;
    sbx_sim_position position = sbx_sim_text_after(KEY, (sbx_view){0});
    assert_true(position.key == KEY && position.index == 0 && position.offset == 0);
}

static void lengths_are_between_32_and_95(void **state)
{
    (void)state;
    for (uint64_t key = 0; key < 500; key++)
        assert_in_range(sbx_sim_text_length(key), 32, 95);
}

static void our_own_text_counts_one_per_token(void **state)
{
    (void)state;
    sbx_buf text = text_at(start(), 37);
    assert_int_equal(sbx_sim_count_tokens(sbx_buf_view(&text)), 37);
    sbx_buf_deinit(&text);
}

static void long_words_count_once_per_8_bytes(void **state)
{
    (void)state;
    assert_int_equal(sbx_sim_count_tokens((sbx_view){0}), 0);
    assert_int_equal(sbx_sim_count_tokens(SBX_VIEW("a b\tc\nd")), 4);
    assert_int_equal(sbx_sim_count_tokens(SBX_VIEW("12345678")), 1);
    assert_int_equal(sbx_sim_count_tokens(SBX_VIEW("123456789")), 2);
}

static void parts_of_a_prompt_are_kept_apart(void **state)
{
    (void)state;
    uint64_t seed = sbx_sim_hash_init(1);
    uint64_t a = sbx_sim_hash_add(sbx_sim_hash_add(seed, SBX_VIEW("ab")), SBX_VIEW("c"));
    uint64_t b = sbx_sim_hash_add(sbx_sim_hash_add(seed, SBX_VIEW("a")), SBX_VIEW("bc"));
    assert_true(a != b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_key_gives_the_same_text),
        cmocka_unit_test(the_text_of_a_key_never_changes),
        cmocka_unit_test(another_prompt_gives_another_text),
        cmocka_unit_test(every_token_is_a_word_with_the_space_before_it),
        cmocka_unit_test(a_text_cut_at_any_byte_goes_on_with_the_rest),
        cmocka_unit_test(a_prefill_of_other_text_gets_a_text_of_its_own),
        cmocka_unit_test(an_empty_prefill_is_the_start),
        cmocka_unit_test(lengths_are_between_32_and_95),
        cmocka_unit_test(our_own_text_counts_one_per_token),
        cmocka_unit_test(long_words_count_once_per_8_bytes),
        cmocka_unit_test(parts_of_a_prompt_are_kept_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
