/* Seeded pseudo-random numbers (xoshiro256**), the same on every machine, and the system's own random
 * bytes to seed them with. Not for secrets: those come from sbx_random_bytes_os(). */
#ifndef SBX_BASE_RNG_H
#define SBX_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct sbx_rng {
    uint64_t s[4];
} sbx_rng;

void sbx_rng_seed(sbx_rng *rng, uint64_t seed);

/* Seeds all 256 bits from the system. SBX_E_IO. */
sbx_err sbx_rng_seed_os(sbx_rng *rng);

uint64_t sbx_rng_next(sbx_rng *rng);

/* Uniform in [0, bound); 0 for bound 0. */
uint64_t sbx_rng_below(sbx_rng *rng, uint64_t bound);

void sbx_rng_bytes(sbx_rng *rng, void *ret_bytes, size_t len);

/* Random bytes from the system, fit for secrets. SBX_E_IO. */
sbx_err sbx_random_bytes_os(void *ret_bytes, size_t len);

#endif
