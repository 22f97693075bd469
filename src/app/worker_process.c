/* See worker_process.h. */
#include "app/worker_process.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/bus_setup.h"
#include "app/local_engines.h"
#include "app/self.h"
#include "app/signals.h"
#include "base/log.h"
#include "worker/worker_node.h"

typedef struct worker_process {
    const sbx_config *config;
    sbx_loop *loop;
    sbx_arena arena;
    sbx_local_engines engines;
    sbx_worker_node **nodes;
    size_t running;
    char id[SBX_CONFIG_ID_MAX + 1];
    char prefix[SBX_BUS_PREFIX_SIZE];
} worker_process;

/* ---- end ---- */

static void on_stopped(void *user)
{
    worker_process *process = user;
    process->running--;
    if (process->running == 0)
        sbx_loop_stop(process->loop);
}

static void on_signal(void *user, unsigned count)
{
    worker_process *process = user;
    sbx_log(worker_stopping, .worker = process->id, .signals = count);
    if (count > 2) {
        sbx_loop_stop(process->loop);
        return;
    }
    for (size_t i = 0; i < process->engines.count; i++)
        sbx_worker_node_stop(process->nodes[i], on_stopped, process);
}

/* ---- start ---- */

static sbx_err choose_engines(worker_process *process)
{
    const sbx_config_engines *configured = &process->config->cluster.worker.engines;
    process->engines = (sbx_local_engines){.items = configured->items, .count = configured->count};
    if (configured->count > 0)
        return SBX_OK;
    sbx_err err = sbx_local_engines_find(process->loop, &process->arena, &process->engines);
    if (err == SBX_OK && process->engines.count == 0) {
        fprintf(stderr, "signalbox worker: no engine answers on this machine; name one with --engine URL, or "
                        "--engine simulated\n");
        err = SBX_E_NOT_FOUND;
    }
    return err;
}

static void make_id(worker_process *process)
{
    const char *given = process->config->cluster.worker.id;
    char made[SBX_SELF_ID_SIZE];
    sbx_self_make_id(made);
    snprintf(process->id, sizeof process->id, "%.*s", SBX_CONFIG_ID_MAX, given != NULL ? given : made);
}

/* The first engine's worker has the process's own id, the others -2, -3 ... behind it. */
static void id_of(const worker_process *process, size_t index, char ret_id[SBX_CONFIG_ID_MAX + 1])
{
    enum {
        SUFFIX_MAX = 8
    };
    if (index == 0)
        snprintf(ret_id, SBX_CONFIG_ID_MAX + 1, "%s", process->id);
    else
        snprintf(ret_id, SBX_CONFIG_ID_MAX + 1, "%.*s-%hu", SBX_CONFIG_ID_MAX - SUFFIX_MAX, process->id,
                 (unsigned short)(index + 1));
}

static sbx_err start_node(worker_process *process, size_t index)
{
    char id[SBX_CONFIG_ID_MAX + 1];
    id_of(process, index, id);
    sbx_worker_node_options options = {
        .worker_id = id,
        .engine = &process->engines.items[index],
        .bus = sbx_bus_options_external(process->config, /* name: */ NULL, process->prefix),
        .heartbeat_interval_ms = process->config->cluster.discovery.heartbeat_interval_ms,
    };
    sbx_err err = sbx_worker_node_new(process->loop, &options, &process->nodes[index]);
    if (err != SBX_OK)
        return err;
    process->running++;
    sbx_log(worker_started, .worker = id,
            .engine =
                options.engine->kind == SBX_CONFIG_ENGINE_SIMULATED ? "simulated" : options.engine->url.text);
    return SBX_OK;
}

static sbx_err start(worker_process *process)
{
    make_id(process);
    sbx_err err = sbx_loop_new(&process->loop);
    if (err == SBX_OK)
        err = choose_engines(process);
    if (err != SBX_OK)
        return err;
    process->nodes = SBX_ARENA_ARRAY(&process->arena, sbx_worker_node *, process->engines.count);
    if (process->nodes == NULL)
        return SBX_E_NOMEM;
    for (size_t i = 0; err == SBX_OK && i < process->engines.count; i++)
        err = start_node(process, i);
    if (err == SBX_OK)
        err = sbx_signals_start(process->loop, on_signal, process);
    return err;
}

int sbx_worker_process_run(const sbx_config *config)
{
    worker_process process = {.config = config};
    sbx_arena_init(&process.arena, SIZE_MAX);
    sbx_err err = start(&process);
    if (err == SBX_OK)
        sbx_loop_run(process.loop);
    else if (err != SBX_E_NOT_FOUND)
        fprintf(stderr, "signalbox worker: cannot start: %s\n", sbx_err_text(err));
    sbx_signals_stop();
    for (size_t i = 0; process.nodes != NULL && i < process.engines.count; i++)
        sbx_worker_node_free(process.nodes[i]);
    sbx_loop_free(process.loop);
    sbx_arena_deinit(&process.arena);
    return err == SBX_OK ? 0 : 1;
}
