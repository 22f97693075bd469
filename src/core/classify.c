/* classify.def as an array indexed by outcome; a missing row does not compile. */
#include "core/classify.h"

#include <assert.h>
#include <stddef.h>

static const sbx_class ROWS[SBX_OUTCOME_COUNT] = {
#define SBX_CLASSIFY(outcome, effect, worker_effect, retry_how, on_what, api, status, bits)                  \
    [SBX_OUTCOME_##outcome] = {.breaker = SBX_EFFECT_##effect,                                               \
                               .worker = SBX_CLASS_WORKER_##worker_effect,                                   \
                               .retry = SBX_CLASS_RETRY_##retry_how,                                         \
                               .on = SBX_CLASS_ON_##on_what,                                                 \
                               .error = SBX_API_##api,                                                       \
                               .http_status = status,                                                        \
                               .flags = bits},
#include "core/classify.def"
#undef SBX_CLASSIFY
};

enum {
    ROW_COUNT = 0
#define SBX_CLASSIFY(...) +1
#include "core/classify.def"
#undef SBX_CLASSIFY
};
_Static_assert((int)ROW_COUNT == (int)SBX_OUTCOME_COUNT, "classify.def has one row per outcome");

const sbx_class *sbx_classify(sbx_outcome outcome)
{
    assert((size_t)outcome < SBX_OUTCOME_COUNT);
    return &ROWS[outcome];
}
