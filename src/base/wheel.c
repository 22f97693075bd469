/* The timer wheel. An entry sits at the level of the highest 6-bit digit in which its tick differs from
 * the wheel's, so all entries of a level are earlier than all of the next one, and the first occupied
 * slot of the lowest occupied level is the next thing to happen. */
#include "base/wheel.h"

#include <assert.h>

enum {
    DIGIT_BITS = 6,
    DIGIT_MASK = SBX_WHEEL_SLOTS - 1,
    PLACE_DUE = 0xffff
};

static uint64_t first_tick_not_before(sbx_time_ns deadline)
{
    return deadline <= 0 ? 0 : (uint64_t)sbx_time_to_ms_ceil(deadline);
}

void sbx_wheel_init(sbx_wheel *wheel, sbx_time_ns now)
{
    assert(now >= 0);
    *wheel = (sbx_wheel){.tick = (uint64_t)sbx_time_to_ms(now)};
    sbx_list_init(&wheel->due);
    for (int level = 0; level < SBX_WHEEL_LEVELS; level++) {
        for (int slot = 0; slot < SBX_WHEEL_SLOTS; slot++)
            sbx_list_init(&wheel->slots[level][slot]);
    }
}

static unsigned level_of(uint64_t difference)
{
    return (unsigned)(63 - __builtin_clzll(difference)) / DIGIT_BITS;
}

static unsigned digit_of(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> (level * DIGIT_BITS)) & DIGIT_MASK;
}

static void place(sbx_wheel *wheel, sbx_wheel_entry *entry)
{
    if (entry->tick <= wheel->tick) {
        entry->place = PLACE_DUE;
        sbx_list_push_back(&wheel->due, &entry->node);
        return;
    }
    unsigned level = level_of(entry->tick ^ wheel->tick);
    unsigned slot = digit_of(entry->tick, level);
    assert(level < SBX_WHEEL_LEVELS);
    entry->place = (uint16_t)(level * SBX_WHEEL_SLOTS + slot);
    wheel->occupied[level] |= UINT64_C(1) << slot;
    sbx_list_push_back(&wheel->slots[level][slot], &entry->node);
}

static void take_out(sbx_wheel *wheel, sbx_wheel_entry *entry)
{
    sbx_list_remove(&entry->node);
    if (entry->place == PLACE_DUE)
        return;
    unsigned level = entry->place / SBX_WHEEL_SLOTS;
    unsigned slot = entry->place % SBX_WHEEL_SLOTS;
    if (sbx_list_is_empty(&wheel->slots[level][slot]))
        wheel->occupied[level] &= ~(UINT64_C(1) << slot);
}

void sbx_wheel_arm(sbx_wheel *wheel, sbx_wheel_entry *entry, sbx_time_ns deadline)
{
    sbx_wheel_cancel(wheel, entry);
    entry->deadline = deadline;
    if (deadline == SBX_TIME_NEVER)
        return;
    entry->tick = first_tick_not_before(deadline);
    place(wheel, entry);
    wheel->count++;
}

void sbx_wheel_cancel(sbx_wheel *wheel, sbx_wheel_entry *entry)
{
    if (!sbx_wheel_is_armed(entry))
        return;
    take_out(wheel, entry);
    wheel->count--;
}

/* First tick of the first occupied slot, with its level and slot; false when all slots are empty. */
static bool next_slot(const sbx_wheel *wheel, uint64_t *ret_tick, unsigned *ret_level, unsigned *ret_slot)
{
    for (unsigned level = 0; level < SBX_WHEEL_LEVELS; level++) {
        if (wheel->occupied[level] == 0)
            continue;
        unsigned slot = (unsigned)__builtin_ctzll(wheel->occupied[level]);
        unsigned shift = level * DIGIT_BITS;
        uint64_t above = wheel->tick >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        *ret_tick = above | (uint64_t)slot << shift;
        *ret_level = level;
        *ret_slot = slot;
        return true;
    }
    return false;
}

sbx_time_ns sbx_wheel_next_deadline(const sbx_wheel *wheel)
{
    uint64_t tick;
    unsigned level, slot;
    if (!sbx_list_is_empty(&wheel->due))
        return SBX_MS(wheel->tick);
    if (!next_slot(wheel, &tick, &level, &slot))
        return SBX_TIME_NEVER;
    return tick > (uint64_t)(INT64_MAX / SBX_MS(1)) ? SBX_TIME_NEVER - 1 : SBX_MS(tick);
}

/* Re-places all entries of a slot: onto finer levels, or onto the due list. */
static void empty_slot(sbx_wheel *wheel, unsigned level, unsigned slot)
{
    wheel->occupied[level] &= ~(UINT64_C(1) << slot);
    sbx_list_node *node = sbx_list_pop_front(&wheel->slots[level][slot]);
    while (node != NULL) {
        place(wheel, SBX_CONTAINER_OF(node, sbx_wheel_entry, node));
        node = sbx_list_pop_front(&wheel->slots[level][slot]);
    }
}

static void advance(sbx_wheel *wheel, uint64_t target)
{
    uint64_t tick;
    unsigned level, slot;
    while (next_slot(wheel, &tick, &level, &slot) && tick <= target) {
        wheel->tick = tick;
        empty_slot(wheel, level, slot);
    }
    if (target > wheel->tick)
        wheel->tick = target;
}

sbx_wheel_entry *sbx_wheel_expire(sbx_wheel *wheel, sbx_time_ns now)
{
    advance(wheel, (uint64_t)sbx_time_to_ms(now));
    sbx_list_node *node = sbx_list_pop_front(&wheel->due);
    if (node == NULL)
        return NULL;
    wheel->count--;
    return SBX_CONTAINER_OF(node, sbx_wheel_entry, node);
}
