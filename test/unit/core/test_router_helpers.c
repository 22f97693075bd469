/* Helper endpoints in the router: who is asked first, when the cluster stands in, what is told when nobody
 * can; and prompts that are too long for a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "unit/core/support_rig.h"

static rig r;

#define FIRST_TIER  "\1e/0/1"
#define SECOND_TIER "\1e/0/2"

static const sbx_view TIERS[] = {SBX_VIEW_INIT(FIRST_TIER), SBX_VIEW_INIT(SECOND_TIER), SBX_VIEW_INIT("emb")};
static const sbx_view OTHER[] = {SBX_VIEW_INIT("other")};
static const sbx_view ALIAS[] = {SBX_VIEW_INIT("emb"), SBX_VIEW_INIT("m")};
static const sbx_view LONG[] = {SBX_VIEW_INIT("small"), SBX_VIEW_INIT("middle"), SBX_VIEW_INIT("big")};
static const sbx_model_alias ALIASES[] = {
    {.name = SBX_VIEW_INIT("emb"), .models = OTHER, .model_count = 1}, /* must never be looked at */
    {.name = SBX_VIEW_INIT("vectors"), .models = ALIAS, .model_count = 2},
    {.name = SBX_VIEW_INIT("long"), .models = LONG, .model_count = 3},
};

static void open_with(bool falls_back)
{
    sbx_model_alias helper = {.name = SBX_VIEW("emb"),
                              .models = TIERS,
                              .model_count = falls_back ? 3 : 2,
                              .helper = SBX_HELPER_EMBEDDING,
                              .falls_back = falls_back};
    sbx_policy policy = rig_policy();
    policy.aliases = ALIASES;
    policy.alias_count = sizeof ALIASES / sizeof ALIASES[0];
    policy.helpers = &helper;
    policy.helper_count = 1;
    rig_open(&r, &policy);
}

static int open_local(void **state)
{
    (void)state;
    open_with(/* falls_back: */ true);
    return 0;
}

static int open_skip(void **state)
{
    (void)state;
    open_with(/* falls_back: */ false);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    rig_close(&r);
    return 0;
}

static void step(const sbx_event *event)
{
    r.last = sbx_router_step(r.router, r.now, event);
}

static sbx_worker_ref endpoint(const char *id, const char *tier)
{
    sbx_view model = sbx_view_cstr(tier);
    sbx_breaker_policy breaker = sbx_breaker_policy_helpers();
    step(&(sbx_event){.kind = SBX_EVENT_WORKER_SEEN,
                      .seen = {.id = sbx_view_cstr(id),
                               .models = &model,
                               .model_count = 1,
                               .capacity = 16,
                               .weight = 100,
                               .breaker = &breaker,
                               .attempt_ns = SBX_SEC(7),
                               .is_helper = true}});
    return sbx_worker_describe(sbx_registry_find(sbx_router_registry(r.router), sbx_view_cstr(id)), r.now)
        .ref;
}

static sbx_attempt_ref embed(const char *model)
{
    return rig_request(
        &r, (sbx_event_request_new){.model = sbx_view_cstr(model), .helper = SBX_HELPER_EMBEDDING});
}

static void ends_with(sbx_api_error error, uint32_t status)
{
    const sbx_action *end = rig_end(&r);
    assert_int_equal(end->kind, SBX_ACTION_FAIL);
    assert_int_equal(end->end.error, error);
    assert_int_equal(end->end.http_status, status);
    assert_int_equal(end->end.helper, SBX_HELPER_EMBEDDING);
}

/* ---- who is asked -------------------------------------------------------------------------------------- */

static void an_endpoint_is_asked_for_its_model_within_its_own_limit(void **state)
{
    (void)state;
    endpoint("e0", FIRST_TIER);
    embed("emb");
    const sbx_action *start = rig_find(&r, SBX_ACTION_START);
    assert_true(sbx_view_eq_cstr(start->start.model, "emb"));
    assert_int_equal(start->start.budget_ns, SBX_SEC(7));
    assert_false(start->start.is_fallback);
}

static void the_role_s_name_and_an_alias_of_the_model_mean_the_endpoints_too(void **state)
{
    (void)state;
    endpoint("e0", FIRST_TIER);
    embed("embedding");
    assert_string_equal(rig_started_at(&r), "e0");
    embed("vectors");
    assert_string_equal(rig_started_at(&r), "e0");
}

static void requests_of_another_kind_never_come_to_an_endpoint(void **state)
{
    (void)state;
    endpoint("e0", FIRST_TIER);
    rig_request(&r, (sbx_event_request_new){.model = SBX_VIEW("embedding")});
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 0);
    rig_request(&r, (sbx_event_request_new){.model = SBX_VIEW("emb"), .helper = SBX_HELPER_RERANKING});
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 0);
    rig_request(&r, (sbx_event_request_new){.model = SBX_VIEW(FIRST_TIER), .helper = SBX_HELPER_EMBEDDING});
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 0);
    assert_int_equal(rig_end(&r)->end.error,
                     SBX_API_NO_WORKERS_AVAILABLE); /* no worker of the cluster is online */
    assert_int_equal(sbx_registry_model_count(sbx_router_registry(r.router)), 0);
}

static void endpoints_come_by_priority_the_well_ones_first(void **state)
{
    (void)state;
    sbx_worker_ref first = endpoint("e0", FIRST_TIER);
    endpoint("e1", SECOND_TIER);
    embed("emb");
    assert_string_equal(rig_started_at(&r), "e0");
    rig_health(&r, first, /* good: */ false);
    embed("emb");
    assert_string_equal(rig_started_at(&r), "e1");
    rig_health(&r, first, /* good: */ true);
    embed("emb");
    assert_string_equal(rig_started_at(&r), "e0");
}

static void one_bad_check_that_changes_nothing_yet_demotes_nobody(void **state)
{
    (void)state;
    sbx_worker_ref first = endpoint("e0", FIRST_TIER);
    endpoint("e1", SECOND_TIER);
    step(&(sbx_event){.kind = SBX_EVENT_WORKER_HEALTH,
                      .health = {.worker = first, .good = false, .changes_nothing_yet = true}});
    embed("emb");
    assert_string_equal(rig_started_at(&r), "e0");
}

/* ---- falling back -------------------------------------------------------------------------------------- */

static void from_endpoint_to_endpoint_to_the_cluster_costs_no_retry_and_no_wait(void **state)
{
    (void)state;
    endpoint("e0", FIRST_TIER);
    endpoint("e1", SECOND_TIER);
    rig_worker_of(&r, "local", "emb", 4);
    sbx_attempt_ref attempt = embed("emb");
    rig_ended(&r, attempt, SBX_OUTCOME_MALFORMED);
    assert_string_equal(rig_started_at(&r), "e1");
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_SERVER_ERROR);
    assert_string_equal(rig_started_at(&r), "local");
    assert_true(rig_find(&r, SBX_ACTION_START)->start.is_fallback);
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_OK);
    assert_int_equal(rig_end(&r)->kind, SBX_ACTION_SUCCEED);
    assert_int_equal(rig_end(&r)->end.meta.attempts, 3);
}

static void open_breakers_fall_back_at_once_and_count_whom_they_kept_away(void **state)
{
    (void)state;
    sbx_worker_ref e0 = endpoint("e0", FIRST_TIER);
    rig_worker_of(&r, "local", "emb", 4);
    for (int i = 0; i < 3; i++) {
        rig_ended(&r, embed("emb"), SBX_OUTCOME_REFUSED);
        rig_ended(&r, rig_started(&r), SBX_OUTCOME_OK);
    }
    assert_int_equal(rig_info(&r, e0).breaker, SBX_BREAKER_OPEN);
    embed("emb");
    assert_string_equal(rig_started_at(&r), "local");
    embed("emb");
    assert_int_equal(rig_info(&r, e0).rejected, 2);
    assert_int_equal(rig_info(&r, e0).attempts, 3);
}

static void without_anybody_of_the_same_model_it_is_unavailable_and_no_alias_is_followed(void **state)
{
    (void)state;
    endpoint("e0", FIRST_TIER);
    rig_worker_of(&r, "w", "other", 4);
    rig_ended(&r, embed("emb"), SBX_OUTCOME_RESET);
    ends_with(SBX_API_NO_WORKERS_AVAILABLE, 503);
    assert_false(rig_end(&r)->end.has_fallback);
}

static void skip_is_a_502_of_its_own_tried_or_not(void **state)
{
    (void)state;
    endpoint("e0", FIRST_TIER);
    rig_worker_of(&r, "local", "emb", 4);
    for (int i = 0; i < 3; i++) {
        rig_ended(&r, embed("emb"), SBX_OUTCOME_ATTEMPT_TIMEOUT);
        ends_with(SBX_API_HELPER_NODE_UNAVAILABLE, 502);
    }
    embed("emb");
    ends_with(SBX_API_HELPER_NODE_UNAVAILABLE, 502);
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 0);
}

static void a_client_s_own_error_and_a_busy_endpoint_are_told_as_they_are(void **state)
{
    (void)state;
    endpoint("e0", FIRST_TIER);
    rig_ended(&r, embed("emb"), SBX_OUTCOME_CLIENT_ERROR);
    assert_int_equal(rig_end(&r)->kind, SBX_ACTION_PASS);
    rig_busy(&r, embed("emb"), SBX_SEC(2));
    ends_with(SBX_API_WORKER_OVERLOADED, 503);
}

/* ---- too long ------------------------------------------------------------------------------------------ */

static sbx_worker_ref worker_of(const char *id, uint64_t context)
{
    sbx_view model = sbx_view_cstr(id);
    step(&(sbx_event){.kind = SBX_EVENT_WORKER_SEEN,
                      .seen = {.id = model,
                               .models = &model,
                               .contexts = &context,
                               .model_count = 1,
                               .capacity = 4,
                               .weight = 100}});
    return sbx_worker_describe(sbx_registry_find(sbx_router_registry(r.router), model), r.now).ref;
}

static void too_long(sbx_attempt_ref attempt, uint64_t context)
{
    step(&(sbx_event){.kind = SBX_EVENT_ATTEMPT_ENDED,
                      .ended = {.attempt = attempt,
                                .outcome = SBX_OUTCOME_CLIENT_ERROR,
                                .http_status = 400,
                                .retry_after_ns = -1,
                                .is_too_long = true,
                                .context = context}});
}

static sbx_attempt_ref ask_long(const char *model)
{
    return rig_request(&r, (sbx_event_request_new){.model = sbx_view_cstr(model)});
}

static void a_prompt_moves_on_to_models_of_longer_context_once_each(void **state)
{
    (void)state;
    worker_of("small", 0);
    worker_of("middle", 0);
    worker_of("big", 0);
    too_long(ask_long("long"), 0);
    assert_string_equal(rig_started_at(&r), "middle");
    too_long(rig_started(&r), 0);
    assert_string_equal(rig_started_at(&r), "big");
    too_long(rig_started(&r), 0);
    assert_int_equal(rig_end(&r)->kind, SBX_ACTION_PASS);
    assert_int_equal(rig_end(&r)->end.meta.attempts, 3);
    assert_int_equal(rig_end(&r)->end.meta.failed_count, 0);
}

static void models_known_to_be_no_longer_are_passed_over(void **state)
{
    (void)state;
    worker_of("small", 1000);
    worker_of("middle", 1000);
    worker_of("big", 2000);
    too_long(ask_long("long"), 0);
    assert_string_equal(rig_started_at(&r), "big");
}

static void what_an_answer_says_is_learned(void **state)
{
    (void)state;
    worker_of("small", 0);
    worker_of("middle", 0);
    worker_of("big", 0);
    too_long(ask_long("middle"), 500);
    assert_int_equal(rig_end(&r)->kind, SBX_ACTION_PASS); /* a plain id passes it through */
    too_long(ask_long("long"), 600);
    assert_string_equal(rig_started_at(&r), "big");
}

static void a_failure_behind_a_longer_model_is_a_plain_failure(void **state)
{
    (void)state;
    worker_of("small", 0);
    worker_of("middle", 0);
    too_long(ask_long("long"), 0);
    rig_ended(&r, rig_started(&r), SBX_OUTCOME_REFUSED);
    assert_int_equal(rig_end(&r)->kind, SBX_ACTION_FAIL);
    assert_int_equal(rig_count(&r, SBX_ACTION_START), 0);
}

/* ---- for pages ----------------------------------------------------------------------------------------- */

static void a_name_resolves_to_the_first_model_that_is_served(void **state)
{
    (void)state;
    sbx_view model;
    const sbx_policy *policy = sbx_router_policy(r.router);
    assert_false(sbx_router_resolve(r.router, policy, SBX_VIEW("long"), &model));
    rig_gone(&r, worker_of("small", 0));
    worker_of("big", 0);
    assert_true(sbx_router_resolve(r.router, policy, SBX_VIEW("long"), &model));
    assert_true(sbx_view_eq_cstr(model, "big"));
    assert_true(sbx_router_resolve(r.router, policy, SBX_VIEW("big"), &model));
    endpoint("e0", FIRST_TIER);
    assert_false(sbx_router_resolve(r.router, policy, SBX_VIEW(FIRST_TIER), &model));
}

#define LOCAL(test) cmocka_unit_test_setup_teardown(test, open_local, close_rig)
#define SKIP(test)  cmocka_unit_test_setup_teardown(test, open_skip, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOCAL(an_endpoint_is_asked_for_its_model_within_its_own_limit),
        LOCAL(the_role_s_name_and_an_alias_of_the_model_mean_the_endpoints_too),
        LOCAL(requests_of_another_kind_never_come_to_an_endpoint),
        LOCAL(endpoints_come_by_priority_the_well_ones_first),
        LOCAL(one_bad_check_that_changes_nothing_yet_demotes_nobody),
        LOCAL(from_endpoint_to_endpoint_to_the_cluster_costs_no_retry_and_no_wait),
        LOCAL(open_breakers_fall_back_at_once_and_count_whom_they_kept_away),
        LOCAL(without_anybody_of_the_same_model_it_is_unavailable_and_no_alias_is_followed),
        SKIP(skip_is_a_502_of_its_own_tried_or_not),
        SKIP(a_client_s_own_error_and_a_busy_endpoint_are_told_as_they_are),
        LOCAL(a_prompt_moves_on_to_models_of_longer_context_once_each),
        LOCAL(models_known_to_be_no_longer_are_passed_over),
        LOCAL(what_an_answer_says_is_learned),
        LOCAL(a_failure_behind_a_longer_model_is_a_plain_failure),
        LOCAL(a_name_resolves_to_the_first_model_that_is_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
