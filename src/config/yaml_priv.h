/* YAML text to a tree, with libyaml as the scanner. Deliberate choices:
 *   one document; anchors and aliases work, recursive ones are refused and what they repeat counts towards
 *   SBX_CONFIG_NODES_MAX; `<<` merges a mapping (or a list of them) below what is written beside it; the core
 * tags
 *   (!!str ...) are understood, others refused; a key is its text, whatever it looks like; the text must be
 * UTF-8 without control characters. */
#ifndef SBX_CONFIG_YAML_PRIV_H
#define SBX_CONFIG_YAML_PRIV_H

#include "config/load_priv.h"

/* ret_root: NULL for an empty document. false when the text is no YAML we take: that is a problem of the
 * load. */
bool sbx_yaml_read(sbx_load *load, const sbx_origin *origin, sbx_view text, sbx_node **ret_root);

#endif
