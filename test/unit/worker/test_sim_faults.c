/* Which fault hits which request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "worker/sim_faults.h"

static const sbx_view chat = SBX_VIEW_INIT("/v1/chat/completions");

typedef struct world {
    sbx_sim_faults faults;
    sbx_rng rng;
} world;

static world new_world(void)
{
    world w = {0};
    sbx_rng_seed(&w.rng, 7);
    return w;
}

static bool hits(world *w, sbx_sim_order *ret_order)
{
    return sbx_sim_faults_draw(&w->faults, chat, /* is_inference= */ true, &w->rng, ret_order);
}

static void order(world *w, sbx_sim_fault fault, int64_t count)
{
    sbx_sim_order o = sbx_sim_order_of(fault);
    o.count = count;
    assert_int_equal(sbx_sim_faults_add(&w->faults, &o), SBX_OK);
}

static void without_orders_every_request_is_spared(void **state)
{
    (void)state;
    world w = new_world();
    sbx_sim_order hit;
    assert_false(hits(&w, &hit));
}

static void an_order_without_a_count_stays_until_cleared(void **state)
{
    (void)state;
    world w = new_world();
    sbx_sim_order hit;
    order(&w, SBX_SIM_FAULT_ERROR_500, -1);
    for (int i = 0; i < 100; i++)
        assert_true(hits(&w, &hit));
    sbx_sim_faults_clear(&w.faults);
    assert_false(hits(&w, &hit));
}

static void an_order_with_a_count_hits_so_many_requests(void **state)
{
    (void)state;
    world w = new_world();
    sbx_sim_order hit;
    order(&w, SBX_SIM_FAULT_CUT, 2);
    assert_true(hits(&w, &hit));
    assert_int_equal(hit.fault, SBX_SIM_FAULT_CUT);
    assert_true(hits(&w, &hit));
    assert_false(hits(&w, &hit));
    assert_int_equal(w.faults.count, 0);
}

static void orders_are_used_up_oldest_first(void **state)
{
    (void)state;
    world w = new_world();
    sbx_sim_order hit;
    order(&w, SBX_SIM_FAULT_ERROR_500, 1);
    order(&w, SBX_SIM_FAULT_BUSY, 1);
    assert_true(hits(&w, &hit));
    assert_int_equal(hit.fault, SBX_SIM_FAULT_ERROR_500);
    assert_true(hits(&w, &hit));
    assert_int_equal(hit.fault, SBX_SIM_FAULT_BUSY);
}

static void skipped_requests_pass_before_the_first_hit(void **state)
{
    (void)state;
    world w = new_world();
    sbx_sim_order hit, o = sbx_sim_order_of(SBX_SIM_FAULT_RESET);
    o.skip = 2;
    sbx_sim_faults_add(&w.faults, &o);
    assert_false(hits(&w, &hit));
    assert_false(hits(&w, &hit));
    assert_true(hits(&w, &hit));
}

static void a_probability_hits_about_that_share(void **state)
{
    (void)state;
    world w = new_world();
    sbx_sim_order hit, o = sbx_sim_order_of(SBX_SIM_FAULT_RESET);
    o.probability_pct = 30;
    sbx_sim_faults_add(&w.faults, &o);
    int hit_count = 0;
    for (int i = 0; i < 1000; i++)
        hit_count += hits(&w, &hit) ? 1 : 0;
    assert_in_range(hit_count, 250, 350);
}

static void an_order_for_a_path_spares_all_others(void **state)
{
    (void)state;
    world w = new_world();
    sbx_sim_order hit, o = sbx_sim_order_of(SBX_SIM_FAULT_ERROR_500);
    snprintf(o.path, sizeof(o.path), "/health");
    sbx_sim_faults_add(&w.faults, &o);
    assert_false(hits(&w, &hit));
    assert_true(sbx_sim_faults_draw(&w.faults, SBX_VIEW("/health"), /* is_inference= */ false, &w.rng, &hit));
}

static void an_order_without_a_path_concerns_inference_alone(void **state)
{
    (void)state;
    world w = new_world();
    sbx_sim_order hit;
    order(&w, SBX_SIM_FAULT_ERROR_500, -1);
    assert_false(
        sbx_sim_faults_draw(&w.faults, SBX_VIEW("/health"), /* is_inference= */ false, &w.rng, &hit));
}

static void too_many_orders_are_refused(void **state)
{
    (void)state;
    world w = new_world();
    for (int i = 0; i < SBX_SIM_ORDERS_MAX; i++)
        order(&w, SBX_SIM_FAULT_CUT, -1);
    sbx_sim_order o = sbx_sim_order_of(SBX_SIM_FAULT_CUT);
    assert_int_equal(sbx_sim_faults_add(&w.faults, &o), SBX_E_CAP);
}

static void every_fault_is_found_by_its_name(void **state)
{
    (void)state;
    for (int i = 0; i < SBX_SIM_FAULT_COUNT; i++) {
        sbx_sim_fault found;
        const char *name = sbx_sim_fault_row_of((sbx_sim_fault)i)->name;
        assert_int_equal(sbx_sim_fault_by_name(sbx_view_cstr(name), &found), SBX_OK);
        assert_int_equal(found, i);
    }
    sbx_sim_fault untouched = SBX_SIM_FAULT_CUT;
    assert_int_equal(sbx_sim_fault_by_name(SBX_VIEW("no such fault"), &untouched), SBX_E_NOT_FOUND);
    assert_int_equal(untouched, SBX_SIM_FAULT_CUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_orders_every_request_is_spared),
        cmocka_unit_test(an_order_without_a_count_stays_until_cleared),
        cmocka_unit_test(an_order_with_a_count_hits_so_many_requests),
        cmocka_unit_test(orders_are_used_up_oldest_first),
        cmocka_unit_test(skipped_requests_pass_before_the_first_hit),
        cmocka_unit_test(a_probability_hits_about_that_share),
        cmocka_unit_test(an_order_for_a_path_spares_all_others),
        cmocka_unit_test(an_order_without_a_path_concerns_inference_alone),
        cmocka_unit_test(too_many_orders_are_refused),
        cmocka_unit_test(every_fault_is_found_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
