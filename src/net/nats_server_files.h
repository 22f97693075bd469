/* The managed nats-server's program, directory, configuration and ports file. */
#ifndef SBX_NET_NATS_SERVER_FILES_H
#define SBX_NET_NATS_SERVER_FILES_H

#include <sys/types.h>

#include "base/err.h"
#include "net/nats_server.h"

enum {
    NATS_PATH_MAX = 512,
    NATS_TOKEN_MAX = 256,
    NATS_HOST_MAX = 128,
    NATS_URL_MAX = NATS_HOST_MAX + 32
};

typedef struct nats_files {
    char program[NATS_PATH_MAX];
    char dir[NATS_PATH_MAX]; /* "": not made */
    char conf_path[NATS_PATH_MAX + 32];
    char host[NATS_HOST_MAX];
    char token[NATS_TOKEN_MAX + 1];
    uint16_t port; /* 0: a free one */
} nats_files;

/* Finds the program, makes the directory (0700) and, when none is given, the token. Errors as
 * sbx_nats_server_start. */
sbx_err sbx_nats_files_make(nats_files *files, const sbx_nats_server_options *options,
                            sbx_errinfo *reterr_info);

/* Writes the configuration (0600) for files->port. SBX_E_IO. */
sbx_err sbx_nats_files_write_conf(const nats_files *files);

/* SBX_E_AGAIN: not there, or not complete yet. */
sbx_err sbx_nats_files_read_port(const nats_files *files, pid_t pid, uint16_t *ret_port);

void sbx_nats_files_set_port(nats_files *files, uint16_t port);

/* To connect to from this machine: a bind to all addresses is reached over loopback. */
void sbx_nats_files_url(const nats_files *files, char ret_url[NATS_URL_MAX]);

/* The directory and all in it. Forgets the token. */
void sbx_nats_files_remove(nats_files *files);

#endif
