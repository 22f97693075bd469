/* The managed nats-server: ready fast, private, back on its port after a crash, with a bus on it. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "net/bus.h"
#include "net/nats_server.h"

typedef struct world {
    sbx_guard *guard;
    sbx_loop *loop;
    sbx_nats_server *server;
    sbx_bus *bus;
    int readies, downs, bus_ups;
    uint16_t port;
    bool bus_is_up;
    bool (*until)(struct world *w);
    bool timed_out;
    sbx_timer limit, poll;
} world;

static void on_limit(sbx_timer *timer, void *user)
{
    (void)timer;
    world *w = user;
    w->timed_out = true;
    sbx_loop_stop(w->loop);
}

static void on_poll_timer(sbx_timer *timer, void *user)
{
    world *w = user;
    if (w->until(w))
        sbx_loop_stop(w->loop);
    else
        sbx_timer_start(timer, sbx_loop_now(w->loop) + SBX_MS(1));
}

static long run_until(world *w, bool (*until)(world *w), long limit_ms)
{
    sbx_time_ns start = (sbx_time_ns)uv_hrtime();
    w->until = until;
    w->timed_out = false;
    sbx_timer_start(&w->limit, start + SBX_MS(limit_ms));
    sbx_timer_start(&w->poll, start);
    sbx_loop_run(w->loop);
    sbx_timer_stop(&w->limit);
    sbx_timer_stop(&w->poll);
    assert_false(w->timed_out);
    return (long)sbx_time_to_ms((sbx_time_ns)uv_hrtime() - start);
}

static bool is_ready(world *w)
{
    return w->server != NULL && sbx_nats_server_is_ready(w->server);
}
static bool bus_up(world *w)
{
    return w->bus_is_up;
}
static bool bus_up_again(world *w)
{
    return w->bus_ups == 2 && w->bus_is_up;
}
static bool twice_down(world *w)
{
    return w->downs >= 2;
}

static void on_ready(void *user, const char *url, uint16_t port)
{
    world *w = user;
    assert_non_null(strstr(url, "nats://127.0.0.1:"));
    w->readies++;
    w->port = port;
}

static void on_down(void *user)
{
    world *w = user;
    w->downs++;
}

static void on_bus_state(void *user, bool is_up)
{
    world *w = user;
    w->bus_is_up = is_up;
    w->bus_ups += is_up;
}

static int open_world(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_int_equal(sbx_guard_fork(&w->guard), SBX_OK);
    assert_int_equal(sbx_loop_new(&w->loop), SBX_OK);
    sbx_guard_events events = {.user = w};
    assert_int_equal(sbx_guard_attach(w->guard, w->loop, &events), SBX_OK);
    sbx_timer_init(&w->limit, w->loop, on_limit, w);
    sbx_timer_init(&w->poll, w->loop, on_poll_timer, w);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    sbx_bus_free(w->bus);
    sbx_nats_server_free(w->server);
    sbx_guard_free(w->guard);
    sbx_loop_free(w->loop);
    free(w);
    return 0;
}

static void start_server(world *w, sbx_nats_server_options options)
{
    sbx_errinfo info;
    sbx_nats_server_events events = {.on_ready = on_ready, .on_down = on_down, .user = w};
    assert_int_equal(sbx_nats_server_start(w->loop, w->guard, &options, &events, &w->server, &info), SBX_OK);
}

static void join(world *w, const char *token)
{
    sbx_bus_options options = {.url = sbx_nats_server_url(w->server), .name = "test", .token = token};
    assert_int_equal(sbx_bus_new(w->loop, &options, on_bus_state, w, &w->bus), SBX_OK);
}

static mode_t mode_of(const char *path)
{
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    return s.st_mode & 0777;
}

static void it_is_ready_fast_and_private(void **state)
{
    world *w = *state;
    char path[600];
    start_server(w, (sbx_nats_server_options){0});
    long ms = run_until(w, is_ready, 3000);
    print_message("ready after %ld ms\n", ms);
    assert_true(ms < 500);
    assert_int_equal(strlen(sbx_nats_server_token(w->server)), 32);
    assert_int_equal(mode_of(sbx_nats_server_dir(w->server)), 0700);
    snprintf(path, sizeof path, "%s/nats.conf", sbx_nats_server_dir(w->server));
    assert_int_equal(mode_of(path), 0600);
    join(w, sbx_nats_server_token(w->server));
    run_until(w, bus_up, 2000);
    assert_int_equal(sbx_bus_max_payload(w->bus), 32 * 1024 * 1024);
}

static void the_token_is_on_no_command_line(void **state)
{
    world *w = *state;
    char path[64], text[4096];
    start_server(w, (sbx_nats_server_options){.token = "a-token-of-ours"});
    run_until(w, is_ready, 3000);
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)sbx_nats_server_pid(w->server));
    FILE *file = fopen(path, "r");
    if (file == NULL)
        skip(); /* no /proc here */
    size_t len = fread(text, 1, sizeof text, file);
    fclose(file);
    assert_false(sbx_view_contains(sbx_view_of(text, len), SBX_VIEW("a-token-of-ours")));
    join(w, "a-token-of-ours");
    run_until(w, bus_up, 2000);
}

static bool a_while_passed(world *w)
{
    static sbx_time_ns end;
    if (end == 0)
        end = sbx_loop_now(w->loop) + SBX_MS(400);
    return sbx_loop_now(w->loop) > end;
}

static void a_wrong_token_does_not_get_in(void **state)
{
    world *w = *state;
    start_server(w, (sbx_nats_server_options){0});
    run_until(w, is_ready, 3000);
    join(w, "wrong");
    run_until(w, a_while_passed, 3000);
    assert_false(w->bus_is_up);
}

static void killed_it_is_back_on_its_port_and_the_bus_with_it(void **state)
{
    world *w = *state;
    start_server(w, (sbx_nats_server_options){0});
    run_until(w, is_ready, 3000);
    uint16_t port = w->port;
    pid_t pid = sbx_nats_server_pid(w->server);
    join(w, sbx_nats_server_token(w->server));
    run_until(w, bus_up, 2000);
    kill(pid, SIGKILL);
    long ms = run_until(w, bus_up_again, 3000);
    print_message("bus up again after %ld ms\n", ms);
    assert_true(ms < 900);
    assert_int_equal(w->port, port);
    assert_int_equal(w->readies, 2);
    assert_int_equal(w->downs, 1);
    assert_int_not_equal(sbx_nats_server_pid(w->server), pid);
}

static void a_port_in_use_is_tried_again_until_it_is_free(void **state)
{
    world *w = *state;
    uv_tcp_t taken;
    struct sockaddr_in address;
    int len = sizeof address;
    uv_tcp_init(sbx_loop_uv(w->loop), &taken);
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_bind(&taken, (struct sockaddr *)&address, 0);
    uv_listen((uv_stream_t *)&taken, 1, NULL);
    uv_tcp_getsockname(&taken, (struct sockaddr *)&address, &len);
    start_server(w, (sbx_nats_server_options){.port = ntohs(address.sin_port)});
    run_until(w, twice_down, 5000);
    assert_int_equal(w->readies, 0);
    uv_close((uv_handle_t *)&taken, NULL);
    run_until(w, is_ready, 5000);
    assert_int_equal(w->port, ntohs(address.sin_port));
}

static void nothing_is_left_behind(void **state)
{
    world *w = *state;
    char dir[512];
    start_server(w, (sbx_nats_server_options){0});
    run_until(w, is_ready, 3000);
    pid_t pid = sbx_nats_server_pid(w->server);
    strcpy(dir, sbx_nats_server_dir(w->server));
    sbx_nats_server_free(w->server);
    w->server = NULL;
    assert_int_equal(access(dir, F_OK), -1);
    sbx_guard_free(w->guard);
    w->guard = NULL;
    assert_int_equal(kill(pid, 0), -1);
}

static void bad_options_are_refused(void **state)
{
    world *w = *state;
    sbx_errinfo info;
    sbx_nats_server *server = NULL;
    sbx_nats_server_events events = {.user = w};
    sbx_nats_server_options bad_token = {.token = "with \"quotes\""};
    sbx_nats_server_options bad_bind = {.bind = "127.0.0.1\"\nport: 1"};
    sbx_nats_server_options bad_program = {.program = "/no/such/nats-server"};
    sbx_nats_server_options bad_dir = {.dir = "/no/such/dir"};
    sbx_loop *l = w->loop;
    sbx_guard *g = w->guard;
    assert_int_equal(sbx_nats_server_start(l, g, &bad_token, &events, &server, &info), SBX_E_INVALID);
    assert_int_equal(sbx_nats_server_start(l, g, &bad_bind, &events, &server, &info), SBX_E_INVALID);
    assert_int_equal(sbx_nats_server_start(l, g, &bad_program, &events, &server, &info), SBX_E_NOT_FOUND);
    assert_int_equal(sbx_nats_server_start(l, g, &bad_dir, &events, &server, &info), SBX_E_IO);
    assert_non_null(strstr(info.text, "/no/such/dir"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
        T(it_is_ready_fast_and_private),
        T(the_token_is_on_no_command_line),
        T(a_wrong_token_does_not_get_in),
        T(killed_it_is_back_on_its_port_and_the_bus_with_it),
        T(a_port_in_use_is_tried_again_until_it_is_free),
        T(nothing_is_left_behind),
        T(bad_options_are_refused),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
