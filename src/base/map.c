/* The map keyed by bytes. */
#include "base/map.h"

typedef struct sbx_map_slot {
    uint64_t hash;
    sbx_view key;
    void *value; /* NULL: free */
} sbx_map_slot;

typedef sbx_map table;
typedef sbx_map_slot table_slot;
typedef sbx_view table_key;

static uint64_t hash_of(const table *map, table_key key)
{
    return sbx_siphash(map->seed, key.data, key.len);
}

static bool is_equal(table_key a, table_key b)
{
    return sbx_view_eq(a, b);
}

#include "base/map_table.h"

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
    clear(map);
}

sbx_err sbx_map_reserve(sbx_map *map, size_t count)
{
    return reserve(map, count);
}

sbx_err sbx_map_put(sbx_map *map, sbx_view key, void *value)
{
    return put(map, key, value);
}

void *sbx_map_get(const sbx_map *map, sbx_view key)
{
    return get(map, key);
}

void *sbx_map_remove(sbx_map *map, sbx_view key)
{
    return take(map, key);
}

bool sbx_map_next(const sbx_map *map, size_t *position, sbx_view *ret_key, void **ret_value)
{
    return next(map, position, ret_key, ret_value);
}
