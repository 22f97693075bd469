/* From any thread to the loop: items pushed anywhere come out on the loop, in the order of each pushing
 * thread.
 *
 * A lock-free stack that the loop takes whole and turns round; one wake-up per burst. Nothing is dropped
 * here. */
#ifndef SBX_NET_BUS_HANDOFF_H
#define SBX_NET_BUS_HANDOFF_H

#include "base/err.h"
#include "net/loop.h"

typedef struct sbx_handoff sbx_handoff;

/* Lies inside the pushed element. */
typedef struct sbx_handoff_item {
    struct sbx_handoff_item *next;
} sbx_handoff_item;

enum {
    SBX_HANDOFF_BATCH = 512 /* items per loop turn, so that a burst does not starve sockets and timers */
};

typedef void sbx_handoff_fn(void *user, sbx_handoff_item *item); /* on the loop; takes the item */

/* SBX_E_NOMEM. */
sbx_err sbx_handoff_new(sbx_loop *loop, sbx_handoff_fn *fn, void *user, sbx_handoff **ret_handoff);

/* Any thread. */
void sbx_handoff_push(sbx_handoff *handoff, sbx_handoff_item *item);

/* All that is there goes to fn now. */
void sbx_handoff_drain(sbx_handoff *handoff);

/* No thread may push any more. What is left goes to fn now. NULL is fine. */
void sbx_handoff_free(sbx_handoff *handoff);

#endif
