/* Hash maps: sbx_map keyed by bytes, sbx_map64 keyed by a 64-bit number. Values are the caller's
 * non-NULL pointers. Open addressing without tombstones; capacity grows by doubling up to a cap.
 * After sbx_map_reserve(n) the first n entries need no memory, so that core can use them. */
#ifndef SBX_BASE_MAP_H
#define SBX_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/siphash.h"
#include "base/view.h"

typedef struct sbx_map {
    struct sbx_map_slot *slots;
    size_t size; /* slots, a power of two, or 0 */
    size_t count;
    size_t cap;
    sbx_siphash_key seed;
} sbx_map;

/* Starts empty and allocates nothing. cap: most entries. */
void sbx_map_init(sbx_map *map, sbx_siphash_key seed, size_t cap);
void sbx_map_deinit(sbx_map *map);
void sbx_map_clear(sbx_map *map);

/* Room for `count` entries in all. SBX_E_CAP, SBX_E_NOMEM. */
sbx_err sbx_map_reserve(sbx_map *map, size_t count);

/* Adds, or replaces key and value of an equal key. Keeps the key's bytes: they must live as long as the
 * entry (a name inside the value, usually). SBX_E_CAP, SBX_E_NOMEM. */
sbx_err sbx_map_put(sbx_map *map, sbx_view key, void *value);

/* NULL when there is none; remove returns the value it took out. */
void *sbx_map_get(const sbx_map *map, sbx_view key);
void *sbx_map_remove(sbx_map *map, sbx_view key);

/* Walks all entries in no order: start with *position 0, go on while it returns true. ret_key may be NULL.
 * The map must not change in between, except by replacing values. */
bool sbx_map_next(const sbx_map *map, size_t *position, sbx_view *ret_key, void **ret_value);

typedef struct sbx_map64 {
    struct sbx_map64_slot *slots;
    size_t size;
    size_t count;
    size_t cap;
    uint64_t seed;
} sbx_map64;

/* The same for numbers as keys. */
void sbx_map64_init(sbx_map64 *map, uint64_t seed, size_t cap);
void sbx_map64_deinit(sbx_map64 *map);
void sbx_map64_clear(sbx_map64 *map);
sbx_err sbx_map64_reserve(sbx_map64 *map, size_t count);
sbx_err sbx_map64_put(sbx_map64 *map, uint64_t key, void *value);
void *sbx_map64_get(const sbx_map64 *map, uint64_t key);
void *sbx_map64_remove(sbx_map64 *map, uint64_t key);
bool sbx_map64_next(const sbx_map64 *map, size_t *position, uint64_t *ret_key, void **ret_value);

#endif
