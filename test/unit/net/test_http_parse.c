/* The parser alone: strictness as requests and as responses, limits, framing, and that no split of the bytes
 * changes anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "net/http_parse.h"
#include "unit/net/strictness.h"

/* What a parser made of some bytes. */
typedef struct result {
    sbx_http_fed fed;
    unsigned status; /* of the problem */
    size_t used;
    sbx_buf body;
    sbx_buf head; /* method, target, fields as text */
    sbx_http_framing framing;
} result;

static bool on_head(void *user, const sbx_http_head *head, const sbx_http_framing *framing)
{
    result *r = user;
    r->framing = *framing;
    sbx_buf_appendf(&r->head, "%.*s|%.*s|%.*s|%u|1.%u\n", SBX_VIEW_ARG(head->method),
                    SBX_VIEW_ARG(head->path), SBX_VIEW_ARG(head->query), head->status, head->minor_version);
    for (size_t i = 0; i < head->header_count; i++)
        sbx_buf_appendf(&r->head, "%.*s=%.*s\n", SBX_VIEW_ARG(head->headers[i].name),
                        SBX_VIEW_ARG(head->headers[i].value));
    return true;
}

static bool on_body(void *user, sbx_view bytes)
{
    result *r = user;
    sbx_buf_append_view(&r->body, bytes);
    return true;
}

static const sbx_http_parse_events events = {.on_head = on_head, .on_body = on_body};

/* Feeds a copy of exactly the right size, so that sanitizers see overreads. */
static sbx_http_fed feed(sbx_http_parser *parser, sbx_view bytes, size_t *ret_used)
{
    uint8_t *copy = malloc(bytes.len + (bytes.len == 0));
    assert_non_null(copy);
    memcpy(copy, bytes.data, bytes.len);
    sbx_http_fed fed = sbx_http_parser_feed(parser, sbx_view_of(copy, bytes.len), ret_used);
    free(copy);
    return fed;
}

/* Pieces of `step` bytes after a first one of `first` bytes. */
static result parse_in_steps(sbx_http_kind kind, sbx_view bytes, size_t first, size_t step)
{
    sbx_http_parser *parser = NULL;
    result r = {.fed = SBX_HTTP_FED_MORE};
    sbx_buf_init(&r.body, SIZE_MAX);
    sbx_buf_init(&r.head, SIZE_MAX);
    assert_int_equal(sbx_http_parser_new(kind, SBX_HTTP_MAX_HEAD_BYTES, &events, &r, &parser), SBX_OK);
    size_t next = first;
    while (r.fed == SBX_HTTP_FED_MORE && r.used < bytes.len) {
        size_t used = 0;
        r.fed = feed(parser, sbx_view_slice(bytes, r.used, next), &used);
        r.used += used;
        next = step;
    }
    r.status = sbx_http_parser_problem(parser)->status;
    sbx_http_parser_free(parser);
    return r;
}

static result parse(sbx_http_kind kind, sbx_view bytes)
{
    return parse_in_steps(kind, bytes, SIZE_MAX, SIZE_MAX);
}

static void result_deinit(result *r)
{
    sbx_buf_deinit(&r->body);
    sbx_buf_deinit(&r->head);
}

static void assert_same(const char *name, const result *whole, result *split)
{
    bool same = whole->fed == split->fed && whole->status == split->status &&
                (whole->fed == SBX_HTTP_FED_BAD || whole->used == split->used) &&
                sbx_view_eq(sbx_buf_view(&whole->body), sbx_buf_view(&split->body)) &&
                sbx_view_eq(sbx_buf_view(&whole->head), sbx_buf_view(&split->head));
    if (!same)
        fail_msg("%s: whole %d/%u used %zu body %zu, split %d/%u used %zu body %zu", name, (int)whole->fed,
                 whole->status, whole->used, whole->body.len, (int)split->fed, split->status, split->used,
                 split->body.len);
    result_deinit(split);
}

static void assert_split_invariant(const char *name, sbx_http_kind kind, sbx_view bytes, const result *whole)
{
    result split = parse_in_steps(kind, bytes, 1, 1);
    assert_same(name, whole, &split);
    for (size_t at = 1; at < bytes.len; at++) {
        split = parse_in_steps(kind, bytes, at, SIZE_MAX);
        assert_same(name, whole, &split);
    }
}

/* ---- strictness ---- */

static void check_row(const strict_row *row, sbx_http_kind kind, const char *start, const char *host)
{
    char bytes[2048];
    int len = snprintf(bytes, sizeof bytes, "%s\r\n%s", start, host);
    memcpy(bytes + len, row->rest, row->rest_len);
    sbx_view view = sbx_view_of(bytes, (size_t)len + row->rest_len);
    result whole = parse(kind, view);
    sbx_http_fed wanted = row->is_fine ? SBX_HTTP_FED_DONE : SBX_HTTP_FED_BAD;
    if (whole.fed != wanted)
        fail_msg("%s \"%s\": wanted %d, found %d", kind == SBX_HTTP_REQUEST ? "request" : "response",
                 row->name, (int)wanted, (int)whole.fed);
    if (row->is_fine)
        assert_int_equal(whole.used, view.len);
    else
        assert_in_range(whole.status, 400, 505);
    assert_split_invariant(row->name, kind, view, &whole);
    result_deinit(&whole);
}

static void every_request_row_of_the_table_gets_its_verdict_however_it_is_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < STRICT_ROW_COUNT; i++) {
        const strict_row *row = &strict_rows[i];
        if (row->request_line != NULL && row->request_line[0] == 0)
            continue;
        check_row(row, SBX_HTTP_REQUEST,
                  row->request_line == NULL ? "POST /v1/chat/completions HTTP/1.1" : row->request_line,
                  row->host == NULL ? "Host: x\r\n" : row->host);
    }
}

static void every_row_gets_its_verdict_as_a_response_too(void **state)
{
    (void)state;
    for (size_t i = 0; i < STRICT_ROW_COUNT; i++) {
        const strict_row *row = &strict_rows[i];
        if (row->status_line != NULL && row->status_line[0] == 0)
            continue;
        check_row(row, SBX_HTTP_RESPONSE, row->status_line == NULL ? "HTTP/1.1 200 OK" : row->status_line,
                  "");
    }
}

/* ---- limits ---- */

static void append_fields(sbx_buf *buf, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sbx_buf_appendf(buf, "X%zu: y\r\n", i);
}

static void check_limit(const sbx_buf *message, sbx_http_fed wanted)
{
    result r = parse(SBX_HTTP_REQUEST, sbx_buf_view(message));
    assert_int_equal(r.fed, wanted);
    if (wanted == SBX_HTTP_FED_BAD)
        assert_int_equal(r.status, 431);
    result stepped = parse_in_steps(SBX_HTTP_REQUEST, sbx_buf_view(message), 7, 1000);
    assert_same("limit", &r, &stepped);
    result_deinit(&r);
}

static void a_hundred_fields_pass_and_one_more_gets_431(void **state)
{
    (void)state;
    sbx_buf message;
    sbx_buf_init(&message, SIZE_MAX);
    sbx_buf_append_cstr(&message, "GET / HTTP/1.1\r\nHost: x\r\n");
    append_fields(&message, SBX_HTTP_MAX_HEADERS - 1);
    size_t fine = message.len;
    sbx_buf_append_cstr(&message, "\r\n");
    check_limit(&message, SBX_HTTP_FED_DONE);
    sbx_buf_truncate(&message, fine);
    sbx_buf_append_cstr(&message, "One-More: 1\r\n\r\n");
    check_limit(&message, SBX_HTTP_FED_BAD);
    sbx_buf_truncate(&message, fine);
    append_fields(&message, 10000);
    check_limit(&message, SBX_HTTP_FED_BAD);
    sbx_buf_deinit(&message);
}

static void append_long_head(sbx_buf *buf, size_t head_bytes)
{
    static const char *const start = "GET / HTTP/1.1\r\nHost: x\r\nLong: ";
    sbx_buf_append_cstr(buf, start);
    for (size_t i = strlen(start) + 4; i < head_bytes; i++)
        sbx_buf_append_byte(buf, 'a');
    sbx_buf_append_cstr(buf, "\r\n\r\n");
}

static void a_head_of_32_kib_passes_and_one_more_byte_gets_431(void **state)
{
    (void)state;
    static const size_t sizes[] = {SBX_HTTP_MAX_HEAD_BYTES, SBX_HTTP_MAX_HEAD_BYTES + 1, 1024 * 1024};
    for (size_t i = 0; i < 3; i++) {
        sbx_buf message;
        sbx_buf_init(&message, SIZE_MAX);
        append_long_head(&message, sizes[i]);
        check_limit(&message, i == 0 ? SBX_HTTP_FED_DONE : SBX_HTTP_FED_BAD);
        sbx_buf_deinit(&message);
    }
}

static void trailers_are_bounded_like_heads(void **state)
{
    (void)state;
    sbx_buf message;
    sbx_buf_init(&message, SIZE_MAX);
    sbx_buf_append_cstr(&message, "POST / HTTP/1.1\r\nHost: x\r\n" STRICT_TE "\r\n0\r\n");
    append_fields(&message, SBX_HTTP_MAX_HEADERS + 1);
    sbx_buf_append_cstr(&message, "\r\n");
    check_limit(&message, SBX_HTTP_FED_BAD);
    sbx_buf_deinit(&message);
}

static result parse_extension(size_t len)
{
    sbx_buf message;
    sbx_buf_init(&message, SIZE_MAX);
    sbx_buf_append_cstr(&message, "POST / HTTP/1.1\r\nHost: x\r\n" STRICT_TE "\r\n1;");
    for (size_t i = 0; i < len; i++)
        sbx_buf_append_byte(&message, 'e');
    sbx_buf_append_cstr(&message, "\r\nA\r\n0\r\n\r\n");
    result r = parse(SBX_HTTP_REQUEST, sbx_buf_view(&message));
    assert_split_invariant("extension", SBX_HTTP_REQUEST, sbx_buf_view(&message), &r);
    sbx_buf_deinit(&message);
    return r;
}

static void a_chunk_extension_above_256_bytes_is_refused(void **state)
{
    (void)state;
    result fits = parse_extension(SBX_HTTP_MAX_CHUNK_EXTENSION);
    assert_int_equal(fits.fed, SBX_HTTP_FED_DONE);
    result_deinit(&fits);
    result too_long = parse_extension(SBX_HTTP_MAX_CHUNK_EXTENSION + 1);
    assert_int_equal(too_long.fed, SBX_HTTP_FED_BAD);
    result_deinit(&too_long);
}

/* ---- what comes out ---- */

static result parse_text(sbx_http_kind kind, const char *text)
{
    result whole = parse(kind, sbx_view_cstr(text));
    assert_split_invariant(text, kind, sbx_view_cstr(text), &whole);
    return whole;
}

static void assert_head(result *r, const char *wanted)
{
    sbx_buf_append_byte(&r->head, 0);
    assert_string_equal((const char *)r->head.data, wanted);
    result_deinit(r);
}

static void a_request_is_taken_apart_and_its_values_are_trimmed(void **state)
{
    (void)state;
    result r =
        parse_text(SBX_HTTP_REQUEST, "GET /a/b?c=d&e HTTP/1.1\r\nHost: x:80\r\nA:  b c \t\r\nEmpty:\r\n\r\n");
    assert_int_equal(r.fed, SBX_HTTP_FED_DONE);
    assert_head(&r, "GET|/a/b|c=d&e|0|1.1\nHost=x:80\nA=b c\nEmpty=\n");
}

static void an_absolute_target_is_reduced_to_its_path(void **state)
{
    (void)state;
    result r = parse_text(SBX_HTTP_REQUEST, "GET http://x:1/a?b HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_head(&r, "GET|/a|b|0|1.1\nHost=x\n");
    r = parse_text(SBX_HTTP_REQUEST, "GET HTTPS://x HTTP/1.0\r\n\r\n");
    assert_head(&r, "GET|/||0|1.0\n");
    r = parse_text(SBX_HTTP_REQUEST, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_head(&r, "OPTIONS|*||0|1.1\nHost=x\n");
}

static void one_empty_line_before_a_request_is_forgiven(void **state)
{
    (void)state;
    result r = parse_text(SBX_HTTP_REQUEST, "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(r.fed, SBX_HTTP_FED_DONE);
    assert_head(&r, "GET|/||0|1.1\nHost=x\n");
}

static void chunks_are_joined_and_trailers_dropped(void **state)
{
    (void)state;
    result r = parse_text(SBX_HTTP_REQUEST, "POST / HTTP/1.1\r\nHost: x\r\n" STRICT_TE
                                            "\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nContent-Length: 7\r\n\r\n");
    assert_int_equal(r.fed, SBX_HTTP_FED_DONE);
    assert_true(sbx_view_eq_cstr(sbx_buf_view(&r.body), "abcde"));
    assert_head(&r, "POST|/||0|1.1\nHost=x\nTransfer-Encoding=chunked\n");
}

static void what_follows_a_message_is_left_to_the_next_one(void **state)
{
    (void)state;
    const char *first = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    char both[256];
    snprintf(both, sizeof both, "%sGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", first);
    result r = parse_text(SBX_HTTP_REQUEST, both);
    assert_int_equal(r.fed, SBX_HTTP_FED_DONE);
    assert_int_equal(r.used, strlen(first));
    result_deinit(&r);
}

static void assert_keeps_alive(sbx_http_kind kind, const char *text, bool wanted)
{
    result r = parse_text(kind, text);
    assert_int_equal(r.framing.keeps_alive, wanted);
    result_deinit(&r);
}

static void keep_alive_follows_version_and_connection_header(void **state)
{
    (void)state;
    assert_keeps_alive(SBX_HTTP_REQUEST, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", true);
    assert_keeps_alive(SBX_HTTP_REQUEST, "GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, Close\r\n\r\n",
                       false);
    assert_keeps_alive(SBX_HTTP_REQUEST, "GET / HTTP/1.0\r\n\r\n", false);
    assert_keeps_alive(SBX_HTTP_REQUEST, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true);
    assert_keeps_alive(SBX_HTTP_RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true);
    assert_keeps_alive(SBX_HTTP_RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                       false);
    assert_keeps_alive(SBX_HTTP_RESPONSE, "HTTP/1.1 200 OK\r\n\r\n", false);
}

static void an_upgrade_is_detected_and_else_ignored(void **state)
{
    (void)state;
    result r =
        parse_text(SBX_HTTP_REQUEST,
                   "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nxyz");
    assert_int_equal(r.fed, SBX_HTTP_FED_DONE);
    assert_true(r.framing.wants_upgrade);
    result_deinit(&r);
}

static void expectations_are_told_apart(void **state)
{
    (void)state;
    result r = parse_text(SBX_HTTP_REQUEST, "GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n\r\n");
    assert_true(r.framing.expects_continue && !r.framing.expects_other);
    result_deinit(&r);
    r = parse_text(SBX_HTTP_REQUEST, "GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n");
    assert_true(!r.framing.expects_continue && r.framing.expects_other);
    result_deinit(&r);
}

static void bodyless_responses_end_with_their_head(void **state)
{
    (void)state;
    static const char *const heads[] = {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
                                        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                                        "HTTP/1.1 100 Continue\r\n\r\n",
                                        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"};
    for (size_t i = 0; i < 4; i++) {
        char text[128];
        snprintf(text, sizeof text, "%sHTTP/1.1 ...", heads[i]);
        result r = parse_text(SBX_HTTP_RESPONSE, text);
        assert_int_equal(r.fed, SBX_HTTP_FED_DONE);
        assert_int_equal(r.used, strlen(heads[i]));
        result_deinit(&r);
    }
}

static void an_answer_to_head_has_no_body_whatever_it_says(void **state)
{
    (void)state;
    result r = {0};
    size_t used = 0;
    sbx_http_parser *parser = NULL;
    sbx_http_parser_new(SBX_HTTP_RESPONSE, SBX_HTTP_MAX_HEAD_BYTES, &events, &r, &parser);
    sbx_buf_init(&r.head, SIZE_MAX);
    sbx_http_parser_reset(parser, /* is_bodyless= */ true);
    assert_int_equal(feed(parser, SBX_VIEW("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), &used),
                     SBX_HTTP_FED_DONE);
    assert_true(r.framing.keeps_alive);
    sbx_http_parser_free(parser);
    result_deinit(&r);
}

static sbx_http_fed finish_after(const char *text)
{
    result r = {0};
    size_t used = 0;
    sbx_http_parser *parser = NULL;
    sbx_buf_init(&r.head, SIZE_MAX);
    sbx_buf_init(&r.body, SIZE_MAX);
    sbx_http_parser_new(SBX_HTTP_RESPONSE, SBX_HTTP_MAX_HEAD_BYTES, &events, &r, &parser);
    assert_int_equal(feed(parser, sbx_view_cstr(text), &used), SBX_HTTP_FED_MORE);
    sbx_http_fed fed = sbx_http_parser_finish(parser);
    sbx_http_parser_free(parser);
    result_deinit(&r);
    return fed;
}

static void only_a_body_without_framing_may_end_with_the_connection(void **state)
{
    (void)state;
    assert_int_equal(finish_after("HTTP/1.1 200 OK\r\n\r\nabc"), SBX_HTTP_FED_DONE);
    assert_int_equal(finish_after("HTTP/1.0 200 OK\r\n\r\n"), SBX_HTTP_FED_DONE);
    assert_int_equal(finish_after("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"), SBX_HTTP_FED_BAD);
    assert_int_equal(finish_after("HTTP/1.1 200 OK\r\n" STRICT_TE "\r\n3\r\nabc\r\n"), SBX_HTTP_FED_BAD);
    assert_int_equal(finish_after("HTTP/1.1 200 OK\r\n" STRICT_TE "\r\n3\r\nabc\r\n0\r\n"), SBX_HTTP_FED_BAD);
    assert_int_equal(finish_after("HTTP/1.1 200 OK\r\nX: y\r\n"), SBX_HTTP_FED_BAD);
}

static bool refuse_head(void *user, const sbx_http_head *head, const sbx_http_framing *framing)
{
    (void)user, (void)head, (void)framing;
    return false;
}

static void a_callback_can_stop_the_parser(void **state)
{
    (void)state;
    size_t used = 0;
    sbx_http_parser *parser = NULL;
    static const sbx_http_parse_events refusing = {.on_head = refuse_head, .on_body = on_body};
    sbx_http_parser_new(SBX_HTTP_REQUEST, SBX_HTTP_MAX_HEAD_BYTES, &refusing, NULL, &parser);
    sbx_view text = SBX_VIEW("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na");
    assert_int_equal(feed(parser, text, &used), SBX_HTTP_FED_STOPPED);
    assert_int_equal(feed(parser, text, &used), SBX_HTTP_FED_STOPPED);
    sbx_http_parser_free(parser);
}

static void a_reset_parser_starts_anew_even_after_an_error(void **state)
{
    (void)state;
    result r = {0};
    size_t used = 0;
    sbx_http_parser *parser = NULL;
    sbx_buf_init(&r.head, SIZE_MAX);
    sbx_http_parser_new(SBX_HTTP_REQUEST, SBX_HTTP_MAX_HEAD_BYTES, &events, &r, &parser);
    assert_int_equal(feed(parser, SBX_VIEW("\x01\r\n"), &used), SBX_HTTP_FED_BAD);
    sbx_http_parser_reset(parser, /* is_bodyless= */ false);
    assert_int_equal(feed(parser, SBX_VIEW("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), &used), SBX_HTTP_FED_DONE);
    sbx_http_parser_free(parser);
    result_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_row_of_the_table_gets_its_verdict_however_it_is_split),
        cmocka_unit_test(every_row_gets_its_verdict_as_a_response_too),
        cmocka_unit_test(a_hundred_fields_pass_and_one_more_gets_431),
        cmocka_unit_test(a_head_of_32_kib_passes_and_one_more_byte_gets_431),
        cmocka_unit_test(trailers_are_bounded_like_heads),
        cmocka_unit_test(a_chunk_extension_above_256_bytes_is_refused),
        cmocka_unit_test(a_request_is_taken_apart_and_its_values_are_trimmed),
        cmocka_unit_test(an_absolute_target_is_reduced_to_its_path),
        cmocka_unit_test(one_empty_line_before_a_request_is_forgiven),
        cmocka_unit_test(chunks_are_joined_and_trailers_dropped),
        cmocka_unit_test(what_follows_a_message_is_left_to_the_next_one),
        cmocka_unit_test(keep_alive_follows_version_and_connection_header),
        cmocka_unit_test(an_upgrade_is_detected_and_else_ignored),
        cmocka_unit_test(expectations_are_told_apart),
        cmocka_unit_test(bodyless_responses_end_with_their_head),
        cmocka_unit_test(an_answer_to_head_has_no_body_whatever_it_says),
        cmocka_unit_test(only_a_body_without_framing_may_end_with_the_connection),
        cmocka_unit_test(a_callback_can_stop_the_parser),
        cmocka_unit_test(a_reset_parser_starts_anew_even_after_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
