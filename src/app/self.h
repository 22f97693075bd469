/* What this process is: its own program, the machine's name, random ids. */
#ifndef SBX_APP_SELF_H
#define SBX_APP_SELF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The path of this very program, to be started again as a child. The caller frees it; NULL when unknown. */
char *sbx_self_path(void);

/* "<machine>-<8 hex digits>", of [A-Za-z0-9_-] only. */
enum {
    SBX_SELF_ID_SIZE = 64
};
void sbx_self_make_id(char ret_id[SBX_SELF_ID_SIZE]);

uint64_t sbx_self_seed(void);

#endif
