/* What the core does with a policy: keep a copy of its own, look up a model's limits. */
#ifndef SBX_CORE_POLICY_PRIV_H
#define SBX_CORE_POLICY_PRIV_H

#include "base/arena.h"
#include "base/err.h"
#include "core/policy.h"

/* Copies a policy with its names and lists into the arena. SBX_E_NOMEM. */
sbx_err sbx_policy_copy(const sbx_policy *policy, sbx_arena *arena, sbx_policy *ret_copy);

/* The limits of one model: its own where it has them, else the general ones. */
sbx_limits sbx_policy_limits_of(const sbx_policy *policy, sbx_view model);

#endif
