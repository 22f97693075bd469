/* See self.h. */
#include "app/self.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/rng.h"

char *sbx_self_path(void)
{
    char path[4096];
    size_t size = sizeof path;
    return uv_exepath(path, &size) == 0 ? strdup(path) : NULL;
}

uint64_t sbx_self_seed(void)
{
    uint64_t seed = 0;
    if (sbx_random_bytes_os(&seed, sizeof seed) != SBX_OK)
        abort(); /* no source of randomness: nothing that follows would be safe */
    return seed;
}

void sbx_self_make_id(char ret_id[SBX_SELF_ID_SIZE])
{
    char name[40] = "";
    if (gethostname(name, sizeof name - 1) != 0 || name[0] == '\0')
        strcpy(name, "signalbox");
    name[strcspn(name, ".")] = '\0';
    for (char *c = name; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_')
            *c = '-';
    }
    snprintf(ret_id, SBX_SELF_ID_SIZE, "%s-%08x", name, (unsigned)(sbx_self_seed() & 0xffffffffU));
}
