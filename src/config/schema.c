/* keys.def as rows, checked at compile time to fit the structs of config.h, and as a tree. */
#include "config/schema_priv.h"

#include "config/config.h"

/* The table speaks of "engine" where the struct is sbx_config_engine; the root is sbx_config itself. */
typedef sbx_config sbx_config_config;

#define SBX_WORDS(name, type, ...) static const char *const words_##name[] = {__VA_ARGS__, NULL};
#include "config/words.def"
#undef SBX_WORDS

/* Which C type a kind's field must have. Enums differ in type, so that their size is compared only. */
#define SBX_KIND(name, type, reader) typedef type field_of_##name;
#include "config/kinds.def"
#undef SBX_KIND

#define FIELD(owner, field) (((sbx_config_##owner *)0)->field)

#define SBX_KEY(owner, path, kind, field, limits, default_text, meaning)                                     \
    _Static_assert(SBX_KIND_##kind == SBX_KIND_ENUM                                                          \
                       ? sizeof(FIELD(owner, field)) == sizeof(int)                                          \
                       : _Generic(&FIELD(owner, field), field_of_##kind * : 1, default : 0),                 \
                   "the field's type does not fit the kind of " path);
#define SBX_LIST(owner, path, element, field, short_key, meaning)                                            \
    _Static_assert(_Generic(FIELD(owner, field).items, const sbx_config_##element * : 1, default : 0),       \
                   "the field is no list of the element of " path);
#define SBX_MAP(owner, path, element, field, names, name_field, meaning)                                     \
    _Static_assert(_Generic(FIELD(owner, field).items, const sbx_config_##element * : 1, default : 0),       \
                   "the field is no list of the element of " path);
#include "config/keys.def"
#undef SBX_KEY
#undef SBX_LIST
#undef SBX_MAP

const char sbx_required[] = "required";

#define N(from, to) .least = (from), .most = (to)
#define W(name)     .words = words_##name
#define NONE        .least = 0
#define REQUIRED    sbx_required

#define SBX_KEY(owner, key, value_kind, field, limits, default_value, text)                                  \
    {.type = SBX_ROW_KEY,                                                                                    \
     .path = key,                                                                                            \
     .kind = SBX_KIND_##value_kind,                                                                          \
     .offset = offsetof(sbx_config_##owner, field),                                                          \
     limits,                                                                                                 \
     .default_text = default_value,                                                                          \
     .meaning = text},
#define SBX_LIST(owner, key, element, field, short_name, text)                                               \
    {.type = SBX_ROW_LIST,                                                                                   \
     .path = key,                                                                                            \
     .offset = offsetof(sbx_config_##owner, field),                                                          \
     .element_size = sizeof(sbx_config_##element),                                                           \
     .short_key = short_name,                                                                                \
     .meaning = text},
#define SBX_MAP(owner, key, element, field, names, name_field, text)                                         \
    {.type = SBX_ROW_MAP,                                                                                    \
     .path = key,                                                                                            \
     .kind = SBX_KIND_##names,                                                                               \
     .offset = offsetof(sbx_config_##owner, field),                                                          \
     .words = SBX_KIND_##names == SBX_KIND_HELPER_ROLE ? words_helper_role : NULL,                           \
     .element_size = sizeof(sbx_config_##element),                                                           \
     .name_offset = offsetof(sbx_config_##element, name_field),                                              \
     .meaning = text},

const sbx_row sbx_rows[] = {
#include "config/keys.def"
};

const size_t sbx_row_count = sizeof sbx_rows / sizeof sbx_rows[0];

/* -- the tree
 * -------------------------------------------------------------------------------------------------- */

const sbx_schema *sbx_schema_child(const sbx_schema *schema, sbx_view name)
{
    for (const sbx_schema *child = schema->children; child != NULL; child = child->next)
        if (sbx_view_eq(child->name, name))
            return child;
    return NULL;
}

static sbx_schema *add_child(sbx_arena *arena, sbx_schema *parent, sbx_view name)
{
    sbx_schema *child = SBX_ARENA_NEW(arena, sbx_schema);
    if (child == NULL)
        return NULL;
    child->name = name;
    if (parent->last_child == NULL)
        parent->children = child;
    else
        parent->last_child->next = child;
    parent->last_child = child;
    return child;
}

static sbx_schema *child_for(sbx_arena *arena, sbx_schema *parent, sbx_view name)
{
    for (sbx_schema *child = parent->children; child != NULL; child = child->next)
        if (sbx_view_eq(child->name, name))
            return child;
    return add_child(arena, parent, name);
}

/* Cuts the next name off a path: "engines[].url" gives engines. A name in <> stands for any and is skipped.
 */
static bool next_name(sbx_view *path, sbx_view *ret_name)
{
    while (path->len > 0) {
        size_t dot = sbx_view_find(*path, '.', 0);
        sbx_view name = sbx_view_slice(*path, 0, dot);
        *path = sbx_view_skip(*path, dot == SIZE_MAX ? SIZE_MAX : dot + 1);
        if (name.data[0] == '<')
            continue;
        *ret_name = sbx_view_ends_with(name, SBX_VIEW("[]")) ? sbx_view_slice(name, 0, name.len - 2) : name;
        return true;
    }
    return false;
}

/* api_key has api_key_file beside it; in the cluster's spelling apiKey has apiKeyFile. */
static bool add_secret_file(sbx_arena *arena, sbx_schema *parent, const sbx_schema *secret)
{
    bool is_cluster = sbx_view_starts_with(sbx_view_cstr(secret->row->path), SBX_VIEW("cluster."));
    sbx_view suffix = is_cluster ? SBX_VIEW("File") : SBX_VIEW("_file");
    size_t len = secret->name.len + suffix.len;
    char *name = sbx_arena_alloc(arena, len);
    if (name == NULL)
        return false;
    memcpy(name, secret->name.data, secret->name.len);
    memcpy(name + secret->name.len, suffix.data, suffix.len);

    sbx_schema *child = add_child(arena, parent, sbx_view_of(name, len));
    if (child == NULL)
        return false;
    child->row = secret->row;
    child->is_secret_file = true;
    return true;
}

static bool add_row(sbx_arena *arena, sbx_schema *root, const sbx_row *row)
{
    sbx_schema *parent = root;
    sbx_schema *child = root;
    sbx_view path = sbx_view_cstr(row->path);
    sbx_view name;
    while (next_name(&path, &name)) {
        parent = child;
        child = child_for(arena, parent, name);
        if (child == NULL)
            return false;
    }
    child->row = row;
    bool is_secret = row->type == SBX_ROW_KEY && row->kind == SBX_KIND_SECRET;
    return !is_secret || add_secret_file(arena, parent, child);
}

sbx_schema *sbx_schema_new(sbx_arena *arena)
{
    sbx_schema *root = SBX_ARENA_NEW(arena, sbx_schema);
    if (root == NULL)
        return NULL;
    for (size_t i = 0; i < sbx_row_count; i++)
        if (!add_row(arena, root, &sbx_rows[i]))
            return NULL;
    return root;
}

bool sbx_schema_is_container(const sbx_schema *schema)
{
    return schema->row != NULL && schema->row->type != SBX_ROW_KEY;
}
