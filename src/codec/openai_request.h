/* From a request body to what routing needs to know. Nothing is copied but a decoded name; all other
 * bytes of the body stay as the client sent them. */
#ifndef SBX_CODEC_OPENAI_REQUEST_H
#define SBX_CODEC_OPENAI_REQUEST_H

#include "codec/json_scan.h"

typedef enum sbx_endpoint {
    SBX_ENDPOINT_CHAT,
    SBX_ENDPOINT_COMPLETIONS,
    SBX_ENDPOINT_EMBEDDINGS,
    SBX_ENDPOINT_RERANK,
} sbx_endpoint;

enum {
    SBX_MODEL_MAX = 512,
    SBX_SESSION_MAX = 256
}; /* longest decoded names, in bytes */

/* "/v1/chat/completions"; and the endpoint of a path ("/v1/reranking" too), false when it is none. */
const char *sbx_endpoint_path(sbx_endpoint endpoint);
bool sbx_endpoint_from_path(sbx_view path, sbx_endpoint *ret_endpoint);

/* null counts as "not there" for every member but model. */
typedef struct sbx_openai_request {
    sbx_view body;
    sbx_endpoint endpoint;

    sbx_view model;             /* decoded, 1 to SBX_MODEL_MAX bytes */
    sbx_json_value model_value; /* in the body */

    sbx_json_value input; /* messages, prompt, input or (rerank) documents */
    bool stream;
    bool wants_usage;              /* stream_options.include_usage is true */
    sbx_json_value stream_options; /* as in the body; may be NULL type */
    sbx_json_value include_usage;  /* as in the body; may be NULL type */

    sbx_view session_id;          /* decoded; empty when none */
    sbx_view prompt_cache_key;    /* decoded; empty when none or no string */
    sbx_json_value session_value; /* in the body; any type, NONE when not there */
    size_t session_key_offset;

    int64_t max_tokens; /* max_completion_tokens before max_tokens; -1 when none or no integer */
    int64_t n;          /* 1 when none */
    bool has_tools, has_response_format, has_logprobs; /* given and neither null, false nor empty */
} sbx_openai_request;

/* SBX_E_PARSE: malformed JSON, or a member that is missing or of the wrong type; info says where, what was
 * expected and (info.param) which member. SBX_E_NOMEM. Keeps `body`; names may live in the arena. */
sbx_err sbx_openai_request_parse(sbx_view body, sbx_endpoint endpoint, sbx_arena *arena,
                                 sbx_openai_request *ret_request, sbx_errinfo *reterr_info);

#endif
