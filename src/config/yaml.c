/* The YAML reader: a recursive descent over libyaml's events, at most SBX_CONFIG_DEPTH_MAX deep. It stops at
 * the first thing that is no YAML; what the values mean is looked at later. */
#include "config/yaml_priv.h"

#include <assert.h>
#include <stdio.h>
#include <yaml.h>

#include "base/map.h"
#include "base/utf8.h"

struct anchor {
    struct anchor *older;
    sbx_view name;
    sbx_node *node; /* NULL while its value is being read */
};

struct reader {
    sbx_load *load;
    const sbx_origin *origin;
    sbx_view text;
    yaml_parser_t parser;
    struct anchor *anchors;
    size_t weight;
};

static sbx_place place_of(const struct reader *reader, yaml_mark_t mark)
{
    return (sbx_place){
        .origin = reader->origin, .line = (unsigned)mark.line + 1, .column = (unsigned)mark.column + 1};
}

/* -- the text before YAML sees it
 * ---------------------------------------------------------------------------- */

static void tell_bad_byte(const struct reader *reader, sbx_place place, uint8_t c)
{
    if (c == 0)
        sbx_load_problem(reader->load, place, "found a NUL byte, expected UTF-8 text");
    else if (c >= 0x80)
        sbx_load_problem(reader->load, place, "found the byte 0x%02x, expected UTF-8 text", c);
    else
        sbx_load_problem(reader->load, place, "found the control character 0x%02x, expected UTF-8 text", c);
}

static bool is_text(const struct reader *reader)
{
    sbx_place place = {.origin = reader->origin, .line = 1, .column = 1};
    for (size_t at = 0; at < reader->text.len;) {
        uint8_t c = reader->text.data[at];
        size_t bytes = sbx_utf8_valid_char(sbx_view_skip(reader->text, at));
        bool is_break = c == '\n' || (c == '\r' && !sbx_view_starts_with(sbx_view_skip(reader->text, at + 1),
                                                                         SBX_VIEW("\n")));
        if (bytes == 0 || (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
            tell_bad_byte(reader, place, c);
            return false;
        }
        place.line += is_break;
        place.column = is_break ? 1 : place.column + 1;
        at += bytes;
    }
    return true;
}

/* -- errors
 * --------------------------------------------------------------------------------------------------- */

static sbx_view line_at(sbx_view text, size_t line)
{
    for (; line > 0; line--) {
        size_t end = sbx_view_find(text, '\n', 0);
        text = sbx_view_skip(text, end == SIZE_MAX ? SIZE_MAX : end + 1);
    }
    return sbx_view_slice(text, 0, sbx_view_find(text, '\n', 0));
}

/* Whether the indentation up to the column holds a tab: the usual cause. */
static bool has_tab_before(sbx_view line, size_t column)
{
    for (size_t i = 0; i < line.len && i <= column; i++) {
        if (line.data[i] == '\t')
            return true;
        if (line.data[i] != ' ' && line.data[i] != '-' && i < column)
            return false;
    }
    return false;
}

static void tell_syntax_error(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    sbx_place place = place_of(reader, parser->problem_mark);
    if (parser->error == YAML_MEMORY_ERROR) {
        reader->load->out_of_memory = true;
        return;
    }
    sbx_view line = line_at(reader->text, parser->problem_mark.line);
    if (has_tab_before(line, parser->problem_mark.column)) {
        sbx_load_problem(reader->load, place, "found a tab, expected spaces: YAML is not indented with tabs");
        return;
    }
    char context[160] = "";
    if (parser->context != NULL)
        snprintf(context, sizeof context, " %s that begins at line %zu", parser->context,
                 parser->context_mark.line + 1);
    sbx_load_problem(reader->load, place, "found text that is not YAML (%s%s), expected YAML%s",
                     parser->problem == NULL ? "unreadable" : parser->problem, context,
                     sbx_view_contains(line, SBX_VIEW("${")) ? "; between { } or [ ], ${NAME} needs quotes"
                                                             : "");
}

static bool next_event(struct reader *reader, yaml_event_t *ret_event)
{
    if (yaml_parser_parse(&reader->parser, ret_event) == 1)
        return true;
    tell_syntax_error(reader);
    return false;
}

/* -- anchors and aliases
 * --------------------------------------------------------------------------------------- */

static bool copy_text(struct reader *reader, const void *data, size_t len, sbx_view *ret_copy)
{
    if (sbx_arena_dup(&reader->load->scratch, sbx_view_of(data, len), ret_copy) == SBX_OK)
        return true;
    reader->load->out_of_memory = true;
    return false;
}

static bool add_weight(struct reader *reader, sbx_place place, size_t weight)
{
    reader->weight += weight;
    if (reader->weight <= SBX_CONFIG_NODES_MAX)
        return true;
    sbx_load_problem(reader->load, place, "found more than %d values, expected fewer", SBX_CONFIG_NODES_MAX);
    return false;
}

/* Registers a value's anchor before the value is read, so that an alias to itself is noticed. */
static bool open_anchor(struct reader *reader, const yaml_char_t *name, struct anchor **ret_anchor)
{
    *ret_anchor = NULL;
    if (name == NULL)
        return true;
    struct anchor *added = sbx_load_scratch(reader->load, 1, sizeof *added);
    if (added == NULL || !copy_text(reader, name, strlen((const char *)name), &added->name))
        return false;
    added->older = reader->anchors;
    reader->anchors = added;
    *ret_anchor = added;
    return true;
}

static sbx_node *read_alias(struct reader *reader, const yaml_event_t *event)
{
    sbx_view name = sbx_view_cstr((const char *)event->data.alias.anchor);
    sbx_place place = place_of(reader, event->start_mark);
    char quoted[SBX_QUOTE_MAX];
    const struct anchor *found = reader->anchors;
    while (found != NULL && !sbx_view_eq(found->name, name))
        found = found->older;
    if (found == NULL) {
        sbx_load_problem(reader->load, place,
                         "found an alias to %s, expected an anchor of that name before it",
                         sbx_quote(name, quoted));
        return NULL;
    }
    if (found->node == NULL) {
        sbx_load_problem(reader->load, place, "found an alias to %s inside of it, expected one from outside",
                         sbx_quote(name, quoted));
        return NULL;
    }
    return add_weight(reader, place, found->node->weight) ? found->node : NULL;
}

/* -- tags
 * ------------------------------------------------------------------------------------------------------ */

static bool check_tag(struct reader *reader, const yaml_event_t *event, const yaml_char_t *tag,
                      bool *ret_is_string)
{
    static const char core[] = "tag:yaml.org,2002:";
    static const char *const known[] = {"str", "int", "float", "bool", "null", "map", "seq"};
    *ret_is_string = tag != NULL && strcmp((const char *)tag, "!") == 0;
    if (tag == NULL || *ret_is_string)
        return true;
    if (strncmp((const char *)tag, core, sizeof core - 1) == 0) {
        const char *name = (const char *)tag + sizeof core - 1;
        *ret_is_string = strcmp(name, "str") == 0;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            if (strcmp(name, known[i]) == 0)
                return true;
    }
    char quoted[SBX_QUOTE_MAX];
    sbx_load_problem(reader->load, place_of(reader, event->start_mark), "found the tag %s, expected none",
                     sbx_quote(sbx_view_cstr((const char *)tag), quoted));
    return false;
}

/* -- values
 * ---------------------------------------------------------------------------------------------------- */

static sbx_node *read_node(struct reader *reader, yaml_event_t *event, unsigned depth);

static sbx_node *read_scalar(struct reader *reader, const yaml_event_t *event)
{
    bool is_string;
    sbx_place place = place_of(reader, event->start_mark);
    if (!check_tag(reader, event, event->data.scalar.tag, &is_string))
        return NULL;
    sbx_node *node = sbx_node_new(&reader->load->scratch, SBX_NODE_SCALAR, place);
    if (node == NULL) {
        reader->load->out_of_memory = true;
        return NULL;
    }
    node->is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !is_string;
    if (!copy_text(reader, event->data.scalar.value, event->data.scalar.length, &node->text))
        return NULL;
    return node;
}

static bool add_entry(struct reader *reader, sbx_node *parent, sbx_view key, sbx_place place, sbx_node *value,
                      sbx_entry **ret_entry)
{
    *ret_entry = sbx_node_add(&reader->load->scratch, parent, key, place, value);
    if (*ret_entry == NULL)
        reader->load->out_of_memory = true;
    return *ret_entry != NULL;
}

static bool read_items(struct reader *reader, sbx_node *list, unsigned depth)
{
    for (;;) {
        yaml_event_t event;
        if (!next_event(reader, &event))
            return false;
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            return true;
        }
        sbx_entry *entry;
        sbx_place place = place_of(reader, event.start_mark);
        sbx_node *item = read_node(reader, &event, depth);
        if (item == NULL || !add_entry(reader, list, (sbx_view){0}, place, item, &entry))
            return false;
    }
}

static bool is_merge_key(const sbx_node *key)
{
    return key->is_plain && sbx_view_eq_cstr(key->text, "<<");
}

/* Adds what `from` holds and `map` does not. */
static bool merge_mapping(struct reader *reader, sbx_node *map, sbx_map *keys, const sbx_node *from)
{
    for (const sbx_entry *entry = from->first; entry != NULL; entry = entry->next) {
        sbx_entry *added;
        if (sbx_map_get(keys, entry->key) != NULL)
            continue;
        if (!add_weight(reader, entry->place, entry->value->weight) ||
            !add_entry(reader, map, entry->key, entry->place, entry->value, &added))
            return false;
        if (sbx_map_put(keys, added->key, added) != SBX_OK) {
            reader->load->out_of_memory = true;
            return false;
        }
    }
    return true;
}

static bool merge(struct reader *reader, sbx_node *map, sbx_map *keys, const sbx_node *source)
{
    char quoted[SBX_QUOTE_MAX];
    if (source->kind == SBX_NODE_MAP)
        return merge_mapping(reader, map, keys, source);
    for (const sbx_entry *item = source->first; item != NULL; item = item->next) {
        if (item->value->kind != SBX_NODE_MAP)
            break;
        if (!merge_mapping(reader, map, keys, item->value))
            return false;
        if (item->next == NULL)
            return true;
    }
    sbx_load_problem(reader->load, source->place,
                     "found %s after <<, expected a mapping or a list of mappings",
                     sbx_found(source, quoted));
    return false;
}

/* Reads one key; NULL with *ret_is_end set at the mapping's end. */
static sbx_node *read_key(struct reader *reader, unsigned depth, bool *ret_is_end)
{
    yaml_event_t event;
    *ret_is_end = false;
    if (!next_event(reader, &event))
        return NULL;
    if (event.type == YAML_MAPPING_END_EVENT) {
        yaml_event_delete(&event);
        *ret_is_end = true;
        return NULL;
    }
    sbx_node *key = read_node(reader, &event, depth);
    char quoted[SBX_QUOTE_MAX];
    if (key != NULL && key->kind != SBX_NODE_SCALAR) {
        sbx_load_problem(reader->load, key->place, "found %s as a key, expected a name",
                         sbx_found(key, quoted));
        return NULL;
    }
    return key;
}

static bool add_pair(struct reader *reader, sbx_node *map, sbx_map *keys, const sbx_node *key,
                     sbx_node *value)
{
    sbx_entry *entry;
    if (!add_entry(reader, map, key->text, key->place, value, &entry))
        return false;
    entry->duplicate_of = sbx_map_get(keys, key->text);
    if (entry->duplicate_of != NULL || sbx_map_put(keys, key->text, entry) == SBX_OK)
        return true;
    reader->load->out_of_memory = true;
    return false;
}

static bool read_pairs(struct reader *reader, sbx_node *map, sbx_map *keys, unsigned depth)
{
    const sbx_node *merge_source = NULL;
    for (;;) {
        bool is_end;
        const sbx_node *key = read_key(reader, depth, &is_end);
        if (is_end)
            return merge_source == NULL || merge(reader, map, keys, merge_source);
        yaml_event_t event;
        if (key == NULL || !next_event(reader, &event))
            return false;
        sbx_node *value = read_node(reader, &event, depth);
        if (value == NULL)
            return false;
        if (is_merge_key(key) && merge_source == NULL)
            merge_source = value;
        else if (!add_pair(reader, map, keys, key, value))
            return false;
    }
}

static bool read_mapping(struct reader *reader, sbx_node *map, unsigned depth)
{
    sbx_map keys;
    sbx_map_init(&keys, (sbx_siphash_key){0}, SBX_CONFIG_NODES_MAX);
    bool is_good = read_pairs(reader, map, &keys, depth);
    sbx_map_deinit(&keys);
    return is_good;
}

static sbx_node *read_collection(struct reader *reader, const yaml_event_t *event, unsigned depth)
{
    bool is_list = event->type == YAML_SEQUENCE_START_EVENT;
    bool is_string;
    sbx_place place = place_of(reader, event->start_mark);
    const yaml_char_t *tag = is_list ? event->data.sequence_start.tag : event->data.mapping_start.tag;
    if (!check_tag(reader, event, tag, &is_string))
        return NULL;
    if (depth == SBX_CONFIG_DEPTH_MAX) {
        sbx_load_problem(reader->load, place, "found more than %d levels, expected fewer",
                         SBX_CONFIG_DEPTH_MAX);
        return NULL;
    }
    sbx_node *node = sbx_node_new(&reader->load->scratch, is_list ? SBX_NODE_LIST : SBX_NODE_MAP, place);
    if (node == NULL) {
        reader->load->out_of_memory = true;
        return NULL;
    }
    bool is_good = is_list ? read_items(reader, node, depth + 1) : read_mapping(reader, node, depth + 1);
    return is_good ? node : NULL;
}

static const yaml_char_t *anchor_name(const yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT)
        return event->data.scalar.anchor;
    if (event->type == YAML_SEQUENCE_START_EVENT)
        return event->data.sequence_start.anchor;
    assert(event->type == YAML_MAPPING_START_EVENT);
    return event->data.mapping_start.anchor;
}

static sbx_node *read_anchored(struct reader *reader, const yaml_event_t *event, unsigned depth)
{
    struct anchor *anchor;
    if (!add_weight(reader, place_of(reader, event->start_mark), 1) ||
        !open_anchor(reader, anchor_name(event), &anchor))
        return NULL;
    sbx_node *node =
        event->type == YAML_SCALAR_EVENT ? read_scalar(reader, event) : read_collection(reader, event, depth);
    if (anchor != NULL)
        anchor->node = node;
    return node;
}

/* Takes the event. NULL: a problem was told, or memory is out. */
static sbx_node *read_node(struct reader *reader, yaml_event_t *event, unsigned depth)
{
    sbx_node *node =
        event->type == YAML_ALIAS_EVENT ? read_alias(reader, event) : read_anchored(reader, event, depth);
    yaml_event_delete(event);
    return node;
}

/* -- the document
 * ---------------------------------------------------------------------------------------------- */

/* Passes over two events; ret_type and ret_mark are of the second. */
static bool skip_two(struct reader *reader, yaml_event_type_t *ret_type, yaml_mark_t *ret_mark)
{
    for (int i = 0; i < 2; i++) {
        yaml_event_t event;
        if (!next_event(reader, &event))
            return false;
        *ret_type = event.type;
        *ret_mark = event.start_mark;
        yaml_event_delete(&event);
        if (*ret_type == YAML_STREAM_END_EVENT)
            return true;
    }
    return true;
}

static bool read_document(struct reader *reader, sbx_node **ret_root)
{
    yaml_event_type_t type = YAML_NO_EVENT;
    yaml_mark_t mark = {0};
    yaml_event_t event;
    if (!skip_two(reader, &type, &mark))
        return false;
    if (type == YAML_STREAM_END_EVENT)
        return true;
    assert(type == YAML_DOCUMENT_START_EVENT);
    if (!next_event(reader, &event))
        return false;
    sbx_node *root = read_node(reader, &event, 0);
    if (root == NULL || !skip_two(reader, &type, &mark))
        return false;
    if (type != YAML_STREAM_END_EVENT) {
        sbx_load_problem(reader->load, place_of(reader, mark), "found a second document, expected one");
        return false;
    }
    *ret_root = root;
    return true;
}

bool sbx_yaml_read(sbx_load *load, const sbx_origin *origin, sbx_view text, sbx_node **ret_root)
{
    struct reader reader = {.load = load, .origin = origin, .text = text};
    *ret_root = NULL;
    if (!is_text(&reader))
        return false;
    if (yaml_parser_initialize(&reader.parser) == 0) {
        load->out_of_memory = true;
        return false;
    }
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, text.data == NULL ? (const uint8_t *)"" : text.data,
                                 text.len);
    bool is_good = read_document(&reader, ret_root);
    yaml_parser_delete(&reader.parser);
    return is_good;
}
