/* The table of keys as the loader and the printers use it: rows in the order of keys.def, and a tree of the
 * keys that one mapping may hold. */
#ifndef SBX_CONFIG_SCHEMA_PRIV_H
#define SBX_CONFIG_SCHEMA_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/view.h"

typedef enum sbx_kind {
#define SBX_KIND(name, type, reader) SBX_KIND_##name,
#include "config/kinds.def"
#undef SBX_KIND
    SBX_KIND_COUNT
} sbx_kind;

typedef enum sbx_row_type {
    SBX_ROW_KEY,
    SBX_ROW_LIST,
    SBX_ROW_MAP
} sbx_row_type;

typedef struct sbx_row {
    sbx_row_type type;
    const char *path;
    sbx_kind kind; /* of the value; of the names under a map */
    size_t offset; /* of the field in its owner */
    uint64_t least;
    uint64_t most;
    const char *const *words; /* NULL at the end */
    const char *default_text; /* as in the file; NULL = not set; sbx_required = must be given */
    const char *meaning;
    size_t element_size; /* list, map */
    size_t name_offset;  /* map: where an element keeps its name */
    const char *short_key;
} sbx_row;

extern const char sbx_required[];
extern const sbx_row sbx_rows[];
extern const size_t sbx_row_count;

/* One key a mapping may hold. A section has children only; a list's or map's children are its elements' keys;
 * the key of a secret has a companion that names a file. */
typedef struct sbx_schema {
    sbx_view name;
    const sbx_row *row; /* NULL = a section */
    bool is_secret_file;
    struct sbx_schema *next;
    struct sbx_schema *children;
    struct sbx_schema *last_child;
} sbx_schema;

/* NULL: memory is out. */
sbx_schema *sbx_schema_new(sbx_arena *arena);

const sbx_schema *sbx_schema_child(const sbx_schema *schema, sbx_view name);

/* Lists and maps of mappings. */
bool sbx_schema_is_container(const sbx_schema *schema);

/* The child whose name is so close that it must be meant, or NULL. */
const sbx_schema *sbx_schema_closest(const sbx_schema *schema, sbx_view name);

/* What a row's value may be, "a whole number from 0 to 10": in messages after "expected", and in the
 * reference. */
enum {
    SBX_DESCRIBE_MAX = 256
};
const char *sbx_describe(const sbx_row *row, char ret_text[SBX_DESCRIBE_MAX]);

/* A size the way people write it: "32 MiB". */
const char *sbx_describe_size(uint64_t bytes, char ret_text[32]);

#endif
