/* See settings.h. */
#include "app/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

void sbx_settings_init(sbx_settings *settings)
{
    *settings = (sbx_settings){0};
    sbx_arena_init(&settings->arena, 1 << 20);
}

void sbx_settings_deinit(sbx_settings *settings)
{
    sbx_arena_deinit(&settings->arena);
}

void sbx_settings_override(sbx_settings *settings, const char *key, const char *value, const char *origin)
{
    if (settings->override_count == SBX_SETTINGS_OVERRIDES_MAX) {
        fprintf(stderr, "signalbox: more than %d settings on the command line\n", SBX_SETTINGS_OVERRIDES_MAX);
        exit(2);
    }
    settings->overrides[settings->override_count++] =
        (sbx_config_override){.key = key, .value = value, .origin = origin};
}

/* ---- flags ---- */

static const struct {
    const char *flag;
    const char *key;
} flags[] = {
    {"--port", "cluster.controller.port"},
    {"--bind", "cluster.controller.bindAddress"},
    {"--log-level", "logging.level"},
    {"--log-format", "logging.format"},
};

const char *sbx_settings_argument(int argc, char **argv, int *index)
{
    if (*index + 1 >= argc) {
        fprintf(stderr, "signalbox: %s needs a value\n", argv[*index]);
        return NULL;
    }
    *index += 1;
    return argv[*index];
}

/* KEY=VALUE */
static bool take_set(sbx_settings *settings, const char *text)
{
    const char *equals = strchr(text, '=');
    char *key = NULL;
    if (equals == NULL || equals == text ||
        sbx_arena_dup_cstr(&settings->arena, sbx_view_of(text, (size_t)(equals - text)), &key) != SBX_OK) {
        fprintf(stderr, "signalbox: --set: found \"%s\", expected KEY=VALUE\n", text);
        return false;
    }
    sbx_settings_override(settings, key, equals + 1, "--set");
    return true;
}

bool sbx_settings_take_flag(sbx_settings *settings, int argc, char **argv, int *index, bool *ret_bad)
{
    const char *flag = argv[*index];
    const char *key = NULL;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (strcmp(flag, flags[i].flag) == 0)
            key = flags[i].key;
    }
    bool is_config = strcmp(flag, "--config") == 0;
    bool is_set = strcmp(flag, "--set") == 0;
    if (key == NULL && !is_config && !is_set)
        return false;
    const char *value = sbx_settings_argument(argc, argv, index);
    if (value == NULL)
        *ret_bad = true;
    else if (is_config)
        settings->config_path = value;
    else if (is_set)
        *ret_bad = *ret_bad || !take_set(settings, value);
    else
        sbx_settings_override(settings, key, value, flag);
    return true;
}

/* ---- loading ---- */

static const char *get_env(void *user, const char *name)
{
    (void)user;
    return getenv(name);
}

static sbx_log_level level_of(sbx_config_log_level level)
{
    switch (level) {
    case SBX_CONFIG_LOG_DEBUG:
        return SBX_LOG_DEBUG;
    case SBX_CONFIG_LOG_INFO:
        return SBX_LOG_INFO;
    case SBX_CONFIG_LOG_WARN:
        return SBX_LOG_WARN;
    case SBX_CONFIG_LOG_ERROR:
        return SBX_LOG_ERROR;
    }
    return SBX_LOG_INFO;
}

static int open_log(const sbx_config *config)
{
    bool is_terminal = config->logging.path == NULL && isatty(STDERR_FILENO);
    bool is_text = config->logging.format == SBX_CONFIG_LOG_TEXT ||
                   (config->logging.format == SBX_CONFIG_LOG_AUTO && is_terminal);
    sbx_err err = sbx_log_open(level_of(config->logging.level), is_text ? SBX_LOG_TEXT : SBX_LOG_JSON,
                               config->logging.path);
    if (err == SBX_OK)
        return 0;
    fprintf(stderr, "signalbox: logging.file: %s: %s\n", config->logging.path, sbx_err_text(err));
    return 1;
}

int sbx_settings_load(const sbx_settings *settings, sbx_config **ret_config)
{
    sbx_config_options options = {
        .get_env = get_env, .overrides = settings->overrides, .override_count = settings->override_count};
    sbx_config_problems problems;
    sbx_err err = settings->config_path != NULL
                      ? sbx_config_load_file(settings->config_path, &options, &problems, ret_config)
                      : sbx_config_load_text("defaults", SBX_VIEW(""), &options, &problems, ret_config);
    for (size_t i = 0; i < problems.count; i++)
        fprintf(stderr, "%s\n", problems.items[i].text);
    if (err != SBX_OK && problems.count == 0)
        fprintf(stderr, "signalbox: %s\n", sbx_err_text(err));
    sbx_config_problems_deinit(&problems);
    if (err != SBX_OK)
        return 2;
    return open_log(*ret_config);
}
