/* Embeddings and rerank of the simulated engine: numbers that depend on the texts alone. An embedding has
 * components from -1 to 1 in steps of 1/1000; a score is the share of the query's words a document holds,
 * plus a small part of its own to break ties. */
#include <stdlib.h>
#include <string.h>

#include "worker/sim_answer.h"
#include "worker/sim_text.h"

enum {
    STEPS = 1000
};

/* ---- embeddings ---- */

/* -1000 .. 1000 */
static int component(uint64_t hash, uint32_t index)
{
    uint32_t salt = index * UINT32_C(2654435761);
    uint8_t bytes[4] = {(uint8_t)salt, (uint8_t)(salt >> 8), (uint8_t)(salt >> 16), (uint8_t)(salt >> 24)};
    return (int)(sbx_sim_hash_add(hash, sbx_view_of(bytes, sizeof(bytes))) % (2 * STEPS + 1)) - STEPS;
}

static void write_floats(uint64_t hash, uint32_t dimensions, sbx_buf *out)
{
    sbx_buf_append_byte(out, '[');
    for (uint32_t i = 0; i < dimensions; i++) {
        int value = component(hash, i);
        sbx_buf_appendf(out, "%s%s%d.%03d", i > 0 ? "," : "", value < 0 ? "-" : "", abs(value) / STEPS,
                        abs(value) % STEPS);
    }
    sbx_buf_append_byte(out, ']');
}

/* The bytes of the component as a little-endian IEEE float, one after the other. */
static uint8_t float_byte(uint64_t hash, size_t at)
{
    float value = (float)component(hash, (uint32_t)(at / 4)) / (float)STEPS;
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return (uint8_t)(bits >> (8 * (at % 4)));
}

static void write_base64(uint64_t hash, uint32_t dimensions, sbx_buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t total = (size_t)dimensions * 4;
    sbx_buf_append_byte(out, '"');
    for (size_t at = 0; at < total; at += 3) {
        size_t left = total - at;
        uint32_t group = (uint32_t)float_byte(hash, at) << 16;
        group |= left > 1 ? (uint32_t)float_byte(hash, at + 1) << 8 : 0;
        group |= left > 2 ? float_byte(hash, at + 2) : 0;
        sbx_buf_append_byte(out, (uint8_t)digits[group >> 18]);
        sbx_buf_append_byte(out, (uint8_t)digits[group >> 12 & 63]);
        sbx_buf_append_byte(out, left > 1 ? (uint8_t)digits[group >> 6 & 63] : '=');
        sbx_buf_append_byte(out, left > 2 ? (uint8_t)digits[group & 63] : '=');
    }
    sbx_buf_append_byte(out, '"');
}

static void write_embedding(const sbx_sim_request *request, size_t index, sbx_buf *out)
{
    uint64_t hash = sbx_sim_hash_add(request->key, request->items.items[index]);
    sbx_buf_append_cstr(out, "{\"object\":\"embedding\",\"embedding\":");
    if (request->as_base64)
        write_base64(hash, request->dimensions, out);
    else
        write_floats(hash, request->dimensions, out);
    sbx_buf_appendf(out, ",\"index\":%zu}", index);
}

void sbx_sim_write_embeddings(const sbx_sim_request *request, sbx_buf *out)
{
    sbx_buf_append_cstr(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < request->items.count; i++) {
        if (i > 0)
            sbx_buf_append_byte(out, ',');
        write_embedding(request, i, out);
    }
    sbx_buf_append_cstr(out, "],\"model\":");
    sbx_buf_append_json(out, request->model);
    sbx_buf_appendf(out, ",\"usage\":{\"prompt_tokens\":%u,\"total_tokens\":%u}}", request->prompt_tokens,
                    request->prompt_tokens);
}

/* ---- rerank ---- */

typedef struct ranked {
    size_t index;
    uint32_t score; /* in thousandths */
} ranked;

/* How many of the query's words the document holds, in thousandths of them. */
static uint32_t overlap(sbx_view query, sbx_view document)
{
    uint32_t words = 0, found = 0;
    for (size_t at = 0; at < query.len;) {
        size_t end = sbx_view_find(query, ' ', at);
        sbx_view word = sbx_view_slice(query, at, end == SIZE_MAX ? SIZE_MAX : end - at);
        at = end == SIZE_MAX ? query.len : end + 1;
        if (word.len == 0)
            continue;
        words++;
        found += sbx_view_contains_nocase(document, word) ? 1 : 0;
    }
    return words == 0 ? 0 : found * STEPS / words;
}

static uint32_t score_of(const sbx_sim_request *request, sbx_view document)
{
    uint64_t own = sbx_sim_hash_add(sbx_sim_hash_init(0), document) % (STEPS / 10);
    return overlap(request->query, document) * 9 / 10 + (uint32_t)own;
}

static int by_score(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : 1;
}

static void write_result(const sbx_sim_request *request, const ranked *result, sbx_buf *out)
{
    sbx_buf_appendf(out, "{\"index\":%zu,\"relevance_score\":%u.%03u", result->index, result->score / STEPS,
                    result->score % STEPS);
    if (request->return_documents) {
        sbx_buf_append_cstr(out, ",\"document\":{\"text\":");
        sbx_buf_append_json(out, request->items.items[result->index]);
        sbx_buf_append_byte(out, '}');
    }
    sbx_buf_append_byte(out, '}');
}

sbx_err sbx_sim_write_rerank(const sbx_sim_request *request, sbx_arena *arena, sbx_buf *out)
{
    size_t count = request->items.count;
    ranked *results = SBX_ARENA_ARRAY(arena, ranked, count);
    if (results == NULL)
        return SBX_E_NOMEM;
    for (size_t i = 0; i < count; i++)
        results[i] = (ranked){i, score_of(request, request->items.items[i])};
    qsort(results, count, sizeof(results[0]), by_score);
    if (request->top_n >= 0 && (size_t)request->top_n < count)
        count = (size_t)request->top_n;
    sbx_buf_append_cstr(out, "{\"id\":\"rerank-sim\",\"object\":\"list\",\"model\":");
    sbx_buf_append_json(out, request->model);
    sbx_buf_appendf(out, ",\"usage\":{\"prompt_tokens\":%u,\"total_tokens\":%u},\"results\":[",
                    request->prompt_tokens, request->prompt_tokens);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            sbx_buf_append_byte(out, ',');
        write_result(request, &results[i], out);
    }
    sbx_buf_append_cstr(out, "]}");
    return SBX_OK;
}
