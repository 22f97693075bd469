/* Intrusive doubly linked list: a node lies inside the element, so nothing is allocated and an element
 * leaves any list in O(1) without knowing which. A node that is in no list is unlinked (both NULL). */
#ifndef SBX_BASE_LIST_H
#define SBX_BASE_LIST_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct sbx_list_node {
    struct sbx_list_node *prev;
    struct sbx_list_node *next;
} sbx_list_node;

/* The head is a node itself: a list must not be copied or moved. */
typedef struct sbx_list {
    sbx_list_node head;
} sbx_list;

/* The element of `type` whose `member` is the node `pointer`. */
#define SBX_CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Walks from first to last; `node` may be removed from inside the loop, others not. */
#define SBX_LIST_EACH(node, list)                                                                            \
    for (sbx_list_node *node = (list)->head.next, *node##_next = node->next; node != &(list)->head;          \
         node = node##_next, node##_next = node->next)

static inline void sbx_list_init(sbx_list *list)
{
    list->head.prev = &list->head;
    list->head.next = &list->head;
}

static inline bool sbx_list_is_empty(const sbx_list *list)
{
    return list->head.next == &list->head;
}

static inline bool sbx_list_node_is_linked(const sbx_list_node *node)
{
    return node->next != NULL;
}

static inline void sbx_list_insert_before(sbx_list_node *place, sbx_list_node *node)
{
    assert(!sbx_list_node_is_linked(node));
    node->prev = place->prev;
    node->next = place;
    place->prev->next = node;
    place->prev = node;
}

static inline void sbx_list_push_back(sbx_list *list, sbx_list_node *node)
{
    sbx_list_insert_before(&list->head, node);
}

static inline void sbx_list_push_front(sbx_list *list, sbx_list_node *node)
{
    sbx_list_insert_before(list->head.next, node);
}

/* Takes the node out of whatever list it is in; nothing happens when it is in none. */
static inline void sbx_list_remove(sbx_list_node *node)
{
    if (!sbx_list_node_is_linked(node))
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->prev = NULL;
    node->next = NULL;
}

/* NULL when the list is empty. */
static inline sbx_list_node *sbx_list_first(const sbx_list *list)
{
    return sbx_list_is_empty(list) ? NULL : list->head.next;
}

static inline sbx_list_node *sbx_list_last(const sbx_list *list)
{
    return sbx_list_is_empty(list) ? NULL : list->head.prev;
}

/* The node after / before this one; NULL at the end. */
static inline sbx_list_node *sbx_list_next(const sbx_list *list, const sbx_list_node *node)
{
    return node->next == &list->head ? NULL : node->next;
}

static inline sbx_list_node *sbx_list_prev(const sbx_list *list, const sbx_list_node *node)
{
    return node->prev == &list->head ? NULL : node->prev;
}

static inline sbx_list_node *sbx_list_pop_front(sbx_list *list)
{
    sbx_list_node *node = sbx_list_first(list);
    if (node != NULL)
        sbx_list_remove(node);
    return node;
}

static inline sbx_list_node *sbx_list_pop_back(sbx_list *list)
{
    sbx_list_node *node = sbx_list_last(list);
    if (node != NULL)
        sbx_list_remove(node);
    return node;
}

#endif
