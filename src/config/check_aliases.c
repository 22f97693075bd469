/* Aliases and roles may stand for aliases and roles, but not in a circle: a depth-first walk over the names,
 * with a stack of its own. `auto` takes part as an alias of routing.default_model. Roles are looked at preset
 * by preset, since only one is in force at a time. */
#include "base/map.h"
#include "config/walk_priv.h"

enum colour {
    UNSEEN,
    ON_STACK,
    DONE
};

struct vertex {
    const char *name;
    bool is_role;
    const sbx_config_strings *models;
    enum colour colour;
    size_t next_model; /* where the walk goes on */
};

struct graph {
    const sbx_config_preset *preset; /* whose roles take part; NULL: none */
    struct vertex *vertices;
    size_t count;
    struct vertex **stack;
    size_t depth;
    sbx_map by_name;
};

static sbx_place place_of_role(const sbx_node *root, const struct graph *graph, const char *name)
{
    const sbx_node *presets = sbx_node_at(root, "stack_presets");
    const sbx_node *preset = sbx_node_find(presets, sbx_view_cstr(graph->preset->name))->value;
    const sbx_node *roles = sbx_node_find(preset, SBX_VIEW("roles"))->value;
    return sbx_node_find(roles, sbx_view_cstr(name))->place;
}

static sbx_place place_of(const sbx_node *root, const struct graph *graph, const struct vertex *vertex)
{
    if (vertex->is_role)
        return place_of_role(root, graph, vertex->name);
    const sbx_node *aliases = sbx_node_at(root, "routing.aliases");
    const sbx_entry *entry = aliases == NULL ? NULL : sbx_node_find(aliases, sbx_view_cstr(vertex->name));
    return entry != NULL ? entry->place : sbx_node_at(root, "routing.default_model")->place;
}

static void enter(sbx_load *load, const struct graph *graph, const struct vertex *vertex)
{
    if (vertex->is_role) {
        sbx_load_enter_key(load, SBX_VIEW("stack_presets"));
        sbx_load_enter_key(load, sbx_view_cstr(graph->preset->name));
        sbx_load_enter_key(load, SBX_VIEW("roles"));
    } else if (strcmp(vertex->name, "auto") == 0) {
        sbx_load_enter_key(load, SBX_VIEW("routing.default_model"));
        return;
    } else {
        sbx_load_enter_key(load, SBX_VIEW("routing.aliases"));
    }
    sbx_load_enter_key(load, sbx_view_cstr(vertex->name));
}

/* What is wrong with aliases alone was told before any preset was looked at. */
static bool is_news(const struct graph *graph, size_t first)
{
    bool has_role = graph->preset == NULL;
    for (size_t i = first; i < graph->depth; i++)
        has_role = has_role || graph->stack[i]->is_role;
    return has_role;
}

/* The circle is the part of the stack from `again` on. */
static void tell_circle(sbx_load *load, const sbx_node *root, const struct graph *graph,
                        const struct vertex *again)
{
    size_t first = 0;
    while (graph->stack[first] != again)
        first++;
    if (!is_news(graph, first))
        return;
    sbx_buf chain;
    sbx_buf_init(&chain, 512);
    for (size_t i = first; i < graph->depth; i++)
        sbx_buf_appendf(&chain, "%s -> ", graph->stack[i]->name);
    sbx_buf_append_cstr(&chain, again->name);
    const struct vertex *told = again;
    for (size_t i = first; graph->preset != NULL && i < graph->depth && !told->is_role; i++)
        told = graph->stack[i];
    size_t up = load->path.len;
    enter(load, graph, told);
    sbx_load_problem(load, place_of(root, graph, told),
                     "found the circle %.*s, expected names that end at models",
                     SBX_VIEW_ARG(sbx_buf_view(&chain)));
    sbx_load_leave(load, up);
    sbx_buf_deinit(&chain);
}

static void push(struct graph *graph, struct vertex *vertex)
{
    vertex->colour = ON_STACK;
    graph->stack[graph->depth++] = vertex;
}

/* One step along the newest vertex's models. */
static void step(sbx_load *load, const sbx_node *root, struct graph *graph)
{
    struct vertex *top = graph->stack[graph->depth - 1];
    if (top->next_model == top->models->count) {
        top->colour = DONE;
        graph->depth--;
        return;
    }
    struct vertex *next = sbx_map_get(&graph->by_name, sbx_view_cstr(top->models->items[top->next_model++]));
    if (next == NULL || next->colour == DONE)
        return;
    if (next->colour == ON_STACK)
        tell_circle(load, root, graph, next);
    else
        push(graph, next);
}

/* The first of a name counts, as when a request is resolved: auto, aliases, roles. */
static bool add_vertex(struct graph *graph, const char *name, const sbx_config_strings *models, bool is_role)
{
    if (sbx_map_get(&graph->by_name, sbx_view_cstr(name)) != NULL)
        return true;
    struct vertex *added = &graph->vertices[graph->count++];
    *added = (struct vertex){.name = name, .models = models, .is_role = is_role};
    return sbx_map_put(&graph->by_name, sbx_view_cstr(name), added) == SBX_OK;
}

static void refuse_reserved_name(sbx_load *load, const sbx_node *root)
{
    const sbx_node *aliases = sbx_node_at(root, "routing.aliases");
    size_t up = load->path.len;
    sbx_load_enter_key(load, SBX_VIEW("routing.aliases"));
    sbx_load_enter_key(load, SBX_VIEW("auto"));
    sbx_load_problem(load, sbx_node_find(aliases, SBX_VIEW("auto"))->place,
                     "found the reserved name auto, expected another one, or routing.default_model");
    sbx_load_leave(load, up);
}

static bool add_vertices(sbx_load *load, const sbx_node *root, const sbx_config_stack *stack,
                         const sbx_config_strings *of_auto, struct graph *graph)
{
    bool is_ok = true;
    for (size_t i = 0; is_ok && i < stack->aliases.count; i++) {
        const sbx_config_named_list *alias = &stack->aliases.items[i];
        if (strcmp(alias->name, "auto") != 0)
            is_ok = add_vertex(graph, alias->name, &alias->models, /* is_role: */ false);
        else if (graph->preset == NULL)
            refuse_reserved_name(load, root);
    }
    if (is_ok && of_auto->count > 0)
        is_ok = add_vertex(graph, "auto", of_auto, /* is_role: */ false);
    for (size_t i = 0; is_ok && graph->preset != NULL && i < graph->preset->roles.count; i++) {
        const sbx_config_named_list *role = &graph->preset->roles.items[i];
        is_ok = add_vertex(graph, role->name, &role->models, /* is_role: */ true);
    }
    return is_ok;
}

static void find_circles(sbx_load *load, const sbx_node *root, struct graph *graph)
{
    for (size_t i = 0; i < graph->count; i++) {
        if (graph->vertices[i].colour == UNSEEN)
            push(graph, &graph->vertices[i]);
        while (graph->depth > 0)
            step(load, root, graph);
    }
}

static void check_with(sbx_load *load, const sbx_node *root, const sbx_config_stack *stack,
                       const sbx_config_preset *preset)
{
    sbx_config_strings of_auto = {.items = &stack->default_model, .count = stack->default_model != NULL};
    size_t count = stack->aliases.count + 1 + (preset == NULL ? 0 : preset->roles.count);
    struct graph graph = {.preset = preset,
                          .vertices = sbx_load_scratch(load, count, sizeof(struct vertex)),
                          .stack = sbx_load_scratch(load, count, sizeof(struct vertex *))};
    if (graph.vertices == NULL || graph.stack == NULL)
        return;
    sbx_map_init(&graph.by_name, (sbx_siphash_key){0}, count);
    if (add_vertices(load, root, stack, &of_auto, &graph))
        find_circles(load, root, &graph);
    else
        load->out_of_memory = true;
    sbx_map_deinit(&graph.by_name);
}

void sbx_check_aliases(sbx_load *load, const sbx_node *root, const sbx_config_stack *stack)
{
    check_with(load, root, stack, /* preset: */ NULL);
    for (size_t i = 0; i < stack->presets.count; i++)
        check_with(load, root, stack, &stack->presets.items[i]);
}
