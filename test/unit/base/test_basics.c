/* Small things: tables of errors and outcomes, lists, time, averages, random numbers, ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/api_error.h"
#include "base/err.h"
#include "base/ewma.h"
#include "base/id.h"
#include "base/list.h"
#include "base/outcome.h"
#include "base/rng.h"
#include "base/time.h"

static void every_error_has_a_name_and_a_text(void **state)
{
    (void)state;
    assert_string_equal(sbx_err_name(SBX_OK), "OK");
    assert_string_equal(sbx_err_name(SBX_E_CAP), "CAP");
    assert_string_equal(sbx_err_text(SBX_E_TIMEOUT), "the time limit passed");
    assert_string_equal(sbx_err_name((sbx_err)9999), "UNKNOWN");
    assert_string_equal(sbx_err_text((sbx_err)-1), "unknown error");
    for (int err = 0; err < SBX_ERR_COUNT; err++)
        assert_true(sbx_err_text((sbx_err)err)[0] != '\0');
}

static void an_errinfo_returns_its_code_and_cuts_long_texts(void **state)
{
    (void)state;
    sbx_errinfo info;
    assert_int_equal(sbx_errinfo_set(&info, SBX_E_RANGE, 7, "%0500d", 1), SBX_E_RANGE);
    assert_int_equal(info.code, SBX_E_RANGE);
    assert_int_equal(info.offset, 7);
    assert_int_equal(strlen(info.text), sizeof info.text - 1);
    assert_int_equal(sbx_errinfo_set(NULL, SBX_E_IO, 0, "x"), SBX_E_IO);
}

static void every_outcome_is_found_by_its_name(void **state)
{
    (void)state;
    sbx_outcome found = SBX_OUTCOME_OK;
    for (int i = 0; i < SBX_OUTCOME_COUNT; i++) {
        assert_true(sbx_outcome_from_name(sbx_outcome_name((sbx_outcome)i), &found));
        assert_int_equal(found, i);
    }
    assert_string_equal(sbx_outcome_name(SBX_OUTCOME_FIRST_CONTENT_TIMEOUT), "first_content_timeout");
    assert_string_equal(sbx_outcome_name((sbx_outcome)999), "unknown");
    assert_false(sbx_outcome_from_name("unknown", &found));
}

static void client_errors_carry_status_type_and_message(void **state)
{
    (void)state;
    sbx_api_error found = SBX_API_NONE;
    assert_string_equal(sbx_api_error_code(SBX_API_WORKER_TIMEOUT), "WORKER_TIMEOUT");
    assert_int_equal(sbx_api_error_status(SBX_API_WORKER_TIMEOUT), 504);
    assert_int_equal(sbx_api_error_status(SBX_API_REQUEST_VALIDATION_FAILED), 400);
    assert_int_equal(sbx_api_error_status(SBX_API_CIRCUIT_BREAKER_OPEN), 503);
    assert_string_equal(sbx_api_error_type(SBX_API_RATE_LIMITED), "rate_limit_error");
    assert_int_equal(sbx_api_error_status(SBX_API_NONE), 500);
    assert_int_equal(sbx_api_error_status((sbx_api_error)999), 500);
    assert_true(sbx_api_error_from_code("LOOP_DETECTED", &found));
    assert_int_equal(found, SBX_API_LOOP_DETECTED);
    assert_false(sbx_api_error_from_code("NONE", &found));
}

static void time_additions_never_wrap(void **state)
{
    (void)state;
    assert_true(sbx_time_add(SBX_SEC(1), SBX_MS(1)) == SBX_MS(1001));
    assert_true(sbx_time_add(SBX_TIME_NEVER - 1, 5) == SBX_TIME_NEVER);
    assert_true(sbx_time_add(SBX_TIME_NEVER, -5) == SBX_TIME_NEVER);
    assert_true(sbx_time_add(INT64_MIN, -5) == INT64_MIN);
    assert_true(sbx_time_add(5, -7) == -2);
}

static void what_is_left_is_never_negative(void **state)
{
    (void)state;
    assert_true(sbx_time_left(SBX_MS(5), SBX_MS(2)) == SBX_MS(3));
    assert_true(sbx_time_left(SBX_MS(2), SBX_MS(5)) == 0);
    assert_true(sbx_time_left(SBX_TIME_NEVER, SBX_MS(5)) == SBX_TIME_NEVER);
    assert_int_equal(sbx_time_to_ms(SBX_MS(2) + 1), 2);
    assert_int_equal(sbx_time_to_ms_ceil(SBX_MS(2) + 1), 3);
    assert_int_equal(sbx_time_to_ms_ceil(SBX_MS(2)), 2);
}

typedef struct item {
    int name;
    sbx_list_node node;
} item;

static int name_of(sbx_list_node *node)
{
    return node == NULL ? 0 : SBX_CONTAINER_OF(node, item, node)->name;
}

static void a_list_keeps_order_and_gives_up_any_node(void **state)
{
    (void)state;
    sbx_list list;
    item a = {.name = 1}, b = {.name = 2}, c = {.name = 3};
    sbx_list_init(&list);
    assert_null(sbx_list_first(&list));
    sbx_list_push_back(&list, &b.node);
    sbx_list_push_back(&list, &c.node);
    sbx_list_push_front(&list, &a.node);
    assert_int_equal(name_of(sbx_list_next(&list, &a.node)), 2);
    sbx_list_remove(&b.node);
    sbx_list_remove(&b.node);
    assert_false(sbx_list_node_is_linked(&b.node));
    assert_int_equal(name_of(sbx_list_next(&list, &a.node)), 3);
    assert_int_equal(name_of(sbx_list_prev(&list, &c.node)), 1);
    assert_int_equal(name_of(sbx_list_pop_back(&list)), 3);
    assert_int_equal(name_of(sbx_list_pop_front(&list)), 1);
    assert_null(sbx_list_pop_front(&list));
    assert_true(sbx_list_is_empty(&list));
}

static void a_walk_survives_the_removal_of_its_node(void **state)
{
    (void)state;
    sbx_list list;
    item items[3] = {{.name = 1}, {.name = 2}, {.name = 3}};
    int sum = 0;
    sbx_list_init(&list);
    for (int i = 0; i < 3; i++)
        sbx_list_push_back(&list, &items[i].node);
    SBX_LIST_EACH(node, &list)
    {
        sum = sum * 10 + name_of(node);
        sbx_list_remove(node);
    }
    assert_int_equal(sum, 123);
    assert_true(sbx_list_is_empty(&list));
}

static void an_average_starts_at_its_first_sample_and_follows(void **state)
{
    (void)state;
    sbx_ewma ewma;
    sbx_ewma_init(&ewma, 2);
    assert_int_equal(sbx_ewma_get(&ewma, -7), -7);
    sbx_ewma_add(&ewma, 100);
    assert_int_equal(sbx_ewma_get(&ewma, -7), 100);
    sbx_ewma_add(&ewma, 200);
    assert_int_equal(sbx_ewma_get(&ewma, -7), 125);
    for (int i = 0; i < 100; i++)
        sbx_ewma_add(&ewma, 7);
    assert_int_equal(sbx_ewma_get(&ewma, -7), 7);
    sbx_ewma_add(&ewma, INT64_MAX);
    assert_true(sbx_ewma_get(&ewma, -7) > 0);
}

static void the_same_seed_gives_the_same_numbers(void **state)
{
    (void)state;
    sbx_rng a, b, c;
    sbx_rng_seed(&a, 1);
    sbx_rng_seed(&b, 1);
    sbx_rng_seed(&c, 2);
    uint64_t first = sbx_rng_next(&a);
    assert_true(first == sbx_rng_next(&b));
    assert_true(first != sbx_rng_next(&c));
}

static void bounded_numbers_cover_the_range_evenly(void **state)
{
    (void)state;
    sbx_rng rng;
    unsigned counts[6] = {0};
    sbx_rng_seed(&rng, 3);
    for (int i = 0; i < 60000; i++)
        counts[sbx_rng_below(&rng, 6)]++;
    for (int i = 0; i < 6; i++)
        assert_in_range(counts[i], 9500, 10500);
    assert_int_equal(sbx_rng_below(&rng, 1), 0);
    assert_int_equal(sbx_rng_below(&rng, 0), 0);
}

static void the_system_gives_random_bytes(void **state)
{
    (void)state;
    uint8_t a[32] = {0}, b[32] = {0};
    sbx_rng rng;
    assert_int_equal(sbx_random_bytes_os(a, sizeof a), SBX_OK);
    assert_int_equal(sbx_random_bytes_os(b, sizeof b), SBX_OK);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(sbx_rng_seed_os(&rng), SBX_OK);
}

static void request_ids_are_32_hex_digits_and_differ(void **state)
{
    (void)state;
    sbx_rng rng;
    sbx_id a, b;
    sbx_rng_seed(&rng, 4);
    sbx_id_make(&rng, &a);
    sbx_id_make(&rng, &b);
    assert_int_equal(strlen(a.text), 32);
    assert_int_equal(strspn(a.text, "0123456789abcdef"), 32);
    assert_string_not_equal(a.text, b.text);
    assert_true(sbx_id_is_token(sbx_id_view(&a)));
}

static void tokens_hold_only_safe_bytes_and_1_to_64_of_them(void **state)
{
    (void)state;
    char text[66];
    memset(text, 'x', sizeof text);
    assert_true(sbx_id_is_token(SBX_VIEW("Mac-Studio_2")));
    assert_false(sbx_id_is_token(SBX_VIEW("")));
    assert_false(sbx_id_is_token(SBX_VIEW("a.b")));
    assert_false(sbx_id_is_token(SBX_VIEW("a b")));
    assert_false(sbx_id_is_token(SBX_VIEW("a*")));
    assert_false(sbx_id_is_token(SBX_VIEW("a>")));
    assert_false(sbx_id_is_token(SBX_VIEW("\xc3\xa9")));
    assert_true(sbx_id_is_token(sbx_view_of(text, 64)));
    assert_false(sbx_id_is_token(sbx_view_of(text, 65)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_a_name_and_a_text),
        cmocka_unit_test(an_errinfo_returns_its_code_and_cuts_long_texts),
        cmocka_unit_test(every_outcome_is_found_by_its_name),
        cmocka_unit_test(client_errors_carry_status_type_and_message),
        cmocka_unit_test(time_additions_never_wrap),
        cmocka_unit_test(what_is_left_is_never_negative),
        cmocka_unit_test(a_list_keeps_order_and_gives_up_any_node),
        cmocka_unit_test(a_walk_survives_the_removal_of_its_node),
        cmocka_unit_test(an_average_starts_at_its_first_sample_and_follows),
        cmocka_unit_test(the_same_seed_gives_the_same_numbers),
        cmocka_unit_test(bounded_numbers_cover_the_range_evenly),
        cmocka_unit_test(the_system_gives_random_bytes),
        cmocka_unit_test(request_ids_are_32_hex_digits_and_differ),
        cmocka_unit_test(tokens_hold_only_safe_bytes_and_1_to_64_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
