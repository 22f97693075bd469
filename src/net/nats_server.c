/* The managed nats-server: start, readiness, restart. nats_server_files.c writes and reads its files. */
#include "net/nats_server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net/nats_server_files.h"

enum {
    POLL_MS = 1,
    READY_LIMIT_MS = 5000, /* then it is killed and started again */
    FIRST_RESTART_MS = 10,
    LAST_RESTART_MS = 2000,
    STEADY_MS = 1000 /* ran that long: the next restart is a first one again */
};

struct sbx_nats_server {
    sbx_loop *loop;
    sbx_guard *guard;
    sbx_nats_server_events events;
    sbx_guard_events watch;
    nats_files files;
    uint32_t child; /* 0: none */
    pid_t pid;
    bool is_ready;
    sbx_timer timer; /* polls for readiness, or waits for the restart */
    sbx_time_ns started_at;
    int64_t restart_ms;
    char url[NATS_URL_MAX];
};

static void start(sbx_nats_server *server);

/* ---- restart ---- */

static void restart_later(sbx_nats_server *server)
{
    sbx_time_ns now = sbx_loop_now(server->loop);
    if (now - server->started_at > SBX_MS(STEADY_MS))
        server->restart_ms = FIRST_RESTART_MS;
    sbx_timer_start(&server->timer, now + SBX_MS(server->restart_ms));
    server->restart_ms = server->restart_ms * 2 < LAST_RESTART_MS ? server->restart_ms * 2 : LAST_RESTART_MS;
}

static void take_end(sbx_nats_server *server)
{
    server->child = 0;
    server->pid = 0;
    server->is_ready = false;
    if (server->events.on_down != NULL)
        server->events.on_down(server->events.user);
}

/* ---- readiness ---- */

static void take_ready(sbx_nats_server *server, uint16_t port)
{
    server->is_ready = true;
    sbx_nats_files_set_port(&server->files, port);
    sbx_nats_files_url(&server->files, server->url);
    sbx_log(nats_server_ready, .url = server->url, .pid = server->pid,
            .took = sbx_loop_now(server->loop) - server->started_at);
    if (server->events.on_ready != NULL)
        server->events.on_ready(server->events.user, server->url, port);
}

static void look_for_port(sbx_nats_server *server)
{
    uint16_t port;
    sbx_time_ns now = sbx_loop_now(server->loop);
    if (server->pid != 0 && sbx_nats_files_read_port(&server->files, server->pid, &port) == SBX_OK) {
        take_ready(server, port);
    } else if (now - server->started_at > SBX_MS(READY_LIMIT_MS)) {
        sbx_log(nats_server_not_ready, .pid = server->pid);
        sbx_guard_kill(server->guard, server->child, SIGKILL);
    } else {
        sbx_timer_start(&server->timer, now + SBX_MS(POLL_MS));
    }
}

static void on_timer(sbx_timer *timer, void *user)
{
    (void)timer;
    sbx_nats_server *server = user;
    if (server->child == 0)
        start(server);
    else
        look_for_port(server);
}

/* ---- what the guard tells ---- */

static void on_started(void *user, uint32_t child, pid_t pid)
{
    (void)child;
    sbx_nats_server *server = user;
    server->pid = pid;
}

static void on_exited(void *user, uint32_t child, int exit_code, int signal)
{
    (void)child;
    sbx_nats_server *server = user;
    sbx_log(nats_server_exited, .pid = server->pid, .exit_code = exit_code, .signal = signal);
    take_end(server);
    restart_later(server);
}

static void on_guard_lost(void *user)
{
    sbx_nats_server *server = user;
    sbx_timer_stop(&server->timer);
    take_end(server);
}

/* ---- start ---- */

static sbx_err spawn(sbx_nats_server *server)
{
    char *argv[] = {server->files.program, "-c", server->files.conf_path, NULL};
    sbx_err err = sbx_nats_files_write_conf(&server->files);
    if (err != SBX_OK)
        return err;
    err = sbx_guard_spawn(server->guard, argv, /* env_extra= */ NULL, /* log_path= */ NULL, &server->child);
    if (err == SBX_OK)
        err = sbx_guard_watch(server->guard, server->child, &server->watch);
    return err;
}

static void start(sbx_nats_server *server)
{
    server->started_at = sbx_loop_now(server->loop);
    sbx_err err = spawn(server);
    if (err == SBX_OK) {
        sbx_timer_start(&server->timer, server->started_at + SBX_MS(POLL_MS));
        return;
    }
    sbx_log(nats_server_not_started, .why = sbx_err_text(err));
    restart_later(server);
}

static void init(sbx_nats_server *server, sbx_loop *loop, sbx_guard *guard,
                 const sbx_nats_server_events *events)
{
    server->loop = loop;
    server->guard = guard;
    server->events = *events;
    server->restart_ms = FIRST_RESTART_MS;
    server->watch = (sbx_guard_events){
        .on_started = on_started, .on_exited = on_exited, .on_lost = on_guard_lost, .user = server};
    sbx_timer_init(&server->timer, loop, on_timer, server);
}

sbx_err sbx_nats_server_start(sbx_loop *loop, sbx_guard *guard, const sbx_nats_server_options *options,
                              const sbx_nats_server_events *events, sbx_nats_server **ret_server,
                              sbx_errinfo *reterr_info)
{
    sbx_nats_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return sbx_errinfo_set(reterr_info, SBX_E_NOMEM, 0, "out of memory");
    init(server, loop, guard, events);
    sbx_err err = sbx_nats_files_make(&server->files, options, reterr_info);
    if (err == SBX_OK) {
        server->started_at = sbx_loop_now(loop);
        err = spawn(server);
        if (err != SBX_OK)
            sbx_errinfo_set(reterr_info, err, 0, "nats-server cannot be started: %s", sbx_err_text(err));
    }
    if (err != SBX_OK) {
        sbx_nats_server_free(server);
        return err;
    }
    sbx_timer_start(&server->timer, server->started_at + SBX_MS(POLL_MS));
    *ret_server = server;
    return SBX_OK;
}

const char *sbx_nats_server_token(const sbx_nats_server *server)
{
    return server->files.token;
}

const char *sbx_nats_server_url(const sbx_nats_server *server)
{
    return server->url;
}

const char *sbx_nats_server_dir(const sbx_nats_server *server)
{
    return server->files.dir;
}

bool sbx_nats_server_is_ready(const sbx_nats_server *server)
{
    return server->is_ready;
}

pid_t sbx_nats_server_pid(const sbx_nats_server *server)
{
    return server->pid;
}

void sbx_nats_server_free(sbx_nats_server *server)
{
    if (server == NULL)
        return;
    sbx_timer_stop(&server->timer);
    if (server->child != 0) {
        sbx_guard_watch(server->guard, server->child, NULL);
        sbx_guard_kill(server->guard, server->child, SIGTERM);
    }
    sbx_nats_files_remove(&server->files);
    free(server);
}
