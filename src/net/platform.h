/* What differs between systems in starting processes. Each function may do nothing; the POSIX way does not
 * rely on any of them. */
#ifndef SBX_NET_PLATFORM_H
#define SBX_NET_PLATFORM_H

#include <sys/types.h>

/* In a child just forked: it shall be killed when `parent` ends. Exits when that has happened already. */
void sbx_platform_die_with(pid_t parent);

/* What ps shows for this process. */
void sbx_platform_set_name(const char *name);

#endif
