/* A body with a few edits, as a list of views: nothing is copied, every byte outside the edits is the very
 * byte of the original. Which edits there may be is DESIGN 4.1: model, our session_id, include_usage. */
#ifndef SBX_CODEC_SPLICE_H
#define SBX_CODEC_SPLICE_H

#include "codec/openai_request.h"

enum {
    SBX_SPLICE_MAX_EDITS = 4,
    SBX_SPLICE_MAX_PIECES = 2 * SBX_SPLICE_MAX_EDITS + 1
};

typedef struct sbx_splice_edit {
    size_t offset;
    size_t len;           /* bytes left out; 0 = insertion */
    sbx_view replacement; /* kept */
} sbx_splice_edit;

typedef struct sbx_splice {
    sbx_view body;
    sbx_splice_edit edits[SBX_SPLICE_MAX_EDITS]; /* by offset */
    size_t count;
} sbx_splice;

/* Keeps the body. */
void sbx_splice_init(sbx_splice *splice, sbx_view body);

/* Edits may come in any order. SBX_E_CAP (too many), SBX_E_RANGE (outside the body), SBX_E_INVALID (overlaps
 * an earlier one). An insertion goes before what an edit at the same offset leaves out. */
sbx_err sbx_splice_add(sbx_splice *splice, size_t offset, size_t len, sbx_view replacement);

/* The edited body: no piece is empty. Returns how many there are. */
size_t sbx_splice_pieces(const sbx_splice *splice, sbx_view ret_pieces[SBX_SPLICE_MAX_PIECES],
                         size_t *ret_total_bytes);

/* Another model id, JSON-escaped in the arena. Nothing when it is the same. SBX_E_NOMEM, as add. */
sbx_err sbx_splice_model(sbx_splice *splice, const sbx_openai_request *request, sbx_view model,
                         sbx_arena *arena);

/* Takes out the member session_id with its comma. Nothing when there is none. As add. */
sbx_err sbx_splice_drop_session(sbx_splice *splice, const sbx_openai_request *request);

/* Makes stream_options.include_usage true. Nothing when it is. As add. */
sbx_err sbx_splice_include_usage(sbx_splice *splice, const sbx_openai_request *request);

#endif
