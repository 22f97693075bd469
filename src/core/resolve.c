/* Model resolution: a walk over nested preference lists with a small stack. */
#include "core/resolve.h"

#include "core/router_priv.h"

const sbx_model_alias *sbx_resolve_alias(const sbx_policy *policy, sbx_view name)
{
    return sbx_policy_alias(policy, name);
}

static void push(sbx_resolver *resolver, const sbx_model_alias *alias)
{
    if (alias == NULL || resolver->depth == SBX_RESOLVE_DEPTH)
        return;
    resolver->stack[resolver->depth].alias = alias;
    resolver->stack[resolver->depth].next = 0;
    resolver->depth++;
}

void sbx_resolver_init(sbx_resolver *resolver, sbx_registry *registry, const sbx_policy *policy,
                       sbx_model *exact, const sbx_model_alias *alias)
{
    resolver->registry = registry;
    resolver->policy = policy;
    resolver->exact = exact;
    resolver->depth = 0;
    resolver->names_left = SBX_RESOLVE_NAMES;
    push(resolver, alias);
}

/* The next name on the lists; false at their end. */
static bool next_name(sbx_resolver *resolver, sbx_view *ret_name)
{
    while (resolver->depth > 0) {
        const sbx_model_alias *alias = resolver->stack[resolver->depth - 1].alias;
        size_t *next = &resolver->stack[resolver->depth - 1].next;
        if (*next < alias->model_count) {
            *ret_name = alias->models[(*next)++];
            return true;
        }
        resolver->depth--;
    }
    return false;
}

sbx_model *sbx_resolver_next(sbx_resolver *resolver)
{
    if (resolver->exact != NULL) {
        sbx_model *model = resolver->exact;
        resolver->exact = NULL;
        return model;
    }
    sbx_view name;
    while (resolver->names_left > 0 && next_name(resolver, &name)) {
        resolver->names_left--;
        sbx_model *model = sbx_registry_model(resolver->registry, name);
        if (model != NULL)
            return model;
        push(resolver, sbx_resolve_alias(resolver->policy, name));
    }
    return NULL;
}

const sbx_policy *sbx_router_policy(const sbx_router *router)
{
    return &router->policy;
}

bool sbx_router_resolve(sbx_router *router, const sbx_policy *policy, sbx_view name, sbx_view *ret_model)
{
    sbx_resolver resolver;
    sbx_model *exact = sbx_model_is_hidden(name) ? NULL : sbx_registry_model(&router->registry, name);
    const sbx_model_alias *alias = exact == NULL ? sbx_resolve_alias(policy, name) : NULL;
    sbx_resolver_init(&resolver, &router->registry, policy, exact, alias);
    for (sbx_model *model = sbx_resolver_next(&resolver); model != NULL;
         model = sbx_resolver_next(&resolver)) {
        if (model->online == 0)
            continue;
        *ret_model = sbx_model_view(model);
        return true;
    }
    return false;
}
