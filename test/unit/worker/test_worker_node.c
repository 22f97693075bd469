/* The worker node against a real nats-server and a controller played by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/worker/support_world.h"
#include "worker/sim_text.h"

static world *the_world;

static int open_world(const world_options *options)
{
    the_world = world_new(options);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    world_options options = world_defaults();
    return open_world(&options);
}

static int setup_slow(void **state)
{
    (void)state;
    world_options options = world_defaults();
    options.sim.ttft_ms = 60000;
    options.max_concurrent = 2;
    return open_world(&options);
}

static int setup_http(void **state)
{
    (void)state;
    world_options options = world_defaults();
    options.over_http = true;
    options.asks_for_models = true;
    options.api_key = "engine-key";
    return open_world(&options);
}

static int setup_prefix(void **state)
{
    (void)state;
    world_options options = world_defaults();
    options.subject_prefix = "lab.";
    return open_world(&options);
}

static int teardown(void **state)
{
    (void)state;
    world_free(the_world);
    the_world = NULL;
    return 0;
}

static bool all_over(world *w)
{
    for (size_t i = 0; i < w->attempt_count; i++) {
        if (!w->attempts[i].is_ended && !w->attempts[i].has_failed)
            return false;
    }
    return true;
}

static bool all_acked(world *w)
{
    for (size_t i = 0; i < w->attempt_count; i++) {
        if (count_frames(&w->attempts[i], SBX_FRAME_ACK) == 0)
            return false;
    }
    return true;
}

static bool nothing_known(world *w)
{
    return sbx_worker_node_state_of(w->node).attempts == 0;
}

static uint64_t engine_total(world *w)
{
    return sbx_sim_engine_load(world_sim(w)).total;
}

static bool engine_is_at_work(world *w)
{
    return sbx_sim_engine_load(world_sim(w)).active > 0;
}

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

/* ---- runs ---- */

static void a_stream_comes_as_ack_head_events_end(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_until(w, all_over, 2000);
    assert_true(s->is_ended);
    assert_int_equal(s->frames[0].type, SBX_FRAME_ACK);
    assert_int_equal(s->frames[1].type, SBX_FRAME_HEAD);
    assert_int_equal(s->frames[s->frame_count - 1].type, SBX_FRAME_END);
    assert_int_equal(s->status, 200);
    assert_true(sbx_view_starts_with(s->content_type, SBX_VIEW("text/event-stream")));
    assert_true(sbx_view_ends_with(sbx_buf_view(&s->data), SBX_VIEW("data: [DONE]\n\n")));
}

static void every_data_frame_of_a_stream_holds_whole_events(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_until(w, all_over, 2000);
    for (size_t i = 0; i < s->frame_count; i++) {
        const seen_frame *frame = &s->frames[i];
        sbx_view payload = sbx_view_slice(sbx_buf_view(&s->payloads), frame->at, frame->len);
        if (frame->type != SBX_FRAME_DATA)
            continue;
        assert_int_equal(frame->flags, 0);
        assert_true(sbx_view_starts_with(payload, SBX_VIEW("data: ")));
        assert_true(sbx_view_ends_with(payload, SBX_VIEW("\n\n")));
    }
}

static void many_runs_are_served_at_once(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    for (int i = 0; i < 16; i++)
        world_run(w, &options);
    world_until(w, all_over, 3000);
    for (size_t i = 0; i < w->attempt_count; i++) {
        assert_true(w->attempts[i].is_ended);
        assert_int_equal(sbx_sim_count_tokens(sbx_view_cstr(content_of(&w->attempts[i]))), 8);
    }
}

static void beyond_its_places_it_says_overloaded_at_once(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    world_run(w, &options);
    world_run(w, &options);
    seen *third = world_run(w, &options);
    world_for(w, 100);
    assert_true(third->has_failed);
    assert_int_equal(third->outcome, SBX_OUTCOME_OVERLOADED);
    assert_int_equal(third->frames[0].seq, 0);
    assert_int_equal(count_frames(&w->attempts[0], SBX_FRAME_ACK), 1);
    assert_int_equal(count_frames(&w->attempts[1], SBX_FRAME_ACK), 1);
}

static void a_run_sent_twice_is_executed_once(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_send_run(w, s, &options);
    world_until(w, all_over, 2000);
    world_send_run(w, s, &options);
    world_credit(w, s, s->wanted, 0);
    world_until(w, nothing_known, 1000);
    world_send_run(w, s, &options);
    world_for(w, 100);
    assert_int_equal(engine_total(w), 1);
}

static void an_expired_run_is_never_started(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.expires_in_ms = -5;
    seen *s = world_run(w, &options);
    world_until(w, all_over, 1000);
    assert_int_equal(s->outcome, SBX_OUTCOME_EXPIRED);
    assert_int_equal(engine_total(w), 0);
}

static void a_run_that_takes_too_long_is_ended_by_the_worker(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.deadline_ms = 100;
    seen *s = world_run(w, &options);
    world_until(w, all_over, 300);
    assert_int_equal(s->outcome, SBX_OUTCOME_ATTEMPT_TIMEOUT);
    assert_false(engine_is_at_work(w));
}

static void the_engines_own_error_is_an_answer_not_a_failure(void **state)
{
    (void)state;
    world *w = the_world;
    world_fault(w, SBX_SIM_FAULT_ERROR_429, -1);
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_until(w, all_over, 1000);
    assert_true(s->is_ended);
    assert_int_equal(s->status, 429);
}

static void an_engine_that_breaks_off_is_reported_behind_what_it_said(void **state)
{
    (void)state;
    world *w = the_world;
    world_fault(w, SBX_SIM_FAULT_RESET_AFTER_BYTES, 3);
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_until(w, all_over, 1000);
    assert_int_equal(s->outcome, SBX_OUTCOME_RESET);
    assert_int_equal(count_frames(s, SBX_FRAME_DATA), 4); /* the role, three tokens */
}

/* ---- cancel ---- */

static void a_cancel_stops_the_engine_and_nothing_more_is_sent(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_until(w, engine_is_at_work, 1000);
    world_tell(w, s, "cancel", "");
    world_until(w, nothing_known, 1000);
    assert_false(engine_is_at_work(w));
    size_t frames = s->frame_count;
    world_for(w, 100);
    assert_int_equal(s->frame_count, frames);
}

static void a_run_behind_its_cancel_does_not_start(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_tell(w, s, "cancel", "");
    world_send_run(w, s, &options);
    world_for(w, 100);
    assert_true(engine_total(w) <= 1);
    assert_false(engine_is_at_work(w));
    assert_true(nothing_known(w));
}

/* ---- credit and replay ---- */

static bool first_has_1000_bytes(world *w)
{
    return w->attempts[0].data.len >= 1000;
}

static void without_credit_the_worker_waits(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.credit = 1000;
    seen *s = world_run(w, &options);
    world_until(w, first_has_1000_bytes, 1000);
    world_for(w, 100);
    assert_int_equal(s->data.len, 1000);
    world_credit(w, s, s->wanted, 100000);
    world_until(w, all_over, 1000);
    assert_true(sbx_view_ends_with(sbx_buf_view(&s->data), SBX_VIEW("data: [DONE]\n\n")));
    assert_int_equal(sbx_sim_count_tokens(sbx_view_cstr(content_of(s))), 8);
}

static void a_frame_that_credit_cuts_says_so(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.credit = 50;
    seen *s = world_run(w, &options);
    world_for(w, 100);
    const seen_frame *last = &s->frames[s->frame_count - 1];
    assert_int_equal(last->type, SBX_FRAME_DATA);
    assert_int_equal(last->len, 50);
    assert_int_equal(last->flags, SBX_FRAME_DATA_PART);
    assert_int_equal(s->data.len, 50);
}

static bool has_ping(world *w)
{
    return w->attempts[0].pings > 0;
}

static void a_replay_brings_the_same_frames_again(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_until(w, all_over, 1000);
    size_t before = s->frame_count;
    world_tell(w, s, "replay", "{\"from\":2}");
    world_until(w, has_ping, 500);
    assert_int_equal(s->frame_count, 2 * before - 2 + 1);
    for (size_t i = 2; i < before; i++) {
        const seen_frame *a = &s->frames[i], *b = &s->frames[before + i - 2];
        assert_int_equal(a->seq, b->seq);
        assert_memory_equal(s->payloads.data + a->at, s->payloads.data + b->at, a->len);
    }
    assert_int_equal(s->frames[s->frame_count - 1].seq, before); /* the ping names the next one */
}

static void a_replay_of_forgotten_frames_is_refused(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.credit = 1000;
    seen *s = world_run(w, &options);
    world_until(w, first_has_1000_bytes, 1000);
    world_credit(w, s, 2, 1000);
    world_tell(w, s, "replay", "{\"from\":1}");
    world_until(w, all_over, 500);
    assert_true(s->is_unknown);
    assert_int_equal(s->outcome, SBX_OUTCOME_RESET);
}

static void an_unknown_attempt_is_said_to_be_unknown(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.expires_in_ms = -5;
    seen *s = world_run(w, &options);
    world_until(w, all_over, 500);
    world_credit(w, s, 1, 0);
    world_until(w, nothing_known, 500);
    world_tell(w, s, "replay", "{\"from\":0}");
    world_for(w, 50);
    assert_true(s->is_unknown);
}

static void an_acknowledged_end_is_forgotten_at_once(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_until(w, all_over, 1000);
    assert_int_equal(sbx_worker_node_state_of(w->node).running, 0);
    assert_int_equal(sbx_worker_node_state_of(w->node).attempts, 1);
    world_credit(w, s, s->wanted, 0);
    world_until(w, nothing_known, 500);
}

/* ---- large bodies ---- */

static sbx_buf large_chat(size_t bytes)
{
    sbx_buf body;
    sbx_buf_init(&body, SIZE_MAX);
    sbx_buf_append_cstr(
        &body, "{\"model\":\"simulated\",\"max_tokens\":3,\"messages\":[{\"role\":\"user\",\"content\":\"");
    while (body.len < bytes - 5)
        sbx_buf_append_cstr(&body, "many words ");
    sbx_buf_append_cstr(&body, "\"}]}");
    return body;
}

static void a_body_in_chunks_is_put_together(void **state)
{
    (void)state;
    world *w = the_world;
    sbx_buf body = large_chat(300000);
    run_options options = run_defaults();
    options.body_bytes = body.len;
    options.streaming = false;
    seen *s = world_run(w, &options);
    world_until(w, all_acked, 1000);
    for (size_t at = 0; at < body.len; at += 100000)
        world_chunk(w, s, at, sbx_view_slice(sbx_buf_view(&body), at, 100000));
    world_until(w, all_over, 2000);
    assert_int_equal(s->status, 200);
    assert_int_equal(s->body_there, body.len);
    assert_int_equal(s->body_pings, 4);
    sbx_buf_deinit(&body);
}

static void a_chunk_out_of_place_is_dropped_and_the_figure_repeated(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.body_bytes = 1000;
    seen *s = world_run(w, &options);
    world_chunk(w, s, 0, SBX_VIEW("{\"model\""));
    world_chunk(w, s, 100, SBX_VIEW("no"));
    world_for(w, 50);
    assert_int_equal(s->body_pings, 2);
    assert_int_equal(s->body_there, 8);
    assert_int_equal(engine_total(w), 0);
}

static void more_body_than_announced_is_malformed(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.body_bytes = 4;
    seen *s = world_run(w, &options);
    world_chunk(w, s, 0, SBX_VIEW("12345"));
    world_until(w, all_over, 500);
    assert_int_equal(s->outcome, SBX_OUTCOME_MALFORMED);
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
    return !engine_is_at_work(w);
}

static void a_controller_that_is_gone_stops_its_generations(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    world_run(w, &options);
    world_until(w, engine_is_at_work, 1000);
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
    world_until(w, first_has_1000_bytes, 1000);
    uint32_t registers = w->registers;
    support_nats_kill(&w->server);
    world_until(w, worker_is_cut_off, 3000);
    uint32_t taken = s->wanted;
    world_for(w, 100);
    support_nats_restart(&w->server);
    world_until(w, both_are_back, 3000);
    world_tell(w, s, "replay", "{\"from\":0}");
    world_until(w, all_over, 3000);
    assert_true(s->is_ended);
    assert_true(taken < s->wanted);
    assert_true(w->registers > registers);
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
    assert_int_equal(engine_total(w), 0);
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
    world_until(w, engine_is_at_work, 1000);
    sbx_worker_node_stop(w->node, on_stopped, w);
    world_until(w, says_draining, 500);
    seen *late = world_run(w, &options);
    world_until(w, all_over, 2000);
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
    world_until(w, engine_is_at_work, 1000);
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
    world_until(w, all_over, 2000);
    assert_true(s->is_ended);
    assert_int_equal(s->status, 200); /* 401 without the key */
    assert_true(sbx_view_ends_with(sbx_buf_view(&s->data), SBX_VIEW("data: [DONE]\n\n")));
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
    world_until(w, all_over, 1000);
    assert_true(s->outcome == SBX_OUTCOME_REFUSED || s->outcome == SBX_OUTCOME_RESET);
    world_until(w, engine_is_down, 3000);
    assert_int_equal(w->self.model_count, 1); /* what it served, it will serve again */
}

#define TEST(name, with) cmocka_unit_test_setup_teardown(name, with, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_registers_with_boot_id_models_and_capacity, setup),
        TEST(it_says_every_interval_how_it_is, setup),
        TEST(it_answers_the_question_who_at_once, setup),
        TEST(a_stream_comes_as_ack_head_events_end, setup),
        TEST(a_stream_comes_as_ack_head_events_end, setup_http),
        TEST(a_stream_comes_as_ack_head_events_end, setup_prefix),
        TEST(every_data_frame_of_a_stream_holds_whole_events, setup),
        TEST(every_data_frame_of_a_stream_holds_whole_events, setup_http),
        TEST(many_runs_are_served_at_once, setup),
        TEST(many_runs_are_served_at_once, setup_http),
        TEST(beyond_its_places_it_says_overloaded_at_once, setup_slow),
        TEST(a_run_sent_twice_is_executed_once, setup),
        TEST(an_expired_run_is_never_started, setup),
        TEST(a_run_that_takes_too_long_is_ended_by_the_worker, setup_slow),
        TEST(the_engines_own_error_is_an_answer_not_a_failure, setup),
        TEST(an_engine_that_breaks_off_is_reported_behind_what_it_said, setup),
        TEST(a_cancel_stops_the_engine_and_nothing_more_is_sent, setup_slow),
        TEST(a_run_behind_its_cancel_does_not_start, setup_slow),
        TEST(without_credit_the_worker_waits, setup),
        TEST(without_credit_the_worker_waits, setup_http),
        TEST(a_frame_that_credit_cuts_says_so, setup),
        TEST(a_replay_brings_the_same_frames_again, setup),
        TEST(a_replay_of_forgotten_frames_is_refused, setup),
        TEST(an_unknown_attempt_is_said_to_be_unknown, setup),
        TEST(an_acknowledged_end_is_forgotten_at_once, setup),
        TEST(a_body_in_chunks_is_put_together, setup),
        TEST(a_body_in_chunks_is_put_together, setup_http),
        TEST(a_chunk_out_of_place_is_dropped_and_the_figure_repeated, setup),
        TEST(more_body_than_announced_is_malformed, setup),
        TEST(a_long_run_is_pinged_each_second, setup_slow),
        TEST(a_controller_that_is_gone_stops_its_generations, setup_slow),
        TEST(a_bus_restart_loses_no_frame, setup),
        TEST(a_bus_restart_loses_no_frame, setup_http),
        TEST(a_plain_request_is_answered_with_the_whole_json, setup),
        TEST(a_plain_request_is_answered_with_the_whole_json, setup_http),
        TEST(a_plain_request_cannot_stream, setup),
        TEST(a_plain_request_that_is_no_json_is_refused, setup),
        TEST(it_finishes_what_it_has_and_then_leaves, setup),
        TEST(a_second_stop_does_not_wait, setup_slow),
        TEST(it_asks_the_engine_for_its_models, setup_http),
        TEST(an_engine_over_http_is_passed_on_with_its_key, setup_http),
        TEST(an_engine_that_is_gone_is_reported_down_at_once, setup_http),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
