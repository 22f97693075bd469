/* Walks tree and schema side by side: unknown, doubled and missing keys are found here, values are left to
 * their readers. Every element gets its defaults first. */
#include <stdio.h>

#include "config/values_priv.h"
#include "config/walk_priv.h"

static const sbx_origin default_origin = {.name = "default"};

static void walk_map(sbx_load *load, const sbx_schema *schema, sbx_node *node, sbx_place place, void *base);

static void *field_of(void *base, const sbx_row *row)
{
    return (char *)base + row->offset;
}

/* -- defaults
 * -------------------------------------------------------------------------------------------------- */

static void set_default(sbx_load *load, const sbx_row *row, void *base)
{
    if (row->type != SBX_ROW_KEY || row->default_text == NULL || row->default_text == sbx_required)
        return;
    sbx_node node = {.kind = SBX_NODE_SCALAR,
                     .place = {.origin = &default_origin},
                     .text = sbx_view_cstr(row->default_text),
                     .is_plain = true,
                     .is_verbatim = true};
    sbx_read_value(load, row, &node, field_of(base, row));
}

static void set_defaults(sbx_load *load, const sbx_schema *schema, void *base)
{
    for (const sbx_schema *child = schema->children; child != NULL; child = child->next) {
        if (child->row == NULL)
            set_defaults(load, child, base);
        else if (!child->is_secret_file)
            set_default(load, child->row, base);
    }
}

/* Static workers and backends fill the same struct: what the first cannot say has the default of the second.
 */
static void set_element_defaults(sbx_load *load, const sbx_schema *schema, void *element)
{
    if (schema->row->element_size == sizeof(sbx_config_backend))
        set_defaults(load, sbx_schema_child(load->schema, SBX_VIEW("backends")), element);
    set_defaults(load, schema, element);
}

/* -- keys of one mapping
 * --------------------------------------------------------------------------------------- */

static void tell_unknown(sbx_load *load, const sbx_schema *schema, const sbx_entry *entry)
{
    const sbx_schema *closest = sbx_schema_closest(schema, entry->key);
    if (closest != NULL) {
        sbx_load_problem(load, entry->place, "found an unknown key, did you mean %.*s?",
                         SBX_VIEW_ARG(closest->name));
        return;
    }
    char known[512] = "";
    size_t len = 0;
    for (const sbx_schema *child = schema->children; child != NULL && len < sizeof known; child = child->next)
        len += (size_t)snprintf(known + len, sizeof known - len, "%s%.*s", len == 0 ? "" : ", ",
                                SBX_VIEW_ARG(child->name));
    sbx_load_problem(load, entry->place, "found an unknown key, expected one of %s", known);
}

/* Another key beside it that fills the same field: x and x_file, model and models. */
static const sbx_entry *rival_of(const sbx_schema *schema, const sbx_schema *child, const sbx_node *node,
                                 const sbx_entry *entry)
{
    for (const sbx_entry *other = node->first; other != entry; other = other->next) {
        const sbx_schema *found = sbx_schema_child(schema, other->key);
        bool is_leaf = found != NULL && found->row != NULL && found->row->type == SBX_ROW_KEY;
        if (is_leaf && found != child && found->row->offset == child->row->offset &&
            !sbx_node_is_null(other->value))
            return other;
    }
    return NULL;
}

static void read_key(sbx_load *load, const sbx_schema *schema, const sbx_schema *child, const sbx_node *node,
                     sbx_entry *entry, void *base)
{
    const sbx_entry *rival = rival_of(schema, child, node, entry);
    if (rival != NULL) {
        sbx_load_problem(load, entry->place, "found beside %.*s, expected one of the two",
                         SBX_VIEW_ARG(rival->key));
        return;
    }
    if (child->is_secret_file)
        sbx_read_secret_file(load, child->row, entry->value, field_of(base, child->row));
    else
        sbx_read_value(load, child->row, entry->value, field_of(base, child->row));
}

/* -- lists and maps of mappings
 * ---------------------------------------------------------------------------------- */

typedef struct span {
    const void *items;
    size_t count;
} span;

static bool is_collection(sbx_load *load, const sbx_node *node, sbx_node_kind kind, const char *expected)
{
    char quoted[SBX_QUOTE_MAX];
    if (node->kind != kind) {
        sbx_load_problem(load, node->place, "found %s, expected %s", sbx_found(node, quoted), expected);
        return false;
    }
    if (node->count > SBX_CONFIG_ITEMS_MAX) {
        sbx_load_problem(load, node->place, "found %zu entries, expected at most %d", node->count,
                         SBX_CONFIG_ITEMS_MAX);
        return false;
    }
    return true;
}

/* An item that is a single value stands for a mapping with the short key. */
static sbx_node *as_mapping(sbx_load *load, const sbx_row *row, sbx_node *node)
{
    if (node->kind != SBX_NODE_SCALAR || row->short_key == NULL || sbx_node_is_null(node))
        return node;
    sbx_node *map = sbx_node_new(&load->scratch, SBX_NODE_MAP, node->place);
    if (map == NULL ||
        sbx_node_add(&load->scratch, map, sbx_view_cstr(row->short_key), node->place, node) == NULL) {
        load->out_of_memory = true;
        return node;
    }
    return map;
}

static void read_element(sbx_load *load, const sbx_schema *schema, sbx_node *node, sbx_place place,
                         void *element)
{
    char quoted[SBX_QUOTE_MAX];
    set_element_defaults(load, schema, element);
    if (node->kind == SBX_NODE_MAP)
        walk_map(load, schema, node, place, element);
    else
        sbx_load_problem(load, node->place, "found %s, expected a mapping", sbx_found(node, quoted));
}

static void read_list(sbx_load *load, const sbx_schema *schema, sbx_node *node, void *base)
{
    const sbx_row *row = schema->row;
    if (!is_collection(load, node, SBX_NODE_LIST, "a list of mappings"))
        return;
    char *elements = sbx_load_keep(load, node->count, row->element_size);
    if (elements == NULL)
        return;
    size_t count = 0;
    for (sbx_entry *entry = node->first; entry != NULL; entry = entry->next) {
        size_t up = sbx_load_enter_item(load, count);
        sbx_node *item = as_mapping(load, row, entry->value);
        read_element(load, schema, item, item->place, elements + count * row->element_size);
        sbx_load_leave(load, up);
        count++;
    }
    span all = {.items = elements, .count = count};
    memcpy(field_of(base, row), &all, sizeof all);
}

static bool is_first(sbx_load *load, const sbx_entry *entry)
{
    if (entry->duplicate_of == NULL)
        return true;
    sbx_load_problem(load, entry->place, "found the key a second time, expected it once (line %u has it)",
                     entry->duplicate_of->place.line);
    return false;
}

/* The name goes through the reader of its kind, as if it were a value. */
static bool read_name(sbx_load *load, const sbx_row *row, const sbx_entry *entry, void *element)
{
    sbx_node name = {.kind = SBX_NODE_SCALAR,
                     .place = entry->place,
                     .text = entry->key,
                     .is_plain = true,
                     .is_verbatim = true};
    return sbx_read_value(load, row, &name, (char *)element + row->name_offset);
}

static void read_map(sbx_load *load, const sbx_schema *schema, sbx_node *node, void *base)
{
    const sbx_row *row = schema->row;
    if (!is_collection(load, node, SBX_NODE_MAP, "a mapping"))
        return;
    char *elements = sbx_load_keep(load, node->count, row->element_size);
    if (elements == NULL)
        return;
    size_t count = 0;
    for (sbx_entry *entry = node->first; entry != NULL; entry = entry->next) {
        char *element = elements + count * row->element_size;
        size_t up = sbx_load_enter_key(load, entry->key);
        bool is_set = row->kind != SBX_KIND_HELPER_ROLE || !sbx_node_is_null(entry->value);
        if (is_first(load, entry) && is_set && read_name(load, row, entry, element)) {
            read_element(load, schema, entry->value, entry->place, element);
            count++;
        }
        sbx_load_leave(load, up);
    }
    span all = {.items = elements, .count = count};
    memcpy(field_of(base, row), &all, sizeof all);
}

/* -- walking
 * ----------------------------------------------------------------------------------------------------- */

static void walk_section(sbx_load *load, const sbx_schema *schema, sbx_node *node, void *base)
{
    if (is_collection(load, node, SBX_NODE_MAP, "a mapping"))
        walk_map(load, schema, node, node->place, base);
}

static void walk_entry(sbx_load *load, const sbx_schema *schema, const sbx_node *node, sbx_entry *entry,
                       void *base)
{
    const sbx_schema *child = sbx_schema_child(schema, entry->key);
    if (!is_first(load, entry))
        return;
    if (child == NULL) {
        tell_unknown(load, schema, entry);
        return;
    }
    sbx_node *value = entry->value;
    if (value->is_bad || sbx_node_is_null(value))
        return;
    if (child->row == NULL)
        walk_section(load, child, value, base);
    else if (child->row->type == SBX_ROW_LIST)
        read_list(load, child, value, base);
    else if (child->row->type == SBX_ROW_MAP)
        read_map(load, child, value, base);
    else
        read_key(load, schema, child, node, entry, base);
}

static bool is_given(const sbx_schema *schema, const sbx_schema *child, const sbx_node *node)
{
    for (const sbx_entry *entry = node->first; entry != NULL; entry = entry->next) {
        const sbx_schema *found = sbx_schema_child(schema, entry->key);
        if (found != NULL && found->row == child->row && !sbx_node_is_null(entry->value))
            return true;
    }
    return false;
}

static void check_required(sbx_load *load, const sbx_schema *schema, const sbx_node *node, sbx_place place)
{
    char expected[SBX_DESCRIBE_MAX];
    for (const sbx_schema *child = schema->children; child != NULL; child = child->next) {
        bool is_required =
            child->row != NULL && child->row->default_text == sbx_required && !child->is_secret_file;
        if (!is_required || is_given(schema, child, node))
            continue;
        size_t up = sbx_load_enter_key(load, child->name);
        sbx_load_problem(load, place, "found nothing, expected %s", sbx_describe(child->row, expected));
        sbx_load_leave(load, up);
    }
}

/* ${NAME} first, as whether a key is set may depend on it. */
static void expand_all(sbx_load *load, const sbx_schema *schema, const sbx_node *node)
{
    for (const sbx_entry *entry = node->first; entry != NULL; entry = entry->next) {
        if (sbx_schema_child(schema, entry->key) == NULL)
            continue;
        size_t up = sbx_load_enter_key(load, entry->key);
        sbx_expand(load, entry->value);
        sbx_load_leave(load, up);
    }
}

/* place: what a missing key is told at. */
static void walk_map(sbx_load *load, const sbx_schema *schema, sbx_node *node, sbx_place place, void *base)
{
    expand_all(load, schema, node);
    for (sbx_entry *entry = node->first; entry != NULL; entry = entry->next) {
        size_t up = sbx_load_enter_key(load, entry->key);
        walk_entry(load, schema, node, entry, base);
        sbx_load_leave(load, up);
    }
    check_required(load, schema, node, place);
}

void sbx_walk_tree(sbx_load *load, sbx_node *root, sbx_config *config)
{
    set_defaults(load, load->schema, config);
    if (root == NULL)
        return;
    sbx_expand(load, root);
    if (!root->is_bad && !sbx_node_is_null(root))
        walk_section(load, load->schema, root, config);
}
