/* What `up` and `controller` tell the person who started them, on stdout. */
#ifndef SBX_APP_BANNER_H
#define SBX_APP_BANNER_H

#include <stdbool.h>
#include <stdint.h>

#include "shell/shell.h"

typedef struct sbx_banner {
    const char *host; /* as bound */
    uint16_t port;
    bool is_simulated;    /* no engine was found: the text is made up */
    const char *join_url; /* of the bus, when other machines can reach it; else NULL */
} sbx_banner;

void sbx_banner_print(const sbx_banner *banner, sbx_shell *shell);

#endif
