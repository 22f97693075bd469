/* From the command line to a loaded configuration: flags beat the environment, that beats the file. */
#ifndef SBX_APP_SETTINGS_H
#define SBX_APP_SETTINGS_H

#include <stdbool.h>

#include "config/load.h"

enum {
    SBX_SETTINGS_OVERRIDES_MAX = 64
};

typedef struct sbx_settings {
    const char *config_path; /* NULL: none was given */
    sbx_config_override overrides[SBX_SETTINGS_OVERRIDES_MAX];
    size_t override_count;
    sbx_arena arena; /* of what the overrides point to */
} sbx_settings;

void sbx_settings_init(sbx_settings *settings);
void sbx_settings_deinit(sbx_settings *settings);

/* The value beats file and environment. Both are kept. */
void sbx_settings_override(sbx_settings *settings, const char *key, const char *value, const char *origin);

/* Takes the flags that every command with a configuration has, at argv[*index]: --config, --set, --port,
 * --bind,
 * --log-level, --log-format. Moves *index past what it took. false: not such a flag. Says what is wrong on
 * stderr and sets *ret_bad. */
bool sbx_settings_take_flag(sbx_settings *settings, int argc, char **argv, int *index, bool *ret_bad);

/* The argument of the flag at argv[*index], moving *index; NULL and a message when there is none. */
const char *sbx_settings_argument(int argc, char **argv, int *index);

/* Prints all problems, one a line, to stderr. Returns 0, or the exit code. Opens the log as configured. */
int sbx_settings_load(const sbx_settings *settings, sbx_config **ret_config);

#endif
