/* Environment and overrides become nodes of the tree, so that they go through the same readers and checks as
 * the file, and problems name them. */
#include <stdio.h>

#include "base/utf8.h"
#include "config/print.h"
#include "config/values_priv.h"
#include "config/walk_priv.h"
#include "config/yaml_priv.h"

/* -- names of the environment
 * -------------------------------------------------------------------------------------- */

static bool is_upper(uint8_t c)
{
    return c >= 'A' && c <= 'Z';
}

void sbx_env_name_of(sbx_view path, char *ret_name, size_t size)
{
    static const sbx_view cluster = SBX_VIEW_INIT("cluster.");
    size_t len = (size_t)snprintf(ret_name, size, "SIGNALBOX_");
    if (sbx_view_starts_with(path, cluster))
        path = sbx_view_skip(path, cluster.len);
    for (size_t i = 0; i < path.len && len + 2 < size; i++) {
        uint8_t c = path.data[i];
        if (is_upper(c) && i > 0 && path.data[i - 1] != '.' && !is_upper(path.data[i - 1]))
            ret_name[len++] = '_';
        ret_name[len++] = (char)(c == '.' ? '_' : c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c);
    }
    ret_name[len] = '\0';
}

/* Without what names the elements: "backends.<name>" and "cluster.worker.engines[]" are values as a whole. */
static sbx_view without_element(sbx_view path)
{
    if (sbx_view_ends_with(path, SBX_VIEW("[]")))
        return sbx_view_slice(path, 0, path.len - 2);
    size_t bracket = sbx_view_find(path, '<', 0);
    bool is_last = bracket != SIZE_MAX && sbx_view_find(path, '.', bracket) == SIZE_MAX;
    return is_last ? sbx_view_slice(path, 0, bracket - 1) : path;
}

void sbx_config_env_name(const char *path, char *ret_name, size_t size)
{
    sbx_view plain = without_element(sbx_view_cstr(path));
    ret_name[0] = '\0';
    if (sbx_view_find(plain, '<', 0) == SIZE_MAX && sbx_view_find(plain, '[', 0) == SIZE_MAX)
        sbx_env_name_of(plain, ret_name, size);
}

/* -- values
 * -------------------------------------------------------------------------------------------------------- */

/* Lists and maps are written as YAML; of lists of single values only those that begin with '['. */
static bool is_yaml(const sbx_schema *schema, sbx_view value)
{
    if (sbx_schema_is_container(schema))
        return true;
    if (schema->is_secret_file)
        return false;
    switch ((int)schema->row->kind) {
    case SBX_KIND_NAMED_MODELS:
        return true;
    case SBX_KIND_TEXTS:
    case SBX_KIND_MODELS:
    case SBX_KIND_ORIGINS:
    case SBX_KIND_CODES:
        return sbx_view_starts_with(sbx_view_trim(value), SBX_VIEW("["));
    default:
        return false;
    }
}

static sbx_node *verbatim_node(sbx_load *load, sbx_place place, sbx_view value)
{
    sbx_node *node = sbx_node_new(&load->scratch, SBX_NODE_SCALAR, place);
    if (node == NULL) {
        load->out_of_memory = true;
        return NULL;
    }
    node->text = value;
    node->is_plain = true;
    node->is_verbatim = true;
    return node;
}

static sbx_node *node_of(sbx_load *load, const sbx_schema *schema, sbx_place place, const char *text)
{
    sbx_view value = sbx_view_cstr(text);
    sbx_node *node = NULL;
    if (!sbx_utf8_is_valid(value)) {
        sbx_load_problem(load, place, "found bytes that are no text, expected UTF-8");
        return NULL;
    }
    if (!is_yaml(schema, value))
        return verbatim_node(load, place, value);
    sbx_yaml_read(load, place.origin, value, &node);
    return node;
}

/* -- into the tree
 * --------------------------------------------------------------------------------------------------- */

static sbx_entry *entry_for(sbx_load *load, sbx_node *map, sbx_view key, sbx_place place, sbx_node *value)
{
    sbx_entry *entry = sbx_node_find(map, key);
    if (entry == NULL)
        entry = sbx_node_add(&load->scratch, map, key, place, value);
    if (entry == NULL)
        load->out_of_memory = true;
    return entry;
}

static sbx_node *new_map(sbx_load *load, sbx_place place)
{
    sbx_node *map = sbx_node_new(&load->scratch, SBX_NODE_MAP, place);
    if (map == NULL)
        load->out_of_memory = true;
    return map;
}

/* The mapping below `map` at a key, made when there is none. NULL when something else is there, which the
 * walk will tell, or memory is out. */
static sbx_node *submap(sbx_load *load, sbx_node *map, sbx_view key, sbx_place place)
{
    sbx_entry *entry = sbx_node_find(map, key);
    if (entry != NULL && entry->value->kind == SBX_NODE_MAP)
        return entry->value;
    if (entry != NULL && !sbx_node_is_null(entry->value))
        return NULL;
    sbx_node *below = new_map(load, place);
    if (below == NULL)
        return NULL;
    entry = entry_for(load, map, key, place, below);
    if (entry != NULL)
        entry->value = below;
    return entry == NULL ? NULL : below;
}

/* x from the environment beats x_file of the file, and the other way round. */
static void remove_beaten(sbx_node *map, const sbx_schema *parent, const sbx_schema *schema, unsigned rank)
{
    for (const sbx_schema *other = parent->children; other != NULL; other = other->next) {
        if (other == schema || other->row != schema->row)
            continue;
        const sbx_entry *entry = sbx_node_find(map, other->name);
        if (entry != NULL && entry->place.origin->rank < rank)
            sbx_node_remove(map, entry);
    }
}

static void graft(sbx_load *load, sbx_node *root, sbx_view path, sbx_place place, const char *value)
{
    const sbx_schema *parent = load->schema;
    sbx_node *map = root;
    for (size_t dot = sbx_view_find(path, '.', 0); dot != SIZE_MAX; dot = sbx_view_find(path, '.', 0)) {
        parent = sbx_schema_child(parent, sbx_view_slice(path, 0, dot));
        map = submap(load, map, parent->name, place);
        if (map == NULL)
            return;
        path = sbx_view_skip(path, dot + 1);
    }
    const sbx_schema *child = sbx_schema_child(parent, path);
    sbx_node *node = node_of(load, child, place, value);
    if (node == NULL)
        return;
    remove_beaten(map, parent, child, place.origin->rank);
    sbx_entry *entry = entry_for(load, map, child->name, place, node);
    if (entry != NULL) {
        entry->value = node;
        entry->place = place;
    }
}

/* -- all of the environment, all overrides
 * ----------------------------------------------------------------------------- */

static const sbx_origin *new_origin(sbx_load *load, unsigned rank, const char *prefix, const char *name)
{
    sbx_origin *origin = sbx_load_scratch(load, 1, sizeof *origin);
    size_t size = strlen(prefix) + strlen(name) + 1;
    char *full = sbx_load_scratch(load, size, 1);
    if (origin == NULL || full == NULL)
        return NULL;
    snprintf(full, size, "%s%s", prefix, name);
    *origin = (sbx_origin){.name = full, .rank = rank};
    return origin;
}

/* load->path holds the path of the schema's node. A variable that is set to nothing counts as not set. */
static void take_variable(sbx_load *load, sbx_node *root)
{
    char name[SBX_CONFIG_ENV_NAME_MAX];
    sbx_env_name_of(sbx_buf_view(&load->path), name, sizeof name);
    const char *value = sbx_load_env(load, name);
    if (value == NULL || value[0] == '\0')
        return;
    const sbx_origin *origin = new_origin(load, 1, "environment variable ", name);
    if (origin != NULL)
        graft(load, root, sbx_buf_view(&load->path), (sbx_place){.origin = origin, .line = 1, .column = 1},
              value);
}

static void take_variables(sbx_load *load, const sbx_schema *below, sbx_node *root)
{
    for (const sbx_schema *child = below->children; child != NULL; child = child->next) {
        size_t up = sbx_load_enter_key(load, child->name);
        if (child->row == NULL)
            take_variables(load, child, root);
        else
            take_variable(load, root);
        sbx_load_leave(load, up);
    }
}

static const sbx_schema *schema_at(const sbx_schema *schema, sbx_view path)
{
    while (schema != NULL && !sbx_schema_is_container(schema)) {
        size_t dot = sbx_view_find(path, '.', 0);
        schema = sbx_schema_child(schema, sbx_view_slice(path, 0, dot));
        if (dot == SIZE_MAX)
            return schema;
        path = sbx_view_skip(path, dot + 1);
    }
    return NULL;
}

static void take_override(sbx_load *load, sbx_node *root, const sbx_config_override *override, unsigned rank)
{
    const sbx_origin *origin = new_origin(load, rank, "", override->origin);
    if (origin == NULL)
        return;
    sbx_view path = sbx_view_cstr(override->key);
    sbx_place place = {.origin = origin, .line = 1, .column = 1};
    const sbx_schema *found = schema_at(load->schema, path);
    size_t up = sbx_load_enter_key(load, path);
    if (found == NULL || found->row == NULL)
        sbx_load_problem(load, place, "found an unknown key, expected one outside of lists and maps");
    else
        graft(load, root, path, place, override->value);
    sbx_load_leave(load, up);
}

void sbx_override_tree(sbx_load *load, sbx_node **root)
{
    static const sbx_origin none = {.name = "overrides", .rank = 1};
    if (load->options == NULL)
        return;
    if (*root == NULL || sbx_node_is_null(*root))
        *root = new_map(load, (sbx_place){.origin = &none, .line = 1, .column = 1});
    if (*root == NULL || (*root)->kind != SBX_NODE_MAP)
        return;
    take_variables(load, load->schema, *root);
    for (size_t i = 0; i < load->options->override_count; i++)
        take_override(load, *root, &load->options->overrides[i], 2 + (unsigned)i);
}
