/* Model resolution: a walk over nested preference lists with a small stack. */
#include "core/resolve.h"

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
    resolver->request = NULL;
    resolver->depth = 0;
    resolver->names_left = SBX_RESOLVE_NAMES;
    push(resolver, alias);
}

void sbx_resolver_init_for(sbx_resolver *resolver, sbx_router *router, const sbx_request *request)
{
    sbx_model *exact = request->alias == NULL ? request->model : NULL;
    sbx_resolver_init(resolver, &router->registry, &request->lists->policy, exact, request->alias);
    resolver->request = request;
}

/* The next name on the lists; false at their end. A helper's list names models and nothing else: a name that
 * stands for another model would be another vector space. */
static bool next_name(sbx_resolver *resolver, sbx_view *ret_name, bool *ret_may_nest)
{
    while (resolver->depth > 0) {
        const sbx_model_alias *alias = resolver->stack[resolver->depth - 1].alias;
        size_t *next = &resolver->stack[resolver->depth - 1].next;
        if (*next < alias->model_count) {
            *ret_name = alias->models[(*next)++];
            *ret_may_nest = alias->helper == SBX_HELPER_NONE;
            return true;
        }
        resolver->depth--;
    }
    return false;
}

static sbx_model *next_model(sbx_resolver *resolver)
{
    if (resolver->exact != NULL) {
        sbx_model *model = resolver->exact;
        resolver->exact = NULL;
        return model;
    }
    sbx_view name;
    bool may_nest = false;
    while (resolver->names_left > 0 && next_name(resolver, &name, &may_nest)) {
        resolver->names_left--;
        sbx_model *model = sbx_registry_model(resolver->registry, name);
        if (model != NULL)
            return model;
        if (may_nest)
            push(resolver, sbx_resolve_alias(resolver->policy, name));
    }
    return NULL;
}

sbx_model *sbx_resolver_next(sbx_resolver *resolver)
{
    sbx_model *model = next_model(resolver);
    while (model != NULL && resolver->request != NULL && sbx_request_is_too_long(resolver->request, model))
        model = next_model(resolver);
    return model;
}

/* ---- helpers ------------------------------------------------------------------------------------------ */

static const sbx_model_alias *helper_of_model(const sbx_policy *policy, sbx_helper_role role, sbx_view model)
{
    for (size_t i = 0; i < policy->helper_count; i++) {
        if (policy->helpers[i].helper == role && sbx_view_eq(policy->helpers[i].name, model))
            return &policy->helpers[i];
    }
    return NULL;
}

static const sbx_model_alias *first_helper(const sbx_policy *policy, sbx_helper_role role)
{
    for (size_t i = 0; i < policy->helper_count; i++) {
        if (policy->helpers[i].helper == role)
            return &policy->helpers[i];
    }
    return NULL;
}

const sbx_model_alias *sbx_resolve_helper(sbx_registry *registry, const sbx_policy *policy,
                                          sbx_helper_role role, sbx_view name)
{
    for (int i = 0; role != SBX_HELPER_NONE && i < SBX_RESOLVE_DEPTH; i++) {
        const sbx_model_alias *helper = helper_of_model(policy, role, name);
        if (helper != NULL)
            return helper;
        if (sbx_registry_model(registry, name) != NULL)
            return NULL;
        if (sbx_view_eq(name, sbx_helper_role_name(role)))
            return first_helper(policy, role);
        const sbx_model_alias *alias = sbx_resolve_alias(policy, name);
        if (alias == NULL || alias->model_count == 0)
            return NULL;
        name = alias->models[0];
    }
    return NULL;
}

/* ---- for pages ---------------------------------------------------------------------------------------- */

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
