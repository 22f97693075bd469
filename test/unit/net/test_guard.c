/* The guard, the POSIX way: this program's own platform functions do nothing, so the kernel's help is off.
 *
 * A mini-controller is forked by each test; it has a guard with children, tells their pids through a pipe,
 * and is then killed or loses its guard. Run with arguments, this program is one of the children. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "net/guard.h"
#include "net/platform.h"

/* In place of platform_linux.c's. */
void sbx_platform_die_with(pid_t parent)
{
    (void)parent;
}
void sbx_platform_set_name(const char *name)
{
    (void)name;
}

static char self_path[512];

/* ---- is it alive? (a zombie is not) ---- */

static bool is_zombie(pid_t pid)
{
    char path[64], text[256] = {0};
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    const char *after_name = len > 0 ? strrchr(text, ')') : NULL;
    return after_name != NULL && after_name[2] == 'Z';
}

static bool is_alive(pid_t pid)
{
    return kill(pid, 0) == 0 && !is_zombie(pid);
}

/* Milliseconds until it is gone; limit_ms when it is not. */
static int wait_gone(pid_t pid, int limit_ms)
{
    int ms = 0;
    while (ms < limit_ms && is_alive(pid)) {
        uv_sleep(1);
        ms++;
    }
    return ms;
}

/* ---- the mini-controller ---- */

enum {
    CHILDREN = 2
};

typedef struct told {
    pid_t guard;
    pid_t children[CHILDREN];
    int lost;
} told;

typedef struct controller {
    sbx_loop *loop;
    sbx_guard *guard;
    int pipe;
    told told;
    int started;
} controller;

static void report(controller *c)
{
    ssize_t n = write(c->pipe, &c->told, sizeof c->told);
    (void)n;
}

static void on_started(void *user, uint32_t child, pid_t pid)
{
    controller *c = user;
    c->told.children[child - 1] = pid;
    c->started++;
    if (c->started == CHILDREN)
        report(c);
}

static void on_lost(void *user)
{
    controller *c = user;
    c->told.lost = 1;
    report(c);
}

static pid_t pid_of_guard_of(pid_t child)
{
    char path[64], text[512] = {0};
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)child);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    if (len > 0)
        sscanf(strrchr(text, ')') + 2, "%*c %d", &parent);
    return parent;
}

static void run_controller(int pipe, char *const child_argv[])
{
    controller c = {.pipe = pipe};
    sbx_guard_events events = {.on_started = on_started, .on_lost = on_lost, .user = &c};
    if (sbx_guard_fork(&c.guard) != SBX_OK || sbx_loop_new(&c.loop) != SBX_OK)
        _exit(1);
    sbx_guard_attach(c.guard, c.loop, &events);
    for (int i = 0; i < CHILDREN; i++) {
        uint32_t child;
        sbx_guard_spawn(c.guard, child_argv, NULL, NULL, &child);
    }
    sbx_loop_run(c.loop);
    _exit(0);
}

typedef struct started {
    pid_t controller;
    int pipe;
    told told;
} started;

static pid_t running_controller; /* ended also when a test fails */

static int end_running_controller(void **state)
{
    (void)state;
    if (running_controller > 0) {
        kill(running_controller, SIGKILL);
        waitpid(running_controller, NULL, 0);
    }
    running_controller = 0;
    return 0;
}

static void start_controller(started *s, char *const child_argv[])
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    s->controller = fork();
    if (s->controller == 0) {
        close(fds[0]);
        run_controller(fds[1], child_argv);
    }
    running_controller = s->controller;
    close(fds[1]);
    s->pipe = fds[0];
    assert_int_equal(read(s->pipe, &s->told, sizeof s->told), sizeof s->told);
    s->told.guard = pid_of_guard_of(s->told.children[0]);
    assert_true(is_alive(s->told.children[0]));
    assert_true(is_alive(s->told.children[1]));
    assert_true(s->told.guard != s->controller && is_alive(s->told.guard));
}

static void end_controller(started *s)
{
    end_running_controller(NULL);
    close(s->pipe);
}

static char *const sleeper[] = {"sleep", "100", NULL};
static char *const stubborn[] = {"sh", "-c", "trap '' TERM; while :; do sleep 0.05; done", NULL};

static void no_child_survives_a_kill_of_the_controller(void **state)
{
    (void)state;
    started s;
    start_controller(&s, sleeper);
    kill(s.controller, SIGKILL);
    for (int i = 0; i < CHILDREN; i++)
        assert_in_range(wait_gone(s.told.children[i], 1000), 0, 999);
    assert_in_range(wait_gone(s.told.guard, 1000), 0, 999);
    end_controller(&s);
}

static void children_that_ignore_term_are_killed_within_a_second(void **state)
{
    (void)state;
    started s;
    start_controller(&s, stubborn);
    uv_sleep(50); /* the trap is set */
    kill(s.controller, SIGKILL);
    int ms = wait_gone(s.told.children[0], 1000) + wait_gone(s.told.children[1], 1000);
    assert_in_range(ms, 200, 999);
    end_controller(&s);
}

static void when_the_guard_is_killed_the_controller_ends_its_children(void **state)
{
    (void)state;
    started s;
    told after;
    start_controller(&s, stubborn);
    kill(s.told.guard, SIGKILL);
    assert_int_equal(read(s.pipe, &after, sizeof after), sizeof after);
    assert_int_equal(after.lost, 1);
    for (int i = 0; i < CHILDREN; i++)
        assert_in_range(wait_gone(s.told.children[i], 1000), 0, 999);
    end_controller(&s);
}

/* A terminal's Ctrl-C goes to the foreground process group. */
static void ctrl_c_reaches_only_the_controller(void **state)
{
    (void)state;
    started s;
    start_controller(&s, sleeper);
    assert_int_equal(getsid(s.told.children[0]), s.told.children[0]);
    assert_int_equal(getsid(s.told.guard), s.told.guard);
    kill(s.told.guard, SIGTERM);
    kill(s.told.guard, SIGINT);
    uv_sleep(50);
    assert_true(is_alive(s.told.guard));
    assert_true(is_alive(s.told.children[1]));
    end_controller(&s);
    assert_in_range(wait_gone(s.told.children[1], 1000), 0, 999);
}

/* ---- in this process: what a child finds, and what we hear of it ---- */

typedef struct world {
    sbx_guard *guard;
    sbx_loop *loop;
    uint32_t exited_child;
    int exit_code, signal;
    int exits, starts, other_exits;
    pid_t pid;
    char log_path[64];
} world;

static void note_started(void *user, uint32_t child, pid_t pid)
{
    (void)child;
    world *w = user;
    w->starts++;
    w->pid = pid;
}

static void note_exited(void *user, uint32_t child, int exit_code, int signal)
{
    world *w = user;
    w->exited_child = child;
    w->exit_code = exit_code;
    w->signal = signal;
    w->exits++;
    sbx_loop_stop(w->loop);
}

static void note_other(void *user, uint32_t child, int exit_code, int signal)
{
    (void)child, (void)exit_code, (void)signal;
    world *w = user;
    w->other_exits++;
    sbx_loop_stop(w->loop);
}

static int open_world(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_int_equal(sbx_guard_fork(&w->guard), SBX_OK);
    assert_int_equal(sbx_loop_new(&w->loop), SBX_OK);
    sbx_guard_events events = {.on_started = note_started, .on_exited = note_exited, .user = w};
    assert_int_equal(sbx_guard_attach(w->guard, w->loop, &events), SBX_OK);
    strcpy(w->log_path, "/tmp/sbx-test-guard-XXXXXX");
    close(mkstemp(w->log_path));
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    sbx_guard_free(w->guard);
    sbx_loop_free(w->loop);
    unlink(w->log_path);
    free(w);
    return 0;
}

static void run_child(world *w, char *const argv[], char *const env[])
{
    uint32_t child;
    assert_int_equal(sbx_guard_spawn(w->guard, argv, env, w->log_path, &child), SBX_OK);
    sbx_loop_run(w->loop);
    assert_int_equal(w->exited_child, child);
}

static void read_log(world *w, char text[4096])
{
    FILE *file = fopen(w->log_path, "r");
    size_t len = fread(text, 1, 4095, file);
    text[len] = '\0';
    fclose(file);
}

static void a_child_starts_clean(void **state)
{
    world *w = *state;
    char text[4096];
    char *argv[] = {self_path, "--describe", NULL};
    char *env[] = {"SBX_TEST_EXTRA=a=b", NULL};
    int inherited = open("/dev/null", O_RDONLY); /* no CLOEXEC: must not reach the child all the same */
    run_child(w, argv, env);
    close(inherited);
    read_log(w, text);
    assert_string_equal(text, "open=0 session=1 blocked=0 pipe_default=1 env=a=b\nto stderr\n");
    assert_int_equal(w->exit_code, 7);
    assert_int_equal(w->signal, 0);
}

static void a_signal_is_reported(void **state)
{
    world *w = *state;
    uint32_t child;
    assert_int_equal(sbx_guard_spawn(w->guard, sleeper, NULL, NULL, &child), SBX_OK);
    assert_int_equal(sbx_guard_kill(w->guard, child, SIGKILL), SBX_OK);
    sbx_loop_run(w->loop);
    assert_int_equal(w->signal, SIGKILL);
    assert_int_equal(w->starts, 1);
    assert_int_equal(w->exits, 1);
    assert_int_equal(kill(w->pid, 0), -1); /* reaped: no zombie */
    assert_int_equal(errno, ESRCH);
}

static void what_a_child_started_dies_with_it(void **state)
{
    world *w = *state;
    char text[4096];
    char *argv[] = {"sh", "-c", "sleep 100 & echo $!", NULL};
    run_child(w, argv, NULL);
    read_log(w, text);
    assert_true(atoi(text) > 1);
    assert_in_range(wait_gone(atoi(text), 1000), 0, 999);
}

static void a_program_that_is_not_there_exits_with_127(void **state)
{
    world *w = *state;
    char text[4096];
    char *argv[] = {"/no/such/program", NULL};
    run_child(w, argv, NULL);
    assert_int_equal(w->exit_code, 127);
    read_log(w, text);
    assert_non_null(strstr(text, "cannot run /no/such/program"));
}

static void a_watched_child_is_told_to_its_watcher(void **state)
{
    world *w = *state;
    uint32_t child;
    char *argv[] = {"true", NULL};
    sbx_guard_events watch = {.on_exited = note_other, .user = w};
    assert_int_equal(sbx_guard_spawn(w->guard, argv, NULL, NULL, &child), SBX_OK);
    assert_int_equal(sbx_guard_watch(w->guard, child, &watch), SBX_OK);
    sbx_loop_run(w->loop);
    assert_int_equal(w->other_exits, 1);
    assert_int_equal(w->exits, 0);
    assert_int_equal(sbx_guard_watch(w->guard, child, &watch), SBX_E_NOT_FOUND);
}

static void too_long_a_command_is_refused(void **state)
{
    world *w = *state;
    uint32_t child;
    char *big = malloc(70000);
    memset(big, 'x', 69999);
    big[69999] = '\0';
    char *argv[] = {"true", big, NULL};
    assert_int_equal(sbx_guard_spawn(w->guard, argv, NULL, NULL, &child), SBX_E_CAP);
    free(big);
}

/* ---- the child's part ---- */

static int describe(void)
{
    int open_count = 0;
    struct sigaction action;
    sigset_t mask;
    for (int number = 3; number < 1024; number++)
        open_count += fcntl(number, F_GETFD) >= 0;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    int blocked = sigismember(&mask, SIGTERM) + sigismember(&mask, SIGCHLD);
    sigaction(SIGPIPE, NULL, &action);
    printf("open=%d session=%d blocked=%d pipe_default=%d env=%s\n", open_count, getsid(0) == getpid(),
           blocked, action.sa_handler == SIG_DFL, getenv("SBX_TEST_EXTRA"));
    fflush(stdout);
    fprintf(stderr, "to stderr\n");
    return 7;
}

int main(int argc, char *argv[])
{
    (void)argv;
    if (argc > 1)
        return describe();
    size_t size = sizeof self_path;
    if (uv_exepath(self_path, &size) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(no_child_survives_a_kill_of_the_controller, end_running_controller),
        cmocka_unit_test_teardown(children_that_ignore_term_are_killed_within_a_second,
                                  end_running_controller),
        cmocka_unit_test_teardown(when_the_guard_is_killed_the_controller_ends_its_children,
                                  end_running_controller),
        cmocka_unit_test_teardown(ctrl_c_reaches_only_the_controller, end_running_controller),
#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
        T(a_child_starts_clean),
        T(a_signal_is_reported),
        T(what_a_child_started_dies_with_it),
        T(a_program_that_is_not_there_exits_with_127),
        T(a_watched_child_is_told_to_its_watcher),
        T(too_long_a_command_is_refused),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
