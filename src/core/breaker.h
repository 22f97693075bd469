/* One worker's circuit breaker (DESIGN 5). State is a function of (breaker, now): asking changes nothing.
 * The core's author completes this header; the states are shared early. */
#ifndef SBX_CORE_BREAKER_H
#define SBX_CORE_BREAKER_H

#include "core/policy.h"

typedef enum sbx_breaker_state {
    SBX_BREAKER_CLOSED,
    SBX_BREAKER_HALF_OPEN,
    SBX_BREAKER_OPEN,
    SBX_BREAKER_ISOLATED
} sbx_breaker_state;

#endif
