/* See support_http.h. */
#include "support_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

/* ---- the loop ---- */

typedef struct waiter {
    sbx_loop *loop;
    sbx_timer tick;
} waiter;

static void on_tick(sbx_timer *timer, void *user)
{
    waiter *w = user;
    sbx_timer_start(timer, sbx_loop_now(w->loop) + SBX_MS(2));
}

static bool run_at_most(sbx_loop *loop, done_fn *done, void *user, int ms)
{
    waiter w = {.loop = loop};
    sbx_timer_init(&w.tick, loop, on_tick, &w);
    sbx_timer_start(&w.tick, 0);
    uint64_t end = uv_hrtime() + (uint64_t)ms * 1000000U;
    bool is_done = done(user);
    while (!is_done && uv_hrtime() < end) {
        uv_run(sbx_loop_uv(loop), UV_RUN_ONCE);
        is_done = done(user);
    }
    sbx_timer_stop(&w.tick);
    return is_done;
}

void run_until(sbx_loop *loop, done_fn *done, void *user)
{
    if (!run_at_most(loop, done, user, 5000))
        fail_msg("what the test waits for did not happen in 5 s");
}

struct count_wait {
    const unsigned *counter;
    unsigned wanted;
};

static bool has_count(void *user)
{
    const struct count_wait *wait = user;
    return *wait->counter >= wait->wanted;
}

void run_until_count(sbx_loop *loop, const unsigned *counter, unsigned wanted)
{
    struct count_wait wait = {.counter = counter, .wanted = wanted};
    if (!run_at_most(loop, has_count, &wait, 5000))
        fail_msg("a counter reached %u instead of %u in 5 s", *counter, wanted);
}

static bool never(void *user)
{
    (void)user;
    return false;
}

void run_for(sbx_loop *loop, int ms)
{
    run_at_most(loop, never, NULL, ms);
}

/* ---- the scripted server ---- */

static bool has_path(const sbx_http_request *request, const char *path)
{
    return sbx_view_eq_cstr(sbx_http_request_head(request)->path, path);
}

static void hold(fixture *f, sbx_http_request *request)
{
    assert_true(f->held_count < FIXTURE_MAX_HELD);
    f->held[f->held_count++] = request;
    sbx_http_request_set_user(request, f);
}

static void on_request(void *user, sbx_http_request *request)
{
    fixture *f = user;
    static const sbx_http_header text = {SBX_VIEW_INIT("content-type"), SBX_VIEW_INIT("text/plain")};
    sbx_view hello = SBX_VIEW("hello"), first = SBX_VIEW("first"), none = SBX_VIEW("nothing here");
    f->request_count++;
    f->last_was_loopback = sbx_http_request_is_loopback(request);
    assert_non_null(sbx_arena_alloc(sbx_http_request_arena(request), 100));
    if (has_path(request, "/hello")) {
        sbx_http_respond(request, 200, &text, 1, &hello, 1);
    } else if (has_path(request, "/echo")) {
        sbx_view body = sbx_http_request_body(request);
        sbx_http_respond(request, 200, &text, 1, &body, 1);
    } else if (has_path(request, "/hold")) {
        hold(f, request);
    } else if (has_path(request, "/stream")) {
        hold(f, request);
        sbx_http_start(request, 200, &text, 1, &first, 1);
    } else {
        sbx_http_respond(request, 404, &text, 1, &none, 1);
    }
}

static void on_gone(void *user, sbx_http_request *request)
{
    fixture *f = user;
    f->gone_count++;
    for (size_t i = 0; i < f->held_count; i++) {
        if (f->held[i] == request)
            f->held[i] = NULL;
    }
}

static void on_drained(void *user, sbx_http_request *request)
{
    fixture *f = user;
    (void)request;
    f->drained_count++;
}

static sbx_view error_body(void *user, unsigned status, const char *message)
{
    static char text[256];
    (void)user;
    snprintf(text, sizeof text, "{\"error\":%u,\"message\":\"%s\"}", status, message);
    return sbx_view_cstr(text);
}

void fixture_init(fixture *f)
{
    *f = (fixture){
        .options =
            {
                .max_connections = 100,
                .max_body_bytes = 32 * 1024 * 1024,
                .max_buffered_bytes = 64 * 1024 * 1024,
                .header_timeout_ns = SBX_SEC(10),
                .body_timeout_ns = SBX_SEC(10),
                .keep_alive_timeout_ns = SBX_SEC(10),
                .write_timeout_ns = SBX_SEC(10),
                .high_water_bytes = 128 * 1024,
                .arena_cap_bytes = 64 * 1024,
            },
    };
    assert_int_equal(sbx_loop_new(&f->loop), SBX_OK);
}

void fixture_start(fixture *f)
{
    const sbx_http_handler handler = {.on_request = on_request,
                                      .on_gone = on_gone,
                                      .on_drained = on_drained,
                                      .error_body = error_body,
                                      .user = f};
    sbx_errinfo info;
    assert_int_equal(sbx_http_server_new(f->loop, &f->options, &handler, &f->server), SBX_OK);
    assert_int_equal(sbx_http_server_listen(f->server, "127.0.0.1", 0, &f->port, &info), SBX_OK);
}

void fixture_stop(fixture *f)
{
    sbx_http_server_free(f->server);
    sbx_loop_free(f->loop);
}

/* ---- raw sockets ---- */

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int raw_connect(uint16_t port)
{
    int one = 1;
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

int raw_listen(uint16_t *ret_port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

struct accept_wait {
    int listener, fd;
};

static bool has_accepted(void *user)
{
    struct accept_wait *wait = user;
    wait->fd = accept(wait->listener, NULL, NULL);
    return wait->fd >= 0;
}

int raw_accept(sbx_loop *loop, int listener)
{
    struct accept_wait wait = {.listener = listener, .fd = -1};
    run_until(loop, has_accepted, &wait);
    return wait.fd;
}

void raw_send_bytes(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

void raw_send(int fd, const char *text)
{
    raw_send_bytes(fd, text, strlen(text));
}

struct read_wait {
    int fd;
    sbx_buf *buf;
    const char *text; /* NULL: none */
    size_t len;       /* 0: none */
    bool has_ended;
};

/* Keeps a NUL behind what was read, not counted. */
static void terminate(sbx_buf *buf)
{
    uint8_t *place = NULL;
    assert_int_equal(sbx_buf_reserve(buf, 1, &place), SBX_OK);
    *place = 0;
}

static bool has_read(void *user)
{
    struct read_wait *wait = user;
    uint8_t *place = NULL;
    assert_int_equal(sbx_buf_reserve(wait->buf, 65536, &place), SBX_OK);
    ssize_t count = recv(wait->fd, place, 65536, MSG_DONTWAIT);
    if (count > 0)
        sbx_buf_commit(wait->buf, (size_t)count);
    wait->has_ended = count == 0 || (count < 0 && errno != EAGAIN);
    terminate(wait->buf);
    bool has_text =
        wait->text != NULL && sbx_view_contains(sbx_buf_view(wait->buf), sbx_view_cstr(wait->text));
    bool has_len = wait->len > 0 && wait->buf->len >= wait->len;
    return wait->has_ended || has_text || has_len;
}

static const char *text_of(const sbx_buf *buf)
{
    return (const char *)sbx_buf_view(buf).data;
}

const char *raw_read_until(sbx_loop *loop, int fd, sbx_buf *buf, const char *text)
{
    struct read_wait wait = {.fd = fd, .buf = buf, .text = text};
    run_until(loop, has_read, &wait);
    if (!sbx_view_contains(sbx_buf_view(buf), sbx_view_cstr(text)))
        fail_msg("wanted \"%s\", found \"%s\"", text, text_of(buf));
    return text_of(buf);
}

void raw_read_bytes(sbx_loop *loop, int fd, sbx_buf *buf, size_t len)
{
    struct read_wait wait = {.fd = fd, .buf = buf, .len = len};
    run_until(loop, has_read, &wait);
    assert_true(buf->len >= len);
}

const char *raw_read_to_end(sbx_loop *loop, int fd, sbx_buf *buf)
{
    struct read_wait wait = {.fd = fd, .buf = buf};
    run_until(loop, has_read, &wait);
    while (!wait.has_ended)
        run_until(loop, has_read, &wait);
    return text_of(buf);
}

const char *raw_exchange(fixture *f, const char *request, sbx_buf *buf)
{
    int fd = raw_connect(f->port);
    raw_send(fd, request);
    const char *answer = raw_read_to_end(f->loop, fd, buf);
    close(fd);
    return answer;
}

/* ---- a raw client of the server ---- */

int fixture_setup(void **state)
{
    fixture *f = test_calloc(1, sizeof *f);
    fixture_init(f);
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    fixture_stop(*state);
    test_free(*state);
    return 0;
}

void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("wanted \"%s\" in \"%s\"", part, text);
}

void assert_has_not(const char *text, const char *part)
{
    if (strstr(text, part) != NULL)
        fail_msg("did not want \"%s\" in \"%s\"", part, text);
}

client open_client(fixture *f)
{
    client c = {.f = f, .fd = raw_connect(f->port)};
    sbx_buf_init(&c.in, SIZE_MAX);
    return c;
}

void close_client(client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    sbx_buf_deinit(&c->in);
}

const char *expect_text(client *c, const char *text)
{
    return raw_read_until(c->f->loop, c->fd, &c->in, text);
}

const char *expect_end(client *c)
{
    return raw_read_to_end(c->f->loop, c->fd, &c->in);
}

sbx_http_request *held(fixture *f, unsigned count)
{
    run_until_count(f->loop, &f->request_count, count);
    assert_true(f->held_count > 0);
    return f->held[f->held_count - 1];
}

void respond_text(sbx_http_request *request, const char *text)
{
    sbx_view view = sbx_view_cstr(text);
    assert_int_equal(sbx_http_respond(request, 200, NULL, 0, &view, 1), SBX_OK);
}

void write_text(sbx_http_request *request, const char *text)
{
    sbx_view view = sbx_view_cstr(text);
    assert_int_equal(sbx_http_write(request, &view, 1), SBX_OK);
}

/* ---- client calls ---- */

static void on_call_sent(void *user)
{
    call_record *record = user;
    record->sent++;
}

static void on_call_head(void *user, const sbx_http_head *head)
{
    call_record *record = user;
    record->heads++;
    record->status = head->status;
    sbx_view_to_cstr(sbx_http_head_get(head, "Content-Type"), record->content_type,
                     sizeof record->content_type);
}

static void on_call_body(void *user, sbx_view bytes)
{
    call_record *record = user;
    sbx_buf_append_view(&record->body, bytes);
    if (record->on_body != NULL)
        record->on_body(record);
}

static void on_call_end(void *user)
{
    call_record *record = user;
    record->ends++;
    record->finished++;
}

static void on_call_fail(void *user, sbx_outcome outcome, const char *detail)
{
    call_record *record = user;
    record->fails++;
    record->finished++;
    record->outcome = outcome;
    snprintf(record->detail, sizeof record->detail, "%s", detail);
}

void record_start(call_record *record, sbx_http_upstream *upstream, const char *method, const char *target,
                  const sbx_view *body, size_t body_count)
{
    static const sbx_http_call_events events = {.on_sent = on_call_sent,
                                                .on_head = on_call_head,
                                                .on_body = on_call_body,
                                                .on_end = on_call_end,
                                                .on_fail = on_call_fail};
    const sbx_http_call_params params = {
        .method = method, .target = sbx_view_cstr(target), .body = body, .body_count = body_count};
    sbx_buf_init(&record->body, SIZE_MAX);
    assert_int_equal(sbx_http_call_start(upstream, &params, &events, record, &record->call), SBX_OK);
    assert_int_equal(record->sent + record->heads + record->finished, 0);
}

void record_deinit(call_record *record)
{
    sbx_buf_deinit(&record->body);
}

void run_until_finished(sbx_loop *loop, const call_record *record)
{
    run_until_count(loop, &record->finished, 1);
}

sbx_http_upstream *upstream_to(sbx_loop *loop, uint16_t port)
{
    sbx_http_upstream *upstream = NULL;
    const sbx_http_upstream_options options = {.host = "127.0.0.1",
                                               .port = port,
                                               .max_idle = 8,
                                               .idle_timeout_ns = SBX_SEC(60),
                                               .connect_timeout_ns = SBX_SEC(2),
                                               .max_head_bytes = SBX_HTTP_MAX_HEAD_BYTES};
    assert_int_equal(sbx_http_upstream_new(loop, &options, &upstream), SBX_OK);
    return upstream;
}

/* ---- the client under test ---- */

int bench_setup(void **state)
{
    bench *b = test_calloc(1, sizeof *b);
    fixture_init(&b->f);
    fixture_start(&b->f);
    b->listener = raw_listen(&b->raw_port);
    sbx_buf_init(&b->in, SIZE_MAX);
    *state = b;
    return 0;
}

int bench_teardown(void **state)
{
    bench *b = *state;
    sbx_http_upstream_free(b->upstream);
    fixture_stop(&b->f);
    close(b->listener);
    sbx_buf_deinit(&b->in);
    test_free(b);
    return 0;
}

void use_server(bench *b)
{
    b->upstream = upstream_to(b->f.loop, b->f.port);
}

void use_raw(bench *b)
{
    b->upstream = upstream_to(b->f.loop, b->raw_port);
}

void get(bench *b, call_record *record, const char *target)
{
    record_start(record, b->upstream, "GET", target, NULL, 0);
}

int accept_request(bench *b)
{
    int fd = raw_accept(b->f.loop, b->listener);
    raw_read_until(b->f.loop, fd, &b->in, "\r\n\r\n");
    return fd;
}

void assert_body(const call_record *record, const char *wanted)
{
    if (!sbx_view_eq_cstr(sbx_buf_view(&record->body), wanted))
        fail_msg("wanted \"%s\", found \"%.*s\"", wanted, SBX_VIEW_ARG(sbx_buf_view(&record->body)));
}

void assert_ended(const call_record *record, unsigned status, const char *body)
{
    if (record->fails > 0)
        fail_msg("failed: %s: %s", sbx_outcome_name(record->outcome), record->detail);
    assert_int_equal(record->ends, 1);
    assert_int_equal(record->sent, 1);
    assert_int_equal(record->heads, 1);
    assert_int_equal(record->status, status);
    assert_body(record, body);
}

void assert_failed(const call_record *record, sbx_outcome outcome)
{
    assert_int_equal(record->ends, 0);
    assert_int_equal(record->fails, 1);
    assert_string_equal(sbx_outcome_name(record->outcome), sbx_outcome_name(outcome));
    assert_true(record->detail[0] != 0);
}
