/* What the pages of the model stack share. Never included from another layer. */
#ifndef SBX_SERVER_STACK_H
#define SBX_SERVER_STACK_H

#include "server/server_priv.h"

struct cJSON;

/* NULL: there is none of that name. */
const sbx_config_preset *sbx_stack_preset(const sbx_server *server, sbx_view name);

/* {name:{description,roles}} */
struct cJSON *sbx_stack_presets_object(const sbx_server *server);

/* As it was written: one model as a string, several as a list. */
void sbx_stack_add_models(struct cJSON *object, const char *name, const sbx_config_strings *models);

#endif
