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
