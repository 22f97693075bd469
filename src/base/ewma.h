/* An exponentially weighted moving average in integers: each sample moves it by 1/2^shift of the
 * distance. The first sample sets it. Kept with 8 fraction bits, so that small values converge. */
#ifndef SBX_BASE_EWMA_H
#define SBX_BASE_EWMA_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    SBX_EWMA_FRACTION_BITS = 8
};

typedef struct sbx_ewma {
    int64_t scaled;
    uint8_t shift;
    bool has_samples;
} sbx_ewma;

/* Samples are clamped to this, about 417 days in nanoseconds. */
#define SBX_EWMA_MAX_SAMPLE (INT64_MAX >> SBX_EWMA_FRACTION_BITS)

/* shift: 1 (half of the distance) to 16. */
static inline void sbx_ewma_init(sbx_ewma *ewma, uint8_t shift)
{
    assert(shift >= 1 && shift <= 16);
    *ewma = (sbx_ewma){.shift = shift};
}

/* sample >= 0 */
static inline void sbx_ewma_add(sbx_ewma *ewma, int64_t sample)
{
    assert(sample >= 0);
    int64_t clamped = sample < SBX_EWMA_MAX_SAMPLE ? sample : SBX_EWMA_MAX_SAMPLE;
    int64_t scaled = clamped * (INT64_C(1) << SBX_EWMA_FRACTION_BITS);
    ewma->scaled =
        ewma->has_samples ? ewma->scaled + (scaled - ewma->scaled) / (INT64_C(1) << ewma->shift) : scaled;
    ewma->has_samples = true;
}

/* The average, rounded; `otherwise` before the first sample. */
static inline int64_t sbx_ewma_get(const sbx_ewma *ewma, int64_t otherwise)
{
    if (!ewma->has_samples)
        return otherwise;
    return (ewma->scaled >> SBX_EWMA_FRACTION_BITS) + ((ewma->scaled >> (SBX_EWMA_FRACTION_BITS - 1)) & 1);
}

#endif
