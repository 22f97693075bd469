/* The fingerprint of long inputs: every byte, the length and the key count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fold_hash.h"

static const sbx_siphash_key key = {.k0 = 0x0123456789abcdefU, .k1 = 0xfedcba9876543210U};

static void every_byte_counts(void **state)
{
    uint8_t bytes[100] = {0};
    (void)state;
    uint64_t plain = sbx_fold_hash(key, bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = 1;
        assert_true(sbx_fold_hash(key, bytes, sizeof bytes) != plain);
        bytes[i] = 0;
    }
    assert_true(sbx_fold_hash(key, bytes, sizeof bytes) == plain);
}

static void the_length_counts_even_where_all_bytes_are_zero(void **state)
{
    uint8_t bytes[64] = {0};
    (void)state;
    for (size_t len = 1; len < sizeof bytes; len++)
        assert_true(sbx_fold_hash(key, bytes, len) != sbx_fold_hash(key, bytes, len - 1));
}

static void another_key_gives_another_value(void **state)
{
    (void)state;
    sbx_siphash_key other = {.k0 = key.k0 + 1, .k1 = key.k1};
    assert_true(sbx_fold_hash(key, "signalbox", 9) != sbx_fold_hash(other, "signalbox", 9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(the_length_counts_even_where_all_bytes_are_zero),
        cmocka_unit_test(another_key_gives_another_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
