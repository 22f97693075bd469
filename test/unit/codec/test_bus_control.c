/* Credit and replay messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "codec/bus_control.h"

static void credit_comes_back_as_it_was_written(void **state)
{
    (void)state;
    char text[SBX_BUS_CONTROL_TEXT];
    sbx_bus_credit credit = {.seq = UINT32_MAX, .bytes = UINT64_MAX / 2}, back;
    sbx_view v = sbx_bus_credit_write(&credit, text);
    assert_true(v.len < SBX_BUS_CONTROL_TEXT);
    assert_int_equal(sbx_bus_credit_parse(v, &back), SBX_OK);
    assert_int_equal(back.seq, credit.seq);
    assert_true(back.bytes == credit.bytes);
}

static void replay_comes_back_as_it_was_written(void **state)
{
    (void)state;
    char text[SBX_BUS_CONTROL_TEXT];
    uint32_t from;
    assert_int_equal(sbx_bus_replay_parse(sbx_bus_replay_write(17, text), &from), SBX_OK);
    assert_int_equal(from, 17);
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    sbx_bus_credit credit;
    uint32_t from;
    assert_int_equal(sbx_bus_credit_parse(SBX_VIEW("{\"seq\":1}"), &credit), SBX_E_PARSE);
    assert_int_equal(sbx_bus_credit_parse(SBX_VIEW("{\"seq\":-1,\"bytes\":1}"), &credit), SBX_E_PARSE);
    assert_int_equal(sbx_bus_credit_parse(SBX_VIEW("{\"seq\":4294967296,\"bytes\":1}"), &credit),
                     SBX_E_PARSE);
    assert_int_equal(sbx_bus_credit_parse(SBX_VIEW(""), &credit), SBX_E_PARSE);
    assert_int_equal(sbx_bus_replay_parse(SBX_VIEW("{\"from\":\"1\"}"), &from), SBX_E_PARSE);
    assert_int_equal(sbx_bus_replay_parse(SBX_VIEW("[]"), &from), SBX_E_PARSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(credit_comes_back_as_it_was_written),
        cmocka_unit_test(replay_comes_back_as_it_was_written),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
