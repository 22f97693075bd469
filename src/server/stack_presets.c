/* Stack presets: shown, and switched. A switch is checked first, then kept in the state file, then made
 * between two requests, all roles at once; so whatever moment a kill hits, the file names a preset that was
 * asked for, whole. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "server/reply.h"
#include "server/stack.h"

const sbx_config_preset *sbx_stack_preset(const sbx_server *server, sbx_view name)
{
    const sbx_config_presets *presets = &server->options.config->stack.presets;
    for (size_t i = 0; i < presets->count; i++) {
        if (sbx_view_eq_cstr(name, presets->items[i].name))
            return &presets->items[i];
    }
    return NULL;
}

/* ---- a new configuration ---- */

const char *sbx_server_preset_after(const sbx_server *server, const sbx_config *config)
{
    const sbx_config_presets *presets = &config->stack.presets;
    for (size_t i = 0; server->active_preset != NULL && i < presets->count; i++) {
        if (strcmp(presets->items[i].name, server->active_preset) == 0)
            return presets->items[i].name;
    }
    return config->stack.active_preset;
}

void sbx_server_use_config(sbx_server *server, const sbx_server_options *options)
{
    server->active_preset = sbx_server_preset_after(server, options->config);
    server->options.config = options->config;
    server->options.admin_key = options->admin_key;
    server->options.allowed_origins = options->allowed_origins;
    server->options.allowed_origin_count = options->allowed_origin_count;
}

/* ---- shown ---- */

cJSON *sbx_stack_presets_object(const sbx_server *server)
{
    const sbx_config_presets *presets = &server->options.config->stack.presets;
    cJSON *object = cJSON_CreateObject();
    for (size_t i = 0; i < presets->count; i++) {
        const sbx_config_preset *preset = &presets->items[i];
        cJSON *entry = cJSON_AddObjectToObject(object, preset->name);
        cJSON_AddStringToObject(entry, "description", preset->description);
        cJSON *roles = cJSON_AddObjectToObject(entry, "roles");
        for (size_t k = 0; k < preset->roles.count; k++)
            sbx_stack_add_models(roles, preset->roles.items[k].name, &preset->roles.items[k].models);
    }
    return object;
}

static void add_active(const sbx_server *server, cJSON *object)
{
    if (server->active_preset == NULL)
        cJSON_AddNullToObject(object, "active_stack_preset");
    else
        cJSON_AddStringToObject(object, "active_stack_preset", server->active_preset);
}

void sbx_page_presets(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    if (!sbx_admin_may_pass(server, request))
        return;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddItemToObject(object, "stack_presets", sbx_stack_presets_object(server));
    add_active(server, object);
    sbx_reply_json(server, request, 200, object);
}

/* ---- checked ---- */

/* {role: models} of the roles that nobody would serve. */
static cJSON *missing_roles(sbx_server *server, const sbx_config_preset *preset, const sbx_policy *policy)
{
    cJSON *missing = cJSON_CreateObject();
    for (size_t i = 0; i < preset->roles.count; i++) {
        const sbx_config_named_list *role = &preset->roles.items[i];
        sbx_view model;
        if (!sbx_router_resolve(sbx_shell_router(server->shell), policy, sbx_view_cstr(role->name), &model))
            sbx_stack_add_models(missing, role->name, &role->models);
    }
    return missing;
}

/* Takes `missing`. The OpenAI error shape, with the roles once more as data. */
static void reply_missing(sbx_server *server, sbx_http_request *request, const char *preset, cJSON *missing)
{
    sbx_buf text;
    sbx_buf_init(&text, 64 * 1024);
    sbx_buf_appendf(&text, "Preset %s is not served whole. Missing: ", preset);
    for (const cJSON *role = missing->child; role != NULL; role = role->next) {
        char *models = cJSON_PrintUnformatted(role);
        sbx_buf_appendf(&text, "%s%s: %s", role == missing->child ? "" : ", ", role->string,
                        models == NULL ? "" : models);
        cJSON_free(models);
    }
    sbx_buf_append_cstr(&text, ". With ?force=true it is activated all the same.");
    sbx_buf_append_byte(&text, '\0');
    bool fits = sbx_buf_error(&text) == SBX_OK;
    cJSON *object = cJSON_CreateObject();
    cJSON *error = cJSON_AddObjectToObject(object, "error");
    cJSON_AddStringToObject(error, "message",
                            fits ? (const char *)sbx_buf_view(&text).data : "roles are missing");
    cJSON_AddStringToObject(error, "type", sbx_api_error_type(SBX_API_CONFLICT));
    cJSON_AddNullToObject(error, "param");
    cJSON_AddStringToObject(error, "code", sbx_api_error_code(SBX_API_CONFLICT));
    cJSON_AddNullToObject(error, "context");
    cJSON_AddItemToObject(object, "missing", missing);
    sbx_buf_deinit(&text);
    sbx_reply_json(server, request, (unsigned)sbx_api_error_status(SBX_API_CONFLICT), object);
}

/* ---- switched ---- */

typedef struct activation {
    sbx_exchange super;
    sbx_server *server;
    sbx_list_node node;
    sbx_http_request *request; /* NULL: its client left; it goes on all the same */
    const sbx_config_preset *preset;
    bool is_forced;
} activation;

static sbx_err switch_to(sbx_server *server, const sbx_config_preset *preset)
{
    sbx_arena memory;
    sbx_policy policy;
    sbx_arena_init(&memory, SIZE_MAX);
    sbx_err err = server->options.make_policy(server->options.config, preset->name, &memory, &policy);
    if (err == SBX_OK)
        err = sbx_shell_use_policy(server->shell, &policy);
    sbx_arena_deinit(&memory);
    return err;
}

static void finish(activation *a, sbx_err err)
{
    sbx_server *server = a->server;
    sbx_http_request *request = a->request;
    const char *before = server->active_preset;
    if (err == SBX_OK)
        err = switch_to(server, a->preset);
    if (err == SBX_OK) {
        server->active_preset = a->preset->name;
        sbx_log(preset_activated, .preset = a->preset->name, .before = sbx_view_cstr(before),
                .forced = a->is_forced);
    }
    sbx_list_remove(&a->node);
    free(a);
    if (request == NULL)
        return;
    sbx_http_request_set_user(request, NULL);
    if (err != SBX_OK) {
        sbx_reply_error(server, request, SBX_API_INTERNAL_ERROR,
                        err == SBX_E_IO ? "the state file cannot be written; nothing was switched" : NULL);
        return;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddBoolToObject(object, "ok", true);
    add_active(server, object);
    sbx_reply_json(server, request, 200, object);
}

static void on_written(void *user, sbx_err err)
{
    finish(user, err);
}

static void on_gone(void *user)
{
    activation *a = user;
    a->request = NULL;
}

static void on_drained(void *user)
{
    (void)user;
}

void sbx_activations_drop(sbx_server *server)
{
    SBX_LIST_EACH(node, &server->activations)
    {
        sbx_list_remove(node);
        free(SBX_CONTAINER_OF(node, activation, node));
    }
}

static sbx_err keep(activation *a)
{
    sbx_buf text;
    sbx_buf_init(&text, 4096);
    sbx_buf_append_cstr(&text, "{\"active_stack_preset\":");
    sbx_buf_append_json(&text, sbx_view_cstr(a->preset->name));
    sbx_buf_append_cstr(&text, "}\n");
    sbx_err err = sbx_buf_error(&text);
    if (err == SBX_OK)
        err = sbx_file_writer_write(a->server->state_writer, sbx_buf_view(&text), on_written, a);
    sbx_buf_deinit(&text);
    return err;
}

static void activate(sbx_server *server, sbx_http_request *request, const sbx_config_preset *preset,
                     bool is_forced)
{
    activation *a = calloc(1, sizeof *a);
    if (a == NULL) {
        sbx_reply_error(server, request, SBX_API_INTERNAL_ERROR, /* message: */ NULL);
        return;
    }
    *a = (activation){.super = {.on_gone = on_gone, .on_drained = on_drained},
                      .server = server,
                      .request = request,
                      .preset = preset,
                      .is_forced = is_forced};
    sbx_list_push_back(&server->activations, &a->node);
    if (server->state_writer == NULL) {
        finish(a, SBX_OK);
        return;
    }
    sbx_http_request_set_user(request, a);
    sbx_err err = keep(a);
    if (err != SBX_OK)
        finish(a, err);
}

/* ---- asked for ---- */

static bool is_forced(const sbx_http_head *head)
{
    sbx_view rest = head->query;
    while (rest.len > 0) {
        size_t end = sbx_view_find(rest, '&', 0);
        sbx_view part = sbx_view_slice(rest, 0, end);
        if (sbx_view_eq_cstr(part, "force=true") || sbx_view_eq_cstr(part, "force=1"))
            return true;
        rest = sbx_view_skip(rest, end == SIZE_MAX ? SIZE_MAX : end + 1);
    }
    return false;
}

/* Answers by itself when roles are missing. */
static bool is_served(sbx_server *server, sbx_http_request *request, const sbx_config_preset *preset)
{
    sbx_arena memory;
    sbx_policy policy;
    sbx_arena_init(&memory, SIZE_MAX);
    sbx_err err = server->options.make_policy(server->options.config, preset->name, &memory, &policy);
    cJSON *missing = err == SBX_OK ? missing_roles(server, preset, &policy) : NULL;
    sbx_arena_deinit(&memory);
    if (missing == NULL) {
        sbx_reply_error(server, request, SBX_API_INTERNAL_ERROR, /* message: */ NULL);
        return false;
    }
    if (missing->child != NULL) {
        reply_missing(server, request, preset->name, missing);
        return false;
    }
    cJSON_Delete(missing);
    return true;
}

/* POST /admin/stack/presets/{name}/activate */
void sbx_page_activate_preset(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    if (!sbx_admin_may_pass(server, request))
        return;
    bool is_command = sbx_view_ends_with(rest, SBX_VIEW("/activate"));
    sbx_view name = sbx_view_slice(rest, 0, rest.len - (is_command ? strlen("/activate") : 0));
    const sbx_config_preset *preset =
        sbx_stack_preset(server, sbx_reply_decode_path(sbx_http_request_arena(request), name));
    bool forced = is_forced(sbx_http_request_head(request));
    if (!is_command)
        sbx_reply_error(server, request, SBX_API_NOT_FOUND, "expected /admin/stack/presets/{name}/activate");
    else if (preset == NULL)
        sbx_reply_error(server, request, SBX_API_NOT_FOUND, "no preset of this name is configured");
    else if (forced || is_served(server, request, preset))
        activate(server, request, preset, forced);
}
