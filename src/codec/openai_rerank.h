/* The answer to POST /v1/rerank (the Jina and Cohere shape) against its request: every result names a
 * document that was sent, each once, best first, top_n of them at most, with the documents if they were asked
 * for. What only differs in order, number, or the spelling of engines ("data", "score") is written anew;
 * anything else that does not fit is no answer. */
#ifndef SBX_CODEC_OPENAI_RERANK_H
#define SBX_CODEC_OPENAI_RERANK_H

#include "codec/openai_request.h"

/* body: JSON that sbx_answer_check() accepted. Appends the whole body to `out` when it had to be written
 * anew, else leaves `out` empty. SBX_E_PARSE: no answer to this request, info says why and quotes nothing of
 * it; SBX_E_NOMEM, SBX_E_CAP. */
sbx_err sbx_rerank_check(sbx_view body, const sbx_openai_request *request, sbx_buf *out,
                         sbx_errinfo *reterr_info);

#endif
