/* Which engines `up` puts workers beside: those of the configuration; when it names no worker of any kind,
 * those found on this machine; when there is none, two simulated ones. */
#ifndef SBX_APP_LOCAL_ENGINES_H
#define SBX_APP_LOCAL_ENGINES_H

#include "base/arena.h"
#include "config/config.h"
#include "net/loop.h"

typedef struct sbx_local_engines {
    const sbx_config_engine *items;
    size_t count;
    bool is_simulated; /* because nothing was found */
} sbx_local_engines;

/* May run the loop for up to 300 ms. Says on stdout what it found. Strings live in the arena or the config.
 */
sbx_err sbx_local_engines_choose(sbx_loop *loop, const sbx_config *config, sbx_arena *arena,
                                 sbx_local_engines *ret_engines);

/* The engines found on this machine, without the fall-back to simulated ones. */
sbx_err sbx_local_engines_find(sbx_loop *loop, sbx_arena *arena, sbx_local_engines *ret_engines);

#endif
