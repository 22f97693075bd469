/* What the bytes of one attempt's answer mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/router.h"
#include "shell/answer.h"

enum {
    MAX_BYTES = 64 * 1024
};

static const char good_chat[] =
    "{\"id\":\"x\",\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":"
    "\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":9}}";

/* ---- helpers ---- */

static void begin(sbx_answer *answer, bool wants_stream)
{
    sbx_answer_init(answer, SBX_ENDPOINT_CHAT, wants_stream, MAX_BYTES);
}

static sbx_outcome head(sbx_answer *answer, unsigned status, const char *type, const char *encoding)
{
    return sbx_answer_take_head(answer, &(sbx_answer_head){.status = status,
                                                           .content_type = sbx_view_cstr(type),
                                                           .content_encoding = sbx_view_cstr(encoding),
                                                           .retry_after_ns = -1});
}

/* Outcome of a whole buffered answer. */
static sbx_outcome buffered(unsigned status, const char *body)
{
    sbx_answer answer;
    begin(&answer, /* wants_stream: */ false);
    sbx_outcome outcome = head(&answer, status, "application/json", NULL);
    if (outcome == SBX_OUTCOME_OK)
        outcome = sbx_answer_take_body(&answer, sbx_view_cstr(body));
    if (outcome == SBX_OUTCOME_OK)
        outcome = sbx_answer_finish(&answer);
    sbx_answer_deinit(&answer);
    return outcome;
}

/* What a stream came to. */
typedef struct heard {
    sbx_buf forwarded; /* all bytes that may go to the client */
    sbx_buf marks;     /* one letter per chunk: C content, F finish, D done, S silent, : comment */
    sbx_outcome outcome;
    uint64_t tokens;
} heard;

static void mark(heard *h, const sbx_answer_chunk *chunk)
{
    char letter = 'S';
    if (chunk->is_comment)
        letter = ':';
    else if ((chunk->flags & SBX_CHUNK_DONE) != 0)
        letter = 'D';
    else if ((chunk->flags & SBX_CHUNK_FINISH) != 0)
        letter = 'F';
    else if ((chunk->flags & SBX_CHUNK_CONTENT) != 0)
        letter = 'C';
    sbx_buf_append_byte(&h->marks, (uint8_t)letter);
    sbx_buf_append_view(&h->forwarded, chunk->bytes);
}

static sbx_outcome feed(sbx_answer *answer, heard *h, sbx_view bytes)
{
    sbx_answer_chunk chunk;
    sbx_outcome outcome = sbx_answer_feed(answer, bytes);
    while (outcome == SBX_OUTCOME_OK && sbx_answer_next(answer, &chunk, &outcome))
        mark(h, &chunk);
    return outcome;
}

/* Feeds a stream in pieces of `piece` bytes, and finishes it. */
static void hear(heard *h, const char *text, size_t piece)
{
    sbx_answer answer;
    sbx_view rest = sbx_view_cstr(text);
    *h = (heard){0};
    sbx_buf_init(&h->forwarded, SIZE_MAX);
    sbx_buf_init(&h->marks, SIZE_MAX);
    begin(&answer, /* wants_stream: */ true);
    h->outcome = head(&answer, 200, "text/event-stream; charset=utf-8", NULL);
    while (h->outcome == SBX_OUTCOME_OK && rest.len > 0) {
        h->outcome = feed(&answer, h, sbx_view_slice(rest, 0, piece));
        rest = sbx_view_skip(rest, piece);
    }
    if (h->outcome == SBX_OUTCOME_OK)
        h->outcome = sbx_answer_finish(&answer);
    h->tokens = answer.completion_tokens;
    sbx_answer_deinit(&answer);
}

static void forget(heard *h)
{
    sbx_buf_deinit(&h->forwarded);
    sbx_buf_deinit(&h->marks);
}

static void assert_text(const sbx_buf *found, const char *wanted)
{
    char *text = calloc(1, found->len + 1);
    assert_non_null(text);
    if (found->len > 0)
        memcpy(text, sbx_buf_view(found).data, found->len);
    assert_string_equal(text, wanted);
    free(text);
}

static void expect_stream(const char *text, const char *marks, const char *forwarded, sbx_outcome outcome)
{
    heard h;
    hear(&h, text, SIZE_MAX);
    assert_string_equal(sbx_outcome_name(h.outcome), sbx_outcome_name(outcome));
    assert_text(&h.marks, marks);
    assert_text(&h.forwarded, forwarded);
    forget(&h);
}

#define ROLE  "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n"
#define HELLO "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n"
#define STOP  "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define USAGE "data: {\"choices\":[],\"usage\":{\"completion_tokens\":17}}\n\n"
#define DONE  "data: [DONE]\n\n"

/* ---- heads ---- */

static void a_json_answer_is_taken_with_or_without_its_type(void **state)
{
    static const char *const types[] = {"application/json", "application/json; charset=utf-8",
                                        "Application/JSON ;x=y", NULL};
    (void)state;
    for (int i = 0; i < 4; i++) {
        sbx_answer answer;
        begin(&answer, /* wants_stream: */ false);
        assert_int_equal(head(&answer, 200, types[i], NULL), SBX_OUTCOME_OK);
        assert_false(answer.is_stream);
        sbx_answer_deinit(&answer);
    }
}

static void an_answer_of_another_type_is_malformed(void **state)
{
    static const char *const types[] = {"text/html", "application/jsonp", "text/event-stream",
                                        "application/json-seq"};
    (void)state;
    for (int i = 0; i < 4; i++) {
        sbx_answer answer;
        begin(&answer, /* wants_stream: */ false);
        assert_int_equal(head(&answer, 200, types[i], NULL), SBX_OUTCOME_MALFORMED);
        sbx_answer_deinit(&answer);
    }
}

static void a_stream_must_say_that_it_is_one(void **state)
{
    static const char *const types[] = {"application/json", NULL, "text/event-streams", "text/plain"};
    (void)state;
    for (int i = 0; i < 4; i++) {
        sbx_answer answer;
        begin(&answer, /* wants_stream: */ true);
        assert_int_equal(head(&answer, 200, types[i], NULL), SBX_OUTCOME_MALFORMED);
        sbx_answer_deinit(&answer);
    }
}

static void redirects_and_encoded_answers_are_malformed(void **state)
{
    sbx_answer answer;
    (void)state;
    begin(&answer, /* wants_stream: */ false);
    assert_int_equal(head(&answer, 302, "application/json", NULL), SBX_OUTCOME_MALFORMED);
    assert_int_equal(head(&answer, 200, "application/json", "gzip"), SBX_OUTCOME_MALFORMED);
    assert_int_equal(head(&answer, 200, "application/json", "Identity"), SBX_OUTCOME_OK);
    sbx_answer_deinit(&answer);
}

static void an_error_status_is_no_stream_whatever_its_type(void **state)
{
    sbx_answer answer;
    (void)state;
    begin(&answer, /* wants_stream: */ true);
    assert_int_equal(head(&answer, 503, "text/html", NULL), SBX_OUTCOME_OK);
    assert_false(answer.is_stream);
    assert_int_equal(sbx_answer_take_body(&answer, SBX_VIEW("<html>")), SBX_OUTCOME_OK);
    assert_int_equal(sbx_answer_finish(&answer), SBX_OUTCOME_SERVER_ERROR);
    sbx_answer_deinit(&answer);
}

static void an_endless_content_type_is_not_passed_on(void **state)
{
    char type[300];
    sbx_answer answer;
    (void)state;
    memset(type, 'a', sizeof type);
    type[sizeof type - 1] = '\0';
    begin(&answer, /* wants_stream: */ false);
    assert_int_equal(head(&answer, 400, type, NULL), SBX_OUTCOME_OK);
    assert_string_equal(answer.content_type, "");
    sbx_answer_deinit(&answer);
}

/* ---- bodies ---- */

static void a_whole_answer_is_ok_and_its_usage_known(void **state)
{
    sbx_answer answer;
    (void)state;
    begin(&answer, /* wants_stream: */ false);
    assert_int_equal(head(&answer, 200, "application/json", NULL), SBX_OUTCOME_OK);
    for (const char *at = good_chat; *at != '\0'; at++)
        assert_int_equal(sbx_answer_take_body(&answer, sbx_view_of(at, 1)), SBX_OUTCOME_OK);
    assert_int_equal(sbx_answer_finish(&answer), SBX_OUTCOME_OK);
    assert_int_equal(answer.completion_tokens, 9);
    assert_true(sbx_view_eq_cstr(sbx_buf_view(&answer.body), good_chat));
    sbx_answer_deinit(&answer);
}

static void bodies_that_are_no_answers_are_malformed(void **state)
{
    (void)state;
    assert_int_equal(buffered(200, good_chat), SBX_OUTCOME_OK);
    assert_int_equal(buffered(200, ""), SBX_OUTCOME_MALFORMED);
    assert_int_equal(buffered(200, "{\"choices\":[{}]"), SBX_OUTCOME_MALFORMED);
    assert_int_equal(buffered(200, "{\"choices\":[]}"), SBX_OUTCOME_MALFORMED);
    assert_int_equal(buffered(200, "[1]"), SBX_OUTCOME_MALFORMED);
    assert_int_equal(buffered(200, "{\"error\":{\"message\":\"boom\"}}"), SBX_OUTCOME_MALFORMED);
    assert_int_equal(buffered(200, "{\"error\":\"boom\",\"choices\":[{}]}"), SBX_OUTCOME_MALFORMED);
    assert_int_equal(buffered(204, ""), SBX_OUTCOME_MALFORMED);
    assert_int_equal(buffered(201, good_chat), SBX_OUTCOME_MALFORMED);
}

static void a_status_says_what_went_wrong(void **state)
{
    (void)state;
    assert_int_equal(buffered(400, "{\"error\":{\"message\":\"bad\"}}"), SBX_OUTCOME_CLIENT_ERROR);
    assert_int_equal(buffered(422, "{}"), SBX_OUTCOME_CLIENT_ERROR);
    assert_int_equal(buffered(401, "{}"), SBX_OUTCOME_AUTH);
    assert_int_equal(buffered(408, "{}"), SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(buffered(429, "{}"), SBX_OUTCOME_OVERLOADED);
    assert_int_equal(buffered(500, "{}"), SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(buffered(503, "{\"error\":{\"message\":\"Loading model\"}}"), SBX_OUTCOME_OVERLOADED);
}

static void a_body_above_the_limit_is_malformed(void **state)
{
    sbx_answer answer;
    uint8_t *bytes = calloc(1, MAX_BYTES);
    (void)state;
    assert_non_null(bytes);
    begin(&answer, /* wants_stream: */ false);
    assert_int_equal(head(&answer, 200, "application/json", NULL), SBX_OUTCOME_OK);
    assert_int_equal(sbx_answer_take_body(&answer, sbx_view_of(bytes, MAX_BYTES)), SBX_OUTCOME_OK);
    assert_int_equal(sbx_answer_take_body(&answer, sbx_view_of(bytes, 1)), SBX_OUTCOME_MALFORMED);
    sbx_answer_deinit(&answer);
    free(bytes);
}

/* ---- streams ---- */

static void a_stream_is_forwarded_as_it_is_without_its_done(void **state)
{
    heard h;
    (void)state;
    expect_stream(ROLE HELLO STOP USAGE DONE, "SCFSD", ROLE HELLO STOP USAGE, SBX_OUTCOME_OK);
    hear(&h, HELLO STOP USAGE DONE, SIZE_MAX);
    assert_int_equal(h.tokens, 17);
    forget(&h);
}

static void any_split_of_the_bytes_gives_the_same_stream(void **state)
{
    static const char text[] =
        ": warm\n\n" ROLE "event: ping\ndata: {\"choices\":[]}\n\n" HELLO
        "data: {\"choices\":[{\"delta\":\r\ndata: {\"content\":\"x\"}}]}\r\n\r\n" STOP "id: 3\n\n" USAGE DONE;
    static const char wanted[] =
        ": warm\n\n" ROLE "data: {\"choices\":[]}\n\n" HELLO
        "data: {\"choices\":[{\"delta\":\r\ndata: {\"content\":\"x\"}}]}\r\n\r\n" STOP USAGE;
    (void)state;
    for (size_t piece = 1; piece <= sizeof text; piece++) {
        heard h;
        hear(&h, text, piece);
        assert_int_equal(h.outcome, SBX_OUTCOME_OK);
        assert_text(&h.marks, ":SSCCFSD");
        assert_text(&h.forwarded, wanted);
        assert_int_equal(h.tokens, 17);
        forget(&h);
    }
}

static void fields_other_than_data_never_reach_a_client(void **state)
{
    (void)state;
    expect_stream("event: x\nid: 7\nretry: 1\n" HELLO STOP, "CF", HELLO STOP, SBX_OUTCOME_OK);
    expect_stream("event: ping\n\n" HELLO "id: 9\nretry: 10\n\n" STOP, "CF", HELLO STOP, SBX_OUTCOME_OK);
}

static void comments_are_passed_on_as_comments(void **state)
{
    (void)state;
    expect_stream(": keep-alive\n\n" HELLO ":\n\n" STOP, ":C:F", ": keep-alive\n\n" HELLO ":\n\n" STOP,
                  SBX_OUTCOME_OK);
}

static void nothing_counts_after_done(void **state)
{
    (void)state;
    expect_stream(HELLO DONE HELLO "data: {broken\n\n" DONE, "CD", HELLO, SBX_OUTCOME_OK);
}

static void a_stream_with_a_finish_reason_needs_no_done(void **state)
{
    (void)state;
    expect_stream(HELLO STOP, "CF", HELLO STOP, SBX_OUTCOME_OK);
    expect_stream(HELLO DONE, "CD", HELLO, SBX_OUTCOME_OK);
}

static void a_stream_that_just_stops_is_malformed(void **state)
{
    (void)state;
    expect_stream(HELLO, "C", HELLO, SBX_OUTCOME_MALFORMED);
    expect_stream("", "", "", SBX_OUTCOME_MALFORMED);
    expect_stream(HELLO "data: [DONE]\n", "C", HELLO, SBX_OUTCOME_MALFORMED); /* no blank line: cut */
}

static void an_error_or_garbage_in_a_stream_is_malformed(void **state)
{
    (void)state;
    expect_stream(HELLO "data: {\"error\":{\"message\":\"boom\"}}\n\n" STOP, "C", HELLO,
                  SBX_OUTCOME_MALFORMED);
    expect_stream(HELLO "data: {\"choices\":[{\"del\n\n" STOP, "C", HELLO, SBX_OUTCOME_MALFORMED);
    expect_stream("data: hello\n\n", "", "", SBX_OUTCOME_MALFORMED);
}

static void an_event_above_the_limit_is_malformed(void **state)
{
    sbx_answer answer;
    heard h = {0};
    size_t size = SBX_ANSWER_EVENT_MAX + 16;
    char *text = malloc(size);
    (void)state;
    assert_non_null(text);
    memset(text, 'x', size);
    memcpy(text, "data: ", 6);
    begin(&answer, /* wants_stream: */ true);
    assert_int_equal(head(&answer, 200, "text/event-stream", NULL), SBX_OUTCOME_OK);
    assert_int_equal(feed(&answer, &h, sbx_view_of(text, size)), SBX_OUTCOME_MALFORMED);
    sbx_answer_deinit(&answer);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_json_answer_is_taken_with_or_without_its_type),
        cmocka_unit_test(an_answer_of_another_type_is_malformed),
        cmocka_unit_test(a_stream_must_say_that_it_is_one),
        cmocka_unit_test(redirects_and_encoded_answers_are_malformed),
        cmocka_unit_test(an_error_status_is_no_stream_whatever_its_type),
        cmocka_unit_test(an_endless_content_type_is_not_passed_on),
        cmocka_unit_test(a_whole_answer_is_ok_and_its_usage_known),
        cmocka_unit_test(bodies_that_are_no_answers_are_malformed),
        cmocka_unit_test(a_status_says_what_went_wrong),
        cmocka_unit_test(a_body_above_the_limit_is_malformed),
        cmocka_unit_test(a_stream_is_forwarded_as_it_is_without_its_done),
        cmocka_unit_test(any_split_of_the_bytes_gives_the_same_stream),
        cmocka_unit_test(fields_other_than_data_never_reach_a_client),
        cmocka_unit_test(comments_are_passed_on_as_comments),
        cmocka_unit_test(nothing_counts_after_done),
        cmocka_unit_test(a_stream_with_a_finish_reason_needs_no_done),
        cmocka_unit_test(a_stream_that_just_stops_is_malformed),
        cmocka_unit_test(an_error_or_garbage_in_a_stream_is_malformed),
        cmocka_unit_test(an_event_above_the_limit_is_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
