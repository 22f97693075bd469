/* What a request body tells routing, and how it is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/openai_request.h"

static sbx_arena arena;

static int make_arena(void **state)
{
    (void)state;
    sbx_arena_init(&arena, 100000);
    return 0;
}

static int drop_arena(void **state)
{
    (void)state;
    sbx_arena_deinit(&arena);
    return 0;
}

static sbx_openai_request parsed(sbx_endpoint endpoint, const char *body)
{
    sbx_openai_request request;
    sbx_errinfo info = {0};
    sbx_err err = sbx_openai_request_parse(sbx_view_cstr(body), endpoint, &arena, &request, &info);
    if (err != SBX_OK)
        fail_msg("%s: %s", body, info.text);
    return request;
}

static sbx_errinfo refused(sbx_endpoint endpoint, const char *body)
{
    sbx_openai_request request;
    sbx_errinfo info = {0};
    assert_int_equal(sbx_openai_request_parse(sbx_view_cstr(body), endpoint, &arena, &request, &info),
                     SBX_E_PARSE);
    return info;
}

static void assert_view(sbx_view view, const char *expected)
{
    if (!sbx_view_eq_cstr(view, expected))
        fail_msg("wanted <%s>, found <%.*s>", expected, SBX_VIEW_ARG(view));
}

#define CHAT "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void a_plain_chat_request_is_understood(void **state)
{
    (void)state;
    sbx_openai_request request = parsed(SBX_ENDPOINT_CHAT, "{\"model\":\"qwen/qwen3:8b\"," CHAT "}");
    assert_view(request.model, "qwen/qwen3:8b");
    assert_view(request.model_value.text, "\"qwen/qwen3:8b\"");
    assert_false(request.stream);
    assert_false(request.wants_usage);
    assert_int_equal(request.max_tokens, -1);
    assert_int_equal(request.n, 1);
    assert_int_equal(request.session_id.len, 0);
    assert_false(request.has_tools || request.has_response_format || request.has_logprobs);
    assert_int_equal(request.input.type, SBX_JSON_ARRAY);
}

static void a_streaming_request_with_everything_is_understood(void **state)
{
    (void)state;
    sbx_openai_request request =
        parsed(SBX_ENDPOINT_CHAT,
               "{\"model\":\"a\\u002fb\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
               "\"max_tokens\":7,\"n\":2,\"session_id\":\"s\\n1\",\"prompt_cache_key\":\"k\","
               "\"tools\":[{}],\"response_format\":{\"type\":\"json_object\"},\"logprobs\":true," CHAT "}");
    assert_view(request.model, "a/b");
    assert_true(request.stream);
    assert_true(request.wants_usage);
    assert_int_equal(request.max_tokens, 7);
    assert_int_equal(request.n, 2);
    assert_view(request.session_id, "s\n1");
    assert_view(request.prompt_cache_key, "k");
    assert_true(request.has_tools && request.has_response_format && request.has_logprobs);
}

static void null_means_not_there(void **state)
{
    (void)state;
    sbx_openai_request request =
        parsed(SBX_ENDPOINT_CHAT,
               "{\"model\":\"m\",\"stream\":null,\"stream_options\":null,\"max_tokens\":null,\"n\":null,"
               "\"session_id\":null,\"tools\":null,\"response_format\":null,\"logprobs\":null," CHAT "}");
    assert_false(request.stream);
    assert_int_equal(request.stream_options.type, SBX_JSON_NULL);
    assert_int_equal(request.max_tokens, -1);
    assert_int_equal(request.n, 1);
    assert_int_equal(request.session_value.type, SBX_JSON_NULL);
    assert_false(request.has_tools || request.has_response_format || request.has_logprobs);
}

static void what_changes_nothing_is_not_in_use(void **state)
{
    (void)state;
    sbx_openai_request request =
        parsed(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"tools\":[],\"logprobs\":false,"
                                  "\"response_format\":{\"type\":\"text\"}," CHAT "}");
    assert_false(request.has_tools || request.has_response_format || request.has_logprobs);
    assert_true(
        parsed(SBX_ENDPOINT_COMPLETIONS, "{\"model\":\"m\",\"prompt\":\"x\",\"logprobs\":3}").has_logprobs);
    assert_true(parsed(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"functions\":[{}]," CHAT "}").has_tools);
}

static void the_newer_name_of_max_tokens_comes_first(void **state)
{
    (void)state;
    assert_int_equal(
        parsed(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"max_tokens\":5,\"max_completion_tokens\":9," CHAT "}")
            .max_tokens,
        9);
    assert_int_equal(parsed(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"max_tokens\":-1," CHAT "}").max_tokens,
                     -1);
}

static void each_endpoint_wants_its_own_input(void **state)
{
    (void)state;
    parsed(SBX_ENDPOINT_COMPLETIONS, "{\"model\":\"m\",\"prompt\":\"x\"}");
    parsed(SBX_ENDPOINT_COMPLETIONS, "{\"model\":\"m\",\"prompt\":[\"x\"]}");
    parsed(SBX_ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"x\"}");
    parsed(SBX_ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":[[1,2]]}");
    parsed(SBX_ENDPOINT_RERANK, "{\"model\":\"m\",\"query\":\"x\",\"documents\":[\"a\"]}");
    assert_string_equal(refused(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"prompt\":\"x\"}").param, "messages");
    assert_string_equal(refused(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"messages\":\"x\"}").param, "messages");
    assert_string_equal(refused(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"messages\":[]}").param, "messages");
    assert_string_equal(refused(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"messages\":null}").param, "messages");
    assert_string_equal(refused(SBX_ENDPOINT_COMPLETIONS, "{\"model\":\"m\",\"prompt\":{}}").param, "prompt");
    assert_string_equal(refused(SBX_ENDPOINT_EMBEDDINGS, "{\"model\":\"m\"}").param, "input");
    assert_string_equal(refused(SBX_ENDPOINT_RERANK, "{\"model\":\"m\",\"documents\":[1]}").param, "query");
}

static void a_missing_or_wrong_model_is_refused(void **state)
{
    (void)state;
    sbx_errinfo info = refused(SBX_ENDPOINT_CHAT, "{" CHAT "}");
    assert_string_equal(info.param, "model");
    assert_non_null(strstr(info.text, "missing"));
    info = refused(SBX_ENDPOINT_CHAT, "{\n \"model\": 5," CHAT "}");
    assert_string_equal(info.text, "'model' at byte 12: expected a string, found a number");
    assert_int_equal(info.line, 2);
    assert_int_equal(info.column, 11);
    assert_string_equal(refused(SBX_ENDPOINT_CHAT, "{\"model\":null," CHAT "}").param, "model");
    assert_string_equal(refused(SBX_ENDPOINT_CHAT, "{\"model\":\"\"," CHAT "}").param, "model");
}

static void a_model_name_above_the_cap_is_refused(void **state)
{
    (void)state;
    char body[1000] = "{\"model\":\"";
    memset(body + strlen(body), 'm', 512);
    size_t end = strlen(body);
    strcpy(body + end, "\"," CHAT "}");
    assert_int_equal(parsed(SBX_ENDPOINT_CHAT, body).model.len, 512);
    strcpy(body + end, "m\"," CHAT "}");
    assert_string_equal(refused(SBX_ENDPOINT_CHAT, body).param, "model");
}

static void a_stream_flag_that_is_no_boolean_is_refused(void **state)
{
    (void)state;
    sbx_errinfo info = refused(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"stream\":\"true\"," CHAT "}");
    assert_string_equal(info.param, "stream");
    assert_int_equal(info.offset, 22);
    assert_string_equal(refused(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"stream\":1," CHAT "}").param,
                        "stream");
}

static void odd_stream_options_are_refused(void **state)
{
    (void)state;
    assert_string_equal(
        refused(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"stream_options\":true," CHAT "}").param,
        "stream_options");
    assert_string_equal(
        refused(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"stream_options\":{\"include_usage\":1}," CHAT "}")
            .param,
        "stream_options.include_usage");
    assert_string_equal(refused(SBX_ENDPOINT_CHAT,
                                "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true,"
                                "\"include_usag\\u0065\":false}," CHAT "}")
                            .param,
                        "stream_options");
}

static void a_session_id_must_be_a_short_string(void **state)
{
    (void)state;
    assert_string_equal(refused(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"session_id\":5," CHAT "}").param,
                        "session_id");
    assert_string_equal(refused(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"session_id\":\"\"," CHAT "}").param,
                        "session_id");
}

static void a_cache_key_of_another_type_is_left_to_the_engine(void **state)
{
    (void)state;
    assert_int_equal(
        parsed(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"prompt_cache_key\":5," CHAT "}").prompt_cache_key.len,
        0);
}

static void duplicate_keys_and_broken_json_are_refused_with_the_place(void **state)
{
    (void)state;
    sbx_errinfo info = refused(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",\"mod\\u0065l\":\"x\"," CHAT "}");
    assert_int_equal(info.offset, 13);
    assert_int_equal(refused(SBX_ENDPOINT_CHAT, "{\"model\":\"m\",").offset, 13);
    assert_int_equal(refused(SBX_ENDPOINT_CHAT, "").offset, 0);
}

static void a_body_that_is_no_object_is_refused(void **state)
{
    (void)state;
    assert_non_null(strstr(refused(SBX_ENDPOINT_CHAT, "[1]").text, "expected an object, found an array"));
    assert_non_null(strstr(refused(SBX_ENDPOINT_CHAT, "null").text, "expected an object, found null"));
}

static void a_full_arena_is_no_parse_error(void **state)
{
    (void)state;
    sbx_arena tiny;
    sbx_openai_request request;
    sbx_arena_init(&tiny, 1);
    assert_int_equal(sbx_openai_request_parse(SBX_VIEW("{\"model\":\"a\\nb\"," CHAT "}"), SBX_ENDPOINT_CHAT,
                                              &tiny, &request, NULL),
                     SBX_E_NOMEM);
    sbx_arena_deinit(&tiny);
}

static void paths_name_endpoints(void **state)
{
    (void)state;
    sbx_endpoint endpoint;
    assert_true(sbx_endpoint_from_path(SBX_VIEW("/v1/embeddings"), &endpoint));
    assert_int_equal(endpoint, SBX_ENDPOINT_EMBEDDINGS);
    assert_true(sbx_endpoint_from_path(SBX_VIEW("/v1/reranking"), &endpoint));
    assert_int_equal(endpoint, SBX_ENDPOINT_RERANK);
    assert_false(sbx_endpoint_from_path(SBX_VIEW("/v1/models"), &endpoint));
    assert_string_equal(sbx_endpoint_path(SBX_ENDPOINT_CHAT), "/v1/chat/completions");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_chat_request_is_understood),
        cmocka_unit_test(a_streaming_request_with_everything_is_understood),
        cmocka_unit_test(null_means_not_there),
        cmocka_unit_test(what_changes_nothing_is_not_in_use),
        cmocka_unit_test(the_newer_name_of_max_tokens_comes_first),
        cmocka_unit_test(each_endpoint_wants_its_own_input),
        cmocka_unit_test(a_missing_or_wrong_model_is_refused),
        cmocka_unit_test(a_model_name_above_the_cap_is_refused),
        cmocka_unit_test(a_stream_flag_that_is_no_boolean_is_refused),
        cmocka_unit_test(odd_stream_options_are_refused),
        cmocka_unit_test(a_session_id_must_be_a_short_string),
        cmocka_unit_test(a_cache_key_of_another_type_is_left_to_the_engine),
        cmocka_unit_test(duplicate_keys_and_broken_json_are_refused_with_the_place),
        cmocka_unit_test(a_body_that_is_no_object_is_refused),
        cmocka_unit_test(a_full_arena_is_no_parse_error),
        cmocka_unit_test(paths_name_endpoints),
    };
    return cmocka_run_group_tests(tests, make_arena, drop_arena);
}
