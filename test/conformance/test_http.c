/* Kind http passes the conformance suite; and what only it can do: keep-alive, and HTTP that is broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support_engine.h"
#include "support_suite.h"
#include "transport/http.h"

static void open_http(conf_world *w)
{
    conf_engine *engine = conf_engine_new(w->loop);
    sbx_http_peer_options options = {
        .host = "127.0.0.1",
        .port = conf_engine_port(engine),
        .path_prefix = "",
        .max_concurrent = 16,
        .connect_timeout_ns = SBX_SEC(1),
    };
    w->side = engine;
    assert_int_equal(sbx_http_peer_new(w->loop, &options, &w->peer), SBX_OK);
}

static void close_http(conf_world *w)
{
    conf_engine_free(w->side);
}

static void answer_with(conf_world *w, const conf_answer *answer)
{
    conf_engine_answer_with(w->side, answer);
}

static void die(conf_world *w)
{
    conf_engine_die(w->side);
}

static size_t seen_count(conf_world *w)
{
    return conf_engine_seen_count(w->side);
}

static conf_seen seen(conf_world *w, size_t index)
{
    return conf_engine_seen(w->side, index);
}

static const conf_factory http = {
    .name = "http",
    .open = open_http,
    .close = close_http,
    .answer_with = answer_with,
    .unplug = die,
    .die = die,
    .seen_count = seen_count,
    .seen = seen,
};

/* ---- probes ---- */

typedef struct probe {
    unsigned calls, status;
    char body[256];
} probe;

static void on_probe(void *user, unsigned status, sbx_view body)
{
    probe *p = user;
    p->calls++;
    p->status = status;
    assert_int_equal(sbx_view_to_cstr(body, p->body, sizeof p->body), SBX_OK);
}

static bool has_probed(conf_world *w, const void *what)
{
    (void)w;
    return ((const probe *)what)->calls > 0;
}

static void a_probe_gets_status_and_body_once(void **state)
{
    conf_world *w = *state;
    probe p = {0};
    assert_int_equal(sbx_http_peer_get(w->peer, "/v1/models", SBX_SEC(2), /* max_body: */ 255, on_probe, &p),
                     SBX_OK);
    conf_run_until(w, has_probed, &p, 3000);
    conf_run_for(w, 20);
    assert_int_equal(p.calls, 1);
    assert_int_equal(p.status, 200);
    assert_non_null(strstr(p.body, "\"sim\""));
}

static void a_probe_keeps_no_more_than_it_may(void **state)
{
    conf_world *w = *state;
    probe p = {0};
    assert_int_equal(sbx_http_peer_get(w->peer, "/v1/models", SBX_SEC(2), /* max_body: */ 8, on_probe, &p),
                     SBX_OK);
    conf_run_until(w, has_probed, &p, 3000);
    assert_int_equal(p.status, 200);
    assert_int_equal(strlen(p.body), 8);
}

static void a_probe_of_a_dead_backend_says_0(void **state)
{
    conf_world *w = *state;
    probe p = {0};
    w->factory->die(w);
    assert_int_equal(sbx_http_peer_get(w->peer, "/health", SBX_SEC(2), 255, on_probe, &p), SBX_OK);
    conf_run_until(w, has_probed, &p, 3000);
    assert_int_equal(p.status, 0);
}

static void a_probe_of_a_freed_peer_is_never_answered(void **state)
{
    conf_world *w = *state;
    probe p = {0};
    assert_int_equal(sbx_http_peer_get(w->peer, "/health", SBX_SEC(2), 255, on_probe, &p), SBX_OK);
    w->peer->kind->free_peer(w->peer);
    w->peer = NULL;
    conf_run_for(w, 50);
    assert_int_equal(p.calls, 0);
}

/* ---- connections ---- */

static void a_connection_is_used_again(void **state)
{
    conf_world *w = *state;
    w->factory->answer_with(w, &(conf_answer){.status = 200, .echoes = true});
    for (int i = 0; i < 3; i++) {
        conf_call call = {0};
        conf_start(w, &call, "x");
        conf_run_until(w, conf_is_over, &call, 3000);
        conf_assert_ended_with(&call, 200, SBX_VIEW("x"));
        assert_int_equal(conf_engine_open_count(w->side), 1);
        conf_forget(&call);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONF_TEST(a_probe_gets_status_and_body_once, &http),
        CONF_TEST(a_probe_keeps_no_more_than_it_may, &http),
        CONF_TEST(a_probe_of_a_dead_backend_says_0, &http),
        CONF_TEST(a_probe_of_a_freed_peer_is_never_answered, &http),
        CONF_TEST(a_connection_is_used_again, &http),
    };
    int failed = sbx_transport_conformance(&http);
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
