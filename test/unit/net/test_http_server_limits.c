/* The HTTP server against raw sockets that send too much, too slowly, or malformed requests, or that leave.
 */
#include "support_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit/net/strictness.h"

/* ---- refusals ---- */

static void expect_refusal(fixture *f, const char *request, const char *status)
{
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    const char *text = raw_exchange(f, request, &buf);
    assert_has(text, status);
    assert_has(text, "connection: close\r\n");
    assert_has(text, "content-type: application/json\r\n");
    assert_has(text, "{\"error\":");
    sbx_buf_deinit(&buf);
}

static void every_malformed_row_gets_4xx_over_a_socket(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    for (size_t i = 0; i < STRICT_ROW_COUNT; i++) {
        const strict_row *row = &strict_rows[i];
        char bytes[2048];
        if (row->is_fine || (row->request_line != NULL && row->request_line[0] == 0))
            continue;
        int len = snprintf(bytes, sizeof bytes, "%s\r\n%s",
                           row->request_line == NULL ? "POST /echo HTTP/1.1" : row->request_line,
                           row->host == NULL ? "Host: x\r\n" : row->host);
        memcpy(bytes + len, row->rest, row->rest_len);
        client c = open_client(f);
        raw_send_bytes(c.fd, bytes, (size_t)len + row->rest_len);
        const char *text = expect_end(&c);
        if (strncmp(text, "HTTP/1.1 4", 10) != 0 && strncmp(text, "HTTP/1.1 505", 12) != 0)
            fail_msg("%s: found \"%s\"", row->name, text);
        if (strstr(text, "}HTTP/1.1") != NULL)
            fail_msg("%s was answered twice: \"%s\"", row->name, text);
        close_client(&c);
    }
    assert_int_equal(f->request_count, 0);
}

static void a_body_above_the_limit_gets_413(void **state)
{
    fixture *f = *state;
    f->options.max_body_bytes = 10;
    fixture_start(f);
    expect_refusal(f, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n12345678901", " 413 ");
    expect_refusal(f,
                   "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "6\r\n123456\r\n5\r\n12345\r\n0\r\n\r\n",
                   " 413 ");
    client c = open_client(f);
    raw_send(c.fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n1234567890");
    expect_text(&c, "1234567890");
    close_client(&c);
}

static void an_oversized_body_with_expect_is_refused_before_it_is_sent(void **state)
{
    fixture *f = *state;
    f->options.max_body_bytes = 10;
    fixture_start(f);
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    const char *text = raw_exchange(
        f, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n", &buf);
    assert_has(text, "HTTP/1.1 413");
    assert_has_not(text, " 100 ");
    sbx_buf_deinit(&buf);
}

static void all_bodies_together_are_bounded_with_503(void **state)
{
    fixture *f = *state;
    f->options.max_buffered_bytes = 10;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n123456");
    sbx_http_request *first = held(f, 1);
    expect_refusal(f, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n123456", " 503 ");
    respond_text(first, "done");
    expect_text(&c, "done");
    raw_send(c.fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabcdef");
    expect_text(&c, "abcdef"); /* the bytes of the first were given back */
    close_client(&c);
}

static void expect_100_continue_is_answered_before_the_body(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_string_equal(expect_text(&c, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    run_for(f->loop, 5);
    raw_send(c.fd, "pi");
    run_for(f->loop, 5);
    raw_send(c.fd, "ng");
    const char *text = expect_text(&c, "ping");
    assert_has_not(text + 5, "HTTP/1.1 100");
    close_client(&c);
}

static void another_expectation_gets_417(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    expect_refusal(f, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: tea\r\n\r\n", " 417 ");
}

static void a_client_still_sending_reads_the_refusal(void **state)
{
    fixture *f = *state;
    f->options.max_body_bytes = 10;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    static char block[50000];
    memset(block, 'b', sizeof block);
    run_for(f->loop, 10); /* the refusal is on its way; a plain close would reset it away */
    raw_send_bytes(c.fd, block, sizeof block);
    run_for(f->loop, 10);
    raw_send_bytes(c.fd, block, sizeof block);
    run_for(f->loop, 10);
    assert_has(expect_end(&c), "HTTP/1.1 413");
    close_client(&c);
}

static void connections_above_the_limit_get_503(void **state)
{
    fixture *f = *state;
    f->options.max_connections = 1;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    expect_text(&c, "hello");
    expect_refusal(f, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", " 503 ");
    close_client(&c);
}

/* ---- timeouts ---- */

static void a_slow_head_gets_408_however_it_trickles(void **state)
{
    fixture *f = *state;
    f->options.header_timeout_ns = SBX_MS(60);
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /hello HTTP/1.1\r\n");
    for (int i = 0; i < 4; i++) {
        run_for(f->loop, 20);
        send(c.fd, "X: y\r\n", 6, MSG_NOSIGNAL);
    }
    assert_has(expect_end(&c), "HTTP/1.1 408");
    close_client(&c);
}

static void a_silent_connection_is_closed_silently(void **state)
{
    fixture *f = *state;
    f->options.header_timeout_ns = SBX_MS(30);
    fixture_start(f);
    client c = open_client(f);
    assert_string_equal(expect_end(&c), "");
    close_client(&c);
}

static void a_stalled_body_gets_408(void **state)
{
    fixture *f = *state;
    f->options.body_timeout_ns = SBX_MS(30);
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123");
    assert_has(expect_end(&c), "HTTP/1.1 408");
    close_client(&c);
}

static void an_idle_connection_is_closed_after_keep_alive(void **state)
{
    fixture *f = *state;
    f->options.keep_alive_timeout_ns = SBX_MS(30);
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_has(expect_end(&c), "hello");
    close_client(&c);
}

static void work_is_not_bounded_by_the_servers_timeouts(void **state)
{
    fixture *f = *state;
    f->options.keep_alive_timeout_ns = f->options.header_timeout_ns = SBX_MS(20);
    f->options.body_timeout_ns = f->options.write_timeout_ns = SBX_MS(20);
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    sbx_http_request *request = held(f, 1);
    run_for(f->loop, 80);
    respond_text(request, "late");
    expect_text(&c, "late");
    close_client(&c);
}

static void a_client_that_does_not_read_is_given_up(void **state)
{
    fixture *f = *state;
    f->options.write_timeout_ns = SBX_MS(80);
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    sbx_http_request *stream = held(f, 1);
    static char block[100000];
    while (!sbx_http_is_full(stream)) {
        sbx_view view = sbx_view_of(block, sizeof block);
        assert_int_equal(sbx_http_write(stream, &view, 1), SBX_OK);
    }
    run_until_count(f->loop, &f->gone_count, 1);
    assert_int_equal(sbx_http_server_connections(f->server), 0);
    close_client(&c);
}

static void a_client_that_reads_slowly_is_not_given_up(void **state)
{
    fixture *f = *state;
    f->options.write_timeout_ns = SBX_MS(250);
    fixture_start(f);
    client c = open_client(f);
    int small = 64 * 1024;
    setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    raw_send(c.fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    sbx_http_request *stream = held(f, 1);
    static char block[1000000];
    for (int i = 0; i < 32; i++) {
        sbx_view view = sbx_view_of(block, sizeof block);
        assert_int_equal(sbx_http_write(stream, &view, 1), SBX_OK);
    }
    for (int i = 0; i < 10; i++) { /* half a second in all */
        size_t left = sbx_http_queued(stream);
        while (sbx_http_queued(stream) == left && left > 0) {
            sbx_buf_clear(&c.in);
            raw_read_bytes(f->loop, c.fd, &c.in, 100000);
            run_for(f->loop, 0);
        }
        run_for(f->loop, 50);
    }
    assert_true(sbx_http_queued(stream) > 0);
    assert_int_equal(f->gone_count, 0);
    sbx_http_cut(stream);
    close_client(&c);
}

/* ---- clients that leave ---- */

static void a_client_that_closes_during_work_is_noticed(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    held(f, 1);
    close_client(&c);
    run_until_count(f->loop, &f->gone_count, 1);
    assert_int_equal(sbx_http_server_connections(f->server), 0);
}

static void a_client_that_resets_during_a_stream_is_noticed(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    held(f, 1);
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close_client(&c);
    run_until_count(f->loop, &f->gone_count, 1);
}

static void a_half_close_during_work_counts_as_gone(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    held(f, 1);
    shutdown(c.fd, SHUT_WR);
    run_until_count(f->loop, &f->gone_count, 1);
    close_client(&c);
}

static void a_half_close_behind_pipelined_requests_is_served_to_the_end(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\nGET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    shutdown(c.fd, SHUT_WR);
    sbx_http_request *first = held(f, 1);
    run_for(f->loop, 10);
    respond_text(first, "one");
    respond_text(held(f, 2), "two");
    const char *text = expect_end(&c);
    assert_has(text, "one");
    assert_has(text, "two");
    assert_int_equal(f->gone_count, 0);
    close_client(&c);
}

static void a_client_that_leaves_inside_a_request_frees_its_bytes(void **state)
{
    fixture *f = *state;
    f->options.max_buffered_bytes = 10;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345678");
    run_for(f->loop, 10);
    close_client(&c);
    run_for(f->loop, 10);
    c = open_client(f);
    raw_send(c.fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabcdefghij");
    expect_text(&c, "abcdefghij");
    close_client(&c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_malformed_row_gets_4xx_over_a_socket),
        TEST(a_body_above_the_limit_gets_413),
        TEST(an_oversized_body_with_expect_is_refused_before_it_is_sent),
        TEST(all_bodies_together_are_bounded_with_503),
        TEST(expect_100_continue_is_answered_before_the_body),
        TEST(another_expectation_gets_417),
        TEST(a_client_still_sending_reads_the_refusal),
        TEST(connections_above_the_limit_get_503),
        TEST(a_slow_head_gets_408_however_it_trickles),
        TEST(a_silent_connection_is_closed_silently),
        TEST(a_stalled_body_gets_408),
        TEST(an_idle_connection_is_closed_after_keep_alive),
        TEST(work_is_not_bounded_by_the_servers_timeouts),
        TEST(a_client_that_does_not_read_is_given_up),
        TEST(a_client_that_reads_slowly_is_not_given_up),
        TEST(a_client_that_closes_during_work_is_noticed),
        TEST(a_client_that_resets_during_a_stream_is_noticed),
        TEST(a_half_close_during_work_counts_as_gone),
        TEST(a_half_close_behind_pipelined_requests_is_served_to_the_end),
        TEST(a_client_that_leaves_inside_a_request_frees_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
