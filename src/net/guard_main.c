/* The guard process: waits for records, for children that exit, and for the end of its parent. One thread, no
 * loop: poll() over the socket and a pipe that the SIGCHLD handler writes to. */
#include "net/guard_main.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "net/guard.h"
#include "net/guard_wire.h"
#include "net/platform.h"
#include "net/process.h"

typedef struct guarded {
    sbx_list_node node;
    uint32_t child;
    pid_t pid;
} guarded;

typedef struct guard_state {
    int socket;
    sbx_buf input;
    sbx_list children;
} guard_state;

static int child_pipe[2];

static void on_child(int signal)
{
    (void)signal;
    int saved = errno;
    ssize_t n = write(child_pipe[1], "c", 1); /* full: one is there already */
    (void)n;
    errno = saved;
}

/* ---- children ---- */

static guarded *find(guard_state *g, uint32_t child)
{
    SBX_LIST_EACH(node, &g->children)
    {
        guarded *c = SBX_CONTAINER_OF(node, guarded, node);
        if (c->child == child)
            return c;
    }
    return NULL;
}

static void tell(guard_state *g, guard_record_kind kind, uint32_t child, int32_t a, int32_t b)
{
    guard_record record = {.kind = kind, .child = child, .a = a, .b = b};
    sbx_guard_write(g->socket, &record, NULL); /* the end of the parent shows in the next read */
}

/* To its whole session; to the process alone in the moment before it has made one. */
static void send_signal(const guarded *c, int signal)
{
    if (kill(-c->pid, signal) != 0)
        kill(c->pid, signal);
}

/* Looks without reaping: the number stays taken until all that it started has had its KILL, too. */
static bool has_exited(const guarded *c)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == c->pid;
}

static void reap_all(guard_state *g)
{
    SBX_LIST_EACH(node, &g->children)
    {
        guarded *c = SBX_CONTAINER_OF(node, guarded, node);
        int status = 0;
        if (!has_exited(c))
            continue;
        kill(-c->pid, SIGKILL);
        waitpid(c->pid, &status, 0);
        tell(g, GUARD_EXITED, c->child, WIFEXITED(status) ? WEXITSTATUS(status) : 0,
             WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        sbx_list_remove(&c->node);
        free(c);
    }
}

static void kill_all(guard_state *g, int signal)
{
    SBX_LIST_EACH(node, &g->children)
    send_signal(SBX_CONTAINER_OF(node, guarded, node), signal);
}

/* ---- spawn ---- */

/* Strings that lie one after the other become arrays that end with NULL; false when they do not add up. */
static bool split(const guard_record *r, char *strings, char *argv[], char *env[], char **ret_log)
{
    char *end = strings + r->strings_len;
    int total = r->a + r->b + 1;
    if (r->a < 1 || r->b < 0 || r->a >= GUARD_STRINGS_MAX || r->b >= GUARD_STRINGS_MAX)
        return false;
    for (int i = 0; i < total; i++) {
        if (strings >= end)
            return false;
        if (i < r->a)
            argv[i] = strings;
        else if (i < r->a + r->b)
            env[i - r->a] = strings;
        else
            *ret_log = strings;
        strings += strlen(strings) + 1;
    }
    argv[r->a] = NULL;
    env[r->b] = NULL;
    return true;
}

static bool start_child(guard_state *g, uint32_t child, const sbx_process_spec *spec)
{
    guarded *c = calloc(1, sizeof *c);
    if (c == NULL || sbx_process_start(spec, &c->pid) != SBX_OK) {
        free(c);
        return false;
    }
    c->child = child;
    sbx_list_push_back(&g->children, &c->node);
    tell(g, GUARD_STARTED, child, (int32_t)c->pid, 0);
    return true;
}

static void spawn(guard_state *g, const guard_record *r, const char *strings)
{
    char *argv[GUARD_STRINGS_MAX], *env[GUARD_STRINGS_MAX], *log_path = NULL;
    char *copy = malloc(r->strings_len + 1);
    bool ok = copy != NULL;
    if (ok) {
        memcpy(copy, strings, r->strings_len);
        copy[r->strings_len] = '\0';
        ok = split(r, copy, argv, env, &log_path);
    }
    sbx_process_spec spec = {.argv = argv, .env_extra = env, .log_path = log_path};
    if (ok && *log_path == '\0')
        spec.log_path = NULL;
    if (!ok || !start_child(g, r->child, &spec))
        tell(g, GUARD_EXITED, r->child, 127, 0);
    free(copy);
}

/* ---- serving ---- */

static void obey(guard_state *g, const guard_record *r, const char *strings)
{
    if (r->kind == GUARD_SPAWN) {
        spawn(g, r, strings);
    } else if (r->kind == GUARD_KILL) {
        guarded *c = find(g, r->child);
        if (c != NULL)
            send_signal(c, r->a);
    }
}

/* False: the parent has ended. */
static bool serve_socket(guard_state *g)
{
    sbx_err err = sbx_guard_read(g->socket, &g->input);
    if (err == SBX_E_AGAIN)
        return true;
    if (err != SBX_OK)
        return false;
    guard_record r;
    const char *strings;
    while (sbx_guard_next(&g->input, &r, &strings)) {
        obey(g, &r, strings);
        sbx_guard_consume(&g->input, &r);
    }
    return true;
}

static void drain_child_pipe(void)
{
    char bytes[64];
    while (read(child_pipe[0], bytes, sizeof bytes) > 0)
        continue;
}

static void serve(guard_state *g)
{
    struct pollfd p[] = {{.fd = g->socket, .events = POLLIN}, {.fd = child_pipe[0], .events = POLLIN}};
    for (;;) {
        if (poll(p, 2, /* timeout_ms= */ -1) < 0 && errno != EINTR)
            return;
        if (p[0].revents != 0 && !serve_socket(g))
            return;
        drain_child_pipe();
        reap_all(g);
    }
}

static void end_children(guard_state *g)
{
    kill_all(g, SIGTERM);
    struct timespec step = {.tv_nsec = 5 * 1000 * 1000};
    for (int ms = 0; ms < SBX_GUARD_GRACE_MS && !sbx_list_is_empty(&g->children); ms += 5) {
        reap_all(g);
        if (!sbx_list_is_empty(&g->children))
            nanosleep(&step, NULL);
    }
    kill_all(g, SIGKILL);
    while (!sbx_list_is_empty(&g->children)) {
        reap_all(g);
        if (!sbx_list_is_empty(&g->children))
            nanosleep(&step, NULL);
    }
}

/* ---- start ---- */

/* Only our parent's end ends us: TERM and Ctrl-C are for it to answer. */
static void set_signals(void)
{
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        sigaction(ignored[i], &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP}, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool make_child_pipe(void)
{
    if (pipe(child_pipe) != 0)
        return false;
    for (int i = 0; i < 2; i++)
        fcntl(child_pipe[i], F_SETFL, O_NONBLOCK);
    return true;
}

int sbx_guard_main(int socket)
{
    guard_state g = {.socket = socket};
    sbx_buf_init(&g.input, 2 * GUARD_RECORD_MAX);
    sbx_list_init(&g.children);
    setsid();
    sbx_platform_set_name("signalbox-guard");
    if (!make_child_pipe())
        return 1;
    sbx_process_close_on_exec(STDERR_FILENO + 1);
    set_signals();
    serve(&g);
    end_children(&g);
    sbx_buf_deinit(&g.input);
    return 0;
}
