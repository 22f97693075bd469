/* What Linux adds to the guard: its children die with it although nobody is there to end them. The
 * mini-controller is stopped, so it cannot; only the kernel can. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "net/guard.h"

static void on_started(void *user, uint32_t child, pid_t pid)
{
    (void)child;
    const int *pipe_end = user;
    ssize_t n = write(*pipe_end, &pid, sizeof pid);
    (void)n;
}

static void run_controller(int pipe_end)
{
    sbx_guard *guard;
    sbx_loop *loop;
    uint32_t child;
    char *argv[] = {"sh", "-c", "trap '' TERM; while :; do sleep 0.05; done", NULL};
    sbx_guard_events events = {.on_started = on_started, .user = &pipe_end};
    if (sbx_guard_fork(&guard) != SBX_OK || sbx_loop_new(&loop) != SBX_OK)
        _exit(1);
    sbx_guard_attach(guard, loop, &events);
    sbx_guard_spawn(guard, argv, NULL, NULL, &child);
    sbx_loop_run(loop);
    _exit(0);
}

/* State letter and parent of a process; '?' when it is gone. */
static char state_of(pid_t pid, int *ret_parent)
{
    char path[64], text[512] = {0}, state = '?';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return '?';
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    const char *end = len > 0 ? strrchr(text, ')') : NULL;
    if (end != NULL)
        sscanf(end + 2, "%c %d", &state, ret_parent);
    return state;
}

static void children_die_with_the_guard(void **state)
{
    (void)state;
    int fds[2], guard = 0, unused;
    pid_t child;
#ifndef __linux__
    skip();
#endif
    assert_int_equal(pipe(fds), 0);
    pid_t controller = fork();
    if (controller == 0)
        run_controller(fds[1]);
    assert_int_equal(read(fds[0], &child, sizeof child), sizeof child);
    assert_true(strchr("RSD", state_of(child, &guard)) != NULL);
    kill(controller, SIGSTOP);
    kill(guard, SIGKILL);
    int ms = 0;
    while (ms < 1000 && strchr("?Z", state_of(child, &unused)) == NULL) {
        uv_sleep(1);
        ms++;
    }
    kill(controller, SIGKILL);
    waitpid(controller, NULL, 0);
    assert_in_range(ms, 0, 999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_die_with_the_guard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
