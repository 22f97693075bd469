/* See stack_state.h. */
#include "app/stack_state.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum {
    PATH_SIZE = 1024,
    FILE_MAX = 4096 /* bytes */
};

/* ---- where ---- */

static bool write_folder(char path[PATH_SIZE])
{
    const char *given = getenv("STATE_DIRECTORY"); /* systemd's */
    const char *xdg = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int len = -1;
    if (given != NULL && given[0] == '/')
        len = snprintf(path, PATH_SIZE, "%.*s", (int)strcspn(given, ":"), given);
    else if (xdg != NULL && xdg[0] == '/')
        len = snprintf(path, PATH_SIZE, "%s/signalbox", xdg);
    else if (home != NULL && home[0] == '/')
        len = snprintf(path, PATH_SIZE, "%s/.local/state/signalbox", home);
    return len > 0 && len < PATH_SIZE;
}

/* Controllers of one machine keep theirs apart by what they listen on. */
static bool write_path(const sbx_config *config, char path[PATH_SIZE])
{
    const sbx_config_controller *controller = &config->cluster.controller;
    char folder[PATH_SIZE];
    if (controller->port == 0 || !write_folder(folder))
        return false;
    int len = snprintf(path, PATH_SIZE, "%s/stack-%s-%u.json", folder, controller->bind_address,
                       (unsigned)controller->port);
    return len > 0 && len < PATH_SIZE;
}

static sbx_err find_path(const sbx_config *config, sbx_arena *arena, const char **ret_path)
{
    char path[PATH_SIZE], *copy = NULL;
    *ret_path = config->stack.state_path;
    if (*ret_path != NULL || config->stack.presets.count == 0 || !write_path(config, path))
        return SBX_OK;
    sbx_err err = sbx_arena_dup_cstr(arena, sbx_view_cstr(path), &copy);
    *ret_path = copy;
    return err;
}

/* ---- what ---- */

static const char *preset_named(const sbx_config *config, const char *name)
{
    const sbx_config_presets *presets = &config->stack.presets;
    for (size_t i = 0; name != NULL && i < presets->count; i++) {
        if (strcmp(presets->items[i].name, name) == 0)
            return presets->items[i].name;
    }
    return NULL;
}

/* NULL: it cannot be used. */
static const char *preset_in(const sbx_config *config, const char *text)
{
    cJSON *tree = cJSON_Parse(text);
    const char *found =
        preset_named(config, cJSON_GetStringValue(cJSON_GetObjectItem(tree, "active_stack_preset")));
    cJSON_Delete(tree);
    return found;
}

static const char *read_preset(const sbx_config *config, const char *path)
{
    char text[FILE_MAX + 1];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        if (errno != ENOENT)
            sbx_log(stack_state_ignored, .file = path, .why = strerror(errno));
        return config->stack.active_preset;
    }
    size_t len = fread(text, 1, FILE_MAX, file);
    fclose(file);
    text[len] = '\0';
    const char *found = preset_in(config, text);
    if (found != NULL)
        return found;
    sbx_log(stack_state_ignored, .file = path, .why = "it names no preset of the configuration");
    return config->stack.active_preset;
}

sbx_err sbx_stack_state_load(const sbx_config *config, sbx_arena *arena, sbx_stack_state *ret_state)
{
    sbx_stack_state state = {.active_preset = config->stack.active_preset};
    sbx_err err = find_path(config, arena, &state.path);
    if (err != SBX_OK)
        return err;
    if (state.path != NULL)
        state.active_preset = read_preset(config, state.path);
    *ret_state = state;
    return SBX_OK;
}
