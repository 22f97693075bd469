/* Aliases may stand for aliases, but not in a circle: a depth-first walk over the names, with a stack of its
 * own. `auto` takes part as an alias of routing.default_model. */
#include "base/map.h"
#include "config/walk_priv.h"

enum colour {
    UNSEEN,
    ON_STACK,
    DONE
};

struct vertex {
    const char *name;
    const sbx_config_strings *models;
    enum colour colour;
    size_t next_model; /* where the walk goes on */
};

struct graph {
    struct vertex *vertices;
    size_t count;
    struct vertex **stack;
    size_t depth;
    sbx_map by_name;
};

static sbx_place place_of(const sbx_node *root, const char *name)
{
    const sbx_node *aliases = sbx_node_at(root, "routing.aliases");
    const sbx_entry *entry = aliases == NULL ? NULL : sbx_node_find(aliases, sbx_view_cstr(name));
    return entry != NULL ? entry->place : sbx_node_at(root, "routing.default_model")->place;
}

static void enter(sbx_load *load, const char *name)
{
    if (strcmp(name, "auto") == 0) {
        sbx_load_enter_key(load, SBX_VIEW("routing.default_model"));
        return;
    }
    sbx_load_enter_key(load, SBX_VIEW("routing.aliases"));
    sbx_load_enter_key(load, sbx_view_cstr(name));
}

/* The circle is the part of the stack from `again` on. */
static void tell_circle(sbx_load *load, const sbx_node *root, const struct graph *graph,
                        const struct vertex *again)
{
    size_t first = 0;
    while (graph->stack[first] != again)
        first++;
    sbx_buf chain;
    sbx_buf_init(&chain, 512);
    for (size_t i = first; i < graph->depth; i++)
        sbx_buf_appendf(&chain, "%s -> ", graph->stack[i]->name);
    sbx_buf_append_cstr(&chain, again->name);
    size_t up = load->path.len;
    enter(load, again->name);
    sbx_load_problem(load, place_of(root, again->name),
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

static bool add_vertex(struct graph *graph, const char *name, const sbx_config_strings *models)
{
    struct vertex *added = &graph->vertices[graph->count++];
    *added = (struct vertex){.name = name, .models = models};
    return sbx_map_put(&graph->by_name, sbx_view_cstr(name), added) == SBX_OK;
}

static bool add_vertices(sbx_load *load, const sbx_node *root, const sbx_config_stack *stack,
                         const sbx_config_strings *of_auto, struct graph *graph)
{
    for (size_t i = 0; i < stack->aliases.count; i++) {
        const sbx_config_named_list *alias = &stack->aliases.items[i];
        if (strcmp(alias->name, "auto") == 0) {
            size_t up = load->path.len;
            sbx_load_enter_key(load, SBX_VIEW("routing.aliases"));
            sbx_load_enter_key(load, SBX_VIEW("auto"));
            sbx_load_problem(load, place_of(root, alias->name),
                             "found the reserved name auto, expected another one, or routing.default_model");
            sbx_load_leave(load, up);
        } else if (!add_vertex(graph, alias->name, &alias->models)) {
            return false;
        }
    }
    return of_auto->count == 0 || add_vertex(graph, "auto", of_auto);
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

void sbx_check_aliases(sbx_load *load, const sbx_node *root, const sbx_config_stack *stack)
{
    sbx_config_strings of_auto = {.items = &stack->default_model, .count = stack->default_model != NULL};
    size_t count = stack->aliases.count + 1;
    struct graph graph = {.vertices = sbx_load_scratch(load, count, sizeof(struct vertex)),
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
