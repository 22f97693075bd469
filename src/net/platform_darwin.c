/* macOS has neither: the guard and its parent watch each other, which is enough (net/guard.h). */
#include "net/platform.h"

void sbx_platform_die_with(pid_t parent)
{
    (void)parent;
}

void sbx_platform_set_name(const char *name)
{
    (void)name;
}
