/* https upstreams: a TLS engine in this process, with a certificate made on the spot. */
#include "support_http.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "net/stream_tls.h"

/* A TLS server driven by looks: each look does what can be done without waiting. */
typedef struct engine {
    sbx_loop *loop;
    SSL_CTX *ctx;
    X509 *cert;
    EVP_PKEY *key;
    char ca_path[64];
    int listener, fd;
    uint16_t port;
    SSL *ssl;
    unsigned requests, accepted;
    const char *answer;
    size_t padding; /* bytes of 'p' behind the answer */
    bool ends_rudely, ends;
    sbx_buf in;
    sbx_timer look;
    sbx_http_upstream *upstream;
} engine;

static void make_certificate(engine *e, const char *names)
{
    e->key = EVP_EC_gen("P-256");
    e->cert = X509_new();
    X509_set_version(e->cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(e->cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(e->cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(e->cert), 3600);
    X509_set_pubkey(e->cert, e->key);
    X509_NAME *name = X509_get_subject_name(e->cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"engine", -1, -1, 0);
    X509_set_issuer_name(e->cert, name);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    assert_non_null(extension);
    X509_add_ext(e->cert, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(e->cert, e->key, EVP_sha256()) > 0);
}

static void write_ca_file(engine *e)
{
    strcpy(e->ca_path, "/tmp/sbx-test-ca-XXXXXX");
    int fd = mkstemp(e->ca_path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    assert_int_equal(PEM_write_X509(file, e->cert), 1);
    fclose(file);
}

static void write_answer(engine *e)
{
    SSL_write(e->ssl, e->answer, (int)strlen(e->answer));
    char block[4096];
    memset(block, 'p', sizeof block);
    for (size_t left = e->padding; left > 0;) {
        int count = SSL_write(e->ssl, block, (int)(left < sizeof block ? left : sizeof block));
        if (count <= 0)
            break;
        left -= (size_t)count;
    }
    if (e->ends)
        SSL_shutdown(e->ssl);
    if (e->ends || e->ends_rudely)
        shutdown(e->fd, SHUT_WR);
}

static void serve(engine *e)
{
    char bytes[16384];
    int count = SSL_read(e->ssl, bytes, sizeof bytes);
    while (count > 0) {
        sbx_buf_append(&e->in, bytes, (size_t)count);
        count = SSL_read(e->ssl, bytes, sizeof bytes);
    }
    if (!sbx_view_ends_with(sbx_buf_view(&e->in), SBX_VIEW("END")))
        return;
    e->requests++;
    sbx_buf_clear(&e->in);
    write_answer(e);
}

static void on_look(sbx_timer *timer, void *user)
{
    engine *e = user;
    sbx_timer_start(timer, sbx_loop_now(e->loop) + SBX_MS(1));
    if (e->fd < 0) {
        e->fd = accept(e->listener, NULL, NULL);
        if (e->fd < 0)
            return;
        struct timeval soon = {.tv_usec = 1000};
        setsockopt(e->fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
        e->ssl = SSL_new(e->ctx);
        SSL_set_fd(e->ssl, e->fd);
        SSL_set_accept_state(e->ssl);
        e->accepted++;
    }
    serve(e);
    ERR_clear_error();
}

static void engine_start(engine *e, const char *names)
{
    assert_int_equal(sbx_loop_new(&e->loop), SBX_OK);
    make_certificate(e, names);
    write_ca_file(e);
    e->ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(e->ctx, e->cert);
    SSL_CTX_use_PrivateKey(e->ctx, e->key);
    e->listener = raw_listen(&e->port);
    e->fd = -1;
    e->answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";
    sbx_buf_init(&e->in, SIZE_MAX);
    sbx_timer_init(&e->look, e->loop, on_look, e);
    sbx_timer_start(&e->look, 0);
}

static void trust(engine *e, const char *host, const char *ca_file)
{
    const sbx_http_upstream_options options = {.host = host,
                                               .port = e->port,
                                               .tls = true,
                                               .ca_file = ca_file,
                                               .max_idle = 4,
                                               .idle_timeout_ns = SBX_SEC(60),
                                               .connect_timeout_ns = SBX_SEC(4),
                                               .max_head_bytes = SBX_HTTP_MAX_HEAD_BYTES};
    assert_int_equal(sbx_http_upstream_new(e->loop, &options, &e->upstream), SBX_OK);
}

static int setup(void **state)
{
    *state = test_calloc(1, sizeof(engine));
    return 0;
}

static int teardown(void **state)
{
    engine *e = *state;
    sbx_http_upstream_free(e->upstream);
    sbx_loop_free(e->loop);
    SSL_free(e->ssl);
    SSL_CTX_free(e->ctx);
    X509_free(e->cert);
    EVP_PKEY_free(e->key);
    if (e->fd >= 0)
        close(e->fd);
    close(e->listener);
    unlink(e->ca_path);
    sbx_buf_deinit(&e->in);
    test_free(e);
    return 0;
}

static void post(engine *e, call_record *record)
{
    static const sbx_view body = SBX_VIEW_INIT("the END");
    record_start(record, e->upstream, "POST", "/x", &body, 1);
}

static void an_https_upstream_is_verified_spoken_to_and_kept(void **state)
{
    engine *e = *state;
    engine_start(e, "IP:127.0.0.1");
    trust(e, "127.0.0.1", e->ca_path);
    for (unsigned i = 1; i <= 2; i++) {
        call_record record = {0};
        post(e, &record);
        run_until_finished(e->loop, &record);
        assert_string_equal(record.detail, "");
        assert_true(sbx_view_eq_cstr(sbx_buf_view(&record.body), "secret"));
        assert_int_equal(e->requests, i);
        record_deinit(&record);
    }
    assert_int_equal(e->accepted, 1);
}

static void a_name_is_checked_as_well(void **state)
{
    engine *e = *state;
    call_record record = {0};
    engine_start(e, "DNS:localhost");
    trust(e, "localhost", e->ca_path);
    post(e, &record);
    run_until_finished(e->loop, &record);
    assert_string_equal(record.detail, "");
    assert_int_equal(record.ends, 1);
    record_deinit(&record);
}

static void expect_refusal(engine *e)
{
    call_record record = {0};
    post(e, &record);
    run_until_finished(e->loop, &record);
    assert_int_equal(record.fails, 1);
    assert_int_equal(record.outcome, SBX_OUTCOME_REFUSED);
    assert_int_equal(record.sent, 0);
    assert_int_equal(e->requests, 0);
    record_deinit(&record);
}

static void an_unknown_authority_is_refused(void **state)
{
    engine *e = *state;
    engine_start(e, "IP:127.0.0.1");
    trust(e, "127.0.0.1", /* ca_file: the system's */ NULL);
    expect_refusal(e);
}

static void another_hosts_certificate_is_refused(void **state)
{
    engine *e = *state;
    engine_start(e, "DNS:elsewhere.example,IP:127.0.0.2");
    trust(e, "127.0.0.1", e->ca_path);
    expect_refusal(e);
}

static void a_plain_server_is_refused(void **state)
{
    engine *e = *state;
    call_record record = {0};
    engine_start(e, "IP:127.0.0.1");
    trust(e, "127.0.0.1", e->ca_path);
    sbx_timer_stop(&e->look);
    post(e, &record);
    e->fd = raw_accept(e->loop, e->listener);
    raw_send(e->fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
    run_until_finished(e->loop, &record);
    assert_int_equal(record.outcome, SBX_OUTCOME_REFUSED);
    record_deinit(&record);
}

static void a_silent_server_is_a_connect_timeout(void **state)
{
    engine *e = *state;
    call_record record = {0};
    engine_start(e, "IP:127.0.0.1");
    sbx_timer_stop(&e->look);
    const sbx_http_upstream_options options = {.host = "127.0.0.1",
                                               .port = e->port,
                                               .tls = true,
                                               .ca_file = e->ca_path,
                                               .connect_timeout_ns = SBX_MS(60),
                                               .max_head_bytes = SBX_HTTP_MAX_HEAD_BYTES};
    assert_int_equal(sbx_http_upstream_new(e->loop, &options, &e->upstream), SBX_OK);
    post(e, &record);
    run_until_finished(e->loop, &record);
    assert_int_equal(record.outcome, SBX_OUTCOME_CONNECT_TIMEOUT);
    record_deinit(&record);
}

static void megabytes_go_both_ways(void **state)
{
    engine *e = *state;
    enum {
        SIZE = 300 * 1000
    };
    call_record record = {0};
    char *bytes = malloc(SIZE);
    assert_non_null(bytes);
    memset(bytes, 'b', SIZE);
    memcpy(bytes + SIZE - 3, "END", 3);
    engine_start(e, "IP:127.0.0.1");
    trust(e, "127.0.0.1", e->ca_path);
    e->answer = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    e->padding = 100000;
    sbx_view body = sbx_view_of(bytes, SIZE);
    record_start(&record, e->upstream, "POST", "/x", &body, 1);
    run_until_finished(e->loop, &record);
    assert_string_equal(record.detail, "");
    assert_int_equal(record.body.len, 100000);
    free(bytes);
    record_deinit(&record);
}

static void only_an_announced_end_completes_a_body_without_framing(void **state)
{
    engine *e = *state;
    call_record announced = {0}, cut = {0};
    engine_start(e, "IP:127.0.0.1");
    trust(e, "127.0.0.1", e->ca_path);
    e->answer = "HTTP/1.1 200 OK\r\n\r\nall";
    e->ends = true;
    post(e, &announced);
    run_until_finished(e->loop, &announced);
    assert_int_equal(announced.ends, 1);

    SSL_free(e->ssl);
    close(e->fd);
    e->fd = -1;
    e->ends = false;
    e->ends_rudely = true;
    post(e, &cut);
    run_until_finished(e->loop, &cut);
    assert_int_equal(cut.fails, 1);
    assert_int_equal(cut.outcome, SBX_OUTCOME_RESET);
    record_deinit(&announced);
    record_deinit(&cut);
}

static void pause_once(call_record *record)
{
    if (record->body.len < 50000)
        return;
    record->on_body = NULL;
    sbx_http_call_pause(record->call);
}

static void a_paused_call_loses_nothing_that_was_decrypted_already(void **state)
{
    engine *e = *state;
    call_record record = {.on_body = pause_once};
    engine_start(e, "IP:127.0.0.1");
    trust(e, "127.0.0.1", e->ca_path);
    e->answer = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    e->padding = 100000;
    post(e, &record);
    run_for(e->loop, 60);
    assert_int_equal(record.finished, 0);
    assert_true(record.body.len < 100000);
    sbx_http_call_resume(record.call);
    run_until_finished(e->loop, &record);
    assert_int_equal(record.body.len, 100000);
    record_deinit(&record);
}

static void a_ca_file_that_is_none_is_told(void **state)
{
    engine *e = *state;
    engine_start(e, "IP:127.0.0.1");
    sbx_tls_context *context = NULL;
    assert_int_equal(sbx_tls_context_new("/dev/null", &context), SBX_E_TLS);
    assert_int_equal(sbx_tls_context_new("/nowhere/ca.pem", &context), SBX_E_TLS);
    assert_null(context);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_https_upstream_is_verified_spoken_to_and_kept),
        TEST(a_name_is_checked_as_well),
        TEST(an_unknown_authority_is_refused),
        TEST(another_hosts_certificate_is_refused),
        TEST(a_plain_server_is_refused),
        TEST(a_silent_server_is_a_connect_timeout),
        TEST(megabytes_go_both_ways),
        TEST(only_an_announced_end_completes_a_body_without_framing),
        TEST(a_paused_call_loses_nothing_that_was_decrypted_already),
        TEST(a_ca_file_that_is_none_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
