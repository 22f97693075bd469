/* See histogram.h. */
#include "base/histogram.h"

const sbx_time_ns sbx_histogram_bounds[SBX_HISTOGRAM_BOUNDS] = {
    SBX_MS(1),  SBX_MS(5),    SBX_MS(10), SBX_MS(25),  SBX_MS(50),  SBX_MS(100), SBX_MS(250),  SBX_MS(500),
    SBX_SEC(1), SBX_MS(2500), SBX_SEC(5), SBX_SEC(10), SBX_SEC(30), SBX_SEC(60), SBX_SEC(120), SBX_SEC(600),
};

void sbx_histogram_add(sbx_histogram *histogram, sbx_time_ns duration)
{
    unsigned bucket = 0;
    sbx_time_ns counted = sbx_time_max(duration, 0);
    while (bucket < SBX_HISTOGRAM_BOUNDS && counted > sbx_histogram_bounds[bucket])
        bucket++;
    histogram->counts[bucket]++;
    histogram->sum_us += (uint64_t)(counted / SBX_US(1));
}

uint64_t sbx_histogram_count(const sbx_histogram *histogram)
{
    uint64_t count = 0;
    for (unsigned bucket = 0; bucket <= SBX_HISTOGRAM_BOUNDS; bucket++)
        count += histogram->counts[bucket];
    return count;
}
