/* Engine kind simulated: the simulated engine, without HTTP in between. What its faults do to a connection
 * becomes what a connection's end would have been reported as. */
#include <signal.h>
#include <stdlib.h>

#include "base/list.h"
#include "worker/engine.h"
#include "worker/sim_engine.h"
#include "worker/sim_pace.h"

typedef struct simulated_engine {
    sbx_engine super;
    sbx_loop *loop;
    sbx_sim_engine *sim;
    sbx_task probe;
    sbx_engine_probe_fn *probed;
    void *probe_user;
} simulated_engine;

typedef struct simulated_call {
    sbx_engine_call super;
    simulated_engine *engine;
    sbx_sim_pace pace; /* its run is NULL inside on_whole */
    const sbx_engine_events *events;
    void *user;
} simulated_call;

static const sbx_engine_kind simulated_kind;

static void free_call(simulated_call *call)
{
    sbx_sim_pace_stop(&call->pace);
    free(call);
}

/* ---- from the run to the worker ---- */

static void on_head(void *user, const sbx_sim_head *head)
{
    simulated_call *call = user;
    sbx_engine_head said = {
        .status = head->status,
        .content_type = sbx_view_cstr(head->content_type),
        .content_encoding = sbx_view_cstr(head->content_encoding),
        .retry_after_ns = head->retry_after_s < 0 ? -1 : SBX_SEC(head->retry_after_s),
    };
    call->events->on_head(call->user, &said);
}

static void on_data(void *user, sbx_view bytes)
{
    simulated_call *call = user;
    call->events->on_data(call->user, bytes);
}

static void on_end(void *user)
{
    simulated_call call = *(simulated_call *)user;
    free_call(user);
    call.events->on_end(call.user);
}

/* The run is over with this call whatever its callbacks cancel, so the call is freed here alone. */
static void on_whole(void *user, const sbx_sim_head *head, sbx_view body)
{
    simulated_call *call = user;
    call->pace.run = NULL;
    on_head(call, head);
    if (call->events != NULL && body.len > 0)
        on_data(call, body);
    simulated_call copy = *call;
    free_call(call);
    if (copy.events != NULL)
        copy.events->on_end(copy.user);
}

static void on_break(void *user, sbx_sim_effect effect)
{
    simulated_call call = *(simulated_call *)user;
    if (effect == SBX_SIM_CRASH)
        raise(SIGKILL);
    free_call(user);
    if (effect == SBX_SIM_GARBAGE)
        call.events->on_fail(call.user, SBX_OUTCOME_MALFORMED, "simulated garbage");
    else
        call.events->on_fail(call.user, SBX_OUTCOME_RESET, "simulated end of the connection");
}

static void arm(void *user, sbx_time_ns at)
{
    sbx_sim_pace_arm(&((simulated_call *)user)->pace, at);
}

static const sbx_sim_sink sink = {
    .on_whole = on_whole,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_break = on_break,
    .arm = arm,
};

/* ---- calls ---- */

static sbx_err start(sbx_engine *super, const sbx_engine_request *request, const sbx_engine_events *events,
                     void *user, sbx_engine_call **ret_call)
{
    simulated_engine *engine = (simulated_engine *)super;
    simulated_call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return SBX_E_NOMEM;
    *call = (simulated_call){.super.kind = &simulated_kind, .engine = engine, .events = events, .user = user};
    sbx_sim_pace_init(&call->pace, engine->loop);
    sbx_err err = sbx_sim_engine_start(engine->sim, request->path, request->body, &sink, call,
                                       sbx_loop_now(engine->loop), &call->pace.run);
    if (err != SBX_OK) {
        free_call(call);
        return err;
    }
    *ret_call = &call->super;
    return SBX_OK;
}

static void cancel(sbx_engine_call *super)
{
    simulated_call *call = (simulated_call *)super;
    if (call->pace.run == NULL) { /* inside on_whole, which frees it */
        call->events = NULL;
        return;
    }
    sbx_sim_run_cancel(call->pace.run);
    free_call(call);
}

static void pause_call(sbx_engine_call *super)
{
    simulated_call *call = (simulated_call *)super;
    if (call->pace.run != NULL)
        sbx_sim_run_pause(call->pace.run);
}

static void resume_call(sbx_engine_call *super)
{
    simulated_call *call = (simulated_call *)super;
    if (call->pace.run != NULL)
        sbx_sim_run_resume(call->pace.run);
}

/* ---- the engine ---- */

static void answer_probe(void *user)
{
    simulated_engine *engine = user;
    const sbx_sim_options *options = sbx_sim_engine_options(engine->sim);
    sbx_view models[SBX_SIM_MODELS_MAX];
    size_t count = options->model_count < SBX_SIM_MODELS_MAX ? options->model_count : SBX_SIM_MODELS_MAX;
    for (size_t i = 0; i < count; i++)
        models[i] = sbx_view_cstr(options->models[i]);
    bool is_loading = sbx_sim_engine_is_loading(engine->sim);
    engine->probed(engine->probe_user, is_loading ? SBX_ENGINE_IS_LOADING : SBX_ENGINE_IS_UP, models,
                   is_loading ? 0 : count);
}

static void probe(sbx_engine *super, sbx_engine_probe_fn *done, void *user)
{
    simulated_engine *engine = (simulated_engine *)super;
    engine->probed = done;
    engine->probe_user = user;
    engine->probe = (sbx_task){.fn = answer_probe, .user = engine};
    sbx_loop_defer(engine->loop, &engine->probe);
}

static void free_engine(sbx_engine *super)
{
    simulated_engine *engine = (simulated_engine *)super;
    sbx_loop_undefer(engine->loop, &engine->probe);
    sbx_sim_engine_free(engine->sim);
    free(engine);
}

static const sbx_engine_kind simulated_kind = {
    .name = "simulated",
    .start = start,
    .cancel = cancel,
    .pause = pause_call,
    .resume = resume_call,
    .probe = probe,
    .free = free_engine,
};

sbx_err sbx_engine_simulated_new(sbx_loop *loop, const sbx_config_engine *config, sbx_engine **ret_engine)
{
    sbx_sim_options options = sbx_sim_options_default();
    options.models = config->models.items;
    options.model_count = config->models.count;
    options.ttft_ms = config->simulated.first_token_ms;
    options.tps = config->simulated.tokens_per_second;
    options.jitter_pct = config->simulated.jitter_pct;
    options.seed = config->simulated.seed;
    options.capacity = 0; /* the worker counts places */
    simulated_engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL)
        return SBX_E_NOMEM;
    engine->super.kind = &simulated_kind;
    engine->loop = loop;
    sbx_err err = sbx_sim_engine_new(&options, &engine->sim);
    if (err != SBX_OK) {
        free(engine);
        return err;
    }
    *ret_engine = &engine->super;
    return SBX_OK;
}

struct sbx_sim_engine *sbx_engine_simulated_inside(sbx_engine *engine)
{
    return engine->kind == &simulated_kind ? ((simulated_engine *)engine)->sim : NULL;
}
