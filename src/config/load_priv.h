/* What one load carries through all its steps, and how a step reports what is wrong: it tells the problem and
 * goes on, so that one run finds all of them. Running out of memory is kept in a flag that the end looks at.
 */
#ifndef SBX_CONFIG_LOAD_PRIV_H
#define SBX_CONFIG_LOAD_PRIV_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "config/load.h"
#include "config/tree_priv.h"

typedef struct sbx_problem_entry sbx_problem_entry;

typedef struct sbx_load {
    sbx_arena scratch; /* tree, schema, problems as they come: ends with the load */
    sbx_arena *keep;   /* what the configuration refers to */
    const sbx_config_options *options;
    const struct sbx_schema *schema; /* of the whole file */
    sbx_view folder; /* of the file, with the '/' at its end; empty = relative paths stay relative */
    sbx_buf path;    /* the key being looked at, "cluster.worker.engines[0].url" */
    sbx_problem_entry *problems;
    size_t problem_count;
    bool out_of_memory;
} sbx_load;

void sbx_load_init(sbx_load *load, sbx_arena *keep, const sbx_config_options *options);
void sbx_load_deinit(sbx_load *load);

/* Zeroed memory that the configuration keeps / that lasts as long as the load. NULL: the flag is set. */
void *sbx_load_keep(sbx_load *load, size_t count, size_t size);
void *sbx_load_scratch(sbx_load *load, size_t count, size_t size);

/* A copy that the configuration keeps, NUL-terminated. NULL: the flag is set. */
const char *sbx_load_keep_text(sbx_load *load, sbx_view text);

/* The environment's value, or NULL. */
const char *sbx_load_env(const sbx_load *load, const char *name);

/* Goes down to a key / an item, and back: `size_t up = enter...; ...; sbx_load_leave(load, up);` */
size_t sbx_load_enter_key(sbx_load *load, sbx_view key);
size_t sbx_load_enter_item(sbx_load *load, size_t index);
void sbx_load_leave(sbx_load *load, size_t up);

/* Tells what is wrong with the key that was entered, at a place. */
__attribute__((format(printf, 3, 4))) void sbx_load_problem(sbx_load *load, sbx_place place,
                                                            const char *format, ...);

/* Makes the list the caller gets: sorted by origin, line and column. SBX_E_NOMEM. */
sbx_err sbx_load_give_problems(const sbx_load *load, sbx_config_problems *ret_problems);

/* Text for a message: in quotes, shortened, control characters escaped. */
enum {
    SBX_QUOTE_MAX = 160
};
const char *sbx_quote(sbx_view text, char ret_text[SBX_QUOTE_MAX]);

/* "a list", "a mapping", "an empty string", "null" or the quoted text. */
const char *sbx_found(const sbx_node *node, char ret_text[SBX_QUOTE_MAX]);

#endif
