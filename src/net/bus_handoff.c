/* The hand-off: a Treiber stack in front of the loop's own list. */
#include "net/bus_handoff.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

struct sbx_handoff {
    _Atomic(sbx_handoff_item *) pushed; /* newest first; the only thing that other threads touch */
    uv_async_t wake;                    /* and this, to send */
    sbx_handoff_item *ready;            /* oldest first; the loop's */
    sbx_handoff_fn *fn;
    void *user;
};

void sbx_handoff_push(sbx_handoff *handoff, sbx_handoff_item *item)
{
    sbx_handoff_item *top = atomic_load_explicit(&handoff->pushed, memory_order_relaxed);
    do {
        item->next = top;
    } while (!atomic_compare_exchange_weak_explicit(&handoff->pushed, &top, item, memory_order_release,
                                                    memory_order_relaxed));
    if (top == NULL)
        uv_async_send(&handoff->wake);
}

static sbx_handoff_item *take_all(sbx_handoff *handoff)
{
    sbx_handoff_item *item = atomic_exchange_explicit(&handoff->pushed, NULL, memory_order_acquire);
    sbx_handoff_item *oldest_first = NULL;
    while (item != NULL) {
        sbx_handoff_item *older = item->next;
        item->next = oldest_first;
        oldest_first = item;
        item = older;
    }
    return oldest_first;
}

/* False when nothing is left anywhere. */
static bool hand_out_one(sbx_handoff *handoff)
{
    if (handoff->ready == NULL)
        handoff->ready = take_all(handoff);
    sbx_handoff_item *item = handoff->ready;
    if (item == NULL)
        return false;
    handoff->ready = item->next;
    handoff->fn(handoff->user, item);
    return true;
}

static void on_wake(uv_async_t *wake)
{
    sbx_handoff *handoff = wake->data;
    for (int i = 0; i < SBX_HANDOFF_BATCH; i++) {
        if (!hand_out_one(handoff))
            return;
    }
    uv_async_send(&handoff->wake);
}

sbx_err sbx_handoff_new(sbx_loop *loop, sbx_handoff_fn *fn, void *user, sbx_handoff **ret_handoff)
{
    sbx_handoff *handoff = calloc(1, sizeof *handoff);
    if (handoff == NULL)
        return SBX_E_NOMEM;
    atomic_init(&handoff->pushed, NULL);
    handoff->fn = fn;
    handoff->user = user;
    handoff->wake.data = handoff;
    if (uv_async_init(sbx_loop_uv(loop), &handoff->wake, on_wake) != 0) {
        free(handoff);
        return SBX_E_NOMEM;
    }
    *ret_handoff = handoff;
    return SBX_OK;
}

static void on_closed(uv_handle_t *wake)
{
    free(wake->data);
}

void sbx_handoff_drain(sbx_handoff *handoff)
{
    while (hand_out_one(handoff))
        continue;
}

void sbx_handoff_free(sbx_handoff *handoff)
{
    if (handoff == NULL)
        return;
    sbx_handoff_drain(handoff);
    uv_close((uv_handle_t *)&handoff->wake, on_closed);
}
