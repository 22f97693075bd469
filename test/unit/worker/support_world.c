/* See support_world.h. */
#include "unit/worker/support_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include <cmocka.h>

#include "worker/worker_node_priv.h"

static const char default_body[] = "{\"model\":\"simulated\",\"stream\":true,\"max_tokens\":8,"
                                   "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";

/* ---- what the controller hears ---- */

static seen *attempt_of(world *w, sbx_view subject)
{
    for (size_t i = 0; i < w->attempt_count; i++) {
        if (sbx_view_eq_cstr(subject, w->attempts[i].subject))
            return &w->attempts[i];
    }
    return NULL;
}

static void take_error(world *w, seen *s, const sbx_frame *frame)
{
    sbx_frame_error error;
    assert_int_equal(sbx_frame_error_parse(frame->payload, &w->arena, &error), SBX_OK);
    s->has_failed = true;
    s->outcome = error.outcome;
}

static void take_numbered(world *w, seen *s, const sbx_frame *frame)
{
    sbx_frame_head head;
    if (frame->seq != s->wanted)
        return; /* a duplicate, or behind a gap */
    s->wanted++;
    assert_false(s->is_ended || s->has_failed);
    switch (frame->type) {
    case SBX_FRAME_HEAD:
        assert_int_equal(sbx_frame_head_parse(frame->payload, &w->arena, &head), SBX_OK);
        s->status = head.status;
        (void)sbx_arena_dup(&w->arena, head.content_type, &s->content_type);
        break;
    case SBX_FRAME_DATA:
        sbx_buf_append_view(&s->data, frame->payload);
        break;
    case SBX_FRAME_END:
        s->is_ended = true;
        break;
    case SBX_FRAME_ERROR:
        take_error(w, s, frame);
        break;
    case SBX_FRAME_ACK:
    case SBX_FRAME_PING:
        break;
    }
}

static void take_ping(seen *s, const sbx_frame *frame)
{
    s->pings++;
    if ((frame->flags & SBX_FRAME_PING_PROGRESS) != 0)
        s->progress_pings++;
    if ((frame->flags & SBX_FRAME_PING_BODY) == 0)
        return;
    s->body_pings++;
    s->body_there = frame->aux;
}

static void take_frame(world *w, seen *s, sbx_view message)
{
    sbx_frame frame;
    assert_int_equal(sbx_frame_decode(message, &frame), SBX_OK);
    assert_true(s->frame_count < WORLD_FRAMES);
    s->frames[s->frame_count++] =
        (seen_frame){frame.seq, frame.type, frame.flags, frame.aux, s->payloads.len, frame.payload.len};
    sbx_buf_append_view(&s->payloads, frame.payload);
    if (frame.type == SBX_FRAME_PING) {
        take_ping(s, &frame);
    } else if (frame.type == SBX_FRAME_ERROR && (frame.flags & SBX_FRAME_ERROR_UNKNOWN) != 0) {
        s->is_unknown = true;
        take_error(w, s, &frame);
    } else {
        take_numbered(w, s, &frame);
    }
}

static void on_response(void *user, const sbx_bus_message *message)
{
    world *w = user;
    seen *s = attempt_of(w, message->subject);
    if (s == NULL)
        return;
    if (message->no_responders)
        s->no_responders = true;
    else
        take_frame(w, s, message->data);
}

static void take_self(world *w, const sbx_bus_message *message)
{
    sbx_errinfo info = {.text = ""};
    sbx_view copy;
    assert_int_equal(sbx_arena_dup(&w->arena, message->data, &copy), SBX_OK);
    assert_int_equal(sbx_bus_worker_parse(copy, &w->arena, &w->self, &info), SBX_OK);
    sbx_view_to_cstr(w->self.boot_id, w->boot_id, sizeof(w->boot_id));
}

static void on_register(void *user, const sbx_bus_message *message)
{
    ((world *)user)->registers++;
    take_self(user, message);
}

static void on_heartbeat(void *user, const sbx_bus_message *message)
{
    ((world *)user)->heartbeats++;
    take_self(user, message);
}

static void on_leave(void *user, const sbx_bus_message *message)
{
    world *w = user;
    sbx_view id, boot;
    assert_int_equal(sbx_bus_leave_parse(message->data, &w->arena, &id, &boot, NULL), SBX_OK);
    assert_true(sbx_view_eq_cstr(id, "w1") && sbx_view_eq_cstr(boot, w->boot_id));
    w->leaves++;
}

static void on_plain_answer(void *user, const sbx_bus_message *message)
{
    world *w = user;
    sbx_buf_append_view(&w->plain_answer, message->data);
    (void)sbx_view_to_cstr(sbx_bus_message_header(message, SBX_BUS_HEADER_STATUS), w->plain_status,
                           sizeof(w->plain_status));
}

static void on_bus_state(void *user, bool is_up)
{
    world *w = user;
    w->bus_is_up = is_up;
    if (is_up)
        (void)sbx_bus_publish(w->bus, SBX_BUS_CONTROL, "worker.who", NULL, NULL, 0, NULL, 0);
}

/* ---- time ---- */

typedef struct wait {
    world *w;
    bool (*done)(world *w);
    sbx_timer poll, limit;
} wait;

static void on_poll(sbx_timer *timer, void *user)
{
    wait *waiting = user;
    if (waiting->done != NULL && waiting->done(waiting->w))
        sbx_loop_stop(waiting->w->loop);
    else
        sbx_timer_start(timer, sbx_loop_now(waiting->w->loop) + SBX_MS(1));
}

static void on_limit(sbx_timer *timer, void *user)
{
    wait *waiting = user;
    (void)timer;
    waiting->w->timed_out = true;
    sbx_loop_stop(waiting->w->loop);
}

static void run_loop(world *w, bool (*done)(world *w), long limit_ms)
{
    wait waiting = {.w = w, .done = done};
    sbx_time_ns now = (sbx_time_ns)uv_hrtime();
    w->timed_out = false;
    sbx_timer_init(&waiting.poll, w->loop, on_poll, &waiting);
    sbx_timer_init(&waiting.limit, w->loop, on_limit, &waiting);
    sbx_timer_start(&waiting.poll, now);
    sbx_timer_start(&waiting.limit, now + SBX_MS(limit_ms));
    sbx_loop_run(w->loop);
    sbx_timer_stop(&waiting.poll);
    sbx_timer_stop(&waiting.limit);
}

void world_until(world *w, bool (*done)(world *w), long limit_ms)
{
    run_loop(w, done, limit_ms);
    assert_false(w->timed_out);
}

void world_for(world *w, long ms)
{
    run_loop(w, NULL, ms);
}

/* ---- the controller's words ---- */

run_options run_defaults(void)
{
    return (run_options){.body = default_body,
                         .path = "/v1/chat/completions",
                         .streaming = true,
                         .credit = 1 << 20,
                         .deadline_ms = 30000};
}

void world_send_run(world *w, const seen *s, const run_options *options)
{
    char deadline[24], expires[24], credit[24], bytes[24];
    sbx_bus_header headers[8];
    size_t count = 0;
    uint64_t now_ms = (uint64_t)(uv_hrtime() / 1000000);
    snprintf(deadline, sizeof(deadline), "%llu", (unsigned long long)options->deadline_ms);
    snprintf(expires, sizeof(expires), "%llu",
             (unsigned long long)(now_ms + (uint64_t)options->expires_in_ms));
    snprintf(credit, sizeof(credit), "%llu", (unsigned long long)options->credit);
    snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)options->body_bytes);
    headers[count++] = (sbx_bus_header){SBX_BUS_HEADER_PATH, options->path};
    headers[count++] = (sbx_bus_header){SBX_BUS_HEADER_STREAM, options->streaming ? "1" : "0"};
    headers[count++] = (sbx_bus_header){SBX_BUS_HEADER_DEADLINE_MS, deadline};
    headers[count++] = (sbx_bus_header){SBX_BUS_HEADER_CREDIT, credit};
    headers[count++] = (sbx_bus_header){SBX_BUS_HEADER_TRACEPARENT, "00-0123-4567-01"};
    if (options->expires_in_ms != 0)
        headers[count++] = (sbx_bus_header){SBX_BUS_HEADER_EXPIRES_MS, expires};
    if (options->body_bytes > 0)
        headers[count++] = (sbx_bus_header){SBX_BUS_HEADER_BODY_BYTES, bytes};
    sbx_view body = options->body_bytes > 0 ? (sbx_view){0} : sbx_view_cstr(options->body);
    assert_int_equal(
        sbx_bus_publish(w->bus, SBX_BUS_CONTROL, "inference.w1.run", s->subject, headers, count, &body, 1),
        SBX_OK);
}

seen *world_run(world *w, const run_options *options)
{
    assert_true(w->attempt_count < WORLD_ATTEMPTS);
    seen *s = &w->attempts[w->attempt_count];
    snprintf(s->subject, sizeof(s->subject), "response.c1.%032zx.1", ++w->attempt_count);
    sbx_buf_init(&s->data, SIZE_MAX);
    sbx_buf_init(&s->payloads, SIZE_MAX);
    world_send_run(w, s, options);
    return s;
}

void world_tell(world *w, const seen *s, const char *verb, const char *body)
{
    char subject[64];
    sbx_view bytes = sbx_view_cstr(body);
    snprintf(subject, sizeof(subject), "inference.w1.%s", verb);
    assert_int_equal(sbx_bus_publish(w->bus, SBX_BUS_CONTROL, subject, s->subject, NULL, 0, &bytes, 1),
                     SBX_OK);
}

void world_credit(world *w, const seen *s, uint32_t seq, uint64_t bytes)
{
    char text[SBX_BUS_CONTROL_TEXT];
    sbx_bus_credit credit = {seq, bytes};
    (void)sbx_bus_credit_write(&credit, text);
    world_tell(w, s, "credit", text);
}

void world_chunk(world *w, const seen *s, uint64_t offset, sbx_view bytes)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)offset);
    sbx_bus_header header = {SBX_BUS_HEADER_OFFSET, text};
    assert_int_equal(
        sbx_bus_publish(w->bus, SBX_BUS_CONTROL, "inference.w1.chunk", s->subject, &header, 1, &bytes, 1),
        SBX_OK);
}

size_t count_frames(const seen *s, sbx_frame_type type)
{
    size_t count = 0;
    for (size_t i = 0; i < s->frame_count; i++)
        count += s->frames[i].type == type ? 1 : 0;
    return count;
}

struct sbx_sim_engine *world_sim(world *w)
{
    return sbx_engine_simulated_inside(w->node->engine);
}

void world_fault(world *w, sbx_sim_fault fault, int64_t after_tokens)
{
    sbx_sim_order order = sbx_sim_order_of(fault);
    order.count = 1;
    order.after_tokens = after_tokens;
    assert_int_equal(sbx_sim_faults_add(sbx_sim_engine_faults(world_sim(w)), &order), SBX_OK);
}

const char *content_of(const seen *s)
{
    static char content[65536];
    static const char key[] = "\"content\":\"";
    size_t used = 0;
    sbx_view rest = sbx_buf_view(&s->data);
    for (size_t i = 0; i + sizeof(key) <= rest.len; i++) {
        if (memcmp(rest.data + i, key, sizeof(key) - 1) != 0)
            continue;
        i += sizeof(key) - 1;
        while (i < rest.len && rest.data[i] != '"' && used < sizeof(content) - 1)
            content[used++] = (char)rest.data[i++];
    }
    content[used] = '\0';
    return content;
}

/* ---- life ---- */

world_options world_defaults(void)
{
    world_options options = {.sim = sbx_sim_options_default()};
    options.sim.ttft_ms = 5;
    options.sim.tps = 1000;
    return options;
}

static void start_engine(world *w, const world_options *options, sbx_config_engine *engine)
{
    sbx_sim_server_options server = {
        .host = "127.0.0.1", .api_key = options->api_key, .engine = options->sim};
    sbx_errinfo info = {.text = ""};
    assert_int_equal(sbx_sim_server_new(w->loop, &server, &w->engine, &info), SBX_OK);
    engine->kind = SBX_CONFIG_ENGINE_OPENAI;
    engine->url = (sbx_url){.host = "127.0.0.1", .prefix = "/v1", .port = sbx_sim_server_port(w->engine)};
    engine->api_key = options->api_key;
}

static void start_worker(world *w, const world_options *options)
{
    static const char *const models[] = {"simulated"};
    sbx_config_engine engine = {.kind = SBX_CONFIG_ENGINE_SIMULATED,
                                .max_concurrent =
                                    options->max_concurrent == 0 ? 16 : options->max_concurrent};
    engine.simulated.first_token_ms = options->sim.ttft_ms;
    engine.simulated.tokens_per_second = options->sim.tps;
    if (!options->asks_for_models)
        engine.models = (sbx_config_strings){models, 1};
    if (options->over_http)
        start_engine(w, options, &engine);
    sbx_worker_node_options node = {.worker_id = "w1",
                                    .engine = &engine,
                                    .bus = {.url = w->server.url, .subject_prefix = options->subject_prefix},
                                    .heartbeat_interval_ms = 100};
    assert_int_equal(sbx_worker_node_new(w->loop, &node, &w->node), SBX_OK);
}

static void subscribe(world *w, const char *subject, sbx_bus_message_fn *fn)
{
    sbx_bus_subscription *unused;
    assert_int_equal(sbx_bus_subscribe(w->bus, subject, fn, w, &unused), SBX_OK);
}

static void start_controller(world *w, const world_options *options)
{
    sbx_bus_options bus = {.url = w->server.url, .name = "c1", .subject_prefix = options->subject_prefix};
    assert_int_equal(sbx_bus_new(w->loop, &bus, on_bus_state, w, &w->bus), SBX_OK);
    subscribe(w, "response.c1.>", on_response);
    subscribe(w, "worker.register", on_register);
    subscribe(w, "worker.heartbeat", on_heartbeat);
    subscribe(w, "worker.deregister", on_leave);
    subscribe(w, "answers.c1", on_plain_answer);
}

static bool bus_is_up(world *w)
{
    return w->bus_is_up;
}

static bool engine_is_up(world *w)
{
    return w->heartbeats > 0 && w->self.engine_state == SBX_BUS_ENGINE_UP && w->self.model_count > 0;
}

world *world_new(const world_options *options)
{
    world *w = calloc(1, sizeof(*w));
    support_nats_start(&w->server);
    assert_int_equal(sbx_loop_new(&w->loop), SBX_OK);
    sbx_arena_init(&w->arena, SIZE_MAX);
    sbx_buf_init(&w->plain_answer, SIZE_MAX);
    start_controller(w, options);
    world_until(w, bus_is_up, 5000);
    start_worker(w, options);
    world_until(w, engine_is_up, 5000);
    return w;
}

void world_free(world *w)
{
    sbx_worker_node_free(w->node);
    sbx_bus_free(w->bus);
    sbx_sim_server_free(w->engine);
    sbx_loop_free(w->loop);
    support_nats_stop(&w->server);
    for (size_t i = 0; i < w->attempt_count; i++) {
        sbx_buf_deinit(&w->attempts[i].data);
        sbx_buf_deinit(&w->attempts[i].payloads);
    }
    sbx_buf_deinit(&w->plain_answer);
    sbx_arena_deinit(&w->arena);
    free(w);
}

/* ---- what most tests need ---- */

world *the_world;

static int open_world(const world_options *options)
{
    the_world = world_new(options);
    return 0;
}

int world_setup(void **state)
{
    (void)state;
    world_options options = world_defaults();
    return open_world(&options);
}

int world_setup_slow(void **state)
{
    (void)state;
    world_options options = world_defaults();
    options.sim.ttft_ms = 60000;
    options.max_concurrent = 2;
    return open_world(&options);
}

int world_setup_http(void **state)
{
    (void)state;
    world_options options = world_defaults();
    options.over_http = true;
    options.asks_for_models = true;
    options.api_key = "engine-key";
    return open_world(&options);
}

int world_setup_prefix(void **state)
{
    (void)state;
    world_options options = world_defaults();
    options.subject_prefix = "lab.";
    return open_world(&options);
}

int world_teardown(void **state)
{
    (void)state;
    world_free(the_world);
    the_world = NULL;
    return 0;
}

bool world_all_over(world *w)
{
    for (size_t i = 0; i < w->attempt_count; i++) {
        if (!w->attempts[i].is_ended && !w->attempts[i].has_failed)
            return false;
    }
    return true;
}

bool world_all_acked(world *w)
{
    for (size_t i = 0; i < w->attempt_count; i++) {
        if (count_frames(&w->attempts[i], SBX_FRAME_ACK) == 0)
            return false;
    }
    return true;
}

bool world_knows_nothing(world *w)
{
    return sbx_worker_node_state_of(w->node).attempts == 0;
}

uint64_t world_engine_total(world *w)
{
    return sbx_sim_engine_load(world_sim(w)).total;
}

bool world_engine_works(world *w)
{
    return sbx_sim_engine_load(world_sim(w)).active > 0;
}

bool world_first_has_1000_bytes(world *w)
{
    return w->attempts[0].data.len >= 1000;
}
