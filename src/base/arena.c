/* The capped arena: chunks of doubling size, or one malloc per object with SBX_ARENA_DEBUG. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct sbx_arena_chunk {
    struct sbx_arena_chunk *older;
    size_t size;
    alignas(max_align_t) unsigned char bytes[];
} sbx_arena_chunk;

enum {
    FIRST_CHUNK = 4096 - sizeof(sbx_arena_chunk),
    LARGEST_CHUNK = 256 * 1024
};

void sbx_arena_init(sbx_arena *arena, size_t cap_bytes)
{
    *arena = (sbx_arena){.cap_bytes = cap_bytes};
}

static void free_chunks(sbx_arena_chunk *chunk)
{
    while (chunk != NULL) {
        sbx_arena_chunk *older = chunk->older;
        free(chunk);
        chunk = older;
    }
}

void sbx_arena_deinit(sbx_arena *arena)
{
    free_chunks(arena->chunks);
    sbx_arena_init(arena, arena->cap_bytes);
}

static sbx_err add_chunk(sbx_arena *arena, size_t size)
{
    if (size > SIZE_MAX - sizeof(sbx_arena_chunk))
        return SBX_E_NOMEM;
    sbx_arena_chunk *chunk = malloc(sizeof(sbx_arena_chunk) + size);
    if (chunk == NULL)
        return SBX_E_NOMEM;
    chunk->older = arena->chunks;
    chunk->size = size;
    arena->chunks = chunk;
    arena->used_in_chunk = 0;
    return SBX_OK;
}

#ifdef SBX_ARENA_DEBUG

void sbx_arena_clear(sbx_arena *arena)
{
    sbx_arena_deinit(arena);
}

static void *take(sbx_arena *arena, size_t size)
{
    return add_chunk(arena, size) == SBX_OK ? arena->chunks->bytes : NULL;
}

#else

/* Keeps the first chunk: a connection's next request then needs no malloc. */
void sbx_arena_clear(sbx_arena *arena)
{
    sbx_arena_chunk *newest = arena->chunks;
    if (newest == NULL)
        return;
    while (newest->older != NULL) {
        sbx_arena_chunk *older = newest->older;
        free(newest);
        newest = older;
    }
    arena->chunks = newest;
    arena->used_in_chunk = 0;
    arena->used_bytes = 0;
    if (newest->size > LARGEST_CHUNK)
        sbx_arena_deinit(arena);
}

static size_t next_chunk_size(const sbx_arena *arena, size_t size)
{
    size_t usual = arena->chunks == NULL ? (size_t)FIRST_CHUNK : arena->chunks->size * 2;
    if (usual > LARGEST_CHUNK)
        usual = LARGEST_CHUNK;
    return size > usual ? size : usual;
}

static size_t aligned(size_t size)
{
    return (size + (alignof(max_align_t) - 1)) & ~(alignof(max_align_t) - 1);
}

static void *take(sbx_arena *arena, size_t size)
{
    size_t need = aligned(size == 0 ? 1 : size);
    if (arena->chunks == NULL || need > arena->chunks->size - arena->used_in_chunk) {
        if (add_chunk(arena, next_chunk_size(arena, need)) != SBX_OK)
            return NULL;
    }
    void *place = arena->chunks->bytes + arena->used_in_chunk;
    arena->used_in_chunk += need;
    return place;
}

#endif

void *sbx_arena_alloc(sbx_arena *arena, size_t size)
{
    if (size > arena->cap_bytes - arena->used_bytes || size > SIZE_MAX / 2)
        return NULL;
    void *place = take(arena, size);
    if (place == NULL)
        return NULL;
    arena->used_bytes += size;
    memset(place, 0, size);
    return place;
}

void *sbx_arena_alloc_array(sbx_arena *arena, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    return sbx_arena_alloc(arena, count * size);
}

sbx_err sbx_arena_dup_cstr(sbx_arena *arena, sbx_view view, char **ret_text)
{
    if (view.len == SIZE_MAX)
        return SBX_E_NOMEM;
    char *text = sbx_arena_alloc(arena, view.len + 1);
    if (text == NULL)
        return SBX_E_NOMEM;
    if (view.len > 0)
        memcpy(text, view.data, view.len);
    *ret_text = text;
    return SBX_OK;
}

sbx_err sbx_arena_dup(sbx_arena *arena, sbx_view view, sbx_view *ret_copy)
{
    char *text = NULL;
    sbx_err err = sbx_arena_dup_cstr(arena, view, &text);
    if (err != SBX_OK)
        return err;
    *ret_copy = sbx_view_of(text, view.len);
    return SBX_OK;
}
