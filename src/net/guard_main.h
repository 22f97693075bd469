/* What runs inside the guard process. */
#ifndef SBX_NET_GUARD_MAIN_H
#define SBX_NET_GUARD_MAIN_H

/* Serves the socket until its other end is closed, then ends all children and returns the exit code. */
int sbx_guard_main(int socket);

#endif
