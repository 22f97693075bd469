/* A bench for one breaker: its policy, a fake clock, and short ways to use it. */
#ifndef TEST_UNIT_CORE_SUPPORT_BREAKER_H
#define TEST_UNIT_CORE_SUPPORT_BREAKER_H

#include "core/breaker.h"

typedef struct bench {
    sbx_breaker_policy policy;
    sbx_breaker breaker;
    sbx_rng rng;
    sbx_time_ns now;
} bench;

int bench_for_workers(void **state);
int bench_for_helpers(void **state);
sbx_breaker_permit acquire(bench *b);
void assert_refused(bench *b);
sbx_breaker_change report(bench *b, sbx_breaker_permit permit, sbx_breaker_effect effect);
sbx_breaker_change once(bench *b, sbx_breaker_effect effect);
void repeat(bench *b, sbx_breaker_effect effect, uint32_t times);
sbx_breaker_state now_is(const bench *b);
void trip(bench *b);
void trip_and_wait(bench *b);

#endif
