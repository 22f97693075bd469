/* The guard: a small process, forked before the loop starts, that starts and watches all our children and ends
 * them when its pipe to us closes, so that nothing survives a kill -9 of the controller (DESIGN 2).
 *
 * We talk to it over a socket pair: spawn, stop; it answers started and exited. The POSIX way is what tests run;
 * platform_linux.c adds PDEATHSIG. */
#ifndef SBX_NET_GUARD_H
#define SBX_NET_GUARD_H

#include <sys/types.h>

#include "base/err.h"
#include "net/loop.h"

typedef struct sbx_guard sbx_guard;

typedef struct sbx_guard_events {
    void (*on_started)(void *user, uint32_t child, pid_t pid);
    void (*on_exited)(void *user, uint32_t child, int exit_code, int signal); /* signal 0: exited */
    void (*on_lost)(void *user); /* the guard itself died; its children are ended by their own watch */
    void *user;
} sbx_guard_events;

/* Forks the guard; call before any thread or loop exists. */
sbx_err sbx_guard_fork(sbx_guard **ret_guard);
/* Puts it on the loop. */
sbx_err sbx_guard_attach(sbx_guard *guard, sbx_loop *loop, const sbx_guard_events *events);

/* argv and env_extra ("NAME=value") end with NULL. Output of the child goes to our stderr, or to log_path. */
sbx_err sbx_guard_spawn(sbx_guard *guard, char *const argv[], char *const env_extra[], const char *log_path,
                        uint32_t *ret_child);
sbx_err sbx_guard_kill(sbx_guard *guard, uint32_t child, int signal);
/* Closes the pipe: the guard ends all children (TERM, then KILL after grace) and itself; waits for it. */
void sbx_guard_free(sbx_guard *guard);

#endif
