/* A capped arena: everything one request needs, freed at once. The cap is the most that one client can
 * make us hold. With SBX_ARENA_DEBUG each object is a malloc of its own, so that sanitizers see its
 * bounds and its lifetime. */
#ifndef SBX_BASE_ARENA_H
#define SBX_BASE_ARENA_H

#include <stddef.h>

#include "base/err.h"
#include "base/view.h"

typedef struct sbx_arena {
    struct sbx_arena_chunk *chunks; /* newest first */
    size_t used_in_chunk;
    size_t used_bytes; /* what was asked for, summed */
    size_t cap_bytes;
} sbx_arena;

/* Starts empty and allocates nothing. */
void sbx_arena_init(sbx_arena *arena, size_t cap_bytes);

/* Frees all objects; `clear` leaves the arena ready for the next request (and may keep one chunk). */
void sbx_arena_clear(sbx_arena *arena);
void sbx_arena_deinit(sbx_arena *arena);

/* Zeroed memory, aligned for any type, valid until clear or deinit. size 0 gives a unique pointer.
 * NULL when the cap is reached or memory is out: either way the request fails. */
void *sbx_arena_alloc(sbx_arena *arena, size_t size);

/* The same for `count` objects; NULL also when count * size overflows. */
void *sbx_arena_alloc_array(sbx_arena *arena, size_t count, size_t size);

#define SBX_ARENA_NEW(arena, type)          ((type *)sbx_arena_alloc((arena), sizeof(type)))
#define SBX_ARENA_ARRAY(arena, type, count) ((type *)sbx_arena_alloc_array((arena), (count), sizeof(type)))

/* Copies of bytes and of text; the copy of a view is also NUL-terminated behind its end.
 * SBX_E_NOMEM when the cap is reached or memory is out. */
sbx_err sbx_arena_dup(sbx_arena *arena, sbx_view view, sbx_view *ret_copy);
sbx_err sbx_arena_dup_cstr(sbx_arena *arena, sbx_view view, char **ret_text);

#endif
