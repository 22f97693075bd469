/* Durations counted in buckets whose bounds are fixed for the whole program, 1 ms to 10 min, so that
 * histograms can be added up. Adding is a short walk over integers: no allocation, no floating point. */
#ifndef SBX_BASE_HISTOGRAM_H
#define SBX_BASE_HISTOGRAM_H

#include <stdint.h>

#include "base/time.h"

enum {
    SBX_HISTOGRAM_BOUNDS = 16
};

/* Ascending, whole milliseconds. A duration belongs to the first bound that is not less than it. */
extern const sbx_time_ns sbx_histogram_bounds[SBX_HISTOGRAM_BOUNDS];

typedef struct sbx_histogram {
    uint64_t counts[SBX_HISTOGRAM_BOUNDS + 1]; /* of each bucket alone; the last: beyond all bounds */
    uint64_t sum_us;
} sbx_histogram;

/* A negative duration counts as 0. */
void sbx_histogram_add(sbx_histogram *histogram, sbx_time_ns duration);

uint64_t sbx_histogram_count(const sbx_histogram *histogram);

#endif
