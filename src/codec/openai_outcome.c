/* Answers that are not 200: which row of the classification table they are. */
#include "codec/openai_response.h"

/* Only so far is an error body searched: what matters stands at its beginning. */
enum {
    SEARCHED_BYTES = 4096
};

static bool mentions(sbx_view body, const char *text)
{
    return sbx_view_contains_nocase(sbx_view_slice(body, 0, SEARCHED_BYTES), sbx_view_cstr(text));
}

static bool mentions_any(sbx_view body, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (mentions(body, texts[i]))
            return true;
    }
    return false;
}

#define MENTIONS_ANY(body, texts) mentions_any((body), (texts), sizeof(texts) / sizeof((texts)[0]))

bool sbx_answer_is_busy(sbx_view body)
{
    static const char *const texts[] = {
        "loading model",            /* llama.cpp */
        "server busy",              /* Ollama */
        "maximum pending requests", /* Ollama */
        "no slot available",        /* llama.cpp */
        "model is loading",         /* LM Studio and others */
        "currently loading",        /* text-embeddings-inference, hosted engines */
        "overloaded",               /* overloaded_error and the like */
        "too many requests",
        "server is busy",
        "queue is full",
        "at capacity",
        "WORKER_OVERLOADED", /* ourselves, further down */
    };
    return MENTIONS_ANY(body, texts);
}

bool sbx_answer_is_model_missing(sbx_view body)
{
    static const char *const codes[] = {
        "model_not_found",
        "repository not found", /* mlx_lm.server, which loads by name */
        "unknown model",
        "no such model",
    };
    static const char *const absences[] = {"not found", "does not exist", "not exist", "not loaded",
                                           "not available"};
    return MENTIONS_ANY(body, codes) || (mentions(body, "model") && MENTIONS_ANY(body, absences));
}

bool sbx_answer_is_context_exceeded(sbx_view body)
{
    static const char *const texts[] = {
        "context_length_exceeded",
        "exceed_context_size", /* llama.cpp */
        "exceeds the available context",
        "maximum context length", /* vLLM */
        "context window",
        "context length",
    };
    return MENTIONS_ANY(body, texts);
}

/* The first number behind the text, at most a few words further on; 0: none. */
static uint64_t number_behind(sbx_view body, const char *text)
{
    enum {
        WORDS = 24
    };
    sbx_view wanted = sbx_view_cstr(text);
    for (size_t at = 0; at + wanted.len <= body.len; at++) {
        if (!sbx_view_eq_nocase(sbx_view_slice(body, at, wanted.len), wanted))
            continue;
        sbx_view near = sbx_view_slice(body, at + wanted.len, WORDS);
        size_t start = 0, end;
        while (start < near.len && (near.data[start] < '0' || near.data[start] > '9'))
            start++;
        sbx_view rest = sbx_view_skip(body, at + wanted.len + start);
        for (end = 0; end < rest.len && rest.data[end] >= '0' && rest.data[end] <= '9';)
            end++;
        uint64_t number = 0;
        return sbx_view_to_u64(sbx_view_slice(rest, 0, end), UINT32_MAX, &number) == SBX_OK ? number : 0;
    }
    return 0;
}

uint64_t sbx_answer_context_limit(sbx_view body)
{
    static const char *const texts[] = {
        "\"n_ctx\"",                 /* llama.cpp */
        "maximum context length is", /* OpenAI, vLLM */
        "available context size",
        "context window of",
        "context length of",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        uint64_t limit = number_behind(sbx_view_slice(body, 0, SEARCHED_BYTES), texts[i]);
        if (limit > 0)
            return limit;
    }
    return 0;
}

static sbx_outcome client_error(unsigned status, sbx_view body)
{
    switch (status) {
    case 401:
    case 402:
    case 403:
        return SBX_OUTCOME_AUTH;
    case 404:
        return sbx_answer_is_model_missing(body) ? SBX_OUTCOME_MODEL_MISSING : SBX_OUTCOME_CLIENT_ERROR;
    case 408:
        return SBX_OUTCOME_SERVER_ERROR;
    case 429:
        return SBX_OUTCOME_OVERLOADED;
    default:
        return SBX_OUTCOME_CLIENT_ERROR;
    }
}

sbx_outcome sbx_answer_outcome(unsigned status, bool has_retry_after, sbx_view body)
{
    if (status >= 200 && status <= 299)
        return SBX_OUTCOME_OK;
    if (status < 400 || status > 599)
        return SBX_OUTCOME_MALFORMED;
    if (status < 500)
        return client_error(status, body);
    if (status == 529)
        return SBX_OUTCOME_OVERLOADED;
    if (status == 503 && (has_retry_after || sbx_answer_is_busy(body)))
        return SBX_OUTCOME_OVERLOADED;
    return SBX_OUTCOME_SERVER_ERROR;
}
