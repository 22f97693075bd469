/* Where server-sent events end in a stream of bytes, so that a frame holds whole events. Looks at line ends
 * only (LF, CRLF, CR); an event ends with an empty line. Pure. */
#ifndef SBX_WORKER_EVENT_CUT_H
#define SBX_WORKER_EVENT_CUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/view.h"

/* Zeroed = in the middle of a line; sbx_event_cut_init() for the start of a stream. */
typedef struct sbx_event_cut {
    bool line_is_empty; /* nothing of the present line so far */
    bool after_cr;      /* a LF now belongs to the line end before it */
    bool after_event;   /* the last line end ended an event */
} sbx_event_cut;

void sbx_event_cut_init(sbx_event_cut *cut);

/* Goes over the bytes; returns the offset behind the last event that ends in them, 0 when none does. */
size_t sbx_event_cut_scan(sbx_event_cut *cut, sbx_view bytes);

#endif
