/* What answers mean: buffered bodies, stream chunks, error bodies, lists of models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/openai_response.h"

static sbx_arena arena;

static int make_arena(void **state)
{
    (void)state;
    sbx_arena_init(&arena, 1000000);
    return 0;
}

static int drop_arena(void **state)
{
    (void)state;
    sbx_arena_deinit(&arena);
    return 0;
}

static void assert_view(sbx_view view, const char *expected)
{
    if (!sbx_view_eq_cstr(view, expected))
        fail_msg("wanted <%s>, found <%.*s>", expected, SBX_VIEW_ARG(view));
}

/* ---- complete bodies ---- */

#define CHAT_BODY                                                                                            \
    "{\"id\":\"x\",\"choices\":[{\"message\":{\"content\":\"hi\"}}],"                                        \
    "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}"

static sbx_answer_info checked(sbx_endpoint endpoint, const char *body)
{
    sbx_answer_info answer;
    sbx_errinfo info = {0};
    if (sbx_answer_check(sbx_view_cstr(body), endpoint, &answer, &info) != SBX_OK)
        fail_msg("%s: %s", body, info.text);
    return answer;
}

static const char *bad(sbx_endpoint endpoint, const char *body)
{
    static sbx_errinfo info;
    sbx_answer_info answer;
    info = (sbx_errinfo){0};
    assert_int_equal(sbx_answer_check(sbx_view_cstr(body), endpoint, &answer, &info), SBX_E_PARSE);
    return info.text;
}

static void a_complete_chat_answer_passes_with_its_usage(void **state)
{
    (void)state;
    sbx_answer_info answer = checked(SBX_ENDPOINT_CHAT, CHAT_BODY);
    assert_true(answer.usage.is_present);
    assert_int_equal(answer.usage.prompt_tokens, 3);
    assert_int_equal(answer.usage.completion_tokens, 4);
    assert_int_equal(answer.usage.total_tokens, 7);
    assert_int_equal(answer.metadata.type, SBX_JSON_NONE);
}

static void usage_is_not_required(void **state)
{
    (void)state;
    assert_false(checked(SBX_ENDPOINT_CHAT, "{\"choices\":[{}]}").usage.is_present);
    assert_false(checked(SBX_ENDPOINT_CHAT, "{\"choices\":[{}],\"usage\":null}").usage.is_present);
    assert_int_equal(checked(SBX_ENDPOINT_CHAT, "{\"choices\":[{}],\"usage\":{\"prompt_tokens\":\"x\"}}")
                         .usage.prompt_tokens,
                     0);
}

static void each_endpoint_needs_its_member(void **state)
{
    (void)state;
    checked(SBX_ENDPOINT_COMPLETIONS, "{\"choices\":[{\"text\":\"\"}]}");
    checked(SBX_ENDPOINT_EMBEDDINGS, "{\"data\":[{\"embedding\":[0.1]}]}");
    checked(SBX_ENDPOINT_RERANK, "{\"results\":[]}");
    checked(SBX_ENDPOINT_RERANK, "{\"data\":[{\"index\":0}]}");
    assert_non_null(strstr(bad(SBX_ENDPOINT_CHAT, "{\"data\":[1]}"), "choices"));
    assert_non_null(strstr(bad(SBX_ENDPOINT_CHAT, "{\"\":[1]}"), "choices"));
    assert_non_null(strstr(bad(SBX_ENDPOINT_CHAT, "{\"choices\":[]}"), "choices"));
    assert_non_null(strstr(bad(SBX_ENDPOINT_CHAT, "{\"choices\":{}}"), "choices"));
    assert_non_null(strstr(bad(SBX_ENDPOINT_EMBEDDINGS, "{\"choices\":[1]}"), "data"));
}

static void an_error_under_200_is_no_answer(void **state)
{
    (void)state;
    assert_non_null(strstr(bad(SBX_ENDPOINT_CHAT, "{\"error\":{\"message\":\"oops\"}}"), "error body"));
    assert_non_null(strstr(bad(SBX_ENDPOINT_CHAT, "{\"error\":\"oops\",\"choices\":[{}]}"), "error body"));
    assert_non_null(
        strstr(bad(SBX_ENDPOINT_CHAT, "{\"object\":\"error\",\"message\":\"oops\"}"), "error body"));
    checked(SBX_ENDPOINT_CHAT, "{\"error\":null,\"choices\":[{}]}");
}

static void broken_and_foreign_bodies_are_no_answers(void **state)
{
    (void)state;
    bad(SBX_ENDPOINT_CHAT, "");
    bad(SBX_ENDPOINT_CHAT, "<html>");
    bad(SBX_ENDPOINT_CHAT, "[{}]");
    bad(SBX_ENDPOINT_CHAT, "\"text\"");
    bad(SBX_ENDPOINT_CHAT, "{\"choices\":[{}]");
    bad(SBX_ENDPOINT_CHAT, "{\"choices\":[{}]} trailing");
}

static const char *with_metadata(const char *body)
{
    static char joined[1000];
    sbx_view pieces[SBX_ANSWER_MAX_PIECES];
    size_t total;
    size_t len = 0;
    sbx_answer_info answer = checked(SBX_ENDPOINT_CHAT, body);
    size_t count = sbx_answer_with_metadata(sbx_view_cstr(body), &answer, SBX_VIEW("{\"retryCount\":0}"),
                                            pieces, &total);
    for (size_t i = 0; i < count; i++) {
        assert_true(pieces[i].len > 0);
        memcpy(joined + len, pieces[i].data, pieces[i].len);
        len += pieces[i].len;
    }
    joined[len] = '\0';
    assert_int_equal(len, total);
    checked(SBX_ENDPOINT_CHAT, joined);
    return joined;
}

static void metadata_is_added_at_the_end_and_nothing_else_changes(void **state)
{
    (void)state;
    assert_string_equal(with_metadata(" {\"choices\":[{}] }\n"),
                        " {\"choices\":[{}] ,\"metadata\":{\"retryCount\":0}}\n");
}

static void an_engines_own_metadata_is_replaced(void **state)
{
    (void)state;
    assert_string_equal(with_metadata("{\"metadata\": {\"a\":[1]} ,\"choices\":[{\"metadata\":1}]}"),
                        "{\"metadata\": {\"retryCount\":0} ,\"choices\":[{\"metadata\":1}]}");
    assert_string_equal(with_metadata("{\"choices\":[{}],\"metad\\u0061ta\":null}"),
                        "{\"choices\":[{}],\"metad\\u0061ta\":{\"retryCount\":0}}");
}

/* ---- stream chunks ---- */

static sbx_delta delta_of(const char *data)
{
    sbx_delta delta;
    sbx_delta_classify(sbx_view_cstr(data), &delta);
    return delta;
}

static unsigned flags_of(const char *data)
{
    return delta_of(data).flags;
}

static unsigned chat_flags(const char *delta)
{
    char data[500];
    snprintf(data, sizeof data, "{\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":null}]}", delta);
    return flags_of(data);
}

static void a_role_alone_is_no_content(void **state)
{
    (void)state;
    assert_int_equal(chat_flags("{\"role\":\"assistant\"}"), SBX_DELTA_ROLE);
    assert_int_equal(chat_flags("{\"role\":\"assistant\",\"content\":\"\"}"), SBX_DELTA_ROLE);
    assert_int_equal(
        chat_flags("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[],\"refusal\":null}"),
        SBX_DELTA_ROLE);
}

static void an_empty_chunk_has_no_flags(void **state)
{
    (void)state;
    assert_int_equal(chat_flags("{}"), 0);
    assert_int_equal(chat_flags("{\"content\":\"\"}"), 0);
    assert_int_equal(chat_flags("null"), 0);
    assert_int_equal(flags_of("{\"choices\":[{\"text\":\"\",\"finish_reason\":null,\"logprobs\":null}]}"), 0);
}

static void every_kind_of_content_is_seen(void **state)
{
    (void)state;
    assert_int_equal(chat_flags("{\"content\":\" \"}"), SBX_DELTA_CONTENT);
    assert_int_equal(chat_flags("{\"role\":\"assistant\",\"content\":\"x\"}"),
                     SBX_DELTA_ROLE | SBX_DELTA_CONTENT);
    assert_int_equal(chat_flags("{\"reasoning_content\":\"hm\"}"), SBX_DELTA_REASONING);
    assert_int_equal(chat_flags("{\"reasoning\":\"hm\",\"content\":\"\"}"), SBX_DELTA_REASONING);
    assert_int_equal(chat_flags("{\"tool_calls\":[{\"index\":0}]}"), SBX_DELTA_TOOL);
    assert_int_equal(chat_flags("{\"function_call\":{\"name\":\"f\"}}"), SBX_DELTA_TOOL);
    assert_int_equal(chat_flags("{\"refusal\":\"no\"}"), SBX_DELTA_CONTENT);
    assert_int_equal(chat_flags("{\"audio\":{\"id\":\"a\"}}"), SBX_DELTA_CONTENT);
    assert_int_equal(flags_of("{\"choices\":[{\"text\":\"x\"}]}"), SBX_DELTA_CONTENT);
}

static void text_is_found_in_both_shapes(void **state)
{
    (void)state;
    assert_view(delta_of("{\"choices\":[{\"delta\":{\"content\":\"a\\n\"}}]}").text.text, "\"a\\n\"");
    assert_view(delta_of("{\"choices\":[{\"text\":\"b\"}]}").text.text, "\"b\"");
    assert_view(delta_of("{\"choices\":[{\"delta\":{\"reasoning\":\"c\"}}]}").reasoning.text, "\"c\"");
    assert_view(
        delta_of("{\"choices\":[{\"delta\":{}},{\"index\":1,\"delta\":{\"content\":\"d\"}}]}").text.text,
        "\"d\"");
}

static void a_finish_reason_is_seen(void **state)
{
    (void)state;
    sbx_delta delta = delta_of("{\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}");
    assert_int_equal(delta.flags, SBX_DELTA_FINISH);
    assert_view(delta.finish_reason.text, "\"length\"");
    assert_int_equal(flags_of("{\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}"),
                     SBX_DELTA_CONTENT | SBX_DELTA_FINISH);
}

static void a_usage_chunk_without_choices_is_seen(void **state)
{
    (void)state;
    sbx_delta delta = delta_of("{\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}");
    assert_int_equal(delta.flags, SBX_DELTA_USAGE | SBX_DELTA_NO_CHOICES);
    assert_int_equal(delta.usage.completion_tokens, 6);
    assert_int_equal(flags_of("{\"choices\":[{\"delta\":{}}],\"usage\":null}"), 0);
}

static void the_end_mark_is_seen(void **state)
{
    (void)state;
    assert_int_equal(flags_of("[DONE]"), SBX_DELTA_DONE);
    assert_int_equal(flags_of(" [DONE] "), SBX_DELTA_DONE);
    assert_int_equal(flags_of("[done]"), SBX_DELTA_MALFORMED);
}

static void errors_in_a_stream_are_seen(void **state)
{
    (void)state;
    assert_true(flags_of("{\"error\":{\"message\":\"x\"}}") & SBX_DELTA_ERROR);
    assert_true(flags_of("{\"object\":\"error\",\"message\":\"x\"}") & SBX_DELTA_ERROR);
    assert_false(flags_of("{\"error\":null,\"choices\":[{\"delta\":{}}]}") & SBX_DELTA_ERROR);
}

static void what_is_no_chunk_is_malformed(void **state)
{
    (void)state;
    assert_int_equal(flags_of(""), SBX_DELTA_MALFORMED);
    assert_int_equal(flags_of("hello"), SBX_DELTA_MALFORMED);
    assert_int_equal(flags_of("{\"choices\":[{\"delta\":{\"content\":\"x\""), SBX_DELTA_MALFORMED);
    assert_int_equal(flags_of("[]"), SBX_DELTA_MALFORMED);
    assert_true(flags_of("{\"choices\":[5]}") & SBX_DELTA_MALFORMED);
    assert_true(flags_of("{\"choices\":{}}") & SBX_DELTA_MALFORMED);
}

static void log_probabilities_are_seen(void **state)
{
    (void)state;
    assert_int_equal(flags_of("{\"choices\":[{\"delta\":{},\"logprobs\":{\"content\":[]}}]}"),
                     SBX_DELTA_LOGPROBS);
}

/* ---- answers that are not 200 ---- */

static sbx_outcome outcome_of(unsigned status, const char *body)
{
    return sbx_answer_outcome(status, /* has_retry_after= */ false, sbx_view_cstr(body));
}

static void success_and_foreign_statuses(void **state)
{
    (void)state;
    assert_int_equal(outcome_of(200, ""), SBX_OUTCOME_OK);
    assert_int_equal(outcome_of(302, ""), SBX_OUTCOME_MALFORMED);
    assert_int_equal(outcome_of(304, ""), SBX_OUTCOME_MALFORMED);
    assert_int_equal(outcome_of(100, ""), SBX_OUTCOME_MALFORMED);
    assert_int_equal(outcome_of(999, ""), SBX_OUTCOME_MALFORMED);
}

static void faults_of_the_request_are_client_errors(void **state)
{
    (void)state;
    assert_int_equal(outcome_of(400, "{\"error\":{\"code\":\"context_length_exceeded\"}}"),
                     SBX_OUTCOME_CLIENT_ERROR);
    assert_int_equal(outcome_of(404, "{\"detail\":\"Not Found\"}"), SBX_OUTCOME_CLIENT_ERROR);
    assert_int_equal(outcome_of(409, ""), SBX_OUTCOME_CLIENT_ERROR);
    assert_int_equal(outcome_of(413, ""), SBX_OUTCOME_CLIENT_ERROR);
    assert_int_equal(outcome_of(422, ""), SBX_OUTCOME_CLIENT_ERROR);
}

static void our_own_wrong_key_is_told_apart(void **state)
{
    (void)state;
    assert_int_equal(outcome_of(401, ""), SBX_OUTCOME_AUTH);
    assert_int_equal(outcome_of(402, ""), SBX_OUTCOME_AUTH);
    assert_int_equal(outcome_of(403, ""), SBX_OUTCOME_AUTH);
}

static void a_missing_model_is_recognised_in_every_engines_words(void **state)
{
    (void)state;
    assert_int_equal(outcome_of(404, "{\"error\":{\"message\":\"model 'x' not found\"}}"),
                     SBX_OUTCOME_MODEL_MISSING);
    assert_int_equal(outcome_of(404, "{\"object\":\"error\",\"message\":\"The model `x` does not exist.\"}"),
                     SBX_OUTCOME_MODEL_MISSING);
    assert_int_equal(outcome_of(404, "{\"error\":{\"code\":\"model_not_found\"}}"),
                     SBX_OUTCOME_MODEL_MISSING);
    assert_int_equal(outcome_of(404, "{\"error\": \"404 Client Error. Repository Not Found for url\"}"),
                     SBX_OUTCOME_MODEL_MISSING);
}

static void busy_workers_are_overloaded_not_broken(void **state)
{
    (void)state;
    assert_int_equal(outcome_of(429, ""), SBX_OUTCOME_OVERLOADED);
    assert_int_equal(outcome_of(529, ""), SBX_OUTCOME_OVERLOADED);
    assert_int_equal(outcome_of(503, "{\"error\":{\"code\":503,\"message\":\"Loading model\"}}"),
                     SBX_OUTCOME_OVERLOADED);
    assert_int_equal(
        outcome_of(503, "{\"error\":\"server busy, please try again.  maximum pending requests exceeded\"}"),
        SBX_OUTCOME_OVERLOADED);
    assert_int_equal(sbx_answer_outcome(503, /* has_retry_after= */ true, SBX_VIEW("")),
                     SBX_OUTCOME_OVERLOADED);
}

static void other_5xx_and_408_are_server_errors(void **state)
{
    (void)state;
    assert_int_equal(outcome_of(500, "{\"error\":\"Loading model\"}"), SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(outcome_of(502, ""), SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(outcome_of(503, "upstream connect error"), SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(outcome_of(504, ""), SBX_OUTCOME_SERVER_ERROR);
    assert_int_equal(outcome_of(408, ""), SBX_OUTCOME_SERVER_ERROR);
}

static void an_exceeded_context_is_recognised(void **state)
{
    (void)state;
    assert_true(
        sbx_answer_is_context_exceeded(SBX_VIEW("This model's maximum context length is 4096 tokens")));
    assert_true(sbx_answer_is_context_exceeded(SBX_VIEW("{\"type\":\"exceed_context_size_error\"}")));
    assert_false(sbx_answer_is_context_exceeded(SBX_VIEW("{\"message\":\"bad temperature\"}")));
}

/* ---- lists of models ---- */

static void models_are_read_with_their_context_length(void **state)
{
    (void)state;
    const sbx_model_info *models;
    size_t count;
    sbx_view body = SBX_VIEW(
        "{\"object\":\"list\",\"data\":[{\"id\":\"a\\u002fb\",\"owned_by\":\"vllm\",\"max_model_len\":4096},"
        "{\"id\":\"c\",\"context_length\":8192},{\"id\":\"d\",\"meta\":{\"n_ctx_train\":32768}},"
        "{\"id\":\"e\"}]}");
    assert_int_equal(sbx_models_parse(body, &arena, &models, &count, NULL), SBX_OK);
    assert_int_equal(count, 4);
    assert_view(models[0].id, "a/b");
    assert_view(models[0].owned_by, "vllm");
    assert_int_equal(models[0].context_length, 4096);
    assert_int_equal(models[1].context_length, 8192);
    assert_int_equal(models[2].context_length, 32768);
    assert_int_equal(models[3].context_length, 0);
}

static void entries_without_a_usable_id_are_left_out(void **state)
{
    (void)state;
    const sbx_model_info *models;
    size_t count;
    sbx_view body = SBX_VIEW("{\"data\":[{},{\"id\":5},{\"id\":\"\"},{\"id\":\"a\\nb\"},7,{\"id\":\"ok\"}]}");
    assert_int_equal(sbx_models_parse(body, &arena, &models, &count, NULL), SBX_OK);
    assert_int_equal(count, 1);
    assert_view(models[0].id, "ok");
}

static void other_bodies_are_no_lists_of_models(void **state)
{
    (void)state;
    const sbx_model_info *models;
    size_t count;
    sbx_errinfo info = {0};
    assert_int_equal(sbx_models_parse(SBX_VIEW("{\"models\":[]}"), &arena, &models, &count, &info),
                     SBX_E_PARSE);
    assert_non_null(strstr(info.text, "data"));
    assert_int_equal(sbx_models_parse(SBX_VIEW("Not found"), &arena, &models, &count, NULL), SBX_E_PARSE);
}

static void of_a_very_long_list_the_first_256_are_taken(void **state)
{
    (void)state;
    static char body[20000] = "{\"data\":[{\"id\":\"m\"}";
    const sbx_model_info *models;
    size_t count;
    for (int i = 0; i < 300; i++)
        snprintf(body + strlen(body), 32, ",{\"id\":\"m%d\"}", i);
    strcat(body, "]}");
    assert_int_equal(sbx_models_parse(sbx_view_cstr(body), &arena, &models, &count, NULL), SBX_OK);
    assert_int_equal(count, SBX_MODELS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_complete_chat_answer_passes_with_its_usage),
        cmocka_unit_test(usage_is_not_required),
        cmocka_unit_test(each_endpoint_needs_its_member),
        cmocka_unit_test(an_error_under_200_is_no_answer),
        cmocka_unit_test(broken_and_foreign_bodies_are_no_answers),
        cmocka_unit_test(metadata_is_added_at_the_end_and_nothing_else_changes),
        cmocka_unit_test(an_engines_own_metadata_is_replaced),
        cmocka_unit_test(a_role_alone_is_no_content),
        cmocka_unit_test(an_empty_chunk_has_no_flags),
        cmocka_unit_test(every_kind_of_content_is_seen),
        cmocka_unit_test(text_is_found_in_both_shapes),
        cmocka_unit_test(a_finish_reason_is_seen),
        cmocka_unit_test(a_usage_chunk_without_choices_is_seen),
        cmocka_unit_test(the_end_mark_is_seen),
        cmocka_unit_test(errors_in_a_stream_are_seen),
        cmocka_unit_test(what_is_no_chunk_is_malformed),
        cmocka_unit_test(log_probabilities_are_seen),
        cmocka_unit_test(success_and_foreign_statuses),
        cmocka_unit_test(faults_of_the_request_are_client_errors),
        cmocka_unit_test(our_own_wrong_key_is_told_apart),
        cmocka_unit_test(a_missing_model_is_recognised_in_every_engines_words),
        cmocka_unit_test(busy_workers_are_overloaded_not_broken),
        cmocka_unit_test(other_5xx_and_408_are_server_errors),
        cmocka_unit_test(an_exceeded_context_is_recognised),
        cmocka_unit_test(models_are_read_with_their_context_length),
        cmocka_unit_test(entries_without_a_usable_id_are_left_out),
        cmocka_unit_test(other_bodies_are_no_lists_of_models),
        cmocka_unit_test(of_a_very_long_list_the_first_256_are_taken),
    };
    return cmocka_run_group_tests(tests, make_arena, drop_arena);
}
