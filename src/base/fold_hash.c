/* See fold_hash.h. Each step multiplies two keyed words to 128 bits and folds the halves onto each other. */
#include "base/fold_hash.h"

#include <string.h>

__extension__ typedef unsigned __int128 wide;

static uint64_t fold(uint64_t a, uint64_t b)
{
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

uint64_t sbx_fold_hash(sbx_siphash_key key, const void *data, size_t len)
{
    const uint8_t *at = data;
    uint64_t hash = key.k0 ^ len;
    size_t left = len;
    for (; left >= 16; left -= 16, at += 16)
        hash = fold(load(at) ^ key.k1, load(at + 8) ^ hash);
    uint8_t tail[16] = {0};
    if (left > 0)
        memcpy(tail, at, left);
    hash = fold(load(tail) ^ key.k1, load(tail + 8) ^ hash);
    return fold(hash ^ key.k0, key.k1 | 1);
}
