/* Model resolution (DESIGN 4.2): what a client wrote becomes the models to look for, in order of preference.
 * An id that some worker claims stands for itself. Else the name's list counts (alias, role, "auto"), whose
 * entries may be names again. */
#ifndef SBX_CORE_RESOLVE_H
#define SBX_CORE_RESOLVE_H

#include "core/router_priv.h"

enum {
    SBX_RESOLVE_DEPTH = 8,  /* lists within lists */
    SBX_RESOLVE_NAMES = 256 /* looked at in all: a cycle ends */
};

typedef struct sbx_resolver {
    sbx_registry *registry;
    const sbx_policy *policy;
    sbx_model *exact;           /* still to be given */
    const sbx_request *request; /* models that it is too long for are passed over; NULL: none are */
    uint32_t depth;
    uint32_t names_left;
    struct {
        const sbx_model_alias *alias;
        size_t next;
    } stack[SBX_RESOLVE_DEPTH];
} sbx_resolver;

/* NULL when no list has that name. */
const sbx_model_alias *sbx_resolve_alias(const sbx_policy *policy, sbx_view name);

/* Exactly one of exact and alias is given, or neither: then nothing resolves. Borrows all. */
void sbx_resolver_init(sbx_resolver *resolver, sbx_registry *registry, const sbx_policy *policy,
                       sbx_model *exact, const sbx_model_alias *alias);

/* The same for a request: by the lists that were in force when it came. */
void sbx_resolver_init_for(sbx_resolver *resolver, sbx_router *router, const sbx_request *request);

/* Whom the name means among the models of a helper role: the model itself, the role's name, or a name whose
 * first preference is one of these. NULL: none; then it means what it means for everybody. */
const sbx_model_alias *sbx_resolve_helper(sbx_registry *registry, const sbx_policy *policy,
                                          sbx_helper_role role, sbx_view name);

/* The next model that some worker claims; NULL when there is none left. */
sbx_model *sbx_resolver_next(sbx_resolver *resolver);

#endif
