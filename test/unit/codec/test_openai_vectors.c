/* Answers with vectors and ranks, against the requests they answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/openai_embeddings.h"
#include "codec/openai_rerank.h"
#include "codec/openai_response.h"

typedef struct outcome {
    sbx_err err;
    char text[1024]; /* the body as the client gets it, or why there is none */
} outcome;

static outcome judge(sbx_endpoint endpoint, const char *request_text, const char *body)
{
    outcome result = {0};
    sbx_arena arena;
    sbx_openai_request request;
    sbx_errinfo info = {0};
    sbx_buf out;
    sbx_answer_info answer;
    sbx_arena_init(&arena, 1 << 20);
    sbx_buf_init(&out, 1 << 20);
    assert_int_equal(sbx_openai_request_parse(sbx_view_cstr(request_text), endpoint, &arena, &request, &info),
                     SBX_OK);
    result.err = sbx_answer_check(sbx_view_cstr(body), endpoint, &answer, &info);
    if (result.err == SBX_OK && endpoint == SBX_ENDPOINT_EMBEDDINGS)
        result.err = sbx_embeddings_check(sbx_view_cstr(body), &request, &out, &info);
    else if (result.err == SBX_OK)
        result.err = sbx_rerank_check(sbx_view_cstr(body), &request, &out, &info);
    sbx_view text = out.len > 0 ? sbx_buf_view(&out) : sbx_view_cstr(body);
    snprintf(result.text, sizeof result.text, "%.*s",
             result.err == SBX_OK ? (int)text.len : (int)strlen(info.text),
             result.err == SBX_OK ? (const char *)text.data : info.text);
    sbx_buf_deinit(&out);
    sbx_arena_deinit(&arena);
    return result;
}

static void assert_gives(sbx_endpoint endpoint, const char *request, const char *body, const char *wanted)
{
    outcome result = judge(endpoint, request, body);
    if (result.err != SBX_OK || strcmp(result.text, wanted) != 0)
        fail_msg("%s\n wanted %s\n found (%s) %s", body, wanted, sbx_err_text(result.err), result.text);
}

static void assert_refused(sbx_endpoint endpoint, const char *request, const char *body, const char *why)
{
    outcome result = judge(endpoint, request, body);
    if (result.err != SBX_E_PARSE || strstr(result.text, why) == NULL)
        fail_msg("%s\n wanted a refusal with %s\n found (%s) %s", body, why, sbx_err_text(result.err),
                 result.text);
}

/* ---- embeddings ---- */

#define ONE          "{\"model\":\"m\",\"input\":\"a\"}"
#define TWO          "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}"
#define E(i, vector) "{\"embedding\":" vector ",\"index\":" #i ",\"object\":\"embedding\"}"
#define DATA(items)                                                                                          \
    "{\"object\":\"list\",\"data\":[" items "],\"model\":\"m\",\"usage\":{\"total_tokens\":2}}"

static void gives_e(const char *request, const char *body, const char *wanted)
{
    assert_gives(SBX_ENDPOINT_EMBEDDINGS, request, body, wanted);
}

static void refuses_e(const char *request, const char *body, const char *why)
{
    assert_refused(SBX_ENDPOINT_EMBEDDINGS, request, body, why);
}

static void inputs_are_counted_as_the_api_means_them(void **state)
{
    (void)state;
    static const struct {
        const char *input;
        size_t count;
    } rows[] = {
        {"\"a\"", 1}, {"[\"a\"]", 1}, {"[\"a\",\"b\",\"c\"]", 3}, {"[1,2,3,4]", 1}, {"[[1,2],[3]]", 2}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[200];
        sbx_arena arena;
        sbx_openai_request request;
        sbx_arena_init(&arena, 10000);
        snprintf(text, sizeof text, " {\"model\":\"m\",\"input\":%s} ", rows[i].input);
        assert_int_equal(
            sbx_openai_request_parse(sbx_view_cstr(text), SBX_ENDPOINT_EMBEDDINGS, &arena, &request, NULL),
            SBX_OK);
        assert_int_equal(sbx_embeddings_inputs(&request), rows[i].count);
        sbx_arena_deinit(&arena);
    }
}

static void vectors_in_order_stay_byte_for_byte(void **state)
{
    (void)state;
    gives_e(ONE, DATA(E(0, "[0.10, 1e-3 ]")), DATA(E(0, "[0.10, 1e-3 ]")));
    gives_e(TWO, DATA(E(0, "[1,2]") " , " E(1, "[3,4]")), DATA(E(0, "[1,2]") " , " E(1, "[3,4]")));
}

static void vectors_are_put_in_the_order_of_the_inputs(void **state)
{
    (void)state;
    gives_e(TWO, DATA(E(1, "[3,4]") "," E(0, "[1,2]")), DATA(E(0, "[1,2]") "," E(1, "[3,4]")));
}

static void a_wrong_number_of_vectors_is_no_answer(void **state)
{
    (void)state;
    refuses_e(TWO, DATA(E(0, "[1]")), "not as many");
    refuses_e(ONE, DATA(E(0, "[1]") "," E(1, "[1]")), "out of range");
    refuses_e(TWO, DATA(E(0, "[1]") "," E(0, "[2]")), "two embeddings have one index");
    refuses_e(ONE, DATA("{\"embedding\":[1]}"), "index is missing");
    refuses_e(ONE, DATA(E(-1, "[1]")), "out of range");
    refuses_e(ONE, DATA(E(18446744073709551616, "[1]")), "out of range");
    refuses_e(ONE, DATA("7"), "index is missing");
}

static void vectors_of_unequal_or_unwanted_dimension_are_no_answer(void **state)
{
    (void)state;
    refuses_e(TWO, DATA(E(0, "[1,2]") "," E(1, "[3]")), "different dimensions");
    refuses_e("{\"model\":\"m\",\"input\":\"a\",\"dimensions\":3}", DATA(E(0, "[1,2]")), "asked for");
    gives_e("{\"model\":\"m\",\"input\":\"a\",\"dimensions\":2}", DATA(E(0, "[1,2]")), DATA(E(0, "[1,2]")));
}

static void what_is_no_vector_of_finite_numbers_is_no_answer(void **state)
{
    (void)state;
    refuses_e(ONE, DATA(E(0, "[]")), "no vector");
    refuses_e(ONE, DATA(E(0, "[1,null]")), "no vector");
    refuses_e(ONE, DATA(E(0, "[1,\"2\"]")), "no vector");
    refuses_e(ONE, DATA(E(0, "null")), "neither");
    refuses_e(ONE, DATA("{\"index\":0}"), "neither");
    refuses_e(ONE, DATA(E(0, "\"AACAfw==\"")), "no vector"); /* an infinity */
    refuses_e(ONE, DATA(E(0, "\"AACAP\"")), "no vector");    /* half a float too much */
    refuses_e(ONE, DATA(E(0, "\"****\"")), "no vector");
    refuses_e(ONE, DATA(E(0, "\"\"")), "no vector");
}

static void an_engine_that_ignores_the_encoding_is_translated(void **state)
{
    (void)state;
    const char *wants_base64 = "{\"model\":\"m\",\"input\":\"a\",\"encoding_format\":\"base64\"}";
    gives_e(wants_base64, DATA(E(0, "[1,-2.5]")), DATA(E(0, "\"AACAPwAAIMA=\"")));
    gives_e(wants_base64, DATA(E(0, "[1]")), DATA(E(0, "\"AACAPw==\"")));
    gives_e(wants_base64, DATA(E(0, "[1,1,1]")), DATA(E(0, "\"AACAPwAAgD8AAIA/\"")));
    gives_e(wants_base64, DATA(E(0, "\"AACAPwAAIMA=\"")), DATA(E(0, "\"AACAPwAAIMA=\"")));
    gives_e(ONE, DATA(E(0, "\"AACAPwAAIMA=\"")), DATA(E(0, "[1,-2.5]")));
    gives_e("{\"model\":\"m\",\"input\":\"a\",\"encoding_format\":\"float\"}", DATA(E(0, "\"AACAPwAAIMA=\"")),
            DATA(E(0, "[1,-2.5]")));
}

static void an_encoding_that_only_the_engine_knows_is_passed_on(void **state)
{
    (void)state;
    gives_e("{\"model\":\"m\",\"input\":\"a\",\"encoding_format\":\"ubinary\"}", DATA(E(0, "\"..\"")),
            DATA(E(0, "\"..\"")));
}

/* ---- rerank ---- */

#define ASK(more)     "{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"a\",\"b\",{\"text\":\"c\"}]" more "}"
#define R(i, score)   "{\"index\":" #i ",\"relevance_score\":" #score "}"
#define RESULTS(list) "{\"model\":\"m\",\"results\":[" list "],\"usage\":{}}"

static void gives_r(const char *request, const char *body, const char *wanted)
{
    assert_gives(SBX_ENDPOINT_RERANK, request, body, wanted);
}

static void refuses_r(const char *request, const char *body, const char *why)
{
    assert_refused(SBX_ENDPOINT_RERANK, request, body, why);
}

static void results_in_order_stay_byte_for_byte(void **state)
{
    (void)state;
    gives_r(ASK(""), RESULTS(R(2, 0.9) " ," R(0, 0.50) "," R(1, -1)),
            RESULTS(R(2, 0.9) " ," R(0, 0.50) "," R(1, -1)));
}

static void results_are_sorted_by_score(void **state)
{
    (void)state;
    gives_r(ASK(""), RESULTS(R(0, 0.1) "," R(1, 9e-1) "," R(2, 0.5)),
            RESULTS(R(1, 9e-1) "," R(2, 0.5) "," R(0, 0.1)));
    gives_r(ASK(""), RESULTS(R(2, 0.1) "," R(1, 0.1) "," R(0, 0.2)),
            RESULTS(R(0, 0.2) "," R(1, 0.1) "," R(2, 0.1)));
}

static void top_n_cuts_what_the_engine_sent_too_much(void **state)
{
    (void)state;
    gives_r(ASK(",\"top_n\":1"), RESULTS(R(0, 0.1) "," R(1, 0.9) "," R(2, 0.5)), RESULTS(R(1, 0.9)));
    gives_r(ASK(",\"top_n\":2"), RESULTS(R(1, 0.9) "," R(2, 0.5)), RESULTS(R(1, 0.9) "," R(2, 0.5)));
    gives_r(ASK(",\"top_n\":9"), RESULTS(R(1, 3) "," R(2, 2) "," R(0, 1)),
            RESULTS(R(1, 3) "," R(2, 2) "," R(0, 1)));
    refuses_r(ASK(",\"top_n\":2"), RESULTS(R(1, 0.9)), "fewer results");
    refuses_r(ASK(""), RESULTS(R(1, 0.9) "," R(0, 0.5)), "fewer results");
    refuses_r(ASK(""), RESULTS(""), "fewer results");
}

static void an_index_out_of_range_or_twice_is_no_answer(void **state)
{
    (void)state;
    refuses_r(ASK(""), RESULTS(R(0, 1) "," R(1, 1) "," R(3, 1)), "out of range");
    refuses_r(ASK(""), RESULTS(R(0, 1) "," R(1, 1) "," R(1, 1)), "one index");
    refuses_r(ASK(""), RESULTS("{\"relevance_score\":1}"), "missing");
    refuses_r(ASK(""), RESULTS(R(0, 1) "," R(1, 1) "," R(2, 1) "," R(2, 1)), "more results");
    refuses_r(ASK(""), RESULTS(R(0, 1) "," R(1, 1) "," R(2, 1e999)), "no finite score");
    refuses_r(ASK(""), RESULTS("{\"index\":0,\"relevance_score\":\"1\"}"), "no finite score");
}

static void documents_come_when_asked_for_and_only_then(void **state)
{
    (void)state;
    const char *bare = RESULTS(R(2, 3) "," R(1, 2) "," R(0, 1));
    gives_r(ASK(",\"return_documents\":true"), bare,
            RESULTS("{\"index\":2,\"relevance_score\":3,\"document\":{\"text\":\"c\"}},"
                    "{\"index\":1,\"relevance_score\":2,\"document\":{\"text\":\"b\"}},"
                    "{\"index\":0,\"relevance_score\":1,\"document\":{\"text\":\"a\"}}"));
    gives_r(ASK(",\"return_documents\":false,\"top_n\":1"),
            RESULTS("{\"index\":2,\"relevance_score\":3,\"document\":{\"text\":\"c\"}}"), RESULTS(R(2, 3)));
    gives_r(ASK(",\"top_n\":1"), RESULTS("{\"index\":2,\"relevance_score\":3,\"document\":\"c\"}"),
            RESULTS("{\"index\":2,\"relevance_score\":3,\"document\":\"c\"}"));
}

static void other_spellings_are_written_anew(void **state)
{
    (void)state;
    gives_r(ASK(",\"top_n\":1"), "{\"data\":[{\"index\":1,\"score\":0.5}],\"x\":1}",
            "{\"results\":[" R(1, 0.5) "],\"x\":1}");
}

/* ---- contexts ---- */

static void a_context_s_size_is_read_from_the_refusal(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        unsigned limit;
    } rows[] = {
        {"{\"error\":{\"message\":\"This model's maximum context length is 4096 tokens. However, you "
         "requested 9000\"}}",
         4096},
        {"{\"error\":{\"message\":\"request (5000 tokens) exceeds the available context size (2048 "
         "tokens)\",\"n_prompt_tokens\":5000,\"n_ctx\":2048}}",
         2048},
        {"{\"error\":{\"message\":\"the request exceeds the available context size. try again\"}}", 0},
        {"{\"error\":{\"code\":\"context_length_exceeded\"}}", 0},
        {"maximum context length is", 0},
        {"maximum context length is 99999999999999999999", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(sbx_answer_context_limit(sbx_view_cstr(rows[i].body)), rows[i].limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inputs_are_counted_as_the_api_means_them),
        cmocka_unit_test(vectors_in_order_stay_byte_for_byte),
        cmocka_unit_test(vectors_are_put_in_the_order_of_the_inputs),
        cmocka_unit_test(a_wrong_number_of_vectors_is_no_answer),
        cmocka_unit_test(vectors_of_unequal_or_unwanted_dimension_are_no_answer),
        cmocka_unit_test(what_is_no_vector_of_finite_numbers_is_no_answer),
        cmocka_unit_test(an_engine_that_ignores_the_encoding_is_translated),
        cmocka_unit_test(an_encoding_that_only_the_engine_knows_is_passed_on),
        cmocka_unit_test(results_in_order_stay_byte_for_byte),
        cmocka_unit_test(results_are_sorted_by_score),
        cmocka_unit_test(top_n_cuts_what_the_engine_sent_too_much),
        cmocka_unit_test(an_index_out_of_range_or_twice_is_no_answer),
        cmocka_unit_test(documents_come_when_asked_for_and_only_then),
        cmocka_unit_test(other_spellings_are_written_anew),
        cmocka_unit_test(a_context_s_size_is_read_from_the_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
