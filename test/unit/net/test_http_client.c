/* The HTTP client: against our own server, and against raw sockets that answer badly. */
#include "support_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit/net/strictness.h"

/* The client under test, and a raw listener that plays the engine. */
typedef struct bench {
    fixture f;
    sbx_http_upstream *upstream;
    int listener;
    uint16_t raw_port;
    sbx_buf in; /* what the raw engine read */
} bench;

static int setup(void **state)
{
    bench *b = test_calloc(1, sizeof *b);
    fixture_init(&b->f);
    fixture_start(&b->f);
    b->listener = raw_listen(&b->raw_port);
    sbx_buf_init(&b->in, SIZE_MAX);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench *b = *state;
    sbx_http_upstream_free(b->upstream);
    fixture_stop(&b->f);
    close(b->listener);
    sbx_buf_deinit(&b->in);
    test_free(b);
    return 0;
}

static void use_server(bench *b)
{
    b->upstream = upstream_to(b->f.loop, b->f.port);
}

static void use_raw(bench *b)
{
    b->upstream = upstream_to(b->f.loop, b->raw_port);
}

static void get(bench *b, call_record *record, const char *target)
{
    record_start(record, b->upstream, "GET", target, NULL, 0);
}

static int accept_request(bench *b)
{
    int fd = raw_accept(b->f.loop, b->listener);
    raw_read_until(b->f.loop, fd, &b->in, "\r\n\r\n");
    return fd;
}

static void assert_body(const call_record *record, const char *wanted)
{
    if (!sbx_view_eq_cstr(sbx_buf_view(&record->body), wanted))
        fail_msg("wanted \"%s\", found \"%.*s\"", wanted, SBX_VIEW_ARG(sbx_buf_view(&record->body)));
}

static void assert_ended(const call_record *record, unsigned status, const char *body)
{
    if (record->fails > 0)
        fail_msg("failed: %s: %s", sbx_outcome_name(record->outcome), record->detail);
    assert_int_equal(record->ends, 1);
    assert_int_equal(record->sent, 1);
    assert_int_equal(record->heads, 1);
    assert_int_equal(record->status, status);
    assert_body(record, body);
}

static void assert_failed(const call_record *record, sbx_outcome outcome)
{
    assert_int_equal(record->ends, 0);
    assert_int_equal(record->fails, 1);
    assert_string_equal(sbx_outcome_name(record->outcome), sbx_outcome_name(outcome));
    assert_true(record->detail[0] != 0);
}

/* ---- the plain way ---- */

static void a_call_brings_back_the_answer(void **state)
{
    bench *b = *state;
    call_record record = {0};
    sbx_view body[] = {SBX_VIEW("two "), SBX_VIEW("pieces")};
    use_server(b);
    record_start(&record, b->upstream, "POST", "/echo", body, 2);
    run_until_finished(b->f.loop, &record);
    assert_ended(&record, 200, "two pieces");
    assert_string_equal(record.content_type, "text/plain");
    record_deinit(&record);
}

static void ignore_sent(void *user)
{
    (void)user;
}

static void the_request_is_written_as_it_should_be(void **state)
{
    bench *b = *state;
    call_record record = {0};
    const sbx_http_header headers[] = {{SBX_VIEW_INIT("x-a"), SBX_VIEW_INIT("1\r\nx-b: 2")}};
    sbx_view body = SBX_VIEW("{}");
    const sbx_http_call_params params = {.method = "POST",
                                         .target = SBX_VIEW("/v1/x?y"),
                                         .headers = headers,
                                         .header_count = 1,
                                         .body = &body,
                                         .body_count = 1};
    static const sbx_http_call_events events = {.on_sent = ignore_sent};
    char wanted[200];
    use_raw(b);
    assert_int_equal(sbx_http_call_start(b->upstream, &params, &events, &record, &record.call), SBX_OK);
    int fd = raw_accept(b->f.loop, b->listener);
    snprintf(wanted, sizeof wanted,
             "POST /v1/x?y HTTP/1.1\r\nhost: 127.0.0.1:%u\r\nx-a: 1  x-b: 2\r\ncontent-length: 2\r\n\r\n{}",
             (unsigned)b->raw_port);
    assert_string_equal(raw_read_until(b->f.loop, fd, &b->in, "{}"), wanted);
    sbx_http_call_cancel(record.call);
    close(fd);
}

static void a_large_body_arrives_whole_both_ways(void **state)
{
    bench *b = *state;
    enum {
        SIZE = 6 * 1024 * 1024
    };
    call_record record = {0};
    uint8_t *bytes = malloc(SIZE);
    assert_non_null(bytes);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i * 13 + i / 11);
    sbx_view body[] = {sbx_view_of(bytes, 1000), sbx_view_of(bytes + 1000, SIZE - 1000)};
    use_server(b);
    record_start(&record, b->upstream, "POST", "/echo", body, 2);
    run_until_finished(b->f.loop, &record);
    assert_int_equal(record.body.len, SIZE);
    assert_memory_equal(record.body.data, bytes, SIZE);
    free(bytes);
    record_deinit(&record);
}

static void a_stream_arrives_piece_by_piece(void **state)
{
    bench *b = *state;
    call_record record = {0};
    sbx_view second = SBX_VIEW(", second");
    use_server(b);
    get(b, &record, "/stream");
    run_until_count(b->f.loop, &record.heads, 1);
    run_until_count(b->f.loop, &b->f.request_count, 1);
    sbx_http_write(b->f.held[0], &second, 1);
    run_for(b->f.loop, 5);
    assert_body(&record, "first, second");
    assert_int_equal(record.finished, 0);
    sbx_http_end(b->f.held[0]);
    run_until_finished(b->f.loop, &record);
    assert_ended(&record, 200, "first, second");
    record_deinit(&record);
}

static void head_204_and_304_have_no_body_and_keep_the_connection(void **state)
{
    bench *b = *state;
    use_server(b);
    call_record head = {0}, hello = {0};
    record_start(&head, b->upstream, "HEAD", "/hello", NULL, 0);
    run_until_finished(b->f.loop, &head);
    assert_ended(&head, 200, "");
    get(b, &hello, "/hello");
    run_until_finished(b->f.loop, &hello);
    assert_ended(&hello, 200, "hello");
    assert_int_equal(sbx_http_server_connections(b->f.server), 1);
    record_deinit(&head);
    record_deinit(&hello);
}

static void a_name_is_resolved_off_the_loop(void **state)
{
    bench *b = *state;
    call_record records[3] = {{0}, {0}, {0}};
    const sbx_http_upstream_options options = {.host = "localhost",
                                               .port = b->f.port,
                                               .max_idle = 8,
                                               .idle_timeout_ns = SBX_SEC(60),
                                               .connect_timeout_ns = SBX_SEC(4),
                                               .max_head_bytes = SBX_HTTP_MAX_HEAD_BYTES};
    assert_int_equal(sbx_http_upstream_new(b->f.loop, &options, &b->upstream), SBX_OK);
    for (size_t i = 0; i < 3; i++)
        get(b, &records[i], "/hello");
    sbx_http_call_cancel(records[1].call); /* while it waits for the name */
    run_until_finished(b->f.loop, &records[0]);
    run_until_finished(b->f.loop, &records[2]);
    assert_ended(&records[0], 200, "hello"); /* ::1 refuses, 127.0.0.1 answers */
    assert_ended(&records[2], 200, "hello");
    assert_int_equal(records[1].finished, 0);
    for (size_t i = 0; i < 3; i++)
        record_deinit(&records[i]);
}

static void a_name_that_cannot_be_resolved_is_refused(void **state)
{
    bench *b = *state;
    char long_label[80] = {0};
    memset(long_label, 'a', 70); /* no label may be that long, so no server is asked */
    call_record record = {0};
    const sbx_http_upstream_options options = {.host = long_label,
                                               .port = 80,
                                               .connect_timeout_ns = SBX_SEC(4),
                                               .max_head_bytes = SBX_HTTP_MAX_HEAD_BYTES};
    assert_int_equal(sbx_http_upstream_new(b->f.loop, &options, &b->upstream), SBX_OK);
    get(b, &record, "/");
    run_until_finished(b->f.loop, &record);
    assert_failed(&record, SBX_OUTCOME_REFUSED);
    record_deinit(&record);
}

/* ---- the pool ---- */

static void connections_are_reused_last_in_first_out(void **state)
{
    bench *b = *state;
    use_raw(b);
    call_record first = {0}, second = {0}, third = {0};
    get(b, &first, "/1");
    int one = accept_request(b);
    get(b, &second, "/2");
    int two = accept_request(b);
    raw_send(one, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
    run_until_finished(b->f.loop, &first);
    raw_send(two, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb");
    run_until_finished(b->f.loop, &second);
    get(b, &third, "/3");
    sbx_buf_clear(&b->in);
    raw_read_until(b->f.loop, two, &b->in, "GET /3 HTTP/1.1\r\n");
    raw_send(two, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nc");
    run_until_finished(b->f.loop, &third);
    assert_ended(&third, 200, "c");
    close(one);
    close(two);
    record_deinit(&first);
    record_deinit(&second);
    record_deinit(&third);
}

static void a_stale_connection_is_replaced_once_unseen(void **state)
{
    bench *b = *state;
    use_raw(b);
    call_record first = {0}, second = {0};
    sbx_view body = SBX_VIEW("body");
    get(b, &first, "/1");
    int one = accept_request(b);
    raw_send(one, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    run_until_finished(b->f.loop, &first);
    close(one); /* not seen by the loop yet when the next call takes the connection */
    record_start(&second, b->upstream, "POST", "/2", &body, 1);
    int two = raw_accept(b->f.loop, b->listener);
    sbx_buf_clear(&b->in);
    const char *text = raw_read_until(b->f.loop, two, &b->in, "body");
    assert_non_null(strstr(text, "POST /2 HTTP/1.1\r\n"));
    raw_send(two, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    run_until_finished(b->f.loop, &second);
    assert_ended(&second, 200, "ok");
    close(two);
    record_deinit(&first);
    record_deinit(&second);
}

static void a_fresh_connection_that_closes_is_not_tried_again(void **state)
{
    bench *b = *state;
    use_raw(b);
    call_record record = {0};
    get(b, &record, "/");
    close(accept_request(b));
    run_until_finished(b->f.loop, &record);
    assert_failed(&record, SBX_OUTCOME_RESET);
    assert_int_equal(record.sent, 1);
    record_deinit(&record);
}

static void a_stale_connection_is_replaced_only_once(void **state)
{
    bench *b = *state;
    use_raw(b);
    call_record first = {0}, second = {0};
    get(b, &first, "/1");
    int one = accept_request(b);
    raw_send(one, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    run_until_finished(b->f.loop, &first);
    get(b, &second, "/2");
    close(one);
    close(accept_request(b));
    run_until_finished(b->f.loop, &second);
    assert_failed(&second, SBX_OUTCOME_RESET);
    record_deinit(&first);
    record_deinit(&second);
}

static void a_reused_connection_that_dies_after_one_byte_is_not_replaced(void **state)
{
    bench *b = *state;
    use_raw(b);
    call_record first = {0}, second = {0};
    get(b, &first, "/1");
    int one = accept_request(b);
    raw_send(one, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    run_until_finished(b->f.loop, &first);
    get(b, &second, "/2");
    sbx_buf_clear(&b->in);
    raw_read_until(b->f.loop, one, &b->in, "/2");
    raw_send(one, "H");
    run_for(b->f.loop, 5);
    close(one);
    run_until_finished(b->f.loop, &second);
    assert_failed(&second, SBX_OUTCOME_RESET);
    record_deinit(&first);
    record_deinit(&second);
}

/* Answers the first call with `answer`; tells whether the second call came over a fresh connection. */
static bool needs_fresh_connection_after(bench *b, const char *answer)
{
    call_record first = {0}, second = {0};
    use_raw(b);
    get(b, &first, "/1");
    int one = accept_request(b);
    raw_send(one, answer);
    run_until_finished(b->f.loop, &first);
    assert_int_equal(first.ends, 1);
    run_for(b->f.loop, 5);
    get(b, &second, "/2");
    run_for(b->f.loop, 5);
    int two = accept(b->listener, NULL, NULL);
    sbx_http_call_cancel(second.call);
    close(one);
    if (two >= 0)
        close(two);
    record_deinit(&first);
    record_deinit(&second);
    return two >= 0;
}

static void connection_close_is_respected(void **state)
{
    assert_true(needs_fresh_connection_after(
        *state, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na"));
}

static void an_http_1_0_answer_is_not_kept(void **state)
{
    assert_true(needs_fresh_connection_after(*state, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na"));
}

static void bytes_behind_an_answer_end_the_connection(void **state)
{
    assert_true(needs_fresh_connection_after(
        *state,
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"));
}

static void a_plain_answer_keeps_the_connection(void **state)
{
    assert_false(needs_fresh_connection_after(*state, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"));
}

static void bytes_on_an_idle_connection_end_it(void **state)
{
    bench *b = *state;
    use_raw(b);
    call_record first = {0};
    get(b, &first, "/1");
    int one = accept_request(b);
    raw_send(one, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    run_until_finished(b->f.loop, &first);
    raw_send(one, "HTTP/1.1 200 OK\r\n");
    sbx_buf_clear(&b->in);
    raw_read_to_end(b->f.loop, one, &b->in);
    close(one);
    record_deinit(&first);
}

static void the_pool_keeps_no_more_than_max_idle_and_not_for_ever(void **state)
{
    bench *b = *state;
    call_record records[5] = {{0}, {0}, {0}, {0}, {0}};
    const sbx_http_upstream_options options = {.host = "127.0.0.1",
                                               .port = b->f.port,
                                               .max_idle = 2,
                                               .idle_timeout_ns = SBX_MS(50),
                                               .connect_timeout_ns = SBX_SEC(2),
                                               .max_head_bytes = SBX_HTTP_MAX_HEAD_BYTES};
    assert_int_equal(sbx_http_upstream_new(b->f.loop, &options, &b->upstream), SBX_OK);
    for (size_t i = 0; i < 5; i++)
        get(b, &records[i], "/hello");
    for (size_t i = 0; i < 5; i++)
        run_until_finished(b->f.loop, &records[i]);
    run_for(b->f.loop, 10);
    assert_int_equal(sbx_http_server_connections(b->f.server), 2);
    run_for(b->f.loop, 90);
    assert_int_equal(sbx_http_server_connections(b->f.server), 0);
    for (size_t i = 0; i < 5; i++)
        record_deinit(&records[i]);
}

/* ---- answers that are framed otherwise or badly ---- */

static call_record exchange(bench *b, const void *answer, size_t len, bool then_close)
{
    call_record record = {0};
    if (b->upstream == NULL)
        use_raw(b);
    get(b, &record, "/");
    int fd = accept_request(b);
    raw_send_bytes(fd, answer, len);
    if (then_close)
        shutdown(fd, SHUT_WR);
    run_until_finished(b->f.loop, &record);
    close(fd);
    sbx_buf_clear(&b->in);
    return record;
}

static call_record exchange_text(bench *b, const char *answer, bool then_close)
{
    return exchange(b, answer, strlen(answer), then_close);
}

static void an_answer_without_framing_ends_with_the_connection(void **state)
{
    call_record record = exchange_text(*state, "HTTP/1.1 200 OK\r\n\r\nall of it", /* then_close= */ true);
    assert_ended(&record, 200, "all of it");
    record_deinit(&record);
}

static void interim_answers_are_swallowed(void **state)
{
    call_record record =
        exchange_text(*state,
                      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                      false);
    assert_ended(&record, 200, "ok");
    record_deinit(&record);
}

static void switching_protocols_is_malformed(void **state)
{
    call_record record = exchange_text(
        *state, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", false);
    assert_failed(&record, SBX_OUTCOME_MALFORMED);
    record_deinit(&record);
}

static void a_body_shorter_than_its_length_is_a_reset(void **state)
{
    call_record record = exchange_text(*state, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", true);
    assert_failed(&record, SBX_OUTCOME_RESET);
    assert_body(&record, "short");
    record_deinit(&record);
}

static void chunks_without_an_end_are_a_reset(void **state)
{
    call_record record =
        exchange_text(*state, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true);
    assert_failed(&record, SBX_OUTCOME_RESET);
    assert_body(&record, "abc");
    record_deinit(&record);
}

static void a_head_above_the_limit_is_malformed(void **state)
{
    bench *b = *state;
    sbx_buf answer;
    sbx_buf_init(&answer, SIZE_MAX);
    sbx_buf_append_cstr(&answer, "HTTP/1.1 200 OK\r\nX: ");
    for (size_t i = 0; i < SBX_HTTP_MAX_HEAD_BYTES; i++)
        sbx_buf_append_byte(&answer, 'x');
    call_record record = exchange(b, answer.data, answer.len, false);
    assert_failed(&record, SBX_OUTCOME_MALFORMED);
    record_deinit(&record);
    sbx_buf_deinit(&answer);
}

static void every_malformed_row_is_malformed_over_a_socket(void **state)
{
    bench *b = *state;
    for (size_t i = 0; i < STRICT_ROW_COUNT; i++) {
        const strict_row *row = &strict_rows[i];
        char bytes[2048];
        if (row->is_fine || (row->status_line != NULL && row->status_line[0] == 0))
            continue;
        int len = snprintf(bytes, sizeof bytes, "%s\r\n",
                           row->status_line == NULL ? "HTTP/1.1 200 OK" : row->status_line);
        memcpy(bytes + len, row->rest, row->rest_len);
        call_record record = exchange(b, bytes, (size_t)len + row->rest_len, true);
        if (record.fails != 1 || record.outcome != SBX_OUTCOME_MALFORMED)
            fail_msg("%s: ends %u, outcome %s", row->name, record.ends, sbx_outcome_name(record.outcome));
        record_deinit(&record);
    }
}

/* The bytes of the answer come one by one, each in a read of its own. */
static void an_answer_may_come_byte_by_byte(void **state)
{
    bench *b = *state;
    call_record record = {0};
    const char *answer =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\nT: u\r\n\r\n";
    use_raw(b);
    get(b, &record, "/");
    int fd = accept_request(b);
    for (size_t i = 0; answer[i] != 0; i++) {
        raw_send_bytes(fd, answer + i, 1);
        run_for(b->f.loop, 0);
    }
    run_until_finished(b->f.loop, &record);
    assert_ended(&record, 200, "abc");
    close(fd);
    record_deinit(&record);
}

static void an_early_answer_is_heard_though_the_request_was_not_taken(void **state)
{
    bench *b = *state;
    enum {
        SIZE = 16 * 1024 * 1024
    };
    call_record record = {0};
    uint8_t *bytes = calloc(1, SIZE);
    sbx_view body = sbx_view_of(bytes, SIZE);
    use_raw(b);
    record_start(&record, b->upstream, "POST", "/", &body, 1);
    int fd = accept_request(b);
    raw_send(fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    run_until_finished(b->f.loop, &record);
    assert_ended(&record, 413, "big");
    call_record next = {0};
    get(b, &next, "/next"); /* not over a connection that still owes the rest of a request */
    run_for(b->f.loop, 5);
    int other = accept(b->listener, NULL, NULL);
    assert_true(other >= 0);
    sbx_http_call_cancel(next.call);
    record_deinit(&next);
    close(other);
    close(fd);
    free(bytes);
    record_deinit(&record);
}

/* ---- connecting ---- */

static void a_refused_connection_is_refused(void **state)
{
    bench *b = *state;
    call_record record = {0};
    use_raw(b);
    close(b->listener);
    b->listener = -1;
    get(b, &record, "/");
    run_until_finished(b->f.loop, &record);
    assert_failed(&record, SBX_OUTCOME_REFUSED);
    assert_int_equal(record.sent, 0);
    record_deinit(&record);
}

static void a_connection_that_never_comes_is_a_connect_timeout(void **state)
{
    bench *b = *state;
    call_record record = {0};
    uint16_t port = 0;
    /* A listener whose backlog is full: further connects hang. */
    int full = raw_listen(&port);
    assert_int_equal(listen(full, 0), 0);
    int fillers[4];
    for (size_t i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        struct sockaddr_in address = {
            .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        (void)!connect(fillers[i], (struct sockaddr *)&address, sizeof address);
    }
    const sbx_http_upstream_options options = {.host = "127.0.0.1",
                                               .port = port,
                                               .max_idle = 8,
                                               .idle_timeout_ns = SBX_SEC(60),
                                               .connect_timeout_ns = SBX_MS(50),
                                               .max_head_bytes = SBX_HTTP_MAX_HEAD_BYTES};
    assert_int_equal(sbx_http_upstream_new(b->f.loop, &options, &b->upstream), SBX_OK);
    get(b, &record, "/");
    run_until_finished(b->f.loop, &record);
    assert_failed(&record, SBX_OUTCOME_CONNECT_TIMEOUT);
    for (size_t i = 0; i < 4; i++)
        close(fillers[i]);
    close(full);
    record_deinit(&record);
}

/* ---- stopping ---- */

static void cancelling_closes_the_connection_and_says_nothing_more(void **state)
{
    bench *b = *state;
    use_server(b);
    call_record record = {0};
    get(b, &record, "/stream");
    run_until_count(b->f.loop, &record.heads, 1);
    sbx_http_call_cancel(record.call);
    run_until_count(b->f.loop, &b->f.gone_count, 1);
    assert_int_equal(record.finished, 0);
    record_deinit(&record);
}

static void cancelling_before_the_connection_is_there_is_silent(void **state)
{
    bench *b = *state;
    use_server(b);
    call_record record = {0};
    get(b, &record, "/hello");
    sbx_http_call_cancel(record.call);
    run_for(b->f.loop, 10);
    assert_int_equal(record.sent + record.heads + record.finished, 0);
    record_deinit(&record);
}

static void cancel_in_body(call_record *record)
{
    sbx_http_call_cancel(record->call);
}

static void a_callback_may_cancel_its_own_call(void **state)
{
    bench *b = *state;
    use_raw(b);
    call_record record = {.on_body = cancel_in_body};
    get(b, &record, "/");
    int fd = accept_request(b);
    raw_send(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
    run_for(b->f.loop, 20);
    assert_body(&record, "a");
    assert_int_equal(record.finished, 0);
    close(fd);
    record_deinit(&record);
}

static void freeing_the_upstream_ends_its_calls_silently(void **state)
{
    bench *b = *state;
    use_server(b);
    call_record streaming = {0}, connecting = {0};
    get(b, &streaming, "/stream");
    run_until_count(b->f.loop, &streaming.heads, 1);
    get(b, &connecting, "/hello");
    sbx_http_upstream_free(b->upstream);
    b->upstream = NULL;
    run_until_count(b->f.loop, &b->f.gone_count, 1);
    assert_int_equal(streaming.finished + connecting.finished, 0);
    record_deinit(&streaming);
    record_deinit(&connecting);
}

static void a_paused_call_reads_nothing_and_slows_the_sender(void **state)
{
    bench *b = *state;
    use_server(b);
    call_record record = {0};
    static char block[64 * 1024];
    sbx_view view = sbx_view_of(block, sizeof block);
    get(b, &record, "/stream");
    run_until_count(b->f.loop, &record.heads, 1);
    sbx_http_request *stream = b->f.held[0];
    run_for(b->f.loop, 5);
    sbx_http_call_pause(record.call);
    size_t before = record.body.len;
    for (int i = 0; i < 500 && !sbx_http_is_full(stream); i++) {
        sbx_http_write(stream, &view, 1);
        run_for(b->f.loop, 0);
    }
    assert_true(sbx_http_is_full(stream));
    assert_int_equal(record.body.len, before);
    sbx_http_call_resume(record.call);
    run_until_count(b->f.loop, &b->f.drained_count, 1);
    sbx_http_end(stream);
    run_until_finished(b->f.loop, &record);
    assert_int_equal(record.ends, 1);
    record_deinit(&record);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_brings_back_the_answer),
        TEST(the_request_is_written_as_it_should_be),
        TEST(a_large_body_arrives_whole_both_ways),
        TEST(a_stream_arrives_piece_by_piece),
        TEST(head_204_and_304_have_no_body_and_keep_the_connection),
        TEST(a_name_is_resolved_off_the_loop),
        TEST(a_name_that_cannot_be_resolved_is_refused),
        TEST(connections_are_reused_last_in_first_out),
        TEST(a_stale_connection_is_replaced_once_unseen),
        TEST(a_fresh_connection_that_closes_is_not_tried_again),
        TEST(a_stale_connection_is_replaced_only_once),
        TEST(a_reused_connection_that_dies_after_one_byte_is_not_replaced),
        TEST(connection_close_is_respected),
        TEST(an_http_1_0_answer_is_not_kept),
        TEST(bytes_behind_an_answer_end_the_connection),
        TEST(a_plain_answer_keeps_the_connection),
        TEST(bytes_on_an_idle_connection_end_it),
        TEST(the_pool_keeps_no_more_than_max_idle_and_not_for_ever),
        TEST(an_answer_without_framing_ends_with_the_connection),
        TEST(interim_answers_are_swallowed),
        TEST(switching_protocols_is_malformed),
        TEST(a_body_shorter_than_its_length_is_a_reset),
        TEST(chunks_without_an_end_are_a_reset),
        TEST(a_head_above_the_limit_is_malformed),
        TEST(every_malformed_row_is_malformed_over_a_socket),
        TEST(an_answer_may_come_byte_by_byte),
        TEST(an_early_answer_is_heard_though_the_request_was_not_taken),
        TEST(a_refused_connection_is_refused),
        TEST(a_connection_that_never_comes_is_a_connect_timeout),
        TEST(cancelling_closes_the_connection_and_says_nothing_more),
        TEST(cancelling_before_the_connection_is_there_is_silent),
        TEST(a_callback_may_cancel_its_own_call),
        TEST(freeing_the_upstream_ends_its_calls_silently),
        TEST(a_paused_call_reads_nothing_and_slows_the_sender),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
