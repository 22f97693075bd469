/* A keyed hash for long inputs: 16 bytes per multiplication, some thirty times faster than SipHash. A
 * stranger who does not know the key cannot aim at a value, but unlike SipHash it is no proven defence: use
 * it where a collision costs little (the fingerprint of a body), never for a map that strangers fill. */
#ifndef SBX_BASE_FOLD_HASH_H
#define SBX_BASE_FOLD_HASH_H

#include "base/siphash.h"

uint64_t sbx_fold_hash(sbx_siphash_key key, const void *data, size_t len);

#endif
