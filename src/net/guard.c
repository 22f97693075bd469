/* Our side of the guard. */
#include "net/guard.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/list.h"
#include "base/log.h"
#include "net/guard_main.h"
#include "net/guard_wire.h"

enum {
    END_MS = 2 * SBX_GUARD_GRACE_MS /* then the guard itself is killed */
};

typedef struct guard_child {
    sbx_list_node node;
    uint32_t number;
    pid_t pid; /* 0: not started yet */
    const sbx_guard_events *watch;
} guard_child;

struct sbx_guard {
    pid_t pid;
    int socket; /* -1: lost */
    uv_poll_t *poll;
    sbx_buf input;
    sbx_list children;
    uint32_t last_child;
    sbx_guard_events events;
};

/* ---- fork ---- */

static void run_guard(int ours, int theirs)
{
    close(ours);
    _exit(sbx_guard_main(theirs));
}

static sbx_err fork_into(sbx_guard *guard)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return SBX_E_IO;
    guard->pid = fork();
    if (guard->pid == 0)
        run_guard(pair[0], pair[1]);
    close(pair[1]);
    guard->socket = pair[0];
    if (guard->pid < 0 || fcntl(pair[0], F_SETFD, FD_CLOEXEC) != 0 ||
        fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0) {
        close(pair[0]);
        return SBX_E_IO;
    }
    return SBX_OK;
}

sbx_err sbx_guard_fork(sbx_guard **ret_guard)
{
    sbx_guard *guard = calloc(1, sizeof *guard);
    if (guard == NULL)
        return SBX_E_NOMEM;
    sbx_list_init(&guard->children);
    sbx_buf_init(&guard->input, 2 * GUARD_RECORD_MAX);
    sbx_err err = fork_into(guard);
    if (err != SBX_OK) {
        free(guard);
        return err;
    }
    *ret_guard = guard;
    return SBX_OK;
}

/* ---- children ---- */

static guard_child *find(const sbx_guard *guard, uint32_t number)
{
    SBX_LIST_EACH(node, &guard->children)
    {
        guard_child *child = SBX_CONTAINER_OF(node, guard_child, node);
        if (child->number == number)
            return child;
    }
    return NULL;
}

static const sbx_guard_events *events_of(const sbx_guard *guard, const guard_child *child)
{
    return child->watch != NULL ? child->watch : &guard->events;
}

static void take_started(sbx_guard *guard, const guard_record *r)
{
    guard_child *child = find(guard, r->child);
    if (child == NULL)
        return;
    child->pid = (pid_t)r->a;
    const sbx_guard_events *events = events_of(guard, child);
    if (events->on_started != NULL)
        events->on_started(events->user, r->child, child->pid);
}

static void take_exited(sbx_guard *guard, const guard_record *r)
{
    guard_child *child = find(guard, r->child);
    if (child == NULL)
        return;
    const sbx_guard_events *events = events_of(guard, child);
    sbx_list_remove(&child->node);
    free(child);
    if (events->on_exited != NULL)
        events->on_exited(events->user, r->child, r->a, r->b);
}

static void take_records(sbx_guard *guard)
{
    guard_record r;
    const char *strings;
    while (sbx_guard_next(&guard->input, &r, &strings)) {
        sbx_guard_consume(&guard->input, &r);
        if (r.kind == GUARD_STARTED)
            take_started(guard, &r);
        else if (r.kind == GUARD_EXITED)
            take_exited(guard, &r);
    }
}

/* ---- the guard died ---- */

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void close_socket(sbx_guard *guard)
{
    if (guard->poll != NULL)
        uv_close((uv_handle_t *)guard->poll, free_handle);
    guard->poll = NULL;
    if (guard->socket >= 0)
        close(guard->socket);
    guard->socket = -1;
}

static void kill_orphans(sbx_guard *guard)
{
    SBX_LIST_EACH(node, &guard->children)
    {
        guard_child *child = SBX_CONTAINER_OF(node, guard_child, node);
        if (child->pid > 0)
            kill(-child->pid, SIGKILL);
    }
}

static void tell_lost(sbx_guard *guard)
{
    SBX_LIST_EACH(node, &guard->children)
    {
        guard_child *child = SBX_CONTAINER_OF(node, guard_child, node);
        const sbx_guard_events *watch = child->watch;
        sbx_list_remove(node);
        free(child);
        if (watch != NULL && watch->on_lost != NULL)
            watch->on_lost(watch->user);
    }
    if (guard->events.on_lost != NULL)
        guard->events.on_lost(guard->events.user);
}

static void lose(sbx_guard *guard)
{
    close_socket(guard);
    kill_orphans(guard);
    sbx_log(guard_lost, .pid = guard->pid);
    tell_lost(guard);
}

/* ---- on the loop ---- */

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)events;
    sbx_guard *guard = poll->data;
    sbx_err err = status == 0 ? sbx_guard_read(guard->socket, &guard->input) : SBX_E_CLOSED;
    if (err == SBX_OK)
        take_records(guard);
    else if (err != SBX_E_AGAIN)
        lose(guard);
}

sbx_err sbx_guard_attach(sbx_guard *guard, sbx_loop *loop, const sbx_guard_events *events)
{
    assert(guard->poll == NULL);
    guard->events = *events;
    uv_poll_t *poll = calloc(1, sizeof *poll);
    if (poll == NULL)
        return SBX_E_NOMEM;
    if (uv_poll_init(sbx_loop_uv(loop), poll, guard->socket) != 0) {
        free(poll);
        return SBX_E_IO;
    }
    poll->data = guard;
    guard->poll = poll;
    return uv_poll_start(poll, UV_READABLE, on_readable) == 0 ? SBX_OK : SBX_E_IO;
}

/* ---- calls ---- */

static int32_t append_strings(sbx_buf *buf, char *const strings[])
{
    int32_t count = 0;
    for (; strings != NULL && strings[count] != NULL; count++)
        sbx_buf_append(buf, strings[count], strlen(strings[count]) + 1);
    return count;
}

static sbx_err send_spawn(sbx_guard *guard, uint32_t number, char *const argv[], char *const env_extra[],
                          const char *log_path)
{
    sbx_buf strings;
    sbx_buf_init(&strings, GUARD_RECORD_MAX);
    guard_record r = {.kind = GUARD_SPAWN, .child = number};
    r.a = append_strings(&strings, argv);
    r.b = append_strings(&strings, env_extra);
    const char *log = log_path == NULL ? "" : log_path;
    sbx_err err = sbx_buf_append(&strings, log, strlen(log) + 1);
    if (err == SBX_OK && (r.a >= GUARD_STRINGS_MAX || r.b >= GUARD_STRINGS_MAX))
        err = SBX_E_CAP;
    r.strings_len = (uint32_t)strings.len;
    if (err == SBX_OK)
        err = sbx_guard_write(guard->socket, &r, sbx_buf_view(&strings).data);
    sbx_buf_deinit(&strings);
    return err;
}

sbx_err sbx_guard_spawn(sbx_guard *guard, char *const argv[], char *const env_extra[], const char *log_path,
                        uint32_t *ret_child)
{
    if (guard->socket < 0)
        return SBX_E_CLOSED;
    guard_child *child = calloc(1, sizeof *child);
    if (child == NULL)
        return SBX_E_NOMEM;
    child->number = ++guard->last_child;
    sbx_err err = send_spawn(guard, child->number, argv, env_extra, log_path);
    if (err != SBX_OK) {
        free(child);
        return err;
    }
    sbx_list_push_back(&guard->children, &child->node);
    *ret_child = child->number;
    return SBX_OK;
}

sbx_err sbx_guard_watch(sbx_guard *guard, uint32_t child, const sbx_guard_events *events)
{
    guard_child *found = find(guard, child);
    if (found == NULL)
        return SBX_E_NOT_FOUND;
    found->watch = events;
    return SBX_OK;
}

sbx_err sbx_guard_kill(sbx_guard *guard, uint32_t child, int signal)
{
    if (guard->socket < 0)
        return SBX_E_CLOSED;
    guard_record r = {.kind = GUARD_KILL, .child = child, .a = signal};
    return sbx_guard_write(guard->socket, &r, NULL);
}

static void wait_for_end(sbx_guard *guard)
{
    for (int ms = 0; ms < END_MS; ms += 2) {
        pid_t pid = waitpid(guard->pid, NULL, WNOHANG);
        if (pid == guard->pid || (pid < 0 && errno == ECHILD))
            return;
        uv_sleep(2);
    }
    kill(guard->pid, SIGKILL);
    kill_orphans(guard);
    waitpid(guard->pid, NULL, 0);
}

void sbx_guard_free(sbx_guard *guard)
{
    if (guard == NULL)
        return;
    close_socket(guard);
    wait_for_end(guard);
    SBX_LIST_EACH(node, &guard->children)
    {
        sbx_list_remove(node);
        free(SBX_CONTAINER_OF(node, guard_child, node));
    }
    sbx_buf_deinit(&guard->input);
    free(guard);
}
