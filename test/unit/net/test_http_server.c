/* The HTTP server against raw sockets: answers, keep-alive, pipelining, streams, closing. */
#include "support_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- whole answers ---- */

static void a_request_is_answered_and_the_connection_kept(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_string_equal(expect_text(&c, "hello"),
                        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello");
    assert_true(f->last_was_loopback);
    sbx_buf_clear(&c.in);
    raw_send(c.fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nping");
    assert_has(expect_text(&c, "ping"), "200 OK");
    assert_int_equal(sbx_http_server_connections(f->server), 1);
    close_client(&c);
}

static void a_request_may_come_byte_by_byte(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    const char *text =
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n0\r\n\r\n";
    for (size_t i = 0; text[i] != 0; i++) {
        raw_send_bytes(c.fd, text + i, 1);
        run_for(f->loop, 0);
    }
    assert_has(expect_text(&c, "ping"), "content-length: 4");
    close_client(&c);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"
                   "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"
                   "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n3"
                   "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    sbx_http_request *second = held(f, 2);
    run_for(f->loop, 10);
    assert_int_equal(f->request_count, 2); /* one at a time */
    respond_text(second, "2");
    const char *text = expect_text(&c, "hello");
    const char *one = strstr(text, "\r\n\r\n1HTTP");
    const char *two = strstr(text, "\r\n\r\n2HTTP");
    const char *three = strstr(text, "\r\n\r\n3HTTP");
    assert_true(one != NULL && two > one && three > two);
    close_client(&c);
}

static void head_gets_the_length_but_no_body(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    sbx_http_request *stream = held(f, 2);
    write_text(stream, "more");
    sbx_http_end(stream);
    raw_send(c.fd, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    const char *text = expect_text(&c, "nothing here");
    assert_has(text, "content-length: 5\r\n\r\nHTTP/1.1 200 OK");
    assert_has(text, "transfer-encoding: chunked\r\n\r\nHTTP/1.1 404");
    assert_has_not(text, "first");
    close_client(&c);
}

static void connection_close_is_honoured(void **state)
{
    fixture *f = *state;
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    fixture_start(f);
    const char *text = raw_exchange(f, "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &buf);
    assert_has(text, "connection: close\r\n");
    assert_has(text, "hello");
    sbx_buf_deinit(&buf);
}

static void an_old_client_gets_what_it_understands(void **state)
{
    fixture *f = *state;
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    fixture_start(f);
    assert_has(raw_exchange(f, "GET /hello HTTP/1.0\r\n\r\n", &buf), "connection: close\r\n");

    client c = open_client(f);
    raw_send(c.fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_has(expect_text(&c, "hello"), "connection: keep-alive\r\n");
    raw_send(c.fd, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    sbx_http_request *stream = held(f, 3);
    write_text(stream, ", second");
    sbx_http_end(stream);
    const char *text = expect_end(&c);
    assert_has(text, "\r\n\r\nfirst, second");
    assert_has_not(text, "chunked");
    close_client(&c);
    sbx_buf_deinit(&buf);
}

static void a_status_without_body_gets_neither_body_nor_length(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(sbx_http_respond(held(f, 1), 204, NULL, 0, NULL, 0), SBX_OK);
    assert_has(expect_text(&c, "hello"), "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200");
    close_client(&c);
}

static void a_header_value_cannot_break_out_of_its_line(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    const sbx_http_header header = {SBX_VIEW("x-model"), SBX_VIEW("a\r\nset-cookie: b\0c")};
    sbx_view body = SBX_VIEW("end");
    sbx_http_respond(held(f, 1), 200, &header, 1, &body, 1);
    assert_has(expect_text(&c, "end"), "x-model: a  set-cookie: b c\r\n");
    close_client(&c);
}

static void many_pieces_go_out_in_order(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    sbx_view pieces[40];
    char letters[40];
    for (size_t i = 0; i < 40; i++) {
        letters[i] = (char)('A' + i);
        pieces[i] = sbx_view_of(&letters[i], 1);
    }
    raw_send(c.fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    sbx_http_respond(held(f, 1), 200, NULL, 0, pieces, 40);
    assert_has(expect_text(&c, "gh"), "content-length: 40\r\n\r\nABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh");
    close_client(&c);
}

/* ---- streams ---- */

static void a_stream_sends_its_head_at_once_and_one_chunk_per_turn(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_string_equal(
        expect_text(&c, "first\r\n"),
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    sbx_http_request *stream = held(f, 1);
    sbx_buf_clear(&c.in);
    write_text(stream, "one ");
    write_text(stream, "");
    write_text(stream, "two");
    assert_string_equal(expect_text(&c, "two\r\n"), "7\r\none two\r\n");
    sbx_buf_clear(&c.in);
    write_text(stream, "last");
    sbx_http_end(stream);
    assert_string_equal(expect_text(&c, "0\r\n\r\n"), "4\r\nlast\r\n0\r\n\r\n");
    raw_send(c.fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    expect_text(&c, "hello");
    close_client(&c);
}

static void a_cut_stream_ends_without_the_last_chunk(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    sbx_http_cut(held(f, 1));
    assert_has_not(expect_end(&c), "0\r\n\r\n");
    assert_int_equal(f->gone_count, 0);
    assert_int_equal(sbx_http_server_connections(f->server), 0);
    close_client(&c);
}

static void a_slow_reader_fills_the_queue_and_drains_it(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client c = open_client(f);
    raw_send(c.fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    sbx_http_request *stream = held(f, 1);
    static char block[100000];
    memset(block, 'b', sizeof block);
    unsigned blocks = 0;
    while (!sbx_http_is_full(stream) && blocks < 1000) {
        sbx_view view = sbx_view_of(block, sizeof block);
        assert_int_equal(sbx_http_write(stream, &view, 1), SBX_OK);
        blocks++;
    }
    assert_true(sbx_http_is_full(stream));
    assert_int_equal(f->drained_count, 0);
    while (f->drained_count == 0) {
        sbx_buf_clear(&c.in);
        expect_text(&c, "b");
    }
    assert_int_equal(sbx_http_queued(stream), 0);
    write_text(stream, "a little more");
    expect_text(&c, "a little more");
    assert_int_equal(f->drained_count, 1); /* told once per fullness */
    sbx_http_end(stream);
    expect_text(&c, "0\r\n\r\n");
    close_client(&c);
}

/* ---- large bodies ---- */

static bool all_sent(void *user)
{
    struct {
        int fd;
        const char *data;
        size_t len;
    } *job = user;
    ssize_t count = send(job->fd, job->data, job->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) {
        job->data += count;
        job->len -= (size_t)count;
    }
    return job->len == 0;
}

static void a_body_of_megabytes_is_echoed_unchanged(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    enum {
        SIZE = 8 * 1024 * 1024
    };
    char *body = malloc(SIZE);
    assert_non_null(body);
    for (size_t i = 0; i < SIZE; i++)
        body[i] = (char)(i * 31 + i / 7);
    client c = open_client(f);
    raw_send(c.fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n");
    struct {
        int fd;
        const char *data;
        size_t len;
    } job = {c.fd, body, SIZE};
    run_until(f->loop, all_sent, &job);
    const char *head = expect_text(&c, "\r\n\r\n");
    size_t head_len = (size_t)(strstr(head, "\r\n\r\n") + 4 - head);
    raw_read_bytes(f->loop, c.fd, &c.in, head_len + SIZE);
    assert_memory_equal(c.in.data + c.in.len - SIZE, body, SIZE);
    free(body);
    close_client(&c);
}

/* ---- closing ---- */

static void closing_ends_idle_connections_and_lets_work_finish(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client idle = open_client(f), busy = open_client(f);
    raw_send(idle.fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    expect_text(&idle, "hello");
    raw_send(busy.fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    sbx_http_request *request = held(f, 2);
    sbx_http_server_close(f->server);
    expect_end(&idle);
    assert_int_equal(sbx_http_server_connections(f->server), 1);
    respond_text(request, "last");
    assert_has(expect_end(&busy), "connection: close\r\n");
    assert_int_equal(sbx_http_server_connections(f->server), 0);
    close_client(&idle);
    close_client(&busy);
}

static void freeing_the_server_tells_each_request_at_work(void **state)
{
    fixture *f = *state;
    fixture_start(f);
    client a = open_client(f), b = open_client(f);
    raw_send(a.fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    raw_send(b.fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    held(f, 2);
    sbx_http_server_free(f->server);
    f->server = NULL;
    assert_int_equal(f->gone_count, 2);
    close_client(&a);
    close_client(&b);
}

static void an_address_in_use_is_told(void **state)
{
    fixture *f = *state;
    sbx_errinfo info = {0};
    uint16_t port = 0;
    fixture_start(f);
    assert_int_equal(sbx_http_server_listen(f->server, "127.0.0.1", f->port, &port, &info), SBX_E_EXISTS);
    assert_has(info.text, "127.0.0.1 port");
    assert_int_equal(sbx_http_server_listen(f->server, "300.1.1.1", 0, &port, &info), SBX_E_IO);
}

static void a_port_may_be_shared_on_request(void **state)
{
    fixture *f = *state;
    uint16_t port = 0;
    f->options.shares_port = true;
    fixture_start(f);
    assert_int_equal(sbx_http_server_listen(f->server, "127.0.0.1", f->port, &port, NULL), SBX_OK);
    assert_int_equal(port, f->port);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_answered_and_the_connection_kept),
        TEST(a_request_may_come_byte_by_byte),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(head_gets_the_length_but_no_body),
        TEST(connection_close_is_honoured),
        TEST(an_old_client_gets_what_it_understands),
        TEST(a_status_without_body_gets_neither_body_nor_length),
        TEST(a_header_value_cannot_break_out_of_its_line),
        TEST(many_pieces_go_out_in_order),
        TEST(a_stream_sends_its_head_at_once_and_one_chunk_per_turn),
        TEST(a_cut_stream_ends_without_the_last_chunk),
        TEST(a_slow_reader_fills_the_queue_and_drains_it),
        TEST(a_body_of_megabytes_is_echoed_unchanged),
        TEST(closing_ends_idle_connections_and_lets_work_finish),
        TEST(freeing_the_server_tells_each_request_at_work),
        TEST(an_address_in_use_is_told),
        TEST(a_port_may_be_shared_on_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
