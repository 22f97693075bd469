/* Durations fall into the bucket of the first bound that is not less. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/histogram.h"

static void bounds_ascend_in_whole_milliseconds(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SBX_HISTOGRAM_BOUNDS; i++) {
        assert_int_equal(sbx_histogram_bounds[i] % SBX_MS(1), 0);
        if (i > 0)
            assert_true(sbx_histogram_bounds[i] > sbx_histogram_bounds[i - 1]);
    }
}

static void a_bound_belongs_to_its_own_bucket(void **state)
{
    (void)state;
    sbx_histogram h = {0};
    sbx_histogram_add(&h, SBX_MS(5));
    sbx_histogram_add(&h, SBX_MS(5) + 1);
    assert_int_equal(h.counts[1], 1);
    assert_int_equal(h.counts[2], 1);
}

static void what_is_beyond_all_bounds_is_counted_too(void **state)
{
    (void)state;
    sbx_histogram h = {0};
    sbx_histogram_add(&h, SBX_SEC(601));
    assert_int_equal(h.counts[SBX_HISTOGRAM_BOUNDS], 1);
    assert_int_equal(sbx_histogram_count(&h), 1);
    assert_int_equal(h.sum_us, 601000000);
}

static void a_negative_duration_is_zero(void **state)
{
    (void)state;
    sbx_histogram h = {0};
    sbx_histogram_add(&h, -SBX_SEC(1));
    assert_int_equal(h.counts[0], 1);
    assert_int_equal(h.sum_us, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_ascend_in_whole_milliseconds),
        cmocka_unit_test(a_bound_belongs_to_its_own_bucket),
        cmocka_unit_test(what_is_beyond_all_bounds_is_counted_too),
        cmocka_unit_test(a_negative_duration_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
