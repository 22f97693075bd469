/* The map keyed by 64-bit numbers; see map.c for the method. */
#include <assert.h>
#include <stdlib.h>

#include "base/map.h"

enum {
    FIRST_SIZE = 16
};

typedef struct sbx_map64_slot {
    uint64_t key;
    void *value; /* NULL: free */
} sbx_map64_slot;

void sbx_map64_init(sbx_map64 *map, uint64_t seed, size_t cap)
{
    *map = (sbx_map64){.seed = seed, .cap = cap};
}

void sbx_map64_deinit(sbx_map64 *map)
{
    free(map->slots);
    sbx_map64_init(map, map->seed, map->cap);
}

void sbx_map64_clear(sbx_map64 *map)
{
    for (size_t i = 0; i < map->size; i++)
        map->slots[i] = (sbx_map64_slot){0};
    map->count = 0;
}

/* The finaliser of splitmix64: every input bit reaches every output bit. */
static size_t home_of(const sbx_map64 *map, uint64_t key)
{
    uint64_t x = key ^ map->seed;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (size_t)(x ^ (x >> 31)) & (map->size - 1);
}

static size_t slot_of(const sbx_map64 *map, uint64_t key)
{
    size_t at = home_of(map, key);
    while (map->slots[at].value != NULL && map->slots[at].key != key)
        at = (at + 1) & (map->size - 1);
    return at;
}

static sbx_err resize(sbx_map64 *map, size_t size)
{
    sbx_map64 bigger = *map;
    bigger.slots = calloc(size, sizeof(sbx_map64_slot));
    if (bigger.slots == NULL)
        return SBX_E_NOMEM;
    bigger.size = size;
    for (size_t i = 0; i < map->size; i++) {
        const sbx_map64_slot *old = &map->slots[i];
        if (old->value != NULL)
            bigger.slots[slot_of(&bigger, old->key)] = *old;
    }
    free(map->slots);
    *map = bigger;
    return SBX_OK;
}

sbx_err sbx_map64_reserve(sbx_map64 *map, size_t count)
{
    if (count > map->cap)
        return SBX_E_CAP;
    size_t size = map->size == 0 ? FIRST_SIZE : map->size;
    while (size - size / 4 < count) {
        if (size > SIZE_MAX / 2)
            return SBX_E_NOMEM;
        size *= 2;
    }
    return size == map->size ? SBX_OK : resize(map, size);
}

sbx_err sbx_map64_put(sbx_map64 *map, uint64_t key, void *value)
{
    assert(value != NULL);
    if (map->size > 0) {
        sbx_map64_slot *slot = &map->slots[slot_of(map, key)];
        if (slot->value != NULL) {
            slot->value = value;
            return SBX_OK;
        }
    }
    sbx_err err = sbx_map64_reserve(map, map->count + 1);
    if (err != SBX_OK)
        return err;
    map->slots[slot_of(map, key)] = (sbx_map64_slot){key, value};
    map->count++;
    return SBX_OK;
}

void *sbx_map64_get(const sbx_map64 *map, uint64_t key)
{
    return map->count == 0 ? NULL : map->slots[slot_of(map, key)].value;
}

static void fill_hole(sbx_map64 *map, size_t hole)
{
    size_t mask = map->size - 1;
    for (size_t at = (hole + 1) & mask; map->slots[at].value != NULL; at = (at + 1) & mask) {
        size_t home = home_of(map, map->slots[at].key);
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        map->slots[hole] = map->slots[at];
        hole = at;
    }
    map->slots[hole] = (sbx_map64_slot){0};
}

void *sbx_map64_remove(sbx_map64 *map, uint64_t key)
{
    if (map->count == 0)
        return NULL;
    size_t at = slot_of(map, key);
    void *value = map->slots[at].value;
    if (value == NULL)
        return NULL;
    fill_hole(map, at);
    map->count--;
    return value;
}

bool sbx_map64_next(const sbx_map64 *map, size_t *position, uint64_t *ret_key, void **ret_value)
{
    while (*position < map->size) {
        const sbx_map64_slot *slot = &map->slots[(*position)++];
        if (slot->value == NULL)
            continue;
        if (ret_key != NULL)
            *ret_key = slot->key;
        *ret_value = slot->value;
        return true;
    }
    return false;
}
