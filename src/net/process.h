/* Starting one child process, cleanly. Used by the guard only, which has one thread and nothing open. */
#ifndef SBX_NET_PROCESS_H
#define SBX_NET_PROCESS_H

#include <sys/types.h>

#include "base/err.h"

typedef struct sbx_process_spec {
    char *const *argv;      /* ends with NULL */
    char *const *env_extra; /* "NAME=value", ends with NULL */
    const char *log_path;   /* NULL: the parent's stderr */
} sbx_process_spec;

/* Forks and executes, and returns when the program runs (or could not); net/guard.h says in what state. A
 * program that cannot be executed says why on its stderr and exits with 127. SBX_E_IO: no process could be
 * made. */
sbx_err sbx_process_start(const sbx_process_spec *spec, pid_t *ret_pid);

/* Marks every descriptor from `first` on that is open now as closed on exec. */
void sbx_process_close_on_exec(int first);

#endif
