/* The worker node itself: registration, who is alive, plain requests, leaving, its engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/worker/support_world.h"
#include "worker/sim_text.h"

/* ---- who it says it is ---- */

static void it_registers_with_boot_id_models_and_capacity(void **state)
{
    (void)state;
    world *w = the_world;
    assert_true(w->registers >= 1);
    assert_true(sbx_view_eq_cstr(w->self.worker_id, "w1"));
    assert_int_equal(w->self.boot_id.len, SBX_ID_LEN);
    assert_int_equal(w->self.max_concurrent, 16);
    assert_int_equal(w->self.engine_kind, SBX_BUS_ENGINE_SIMULATED);
    assert_int_equal(w->self.model_count, 1);
    assert_true(sbx_view_eq_cstr(w->self.models[0], "simulated"));
    assert_true(w->self.clock_ms > 0);
}

static bool five_more_heartbeats(world *w)
{
    return w->heartbeats >= 6;
}

static void it_says_every_interval_how_it_is(void **state)
{
    (void)state;
    world_until(the_world, five_more_heartbeats, 2000);
}

static uint32_t heartbeats_before;

static bool one_more_heartbeat(world *w)
{
    return w->heartbeats > heartbeats_before;
}

static void it_answers_the_question_who_at_once(void **state)
{
    (void)state;
    world *w = the_world;
    heartbeats_before = w->heartbeats;
    world_until(w, one_more_heartbeat, 1000); /* an interval has just begun */
    heartbeats_before = w->heartbeats;
    sbx_bus_publish(w->bus, SBX_BUS_CONTROL, "worker.who", NULL, NULL, 0, NULL, 0);
    world_until(w, one_more_heartbeat, 60);
}

/* ---- who is alive ---- */

static void a_long_run_is_pinged_each_second(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_for(w, 2600);
    assert_in_range(s->pings, 2, 3);
    assert_int_equal(s->progress_pings, 0);
}

static bool engine_is_idle(world *w)
{
    return !world_engine_works(w);
}

static void a_controller_that_is_gone_stops_its_generations(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    world_run(w, &options);
    world_until(w, world_engine_works, 1000);
    sbx_bus_free(w->bus);
    w->bus = NULL;
    world_until(w, engine_is_idle, 6000);
    assert_int_equal(sbx_worker_node_state_of(w->node).attempts, 0);
}

static bool worker_is_cut_off(world *w)
{
    return !sbx_worker_node_state_of(w->node).is_up && !w->bus_is_up;
}

static bool both_are_back(world *w)
{
    return sbx_worker_node_state_of(w->node).is_up && w->bus_is_up;
}

static void a_bus_restart_loses_no_frame(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.body = "{\"model\":\"simulated\",\"stream\":true,\"max_tokens\":700,\"ignore_eos\":true,"
                   "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    seen *s = world_run(w, &options);
    world_until(w, world_first_has_1000_bytes, 1000);
    support_nats_kill(&w->server);
    world_until(w, worker_is_cut_off, 3000);
    uint32_t taken = s->wanted;
    world_for(w, 100);
    support_nats_restart(&w->server);
    heartbeats_before = w->heartbeats;
    world_until(w, both_are_back, 3000);
    world_until(w, one_more_heartbeat, 1000);
    world_tell(w, s, "replay", "{\"from\":0}");
    world_until(w, world_all_over, 3000);
    assert_true(s->is_ended);
    assert_true(taken < s->wanted);
    assert_int_equal(sbx_sim_count_tokens(sbx_view_cstr(content_of(s))), 700);
}

/* ---- plain requests ---- */

static void ask(world *w, const char *body)
{
    sbx_view bytes = sbx_view_cstr(body);
    assert_int_equal(
        sbx_bus_publish(w->bus, SBX_BUS_CONTROL, "inference.w1", "answers.c1", NULL, 0, &bytes, 1), SBX_OK);
}

static bool has_plain_answer(world *w)
{
    return w->plain_status[0] != '\0';
}

static void a_plain_request_is_answered_with_the_whole_json(void **state)
{
    (void)state;
    world *w = the_world;
    ask(w,
        "{\"model\":\"simulated\",\"max_tokens\":2,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    world_until(w, has_plain_answer, 1000);
    assert_string_equal(w->plain_status, "200");
    assert_true(sbx_view_contains(sbx_buf_view(&w->plain_answer), SBX_VIEW("\"chat.completion\"")));
    assert_int_equal(sbx_worker_node_state_of(w->node).running, 0);
}

static void a_plain_request_cannot_stream(void **state)
{
    (void)state;
    world *w = the_world;
    ask(w, "{\"model\":\"simulated\",\"stream\":true}");
    world_until(w, has_plain_answer, 1000);
    assert_string_equal(w->plain_status, "400");
    assert_int_equal(world_engine_total(w), 0);
}

static void a_plain_request_that_is_no_json_is_refused(void **state)
{
    (void)state;
    world *w = the_world;
    ask(w, "hello?");
    world_until(w, has_plain_answer, 1000);
    assert_string_equal(w->plain_status, "400");
}

/* ---- leaving ---- */

static void on_stopped(void *user)
{
    ((world *)user)->has_stopped = true;
}

static bool has_stopped(world *w)
{
    return w->has_stopped;
}

static bool says_draining(world *w)
{
    return w->self.draining;
}

static void it_finishes_what_it_has_and_then_leaves(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.body = "{\"model\":\"simulated\",\"stream\":true,\"max_tokens\":200,\"ignore_eos\":true,"
                   "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    seen *s = world_run(w, &options);
    world_until(w, world_engine_works, 1000);
    sbx_worker_node_stop(w->node, on_stopped, w);
    world_until(w, says_draining, 500);
    seen *late = world_run(w, &options);
    world_until(w, world_all_over, 2000);
    assert_true(s->is_ended);
    assert_int_equal(late->outcome, SBX_OUTCOME_DRAINING);
    world_credit(w, s, s->wanted, 0);
    world_credit(w, late, late->wanted, 0);
    world_until(w, has_stopped, 1000);
    assert_int_equal(w->leaves, 1);
}

static void a_second_stop_does_not_wait(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    world_run(w, &options);
    world_until(w, world_engine_works, 1000);
    sbx_worker_node_stop(w->node, on_stopped, w);
    world_for(w, 50);
    assert_false(w->has_stopped);
    sbx_worker_node_stop(w->node, on_stopped, w);
    world_until(w, has_stopped, 500);
    assert_int_equal(w->leaves, 1);
}

/* ---- an engine over HTTP ---- */

static void it_asks_the_engine_for_its_models(void **state)
{
    (void)state;
    assert_int_equal(the_world->self.model_count, 1);
    assert_true(sbx_view_eq_cstr(the_world->self.models[0], "simulated"));
    assert_int_equal(the_world->self.engine_kind, SBX_BUS_ENGINE_OPENAI);
}

static void an_engine_over_http_is_passed_on_with_its_key(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_until(w, world_all_over, 2000);
    assert_true(s->is_ended);
    assert_int_equal(s->status, 200); /* 401 without the key */
    assert_true(sbx_view_ends_with(sbx_buf_view(&s->data), SBX_VIEW("data: [DONE]\n\n")));
}

static bool engine_is_loading(world *w)
{
    return w->self.engine_state == SBX_BUS_ENGINE_LOADING;
}

static bool serves_two_models(world *w)
{
    return w->self.engine_state == SBX_BUS_ENGINE_UP && w->self.model_count == 2;
}

static void a_loading_engine_is_reported_and_its_new_models_later(void **state)
{
    (void)state;
    world *w = the_world;
    static const char *const models[] = {"simulated", "another"};
    sbx_sim_engine *engine = sbx_sim_server_engine(w->engine);
    sbx_sim_options options = *sbx_sim_engine_options(engine);
    sbx_sim_engine_set_loading(engine, true);
    world_until(w, engine_is_loading, 4000);
    options.models = models;
    options.model_count = 2;
    assert_int_equal(sbx_sim_engine_configure(engine, &options), SBX_OK);
    sbx_sim_engine_set_loading(engine, false);
    world_until(w, serves_two_models, 2000);
}

static bool engine_is_down(world *w)
{
    return w->self.engine_state == SBX_BUS_ENGINE_DOWN;
}

static void an_engine_that_is_gone_is_reported_down_at_once(void **state)
{
    (void)state;
    world *w = the_world;
    sbx_sim_server_free(w->engine);
    w->engine = NULL;
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_until(w, world_all_over, 1000);
    assert_true(s->outcome == SBX_OUTCOME_REFUSED || s->outcome == SBX_OUTCOME_RESET);
    world_until(w, engine_is_down, 3000);
    assert_int_equal(w->self.model_count, 1); /* what it served, it will serve again */
}

#define TEST(name, with) cmocka_unit_test_setup_teardown(name, with, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_registers_with_boot_id_models_and_capacity, world_setup),
        TEST(it_says_every_interval_how_it_is, world_setup),
        TEST(it_answers_the_question_who_at_once, world_setup),
        TEST(a_long_run_is_pinged_each_second, world_setup_slow),
        TEST(a_controller_that_is_gone_stops_its_generations, world_setup_slow),
        TEST(a_bus_restart_loses_no_frame, world_setup),
        TEST(a_bus_restart_loses_no_frame, world_setup_http),
        TEST(a_plain_request_is_answered_with_the_whole_json, world_setup),
        TEST(a_plain_request_is_answered_with_the_whole_json, world_setup_http),
        TEST(a_plain_request_cannot_stream, world_setup),
        TEST(a_plain_request_that_is_no_json_is_refused, world_setup),
        TEST(it_finishes_what_it_has_and_then_leaves, world_setup),
        TEST(a_second_stop_does_not_wait, world_setup_slow),
        TEST(it_asks_the_engine_for_its_models, world_setup_http),
        TEST(an_engine_over_http_is_passed_on_with_its_key, world_setup_http),
        TEST(a_loading_engine_is_reported_and_its_new_models_later, world_setup_http),
        TEST(an_engine_that_is_gone_is_reported_down_at_once, world_setup_http),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
