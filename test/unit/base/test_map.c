/* Hash maps and their hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/map.h"
#include "base/rng.h"

static const sbx_siphash_key seed = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};

static void the_hash_gives_the_published_values(void **state)
{
    (void)state;
    uint8_t bytes[15];
    for (uint8_t i = 0; i < 15; i++)
        bytes[i] = i;
    assert_true(sbx_siphash(seed, bytes, 0) == UINT64_C(0x726fdb47dd0e0e31));
    assert_true(sbx_siphash(seed, bytes, 1) == UINT64_C(0x74f839c593dc67fd));
    assert_true(sbx_siphash(seed, bytes, 8) == UINT64_C(0x93f5f5799a932462));
    assert_true(sbx_siphash(seed, bytes, 15) == UINT64_C(0xa129ca6149be45e5));
}

static void an_empty_map_has_nothing(void **state)
{
    (void)state;
    sbx_map map;
    size_t position = 0;
    void *value;
    sbx_map_init(&map, seed, 10);
    assert_null(sbx_map_get(&map, SBX_VIEW("x")));
    assert_null(sbx_map_remove(&map, SBX_VIEW("x")));
    assert_false(sbx_map_next(&map, &position, NULL, &value));
    sbx_map_deinit(&map);
}

static void what_was_put_is_found_under_its_key_only(void **state)
{
    (void)state;
    sbx_map map;
    int a, b;
    sbx_map_init(&map, seed, 10);
    assert_int_equal(sbx_map_put(&map, SBX_VIEW("a"), &a), SBX_OK);
    assert_int_equal(sbx_map_put(&map, SBX_VIEW(""), &b), SBX_OK);
    assert_ptr_equal(sbx_map_get(&map, SBX_VIEW("a")), &a);
    assert_ptr_equal(sbx_map_get(&map, SBX_VIEW("")), &b);
    assert_null(sbx_map_get(&map, SBX_VIEW("A")));
    assert_int_equal(map.count, 2);
    sbx_map_deinit(&map);
}

static void an_equal_key_replaces(void **state)
{
    (void)state;
    sbx_map map;
    int a, b;
    sbx_map_init(&map, seed, 1);
    assert_int_equal(sbx_map_put(&map, SBX_VIEW("k"), &a), SBX_OK);
    assert_int_equal(sbx_map_put(&map, SBX_VIEW("k"), &b), SBX_OK);
    assert_ptr_equal(sbx_map_get(&map, SBX_VIEW("k")), &b);
    assert_int_equal(map.count, 1);
    sbx_map_deinit(&map);
}

static void a_full_map_refuses_new_keys_only(void **state)
{
    (void)state;
    sbx_map map;
    int a;
    sbx_map_init(&map, seed, 2);
    assert_int_equal(sbx_map_put(&map, SBX_VIEW("1"), &a), SBX_OK);
    assert_int_equal(sbx_map_put(&map, SBX_VIEW("2"), &a), SBX_OK);
    assert_int_equal(sbx_map_put(&map, SBX_VIEW("3"), &a), SBX_E_CAP);
    assert_int_equal(sbx_map_put(&map, SBX_VIEW("2"), &a), SBX_OK);
    assert_ptr_equal(sbx_map_remove(&map, SBX_VIEW("1")), &a);
    assert_int_equal(sbx_map_put(&map, SBX_VIEW("3"), &a), SBX_OK);
    assert_int_equal(sbx_map_reserve(&map, 3), SBX_E_CAP);
    sbx_map_deinit(&map);
}

static void reserved_room_needs_no_more_memory(void **state)
{
    (void)state;
    static char keys[1000][8];
    sbx_map map;
    sbx_map_init(&map, seed, 1000);
    assert_int_equal(sbx_map_reserve(&map, 1000), SBX_OK);
    void *slots = map.slots;
    for (int i = 0; i < 1000; i++) {
        snprintf(keys[i], sizeof keys[i], "%d", i);
        assert_int_equal(sbx_map_put(&map, sbx_view_cstr(keys[i]), keys[i]), SBX_OK);
    }
    assert_ptr_equal(map.slots, slots);
    sbx_map_deinit(&map);
}

static void a_cleared_map_is_empty_and_usable(void **state)
{
    (void)state;
    sbx_map map;
    int a;
    sbx_map_init(&map, seed, 10);
    assert_int_equal(sbx_map_put(&map, SBX_VIEW("a"), &a), SBX_OK);
    sbx_map_clear(&map);
    assert_null(sbx_map_get(&map, SBX_VIEW("a")));
    assert_int_equal(sbx_map_put(&map, SBX_VIEW("a"), &a), SBX_OK);
    assert_int_equal(map.count, 1);
    sbx_map_deinit(&map);
}

enum {
    KEYS = 300
};

static size_t entries_of(const sbx_map *map)
{
    size_t position = 0;
    size_t count = 0;
    void *value;
    sbx_view key;
    while (sbx_map_next(map, &position, &key, &value)) {
        assert_true(sbx_view_eq_cstr(key, value));
        count++;
    }
    return count;
}

static void random_puts_and_removes_agree_with_an_array(void **state)
{
    (void)state;
    static char keys[KEYS][8];
    static bool present[KEYS];
    sbx_map map;
    sbx_rng rng;
    size_t count = 0;
    sbx_rng_seed(&rng, 7);
    sbx_map_init(&map, seed, KEYS);
    for (int i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof keys[i], "k%d", i);
    for (int step = 0; step < 50000; step++) {
        size_t i = (size_t)sbx_rng_below(&rng, KEYS);
        sbx_view key = sbx_view_cstr(keys[i]);
        assert_true((sbx_map_get(&map, key) != NULL) == present[i]);
        if (sbx_rng_below(&rng, 2) == 0) {
            assert_int_equal(sbx_map_put(&map, key, keys[i]), SBX_OK);
            count += !present[i];
            present[i] = true;
        } else {
            assert_ptr_equal(sbx_map_remove(&map, key), present[i] ? keys[i] : NULL);
            count -= present[i];
            present[i] = false;
        }
        assert_int_equal(map.count, count);
    }
    assert_int_equal(entries_of(&map), count);
    sbx_map_deinit(&map);
}

static void numbers_as_keys_work_the_same(void **state)
{
    (void)state;
    static bool present[KEYS];
    static int values[KEYS];
    sbx_map64 map;
    sbx_rng rng;
    size_t count = 0;
    sbx_rng_seed(&rng, 8);
    sbx_map64_init(&map, 99, KEYS);
    for (int step = 0; step < 50000; step++) {
        size_t i = (size_t)sbx_rng_below(&rng, KEYS);
        uint64_t key = (uint64_t)i * 4096;
        assert_ptr_equal(sbx_map64_get(&map, key), present[i] ? &values[i] : NULL);
        if (sbx_rng_below(&rng, 2) == 0) {
            assert_int_equal(sbx_map64_put(&map, key, &values[i]), SBX_OK);
            count += !present[i];
            present[i] = true;
        } else {
            assert_ptr_equal(sbx_map64_remove(&map, key), present[i] ? &values[i] : NULL);
            count -= present[i];
            present[i] = false;
        }
        assert_int_equal(map.count, count);
    }
    size_t position = 0;
    uint64_t key;
    void *value;
    size_t walked = 0;
    while (sbx_map64_next(&map, &position, &key, &value)) {
        assert_ptr_equal(value, &values[key / 4096]);
        walked++;
    }
    assert_int_equal(walked, count);
    sbx_map64_clear(&map);
    assert_null(sbx_map64_get(&map, 0));
    sbx_map64_deinit(&map);
}

static void a_full_number_map_refuses_new_keys_only(void **state)
{
    (void)state;
    sbx_map64 map;
    int a;
    sbx_map64_init(&map, 1, 1);
    assert_int_equal(sbx_map64_put(&map, 0, &a), SBX_OK);
    assert_int_equal(sbx_map64_put(&map, 1, &a), SBX_E_CAP);
    assert_int_equal(sbx_map64_put(&map, 0, &a), SBX_OK);
    sbx_map64_deinit(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_gives_the_published_values),
        cmocka_unit_test(an_empty_map_has_nothing),
        cmocka_unit_test(what_was_put_is_found_under_its_key_only),
        cmocka_unit_test(an_equal_key_replaces),
        cmocka_unit_test(a_full_map_refuses_new_keys_only),
        cmocka_unit_test(reserved_room_needs_no_more_memory),
        cmocka_unit_test(a_cleared_map_is_empty_and_usable),
        cmocka_unit_test(random_puts_and_removes_agree_with_an_array),
        cmocka_unit_test(numbers_as_keys_work_the_same),
        cmocka_unit_test(a_full_number_map_refuses_new_keys_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
