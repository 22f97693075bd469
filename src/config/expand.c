/* ${NAME} and ${NAME:-text} in scalars of the file. No nesting: a default ends at the first '}'. */
#include "base/utf8.h"
#include "config/values_priv.h"

enum {
    EXPANDED_MAX = 1024 * 1024,
    NAME_MAX_BYTES = 128
};

static bool is_name(sbx_view name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!is_letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return name.len > 0 && name.len < NAME_MAX_BYTES;
}

static bool fail(sbx_load *load, sbx_node *node, sbx_view reference, const char *expected)
{
    char quoted[SBX_QUOTE_MAX];
    node->is_bad = true;
    sbx_load_problem(load, node->place, "found %s, expected %s", sbx_quote(reference, quoted), expected);
    return false;
}

/* inside: what stands between ${ and }; reference: all of it, for messages. */
static bool append_value(sbx_load *load, sbx_node *node, sbx_view inside, sbx_view reference, sbx_buf *buf)
{
    char name[NAME_MAX_BYTES];
    size_t colon = sbx_view_find(inside, ':', 0);
    sbx_view name_view = sbx_view_slice(inside, 0, colon);
    sbx_view rest = sbx_view_skip(inside, colon);
    bool has_default = sbx_view_starts_with(rest, SBX_VIEW(":-"));
    if (!is_name(name_view) || (colon != SIZE_MAX && !has_default))
        return fail(load, node, reference, "${NAME} or ${NAME:-text} ($${ stands for ${ itself)");

    sbx_view_to_cstr(name_view, name, sizeof name);
    const char *value = sbx_load_env(load, name);
    if (has_default && (value == NULL || value[0] == '\0')) {
        sbx_buf_append_view(buf, sbx_view_skip(rest, 2));
        return true;
    }
    if (value == NULL)
        return fail(load, node, reference, "a variable that is set in the environment, or ${NAME:-text}");
    sbx_buf_append_cstr(buf, value);
    return true;
}

/* Appends one piece of the text and tells how long it was; 0: a problem was told. */
static size_t append_piece(sbx_load *load, sbx_node *node, sbx_view rest, sbx_buf *buf)
{
    if (sbx_view_starts_with(rest, SBX_VIEW("$${"))) {
        sbx_buf_append_cstr(buf, "${");
        return 3;
    }
    if (!sbx_view_starts_with(rest, SBX_VIEW("${"))) {
        sbx_buf_append_byte(buf, rest.data[0]);
        return 1;
    }
    size_t end = sbx_view_find(rest, '}', 0);
    if (end == SIZE_MAX) {
        fail(load, node, sbx_view_slice(rest, 0, 2), "a } that ends it ($${ stands for ${ itself)");
        return 0;
    }
    sbx_view reference = sbx_view_slice(rest, 0, end + 1);
    return append_value(load, node, sbx_view_slice(rest, 2, end - 2), reference, buf) ? end + 1 : 0;
}

static bool keep_expanded(sbx_load *load, sbx_node *node, const sbx_buf *buf)
{
    if (sbx_buf_error(buf) == SBX_E_CAP)
        return fail(load, node, node->text, "less than 1 MiB of text in place of it");
    if (!sbx_utf8_is_valid(sbx_buf_view(buf)))
        return fail(load, node, node->text, "UTF-8 text in place of it");
    if (sbx_buf_error(buf) != SBX_OK ||
        sbx_arena_dup(&load->scratch, sbx_buf_view(buf), &node->text) != SBX_OK) {
        load->out_of_memory = true;
        return false;
    }
    node->is_expanded = true;
    return true;
}

bool sbx_expand(sbx_load *load, sbx_node *node)
{
    bool is_candidate = node->kind == SBX_NODE_SCALAR && !node->is_verbatim && !node->is_expanded &&
                        !node->is_bad && node->place.origin->is_file;
    if (!is_candidate || !sbx_view_contains(node->text, SBX_VIEW("${")))
        return !node->is_bad;

    sbx_buf buf;
    sbx_buf_init(&buf, EXPANDED_MAX);
    size_t at = 0;
    size_t piece = 1;
    while (at < node->text.len && piece > 0) {
        piece = append_piece(load, node, sbx_view_skip(node->text, at), &buf);
        at += piece;
    }
    bool is_good = piece > 0 && keep_expanded(load, node, &buf);
    sbx_buf_deinit(&buf);
    return is_good;
}
