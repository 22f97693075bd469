/* The method of both maps, so that it is there once: linear probing, at most 3/4 full, removal shifts entries
 * back. Included by map.c and map64.c alone, after they have said what their keys are:
 *   table, table_slot (hash, key, value; value NULL: free), table_key    types
 *   hash_of(map, key), is_equal(a, b)                                    functions */
#ifndef SBX_BASE_MAP_TABLE_H
#define SBX_BASE_MAP_TABLE_H

#include <assert.h>
#include <stdlib.h>

enum {
    FIRST_SIZE = 16
};

static void clear(table *map)
{
    for (size_t i = 0; i < map->size; i++)
        map->slots[i] = (table_slot){0};
    map->count = 0;
}

/* Where the key is, or would be put. */
static size_t slot_of(const table *map, uint64_t hash, table_key key)
{
    size_t mask = map->size - 1;
    size_t at = (size_t)hash & mask;
    while (map->slots[at].value != NULL &&
           (map->slots[at].hash != hash || !is_equal(map->slots[at].key, key)))
        at = (at + 1) & mask;
    return at;
}

static sbx_err resize(table *map, size_t size)
{
    table bigger = *map;
    bigger.slots = calloc(size, sizeof(table_slot));
    if (bigger.slots == NULL)
        return SBX_E_NOMEM;
    bigger.size = size;
    for (size_t i = 0; i < map->size; i++) {
        const table_slot *old = &map->slots[i];
        if (old->value != NULL)
            bigger.slots[slot_of(&bigger, old->hash, old->key)] = *old;
    }
    free(map->slots);
    *map = bigger;
    return SBX_OK;
}

static sbx_err reserve(table *map, size_t count)
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

static sbx_err put(table *map, table_key key, void *value)
{
    assert(value != NULL);
    uint64_t hash = hash_of(map, key);
    if (map->size > 0) {
        table_slot *slot = &map->slots[slot_of(map, hash, key)];
        if (slot->value != NULL) {
            *slot = (table_slot){hash, key, value};
            return SBX_OK;
        }
    }
    sbx_err err = reserve(map, map->count + 1);
    if (err != SBX_OK)
        return err;
    map->slots[slot_of(map, hash, key)] = (table_slot){hash, key, value};
    map->count++;
    return SBX_OK;
}

static void *get(const table *map, table_key key)
{
    if (map->count == 0)
        return NULL;
    return map->slots[slot_of(map, hash_of(map, key), key)].value;
}

/* Moves later entries of the probe run into the hole, as far as their home allows. */
static void fill_hole(table *map, size_t hole)
{
    size_t mask = map->size - 1;
    for (size_t at = (hole + 1) & mask; map->slots[at].value != NULL; at = (at + 1) & mask) {
        size_t home = (size_t)map->slots[at].hash & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        map->slots[hole] = map->slots[at];
        hole = at;
    }
    map->slots[hole] = (table_slot){0};
}

static void *take(table *map, table_key key)
{
    if (map->count == 0)
        return NULL;
    size_t at = slot_of(map, hash_of(map, key), key);
    void *value = map->slots[at].value;
    if (value == NULL)
        return NULL;
    fill_hole(map, at);
    map->count--;
    return value;
}

static bool next(const table *map, size_t *position, table_key *ret_key, void **ret_value)
{
    while (*position < map->size) {
        const table_slot *slot = &map->slots[(*position)++];
        if (slot->value == NULL)
            continue;
        if (ret_key != NULL)
            *ret_key = slot->key;
        *ret_value = slot->value;
        return true;
    }
    return false;
}

#endif
