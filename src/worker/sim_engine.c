/* See sim_engine.h. This file: the engine's own state, its places and its queue. What one run does is
 * sim_run.c. */
#include <assert.h>
#include <stdlib.h>

#include "worker/sim_engine_priv.h"

sbx_sim_options sbx_sim_options_default(void)
{
    return (sbx_sim_options){
        .ttft_ms = 50,
        .tps = 50,
        .capacity = 16,
        .max_waiting = 16,
        .max_wait_ms = 1000,
        .max_context = 131072,
    };
}

static const char *const default_models[] = {"simulated"};

/* Copies the names into memory of the engine's; the array points into it. */
static sbx_err copy_options(const sbx_sim_options *options, sbx_arena *arena, sbx_sim_options *ret_options)
{
    sbx_sim_options copy = *options;
    if (copy.model_count == 0) {
        copy.models = default_models;
        copy.model_count = 1;
    }
    char **models = SBX_ARENA_ARRAY(arena, char *, copy.model_count);
    if (models == NULL)
        return SBX_E_NOMEM;
    for (size_t i = 0; i < copy.model_count; i++) {
        sbx_err err = sbx_arena_dup_cstr(arena, sbx_view_cstr(copy.models[i]), &models[i]);
        if (err != SBX_OK)
            return err;
    }
    copy.models = (const char *const *)models;
    if (copy.jitter_pct > 100)
        copy.jitter_pct = 100;
    *ret_options = copy;
    return SBX_OK;
}

sbx_err sbx_sim_engine_configure(sbx_sim_engine *engine, const sbx_sim_options *options)
{
    sbx_arena names;
    sbx_arena_init(&names, SIZE_MAX);
    sbx_sim_options copy;
    sbx_err err = copy_options(options, &names, &copy);
    if (err != SBX_OK) {
        sbx_arena_deinit(&names);
        return err;
    }
    sbx_arena_deinit(&engine->names);
    engine->names = names;
    engine->options = copy;
    return SBX_OK;
}

sbx_err sbx_sim_engine_new(const sbx_sim_options *options, sbx_sim_engine **ret_engine)
{
    sbx_sim_engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL)
        return SBX_E_NOMEM;
    sbx_arena_init(&engine->names, SIZE_MAX);
    sbx_list_init(&engine->waiting);
    sbx_rng_seed(&engine->rng, options->seed);
    sbx_err err = sbx_sim_engine_configure(engine, options);
    if (err != SBX_OK) {
        sbx_sim_engine_free(engine);
        return err;
    }
    *ret_engine = engine;
    return SBX_OK;
}

void sbx_sim_engine_free(sbx_sim_engine *engine)
{
    if (engine == NULL)
        return;
    assert(engine->active_count == 0 && sbx_list_is_empty(&engine->waiting));
    sbx_arena_deinit(&engine->names);
    free(engine);
}

const sbx_sim_options *sbx_sim_engine_options(const sbx_sim_engine *engine)
{
    return &engine->options;
}

sbx_sim_faults *sbx_sim_engine_faults(sbx_sim_engine *engine)
{
    return &engine->faults;
}

void sbx_sim_engine_set_loading(sbx_sim_engine *engine, bool loading)
{
    engine->is_loading = loading;
}

bool sbx_sim_engine_is_loading(const sbx_sim_engine *engine)
{
    return engine->is_loading;
}

bool sbx_sim_engine_serves(const sbx_sim_engine *engine, sbx_view model)
{
    for (size_t i = 0; i < engine->options.model_count; i++) {
        if (sbx_view_eq_cstr(model, engine->options.models[i]))
            return true;
    }
    return false;
}

sbx_sim_load sbx_sim_engine_load(const sbx_sim_engine *engine)
{
    return (sbx_sim_load){engine->active_count, engine->waiting_count, engine->total};
}

/* ---- places ---- */

static bool has_room(const sbx_sim_engine *engine)
{
    return engine->options.capacity == 0 || engine->active_count < engine->options.capacity;
}

bool sbx_sim_place_take(sbx_sim_run *run)
{
    sbx_sim_engine *engine = run->engine;
    if (!sbx_list_is_empty(&engine->waiting) || !has_room(engine))
        return false;
    engine->active_count++;
    run->has_place = true;
    return true;
}

bool sbx_sim_place_wait(sbx_sim_run *run)
{
    sbx_sim_engine *engine = run->engine;
    if (engine->waiting_count >= engine->options.max_waiting)
        return false;
    engine->waiting_count++;
    sbx_list_push_back(&engine->waiting, &run->node);
    return true;
}

static void leave_queue(sbx_sim_run *run)
{
    if (!sbx_list_node_is_linked(&run->node))
        return;
    sbx_list_remove(&run->node);
    run->engine->waiting_count--;
}

/* Gives free places to those who wait longest. */
static void admit_waiting(sbx_sim_engine *engine)
{
    while (!sbx_list_is_empty(&engine->waiting) && has_room(engine)) {
        sbx_sim_run *run = SBX_CONTAINER_OF(sbx_list_first(&engine->waiting), sbx_sim_run, node);
        leave_queue(run);
        engine->active_count++;
        run->has_place = true;
        run->sink->arm(run->user, 0);
    }
}

void sbx_sim_place_leave(sbx_sim_run *run)
{
    leave_queue(run);
    if (!run->has_place)
        return;
    run->has_place = false;
    run->engine->active_count--;
    admit_waiting(run->engine);
}
