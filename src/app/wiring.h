/* From the configuration to what each layer is told: the core's policy, the shell's and the server's options.
 */
#ifndef SBX_APP_WIRING_H
#define SBX_APP_WIRING_H

#include "base/arena.h"
#include "config/config.h"
#include "server/server.h"
#include "shell/shell.h"

/* preset: whose roles are in force; NULL: none. What the policy points to lives in the arena. SBX_E_NOMEM. */
sbx_server_policy_fn sbx_wire_policy;

/* Who is asked for the models of helper roles (wiring_helpers.c). SBX_E_NOMEM. */
sbx_err sbx_wire_helper_lists(const sbx_config *config, sbx_arena *arena, sbx_policy *policy);

sbx_server_options sbx_wire_server(const sbx_config *config, const char *controller_id, uint64_t seed);

/* The endpoints of helper nodes (wiring_helpers.c). Failures are logged and left out. */
void sbx_wire_helpers(const sbx_config *config, sbx_shell *shell);

sbx_health_expect sbx_wire_expect(const sbx_config_health *health);

/* The active backends and static workers. Failures are logged and left out. Returns how many were added. */
size_t sbx_wire_backends(const sbx_config *config, sbx_shell *shell);

#endif
