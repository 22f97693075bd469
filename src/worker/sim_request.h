/* What the simulated engine reads out of an OpenAI request: everything its answer depends on, and nothing
 * else. */
#ifndef SBX_WORKER_SIM_REQUEST_H
#define SBX_WORKER_SIM_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/view.h"

typedef enum sbx_sim_kind {
    SBX_SIM_CHAT,
    SBX_SIM_COMPLETION,
    SBX_SIM_EMBEDDINGS,
    SBX_SIM_RERANK
} sbx_sim_kind;

enum {
    SBX_SIM_STOPS_MAX = 8,
    SBX_SIM_ITEMS_MAX = 2048, /* inputs to embed, documents to rank */
    SBX_SIM_DIMENSIONS = 64,
    SBX_SIM_DIMENSIONS_MAX = 4096
};

typedef struct sbx_sim_views {
    const sbx_view *items;
    size_t count;
} sbx_sim_views;

/* All views lie in the arena it was parsed into. */
typedef struct sbx_sim_request {
    sbx_sim_kind kind;
    sbx_view model;

    /* chat and completions */
    bool stream;
    bool include_usage;
    bool ignore_eos;     /* go on to the limit */
    int64_t max_tokens;  /* -1: not said */
    int64_t min_tokens;  /* no natural end before */
    sbx_sim_views stops; /* none is empty */
    uint64_t key;        /* of the text */
    sbx_view prefill;    /* a last message of the assistant's; empty when there is none */
    sbx_view tool_name;  /* a tool that must be called; empty when none */
    uint32_t prompt_tokens;

    /* embeddings: the inputs as text (lists of token ids as their JSON); rerank: the documents */
    sbx_sim_views items;
    sbx_view query;
    uint32_t dimensions;
    bool as_base64;
    bool return_documents;
    int64_t top_n; /* -1: all */
} sbx_sim_request;

/* The kind of a path such as "/v1/chat/completions"; false when it is none of ours. */
bool sbx_sim_kind_of_path(sbx_view path, sbx_sim_kind *ret_kind);

/* seed goes into the key, and the request's own "seed" if it has one.
 *
 * reterr_info  a sentence for the client, on SBX_E_PARSE (not JSON) and SBX_E_INVALID (a field is missing or
 * wrong)
 *
 * Returns SBX_OK, SBX_E_PARSE, SBX_E_INVALID or SBX_E_NOMEM. */
sbx_err sbx_sim_request_parse(sbx_arena *arena, sbx_sim_kind kind, sbx_view body, uint64_t seed,
                              sbx_sim_request *ret_request, sbx_errinfo *reterr_info);

#endif
