/* See support_breaker.h. */
#include "unit/core/support_breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int set_up(bench *b, sbx_breaker_policy policy, void **state)
{
    *b = (bench){.policy = policy, .now = SBX_SEC(1000)};
    sbx_rng_seed(&b->rng, 1);
    sbx_breaker_init(&b->breaker, &b->policy);
    *state = b;
    return 0;
}

static bench one;

int bench_for_workers(void **state)
{
    return set_up(&one, sbx_breaker_policy_workers(), state);
}

int bench_for_helpers(void **state)
{
    return set_up(&one, sbx_breaker_policy_helpers(), state);
}

sbx_breaker_permit acquire(bench *b)
{
    sbx_breaker_permit permit;
    assert_int_equal(sbx_breaker_acquire(&b->breaker, b->now, b->now + SBX_SEC(30), &permit), SBX_OK);
    return permit;
}

void assert_refused(bench *b)
{
    sbx_breaker_permit permit;
    assert_int_equal(sbx_breaker_acquire(&b->breaker, b->now, b->now + SBX_SEC(30), &permit), SBX_E_BREAKER);
    assert_false(sbx_breaker_admits(&b->breaker, b->now));
}

sbx_breaker_change report(bench *b, sbx_breaker_permit permit, sbx_breaker_effect effect)
{
    return sbx_breaker_report(&b->breaker, permit, effect, b->now, &b->rng);
}

sbx_breaker_change once(bench *b, sbx_breaker_effect effect)
{
    return report(b, acquire(b), effect);
}

void repeat(bench *b, sbx_breaker_effect effect, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++)
        once(b, effect);
}

sbx_breaker_state now_is(const bench *b)
{
    return sbx_breaker_state_at(&b->breaker, b->now);
}

void trip(bench *b)
{
    repeat(b, SBX_EFFECT_FAILURE, b->policy.failure_threshold);
    assert_int_equal(now_is(b), SBX_BREAKER_OPEN);
}

void trip_and_wait(bench *b)
{
    trip(b);
    b->now += sbx_breaker_retry_in(&b->breaker, b->now);
    assert_int_equal(now_is(b), SBX_BREAKER_HALF_OPEN);
}
