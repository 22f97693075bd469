/* Names of attempts that are over, remembered for a while so that a late or doubled run does not start them
 * again. Fixed size; the oldest name goes first. Pure. */
#ifndef SBX_WORKER_RECENT_H
#define SBX_WORKER_RECENT_H

#include <stdbool.h>

#include "base/map.h"
#include "base/siphash.h"
#include "base/time.h"

enum {
    SBX_RECENT_NAMES = 4096
};
#define SBX_RECENT_KEPT SBX_SEC(60)

typedef struct sbx_recent_name {
    uint64_t hash; /* of the name, keyed: nobody can aim at a collision */
    sbx_time_ns at;
} sbx_recent_name;

typedef struct sbx_recent {
    sbx_recent_name names[SBX_RECENT_NAMES];
    size_t next;
    sbx_map64 by_hash;
    sbx_siphash_key seed;
} sbx_recent;

/* SBX_E_NOMEM */
sbx_err sbx_recent_init(sbx_recent *recent, sbx_siphash_key seed);
void sbx_recent_deinit(sbx_recent *recent);

void sbx_recent_add(sbx_recent *recent, sbx_view name, sbx_time_ns now);
bool sbx_recent_knows(const sbx_recent *recent, sbx_view name, sbx_time_ns now);

#endif
