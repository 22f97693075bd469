/* The map keyed by 64-bit numbers. */
#include "base/map.h"

typedef struct sbx_map64_slot {
    uint64_t hash, key;
    void *value; /* NULL: free */
} sbx_map64_slot;

typedef sbx_map64 table;
typedef sbx_map64_slot table_slot;
typedef uint64_t table_key;

/* The finaliser of splitmix64: every input bit reaches every output bit. */
static uint64_t hash_of(const table *map, table_key key)
{
    uint64_t x = key ^ map->seed;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static bool is_equal(table_key a, table_key b)
{
    return a == b;
}

#include "base/map_table.h"

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
    clear(map);
}

sbx_err sbx_map64_reserve(sbx_map64 *map, size_t count)
{
    return reserve(map, count);
}

sbx_err sbx_map64_put(sbx_map64 *map, uint64_t key, void *value)
{
    return put(map, key, value);
}

void *sbx_map64_get(const sbx_map64 *map, uint64_t key)
{
    return get(map, key);
}

void *sbx_map64_remove(sbx_map64 *map, uint64_t key)
{
    return take(map, key);
}

bool sbx_map64_next(const sbx_map64 *map, size_t *position, uint64_t *ret_key, void **ret_value)
{
    return next(map, position, ret_key, ret_value);
}
