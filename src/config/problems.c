/* The load's context, and the list of problems it gathers. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "config/load_priv.h"

enum {
    SCRATCH_CAP = 256 * 1024 * 1024,
    PATH_CAP = 4096,
    QUOTED_BYTES = 64
};

struct sbx_problem_entry {
    sbx_problem_entry *older;
    sbx_place place;
    size_t number;
    const char *key;
    const char *message;
};

void sbx_load_init(sbx_load *load, sbx_arena *keep, const sbx_config_options *options)
{
    *load = (sbx_load){.keep = keep, .options = options};
    sbx_arena_init(&load->scratch, SCRATCH_CAP);
    sbx_buf_init(&load->path, PATH_CAP);
}

void sbx_load_deinit(sbx_load *load)
{
    sbx_buf_deinit(&load->path);
    sbx_arena_deinit(&load->scratch);
}

static void *take(sbx_load *load, sbx_arena *arena, size_t count, size_t size)
{
    void *memory = sbx_arena_alloc_array(arena, count, size);
    if (memory == NULL)
        load->out_of_memory = true;
    return memory;
}

void *sbx_load_keep(sbx_load *load, size_t count, size_t size)
{
    return take(load, load->keep, count, size);
}

void *sbx_load_scratch(sbx_load *load, size_t count, size_t size)
{
    return take(load, &load->scratch, count, size);
}

const char *sbx_load_keep_text(sbx_load *load, sbx_view text)
{
    char *copy = NULL;
    if (sbx_arena_dup_cstr(load->keep, text, &copy) != SBX_OK)
        load->out_of_memory = true;
    return copy;
}

const char *sbx_load_env(const sbx_load *load, const char *name)
{
    if (load->options == NULL || load->options->get_env == NULL)
        return NULL;
    return load->options->get_env(load->options->env_user, name);
}

size_t sbx_load_enter_key(sbx_load *load, sbx_view key)
{
    size_t up = load->path.len;
    char quoted[SBX_QUOTE_MAX];
    sbx_view shown = sbx_view_cstr(sbx_quote(key, quoted));
    if (up > 0)
        sbx_buf_append_byte(&load->path, '.');
    sbx_buf_append_view(&load->path, sbx_view_slice(shown, 1, shown.len - 2));
    return up;
}

size_t sbx_load_enter_item(sbx_load *load, size_t index)
{
    size_t up = load->path.len;
    sbx_buf_appendf(&load->path, "[%zu]", index);
    return up;
}

void sbx_load_leave(sbx_load *load, size_t up)
{
    sbx_buf_truncate(&load->path, up);
}

static const char *scratch_text(sbx_load *load, sbx_view text)
{
    char *copy = NULL;
    if (sbx_arena_dup_cstr(&load->scratch, text, &copy) != SBX_OK)
        load->out_of_memory = true;
    return copy;
}

static void add_problem(sbx_load *load, sbx_place place, const char *message)
{
    if (load->problem_count >= SBX_CONFIG_PROBLEMS_MAX)
        return;
    sbx_problem_entry *problem = sbx_load_scratch(load, 1, sizeof *problem);
    const char *key = scratch_text(load, sbx_buf_view(&load->path));
    if (problem == NULL || key == NULL || message == NULL)
        return;
    *problem = (sbx_problem_entry){.older = load->problems,
                                   .place = place,
                                   .number = load->problem_count,
                                   .key = key,
                                   .message = message};
    load->problems = problem;
    load->problem_count++;
}

void sbx_load_problem(sbx_load *load, sbx_place place, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    add_problem(load, place, scratch_text(load, sbx_view_cstr(message)));
}

static int compare_numbers(size_t a, size_t b)
{
    return (a > b) - (a < b);
}

static int compare_problems(const void *left, const void *right)
{
    const sbx_problem_entry *a = *(const sbx_problem_entry *const *)left;
    const sbx_problem_entry *b = *(const sbx_problem_entry *const *)right;
    if (a->place.origin->rank != b->place.origin->rank)
        return compare_numbers(a->place.origin->rank, b->place.origin->rank);
    if (a->place.line != b->place.line)
        return compare_numbers(a->place.line, b->place.line);
    if (a->place.column != b->place.column)
        return compare_numbers(a->place.column, b->place.column);
    return compare_numbers(a->number, b->number);
}

static sbx_err keep_formatted(sbx_arena *arena, const sbx_problem_entry *from,
                              sbx_config_problem *ret_problem)
{
    const sbx_place *place = &from->place;
    char where[64] = "";
    if (place->origin->is_file && place->line > 0)
        snprintf(where, sizeof where, ":%u:%u", place->line, place->column);

    sbx_buf line;
    sbx_buf_init(&line, SIZE_MAX);
    sbx_buf_appendf(&line, "%s%s: %s%s%s", place->origin->name, where, from->key,
                    from->key[0] == '\0' ? "" : ": ", from->message);
    char *text = NULL;
    char *origin = NULL;
    char *key = NULL;
    sbx_err err = sbx_buf_error(&line);
    if (err == SBX_OK)
        err = sbx_arena_dup_cstr(arena, sbx_buf_view(&line), &text);
    if (err == SBX_OK)
        err = sbx_arena_dup_cstr(arena, sbx_view_cstr(place->origin->name), &origin);
    if (err == SBX_OK)
        err = sbx_arena_dup_cstr(arena, sbx_view_cstr(from->key), &key);
    sbx_buf_deinit(&line);
    if (err != SBX_OK)
        return err;
    bool has_place = where[0] != '\0';
    *ret_problem = (sbx_config_problem){.text = text,
                                        .origin = origin,
                                        .key = key,
                                        .line = has_place ? place->line : 0,
                                        .column = has_place ? place->column : 0};
    return SBX_OK;
}

sbx_err sbx_load_give_problems(const sbx_load *load, sbx_config_problems *ret_problems)
{
    sbx_arena *arena = &ret_problems->arena;
    const sbx_problem_entry **sorted = SBX_ARENA_ARRAY(arena, const sbx_problem_entry *, load->problem_count);
    sbx_config_problem *items = SBX_ARENA_ARRAY(arena, sbx_config_problem, load->problem_count);
    if (sorted == NULL || items == NULL)
        return SBX_E_NOMEM;

    size_t count = 0;
    for (const sbx_problem_entry *problem = load->problems; problem != NULL; problem = problem->older)
        sorted[count++] = problem;
    assert(count == load->problem_count);
    qsort(sorted, count, sizeof sorted[0], compare_problems);

    for (size_t i = 0; i < count; i++) {
        sbx_err err = keep_formatted(arena, sorted[i], &items[i]);
        if (err != SBX_OK)
            return err;
    }
    ret_problems->items = items;
    ret_problems->count = count;
    return SBX_OK;
}

void sbx_config_problems_deinit(sbx_config_problems *problems)
{
    sbx_arena_deinit(&problems->arena);
    problems->items = NULL;
    problems->count = 0;
}

const char *sbx_quote(sbx_view text, char ret_text[SBX_QUOTE_MAX])
{
    size_t len = 0;
    size_t at = 0;
    ret_text[len++] = '"';
    while (at < text.len && len < QUOTED_BYTES) {
        size_t bytes = sbx_utf8_valid_char(sbx_view_skip(text, at));
        uint8_t c = text.data[at];
        if (bytes == 0 || c < 0x20 || c == 0x7f) {
            len += (size_t)snprintf(ret_text + len, SBX_QUOTE_MAX - len, "\\x%02x", c);
            at++;
            continue;
        }
        memcpy(ret_text + len, text.data + at, bytes);
        len += bytes;
        at += bytes;
    }
    snprintf(ret_text + len, SBX_QUOTE_MAX - len, "%s\"", at < text.len ? "..." : "");
    return ret_text;
}

const char *sbx_found(const sbx_node *node, char ret_text[SBX_QUOTE_MAX])
{
    switch (node->kind) {
    case SBX_NODE_LIST:
        return "a list";
    case SBX_NODE_MAP:
        return "a mapping";
    case SBX_NODE_SCALAR:
        break;
    }
    if (sbx_node_is_null(node))
        return "null";
    return node->text.len == 0 ? "an empty string" : sbx_quote(node->text, ret_text);
}
