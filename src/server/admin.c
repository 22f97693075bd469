/* Admin pages: POST /admin/workers/{id}/{drain|undrain|isolate|reset}. With an admin key configured it is
 * asked for (X-Admin-Key or bearer); without one only loopback peers may come here. */
#include <cjson/cJSON.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

#include "base/log.h"
#include "server/reply.h"

/* ---- who may ---- */

/* Digests are compared, in constant time: neither content nor length of the key can be probed. */
static bool is_same_secret(sbx_view given, const char *wanted)
{
    unsigned char a[SHA256_DIGEST_LENGTH], b[SHA256_DIGEST_LENGTH];
    SHA256(given.len == 0 ? (const unsigned char *)"" : given.data, given.len, a);
    SHA256((const unsigned char *)wanted, strlen(wanted), b);
    return CRYPTO_memcmp(a, b, sizeof a) == 0;
}

static sbx_view given_key(const sbx_http_head *head)
{
    sbx_view key = sbx_http_head_get(head, "x-admin-key");
    sbx_view bearer = sbx_http_head_get(head, "authorization");
    if (key.data != NULL)
        return key;
    if (bearer.len > 7 && sbx_view_eq_nocase(sbx_view_slice(bearer, 0, 7), SBX_VIEW("Bearer ")))
        return sbx_view_skip(bearer, 7);
    return (sbx_view){0};
}

bool sbx_admin_may_pass(sbx_server *server, sbx_http_request *request)
{
    const char *wanted = server->options.admin_key;
    sbx_view key = given_key(sbx_http_request_head(request));
    if (wanted == NULL) {
        if (sbx_http_request_is_loopback(request))
            return true;
        sbx_reply_error(server, request, SBX_API_FORBIDDEN,
                        "without a configured admin key only local peers may");
        return false;
    }
    if (key.data == NULL) {
        sbx_reply_error(server, request, SBX_API_UNAUTHORIZED,
                        "an admin key is required (X-Admin-Key or bearer)");
        return false;
    }
    if (!is_same_secret(key, wanted)) {
        sbx_reply_error(server, request, SBX_API_FORBIDDEN, "this is not the admin key");
        return false;
    }
    return true;
}

void sbx_admin_reply_ok(sbx_server *server, sbx_http_request *request)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddBoolToObject(object, "ok", true);
    sbx_reply_json(server, request, 200, object);
}

/* ---- workers ---- */

static const struct {
    const char *name;
    sbx_worker_command command;
} commands[] = {
    {"reset", SBX_COMMAND_RESET},
    {"isolate", SBX_COMMAND_ISOLATE},
    {"drain", SBX_COMMAND_DRAIN},
    {"undrain", SBX_COMMAND_UNDRAIN},
};

static bool command_of(sbx_view name, sbx_worker_command *ret_command)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (sbx_view_eq_cstr(name, commands[i].name)) {
            *ret_command = commands[i].command;
            return true;
        }
    }
    return false;
}

/* Ids of helper endpoints hold one themselves: embedding/0. */
static size_t last_slash(sbx_view path)
{
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < path.len; i++)
        found = path.data[i] == '/' ? i : found;
    return found;
}

void sbx_page_admin_worker(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    sbx_worker_command command;
    size_t slash = last_slash(rest);
    if (!sbx_admin_may_pass(server, request))
        return;
    if (slash == SIZE_MAX || !command_of(sbx_view_skip(rest, slash + 1), &command)) {
        sbx_reply_error(server, request, SBX_API_NOT_FOUND,
                        "expected /admin/workers/{id}/{reset,isolate,drain,undrain}");
        return;
    }
    sbx_view id = sbx_view_slice(rest, 0, slash);
    const sbx_worker *worker = sbx_registry_find(sbx_router_registry(sbx_shell_router(server->shell)), id);
    if (worker == NULL) {
        sbx_reply_error(server, request, SBX_API_NOT_FOUND, "no worker of this id is known");
        return;
    }
    sbx_worker_ref ref = sbx_worker_describe(worker, sbx_shell_now(server->shell)).ref;
    sbx_log(admin_worker, .worker = id, .command = sbx_view_skip(rest, slash + 1));
    sbx_shell_report(server->shell, &(sbx_event){.kind = SBX_EVENT_WORKER_ADMIN,
                                                 .admin = {.worker = ref, .command = command}});
    sbx_admin_reply_ok(server, request);
}

/* POST /admin/config/reload */
void sbx_page_reload(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    if (!sbx_admin_may_pass(server, request))
        return;
    sbx_err err =
        server->options.reload == NULL ? SBX_E_INVALID : server->options.reload(server->options.reload_user);
    if (err == SBX_OK)
        sbx_admin_reply_ok(server, request);
    else
        sbx_reply_error(server, request, SBX_API_CONFLICT,
                        "the configuration cannot be used, the old one stays in force; the log says why");
}
