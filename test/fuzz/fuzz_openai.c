/* Requests with all their edits, answers with our metadata, stream chunks, error bodies, lists of models.
 * layers: codec base
 * The first byte chooses the endpoint. */
#include <assert.h>
#include <stdint.h>

#include "codec/openai_response.h"
#include "codec/splice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void join(const sbx_view *pieces, size_t count, size_t total, sbx_buf *out)
{
    for (size_t i = 0; i < count; i++) {
        assert(pieces[i].len > 0);
        sbx_buf_append_view(out, pieces[i]);
    }
    assert(sbx_buf_error(out) == SBX_OK && out->len == total);
}

static void assert_edited_reads_back(const sbx_splice *splice, const sbx_openai_request *request,
                                     sbx_arena *arena)
{
    sbx_view pieces[SBX_SPLICE_MAX_PIECES];
    sbx_openai_request back;
    sbx_buf out;
    size_t total;
    sbx_buf_init(&out, SIZE_MAX);
    size_t count = sbx_splice_pieces(splice, pieces, &total);
    join(pieces, count, total, &out);
    assert(sbx_openai_request_parse(sbx_buf_view(&out), request->endpoint, arena, &back, NULL) == SBX_OK);
    assert(sbx_view_eq_cstr(back.model, "other/\"model\"") && back.wants_usage);
    assert(back.session_value.type == SBX_JSON_NONE && back.stream == request->stream);
    assert(sbx_view_eq(back.input.text, request->input.text) && back.n == request->n);
    sbx_buf_deinit(&out);
}

static void request(sbx_view body, sbx_endpoint endpoint, sbx_arena *arena)
{
    sbx_openai_request parsed;
    sbx_splice splice;
    sbx_errinfo info = {0};
    sbx_json_value root;
    if (sbx_openai_request_parse(body, endpoint, arena, &parsed, &info) != SBX_OK) {
        assert(info.code == SBX_E_PARSE && info.offset <= body.len && info.text[0] != '\0');
        return;
    }
    assert(parsed.model.len > 0 && parsed.model.len <= SBX_MODEL_MAX);
    sbx_splice_init(&splice, body);
    assert(sbx_splice_model(&splice, &parsed, SBX_VIEW("other/\"model\""), arena) == SBX_OK);
    assert(sbx_splice_drop_session(&splice, &parsed) == SBX_OK);
    assert(sbx_splice_include_usage(&splice, &parsed) == SBX_OK);
    /* One key more may be one too many. */
    sbx_json_scan(body, NULL, 0, &root, NULL);
    sbx_json_iter iter;
    sbx_json_value value;
    size_t keys = 0;
    sbx_json_iter_init(&iter, root);
    while (sbx_json_iter_next(&iter, NULL, &value))
        keys++;
    if (keys < SBX_JSON_MAX_KEYS)
        assert_edited_reads_back(&splice, &parsed, arena);
}

static void answer(sbx_view body, sbx_endpoint endpoint)
{
    sbx_answer_info info, again;
    sbx_view pieces[SBX_ANSWER_MAX_PIECES];
    size_t total;
    sbx_buf out;
    if (sbx_answer_check(body, endpoint, &info, NULL) != SBX_OK)
        return;
    sbx_buf_init(&out, SIZE_MAX);
    size_t count = sbx_answer_with_metadata(body, &info, SBX_VIEW("{\"a\":1}"), pieces, &total);
    join(pieces, count, total, &out);
    if (sbx_answer_check(sbx_buf_view(&out), endpoint, &again, NULL) == SBX_OK) {
        assert(sbx_view_eq_cstr(again.metadata.text, "{\"a\":1}"));
        assert(again.usage.total_tokens == info.usage.total_tokens);
    } else {
        assert(info.metadata.type == SBX_JSON_NONE); /* the one key too many again */
    }
    sbx_buf_deinit(&out);
}

static void chunk(sbx_view data, sbx_arena *arena)
{
    sbx_delta delta;
    sbx_view text;
    sbx_delta_classify(data, &delta);
    assert((delta.text.type == SBX_JSON_NONE) || (delta.flags & SBX_DELTA_CONTENT));
    assert(((delta.flags & SBX_DELTA_REASONING) != 0) == (delta.reasoning.type == SBX_JSON_STRING));
    assert(((delta.flags & SBX_DELTA_FINISH) != 0) == (delta.finish_reason.type == SBX_JSON_STRING));
    if (delta.text.type == SBX_JSON_STRING)
        assert(sbx_json_string(delta.text.text, arena, &text) == SBX_OK && text.len > 0);
}

static void models(sbx_view body, sbx_arena *arena)
{
    const sbx_model_info *list;
    size_t count;
    if (sbx_models_parse(body, arena, &list, &count, NULL) != SBX_OK)
        return;
    assert(count <= SBX_MODELS_MAX);
    for (size_t i = 0; i < count; i++)
        assert(list[i].id.len > 0 && list[i].id.len <= SBX_MODEL_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sbx_arena arena;
    if (size == 0)
        return 0;
    sbx_endpoint endpoint = (sbx_endpoint)(data[0] % 4);
    sbx_view body = sbx_view_of(data + 1, size - 1);
    sbx_arena_init(&arena, SIZE_MAX);
    request(body, endpoint, &arena);
    answer(body, endpoint);
    chunk(body, &arena);
    models(body, &arena);
    (void)sbx_answer_outcome(400U + data[0], data[0] & 1, body);
    sbx_arena_deinit(&arena);
    return 0;
}
