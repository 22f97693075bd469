/* The poison guard: bodies that kill workers must not walk the fleet. Remembers, by body hash, which workers
 * died while they had that body. A body that was just answered well is no poison: its record is cleared, so
 * that workers killed under many equal requests do not count against those. */
#ifndef SBX_CORE_POISON_H
#define SBX_CORE_POISON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

enum {
    SBX_POISON_ROWS = 64,          /* newer bodies displace older ones */
    SBX_POISON_REQUEST_DEATHS = 3, /* on one request */
    SBX_POISON_BODY_DEATHS = 2     /* different workers (or boots) killed by one body */
};
#define SBX_POISON_SPAN SBX_SEC(600)

typedef struct sbx_poison_row {
    uint64_t body_hash;
    uint64_t last_victim;
    uint32_t deaths;
    sbx_time_ns at;
} sbx_poison_row;

typedef struct sbx_poison {
    uint32_t count; /* rows with deaths */
    sbx_poison_row rows[SBX_POISON_ROWS];
} sbx_poison;

/* A worker died with this body; victim tells workers and their boots apart. Hash 0 = unknown, ignored. */
void sbx_poison_death(sbx_poison *poison, uint64_t body_hash, uint64_t victim, sbx_time_ns now);
void sbx_poison_served(sbx_poison *poison, uint64_t body_hash);
bool sbx_poison_is_known(const sbx_poison *poison, uint64_t body_hash, sbx_time_ns now);

#endif
