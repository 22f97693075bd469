/* See openai_rerank.h. */
#include "codec/openai_rerank.h"

#include <math.h>

#include "codec/openai_vectors_priv.h"

typedef enum documents {
    AS_THEY_COME,
    WANTED,
    UNWANTED
} documents;

typedef struct result {
    sbx_json_value object;
    sbx_json_value score_text;
    sbx_json_value document; /* NONE: none came */
    double score;
    size_t index;
    bool is_plain; /* its score is called relevance_score */
} result;

typedef struct check {
    sbx_errinfo *info;
    documents documents;
    size_t document_count;
    size_t least; /* results: as many as were asked for */
    result *results;
    size_t count;
    bool *is_seen;        /* by index */
    sbx_json_value *sent; /* the documents, by index */
    bool must_write;
} check;

static sbx_err refuse(const check *c, const char *why)
{
    return sbx_errinfo_set(c->info, SBX_E_PARSE, 0, "%s", why);
}

/* ---- reading ---- */

static bool read_score(sbx_json_value object, result *r)
{
    r->is_plain = sbx_json_find(object, SBX_VIEW("relevance_score"), &r->score_text);
    if (!r->is_plain)
        (void)sbx_json_find(object, SBX_VIEW("score"), &r->score_text);
    if (r->score_text.type != SBX_JSON_NUMBER)
        return false;
    r->score = sbx_json_to_double(r->score_text);
    return isfinite(r->score);
}

static bool document_fits(const check *c, const result *r)
{
    bool has_one = r->document.type != SBX_JSON_NONE && r->document.type != SBX_JSON_NULL;
    switch (c->documents) {
    case AS_THEY_COME:
        return true;
    case WANTED:
        return has_one;
    case UNWANTED:
        return r->document.type == SBX_JSON_NONE;
    }
    return true;
}

static sbx_err take_result(check *c, sbx_json_value object)
{
    result r = {.object = object};
    sbx_json_value index_value;
    uint64_t index = 0;
    if (c->count == c->document_count)
        return refuse(c, "more results than documents");
    if (!sbx_json_find(object, SBX_VIEW("index"), &index_value) ||
        sbx_json_to_u64(index_value, &index) != SBX_OK || index >= c->document_count)
        return refuse(c, "a result's index is missing or out of range");
    if (c->is_seen[index])
        return refuse(c, "two results have one index");
    if (!read_score(object, &r))
        return refuse(c, "a result has no finite score");
    (void)sbx_json_find(object, SBX_VIEW("document"), &r.document);
    r.index = (size_t)index;
    c->is_seen[index] = true;
    bool is_in_order = c->count == 0 || c->results[c->count - 1].score >= r.score;
    c->must_write = c->must_write || !is_in_order || !r.is_plain || !document_fits(c, &r);
    c->results[c->count++] = r;
    return SBX_OK;
}

static sbx_err take_results(check *c, sbx_json_value list)
{
    sbx_json_iter iter;
    sbx_json_value object;
    sbx_json_iter_init(&iter, list);
    while (sbx_json_iter_next(&iter, NULL, &object)) {
        sbx_err err = take_result(c, object);
        if (err != SBX_OK)
            return err;
    }
    if (c->count < c->least)
        return refuse(c, "fewer results than were asked for");
    c->must_write = c->must_write || c->count > c->least;
    return SBX_OK;
}

/* Best first; equals by index. */
static int by_score(const void *a, const void *b)
{
    const result *x = a, *y = b;
    if (x->score < y->score || x->score > y->score)
        return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* ---- writing ---- */

/* A text that was sent comes back as {"text": ...}, as both APIs do it; what was sent as an object, as sent.
 */
static void write_document(const check *c, const result *r, sbx_buf *out)
{
    sbx_json_value sent = c->sent[r->index];
    bool has_one = r->document.type != SBX_JSON_NONE && r->document.type != SBX_JSON_NULL;
    sbx_buf_append_cstr(out, ",\"document\":");
    if (has_one) {
        sbx_buf_append_view(out, r->document.text);
        return;
    }
    if (sent.type == SBX_JSON_STRING)
        sbx_buf_append_cstr(out, "{\"text\":");
    sbx_buf_append_view(out, sent.text);
    if (sent.type == SBX_JSON_STRING)
        sbx_buf_append_byte(out, '}');
}

static void write_result(const check *c, const result *r, sbx_buf *out)
{
    bool has_one = r->document.type != SBX_JSON_NONE && r->document.type != SBX_JSON_NULL;
    if (r->is_plain && document_fits(c, r)) {
        sbx_buf_append_view(out, r->object.text);
        return;
    }
    sbx_buf_appendf(out, "{\"index\":%zu,\"relevance_score\":", r->index);
    sbx_buf_append_view(out, r->score_text.text);
    if (c->documents == WANTED || (c->documents == AS_THEY_COME && has_one))
        write_document(c, r, out);
    sbx_buf_append_byte(out, '}');
}

static sbx_err write_anew(const check *c, sbx_view body, const sbx_json_want *list, sbx_buf *out)
{
    size_t end = sbx_json_offset(body, list->value.text) + list->value.text.len;
    sbx_buf_append_view(out, sbx_view_slice(body, 0, list->key_offset));
    sbx_buf_append_cstr(out, "\"results\":[");
    for (size_t i = 0; i < c->least; i++) {
        if (i > 0)
            sbx_buf_append_byte(out, ',');
        write_result(c, &c->results[i], out);
    }
    sbx_buf_append_byte(out, ']');
    sbx_buf_append_view(out, sbx_view_skip(body, end));
    return sbx_buf_error(out);
}

/* ---- all of it ---- */

static documents documents_of(const sbx_openai_request *request)
{
    bool wants = false;
    sbx_json_value value = sbx_request_member(request, SBX_VIEW("return_documents"));
    if (sbx_json_to_bool(value, &wants) != SBX_OK)
        return AS_THEY_COME;
    return wants ? WANTED : UNWANTED;
}

static sbx_err read_request(check *c, const sbx_openai_request *request, sbx_arena *memory)
{
    uint64_t top_n = 0;
    sbx_json_iter iter;
    c->document_count = sbx_json_count(request->input);
    c->documents = documents_of(request);
    bool is_cut = sbx_json_to_u64(sbx_request_member(request, SBX_VIEW("top_n")), &top_n) == SBX_OK;
    c->least = is_cut && top_n < c->document_count ? (size_t)top_n : c->document_count;
    c->results = SBX_ARENA_ARRAY(memory, result, c->document_count);
    c->is_seen = SBX_ARENA_ARRAY(memory, bool, c->document_count);
    c->sent = SBX_ARENA_ARRAY(memory, sbx_json_value, c->document_count);
    if (c->results == NULL || c->is_seen == NULL || c->sent == NULL)
        return SBX_E_NOMEM;
    sbx_json_iter_init(&iter, request->input);
    for (size_t i = 0; i < c->document_count && sbx_json_iter_next(&iter, NULL, &c->sent[i]);)
        i++;
    return SBX_OK;
}

sbx_err sbx_rerank_check(sbx_view body, const sbx_openai_request *request, sbx_buf *out,
                         sbx_errinfo *reterr_info)
{
    sbx_json_want wants[] = {{.name = SBX_VIEW("results")}, {.name = SBX_VIEW("data")}};
    sbx_arena memory;
    check c = {.info = reterr_info};
    sbx_arena_init(&memory, SIZE_MAX);
    sbx_err err = sbx_json_scan(body, wants, 2, NULL, reterr_info);
    if (err == SBX_OK)
        err = read_request(&c, request, &memory);
    bool is_renamed = wants[0].value.type == SBX_JSON_NONE;
    const sbx_json_want *list = &wants[is_renamed ? 1 : 0];
    c.must_write = is_renamed;
    if (err == SBX_OK)
        err = take_results(&c, list->value);
    if (err == SBX_OK && c.must_write) {
        qsort(c.results, c.count, sizeof c.results[0], by_score);
        err = write_anew(&c, body, list, out);
    }
    sbx_arena_deinit(&memory);
    return err;
}
