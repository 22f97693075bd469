/* For tests with real loopback sockets in one process: a loop that runs until something is true, an HTTP
 * server whose handler is scripted by path, raw sockets, and records of client calls.
 *
 * Paths of the server: /hello answers "hello"; /echo the request's body; /hold keeps the request for the test
 * to answer (held[]); /stream starts a streamed answer with "first" and keeps the request; anything else 404.
 */
#ifndef SBX_TEST_NET_SUPPORT_HTTP_H
#define SBX_TEST_NET_SUPPORT_HTTP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "net/http_client.h"
#include "net/http_server.h"

enum {
    FIXTURE_MAX_HELD = 64
};

typedef struct fixture {
    sbx_loop *loop;
    sbx_http_server *server;
    sbx_http_server_options options;
    uint16_t port;
    sbx_http_request *held[FIXTURE_MAX_HELD];
    size_t held_count;
    unsigned request_count, gone_count, drained_count;
    bool last_was_loopback;
} fixture;

/* Options that no test reaches by accident: set what the test is about, then fixture_start(). */
void fixture_init(fixture *f);
void fixture_start(fixture *f);
void fixture_stop(fixture *f);

/* Runs the loop until done(user), at most 5 s; fails the test beyond that. */
typedef bool done_fn(void *user);
void run_until(sbx_loop *loop, done_fn *done, void *user);
void run_until_count(sbx_loop *loop, const unsigned *counter, unsigned wanted);
/* Runs the loop for a time, whatever happens. */
void run_for(sbx_loop *loop, int ms);

/* ---- raw sockets ---- */
int raw_connect(uint16_t port);
int raw_listen(uint16_t *ret_port);
/* Runs the loop until somebody connected. */
int raw_accept(sbx_loop *loop, int listener);
void raw_send(int fd, const char *text);
void raw_send_bytes(int fd, const void *data, size_t len);
/* Runs the loop, reading, until the text shows up / until the end of the connection, and returns all that was
 * read so far as a C string in `buf`. */
const char *raw_read_until(sbx_loop *loop, int fd, sbx_buf *buf, const char *text);
/* The same until so many bytes were read. */
void raw_read_bytes(sbx_loop *loop, int fd, sbx_buf *buf, size_t len);
const char *raw_read_to_end(sbx_loop *loop, int fd, sbx_buf *buf);
/* One exchange: connects, sends, reads to the end; the answer is in buf. */
const char *raw_exchange(fixture *f, const char *request, sbx_buf *buf);

/* ---- a raw client of the server ---- */
/* A connection with what it received. */
typedef struct client {
    fixture *f;
    int fd;
    sbx_buf in;
} client;

int fixture_setup(void **state);
int fixture_teardown(void **state);
void assert_has(const char *text, const char *part);
void assert_has_not(const char *text, const char *part);
client open_client(fixture *f);
void close_client(client *c);
const char *expect_text(client *c, const char *text);
const char *expect_end(client *c);
sbx_http_request *held(fixture *f, unsigned count);
void respond_text(sbx_http_request *request, const char *text);
void write_text(sbx_http_request *request, const char *text);

/* ---- client calls ---- */
typedef struct call_record {
    sbx_http_call *call;
    unsigned sent, heads, ends, fails;
    unsigned status;
    sbx_buf body;
    char content_type[64];
    sbx_outcome outcome;
    char detail[128];
    void (*on_body)(struct call_record *record); /* NULL: nothing more than to record */
    unsigned finished;                           /* ends + fails */
} call_record;

void record_start(call_record *record, sbx_http_upstream *upstream, const char *method, const char *target,
                  const sbx_view *body, size_t body_count);
void record_deinit(call_record *record);
void run_until_finished(sbx_loop *loop, const call_record *record);

sbx_http_upstream *upstream_to(sbx_loop *loop, uint16_t port);

/* ---- the client under test, and raw engines ---- */
/* The client under test, and a raw listener that plays the engine. */
typedef struct bench {
    fixture f;
    sbx_http_upstream *upstream;
    int listener;
    uint16_t raw_port;
    sbx_buf in; /* what the raw engine read */
} bench;

int bench_setup(void **state);
int bench_teardown(void **state);
void use_server(bench *b);
void use_raw(bench *b);
void get(bench *b, call_record *record, const char *target);
int accept_request(bench *b);
void assert_body(const call_record *record, const char *wanted);
void assert_ended(const call_record *record, unsigned status, const char *body);
void assert_failed(const call_record *record, sbx_outcome outcome);

#endif
