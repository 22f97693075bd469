/* Kind nats: large bodies, a bus that restarts, workers that come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/transport/support_nats_bench.h"

/* ---- large bodies ---- */

static bool body_is_there(world *w)
{
    return w->body.len >= 7 * 1024 * 1024;
}

static void upload(world *w, int drop_chunk)
{
    size_t len = 7 * 1024 * 1024;
    uint8_t *bytes = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    sbx_view pieces[] = {sbx_view_of(bytes, 10), sbx_view_of(bytes + 10, 0), sbx_view_of(bytes + 10, 3000000),
                         sbx_view_of(bytes + 3000010, len - 3000010)};
    sbx_transport_call *call;
    w->assembles = true;
    w->drop_chunk = drop_chunk;
    assert_int_equal(world_start(w, 0, pieces, 4, &call), SBX_OK);
    world_until(w, world_got_run, 1000);
    const note *n = world_note(w, "run", 1);
    assert_int_equal(n->len, 0);
    assert_int_equal(atol(n->body_bytes), len);
    world_until_or(w, world_never, 30);
    assert_null(world_note(w, "chunk", 1)); /* not before it is accepted */
    world_frame(w, n->reply, 0, SBX_FRAME_ACK, "");
    world_until(w, body_is_there, 5000);
    assert_int_equal(w->body.len, len);
    assert_memory_equal(sbx_buf_view(&w->body).data, bytes, len);
    sbx_transport_cancel(call);
    free(bytes);
}

static void a_large_body_arrives_whole_in_chunks(void **state)
{
    world *w = *state;
    upload(w, 0);
    assert_int_equal(w->chunks, 8); /* of 1 MiB less the margin */
}

static void a_lost_chunk_is_sent_again(void **state)
{
    upload(*state, 3);
}

static void a_lost_last_chunk_is_sent_again(void **state)
{
    upload(*state, 8);
}

static void a_stuck_worker_holds_four_chunks_at_most(void **state)
{
    world *w = *state;
    size_t len = 20 * 1024 * 1024;
    uint8_t *bytes = calloc(1, len);
    sbx_view piece = sbx_view_of(bytes, len);
    sbx_transport_call *call;
    assert_int_equal(world_start(w, 0, &piece, 1, &call), SBX_OK);
    world_until(w, world_got_run, 1000);
    world_frame(w, world_note(w, "run", 1)->reply, 0, SBX_FRAME_ACK, "");
    world_until_or(w, world_never, 1300);
    assert_non_null(world_note(w, "chunk", 4));
    assert_null(world_note(w, "chunk", 5));
    assert_non_null(world_note(w, "replay", 2)); /* asked what it has */
    sbx_transport_cancel(call);
    free(bytes);
}

/* ---- the bus restarts ---- */

static void ping_as_a_worker(world *w, const char *reply)
{
    uint8_t header[SBX_FRAME_HEADER_BYTES];
    sbx_frame ping = {.seq = 1, .type = SBX_FRAME_PING};
    sbx_frame_encode_header(&ping, header);
    sbx_view piece = sbx_view_of(header, sizeof header);
    sbx_bus_publish(w->worker, SBX_BUS_CONTROL, reply, "inference.w1.orphan.c1", NULL, 0, &piece, 1);
}

static void an_attempt_that_nobody_waits_for_is_cancelled_when_it_pings(void **state)
{
    world *w = *state;
    ping_as_a_worker(w, "response.c1.feedfeedfeedfeedfeedfeedfeedfeed.3");
    world_until(w, world_got_cancel, 1000);
    assert_string_equal(world_note(w, "cancel", 1)->reply, "response.c1.feedfeedfeedfeedfeedfeedfeedfeed.3");
}

static void restart_bus(world *w)
{
    support_nats_kill(&w->server);
    world_until(w, world_all_down, 1000);
    support_nats_restart(&w->server);
    world_until(w, world_all_up, 3000);
}

static void a_stream_lives_through_a_restart_of_the_bus(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = world_start_small(w, 0, &call);
    world_frame(w, reply, 0, SBX_FRAME_ACK, "");
    world_frame(w, reply, 1, SBX_FRAME_HEAD, world_head_json);
    world_frame(w, reply, 2, SBX_FRAME_DATA, "a");
    world_until(w, world_has_data, 1000);
    restart_bus(w);
    int whos = w->whos;
    world_until(w, world_got_replay, 1000);
    assert_string_equal(world_note(w, "replay", 1)->body, "{\"from\":3}");
    assert_string_equal(world_note(w, "credit", 1)->body, "{\"seq\":3,\"bytes\":1000}");
    assert_in_range(whos, 0, 2);
    world_frame(w, reply, 2, SBX_FRAME_DATA, "a"); /* the worker sends again what was not acknowledged */
    world_frame(w, reply, 3, SBX_FRAME_DATA, "b");
    world_frame(w, reply, 4, SBX_FRAME_END, "");
    world_until(w, world_is_over, 1000);
    assert_int_equal(w->h[0].fails, 0);
    world_assert_data(w, "ab");
    assert_int_equal(w->workers_left, 0);
}

static void a_run_without_ack_is_sent_again_after_a_restart(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    const char *reply = world_start_small(w, 0, &call);
    restart_bus(w);
    world_until(w, world_got_second_run, 1000);
    assert_string_equal(world_note(w, "run", 2)->reply, reply);
    world_frame(w, reply, 0, SBX_FRAME_ACK, "");
    world_frame(w, reply, 1, SBX_FRAME_HEAD, world_head_json);
    world_frame(w, reply, 2, SBX_FRAME_END, "");
    world_until(w, world_is_over, 1000);
    assert_int_equal(w->h[0].ends, 1);
}

static void a_worker_that_does_not_come_back_loses_its_streams(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    world_frame(w, world_start_small(w, 0, &call), 0, SBX_FRAME_ACK, "");
    world_until_or(w, world_never, 50);
    sbx_bus_unsubscribe(w->worker_subscription);
    world_until_or(w, world_never, 10);
    restart_bus(w);
    long ms = world_until(w, world_is_over, 4000);
    assert_in_range(ms, 800, 1600); /* after settling */
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_RESET);
    assert_int_equal(w->workers_left, 1);
}

static void while_the_bus_is_down_starts_are_refused_and_cancels_kept(void **state)
{
    world *w = *state;
    sbx_transport_call *call, *other;
    world_frame(w, world_start_small(w, 0, &call), 0, SBX_FRAME_ACK, "");
    world_until_or(w, world_never, 20);
    support_nats_kill(&w->server);
    world_until(w, world_all_down, 1000);
    assert_int_equal(world_start(w, 1, world_small_body, 2, &other), SBX_E_CLOSED);
    sbx_transport_cancel(call);
    support_nats_restart(&w->server);
    world_until(w, world_all_up, 3000);
    for (int i = 0; i < 20 && !world_got_cancel(w); i++) { /* as a worker does that is back */
        ping_as_a_worker(w, "response.c1." RID ".1");
        world_until_or(w, world_got_cancel, 50);
    }
    assert_non_null(world_note(w, "cancel", 1));
    assert_int_equal(w->h[0].ends + w->h[0].fails, 0);
}

/* ---- workers come and go ---- */

static void a_new_boot_ends_what_the_old_one_had(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    world_frame(w, world_start_small(w, 0, &call), 0, SBX_FRAME_ACK, "");
    world_until_or(w, world_never, 20);
    world_hello(w, "boot2", 0);
    world_until(w, world_is_over, 1000);
    assert_int_equal(w->h[0].outcome, SBX_OUTCOME_RESET);
    assert_int_equal(w->workers_seen, 2);
}

static void only_the_boot_that_is_known_may_take_leave(void **state)
{
    world *w = *state;
    sbx_view other = SBX_VIEW("{\"workerId\":\"w1\",\"bootId\":\"boot0\"}");
    sbx_view right = SBX_VIEW("{\"workerId\":\"w1\",\"bootId\":\"boot1\"}");
    sbx_bus_publish(w->worker, SBX_BUS_CONTROL, "worker.deregister", NULL, NULL, 0, &other, 1);
    world_until_or(w, world_never, 50);
    assert_int_equal(w->workers_left, 0);
    sbx_bus_publish(w->worker, SBX_BUS_CONTROL, "worker.deregister", NULL, NULL, 0, &right, 1);
    world_until(w, world_has_left, 1000);
}

static void a_registration_that_is_not_valid_is_ignored(void **state)
{
    world *w = *state;
    sbx_view bad = SBX_VIEW("{\"workerId\":\"w 1\",\"bootId\":\"b\",\"models\":[]}");
    sbx_bus_publish(w->worker, SBX_BUS_CONTROL, "worker.register", NULL, NULL, 0, &bad, 1);
    world_until_or(w, world_never, 50);
    assert_int_equal(w->workers_seen, 1);
}

static void freeing_a_peer_cancels_its_calls(void **state)
{
    world *w = *state;
    sbx_transport_call *call;
    world_start_small(w, 0, &call);
    w->peer->kind->free_peer(w->peer);
    w->peer = NULL;
    world_until(w, world_got_cancel, 1000);
    assert_int_equal(w->h[0].fails, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
        T(a_large_body_arrives_whole_in_chunks),
        T(a_lost_chunk_is_sent_again),
        T(a_lost_last_chunk_is_sent_again),
        T(a_stuck_worker_holds_four_chunks_at_most),
        T(an_attempt_that_nobody_waits_for_is_cancelled_when_it_pings),
        T(a_stream_lives_through_a_restart_of_the_bus),
        T(a_run_without_ack_is_sent_again_after_a_restart),
        T(a_worker_that_does_not_come_back_loses_its_streams),
        T(while_the_bus_is_down_starts_are_refused_and_cancels_kept),
        T(a_new_boot_ends_what_the_old_one_had),
        T(only_the_boot_that_is_known_may_take_leave),
        T(a_registration_that_is_not_valid_is_ignored),
        T(freeing_a_peer_cancels_its_calls),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
