/* Life of the server, and dispatch: which page a request is for. */
#include "server/server.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "server/reply.h"

/* ---- dispatch ---- */

typedef struct route {
    sbx_view method;
    sbx_view path; /* without the '*' */
    bool takes_rest;
    sbx_page_fn *page;
} route;

static const struct {
    const char *method;
    const char *path;
    sbx_page_fn *page;
} routes[] = {
#define GET                              "GET"
#define POST                             "POST"
#define SBX_ROUTE(method, path, handler) {method, path, handler},
#include "server/routes.def"
#undef SBX_ROUTE
#undef GET
#undef POST
};

enum {
    ROUTE_COUNT = sizeof routes / sizeof routes[0]
};

static route route_at(size_t index)
{
    sbx_view path = sbx_view_cstr(routes[index].path);
    bool takes_rest = path.data[path.len - 1] == '*';
    return (route){
        .method = sbx_view_cstr(routes[index].method),
        .path = sbx_view_slice(path, 0, path.len - (takes_rest ? 1 : 0)),
        .takes_rest = takes_rest,
        .page = routes[index].page,
    };
}

static bool leads_to(const route *r, sbx_view path)
{
    return r->takes_rest ? sbx_view_starts_with(path, r->path) && path.len > r->path.len
                         : sbx_view_eq(path, r->path);
}

/* The last route of a path; its methods all together, for Allow. */
static bool find_route(sbx_view method, sbx_view path, route *ret_route, const char **ret_allow)
{
    bool has_get = false, has_post = false, is_found = false;
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        route r = route_at(i);
        if (!leads_to(&r, path))
            continue;
        bool is_get = sbx_view_eq_cstr(r.method, "GET");
        has_get = has_get || is_get;
        has_post = has_post || !is_get;
        if (sbx_view_eq(r.method, method) || (is_get && sbx_view_eq_cstr(method, "HEAD"))) {
            *ret_route = r;
            is_found = true;
        }
    }
    *ret_allow = has_get ? (has_post ? "GET, HEAD, POST, OPTIONS" : "GET, HEAD, OPTIONS")
                         : (has_post ? "POST, OPTIONS" : NULL);
    return is_found;
}

static bool passed_through_already(const sbx_http_head *head)
{
    for (size_t i = 0; i < head->header_count; i++) {
        if (sbx_view_eq_nocase(head->headers[i].name, SBX_VIEW("via")) &&
            sbx_view_contains_nocase(head->headers[i].value, SBX_VIEW("signalbox")))
            return true;
    }
    return false;
}

/* With a listener of its own /admin is there and nowhere else; of the rest that one has what watches it. */
static bool is_behind(const sbx_door *door, sbx_view path)
{
    bool is_admin_page = sbx_view_starts_with(path, SBX_VIEW("/admin/"));
    if (door->is_admin)
        return is_admin_page || sbx_view_eq_cstr(path, "/livez") || sbx_view_eq_cstr(path, "/metrics");
    return !is_admin_page || door->server->admin_http == NULL;
}

static void on_request(void *user, sbx_http_request *request)
{
    const sbx_door *door = user;
    sbx_server *server = door->server;
    const sbx_http_head *head = sbx_http_request_head(request);
    route r = {0};
    const char *allow = NULL;
    bool is_found = find_route(head->method, head->path, &r, &allow);
    if (passed_through_already(head))
        sbx_reply_error(server, request, SBX_API_LOOP_DETECTED, /* message: */ NULL);
    else if (allow == NULL || !is_behind(door, head->path))
        sbx_reply_error(server, request, SBX_API_NOT_FOUND, /* message: */ NULL);
    else if (sbx_view_eq_cstr(head->method, "OPTIONS"))
        sbx_reply_options(server, request, sbx_view_cstr(allow));
    else if (!is_found)
        sbx_reply_not_allowed(server, request, sbx_view_cstr(allow));
    else
        r.page(server, request, sbx_view_skip(head->path, r.path.len));
}

static void on_gone(void *user, sbx_http_request *request)
{
    (void)user;
    sbx_exchange *exchange = sbx_http_request_user(request);
    if (exchange != NULL)
        exchange->on_gone(exchange);
}

static void on_drained(void *user, sbx_http_request *request)
{
    (void)user;
    sbx_exchange *exchange = sbx_http_request_user(request);
    if (exchange != NULL)
        exchange->on_drained(exchange);
}

static sbx_view error_body(void *user, unsigned status, const char *message)
{
    const sbx_door *door = user;
    return sbx_reply_error_text(door->server, status, message);
}

/* ---- life ---- */

static sbx_timer_fn on_drain_timer;

static sbx_err open_door(sbx_server *server, sbx_door *door, sbx_http_server **ret_http)
{
    sbx_http_handler handler = {
        .on_request = on_request,
        .on_gone = on_gone,
        .on_drained = on_drained,
        .error_body = error_body,
        .user = door,
    };
    return sbx_http_server_new(server->loop, &server->options.http, &handler, ret_http);
}

sbx_err sbx_server_new(sbx_loop *loop, sbx_shell *shell, const sbx_server_options *options,
                       sbx_server **ret_server)
{
    sbx_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return SBX_E_NOMEM;
    server->loop = loop;
    server->shell = shell;
    server->options = *options;
    server->started_at = sbx_loop_now(loop);
    server->started_unix = (int64_t)time(NULL);
    sbx_rng_seed(&server->rng, options->seed);
    server->hash_key = (sbx_siphash_key){.k0 = sbx_rng_next(&server->rng), .k1 = sbx_rng_next(&server->rng)};
    sbx_buf_init(&server->scratch, 1 << 20);
    sbx_timer_init(&server->drain_timer, loop, on_drain_timer, server);
    server->public_door = (sbx_door){.server = server};
    server->admin_door = (sbx_door){.server = server, .is_admin = true};
    server->active_preset = options->active_preset;
    sbx_list_init(&server->activations);
    sbx_err err = open_door(server, &server->public_door, &server->http);
    if (err == SBX_OK && options->state_path != NULL)
        err = sbx_file_writer_new(loop, options->state_path, &server->state_writer);
    if (err != SBX_OK) {
        sbx_http_server_free(server->http);
        free(server);
        return err;
    }
    *ret_server = server;
    return SBX_OK;
}

sbx_err sbx_server_listen(sbx_server *server, const char *host, uint16_t port, uint16_t *ret_port,
                          sbx_errinfo *reterr_info)
{
    return sbx_http_server_listen(server->http, host, port, ret_port, reterr_info);
}

sbx_err sbx_server_listen_admin(sbx_server *server, const char *host, uint16_t port, uint16_t *ret_port,
                                sbx_errinfo *reterr_info)
{
    sbx_err err = open_door(server, &server->admin_door, &server->admin_http);
    if (err == SBX_OK)
        err = sbx_http_server_listen(server->admin_http, host, port, ret_port, reterr_info);
    return err;
}

void sbx_server_free(sbx_server *server)
{
    if (server == NULL)
        return;
    sbx_timer_stop(&server->drain_timer);
    sbx_http_server_free(server->http);
    sbx_http_server_free(server->admin_http);
    sbx_file_writer_free(server->state_writer);
    sbx_activations_drop(server);
    sbx_buf_deinit(&server->scratch);
    free(server);
}

/* ---- drain: readiness 503, grace, no admissions, wait for what runs, done ---- */

static const sbx_time_ns drain_poll = SBX_MS(20);

static uint32_t answering(const sbx_server *server)
{
    uint32_t count = sbx_http_server_answering(server->http);
    return count + (server->admin_http == NULL ? 0 : sbx_http_server_answering(server->admin_http));
}

static void finish_drain(sbx_server *server)
{
    sbx_timer_stop(&server->drain_timer);
    server->cut += answering(server); /* the last bytes of an answer count too */
    server->on_drained(server->drained_user, server->cut == 0);
}

static void close_admissions(sbx_server *server)
{
    server->is_closed = true;
    sbx_http_server_close(server->http);
    if (server->admin_http != NULL)
        sbx_http_server_close(server->admin_http);
    sbx_shell_report(server->shell, &(sbx_event){.kind = SBX_EVENT_DRAIN});
}

static void on_drain_timer(sbx_timer *timer, void *user)
{
    sbx_server *server = user;
    sbx_time_ns now = sbx_loop_now(server->loop);
    if (!server->is_closed)
        close_admissions(server);
    bool is_done = sbx_shell_job_count(server->shell) == 0 && answering(server) == 0;
    if (is_done || now >= server->drain_end)
        finish_drain(server);
    else
        sbx_timer_start(timer, sbx_time_add(now, drain_poll));
}

void sbx_server_drain(sbx_server *server, sbx_server_drained_fn *done, void *user)
{
    sbx_time_ns now = sbx_loop_now(server->loop);
    if (server->is_draining) {
        finish_drain(server);
        return;
    }
    server->is_draining = true;
    server->on_drained = done;
    server->drained_user = user;
    server->drain_end =
        sbx_time_add(now, sbx_time_add(server->options.drain_grace_ns, server->options.drain_timeout_ns));
    sbx_log(draining, .in_flight = sbx_shell_job_count(server->shell));
    sbx_timer_start(&server->drain_timer, sbx_time_add(now, server->options.drain_grace_ns));
}

bool sbx_server_is_draining(const sbx_server *server)
{
    return server->is_draining;
}
