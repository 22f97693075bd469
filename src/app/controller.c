/* See controller.h. The order of life: guard (before anything that threads), loop, engines, shell, server,
 * bus, local workers, banner; and back in the other order when the drain is over. */
#include "app/controller.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/banner.h"
#include "app/bus_setup.h"
#include "app/local_engines.h"
#include "app/local_workers.h"
#include "app/self.h"
#include "app/signals.h"
#include "app/stack_state.h"
#include "app/wiring.h"
#include "base/log.h"
#include "config/load.h"

#define BANNER_WAIT  SBX_SEC(3) /* for the first workers */
#define BANNER_POLL  SBX_MS(10)
#define WORKERS_WAIT SBX_SEC(5) /* for local workers to say goodbye */

/* Every configuration that was loaded while it runs. */
typedef struct old_config {
    struct old_config *next;
    sbx_config *config;
} old_config;

typedef struct controller {
    const sbx_controller_options *options;
    const sbx_config *config; /* in force */
    struct old_config *old;   /* loaded here; requests and pages may still refer to them */
    bool with_local_workers;
    char id[SBX_SELF_ID_SIZE];
    sbx_arena arena;
    sbx_stack_state stack;
    sbx_guard *guard;
    sbx_loop *loop;
    sbx_shell *shell;
    sbx_server *server;
    sbx_bus_setup *bus;
    sbx_local_engines engines;
    sbx_local_workers *workers;
    uint16_t port;
    size_t expected_workers;
    sbx_timer banner_timer, end_timer;
    sbx_time_ns banner_until, end_until;
    int exit_code;
} controller;

/* ---- banner: when the workers that are expected are there, or have had their time ---- */

static bool is_online(sbx_worker_info info)
{
    return info.online && !info.is_helper;
}

static size_t online_workers(const controller *c)
{
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(c->shell));
    size_t count = 0;
    for (size_t i = 0; i < sbx_registry_count(registry); i++)
        count +=
            is_online(sbx_worker_describe(sbx_registry_at(registry, i), sbx_shell_now(c->shell))) ? 1 : 0;
    return count;
}

static void on_banner_timer(sbx_timer *timer, void *user)
{
    controller *c = user;
    sbx_time_ns now = sbx_loop_now(c->loop);
    if (online_workers(c) < c->expected_workers && now < c->banner_until) {
        sbx_timer_start(timer, sbx_time_add(now, BANNER_POLL));
        return;
    }
    sbx_banner_print(&(sbx_banner){.host = c->config->cluster.controller.bind_address,
                                   .port = c->port,
                                   .is_simulated = c->engines.is_simulated,
                                   .join_url = c->bus == NULL ? NULL : sbx_bus_setup_join_url(c->bus)},
                     c->shell);
}

/* ---- bus and local workers ---- */

static void on_exited(void *user, uint32_t child, int exit_code, int signal)
{
    controller *c = user;
    (void)sbx_local_workers_on_exited(c->workers, child, exit_code, signal);
}

static void on_started(void *user, uint32_t child, pid_t pid)
{
    (void)user;
    sbx_log(child_started, .child = child, .pid = pid);
}

static void fail(controller *c, const char *what, sbx_err err)
{
    sbx_log(controller_failed, .what = what, .why = sbx_err_text(err));
    c->exit_code = 1;
    sbx_loop_stop(c->loop);
}

static void on_guard_lost(void *user)
{
    fail(user, "the guard process died, and our children with it", SBX_E_CLOSED);
}

static sbx_err join_bus(controller *c)
{
    return sbx_shell_join_bus(c->shell, &(sbx_nats_link_options){
                                            .bus = *sbx_bus_setup_options(c->bus),
                                            .controller_id = c->id,
                                            .ping_interval_ns = SBX_MS(200),
                                            .credit_bytes = 128 * 1024,
                                        });
}

static sbx_err start_local_workers(controller *c)
{
    if (c->engines.count == 0)
        return SBX_OK;
    const char *own_id = c->config->cluster.worker.id;
    sbx_local_workers_options options = {
        .config = c->config,
        .engines = c->engines.items,
        .count = c->engines.count,
        .id_prefix = own_id != NULL            ? own_id
                     : c->engines.is_simulated ? "simulated"
                                               : "local",
        .bus = sbx_bus_setup_options(c->bus),
    };
    return sbx_local_workers_start(c->loop, c->guard, &options, &c->workers);
}

static void on_bus_ready(void *user, bool is_ok)
{
    controller *c = user;
    sbx_err err = is_ok ? join_bus(c) : SBX_E_IO;
    if (err == SBX_OK)
        err = start_local_workers(c);
    if (err != SBX_OK)
        fail(c, "the bus", err);
}

/* ---- end: drain, local workers, loop ---- */

static void on_end_timer(sbx_timer *timer, void *user)
{
    controller *c = user;
    sbx_time_ns now = sbx_loop_now(c->loop);
    if (sbx_local_workers_running(c->workers) == 0 || now >= c->end_until)
        sbx_loop_stop(c->loop);
    else
        sbx_timer_start(timer, sbx_time_add(now, SBX_MS(5)));
}

static void on_drained(void *user, bool nothing_was_cut)
{
    controller *c = user;
    if (!nothing_was_cut)
        c->exit_code = 1;
    sbx_log(drained, .nothing_was_cut = nothing_was_cut);
    sbx_local_workers_stop(c->workers);
    c->end_until = sbx_time_add(sbx_loop_now(c->loop), WORKERS_WAIT);
    sbx_timer_start(&c->end_timer, sbx_loop_now(c->loop));
}

static void on_signal(void *user, unsigned count)
{
    controller *c = user;
    if (count <= 2)
        sbx_server_drain(c->server, on_drained, c);
    else
        sbx_loop_stop(c->loop);
}

/* ---- a new configuration: all of it is checked before anything changes ---- */

static sbx_err keep_config(controller *c, sbx_config *config)
{
    old_config *kept = calloc(1, sizeof *kept);
    if (kept == NULL) {
        sbx_config_free(config);
        return SBX_E_NOMEM;
    }
    *kept = (old_config){.next = c->old, .config = config};
    c->old = kept;
    return SBX_OK;
}

static sbx_err use_policy(controller *c, const sbx_config *config)
{
    sbx_arena memory;
    sbx_policy policy;
    sbx_arena_init(&memory, SIZE_MAX);
    sbx_err err = sbx_wire_policy(config, sbx_server_preset_after(c->server, config), &memory, &policy);
    if (err == SBX_OK)
        err = sbx_shell_use_policy(c->shell, &policy);
    sbx_arena_deinit(&memory);
    return err;
}

static void use_backends(controller *c, const sbx_config *config)
{
    sbx_shell_begin_update(c->shell);
    (void)sbx_wire_backends(config, c->shell);
    sbx_wire_helpers(config, c->shell);
    sbx_backend_update update = sbx_shell_end_update(c->shell);
    sbx_log(config_reloaded, .kept = update.kept, .changed = update.changed, .added = update.added,
            .removed = update.removed);
}

static sbx_err reload(void *user)
{
    controller *c = user;
    sbx_config *config = NULL;
    sbx_err err = c->options->reload(c->options->user, &config);
    if (err == SBX_OK)
        err = keep_config(c, config); /* takes it */
    if (err == SBX_OK)
        err = use_policy(c, config);
    if (err != SBX_OK) {
        sbx_log(config_refused, .why = sbx_err_text(err));
        return err;
    }
    use_backends(c, config);
    sbx_server_options options = sbx_wire_server(config, c->id, /* seed: */ 0);
    sbx_server_use_config(c->server, &options);
    c->config = config;
    return SBX_OK;
}

static void on_hangup(void *user, unsigned count)
{
    (void)count;
    (void)reload(user);
}

static void free_old_configs(controller *c)
{
    while (c->old != NULL) {
        old_config *old = c->old;
        c->old = old->next;
        sbx_config_free(old->config);
        free(old);
    }
}

/* ---- start ---- */

static bool needs_guard(const controller *c)
{
    return c->config->cluster.nats.mode == SBX_CONFIG_NATS_EMBEDDED || c->with_local_workers;
}

static bool needs_bus(const controller *c)
{
    return c->config->cluster.nats.mode != SBX_CONFIG_NATS_OFF;
}

static sbx_err start_shell(controller *c)
{
    sbx_shell_options options = {
        .max_response_bytes = c->config->cluster.controller.max_response_bytes,
        .metadata = (sbx_metadata_mode)c->config->cluster.controller.response_metadata,
        .health_jitter_ns = SBX_MS(50),
        .seed = sbx_self_seed(),
    };
    sbx_err err = sbx_stack_state_load(c->config, &c->arena, &c->stack);
    if (err == SBX_OK)
        err = sbx_wire_policy(c->config, c->stack.active_preset, &c->arena, &options.policy);
    if (err == SBX_OK)
        err = sbx_shell_new(c->loop, &options, &c->shell);
    if (err == SBX_OK) {
        c->expected_workers = sbx_wire_backends(c->config, c->shell);
        sbx_wire_helpers(c->config, c->shell);
    }
    return err;
}

static sbx_err listen_for_admin(controller *c)
{
    const sbx_config_address *address = &c->config->admin_listen;
    sbx_errinfo info = {.text = ""};
    uint16_t port = 0;
    if (address->host == NULL)
        return SBX_OK;
    sbx_err err = sbx_server_listen_admin(c->server, address->host, (uint16_t)address->port, &port, &info);
    if (err != SBX_OK)
        fprintf(stderr, "signalbox: admin.listen %s:%u: %s\n", address->host, (unsigned)address->port,
                info.text[0] != '\0' ? info.text : sbx_err_text(err));
    return err;
}

static sbx_err start_server(controller *c)
{
    sbx_server_options options = sbx_wire_server(c->config, c->id, sbx_self_seed());
    const char *host = c->config->cluster.controller.bind_address;
    uint16_t port = (uint16_t)c->config->cluster.controller.port;
    sbx_errinfo info = {.text = ""};
    options.reload = reload;
    options.reload_user = c;
    options.active_preset = c->stack.active_preset;
    options.state_path = c->stack.path;
    sbx_err err = sbx_server_new(c->loop, c->shell, &options, &c->server);
    if (err == SBX_OK)
        err = sbx_server_listen(c->server, host, port, &c->port, &info);
    if (err != SBX_OK)
        fprintf(stderr, "signalbox: %s:%u: %s\n", host, (unsigned)port,
                info.text[0] != '\0' ? info.text : sbx_err_text(err));
    return err == SBX_OK ? listen_for_admin(c) : err;
}

static sbx_err start_loop(controller *c)
{
    sbx_err err = needs_guard(c) ? sbx_guard_fork(&c->guard) : SBX_OK;
    if (err == SBX_OK)
        err = sbx_loop_new(&c->loop);
    if (err == SBX_OK && c->guard != NULL) {
        sbx_guard_events events = {
            .on_started = on_started, .on_exited = on_exited, .on_lost = on_guard_lost, .user = c};
        err = sbx_guard_attach(c->guard, c->loop, &events);
    }
    return err;
}

static void start_banner(controller *c)
{
    sbx_timer_init(&c->banner_timer, c->loop, on_banner_timer, c);
    sbx_timer_init(&c->end_timer, c->loop, on_end_timer, c);
    c->expected_workers += c->engines.count;
    c->banner_until = sbx_time_add(sbx_loop_now(c->loop), BANNER_WAIT);
    sbx_timer_start(&c->banner_timer, sbx_loop_now(c->loop));
}

static void make_id(controller *c)
{
    const char *given = c->config->cluster.controller.id;
    if (given != NULL)
        snprintf(c->id, sizeof c->id, "%s", given);
    else
        sbx_self_make_id(c->id);
}

static sbx_err start(controller *c)
{
    make_id(c);
    sbx_err err = start_loop(c);
    if (err == SBX_OK && c->with_local_workers && needs_bus(c))
        err = sbx_local_engines_choose(c->loop, c->config, &c->arena, &c->engines);
    if (err == SBX_OK)
        err = start_shell(c);
    if (err == SBX_OK)
        err = start_server(c);
    if (err == SBX_OK && needs_bus(c))
        err = sbx_bus_setup_start(c->loop, c->guard, c->config, on_bus_ready, c, &c->bus);
    if (err == SBX_OK)
        err = sbx_signals_start(c->loop, on_signal, c);
    if (err == SBX_OK)
        err = sbx_signals_on_hangup(c->loop, on_hangup, c);
    if (err == SBX_OK)
        start_banner(c);
    return err;
}

static void end(controller *c)
{
    if (c->loop != NULL) {
        sbx_timer_stop(&c->banner_timer);
        sbx_timer_stop(&c->end_timer);
    }
    sbx_signals_stop();
    sbx_server_free(c->server);
    sbx_shell_free(c->shell);
    sbx_bus_setup_free(c->bus);
    sbx_local_workers_free(c->workers);
    sbx_guard_free(c->guard);
    sbx_loop_free(c->loop);
    sbx_arena_deinit(&c->arena);
    free_old_configs(c);
}

int sbx_controller_run(const sbx_controller_options *options)
{
    controller c = {
        .options = options, .config = options->config, .with_local_workers = options->with_local_workers};
    sbx_arena_init(&c.arena, SIZE_MAX);
    sbx_err err = start(&c);
    if (err == SBX_OK) {
        sbx_log(controller_started, .controller = c.id, .port = c.port);
        sbx_loop_run(c.loop);
    } else {
        fprintf(stderr, "signalbox: cannot start: %s\n", sbx_err_text(err));
        c.exit_code = 1;
    }
    end(&c);
    return c.exit_code;
}
