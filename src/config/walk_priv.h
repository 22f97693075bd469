/* The steps of a load between the tree and the finished configuration. */
#ifndef SBX_CONFIG_WALK_PRIV_H
#define SBX_CONFIG_WALK_PRIV_H

#include "config/load_priv.h"
#include "config/schema_priv.h"

/* Puts values of the environment and of overrides into the tree, over what the file says. *root may be NULL.
 */
void sbx_override_tree(sbx_load *load, sbx_node **root);

/* Fills the configuration: defaults, then what the tree says. root may be NULL. */
void sbx_walk_tree(sbx_load *load, sbx_node *root, sbx_config *config);

/* What no single key can tell: pairs that contradict, missing companions, ids used twice, cycles. Fills in
 * what follows from other keys. */
void sbx_check_config(sbx_load *load, const sbx_node *root, sbx_config *config);
void sbx_check_aliases(sbx_load *load, const sbx_node *root, const sbx_config_stack *stack);

/* "SIGNALBOX_NATS_SERVER_URL" for "cluster.nats.serverUrl". */
void sbx_env_name_of(sbx_view path, char *ret_name, size_t size);

#endif
