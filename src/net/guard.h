/* The guard: a small process, forked before the loop starts, that starts and watches all our children and
 * ends them when its pipe to us closes, so that nothing survives a kill -9 of the controller (DESIGN 2).
 *
 * We talk to it over a socket pair: spawn, kill; it answers started and exited. Who watches whom:
 *  - we die (even by kill -9): the guard reads the end of the pair, ends all children and itself;
 *  - the guard dies: we read the end of the pair and end its children ourselves, by the pids it told us;
 *  - both die at the same moment: on Linux the kernel ends the children (PDEATHSIG, platform_linux.c).
 * Elsewhere a child is left that does not notice by itself; our own workers notice, nats-server does not.
 *
 * Every child is the leader of its own session (so Ctrl-C at the terminal reaches only us, and a kill reaches
 * what the child started, too), has default signal actions, no signal blocked, /dev/null as input and no
 * descriptor of ours but its log.
 *
 * Threads: the loop's, but for sbx_guard_fork, which comes before any thread. */
#ifndef SBX_NET_GUARD_H
#define SBX_NET_GUARD_H

#include <sys/types.h>

#include "base/err.h"
#include "net/loop.h"

typedef struct sbx_guard sbx_guard;

typedef struct sbx_guard_events {
    void (*on_started)(void *user, uint32_t child, pid_t pid);
    void (*on_exited)(void *user, uint32_t child, int exit_code, int signal); /* signal 0: exited */
    /* The guard itself died. Its children were killed by us just now (no on_exited comes), nothing can be
     * spawned any more: the process should end. */
    void (*on_lost)(void *user);
    void *user;
} sbx_guard_events;

enum {
    SBX_GUARD_GRACE_MS = 500 /* between TERM and KILL when the guard ends everything */
};

/* Forks the guard; call before any thread or loop exists. In the child it does not return.
 * SBX_E_NOMEM, SBX_E_IO. */
sbx_err sbx_guard_fork(sbx_guard **ret_guard);
/* Puts it on the loop. events is copied. Its on_started and on_exited hear of all children that have no watch
 * of their own. SBX_E_NOMEM, SBX_E_IO. */
sbx_err sbx_guard_attach(sbx_guard *guard, sbx_loop *loop, const sbx_guard_events *events);

/* argv and env_extra ("NAME=value") end with NULL; env_extra itself may be NULL. argv[0] is searched in PATH.
 * Output of the child goes to our stderr, or is appended to log_path (mode 0600). A program that cannot be
 * started exits with 127. SBX_E_CLOSED (guard lost), SBX_E_CAP (too long), SBX_E_IO. */
sbx_err sbx_guard_spawn(sbx_guard *guard, char *const argv[], char *const env_extra[], const char *log_path,
                        uint32_t *ret_child);
/* Told to this one child's watcher instead of the general one. events is kept until on_exited or on_lost
 * came; NULL takes the watch away. Call it right after spawn. SBX_E_NOT_FOUND. */
sbx_err sbx_guard_watch(sbx_guard *guard, uint32_t child, const sbx_guard_events *events);

/* To the child and all that it started. Nothing happens when it has exited. SBX_E_CLOSED, SBX_E_IO. */
sbx_err sbx_guard_kill(sbx_guard *guard, uint32_t child, int signal);
/* Closes the pipe: the guard ends all children (TERM, then KILL after grace) and itself; waits for it. NULL
 * is fine. */
void sbx_guard_free(sbx_guard *guard);

#endif
