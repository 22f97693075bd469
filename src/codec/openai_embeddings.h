/* The answer to POST /v1/embeddings against its request: one vector per input, each once and of one
 * dimension, in the order of the inputs, in the encoding that was asked for. What is in another order or
 * encoding is written anew; anything else that does not fit is no answer. */
#ifndef SBX_CODEC_OPENAI_EMBEDDINGS_H
#define SBX_CODEC_OPENAI_EMBEDDINGS_H

#include "codec/openai_request.h"

/* How many vectors the request asks for: a string or a list of token ids is one input. */
size_t sbx_embeddings_inputs(const sbx_openai_request *request);

/* body: JSON that sbx_answer_check() accepted. Appends the whole body to `out` when it had to be written
 * anew, else leaves `out` empty. SBX_E_PARSE: no answer to this request, info says why and quotes nothing of
 * it; SBX_E_NOMEM, SBX_E_CAP. */
sbx_err sbx_embeddings_check(sbx_view body, const sbx_openai_request *request, sbx_buf *out,
                             sbx_errinfo *reterr_info);

#endif
