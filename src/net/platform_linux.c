/* Linux's extras. */
#include "net/platform.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

/* The signal comes when the forking thread ends; the guard has one thread only. */
void sbx_platform_die_with(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
}

void sbx_platform_set_name(const char *name)
{
    prctl(PR_SET_NAME, name);
}
