/* Where the bus is: nats-server as our child (embedded), somebody else's (external), or nowhere (off). */
#ifndef SBX_APP_BUS_SETUP_H
#define SBX_APP_BUS_SETUP_H

#include "config/config.h"
#include "net/bus.h"
#include "net/guard.h"

typedef struct sbx_bus_setup sbx_bus_setup;

/* Called once, from the loop, when the server's address is known; ok false: it could not be started at all.
 */
typedef void sbx_bus_ready_fn(void *user, bool is_ok);

/* guard is used in mode embedded only. Not for mode off. SBX_E_NOMEM, SBX_E_IO. */
sbx_err sbx_bus_setup_start(sbx_loop *loop, sbx_guard *guard, const sbx_config *config,
                            sbx_bus_ready_fn *on_ready, void *user, sbx_bus_setup **ret_setup);

/* From on_ready on; kept by the setup. */
const sbx_bus_options *sbx_bus_setup_options(const sbx_bus_setup *setup);

/* What the next machine joins with, when the embedded server can be reached from there; else NULL. */
const char *sbx_bus_setup_join_url(const sbx_bus_setup *setup);

void sbx_bus_setup_free(sbx_bus_setup *setup); /* ends the managed server; NULL is fine */

/* The options of mode external, straight from the configuration. name and prefix are kept; prefix is where
 * the configured word goes, with the dot that the bus wants behind it. */
enum {
    SBX_BUS_PREFIX_SIZE = SBX_CONFIG_ID_MAX + 2
};
sbx_bus_options sbx_bus_options_external(const sbx_config *config, const char *name,
                                         char prefix[SBX_BUS_PREFIX_SIZE]);

#endif
