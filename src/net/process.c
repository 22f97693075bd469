/* Fork and exec. The caller has one thread, so anything may be called between the two. */
#include "net/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/platform.h"

enum {
    EXIT_CANNOT_RUN = 127,
    DESCRIPTORS_MAX = 65536,
    SIGNAL_MAX = 64
};

void sbx_process_close_on_exec(int first)
{
    long limit = sysconf(_SC_OPEN_MAX);
    if (limit < 0 || limit > DESCRIPTORS_MAX)
        limit = DESCRIPTORS_MAX;
    for (int number = first; number < (int)limit; number++)
        fcntl(number, F_SETFD, FD_CLOEXEC);
}

static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int number = 1; number < SIGNAL_MAX; number++)
        sigaction(number, &action, NULL); /* some are not allowed: fine */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void redirect(const char *log_path)
{
    int input = open("/dev/null", O_RDONLY);
    if (input > 0) {
        dup2(input, STDIN_FILENO);
        close(input);
    }
    int output = STDERR_FILENO;
    if (log_path != NULL)
        output = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (output < 0)
        output = STDERR_FILENO;
    dup2(output, STDOUT_FILENO);
    if (output != STDERR_FILENO)
        dup2(output, STDERR_FILENO);
}

static void add_to_environment(const char *entry)
{
    char name[256];
    size_t len = strcspn(entry, "=");
    if (entry[len] != '=' || len >= sizeof name)
        return;
    memcpy(name, entry, len);
    name[len] = '\0';
    setenv(name, entry + len + 1, /* overwrite= */ 1);
}

static void run(const sbx_process_spec *spec)
{
    setsid();
    reset_signals();
    redirect(spec->log_path);
    for (char *const *entry = spec->env_extra; *entry != NULL; entry++)
        add_to_environment(*entry);
    execvp(spec->argv[0], spec->argv);
    fprintf(stderr, "signalbox: cannot run %s: %s\n", spec->argv[0], strerror(errno));
    _exit(EXIT_CANNOT_RUN);
}

/* Exec closes the child's end, and so does its end. */
static void wait_for_exec(int pipe_end)
{
    char unused;
    while (read(pipe_end, &unused, 1) < 0 && errno == EINTR)
        continue;
}

sbx_err sbx_process_start(const sbx_process_spec *spec, pid_t *ret_pid)
{
    int ends[2];
    pid_t parent = getpid();
    if (pipe(ends) != 0)
        return SBX_E_IO;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    pid_t pid = fork();
    if (pid == 0) {
        sbx_platform_die_with(parent);
        run(spec);
    }
    close(ends[1]);
    if (pid > 0)
        wait_for_exec(ends[0]);
    close(ends[0]);
    if (pid < 0)
        return SBX_E_IO;
    *ret_pid = pid;
    return SBX_OK;
}
