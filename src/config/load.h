/* Loading a configuration: YAML text, the environment and overrides become one validated sbx_config, or a
 * list of everything that is wrong with them. Flags (overrides) beat the environment, that beats the file.
 *
 * No function here logs. All are free of global state: any thread may call them. */
#ifndef SBX_CONFIG_LOAD_H
#define SBX_CONFIG_LOAD_H

#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/view.h"
#include "config/config.h"

/* One value that beats file and environment, normally a flag.
 *
 * key     a key of keys.def outside lists and maps ("cluster.controller.port"), or a whole list or map
 *         ("cluster.worker.engines", "backends")
 * value   a single value verbatim; a list of values separated by commas, or YAML when it begins with '[';
 *         a list or map of mappings as YAML, `[{kind: simulated}]`
 * origin  what problems call it: "--port" */
typedef struct sbx_config_override {
    const char *key;
    const char *value;
    const char *origin;
} sbx_config_override;

/* getenv() with a context; NULL = not set. The text must stay valid while loading. */
typedef const char *sbx_config_env_fn(void *user, const char *name);

typedef struct sbx_config_options {
    sbx_config_env_fn *get_env; /* NULL = an empty environment: no SIGNALBOX_ variables, no ${NAME} */
    void *env_user;
    const sbx_config_override *overrides;
    size_t override_count;
} sbx_config_options;

/* One thing that is wrong. */
typedef struct sbx_config_problem {
    const char *text;   /* the whole line: "file:line:column: key: found ..., expected ..." */
    const char *origin; /* the file, "environment variable X", or an override's origin */
    const char *key;    /* "cluster.controller.port"; "" when it is the text that is no YAML */
    unsigned line;      /* from 1; 0 when the origin is no file */
    unsigned column;    /* from 1, in characters; 0 when the origin is no file */
} sbx_config_problem;

/* In the order of the file, then the environment, then overrides. */
typedef struct sbx_config_problems {
    const sbx_config_problem *items;
    size_t count;
    sbx_arena arena; /* owns all of it */
} sbx_config_problems;

enum {
    SBX_CONFIG_FILE_MAX = 4 * 1024 * 1024, /* bytes of a configuration file */
    SBX_CONFIG_SECRET_MAX = 64 * 1024,     /* bytes of a secret's file */
    SBX_CONFIG_DEPTH_MAX = 32,             /* nested lists and mappings */
    SBX_CONFIG_NODES_MAX = 200000,         /* values of a file, what aliases (*x) repeat included */
    SBX_CONFIG_PROBLEMS_MAX = 1000         /* more than these are not kept */
};

/* Reads a file and loads it. Relative paths in it are taken from its folder. Files of secrets (x_file) are
 * read too.
 *
 * options       NULL = no environment, no overrides; borrowed
 * ret_problems  always set, and to be given to sbx_config_problems_deinit(); empty on SBX_OK
 * ret_config    set on SBX_OK only; give it to sbx_config_free()
 *
 * Returns SBX_OK; SBX_E_NOT_FOUND or SBX_E_IO (no such file, or it cannot be read), SBX_E_INVALID (anything
 * else that is wrong): ret_problems says what; SBX_E_NOMEM. */
sbx_err sbx_config_load_file(const char *path, const sbx_config_options *options,
                             sbx_config_problems *ret_problems, sbx_config **ret_config);

/* The same for text in memory. name: what problems call it. Relative paths stay relative. SBX_E_INVALID,
 * SBX_E_NOMEM. */
sbx_err sbx_config_load_text(const char *name, sbx_view text, const sbx_config_options *options,
                             sbx_config_problems *ret_problems, sbx_config **ret_config);

/* NULL is fine. */
void sbx_config_free(sbx_config *config);

void sbx_config_problems_deinit(sbx_config_problems *problems);

#endif
