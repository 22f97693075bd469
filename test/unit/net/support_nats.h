/* A real nats-server for tests, on loopback and a free port, which can be killed and started again there. */
#ifndef SUPPORT_NATS_H
#define SUPPORT_NATS_H

#include <stdint.h>
#include <sys/types.h>

typedef struct support_nats {
    pid_t pid;
    uint16_t port;
    char dir[64];
    char url[64];
    char conf_path[96]; /* "": none */
} support_nats;

/* Aborts the test when it cannot. */
void support_nats_start(support_nats *server);
/* With a configuration; "%s" in it stands for the server's directory. files(dir) may put files there first.
 */
void support_nats_start_with(support_nats *server, const char *conf, void (*files)(const char *dir));
void support_nats_kill(support_nats *server);    /* SIGKILL, reaped */
void support_nats_restart(support_nats *server); /* on the same port */
void support_nats_stop(support_nats *server);    /* and removes its directory */

#endif
