/* Backends: their model lists, their health checks, and a request to one over real HTTP. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/http_server.h"
#include "support_shell.h"

/* An HTTP engine that answers three pages as the test wishes. */
typedef struct world {
    rig rig; /* its fake peer is not used */
    sbx_http_server *http;
    uint16_t port;
    unsigned health_status;
    const char *models; /* body of /v1/models */
    bool hangs;         /* answers nothing */
    unsigned health_asked, models_asked, chats;
    char last_key[64];
} world;

/* ---- the engine ---- */

static void respond(sbx_http_request *request, unsigned status, const char *body)
{
    sbx_http_header type = {SBX_VIEW("content-type"), SBX_VIEW("application/json")};
    sbx_view piece = sbx_view_cstr(body);
    assert_int_equal(sbx_http_respond(request, status, &type, 1, &piece, 1), SBX_OK);
}

static void on_request(void *user, sbx_http_request *request)
{
    world *w = user;
    const sbx_http_head *head = sbx_http_request_head(request);
    sbx_view key = sbx_http_head_get(head, "authorization");
    assert_int_equal(sbx_view_to_cstr(key, w->last_key, sizeof w->last_key), SBX_OK);
    bool is_health = sbx_view_eq_cstr(head->path, "/health");
    bool is_models = sbx_view_eq_cstr(head->path, "/v1/models");
    w->health_asked += is_health;
    w->models_asked += is_models;
    if (w->hangs)
        return;
    if (is_health) {
        respond(request, w->health_status, "{}");
    } else if (is_models) {
        respond(request, 200, w->models);
    } else {
        w->chats++;
        respond(request, 200, GOOD);
    }
}

static void on_gone(void *user, sbx_http_request *request)
{
    (void)user;
    (void)request;
}

static sbx_view error_body(void *user, unsigned status, const char *message)
{
    (void)user;
    (void)status;
    return sbx_view_cstr(message);
}

static void start_engine(world *w)
{
    sbx_http_server_options options = {
        .max_connections = 100,
        .max_body_bytes = 1 << 20,
        .max_buffered_bytes = 1 << 20,
        .header_timeout_ns = SBX_SEC(10),
        .body_timeout_ns = SBX_SEC(10),
        .keep_alive_timeout_ns = SBX_SEC(10),
        .write_timeout_ns = SBX_SEC(10),
        .high_water_bytes = 1 << 16,
        .arena_cap_bytes = 1 << 16,
    };
    sbx_http_handler handler = {
        .on_request = on_request, .on_gone = on_gone, .error_body = error_body, .user = w};
    sbx_errinfo info;
    assert_int_equal(sbx_http_server_new(w->rig.loop, &options, &handler, &w->http), SBX_OK);
    assert_int_equal(sbx_http_server_listen(w->http, "127.0.0.1", w->port, &w->port, &info), SBX_OK);
}

static void stop_engine(world *w)
{
    sbx_http_server_free(w->http);
    w->http = NULL;
}

/* ---- the world ---- */

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    signal(SIGPIPE, SIG_IGN);
    w->health_status = 200;
    w->models = "{\"data\":[{\"id\":\"sim\"}]}";
    rig_init(&w->rig);
    rig_open(&w->rig, /* workers: */ 0);
    start_engine(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    sbx_http_server *http = w->http;
    if (http != NULL)
        sbx_http_server_free(http);
    rig_close(&w->rig);
    free(w);
    return 0;
}

static void add_backend(world *w, const char *model)
{
    sbx_view models[] = {sbx_view_cstr(model)};
    sbx_backend_options options = {
        .id = SBX_VIEW("b"),
        .peer = {.host = "127.0.0.1",
                 .port = w->port,
                 .path_prefix = "/v1",
                 .api_key = "key",
                 .max_concurrent = 4,
                 .connect_timeout_ns = SBX_SEC(1)},
        .models = models,
        .model_count = model == NULL ? 0 : 1,
        .weight = 100,
        .health_path = "/health",
        .health_interval_ns = SBX_MS(30),
    };
    assert_int_equal(sbx_shell_add_backend(w->rig.shell, &options), SBX_OK);
}

static sbx_worker_info backend(rig *r)
{
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(r->shell));
    const sbx_worker *worker = sbx_registry_find(registry, SBX_VIEW("b"));
    assert_non_null(worker);
    return sbx_worker_describe(worker, sbx_shell_now(r->shell));
}

static bool is_unhealthy(rig *r, const void *unused)
{
    (void)unused;
    return !backend(r).healthy;
}

static bool is_healthy(rig *r, const void *unused)
{
    (void)unused;
    return backend(r).healthy;
}

static bool serves(rig *r, const void *model)
{
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(r->shell));
    return sbx_registry_model_count(registry) == 1 &&
           sbx_view_eq_cstr(sbx_registry_model_at(registry, 0), model);
}

static bool has_checked(rig *r, const void *asked)
{
    (void)r;
    return *(const unsigned *)asked >= 3;
}

/* ---- models ---- */

static void a_backend_with_models_can_be_picked_at_once(void **state)
{
    world *w = *state;
    add_backend(w, "sim");
    assert_true(serves(&w->rig, "sim"));
    assert_true(backend(&w->rig).eligible);
    rig_run_until(&w->rig, has_checked, &w->health_asked, 3000);
    assert_true(backend(&w->rig).healthy);
    assert_true(w->models_asked <= 1); /* once, for the length of its context */
    assert_string_equal(w->last_key, "Bearer key");
}

static void a_backend_without_models_is_asked_for_them(void **state)
{
    world *w = *state;
    w->models = "{\"data\":[{\"id\":\"found\"},{\"id\":\"\"}]}";
    add_backend(w, /* model: */ NULL);
    rig_run_until(&w->rig, serves, "found", 3000);
    assert_int_equal(w->health_asked, 0);
}

static void a_list_of_models_that_changes_is_followed(void **state)
{
    world *w = *state;
    w->models = "{\"data\":[{\"id\":\"one\"}]}";
    add_backend(w, /* model: */ NULL);
    rig_run_until(&w->rig, serves, "one", 3000);
    w->models = "{\"data\":[{\"id\":\"two\"}]}";
    rig_run_until(&w->rig, serves, "two", 3000);
}

static void a_list_that_cannot_be_read_changes_nothing(void **state)
{
    world *w = *state;
    w->models = "{\"data\":[{\"id\":\"one\"}]}";
    add_backend(w, /* model: */ NULL);
    rig_run_until(&w->rig, serves, "one", 3000);
    w->models = "{\"data\":[{\"id\":";
    rig_run_until(&w->rig, is_unhealthy, NULL, 3000);
    assert_true(serves(&w->rig, "one"));
}

static void more_models_than_a_worker_may_have_are_cut_off(void **state)
{
    world *w = *state;
    sbx_buf list;
    sbx_buf_init(&list, SIZE_MAX);
    sbx_buf_append_cstr(&list, "{\"data\":[{\"id\":\"m\"}");
    for (int i = 0; i < 100; i++)
        sbx_buf_appendf(&list, ",{\"id\":\"m%d\"}", i);
    sbx_buf_append_cstr(&list, "]}");
    sbx_buf_append_byte(&list, '\0');
    w->models = (const char *)sbx_buf_view(&list).data;
    add_backend(w, /* model: */ NULL);
    rig_run_until(&w->rig, has_checked, &w->models_asked, 3000);
    assert_int_equal(backend(&w->rig).model_count <= SBX_WORKER_MODELS_MAX, true);
    assert_true(backend(&w->rig).model_count > 0);
    sbx_buf_deinit(&list);
}

/* ---- health ---- */

static void a_failing_check_only_demotes(void **state)
{
    world *w = *state;
    w->health_status = 503;
    add_backend(w, "sim");
    rig_run_until(&w->rig, is_unhealthy, NULL, 3000);
    assert_true(backend(&w->rig).eligible);
    assert_int_equal(backend(&w->rig).breaker, SBX_BREAKER_CLOSED);
    w->health_status = 200;
    rig_run_until(&w->rig, is_healthy, NULL, 3000);
}

static void without_a_health_page_the_list_of_models_tells(void **state)
{
    world *w = *state;
    w->health_status = 404;
    add_backend(w, "sim");
    rig_run_until(&w->rig, has_checked, &w->models_asked, 3000);
    assert_true(backend(&w->rig).healthy);
    w->models = "{\"data\":[{\"id\":\"another\"}]}";
    rig_run_until(&w->rig, is_unhealthy, NULL, 3000);
    assert_true(serves(&w->rig, "sim")); /* what is configured stays */
}

static void a_backend_that_is_gone_is_unhealthy_until_it_is_back(void **state)
{
    world *w = *state;
    add_backend(w, "sim");
    rig_run_until(&w->rig, has_checked, &w->health_asked, 3000);
    stop_engine(w);
    rig_run_until(&w->rig, is_unhealthy, NULL, 3000);
    start_engine(w);
    rig_run_until(&w->rig, is_healthy, NULL, 3000);
}

static void a_check_that_hangs_is_not_followed_by_another(void **state)
{
    world *w = *state;
    w->hangs = true;
    add_backend(w, "sim");
    rig_run_for(&w->rig, 50);
    assert_int_equal(w->health_asked, 1); /* never two at once */
}

/* ---- requests ---- */

static void a_request_reaches_a_backend_over_http(void **state)
{
    world *w = *state;
    client c = {0};
    add_backend(w, "sim");
    client_ask(&w->rig, &c, ASK, /* change: */ NULL);
    rig_run_until(&w->rig, rig_is_over, &c, 3000);
    client_expect_reply(&c, 200);
    assert_string_equal(c.worker, "b");
    assert_int_equal(w->chats, 1);
    client_forget(&c);
}

static void a_dead_backend_is_refused(void **state)
{
    world *w = *state;
    client c = {0};
    add_backend(w, "sim");
    stop_engine(w);
    client_ask(&w->rig, &c, ASK, /* change: */ NULL);
    rig_run_until(&w->rig, rig_is_over, &c, 3000);
    client_expect_reply(&c, 503);
    client_expect_json(&c, "error.code", "WORKER_UNAVAILABLE");
    client_forget(&c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_backend_with_models_can_be_picked_at_once),
        TEST(a_backend_without_models_is_asked_for_them),
        TEST(a_list_of_models_that_changes_is_followed),
        TEST(a_list_that_cannot_be_read_changes_nothing),
        TEST(more_models_than_a_worker_may_have_are_cut_off),
        TEST(a_failing_check_only_demotes),
        TEST(without_a_health_page_the_list_of_models_tells),
        TEST(a_backend_that_is_gone_is_unhealthy_until_it_is_back),
        TEST(a_check_that_hangs_is_not_followed_by_another),
        TEST(a_request_reaches_a_backend_over_http),
        TEST(a_dead_backend_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
