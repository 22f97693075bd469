/* The HTTP server against raw sockets: answers, keep-alive, pipelining, limits, timeouts, clients that leave.
 */
#include "support_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit/net/strictness.h"

static int setup(void **state)
{
    fixture *f = test_calloc(1, sizeof *f);
    fixture_init(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_stop(*state);
    test_free(*state);
    return 0;
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("wanted \"%s\" in \"%s\"", part, text);
}

static void assert_has_not(const char *text, const char *part)
{
    if (strstr(text, part) != NULL)
        fail_msg("did not want \"%s\" in \"%s\"", part, text);
}

/* A connection with what it received. */
typedef struct client {
    fixture *f;
    int fd;
    sbx_buf in;
} client;

static client open_client(fixture *f)
{
    client c = {.f = f, .fd = raw_connect(f->port)};
    sbx_buf_init(&c.in, SIZE_MAX);
    return c;
}

static void close_client(client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    sbx_buf_deinit(&c->in);
}

static const char *expect_text(client *c, const char *text)
{
    return raw_read_until(c->f->loop, c->fd, &c->in, text);
}

static const char *expect_end(client *c)
{
    return raw_read_to_end(c->f->loop, c->fd, &c->in);
}

static sbx_http_request *held(fixture *f, unsigned count)
{
    run_until_count(f->loop, &f->request_count, count);
    assert_true(f->held_count > 0);
    return f->held[f->held_count - 1];
}

static void respond_text(sbx_http_request *request, const char *text)
{
    sbx_view view = sbx_view_cstr(text);
    assert_int_equal(sbx_http_respond(request, 200, NULL, 0, &view, 1), SBX_OK);
}

static void write_text(sbx_http_request *request, const char *text)
{
    sbx_view view = sbx_view_cstr(text);
    assert_int_equal(sbx_http_write(request, &view, 1), SBX_OK);
}

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
        TEST(closing_ends_idle_connections_and_lets_work_finish),
        TEST(freeing_the_server_tells_each_request_at_work),
        TEST(an_address_in_use_is_told),
        TEST(a_port_may_be_shared_on_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
