/* The defaults as a configuration file. Strings are quoted as JSON, which YAML reads the same. */
#include "config/print.h"
#include "config/schema_priv.h"

static bool is_list_kind(sbx_kind kind)
{
    return kind == SBX_KIND_TEXTS || kind == SBX_KIND_MODELS || kind == SBX_KIND_ORIGINS ||
           kind == SBX_KIND_CODES;
}

static bool is_string_kind(sbx_kind kind)
{
    return kind == SBX_KIND_TEXT || kind == SBX_KIND_PREFIX || kind == SBX_KIND_HOST ||
           kind == SBX_KIND_URI_PATH;
}

static void print_value(sbx_buf *buf, const sbx_row *row)
{
    if (row->type == SBX_ROW_LIST)
        sbx_buf_append_cstr(buf, "[]");
    else if (row->type == SBX_ROW_MAP || row->kind == SBX_KIND_NAMED_MODELS)
        sbx_buf_append_cstr(buf, "{}");
    else if (row->default_text == NULL)
        sbx_buf_append_cstr(buf, "null");
    else if (is_list_kind(row->kind))
        sbx_buf_appendf(buf, "[%s]", row->default_text);
    else if (is_string_kind(row->kind))
        sbx_buf_append_json(buf, sbx_view_cstr(row->default_text));
    else
        sbx_buf_append_cstr(buf, row->default_text);
}

static void indent(sbx_buf *buf, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        sbx_buf_append_cstr(buf, "  ");
}

static void print_comment(sbx_buf *buf, const sbx_row *row)
{
    char expected[SBX_DESCRIBE_MAX];
    sbx_buf_appendf(buf, "# %s", row->meaning);
    if (row->type == SBX_ROW_KEY)
        sbx_buf_appendf(buf, " (%s)", sbx_describe(row, expected));
    sbx_buf_append_byte(buf, '\n');
}

static void print_level(sbx_buf *buf, const sbx_schema *schema, unsigned depth)
{
    for (const sbx_schema *child = schema->children; child != NULL; child = child->next) {
        if (child->is_secret_file)
            continue;
        if (depth == 0)
            sbx_buf_append_byte(buf, '\n');
        if (child->row != NULL) {
            indent(buf, depth);
            print_comment(buf, child->row);
        }
        indent(buf, depth);
        sbx_buf_append_view(buf, child->name);
        sbx_buf_append_cstr(buf, child->row == NULL ? ":\n" : ": ");
        if (child->row == NULL) {
            print_level(buf, child, depth + 1);
            continue;
        }
        print_value(buf, child->row);
        sbx_buf_append_byte(buf, '\n');
    }
}

sbx_err sbx_config_print_defaults(sbx_buf *buf)
{
    sbx_arena arena;
    sbx_arena_init(&arena, SIZE_MAX);
    const sbx_schema *schema = sbx_schema_new(&arena);
    if (schema != NULL) {
        sbx_buf_append_cstr(buf, "# Every key of signalbox.yaml with its default. null = not set.\n");
        print_level(buf, schema, 0);
    }
    sbx_arena_deinit(&arena);
    return schema == NULL ? SBX_E_NOMEM : sbx_buf_error(buf);
}
