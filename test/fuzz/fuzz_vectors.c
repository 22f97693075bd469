/* Answers with vectors and ranks: what is accepted reads back, in order and complete.
 * layers: codec base
 * Input: endpoint byte, request, NUL, answer. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "codec/openai_embeddings.h"
#include "codec/openai_rerank.h"
#include "codec/openai_response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static sbx_err check(sbx_view body, const sbx_openai_request *request, sbx_buf *out)
{
    sbx_errinfo info = {0};
    sbx_err err = request->endpoint == SBX_ENDPOINT_RERANK ? sbx_rerank_check(body, request, out, &info)
                                                           : sbx_embeddings_check(body, request, out, &info);
    assert(err == SBX_OK || info.text[0] != '\0');
    return err;
}

/* What was written anew needs no second writing. */
static void assert_is_settled(sbx_view body, const sbx_openai_request *request)
{
    sbx_answer_info info;
    sbx_buf again;
    sbx_buf_init(&again, SIZE_MAX);
    assert(sbx_answer_check(body, request->endpoint, &info, NULL) == SBX_OK);
    assert(check(body, request, &again) == SBX_OK);
    assert(again.len == 0 || sbx_view_eq(sbx_buf_view(&again), body));
    sbx_buf_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size < 2 ? NULL : memchr(data + 1, '\0', size - 1);
    if (end == NULL)
        return 0;
    sbx_arena arena;
    sbx_openai_request request;
    sbx_answer_info info;
    sbx_buf out;
    sbx_endpoint endpoint = data[0] % 2 == 0 ? SBX_ENDPOINT_EMBEDDINGS : SBX_ENDPOINT_RERANK;
    sbx_view asked = sbx_view_of(data + 1, (size_t)(end - data - 1));
    sbx_view body = sbx_view_of(end + 1, (size_t)(data + size - end - 1));
    sbx_arena_init(&arena, SIZE_MAX);
    sbx_buf_init(&out, SIZE_MAX);
    (void)sbx_answer_context_limit(body);
    if (sbx_openai_request_parse(asked, endpoint, &arena, &request, NULL) == SBX_OK &&
        sbx_answer_check(body, endpoint, &info, NULL) == SBX_OK && check(body, &request, &out) == SBX_OK &&
        out.len > 0)
        assert_is_settled(sbx_buf_view(&out), &request);
    sbx_buf_deinit(&out);
    sbx_arena_deinit(&arena);
    return 0;
}
