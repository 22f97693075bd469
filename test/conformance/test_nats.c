/* Kind nats passes the conformance suite: a real nats-server, and a real worker node in a process of its own
 * (this program again, with --worker), whose engine is the suite's HTTP engine on the test's loop. It passes
 * it a second time with every numbered frame delivered twice. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "base/map.h"
#include "codec/bus_frame.h"
#include "support_engine.h"
#include "support_suite.h"
#include "transport/nats.h"
#include "unit/net/support_nats.h"
#include "worker/worker_node.h"

static const char *own_path;

/* ---- the worker's process ---- */

static void on_parent_gone(uv_poll_t *poll, int status, int events)
{
    (void)poll;
    (void)status;
    (void)events;
    _exit(0);
}

static int be_worker(const char *url, const char *port)
{
    static uv_poll_t parent;
    sbx_loop *loop = NULL;
    sbx_worker_node *node = NULL;
    static const char *const models[] = {"sim"};
    sbx_config_engine engine = {
        .kind = SBX_CONFIG_ENGINE_OPENAI,
        .url = {.text = "http://127.0.0.1", .host = "127.0.0.1", .prefix = "", .port = (uint16_t)atoi(port)},
        .models = {.items = models, .count = 1},
        .max_concurrent = 1000,
    };
    sbx_worker_node_options options = {.worker_id = "w1",
                                       .engine = &engine,
                                       .bus = {.url = url, .subject_prefix = ""},
                                       .heartbeat_interval_ms = 200};
    signal(SIGPIPE, SIG_IGN);
    if (sbx_loop_new(&loop) != SBX_OK || sbx_worker_node_new(loop, &options, &node) != SBX_OK)
        return 1;
    uv_poll_init(sbx_loop_uv(loop), &parent, STDIN_FILENO);
    uv_poll_start(&parent, UV_READABLE | UV_DISCONNECT, on_parent_gone);
    sbx_loop_run(loop);
    return 0;
}

/* ---- the side behind the transport ---- */

typedef struct nats_side {
    support_nats server;
    conf_engine *engine;
    sbx_nats_link *link;
    bool is_known; /* the worker registered, its engine is up */
    pid_t worker;
    int lifeline; /* the worker ends when this is closed */
    /* doubling */
    sbx_bus *echo;
    bool echo_is_up;
    sbx_map64 repeated;
} nats_side;

static void start_worker(nats_side *side)
{
    char port[8];
    int ends[2];
    snprintf(port, sizeof port, "%u", (unsigned)conf_engine_port(side->engine));
    assert_int_equal(pipe(ends), 0);
    side->worker = fork();
    assert_true(side->worker >= 0);
    if (side->worker == 0) {
        dup2(ends[0], STDIN_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl(own_path, own_path, "--worker", side->server.url, port, (char *)NULL);
        _exit(127);
    }
    close(ends[0]);
    side->lifeline = ends[1];
}

static void kill_worker(nats_side *side)
{
    if (side->worker <= 0)
        return;
    kill(side->worker, SIGKILL);
    waitpid(side->worker, NULL, 0);
    close(side->lifeline);
    side->worker = 0;
}

static void on_up(void *user, bool is_up)
{
    (void)user;
    (void)is_up;
}

static void on_worker(void *user, const sbx_bus_worker *worker)
{
    nats_side *side = user;
    side->is_known = side->is_known || worker->engine_state == SBX_BUS_ENGINE_UP;
}

static void on_worker_left(void *user, sbx_view id)
{
    (void)user;
    assert_true(sbx_view_eq_cstr(id, "w1"));
}

static bool is_ready(conf_world *w, const void *unused)
{
    const nats_side *side = w->side;
    (void)unused;
    return side->is_known && (side->echo == NULL || side->echo_is_up);
}

static void start_link(conf_world *w, nats_side *side)
{
    sbx_nats_link_options options = {
        .bus = {.url = side->server.url, .name = "controller", .subject_prefix = ""},
        .controller_id = "c1",
        .ping_interval_ns = SBX_MS(200),
        .credit_bytes = 128 * 1024,
    };
    sbx_nats_link_events events = {
        .on_up = on_up, .on_worker = on_worker, .on_worker_left = on_worker_left, .user = side};
    assert_int_equal(sbx_nats_link_new(w->loop, &options, &events, &side->link), SBX_OK);
}

static nats_side *start_side(conf_world *w)
{
    nats_side *side = calloc(1, sizeof *side);
    assert_non_null(side);
    w->side = side;
    support_nats_start(&side->server);
    side->engine = conf_engine_new(w->loop);
    start_link(w, side);
    start_worker(side);
    return side;
}

static void finish_open(conf_world *w)
{
    nats_side *side = w->side;
    conf_run_until(w, is_ready, NULL, 10000);
    assert_int_equal(sbx_nats_peer_new(side->link, SBX_VIEW("w1"), &w->peer), SBX_OK);
}

static void open_nats(conf_world *w)
{
    start_side(w);
    finish_open(w);
}

static void close_nats(conf_world *w)
{
    nats_side *side = w->side;
    kill_worker(side);
    sbx_nats_link_free(side->link);
    if (side->echo != NULL) {
        sbx_bus_free(side->echo);
        sbx_map64_deinit(&side->repeated);
    }
    conf_engine_free(side->engine);
    support_nats_stop(&side->server);
    free(side);
}

static void answer_with(conf_world *w, const conf_answer *answer)
{
    conf_engine_answer_with(((nats_side *)w->side)->engine, answer);
}

static void die(conf_world *w)
{
    kill_worker(w->side);
}

static size_t seen_count(conf_world *w)
{
    return conf_engine_seen_count(((nats_side *)w->side)->engine);
}

static conf_seen seen(conf_world *w, size_t index)
{
    return conf_engine_seen(((nats_side *)w->side)->engine, index);
}

static const conf_factory nats = {
    .name = "nats",
    .open = open_nats,
    .close = close_nats,
    .answer_with = answer_with,
    .unplug = die,
    .die = die,
    .seen_count = seen_count,
    .seen = seen,
};

/* ---- every numbered frame twice ---- */

static void on_echo_state(void *user, bool is_up)
{
    ((nats_side *)user)->echo_is_up = is_up;
}

/* Sends again what it hears for the first time. */
static void on_frame(void *user, const sbx_bus_message *message)
{
    static int mark;
    nats_side *side = user;
    sbx_frame frame;
    char subject[200];
    if (message->data.len == 0 || sbx_frame_decode(message->data, &frame) != SBX_OK)
        return;
    if (frame.type == SBX_FRAME_PING)
        return;
    assert_int_equal(sbx_view_to_cstr(message->subject, subject, sizeof subject), SBX_OK);
    uint64_t key =
        sbx_siphash((sbx_siphash_key){.k0 = frame.seq}, message->subject.data, message->subject.len);
    if (sbx_map64_get(&side->repeated, key) != NULL)
        return;
    assert_int_equal(sbx_map64_put(&side->repeated, key, &mark), SBX_OK);
    (void)sbx_bus_publish(side->echo, SBX_BUS_CONTROL, subject, /* reply: */ NULL, NULL, 0, &message->data,
                          1);
}

static void open_doubled(conf_world *w)
{
    nats_side *side = start_side(w);
    sbx_bus_subscription *subscription = NULL;
    sbx_bus_options options = {.url = side->server.url, .name = "echo", .subject_prefix = ""};
    sbx_map64_init(&side->repeated, /* seed: */ 1, SIZE_MAX / 4);
    assert_int_equal(sbx_bus_new(w->loop, &options, on_echo_state, side, &side->echo), SBX_OK);
    assert_int_equal(sbx_bus_subscribe(side->echo, "response.c1.>", on_frame, side, &subscription), SBX_OK);
    finish_open(w);
}

static const conf_factory doubled = {
    .name = "nats, every frame twice",
    .open = open_doubled,
    .close = close_nats,
    .answer_with = answer_with,
    .unplug = die,
    .die = die,
    .seen_count = seen_count,
    .seen = seen,
};

static void frames_were_really_sent_twice(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    w->factory->answer_with(w, &(conf_answer){.status = 200, .echoes = true});
    conf_start(w, &call, "twice");
    conf_run_until(w, conf_is_over, &call, 5000);
    conf_run_for(w, 50);
    conf_assert_ended_with(&call, 200, SBX_VIEW("twice"));
    assert_true(((nats_side *)w->side)->repeated.count >= 3);
    conf_forget(&call);
}

/* ---- what only this kind can do ---- */

static bool first_is_aborted(conf_world *w, const void *unused)
{
    (void)unused;
    return w->factory->seen_count(w) > 0 && w->factory->seen(w, 0).is_aborted;
}

static void a_budget_that_runs_out_ends_the_work_at_the_engine(void **state)
{
    conf_world *w = *state;
    conf_call call = {0};
    sbx_view body = SBX_VIEW("{}");
    w->factory->answer_with(w, &(conf_answer){.is_mute = true});
    conf_start_pieces(w, &call, &body, 1, SBX_MS(150), /* number: */ 77);
    conf_run_until(w, conf_is_over, &call, 2000);
    conf_assert_failed_with(&call, SBX_OUTCOME_ATTEMPT_TIMEOUT);
    conf_run_until(w, first_is_aborted, NULL, 1000);
    assert_true(call.over_at - call.started_at >= SBX_MS(140));
    conf_forget(&call);
}

static bool link_is_back(conf_world *w, const void *what)
{
    (void)w;
    return ((const nats_side *)what)->is_known;
}

static void a_stream_survives_a_restart_of_the_server(void **state)
{
    enum {
        EVENTS = 400
    };
    conf_world *w = *state;
    nats_side *side = w->side;
    conf_call call = {0};
    sbx_buf wanted;
    sbx_buf_init(&wanted, SIZE_MAX);
    for (uint32_t i = 0; i < EVENTS; i++)
        conf_write_event(&wanted, i, 100);
    w->factory->answer_with(
        w, &(conf_answer){
               .status = 200, .is_stream = true, .events = EVENTS, .event_len = 100, .gap_ns = SBX_MS(2)});
    conf_start(w, &call, "{}");
    conf_run_until(w, conf_has_data, &call, 5000);
    support_nats_kill(&side->server);
    conf_run_for(w, 100);
    support_nats_restart(&side->server);
    conf_run_until(w, conf_is_over, &call, 15000);
    conf_assert_ended_with(&call, 200, sbx_buf_view(&wanted));
    assert_int_equal(w->factory->seen_count(w), 1);
    conf_run_until(w, link_is_back, side, 5000);
    conf_forget(&call);
    sbx_buf_deinit(&wanted);
}

static void without_the_server_a_start_is_refused_at_once(void **state)
{
    conf_world *w = *state;
    nats_side *side = w->side;
    conf_call call = {0};
    support_nats_kill(&side->server);
    conf_run_for(w, 100);
    conf_start(w, &call, "{}");
    assert_int_equal(call.start_err, SBX_E_CLOSED);
    conf_run_for(w, 50);
    conf_assert_silent(&call);
    conf_forget(&call);
    support_nats_restart(&side->server);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CONF_TEST(a_budget_that_runs_out_ends_the_work_at_the_engine, &nats),
        CONF_TEST(a_stream_survives_a_restart_of_the_server, &nats),
        CONF_TEST(without_the_server_a_start_is_refused_at_once, &nats),
        CONF_TEST(frames_were_really_sent_twice, &doubled),
    };
    if (argc == 4 && strcmp(argv[1], "--worker") == 0)
        return be_worker(argv[2], argv[3]);
    own_path = argv[0];
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    failed += sbx_transport_conformance(&nats);
    return failed + sbx_transport_conformance(&doubled);
}
