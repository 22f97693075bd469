/* SipHash-2-4: a keyed hash, so that nobody outside can choose names that collide in our maps. */
#ifndef SBX_BASE_SIPHASH_H
#define SBX_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct sbx_siphash_key {
    uint64_t k0;
    uint64_t k1;
} sbx_siphash_key;

uint64_t sbx_siphash(sbx_siphash_key key, const void *data, size_t len);

#endif
