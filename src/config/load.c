/* One load from the file's name to the configuration or its problems. */
#include "config/load.h"

#include <errno.h>
#include <stdlib.h>

#include "config/values_priv.h"
#include "config/walk_priv.h"
#include "config/yaml_priv.h"

enum {
    CONFIG_CAP = 256 * 1024 * 1024,
    PROBLEMS_CAP = 16 * 1024 * 1024
};

/* The configuration and the memory it owns; what callers hold points to the middle of it. */
struct holder {
    sbx_arena arena;
    sbx_config config;
};

static struct holder *holder_new(void)
{
    struct holder *made = calloc(1, sizeof *made);
    if (made != NULL)
        sbx_arena_init(&made->arena, CONFIG_CAP);
    return made;
}

static void holder_free(struct holder *holder)
{
    if (holder == NULL)
        return;
    sbx_arena_deinit(&holder->arena);
    free(holder);
}

void sbx_config_free(sbx_config *config)
{
    if (config != NULL)
        holder_free((struct holder *)(void *)((char *)config - offsetof(struct holder, config)));
}

/* Fills the configuration from text; what is wrong is in the load's list afterwards. */
static void fill(sbx_load *load, const sbx_origin *origin, sbx_view text, sbx_config *config)
{
    sbx_node *root = NULL;
    load->schema = sbx_schema_new(&load->scratch);
    if (load->schema == NULL) {
        load->out_of_memory = true;
        return;
    }
    if (!sbx_yaml_read(load, origin, text, &root))
        return;
    sbx_override_tree(load, &root);
    sbx_walk_tree(load, root, config);
    if (!load->out_of_memory)
        sbx_check_config(load, root, config);
}

static sbx_err outcome(const sbx_load *load, sbx_err read_err, sbx_config_problems *ret_problems)
{
    if (load->out_of_memory)
        return SBX_E_NOMEM;
    if (load->problem_count == 0)
        return SBX_OK;
    sbx_err err = sbx_load_give_problems(load, ret_problems);
    if (err != SBX_OK)
        return err;
    return read_err == SBX_OK ? SBX_E_INVALID : read_err;
}

static sbx_view folder_of(sbx_view path)
{
    while (path.len > 0 && path.data[path.len - 1] != '/')
        path.len--;
    return path;
}

static sbx_err read_file(sbx_load *load, const sbx_origin *origin, sbx_view *ret_text)
{
    const char *why = "";
    sbx_err err = sbx_file_read(load, origin->name, SBX_CONFIG_FILE_MAX, ret_text, &why);
    if (err == SBX_OK || err == SBX_E_NOMEM)
        return err;
    sbx_load_problem(load, (sbx_place){.origin = origin},
                     "found no readable file (%s), expected a configuration", why);
    return err == SBX_E_CAP ? SBX_E_INVALID : err;
}

/* text NULL: the file is read. */
static sbx_err load_any(const char *name, const sbx_view *text, const sbx_config_options *options,
                        sbx_config_problems *ret_problems, sbx_config **ret_config)
{
    sbx_load load;
    sbx_origin origin = {.name = name, .is_file = true};
    sbx_view content = {0};
    sbx_err read_err = SBX_OK;
    *ret_problems = (sbx_config_problems){0};
    sbx_arena_init(&ret_problems->arena, PROBLEMS_CAP);
    struct holder *holder = holder_new();
    if (holder == NULL)
        return SBX_E_NOMEM;

    sbx_load_init(&load, &holder->arena, options);
    if (text == NULL) {
        load.folder = folder_of(sbx_view_cstr(name));
        read_err = read_file(&load, &origin, &content);
    } else {
        content = *text;
    }
    if (read_err == SBX_OK)
        fill(&load, &origin, content, &holder->config);
    sbx_err err = outcome(&load, read_err, ret_problems);
    sbx_load_deinit(&load);
    if (err == SBX_OK)
        *ret_config = &holder->config;
    else
        holder_free(holder);
    return err;
}

sbx_err sbx_config_load_file(const char *path, const sbx_config_options *options,
                             sbx_config_problems *ret_problems, sbx_config **ret_config)
{
    return load_any(path, NULL, options, ret_problems, ret_config);
}

sbx_err sbx_config_load_text(const char *name, sbx_view text, const sbx_config_options *options,
                             sbx_config_problems *ret_problems, sbx_config **ret_config)
{
    return load_any(name, &text, options, ret_problems, ret_config);
}
