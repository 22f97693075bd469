/* What the table of keys says, as text: the defaults as a configuration file, the reference page, and one key
 * after the other for shell completion. */
#ifndef SBX_CONFIG_PRINT_H
#define SBX_CONFIG_PRINT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* A configuration file that says every default, each key with its meaning. Loading it gives the same as
 * loading an empty file. SBX_E_NOMEM, SBX_E_CAP. */
sbx_err sbx_config_print_defaults(sbx_buf *buf);

/* docs/configuration.md. SBX_E_NOMEM, SBX_E_CAP. */
sbx_err sbx_config_print_docs(sbx_buf *buf);

/* One row of the table. */
typedef struct sbx_config_key_info {
    const char *path; /* "cluster.controller.port", "backends.<name>.url", "cluster.worker.engines[].url" */
    const char *default_text; /* as in the file; NULL = none */
    const char *const *words; /* what an enumerated key may be, NULL at the end; NULL = not enumerated */
    const char *meaning;
    bool is_secret;
} sbx_config_key_info;

size_t sbx_config_key_count(void);
sbx_config_key_info sbx_config_key_at(size_t index);

/* The environment variable of a key: SIGNALBOX_ and the path without "cluster.", words in capitals, joined by
 * '_' ("cluster.nats.serverUrl" is SIGNALBOX_NATS_SERVER_URL). Writes "" for keys inside lists and maps,
 * which have none. size: at least SBX_CONFIG_ENV_NAME_MAX. */
enum {
    SBX_CONFIG_ENV_NAME_MAX = 128
};
void sbx_config_env_name(const char *path, char *ret_name, size_t size);

#endif
