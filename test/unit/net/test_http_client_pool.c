/* The HTTP client: its pool, and answers of raw engines that are framed otherwise or badly. */
#include "support_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit/net/strictness.h"

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
