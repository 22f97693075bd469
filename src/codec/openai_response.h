/* What an engine's answer means: a complete buffered body, one chunk of a stream, an error body, a model
 * list. Judges bytes only; what follows from it is core's business. */
#ifndef SBX_CODEC_OPENAI_RESPONSE_H
#define SBX_CODEC_OPENAI_RESPONSE_H

#include "base/outcome.h"
#include "codec/openai_request.h"

typedef struct sbx_usage {
    bool is_present;
    uint64_t prompt_tokens;
    uint64_t completion_tokens;
    uint64_t total_tokens;
} sbx_usage;

/* ---- a complete body of a 200 answer ---- */

typedef struct sbx_answer_info {
    sbx_usage usage;
    sbx_json_value metadata; /* an upstream member of that name; NONE usually */
    size_t close_offset;     /* of the final brace */
} sbx_answer_info;

/* SBX_E_PARSE: not well-formed, not an object, an error body, or without the endpoint's member (choices,
 * data, results: an array; choices not empty). info says why; its text quotes nothing of the answer. */
sbx_err sbx_answer_check(sbx_view body, sbx_endpoint endpoint, sbx_answer_info *ret_info,
                         sbx_errinfo *reterr_info);

/* The checked body with a top-level `metadata` member of this JSON text: replaced, or added at the end.
 * Keeps both. Returns the number of pieces, none empty. */
enum {
    SBX_ANSWER_MAX_PIECES = 4
};
size_t sbx_answer_with_metadata(sbx_view body, const sbx_answer_info *info, sbx_view metadata,
                                sbx_view ret_pieces[SBX_ANSWER_MAX_PIECES], size_t *ret_total_bytes);

/* ---- one chunk of a stream: the data of one SSE event ---- */

enum {
    SBX_DELTA_ROLE = 1,        /* says the role */
    SBX_DELTA_CONTENT = 2,     /* text (or refusal, audio) that is not empty */
    SBX_DELTA_TOOL = 4,        /* a tool or function call */
    SBX_DELTA_REASONING = 8,   /* reasoning text */
    SBX_DELTA_FINISH = 16,     /* a finish_reason */
    SBX_DELTA_USAGE = 32,      /* usage counts */
    SBX_DELTA_DONE = 64,       /* [DONE] */
    SBX_DELTA_ERROR = 128,     /* an error object */
    SBX_DELTA_MALFORMED = 256, /* no JSON object, or none of a chunk's shape */
    SBX_DELTA_LOGPROBS = 512,  /* logprobs that are not null */
    SBX_DELTA_NO_CHOICES =
        1024, /* the choices array is empty or missing: usage-only chunk or a foreign object */

    /* What commits a stream and resets its idle time. */
    SBX_DELTA_ANY_CONTENT = SBX_DELTA_CONTENT | SBX_DELTA_TOOL | SBX_DELTA_REASONING | SBX_DELTA_FINISH,
};

typedef struct sbx_delta {
    unsigned flags;
    sbx_json_value text;          /* content (chat) or text (completions) of the first choice that has some */
    sbx_json_value reasoning;     /* likewise */
    sbx_json_value finish_reason; /* a string when FINISH is set */
    sbx_usage usage;
} sbx_delta;

/* Total: flags 0 means an empty chunk. Values point into `data`; decode them with sbx_json_string(). */
void sbx_delta_classify(sbx_view data, sbx_delta *ret_delta);

/* ---- answers that are not 200 ---- */

/* llama.cpp "Loading model", Ollama "server busy", and their like. */
bool sbx_answer_is_busy(sbx_view body);
bool sbx_answer_is_model_missing(sbx_view body);
bool sbx_answer_is_context_exceeded(sbx_view body);
/* How many tokens the context has, where such an answer says so; 0 when it does not. */
uint64_t sbx_answer_context_limit(sbx_view body);

/* DESIGN 5's table. 2xx is OK (the body is sbx_answer_check's business). */
sbx_outcome sbx_answer_outcome(unsigned status, bool has_retry_after, sbx_view body);

/* ---- GET /v1/models ---- */

enum {
    SBX_MODELS_MAX = 256
};

typedef struct sbx_model_info {
    sbx_view id;             /* decoded, 1 to SBX_MODEL_MAX bytes */
    sbx_view owned_by;       /* empty when not told */
    uint64_t context_length; /* max_model_len, context_length or meta.n_ctx_train; 0 when not told */
} sbx_model_info;

/* {"data":[{"id"}..]}; entries without a usable id are left out, those above SBX_MODELS_MAX too. Views point
 * into the body or live in the arena. SBX_E_PARSE, SBX_E_NOMEM. */
sbx_err sbx_models_parse(sbx_view body, sbx_arena *arena, const sbx_model_info **ret_models,
                         size_t *ret_count, sbx_errinfo *reterr_info);

#endif
