/* Edits of a body as a list of views. */
#include "codec/splice.h"

#include <assert.h>
#include <string.h>

void sbx_splice_init(sbx_splice *splice, sbx_view body)
{
    *splice = (sbx_splice){.body = body};
}

/* Before the first edit that starts later; an insertion also before a removal at its own place. */
static size_t position_for(const sbx_splice *splice, size_t offset, size_t len)
{
    size_t at = 0;
    while (at < splice->count &&
           (splice->edits[at].offset < offset ||
            (splice->edits[at].offset == offset && (len > 0 || splice->edits[at].len == 0))))
        at++;
    return at;
}

static bool overlaps(const sbx_splice *splice, size_t at, size_t offset, size_t len)
{
    const sbx_splice_edit *before = at > 0 ? &splice->edits[at - 1] : NULL;
    const sbx_splice_edit *after = at < splice->count ? &splice->edits[at] : NULL;
    return (before != NULL && before->offset + before->len > offset) ||
           (after != NULL && offset + len > after->offset);
}

sbx_err sbx_splice_add(sbx_splice *splice, size_t offset, size_t len, sbx_view replacement)
{
    if (splice->count == SBX_SPLICE_MAX_EDITS)
        return SBX_E_CAP;
    if (offset > splice->body.len || len > splice->body.len - offset)
        return SBX_E_RANGE;
    size_t at = position_for(splice, offset, len);
    if (overlaps(splice, at, offset, len))
        return SBX_E_INVALID;
    memmove(&splice->edits[at + 1], &splice->edits[at], (splice->count - at) * sizeof splice->edits[0]);
    splice->edits[at] = (sbx_splice_edit){offset, len, replacement};
    splice->count++;
    return SBX_OK;
}

static void put(sbx_view pieces[], size_t *count, size_t *total, sbx_view piece)
{
    if (piece.len == 0)
        return;
    pieces[(*count)++] = piece;
    *total += piece.len;
}

size_t sbx_splice_pieces(const sbx_splice *splice, sbx_view ret_pieces[SBX_SPLICE_MAX_PIECES],
                         size_t *ret_total_bytes)
{
    size_t count = 0;
    size_t total = 0;
    size_t at = 0;
    for (size_t i = 0; i < splice->count; i++) {
        const sbx_splice_edit *edit = &splice->edits[i];
        put(ret_pieces, &count, &total, sbx_view_slice(splice->body, at, edit->offset - at));
        put(ret_pieces, &count, &total, edit->replacement);
        at = edit->offset + edit->len;
    }
    put(ret_pieces, &count, &total, sbx_view_skip(splice->body, at));
    *ret_total_bytes = total;
    return count;
}

static sbx_err replace(sbx_splice *splice, sbx_view part, sbx_view replacement)
{
    return sbx_splice_add(splice, sbx_json_offset(splice->body, part), part.len, replacement);
}

sbx_err sbx_splice_model(sbx_splice *splice, const sbx_openai_request *request, sbx_view model,
                         sbx_arena *arena)
{
    sbx_buf buf;
    sbx_view json;
    if (sbx_view_eq(model, request->model))
        return SBX_OK;
    sbx_buf_init(&buf, SIZE_MAX);
    sbx_err err = sbx_buf_append_json(&buf, model);
    if (err == SBX_OK)
        err = sbx_arena_dup(arena, sbx_buf_view(&buf), &json);
    sbx_buf_deinit(&buf);
    return err != SBX_OK ? err : replace(splice, request->model_value.text, json);
}

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

/* The member with the comma behind it, or with the one before it when it is the last. */
sbx_err sbx_splice_drop_session(sbx_splice *splice, const sbx_openai_request *request)
{
    sbx_view body = splice->body;
    if (request->session_value.type == SBX_JSON_NONE)
        return SBX_OK;
    size_t start = request->session_key_offset;
    size_t end = sbx_json_offset(body, request->session_value.text) + request->session_value.text.len;
    size_t next = end;
    while (next < body.len && is_space(body.data[next]))
        next++;
    if (next < body.len && body.data[next] == ',')
        return sbx_splice_add(splice, start, next + 1 - start, (sbx_view){0});
    while (start > 0 && is_space(body.data[start - 1]))
        start--;
    if (start > 0 && body.data[start - 1] == ',')
        start--;
    return sbx_splice_add(splice, start, end - start, (sbx_view){0});
}

/* Right behind the body's opening brace; there is always a member (model) to follow. */
static sbx_err insert_stream_options(sbx_splice *splice)
{
    size_t brace = sbx_view_find(splice->body, '{', 0);
    assert(brace != SIZE_MAX);
    return sbx_splice_add(splice, brace + 1, 0, SBX_VIEW("\"stream_options\":{\"include_usage\":true},"));
}

static sbx_err insert_include_usage(sbx_splice *splice, sbx_json_value options)
{
    size_t behind_brace = sbx_json_offset(splice->body, options.text) + 1;
    bool alone = sbx_json_is_empty(options);
    return sbx_splice_add(splice, behind_brace, 0,
                          alone ? SBX_VIEW("\"include_usage\":true") : SBX_VIEW("\"include_usage\":true,"));
}

sbx_err sbx_splice_include_usage(sbx_splice *splice, const sbx_openai_request *request)
{
    if (request->wants_usage)
        return SBX_OK;
    if (request->stream_options.type == SBX_JSON_NONE)
        return insert_stream_options(splice);
    if (request->stream_options.type == SBX_JSON_NULL)
        return replace(splice, request->stream_options.text, SBX_VIEW("{\"include_usage\":true}"));
    if (request->include_usage.type == SBX_JSON_NONE)
        return insert_include_usage(splice, request->stream_options);
    return replace(splice, request->include_usage.text, SBX_VIEW("true"));
}
