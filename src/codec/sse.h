/* Server-sent events: an incremental decoder that takes any split of the bytes, and the encoder.
 * Per event it yields the exact bytes (to be forwarded) and the data (to be looked at). Line ends are LF,
 * CRLF or CR; a BOM at the start of the stream is dropped; incomplete events are the only thing it keeps. */
#ifndef SBX_CODEC_SSE_H
#define SBX_CODEC_SSE_H

#include <stdbool.h>

#include "base/buf.h"

typedef struct sbx_sse_event {
    sbx_view raw;          /* all its bytes with the blank line; valid until the next feed */
    sbx_view data;         /* data lines joined by LF; valid until the next sbx_sse_next */
    bool has_data;         /* it has a data line (which may be empty) */
    bool is_comment;       /* nothing but comment lines, or a stray blank line */
    bool has_other_fields; /* event, id, retry or unknown fields */
} sbx_sse_event;

typedef struct sbx_sse {
    sbx_buf tail;    /* the incomplete event, then also what was fed after it */
    sbx_buf joined;  /* data of an event with several data lines */
    sbx_view fresh;  /* what was fed last, while tail is empty */
    size_t event_at; /* where the present event starts in the source (tail or fresh) */
    size_t line_at;  /* where its present line starts */
    size_t scan_at;  /* bytes before this hold no line end */
    size_t lf_at;    /* the next LF at or after scan_at, when known */
    size_t cap_bytes;
    bool is_lf_known;
    bool is_started; /* past the place of a BOM */
    bool is_ended;
    sbx_err err; /* sticks */
} sbx_sse;

/* cap_bytes: the most one event may have. */
void sbx_sse_init(sbx_sse *sse, size_t cap_bytes);
void sbx_sse_deinit(sbx_sse *sse);

/* Gives it the next bytes; borrows them until sbx_sse_next() returned SBX_E_AGAIN, which must happen before
 * the next feed. SBX_E_NOMEM, or an earlier SBX_E_CAP. */
sbx_err sbx_sse_feed(sbx_sse *sse, sbx_view bytes);

/* The stream is over: a CR at the very end now counts as a line end. Call next until SBX_E_AGAIN again. */
void sbx_sse_end(sbx_sse *sse);

/* SBX_OK: one event. SBX_E_AGAIN: no further complete event. SBX_E_CAP: an event is too large; SBX_E_NOMEM.
 * The last two stick. */
sbx_err sbx_sse_next(sbx_sse *sse, sbx_sse_event *ret_event);

/* Bytes of the incomplete event (after SBX_E_AGAIN); not 0 after sbx_sse_end() means the stream was cut. */
size_t sbx_sse_pending(const sbx_sse *sse);

/* ---- encoder: CR and LF in the payload cannot forge fields or events ---- */

/* "data: <payload>\n\n"; a payload of several lines becomes several data lines. SBX_E_CAP, SBX_E_NOMEM. */
sbx_err sbx_sse_write_data(sbx_buf *buf, sbx_view payload);

/* ": <text>\n\n"; several lines become several comment lines. */
sbx_err sbx_sse_write_comment(sbx_buf *buf, sbx_view text);

#endif
