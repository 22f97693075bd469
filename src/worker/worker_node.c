/* See worker_node.h. This file: life, registration, heartbeat, the engine's health, drain. */
#include "worker/worker_node.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "worker/worker_node_priv.h"

enum {
    ATTEMPTS_MAX = 1 << 20,
    NAME_SIZE = SBX_TOKEN_MAX + 16,
    SILENT_PROBES_MAX = 3
};
#define PROBE_WHEN_UP     SBX_SEC(2)
#define PROBE_WHEN_NOT_UP SBX_MS(500)
#define STANDSTILL        SBX_SEC(1)  /* a tick this late: we were stopped */
#define HOLD_STARTS       SBX_MS(50)  /* then old runs wait this long for the cancels behind them */
#define LAST_FRAMES       SBX_SEC(1)  /* a drained worker waits this long for acknowledgements */
#define LAST_WORDS        SBX_MS(100) /* for its deregistration to get out */

/* ---- what it says of itself ---- */

static sbx_err write_self(sbx_worker_node *node)
{
    sbx_bus_worker self = {
        .worker_id = sbx_view_cstr(node->id),
        .boot_id = sbx_id_view(&node->boot_id),
        .version = SBX_VIEW(SBX_VERSION),
        .engine_kind = node->engine_kind,
        .engine_state = node->engine_state,
        .models = node->models,
        .model_count = node->model_count,
        .max_concurrent = node->max_concurrent,
        .in_flight = node->running,
        .can_resume = node->can_resume,
        .stream_usage = node->stream_usage,
        .draining = node->is_draining,
        .clock_ms = (uint64_t)sbx_time_to_ms(sbx_loop_now(node->loop)),
    };
    sbx_buf_clear(&node->scratch);
    return sbx_bus_worker_write(&node->scratch, &self);
}

/* A heartbeat that cannot go out is made up for by the next. */
static void say(sbx_worker_node *node, const char *subject)
{
    sbx_view body = sbx_buf_view(&node->scratch);
    (void)sbx_bus_publish(node->bus, SBX_BUS_CONTROL, subject, /* reply= */ NULL, NULL, 0, &body, 1);
}

static void say_self(sbx_worker_node *node, const char *subject)
{
    if (!node->has_left && sbx_bus_is_up(node->bus) && write_self(node) == SBX_OK)
        say(node, subject);
}

void sbx_node_heartbeat_now(sbx_worker_node *node)
{
    say_self(node, "worker.heartbeat");
}

static void on_heartbeat(sbx_timer *timer, void *user)
{
    sbx_worker_node *node = user;
    sbx_node_heartbeat_now(node);
    sbx_timer_start(timer, sbx_time_add(sbx_loop_now(node->loop), node->heartbeat_interval));
}

/* ---- the engine's health ---- */

static void probe_in(sbx_worker_node *node, sbx_time_ns wait)
{
    sbx_timer_start(&node->probe_timer, sbx_time_add(sbx_loop_now(node->loop), wait));
}

void sbx_node_note_engine(sbx_worker_node *node, sbx_bus_engine_state state)
{
    if (state == node->engine_state)
        return;
    if (state == SBX_BUS_ENGINE_UP)
        sbx_log(engine_up, .worker = node->id, .was = sbx_bus_engine_state_name(node->engine_state));
    else
        sbx_log(engine_not_up, .worker = node->id, .was = sbx_bus_engine_state_name(node->engine_state),
                .state = sbx_bus_engine_state_name(state));
    node->engine_state = state;
    sbx_node_heartbeat_now(node);
    if (!node->is_probing)
        probe_in(node, state == SBX_BUS_ENGINE_UP ? PROBE_WHEN_UP : PROBE_WHEN_NOT_UP);
}

static bool same_models(const sbx_worker_node *node, const sbx_view *models, size_t count)
{
    if (count != node->model_count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!sbx_view_eq(models[i], node->models[i]))
            return false;
    }
    return true;
}

static sbx_err copy_models(sbx_worker_node *node, const sbx_view *models, size_t count)
{
    sbx_arena names;
    sbx_arena_init(&names, SIZE_MAX);
    sbx_view *copies = SBX_ARENA_ARRAY(&names, sbx_view, count);
    sbx_err err = copies == NULL ? SBX_E_NOMEM : SBX_OK;
    for (size_t i = 0; err == SBX_OK && i < count; i++)
        err = sbx_arena_dup(&names, models[i], &copies[i]);
    if (err != SBX_OK) {
        sbx_arena_deinit(&names);
        return err;
    }
    sbx_arena_deinit(&node->model_names);
    node->model_names = names;
    node->models = copies;
    node->model_count = count;
    return SBX_OK;
}

static void note_models(sbx_worker_node *node, const sbx_view *models, size_t count)
{
    if (node->has_own_models || count == 0 || same_models(node, models, count))
        return;
    if (copy_models(node, models, count) != SBX_OK)
        return; /* the next probe tries again */
    sbx_log(engine_models, .worker = node->id, .models = count, .first = node->models[0]);
    if (node->engine_state == SBX_BUS_ENGINE_UP)
        sbx_node_heartbeat_now(node);
}

/* An engine that is busy with our own requests may well be too busy to talk. */
static void note_silence(sbx_worker_node *node)
{
    node->silent_probes++;
    if (node->running == 0 && node->silent_probes >= SILENT_PROBES_MAX)
        sbx_node_note_engine(node, SBX_BUS_ENGINE_DOWN);
}

static void on_probed(void *user, sbx_engine_health health, const sbx_view *models, size_t count)
{
    sbx_worker_node *node = user;
    if (health != SBX_ENGINE_IS_SILENT)
        node->silent_probes = 0;
    switch (health) {
    case SBX_ENGINE_IS_UP:
        note_models(node, models, count);
        sbx_node_note_engine(node, SBX_BUS_ENGINE_UP);
        break;
    case SBX_ENGINE_IS_LOADING:
        sbx_node_note_engine(node, SBX_BUS_ENGINE_LOADING);
        break;
    case SBX_ENGINE_IS_DOWN:
        sbx_node_note_engine(node, SBX_BUS_ENGINE_DOWN);
        break;
    case SBX_ENGINE_IS_SILENT:
        note_silence(node);
        break;
    }
    node->is_probing = false;
    probe_in(node, node->engine_state == SBX_BUS_ENGINE_UP ? PROBE_WHEN_UP : PROBE_WHEN_NOT_UP);
}

static void on_probe_timer(sbx_timer *timer, void *user)
{
    sbx_worker_node *node = user;
    (void)timer;
    if (node->is_probing)
        return;
    node->is_probing = true;
    node->engine->kind->probe(node->engine, on_probed, node);
}

/* ---- the tick ---- */

static void note_standstill(sbx_worker_node *node, sbx_time_ns now)
{
    if (now - node->ticked_at < STANDSTILL)
        return;
    node->up_at = now; /* nobody could be heard */
    node->hold_starts_until = sbx_time_add(now, HOLD_STARTS);
}

static void on_tick(sbx_timer *timer, void *user)
{
    sbx_worker_node *node = user;
    sbx_time_ns now = sbx_loop_now(node->loop);
    note_standstill(node, now);
    node->ticked_at = now;
    SBX_LIST_EACH(link, &node->attempts)
    {
        sbx_attempt_tick(SBX_CONTAINER_OF(link, sbx_attempt, node), now);
    }
    sbx_node_controllers_tick(node, now);
    sbx_timer_start(timer, sbx_time_add(now, SBX_MS(SBX_NODE_TICK_MS)));
}

/* ---- the bus comes and goes ---- */

static void send_all_again(sbx_worker_node *node)
{
    SBX_LIST_EACH(link, &node->attempts)
    {
        sbx_attempt *attempt = SBX_CONTAINER_OF(link, sbx_attempt, node);
        sbx_attempt_replay(attempt, attempt->outbox.first);
    }
}

static void on_bus_state(void *user, bool is_up)
{
    sbx_worker_node *node = user;
    if (is_up)
        sbx_log(worker_bus_up, .worker = node->id, .attempts = node->attempts_by_subject.count);
    else
        sbx_log(worker_bus_down, .worker = node->id, .attempts = node->attempts_by_subject.count);
    if (!is_up)
        return;
    node->up_at = sbx_loop_now(node->loop);
    say_self(node, "worker.register");
    send_all_again(node);
}

/* ---- leaving ---- */

static void on_leave_timer(sbx_timer *timer, void *user);

static void leave(sbx_worker_node *node)
{
    sbx_buf_clear(&node->scratch);
    if (sbx_bus_leave_write(&node->scratch, sbx_view_cstr(node->id), sbx_id_view(&node->boot_id)) == SBX_OK)
        say(node, "worker.deregister");
    node->has_left = true;
    sbx_log(worker_left, .worker = node->id);
    sbx_timer_start(&node->leave_timer, sbx_time_add(sbx_loop_now(node->loop), LAST_WORDS));
}

static void on_leave_timer(sbx_timer *timer, void *user)
{
    sbx_worker_node *node = user;
    (void)timer;
    if (!node->has_left && node->running == 0)
        leave(node);
    else if (node->has_left && node->on_stopped != NULL)
        node->on_stopped(node->stopped_user);
}

void sbx_node_check_drained(sbx_worker_node *node)
{
    if (!node->is_draining || node->has_left || node->running > 0)
        return;
    if (node->ended_count == 0)
        leave(node);
    else if (!sbx_wheel_is_armed(&node->leave_timer.entry))
        sbx_timer_start(&node->leave_timer, sbx_time_add(sbx_loop_now(node->loop), LAST_FRAMES));
}

static void cancel_everything(sbx_worker_node *node)
{
    SBX_LIST_EACH(link, &node->attempts)
    {
        sbx_attempt_cancel(SBX_CONTAINER_OF(link, sbx_attempt, node));
    }
    sbx_plain_cancel_all(node);
}

void sbx_worker_node_stop(sbx_worker_node *node, sbx_worker_node_stopped_fn *on_stopped, void *user)
{
    node->on_stopped = on_stopped;
    node->stopped_user = user;
    if (node->is_draining) {
        cancel_everything(node);
        return;
    }
    node->is_draining = true;
    sbx_log(worker_draining, .worker = node->id, .running = node->running);
    sbx_node_heartbeat_now(node);
    sbx_node_check_drained(node);
}

/* ---- life ---- */

static sbx_bus_stream_usage stream_usage_of(sbx_config_stream_usage usage)
{
    switch (usage) {
    case SBX_CONFIG_STREAM_USAGE_AUTO:
        return SBX_BUS_USAGE_AUTO;
    case SBX_CONFIG_STREAM_USAGE_ON:
        return SBX_BUS_USAGE_ON;
    case SBX_CONFIG_STREAM_USAGE_OFF:
        return SBX_BUS_USAGE_OFF;
    }
    return SBX_BUS_USAGE_AUTO;
}

static sbx_err take_configured_models(sbx_worker_node *node, const sbx_config_strings *models)
{
    sbx_view names[SBX_BUS_MAX_MODELS];
    if (models->count == 0)
        return SBX_OK;
    if (models->count > SBX_BUS_MAX_MODELS)
        return SBX_E_INVALID;
    for (size_t i = 0; i < models->count; i++)
        names[i] = sbx_view_cstr(models->items[i]);
    node->has_own_models = true;
    return copy_models(node, names, models->count);
}

static void init_timers(sbx_worker_node *node)
{
    sbx_timer_init(&node->heartbeat, node->loop, on_heartbeat, node);
    sbx_timer_init(&node->probe_timer, node->loop, on_probe_timer, node);
    sbx_timer_init(&node->tick, node->loop, on_tick, node);
    sbx_timer_init(&node->leave_timer, node->loop, on_leave_timer, node);
}

static sbx_err init(sbx_worker_node *node, const sbx_worker_node_options *options)
{
    const sbx_config_engine *engine = options->engine;
    sbx_rng rng;
    sbx_siphash_key seed;
    node->heartbeat_interval = SBX_MS(options->heartbeat_interval_ms);
    node->max_concurrent = engine->max_concurrent;
    node->engine_kind =
        engine->kind == SBX_CONFIG_ENGINE_SIMULATED ? SBX_BUS_ENGINE_SIMULATED : SBX_BUS_ENGINE_OPENAI;
    node->engine_state = SBX_BUS_ENGINE_DOWN; /* until it was asked */
    node->stream_usage = stream_usage_of(engine->stream_usage);
    node->can_resume = engine->resume == SBX_CONFIG_RESUME_PREFILL;
    node->ticked_at = sbx_loop_now(node->loop);
    sbx_arena_init(&node->model_names, SIZE_MAX);
    sbx_list_init(&node->attempts);
    sbx_list_init(&node->controllers);
    sbx_list_init(&node->plains);
    sbx_buf_init(&node->scratch, SIZE_MAX);
    init_timers(node);
    sbx_err err = sbx_rng_seed_os(&rng);
    if (err == SBX_OK)
        err = sbx_random_bytes_os(&seed, sizeof(seed));
    if (err != SBX_OK)
        return err;
    sbx_id_make(&rng, &node->boot_id);
    sbx_map_init(&node->attempts_by_subject, seed, ATTEMPTS_MAX);
    err = sbx_recent_init(&node->recent, seed);
    return err == SBX_OK ? take_configured_models(node, &engine->models) : err;
}

static sbx_err open_bus(sbx_worker_node *node, const sbx_bus_options *options)
{
    char name[NAME_SIZE];
    sbx_bus_options bus = *options;
    snprintf(name, sizeof(name), "worker-%s", node->id);
    if (bus.name == NULL)
        bus.name = name;
    node->bus_prefix = strdup(options->subject_prefix == NULL ? "" : options->subject_prefix);
    if (node->bus_prefix == NULL)
        return SBX_E_NOMEM;
    sbx_err err = sbx_bus_new(node->loop, &bus, on_bus_state, node, &node->bus);
    return err == SBX_OK ? sbx_node_subscribe(node) : err;
}

static void start_timers(sbx_worker_node *node)
{
    sbx_time_ns now = sbx_loop_now(node->loop);
    sbx_timer_start(&node->heartbeat, sbx_time_add(now, node->heartbeat_interval));
    sbx_timer_start(&node->tick, sbx_time_add(now, SBX_MS(SBX_NODE_TICK_MS)));
    sbx_timer_start(&node->probe_timer, now);
}

sbx_err sbx_worker_node_new(sbx_loop *loop, const sbx_worker_node_options *options,
                            sbx_worker_node **ret_node)
{
    if (!sbx_id_is_token(sbx_view_cstr(options->worker_id)) || options->engine->max_concurrent == 0)
        return SBX_E_INVALID;
    sbx_worker_node *node = calloc(1, sizeof(*node));
    if (node == NULL)
        return SBX_E_NOMEM;
    node->loop = loop;
    (void)sbx_view_to_cstr(sbx_view_cstr(options->worker_id), node->id, sizeof(node->id)); /* a token fits */
    sbx_err err = init(node, options);
    if (err == SBX_OK)
        err = sbx_engine_new(loop, options->engine, &node->engine);
    if (err == SBX_OK)
        err = open_bus(node, &options->bus);
    if (err != SBX_OK) {
        sbx_worker_node_free(node);
        return err;
    }
    start_timers(node);
    *ret_node = node;
    return SBX_OK;
}

void sbx_worker_node_free(sbx_worker_node *node)
{
    if (node == NULL)
        return;
    node->has_left = true; /* nothing that ends now starts a departure */
    cancel_everything(node);
    sbx_timer_stop(&node->heartbeat);
    sbx_timer_stop(&node->probe_timer);
    sbx_timer_stop(&node->tick);
    sbx_timer_stop(&node->leave_timer);
    if (node->engine != NULL)
        node->engine->kind->free(node->engine);
    sbx_bus_free(node->bus);
    sbx_map_deinit(&node->attempts_by_subject);
    sbx_recent_deinit(&node->recent);
    sbx_arena_deinit(&node->model_names);
    sbx_buf_deinit(&node->scratch);
    free(node->bus_prefix);
    free(node);
}

sbx_worker_node_state sbx_worker_node_state_of(const sbx_worker_node *node)
{
    return (sbx_worker_node_state){
        .is_up = sbx_bus_is_up(node->bus),
        .is_draining = node->is_draining,
        .engine = sbx_bus_engine_state_name(node->engine_state),
        .running = node->running,
        .attempts = (uint32_t)node->attempts_by_subject.count,
    };
}
