/* The tree a YAML text becomes before it is checked: scalars, lists and mappings, each knowing where it was
 * written. Lives in the load's scratch arena. A node that YAML repeats by alias is shared, never copied. */
#ifndef SBX_CONFIG_TREE_PRIV_H
#define SBX_CONFIG_TREE_PRIV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/view.h"

/* Where text came from. A higher rank beats a lower one: file 0, environment 1, overrides 2 and up. */
typedef struct sbx_origin {
    const char *name;
    unsigned rank;
    bool is_file;
} sbx_origin;

typedef struct sbx_place {
    const sbx_origin *origin;
    unsigned line;   /* from 1 */
    unsigned column; /* from 1, in characters */
} sbx_place;

typedef enum sbx_node_kind {
    SBX_NODE_SCALAR,
    SBX_NODE_LIST,
    SBX_NODE_MAP
} sbx_node_kind;

typedef struct sbx_entry sbx_entry;

typedef struct sbx_node {
    sbx_node_kind kind;
    sbx_place place;
    sbx_view text;    /* scalar: as YAML decoded it */
    bool is_plain;    /* scalar: written without quotes */
    bool is_verbatim; /* scalar: a value from outside YAML; no null, nothing is replaced in it */
    bool is_expanded; /* scalar: text holds what ${NAME} was replaced with */
    bool is_bad;      /* a problem of its value was told already */
    size_t weight;    /* values below and with it, aliases counted as often as they repeat */
    size_t count;     /* entries of a list or map */
    sbx_entry *first;
    sbx_entry *last;
} sbx_node;

/* An item of a list (key empty), or a key and its value. */
struct sbx_entry {
    sbx_entry *next;
    sbx_view key;
    sbx_place place;               /* of the key */
    const sbx_entry *duplicate_of; /* the earlier entry of the same key, or NULL */
    sbx_node *value;
};

/* NULL when the arena is full. */
sbx_node *sbx_node_new(sbx_arena *arena, sbx_node_kind kind, sbx_place place);
sbx_entry *sbx_node_add(sbx_arena *arena, sbx_node *parent, sbx_view key, sbx_place place, sbx_node *value);

/* The first entry of that key, or NULL. */
sbx_entry *sbx_node_find(const sbx_node *map, sbx_view key);
void sbx_node_remove(sbx_node *map, const sbx_entry *entry);

/* The value at a path of keys separated by dots, or NULL. */
sbx_node *sbx_node_at(const sbx_node *root, const char *path);

/* A value left empty, or written null or ~, or whose ${NAME} came to nothing: "not set". */
bool sbx_node_is_null(const sbx_node *node);

#endif
