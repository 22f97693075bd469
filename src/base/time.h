/* Time in Signalbox: signed 64-bit nanoseconds of a monotonic clock, for points and for durations.
 * Only net/ reads the clock; everybody else takes `now` as a parameter. */
#ifndef SBX_BASE_TIME_H
#define SBX_BASE_TIME_H

#include <stdint.h>

typedef int64_t sbx_time_ns;

#define SBX_TIME_NEVER INT64_MAX
#define SBX_US(x)      ((sbx_time_ns)(x)*INT64_C(1000))
#define SBX_MS(x)      ((sbx_time_ns)(x)*INT64_C(1000000))
#define SBX_SEC(x)     ((sbx_time_ns)(x)*INT64_C(1000000000))

/* a + b, clamped to the type; NEVER plus anything stays NEVER. */
static inline sbx_time_ns sbx_time_add(sbx_time_ns a, sbx_time_ns b)
{
    if (a == SBX_TIME_NEVER || b == SBX_TIME_NEVER)
        return SBX_TIME_NEVER;
    if (b > 0 && a > SBX_TIME_NEVER - b)
        return SBX_TIME_NEVER;
    if (b < 0 && a < INT64_MIN - b)
        return INT64_MIN;
    return a + b;
}

static inline sbx_time_ns sbx_time_min(sbx_time_ns a, sbx_time_ns b)
{
    return a < b ? a : b;
}

static inline sbx_time_ns sbx_time_max(sbx_time_ns a, sbx_time_ns b)
{
    return a > b ? a : b;
}

/* What is left from `now` until `deadline`: 0 when it has passed, NEVER for NEVER. */
static inline sbx_time_ns sbx_time_left(sbx_time_ns deadline, sbx_time_ns now)
{
    if (deadline == SBX_TIME_NEVER)
        return SBX_TIME_NEVER;
    return deadline > now ? deadline - now : 0;
}

/* Whole milliseconds of a duration, rounded down; `_ceil` rounds up, for timers that must not fire early. */
static inline int64_t sbx_time_to_ms(sbx_time_ns t)
{
    return t / SBX_MS(1);
}

static inline int64_t sbx_time_to_ms_ceil(sbx_time_ns t)
{
    return t / SBX_MS(1) + (t % SBX_MS(1) > 0);
}

#endif
