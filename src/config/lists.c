/* Readers of lists of single values. One value stands for a list of one; a text from outside YAML is cut at
 * its commas. */
#include "config/values_priv.h"

enum {
    LIST_MAX = 1000
};

/* What one item must be. The text that is kept may differ from the one written. */
typedef bool check_fn(sbx_load *load, const sbx_row *row, sbx_node *item, sbx_view *text);

/* -- items
 * ----------------------------------------------------------------------------------------------------- */

/* "a, b" from a flag as if it had been a list. */
static sbx_node *split_at_commas(sbx_load *load, const sbx_node *node)
{
    sbx_node *list = sbx_node_new(&load->scratch, SBX_NODE_LIST, node->place);
    sbx_view rest = node->text;
    while (list != NULL && rest.len > 0) {
        size_t comma = sbx_view_find(rest, ',', 0);
        sbx_view part = sbx_view_trim(sbx_view_slice(rest, 0, comma));
        rest = sbx_view_skip(rest, comma == SIZE_MAX ? SIZE_MAX : comma + 1);
        if (part.len == 0)
            continue;
        sbx_node *item = sbx_node_new(&load->scratch, SBX_NODE_SCALAR, node->place);
        if (item == NULL || sbx_node_add(&load->scratch, list, (sbx_view){0}, node->place, item) == NULL)
            list = NULL;
        else
            *item = (sbx_node){.kind = SBX_NODE_SCALAR,
                               .place = node->place,
                               .text = part,
                               .is_plain = true,
                               .is_verbatim = true,
                               .weight = 1};
    }
    if (list == NULL)
        load->out_of_memory = true;
    return list;
}

static sbx_node *list_of_one(sbx_load *load, sbx_node *node)
{
    sbx_node *list = sbx_node_new(&load->scratch, SBX_NODE_LIST, node->place);
    if (list != NULL && sbx_node_add(&load->scratch, list, (sbx_view){0}, node->place, node) != NULL)
        return list;
    load->out_of_memory = true;
    return NULL;
}

/* The node as a list; NULL when it is none (that was told) or memory is out. */
static sbx_node *as_list(sbx_load *load, const sbx_row *row, sbx_node *node, size_t max)
{
    sbx_node *list = node;
    if (node->kind == SBX_NODE_MAP) {
        sbx_wrong(load, row, node);
        return NULL;
    }
    if (node->kind == SBX_NODE_SCALAR)
        list = node->is_verbatim ? split_at_commas(load, node) : list_of_one(load, node);
    if (list != NULL && list->count > max) {
        node->is_bad = true;
        sbx_load_problem(load, node->place, "found %zu items, expected at most %zu", list->count, max);
        return NULL;
    }
    return list;
}

/* -- reading
 * --------------------------------------------------------------------------------------------------- */

static bool is_twice(sbx_load *load, sbx_node *item, const char *text, const char *const *items, size_t count)
{
    char quoted[SBX_QUOTE_MAX];
    for (size_t i = 0; i < count; i++)
        if (strcmp(items[i], text) == 0) {
            item->is_bad = true;
            sbx_load_problem(load, item->place, "found %s a second time, expected it once",
                             sbx_quote(sbx_view_cstr(text), quoted));
            return true;
        }
    return false;
}

static bool read_item(sbx_load *load, const sbx_row *row, sbx_node *item, check_fn *check, const char **items,
                      size_t *count)
{
    sbx_view text;
    if (!sbx_expand(load, item) || !check(load, row, item, &text))
        return false;
    const char *kept = sbx_load_keep_text(load, text);
    if (kept == NULL || is_twice(load, item, kept, items, *count))
        return false;
    items[(*count)++] = kept;
    return true;
}

static bool read_list(sbx_load *load, const sbx_row *row, sbx_node *node, size_t max, check_fn *check,
                      sbx_config_strings *ret_strings)
{
    sbx_node *list = as_list(load, row, node, max);
    if (list == NULL)
        return false;
    const char **items = sbx_load_keep(load, list->count, sizeof *items);
    if (items == NULL)
        return false;

    size_t count = 0;
    size_t index = 0;
    bool is_good = true;
    for (sbx_entry *entry = list->first; entry != NULL; entry = entry->next) {
        size_t up = list == node ? sbx_load_enter_item(load, index++) : load->path.len;
        is_good = read_item(load, row, entry->value, check, items, &count) && is_good;
        sbx_load_leave(load, up);
    }
    node->is_bad = node->is_bad || !is_good;
    if (is_good)
        *ret_strings = (sbx_config_strings){.items = items, .count = count};
    return is_good;
}

/* -- kinds
 * ----------------------------------------------------------------------------------------------------- */

static bool wrong_item(sbx_load *load, sbx_node *item, const char *expected)
{
    char quoted[SBX_QUOTE_MAX];
    item->is_bad = true;
    sbx_load_problem(load, item->place, "found %s, expected %s", sbx_found(item, quoted), expected);
    return false;
}

static bool check_text(sbx_load *load, const sbx_row *row, sbx_node *item, sbx_view *text)
{
    (void)row;
    *text = item->text;
    if (item->kind == SBX_NODE_SCALAR && !sbx_node_is_null(item) && sbx_is_clean(item->text, 1024))
        return true;
    return wrong_item(load, item, "a string of 1 to 1024 bytes");
}

static bool check_model(sbx_load *load, const sbx_row *row, sbx_node *item, sbx_view *text)
{
    (void)row;
    *text = item->text;
    if (item->kind == SBX_NODE_SCALAR && !sbx_node_is_null(item) &&
        sbx_is_clean(item->text, SBX_CONFIG_MODEL_MAX))
        return true;
    return wrong_item(load, item, "a model id of 1 to 256 bytes");
}

static bool check_origin(sbx_load *load, const sbx_row *row, sbx_node *item, sbx_view *text)
{
    (void)row;
    sbx_url url;
    const char *why = "a value that is no null";
    *text = item->text;
    if (item->kind == SBX_NODE_SCALAR && sbx_view_eq_cstr(item->text, "*"))
        return true;
    if (item->kind != SBX_NODE_SCALAR || sbx_node_is_null(item))
        return wrong_item(load, item, "an origin such as https://host:8080");
    sbx_err err = sbx_url_parse(&load->scratch, item->text, &url, &why);
    if (err == SBX_OK && url.prefix[0] == '\0') {
        *text = sbx_view_cstr(url.text);
        return true;
    }
    return wrong_item(load, item, "an origin such as https://host:8080");
}

bool sbx_read_texts(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    return read_list(load, row, node, LIST_MAX, check_text, (sbx_config_strings *)field);
}

bool sbx_read_models(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    return read_list(load, row, node, SBX_CONFIG_MODELS_MAX, check_model, (sbx_config_strings *)field);
}

bool sbx_read_one_model(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    if (!sbx_want_scalar(load, row, node))
        return false;
    return read_list(load, row, node, 1, check_model, (sbx_config_strings *)field);
}

bool sbx_read_origins(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    return read_list(load, row, node, LIST_MAX, check_origin, (sbx_config_strings *)field);
}

static uint32_t bit_of_word(const sbx_row *row, sbx_view text)
{
    for (size_t word = 0; row->words[word] != NULL; word++)
        if (sbx_view_eq_cstr(text, row->words[word]))
            return UINT32_C(1) << word;
    return 0;
}

static bool check_code(sbx_load *load, const sbx_row *row, sbx_node *item, sbx_view *text)
{
    char expected[SBX_DESCRIBE_MAX];
    *text = item->text;
    if (item->kind == SBX_NODE_SCALAR && bit_of_word(row, item->text) != 0)
        return true;
    return wrong_item(load, item, sbx_describe(row, expected));
}

/* Words become the bits of their places in words.def. */
bool sbx_read_codes(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    sbx_config_strings codes;
    uint32_t bits = 0;
    if (!read_list(load, row, node, LIST_MAX, check_code, &codes))
        return false;
    for (size_t i = 0; i < codes.count; i++)
        bits |= bit_of_word(row, sbx_view_cstr(codes.items[i]));
    *(uint32_t *)field = bits;
    return true;
}

/* -- maps of lists
 * --------------------------------------------------------------------------------------------- */

static bool read_named(sbx_load *load, const sbx_row *row, sbx_entry *entry, sbx_config_named_list *ret_list)
{
    char quoted[SBX_QUOTE_MAX];
    if (entry->duplicate_of != NULL) {
        sbx_load_problem(load, entry->place, "found the key a second time, expected it once (line %u has it)",
                         entry->duplicate_of->place.line);
        return false;
    }
    if (!sbx_is_clean(entry->key, SBX_CONFIG_MODEL_MAX)) {
        sbx_load_problem(load, entry->place, "found the name %s, expected one of 1 to 256 bytes",
                         sbx_quote(entry->key, quoted));
        return false;
    }
    sbx_node *node = entry->value;
    if (!sbx_expand(load, node))
        return false;
    if (node->kind == SBX_NODE_MAP || sbx_node_is_null(node) ||
        (node->kind == SBX_NODE_LIST && node->count == 0)) {
        char expected[SBX_DESCRIBE_MAX];
        sbx_load_problem(load, node->place, "found %s, expected %s",
                         node->kind == SBX_NODE_LIST ? "an empty list" : sbx_found(node, quoted),
                         sbx_describe(row, expected));
        return false;
    }
    ret_list->name = sbx_load_keep_text(load, entry->key);
    return sbx_read_models(load, row, node, &ret_list->models) && ret_list->name != NULL;
}

bool sbx_read_named_models(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    char quoted[SBX_QUOTE_MAX];
    if (node->kind == SBX_NODE_SCALAR && node->is_verbatim && node->text.len == 0)
        return true;
    if (node->kind != SBX_NODE_MAP || node->count > SBX_CONFIG_ITEMS_MAX) {
        node->is_bad = true;
        sbx_load_problem(load, node->place, "found %s, expected a mapping of at most %d names",
                         sbx_found(node, quoted), SBX_CONFIG_ITEMS_MAX);
        return false;
    }
    sbx_config_named_list *items = sbx_load_keep(load, node->count, sizeof *items);
    if (items == NULL)
        return false;
    size_t count = 0;
    for (sbx_entry *entry = node->first; entry != NULL; entry = entry->next) {
        size_t up = sbx_load_enter_key(load, entry->key);
        count += read_named(load, row, entry, &items[count]);
        sbx_load_leave(load, up);
    }
    node->is_bad = node->is_bad || count < node->count;
    *(sbx_config_named_lists *)field = (sbx_config_named_lists){.items = items, .count = count};
    return !node->is_bad;
}
