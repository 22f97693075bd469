/* Nodes of the YAML tree: making, finding, removing. */
#include "config/tree_priv.h"

#include <assert.h>

sbx_node *sbx_node_new(sbx_arena *arena, sbx_node_kind kind, sbx_place place)
{
    sbx_node *node = SBX_ARENA_NEW(arena, sbx_node);
    if (node == NULL)
        return NULL;
    node->kind = kind;
    node->place = place;
    node->weight = 1;
    return node;
}

sbx_entry *sbx_node_add(sbx_arena *arena, sbx_node *parent, sbx_view key, sbx_place place, sbx_node *value)
{
    assert(parent->kind != SBX_NODE_SCALAR);
    sbx_entry *entry = SBX_ARENA_NEW(arena, sbx_entry);
    if (entry == NULL)
        return NULL;
    *entry = (sbx_entry){.key = key, .place = place, .value = value};

    if (parent->last == NULL)
        parent->first = entry;
    else
        parent->last->next = entry;
    parent->last = entry;
    parent->count++;
    parent->weight += value->weight;
    return entry;
}

sbx_entry *sbx_node_find(const sbx_node *map, sbx_view key)
{
    for (sbx_entry *entry = map->first; entry != NULL; entry = entry->next)
        if (sbx_view_eq(entry->key, key))
            return entry;
    return NULL;
}

void sbx_node_remove(sbx_node *map, const sbx_entry *entry)
{
    sbx_entry *before = NULL;
    for (sbx_entry *e = map->first; e != NULL && e != entry; e = e->next)
        before = e;
    if (before == NULL)
        map->first = entry->next;
    else
        before->next = entry->next;
    if (map->last == entry)
        map->last = before;
    map->count--;
}

sbx_node *sbx_node_at(const sbx_node *root, const char *path)
{
    sbx_view rest = sbx_view_cstr(path);
    sbx_node *found = NULL;
    for (const sbx_node *node = root; node != NULL && node->kind == SBX_NODE_MAP; node = found) {
        size_t dot = sbx_view_find(rest, '.', 0);
        const sbx_entry *entry = sbx_node_find(node, sbx_view_slice(rest, 0, dot));
        found = entry == NULL ? NULL : entry->value;
        if (dot == SIZE_MAX)
            return found;
        rest = sbx_view_skip(rest, dot + 1);
    }
    return NULL;
}

bool sbx_node_is_null(const sbx_node *node)
{
    if (node->kind != SBX_NODE_SCALAR || node->is_verbatim)
        return false;
    if (node->is_expanded || !node->is_plain)
        return node->is_expanded && node->text.len == 0;
    return node->text.len == 0 || sbx_view_eq_cstr(node->text, "~") || sbx_view_eq_cstr(node->text, "null") ||
           sbx_view_eq_cstr(node->text, "Null") || sbx_view_eq_cstr(node->text, "NULL");
}
