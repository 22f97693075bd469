/* Runs at a worker: answers, cancel, credit, replay and large bodies, against a real nats-server and a
 * controller played by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/worker/support_world.h"
#include "worker/sim_text.h"

/* ---- runs ---- */

static void a_stream_comes_as_ack_head_events_end(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_until(w, world_all_over, 2000);
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
    world_until(w, world_all_over, 2000);
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
    world_until(w, world_all_over, 3000);
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
    world_until(w, world_all_over, 2000);
    world_send_run(w, s, &options);
    world_credit(w, s, s->wanted, 0);
    world_until(w, world_knows_nothing, 1000);
    world_send_run(w, s, &options);
    world_for(w, 100);
    assert_int_equal(world_engine_total(w), 1);
}

static void an_expired_run_is_never_started(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.expires_in_ms = -5;
    seen *s = world_run(w, &options);
    world_until(w, world_all_over, 1000);
    assert_int_equal(s->outcome, SBX_OUTCOME_EXPIRED);
    assert_int_equal(world_engine_total(w), 0);
}

static void a_run_that_takes_too_long_is_ended_by_the_worker(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.deadline_ms = 100;
    seen *s = world_run(w, &options);
    world_until(w, world_all_over, 300);
    assert_int_equal(s->outcome, SBX_OUTCOME_ATTEMPT_TIMEOUT);
    assert_false(world_engine_works(w));
}

static void the_engines_own_error_is_an_answer_not_a_failure(void **state)
{
    (void)state;
    world *w = the_world;
    world_fault(w, SBX_SIM_FAULT_ERROR_429, -1);
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_until(w, world_all_over, 1000);
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
    world_until(w, world_all_over, 1000);
    assert_int_equal(s->outcome, SBX_OUTCOME_RESET);
    assert_int_equal(count_frames(s, SBX_FRAME_DATA), 4); /* the role, three tokens */
}

static void a_path_that_could_break_the_request_line_is_not_asked(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.path = "/v1/chat/completions HTTP/1.1";
    seen *s = world_run(w, &options);
    world_until(w, world_all_over, 1000);
    assert_int_equal(s->outcome, SBX_OUTCOME_LOCAL);
}

/* ---- cancel ---- */

static void a_cancel_stops_the_engine_and_nothing_more_is_sent(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    seen *s = world_run(w, &options);
    world_until(w, world_engine_works, 1000);
    world_tell(w, s, "cancel", "");
    world_until(w, world_knows_nothing, 1000);
    assert_false(world_engine_works(w));
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
    assert_true(world_engine_total(w) <= 1);
    assert_false(world_engine_works(w));
    assert_true(world_knows_nothing(w));
}

/* ---- credit and replay ---- */

static void without_credit_the_worker_waits(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.credit = 1000;
    seen *s = world_run(w, &options);
    world_until(w, world_first_has_1000_bytes, 1000);
    world_for(w, 100);
    assert_int_equal(s->data.len, 1000);
    world_credit(w, s, s->wanted, 100000);
    world_until(w, world_all_over, 1000);
    assert_true(sbx_view_ends_with(sbx_buf_view(&s->data), SBX_VIEW("data: [DONE]\n\n")));
    assert_int_equal(sbx_sim_count_tokens(sbx_view_cstr(content_of(s))), 8);
}

static void an_engine_whose_answer_has_no_credit_stands_still(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.credit = 100;
    seen *s = world_run(w, &options);
    world_for(w, 150); /* the answer takes 15 ms */
    assert_true(world_engine_works(w));
    world_credit(w, s, s->wanted, 100000);
    world_until(w, world_all_over, 1000);
    assert_false(world_engine_works(w));
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
    world_until(w, world_all_over, 1000);
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
    world_until(w, world_first_has_1000_bytes, 1000);
    world_credit(w, s, 2, 1000);
    world_tell(w, s, "replay", "{\"from\":1}");
    world_until(w, world_all_over, 500);
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
    world_until(w, world_all_over, 500);
    world_credit(w, s, 1, 0);
    world_until(w, world_knows_nothing, 500);
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
    world_until(w, world_all_over, 1000);
    assert_int_equal(sbx_worker_node_state_of(w->node).running, 0);
    assert_int_equal(sbx_worker_node_state_of(w->node).attempts, 1);
    world_credit(w, s, s->wanted, 0);
    world_until(w, world_knows_nothing, 500);
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
    world_until(w, world_all_acked, 1000);
    for (size_t at = 0; at < body.len; at += 100000)
        world_chunk(w, s, at, sbx_view_slice(sbx_buf_view(&body), at, 100000));
    world_until(w, world_all_over, 2000);
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
    assert_int_equal(world_engine_total(w), 0);
}

static void more_body_than_announced_is_malformed(void **state)
{
    (void)state;
    world *w = the_world;
    run_options options = run_defaults();
    options.body_bytes = 4;
    seen *s = world_run(w, &options);
    world_chunk(w, s, 0, SBX_VIEW("12345"));
    world_until(w, world_all_over, 500);
    assert_int_equal(s->outcome, SBX_OUTCOME_MALFORMED);
}

#define TEST(name, with) cmocka_unit_test_setup_teardown(name, with, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_stream_comes_as_ack_head_events_end, world_setup),
        TEST(a_stream_comes_as_ack_head_events_end, world_setup_http),
        TEST(a_stream_comes_as_ack_head_events_end, world_setup_prefix),
        TEST(every_data_frame_of_a_stream_holds_whole_events, world_setup),
        TEST(every_data_frame_of_a_stream_holds_whole_events, world_setup_http),
        TEST(many_runs_are_served_at_once, world_setup),
        TEST(many_runs_are_served_at_once, world_setup_http),
        TEST(beyond_its_places_it_says_overloaded_at_once, world_setup_slow),
        TEST(a_run_sent_twice_is_executed_once, world_setup),
        TEST(an_expired_run_is_never_started, world_setup),
        TEST(a_run_that_takes_too_long_is_ended_by_the_worker, world_setup_slow),
        TEST(the_engines_own_error_is_an_answer_not_a_failure, world_setup),
        TEST(an_engine_that_breaks_off_is_reported_behind_what_it_said, world_setup),
        TEST(a_path_that_could_break_the_request_line_is_not_asked, world_setup_http),
        TEST(a_cancel_stops_the_engine_and_nothing_more_is_sent, world_setup_slow),
        TEST(a_run_behind_its_cancel_does_not_start, world_setup_slow),
        TEST(without_credit_the_worker_waits, world_setup),
        TEST(without_credit_the_worker_waits, world_setup_http),
        TEST(an_engine_whose_answer_has_no_credit_stands_still, world_setup),
        TEST(a_frame_that_credit_cuts_says_so, world_setup),
        TEST(a_replay_brings_the_same_frames_again, world_setup),
        TEST(a_replay_of_forgotten_frames_is_refused, world_setup),
        TEST(an_unknown_attempt_is_said_to_be_unknown, world_setup),
        TEST(an_acknowledged_end_is_forgotten_at_once, world_setup),
        TEST(a_body_in_chunks_is_put_together, world_setup),
        TEST(a_body_in_chunks_is_put_together, world_setup_http),
        TEST(a_chunk_out_of_place_is_dropped_and_the_figure_repeated, world_setup),
        TEST(more_body_than_announced_is_malformed, world_setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
