/* The HTTP client: plain calls, connecting, cancelling, pausing. */
#include "support_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

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
