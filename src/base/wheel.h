/* A hierarchical timer wheel: 1 ms ticks, arm and cancel in O(1), no allocation, no clock of its own.
 * Entries lie inside their owners. A timer never fires before its deadline and fires at the first tick
 * that is not earlier (so up to 1 ms late). */
#ifndef SBX_BASE_WHEEL_H
#define SBX_BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/time.h"

enum {
    SBX_WHEEL_LEVELS = 8,
    SBX_WHEEL_SLOTS = 64
}; /* 2^48 ms: more than the time type holds */

/* Zeroed = not armed. An armed entry must not be moved or freed. */
typedef struct sbx_wheel_entry {
    sbx_list_node node;
    sbx_time_ns deadline;
    uint64_t tick;
    uint16_t place; /* level and slot; SBX_WHEEL_DUE when it waits to be popped */
} sbx_wheel_entry;

typedef struct sbx_wheel {
    uint64_t tick; /* all before and at this tick are due */
    uint64_t occupied[SBX_WHEEL_LEVELS];
    sbx_list slots[SBX_WHEEL_LEVELS][SBX_WHEEL_SLOTS];
    sbx_list due;
    size_t count;
} sbx_wheel;

/* A wheel must not be moved after init: lists point into it. now >= 0. */
void sbx_wheel_init(sbx_wheel *wheel, sbx_time_ns now);

/* Arms, or re-arms, an entry. A deadline in the past is due at once; SBX_TIME_NEVER cancels. */
void sbx_wheel_arm(sbx_wheel *wheel, sbx_wheel_entry *entry, sbx_time_ns deadline);

/* Nothing happens when it is not armed. */
void sbx_wheel_cancel(sbx_wheel *wheel, sbx_wheel_entry *entry);

static inline bool sbx_wheel_is_armed(const sbx_wheel_entry *entry)
{
    return sbx_list_node_is_linked(&entry->node);
}

/* When to call sbx_wheel_expire() next; SBX_TIME_NEVER when nothing is armed. May be earlier than the
 * first deadline (a far timer moves to a finer level on its way, at most 7 times), never later than
 * the first tick at or after it. */
sbx_time_ns sbx_wheel_next_deadline(const sbx_wheel *wheel);

/* The next entry that is due at `now`, disarmed; NULL when there is none left. In order of ticks. Call it
 * in a loop; arming and cancelling any entry in between is fine. An owner that re-arms with a deadline
 * that is not after `now` gets it again in the same loop. */
sbx_wheel_entry *sbx_wheel_expire(sbx_wheel *wheel, sbx_time_ns now);

#endif
