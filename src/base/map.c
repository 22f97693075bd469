/* The map keyed by bytes: linear probing, at most 3/4 full, removal shifts entries back. */
#include "base/map.h"

#include <assert.h>
#include <stdlib.h>

enum {
    FIRST_SIZE = 16
};

typedef struct sbx_map_slot {
    uint64_t hash;
    sbx_view key;
    void *value; /* NULL: free */
} sbx_map_slot;

void sbx_map_init(sbx_map *map, sbx_siphash_key seed, size_t cap)
{
    *map = (sbx_map){.seed = seed, .cap = cap};
}

void sbx_map_deinit(sbx_map *map)
{
    free(map->slots);
    sbx_map_init(map, map->seed, map->cap);
}

void sbx_map_clear(sbx_map *map)
{
    for (size_t i = 0; i < map->size; i++)
        map->slots[i] = (sbx_map_slot){0};
    map->count = 0;
}

static size_t slot_of(const sbx_map *map, uint64_t hash, sbx_view key)
{
    size_t mask = map->size - 1;
    size_t at = (size_t)hash & mask;
    while (map->slots[at].value != NULL &&
           (map->slots[at].hash != hash || !sbx_view_eq(map->slots[at].key, key)))
        at = (at + 1) & mask;
    return at;
}

static sbx_err resize(sbx_map *map, size_t size)
{
    sbx_map bigger = *map;
    bigger.slots = calloc(size, sizeof(sbx_map_slot));
    if (bigger.slots == NULL)
        return SBX_E_NOMEM;
    bigger.size = size;
    for (size_t i = 0; i < map->size; i++) {
        const sbx_map_slot *old = &map->slots[i];
        if (old->value != NULL)
            bigger.slots[slot_of(&bigger, old->hash, old->key)] = *old;
    }
    free(map->slots);
    *map = bigger;
    return SBX_OK;
}

sbx_err sbx_map_reserve(sbx_map *map, size_t count)
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

sbx_err sbx_map_put(sbx_map *map, sbx_view key, void *value)
{
    assert(value != NULL);
    uint64_t hash = sbx_siphash(map->seed, key.data, key.len);
    if (map->size > 0) {
        sbx_map_slot *slot = &map->slots[slot_of(map, hash, key)];
        if (slot->value != NULL) {
            *slot = (sbx_map_slot){hash, key, value};
            return SBX_OK;
        }
    }
    sbx_err err = sbx_map_reserve(map, map->count + 1);
    if (err != SBX_OK)
        return err;
    map->slots[slot_of(map, hash, key)] = (sbx_map_slot){hash, key, value};
    map->count++;
    return SBX_OK;
}

void *sbx_map_get(const sbx_map *map, sbx_view key)
{
    if (map->count == 0)
        return NULL;
    return map->slots[slot_of(map, sbx_siphash(map->seed, key.data, key.len), key)].value;
}

/* Moves later entries of the probe run into the hole, as far as their home allows. */
static void fill_hole(sbx_map *map, size_t hole)
{
    size_t mask = map->size - 1;
    for (size_t at = (hole + 1) & mask; map->slots[at].value != NULL; at = (at + 1) & mask) {
        size_t home = (size_t)map->slots[at].hash & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        map->slots[hole] = map->slots[at];
        hole = at;
    }
    map->slots[hole] = (sbx_map_slot){0};
}

void *sbx_map_remove(sbx_map *map, sbx_view key)
{
    if (map->count == 0)
        return NULL;
    size_t at = slot_of(map, sbx_siphash(map->seed, key.data, key.len), key);
    void *value = map->slots[at].value;
    if (value == NULL)
        return NULL;
    fill_hole(map, at);
    map->count--;
    return value;
}

bool sbx_map_next(const sbx_map *map, size_t *position, sbx_view *ret_key, void **ret_value)
{
    while (*position < map->size) {
        const sbx_map_slot *slot = &map->slots[(*position)++];
        if (slot->value == NULL)
            continue;
        if (ret_key != NULL)
            *ret_key = slot->key;
        *ret_value = slot->value;
        return true;
    }
    return false;
}
