/* From a node of the tree to a field of the configuration, one reader per kind. A reader either sets the
 * field and returns true, or tells the problem, marks the node bad and leaves the field alone. */
#ifndef SBX_CONFIG_VALUES_PRIV_H
#define SBX_CONFIG_VALUES_PRIV_H

#include "config/load_priv.h"
#include "config/schema_priv.h"

typedef bool sbx_read_fn(sbx_load *load, const sbx_row *row, sbx_node *node, void *field);

/* Reads by the row's kind. The node is not null and its ${NAME} are replaced already. */
bool sbx_read_value(sbx_load *load, const sbx_row *row, sbx_node *node, void *field);

#define SBX_KIND(name, type, reader) sbx_read_fn sbx_##reader;
#include "config/kinds.def"
#undef SBX_KIND

/* Replaces ${NAME} and ${NAME:-text} in a scalar that came from a file; $${ stands for ${ itself. NAME not
 * set and no text given: a problem. A default is taken when NAME is not set or empty. Doing it again changes
 * nothing. */
bool sbx_expand(sbx_load *load, sbx_node *node);

/* Reads a secret from the file that the node names, without newlines at its end. */
bool sbx_read_secret_file(sbx_load *load, const sbx_row *row, sbx_node *node, void *field);

/* The whole content, in the load's scratch memory. reterr_why: errno's text or ours. SBX_E_NOT_FOUND,
 * SBX_E_IO, SBX_E_CAP, SBX_E_NOMEM. */
sbx_err sbx_file_read(sbx_load *load, const char *path, size_t max_bytes, sbx_view *ret_content,
                      const char **reterr_why);

/* A path as written, below the configuration's folder when it is relative and stands in the file. NULL:
 * memory. */
const char *sbx_keep_path(sbx_load *load, const sbx_node *node);

/* Tells "found <the node>, expected <what the row takes>" and marks the node. Always false. */
bool sbx_wrong(sbx_load *load, const sbx_row *row, sbx_node *node);

/* Whether it is a scalar; if not, sbx_wrong(). */
bool sbx_want_scalar(sbx_load *load, const sbx_row *row, sbx_node *node);

/* Whether text has 1 to max bytes, none of them a control character. */
bool sbx_is_clean(sbx_view text, size_t max);

#endif
