/* The numbered frames of one attempt that the controller has not acknowledged yet: they can be sent again.
 * Pure. What it holds is bounded by the credit that the controller granted. */
#ifndef SBX_WORKER_OUTBOX_H
#define SBX_WORKER_OUTBOX_H

#include "base/buf.h"
#include "codec/bus_frame.h"

typedef struct sbx_outbox {
    sbx_buf kept;   /* whole frames, back to back */
    uint32_t first; /* seq of the first of them */
    uint32_t next;  /* seq that the next frame will have */
} sbx_outbox;

/* cap_bytes: of all frames held, headers included. */
void sbx_outbox_init(sbx_outbox *outbox, size_t cap_bytes);
void sbx_outbox_deinit(sbx_outbox *outbox);

/* Numbers a frame (seq is set here) and keeps it. ret_message: its bytes, valid until the next call.
 * SBX_E_CAP, SBX_E_NOMEM. */
sbx_err sbx_outbox_add(sbx_outbox *outbox, const sbx_frame *frame, sbx_view *ret_message);

/* Forgets all frames before this one, the next that the controller wants. */
void sbx_outbox_acknowledge(sbx_outbox *outbox, uint32_t wanted);

static inline bool sbx_outbox_is_empty(const sbx_outbox *outbox)
{
    return outbox->first == outbox->next;
}

/* Whether sending again from there on is possible: nothing in between was forgotten. */
static inline bool sbx_outbox_reaches(const sbx_outbox *outbox, uint32_t from)
{
    return from >= outbox->first && from <= outbox->next;
}

/* Walks the frames from `from` on; start with *position 0. */
bool sbx_outbox_each(const sbx_outbox *outbox, uint32_t from, size_t *position, sbx_view *ret_message);

#endif
