/* Workers, models and the edges between them, checked against a plain table of who serves what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "core/registry_priv.h"

enum {
    WORKERS = 150, /* more than one chunk of candidates */
    MODELS = 12
};

typedef struct bench {
    sbx_policy policy;
    sbx_registry registry;
} bench;

static bench one;

static int open_registry(void **state)
{
    one.policy = sbx_policy_default();
    one.policy.max_workers = WORKERS;
    one.policy.max_models = MODELS;
    assert_int_equal(sbx_registry_init(&one.registry, &one.policy, 1), SBX_OK);
    *state = &one.registry;
    return 0;
}

static int close_registry(void **state)
{
    sbx_registry_deinit(*state);
    return 0;
}

static sbx_worker *add(sbx_registry *registry, const char *id)
{
    sbx_worker *worker = NULL;
    assert_int_equal(sbx_registry_add(registry, sbx_view_cstr(id), 0, &worker), SBX_OK);
    return worker;
}

static void claim(sbx_registry *registry, sbx_worker *worker, const char *models)
{
    sbx_view views[MODELS * 4];
    size_t count = 0;
    for (const char *m = models; *m != '\0'; m++)
        views[count++] = sbx_view_of(m, 1);
    sbx_registry_claim(registry, worker, views, count, 0);
}

static uint32_t candidates(sbx_registry *registry, const char *model)
{
    const sbx_model *found = sbx_registry_model(registry, sbx_view_cstr(model));
    return found == NULL ? 0 : found->count;
}

static void a_worker_is_found_by_id_and_by_handle(void **state)
{
    sbx_registry *registry = *state;
    sbx_worker *worker = add(registry, "w1");
    assert_ptr_equal(sbx_registry_find(registry, SBX_VIEW("w1")), worker);
    assert_ptr_equal(sbx_registry_get(registry, sbx_worker_ref_of(worker)), worker);
    assert_null(sbx_registry_find(registry, SBX_VIEW("w")));
    assert_null(sbx_registry_get(registry, (sbx_worker_ref){0}));
}

static void a_handle_is_stale_after_its_worker_was_forgotten(void **state)
{
    sbx_registry *registry = *state;
    sbx_worker *worker = add(registry, "w1");
    sbx_worker_ref old = sbx_worker_ref_of(worker);
    sbx_registry_forget(registry, worker);
    assert_null(sbx_registry_get(registry, old));
    sbx_worker *next = add(registry, "w2");
    assert_int_equal(next->slot, old.slot);
    assert_null(sbx_registry_get(registry, old));
}

static void an_id_must_be_there_and_fit(void **state)
{
    sbx_registry *registry = *state;
    sbx_worker *worker = NULL;
    char longest[SBX_WORKER_ID_MAX + 2] = {0};
    for (int i = 0; i <= SBX_WORKER_ID_MAX; i++)
        longest[i] = 'x';
    assert_int_equal(sbx_registry_add(registry, SBX_VIEW(""), 0, &worker), SBX_E_INVALID);
    assert_int_equal(sbx_registry_add(registry, sbx_view_cstr(longest), 0, &worker), SBX_E_INVALID);
    longest[SBX_WORKER_ID_MAX] = '\0';
    assert_int_equal(sbx_registry_add(registry, sbx_view_cstr(longest), 0, &worker), SBX_OK);
}

static void a_full_table_says_so(void **state)
{
    sbx_registry *registry = *state;
    char id[16];
    for (int i = 0; i < WORKERS; i++) {
        snprintf(id, sizeof id, "w%d", i);
        add(registry, id);
    }
    sbx_worker *worker = NULL;
    assert_int_equal(sbx_registry_add(registry, SBX_VIEW("more"), 0, &worker), SBX_E_CAP);
    assert_null(worker);
}

static void models_are_listed_while_somebody_online_serves_them(void **state)
{
    sbx_registry *registry = *state;
    sbx_worker *w1 = add(registry, "w1");
    sbx_worker *w2 = add(registry, "w2");
    claim(registry, w1, "ab");
    claim(registry, w2, "b");
    assert_int_equal(sbx_registry_model_count(registry), 0);
    sbx_registry_set_online(registry, w1, true);
    assert_int_equal(sbx_registry_model_count(registry), 2);
    sbx_registry_set_online(registry, w2, true);
    sbx_registry_set_online(registry, w1, false);
    assert_int_equal(sbx_registry_model_count(registry), 1);
    assert_true(sbx_view_eq_cstr(sbx_registry_model_at(registry, 0), "b"));
}

static void a_claim_replaces_the_one_before_it(void **state)
{
    sbx_registry *registry = *state;
    sbx_worker *worker = add(registry, "w1");
    claim(registry, worker, "abc");
    claim(registry, worker, "cd");
    assert_int_equal(worker->edge_count, 2);
    assert_int_equal(candidates(registry, "a"), 0);
    assert_int_equal(candidates(registry, "c"), 1);
    assert_int_equal(candidates(registry, "d"), 1);
}

static void a_model_named_twice_is_one_and_unusable_names_are_left_out(void **state)
{
    sbx_registry *registry = *state;
    sbx_worker *worker = add(registry, "w1");
    static const char too_long[SBX_MODEL_ID_MAX + 1] = "x";
    sbx_view models[] = {SBX_VIEW_INIT("a"), SBX_VIEW_INIT("a"), SBX_VIEW_INIT(""),
                         sbx_view_of(too_long, sizeof too_long)};
    sbx_registry_claim(registry, worker, models, 4, 0);
    assert_int_equal(worker->edge_count, 1);
}

static void what_is_learned_of_a_kept_model_outlives_a_heartbeat(void **state)
{
    sbx_registry *registry = *state;
    sbx_worker *worker = add(registry, "w1");
    claim(registry, worker, "ab");
    sbx_model *model = sbx_registry_model(registry, SBX_VIEW("a"));
    sbx_edge_learn_first_content(registry, sbx_registry_edge(registry, worker, model), SBX_MS(70), 0);
    claim(registry, worker, "a");
    assert_int_equal(sbx_learned_first_content(sbx_registry_edge(registry, worker, model), model),
                     SBX_MS(70));
}

static void a_model_that_requests_refer_to_stays(void **state)
{
    sbx_registry *registry = *state;
    sbx_worker *worker = add(registry, "w1");
    claim(registry, worker, "a");
    sbx_model *model = sbx_registry_model(registry, SBX_VIEW("a"));
    sbx_model_ref(model);
    claim(registry, worker, "");
    assert_null(sbx_registry_model(registry, SBX_VIEW("a")));
    assert_true(model->is_live);
    claim(registry, worker, "a");
    assert_ptr_equal(sbx_registry_model(registry, SBX_VIEW("a")), model);
    claim(registry, worker, "");
    sbx_model_unref(registry, model);
    assert_false(model->is_live);
}

static void a_full_model_table_leaves_further_models_out_and_recovers(void **state)
{
    sbx_registry *registry = *state;
    sbx_worker *worker = add(registry, "w1");
    claim(registry, worker, "abcdefghijklmnop");
    assert_int_equal(worker->edge_count, MODELS);
    claim(registry, worker, "mnop");
    assert_int_equal(worker->edge_count, 0); /* all slots were taken while it claimed */
    claim(registry, worker, "mnop");
    assert_int_equal(worker->edge_count, 4);
}

/* ---- against a plain table ------------------------------------------------------------------------------
 */

static bool serves[WORKERS][MODELS];

static void check_against_table(sbx_registry *registry, sbx_worker *const *workers)
{
    uint32_t listed = 0;
    for (int m = 0; m < MODELS; m++) {
        char name[2] = {(char)('a' + m), '\0'};
        uint32_t expected = 0, online = 0;
        for (int w = 0; w < WORKERS; w++) {
            expected += serves[w][m];
            online += serves[w][m] && workers[w]->is_online;
        }
        assert_int_equal(candidates(registry, name), expected);
        const sbx_model *model = sbx_registry_model(registry, sbx_view_cstr(name));
        for (uint32_t i = 0; i < expected; i++) {
            const sbx_candidate *candidate = sbx_model_candidate(registry, model, i);
            assert_true(serves[candidate->worker][m]);
            assert_int_equal(registry->edges[candidate->edge].position, i);
        }
        listed += online > 0;
    }
    assert_int_equal(sbx_registry_model_count(registry), listed);
}

static void the_tables_agree_with_a_plain_one_after_many_random_claims(void **state)
{
    sbx_registry *registry = *state;
    sbx_worker *workers[WORKERS];
    sbx_rng rng;
    char id[16];
    sbx_rng_seed(&rng, 5);
    for (int w = 0; w < WORKERS; w++) {
        snprintf(id, sizeof id, "w%d", w);
        workers[w] = add(registry, id);
    }
    for (int round = 0; round < 3000; round++) {
        size_t w = (size_t)sbx_rng_below(&rng, WORKERS);
        char models[MODELS + 1];
        size_t count = 0;
        for (size_t m = 0; m < MODELS; m++) {
            serves[w][m] = sbx_rng_below(&rng, 3) == 0;
            if (serves[w][m])
                models[count++] = (char)('a' + m);
        }
        models[count] = '\0';
        claim(registry, workers[w], models);
        sbx_registry_set_online(registry, workers[w], sbx_rng_below(&rng, 2) == 0);
        if (round % 50 == 0)
            check_against_table(registry, workers);
    }
    check_against_table(registry, workers);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_registry, close_registry)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_worker_is_found_by_id_and_by_handle),
        TEST(a_handle_is_stale_after_its_worker_was_forgotten),
        TEST(an_id_must_be_there_and_fit),
        TEST(a_full_table_says_so),
        TEST(models_are_listed_while_somebody_online_serves_them),
        TEST(a_claim_replaces_the_one_before_it),
        TEST(a_model_named_twice_is_one_and_unusable_names_are_left_out),
        TEST(what_is_learned_of_a_kept_model_outlives_a_heartbeat),
        TEST(a_model_that_requests_refer_to_stays),
        TEST(a_full_model_table_leaves_further_models_out_and_recovers),
        TEST(the_tables_agree_with_a_plain_one_after_many_random_claims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
