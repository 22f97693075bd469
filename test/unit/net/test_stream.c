/* Streams against raw sockets: connecting, queueing, pausing, ends. */
#include "support_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stream.h"

typedef struct peer {
    sbx_loop *loop;
    sbx_stream *stream;
    int listener, fd;
    uint16_t port;
    unsigned opened, refused, ended, broken, drained;
    sbx_err end_err;
    sbx_buf in;  /* what the stream read */
    sbx_buf out; /* what the raw side read */
} peer;

static void on_open(void *user)
{
    ((peer *)user)->opened++;
}

static void on_refused(void *user, sbx_err err, const char *detail)
{
    assert_int_equal(err, SBX_E_REFUSED);
    assert_true(detail[0] != 0);
    ((peer *)user)->refused++;
}

static void on_read(void *user, sbx_view bytes)
{
    peer *p = user;
    sbx_buf_append_view(&p->in, bytes);
}

static void on_end(void *user, sbx_err err)
{
    peer *p = user;
    p->ended++;
    p->end_err = err;
}

static void on_broken(void *user)
{
    ((peer *)user)->broken++;
}

static void on_drained(void *user)
{
    ((peer *)user)->drained++;
}

static const sbx_stream_events events = {.on_open = on_open,
                                         .on_refused = on_refused,
                                         .on_read = on_read,
                                         .on_end = on_end,
                                         .on_broken = on_broken,
                                         .on_drained = on_drained};

static void connect_stream(peer *p)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(p->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(sbx_stream_connect(p->loop, (const struct sockaddr *)&address, &events, p, &p->stream),
                     SBX_OK);
    assert_int_equal(p->opened + p->refused, 0);
}

static int setup(void **state)
{
    peer *p = test_calloc(1, sizeof *p);
    assert_int_equal(sbx_loop_new(&p->loop), SBX_OK);
    p->listener = raw_listen(&p->port);
    p->fd = -1;
    sbx_buf_init(&p->in, SIZE_MAX);
    sbx_buf_init(&p->out, SIZE_MAX);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    peer *p = *state;
    sbx_stream_close(p->stream);
    sbx_loop_free(p->loop);
    if (p->fd >= 0)
        close(p->fd);
    close(p->listener);
    sbx_buf_deinit(&p->in);
    sbx_buf_deinit(&p->out);
    test_free(p);
    return 0;
}

static void open_pair(peer *p)
{
    connect_stream(p);
    p->fd = raw_accept(p->loop, p->listener);
    run_until_count(p->loop, &p->opened, 1);
}

static void write_bytes(peer *p, const void *data, size_t len)
{
    sbx_view view = sbx_view_of(data, len);
    assert_int_equal(sbx_stream_write(p->stream, &view, 1), SBX_OK);
}

static void bytes_go_both_ways_at_once(void **state)
{
    peer *p = *state;
    sbx_view pieces[] = {SBX_VIEW("pi"), SBX_VIEW(""), SBX_VIEW("ng")};
    open_pair(p);
    assert_int_equal(sbx_stream_write(p->stream, pieces, 3), SBX_OK);
    assert_int_equal(sbx_stream_queued(p->stream), 0); /* the socket took it in the same call */
    assert_int_equal(sbx_stream_sent(p->stream), 4);
    char got[8] = {0};
    assert_int_equal(recv(p->fd, got, sizeof got, MSG_DONTWAIT), 4);
    assert_string_equal(got, "ping");
    raw_send(p->fd, "pong");
    run_for(p->loop, 5);
    assert_true(sbx_view_eq_cstr(sbx_buf_view(&p->in), "pong"));
}

static uint8_t *pattern(size_t len)
{
    uint8_t *bytes = malloc(len);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    return bytes;
}

enum {
    BIG = 6 * 1024 * 1024
};

static void what_the_socket_does_not_take_is_queued_in_order(void **state)
{
    peer *p = *state;
    uint8_t *bytes = pattern(BIG + 2000);
    open_pair(p);
    write_bytes(p, bytes, BIG);
    size_t queued = sbx_stream_queued(p->stream);
    assert_true(queued > 0);
    write_bytes(p, bytes + BIG, 1000);
    write_bytes(p, bytes + BIG + 1000, 1000);
    assert_int_equal(sbx_stream_queued(p->stream), queued + 2000);
    assert_int_equal(sbx_stream_sent(p->stream), BIG - queued);
    raw_read_bytes(p->loop, p->fd, &p->out, BIG + 2000);
    assert_memory_equal(p->out.data, bytes, BIG + 2000);
    run_until_count(p->loop, &p->drained, 1);
    assert_int_equal(sbx_stream_queued(p->stream), 0);
    free(bytes);
}

static void kept_bytes_are_not_copied_and_arrive(void **state)
{
    peer *p = *state;
    uint8_t *bytes = pattern(BIG);
    sbx_view pieces[] = {sbx_view_of(bytes, 10), sbx_view_of(bytes + 10, BIG - 20),
                         sbx_view_of(bytes + BIG - 10, 10)};
    open_pair(p);
    assert_int_equal(sbx_stream_write_kept(p->stream, pieces, 3), SBX_OK);
    assert_true(sbx_stream_queued(p->stream) > 0);
    raw_read_bytes(p->loop, p->fd, &p->out, BIG);
    assert_memory_equal(p->out.data, bytes, BIG);
    free(bytes);
}

static void closing_with_a_full_queue_is_silent(void **state)
{
    peer *p = *state;
    uint8_t *bytes = pattern(BIG);
    open_pair(p);
    write_bytes(p, bytes, BIG);
    write_bytes(p, bytes, 1000);
    sbx_stream_close(p->stream);
    p->stream = NULL;
    free(bytes);
    run_for(p->loop, 10);
    assert_int_equal(p->drained + p->broken + p->ended, 0);
}

static void shutdown_waits_for_the_queue(void **state)
{
    peer *p = *state;
    uint8_t *bytes = pattern(BIG);
    open_pair(p);
    write_bytes(p, bytes, BIG);
    sbx_stream_shutdown(p->stream);
    raw_read_to_end(p->loop, p->fd, &p->out);
    assert_int_equal(p->out.len, BIG);
    raw_send(p->fd, "still heard");
    run_for(p->loop, 5);
    assert_true(sbx_view_eq_cstr(sbx_buf_view(&p->in), "still heard"));
    free(bytes);
}

static void the_peers_end_is_told_once_and_writing_goes_on(void **state)
{
    peer *p = *state;
    open_pair(p);
    shutdown(p->fd, SHUT_WR);
    run_until_count(p->loop, &p->ended, 1);
    assert_int_equal(p->end_err, SBX_OK);
    sbx_stream_pause(p->stream);
    sbx_stream_resume(p->stream);
    write_bytes(p, "late", 4);
    raw_read_until(p->loop, p->fd, &p->out, "late");
    assert_int_equal(p->ended, 1);
}

static void a_reset_is_told_as_such(void **state)
{
    peer *p = *state;
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    open_pair(p);
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(p->fd);
    p->fd = -1;
    run_until_count(p->loop, &p->ended, 1);
    assert_int_equal(p->end_err, SBX_E_RESET);
}

static void a_write_to_a_dead_peer_is_told_later_not_within(void **state)
{
    peer *p = *state;
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    open_pair(p);
    sbx_stream_pause(p->stream); /* so that reading does not notice first */
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(p->fd);
    p->fd = -1;
    write_bytes(p, "x", 1);
    write_bytes(p, "y", 1);
    assert_int_equal(p->broken, 0);
    run_until_count(p->loop, &p->broken, 1);
    write_bytes(p, "z", 1);
    assert_int_equal(sbx_stream_queued(p->stream), 0);
}

static void a_paused_stream_reads_nothing_until_it_is_resumed(void **state)
{
    peer *p = *state;
    open_pair(p);
    sbx_stream_pause(p->stream);
    raw_send(p->fd, "waiting");
    run_for(p->loop, 10);
    assert_int_equal(p->in.len, 0);
    sbx_stream_resume(p->stream);
    run_for(p->loop, 10);
    assert_true(sbx_view_eq_cstr(sbx_buf_view(&p->in), "waiting"));
}

static void a_refused_connect_is_told_by_the_loop(void **state)
{
    peer *p = *state;
    close(p->listener);
    p->listener = -1;
    connect_stream(p);
    run_until_count(p->loop, &p->refused, 1);
    assert_int_equal(p->opened, 0);
}

static void closing_while_connecting_is_silent(void **state)
{
    peer *p = *state;
    connect_stream(p);
    sbx_stream_close(p->stream);
    p->stream = NULL;
    run_for(p->loop, 10);
    assert_int_equal(p->opened + p->refused + p->ended, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_go_both_ways_at_once),
        TEST(what_the_socket_does_not_take_is_queued_in_order),
        TEST(kept_bytes_are_not_copied_and_arrive),
        TEST(closing_with_a_full_queue_is_silent),
        TEST(shutdown_waits_for_the_queue),
        TEST(the_peers_end_is_told_once_and_writing_goes_on),
        TEST(a_reset_is_told_as_such),
        TEST(a_write_to_a_dead_peer_is_told_later_not_within),
        TEST(a_paused_stream_reads_nothing_until_it_is_resumed),
        TEST(a_refused_connect_is_told_by_the_loop),
        TEST(closing_while_connecting_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
