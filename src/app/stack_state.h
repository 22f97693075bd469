/* Which preset is in force at the start: the one that was activated last, as the state file says, else the
 * configuration's. */
#ifndef SBX_APP_STACK_STATE_H
#define SBX_APP_STACK_STATE_H

#include "base/arena.h"
#include "config/config.h"

typedef struct sbx_stack_state {
    const char *path;          /* in the arena; NULL: there is no place for it */
    const char *active_preset; /* the configuration's own text; NULL: none */
} sbx_stack_state;

/* Reads the file, if there is one. What it says and cannot be used is logged and ignored. SBX_E_NOMEM.
 *
 * The file is stack_state_file, else stack-<address>-<port>.json in the state directory: $STATE_DIRECTORY,
 * $XDG_STATE_HOME/signalbox or $HOME/.local/state/signalbox. A controller on a free port keeps nothing there.
 */
sbx_err sbx_stack_state_load(const sbx_config *config, sbx_arena *arena, sbx_stack_state *ret_state);

#endif
