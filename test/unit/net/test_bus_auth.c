/* Credentials of the bus: NKey, TLS, and the permissions per role that docs/bus.md names. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

#include "net/bus.h"
#include "net/bus_priv.h"
#include "support_nats.h"

/* The pair of NATS's own documentation. */
#define SEED   "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
#define PUBLIC "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

typedef struct side {
    sbx_bus *bus;
    bool is_up;
    int count;
} side;

typedef struct world {
    support_nats server;
    sbx_loop *loop;
    side sides[3];
} world;

static void on_state(void *user, bool is_up)
{
    ((side *)user)->is_up = is_up;
}

static void on_message(void *user, const sbx_bus_message *m)
{
    (void)m;
    ((side *)user)->count++;
}

static void run_for(world *w, int64_t ms)
{
    sbx_time_ns end = (sbx_time_ns)uv_hrtime() + SBX_MS(ms);
    while ((sbx_time_ns)uv_hrtime() < end) {
        uv_run(sbx_loop_uv(w->loop), UV_RUN_NOWAIT);
        uv_sleep(1);
    }
}

static bool comes_up(world *w, const side *s)
{
    for (int i = 0; i < 200 && !s->is_up; i++)
        run_for(w, 5);
    return s->is_up;
}

static sbx_err open_side(world *w, int i, sbx_bus_options options)
{
    side *s = &w->sides[i];
    return sbx_bus_new(w->loop, &options, on_state, s, &s->bus);
}

static int open_world(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_int_equal(sbx_loop_new(&w->loop), SBX_OK);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    for (int i = 0; i < 3; i++)
        sbx_bus_free(w->sides[i].bus);
    sbx_loop_free(w->loop);
    support_nats_stop(&w->server);
    free(w);
    return 0;
}

static const char *in_dir(const world *w, const char *name)
{
    static char path[2][160];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", w->server.dir, name);
    return path[turn];
}

/* ---- NKey ---- */

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

static void write_seeds(const char *dir)
{
    write_file(dir, "seed", SEED "\n");
    write_file(dir, "typo", "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCV3VY\n");
    write_file(dir, "framed", "-----BEGIN USER NKEY SEED-----\n" SEED "\n------END USER NKEY SEED------\n");
}

static void an_nkey_gets_in_by_its_seed_file(void **state)
{
    world *w = *state;
    char key[BUS_NKEY_LEN + 1];
    support_nats_start_with(&w->server, "authorization { users: [ { nkey: " PUBLIC " } ] }", write_seeds);
    assert_int_equal(sbx_bus_nkey_public(in_dir(w, "seed"), key), SBX_OK);
    assert_string_equal(key, PUBLIC);
    assert_int_equal(sbx_bus_nkey_public(in_dir(w, "framed"), key), SBX_OK);
    assert_string_equal(key, PUBLIC);
    assert_int_equal(sbx_bus_nkey_public(in_dir(w, "typo"), key), SBX_E_PARSE);
    assert_int_equal(sbx_bus_nkey_public(in_dir(w, "none"), key), SBX_E_IO);

    sbx_bus_options options = {.url = w->server.url, .nkey_seed_file = in_dir(w, "seed")};
    assert_int_equal(open_side(w, 0, options), SBX_OK);
    assert_true(comes_up(w, &w->sides[0]));
    assert_int_equal(open_side(w, 1, (sbx_bus_options){.url = w->server.url}), SBX_OK);
    assert_false(comes_up(w, &w->sides[1]));
}

/* ---- TLS ---- */

static void write_certificate(const char *dir)
{
    char path[160];
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *cert = X509_new();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    const unsigned char name[] = "127.0.0.1";
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1,DNS:127.0.0.1");
    X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "CA:TRUE");
    X509_add_ext(cert, san, -1);
    X509_add_ext(cert, ca, -1);
    X509_sign(cert, key, EVP_sha256());
    snprintf(path, sizeof path, "%s/key.pem", dir);
    FILE *file = fopen(path, "w");
    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
    snprintf(path, sizeof path, "%s/cert.pem", dir);
    file = fopen(path, "w");
    PEM_write_X509(file, cert);
    fclose(file);
    X509_EXTENSION_free(san);
    X509_EXTENSION_free(ca);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void tls_works_with_the_right_authority_and_only_with_it(void **state)
{
    world *w = *state;
    char url[64];
    support_nats_start_with(&w->server, "tls { cert_file: \"%s/cert.pem\", key_file: \"%s/key.pem\" }",
                            write_certificate);
    snprintf(url, sizeof url, "tls://127.0.0.1:%d", w->server.port);
    assert_int_equal(open_side(w, 0, (sbx_bus_options){.url = url, .ca_file = in_dir(w, "cert.pem")}),
                     SBX_OK);
    assert_true(comes_up(w, &w->sides[0]));
    assert_int_equal(open_side(w, 1, (sbx_bus_options){.url = url}), SBX_OK);
    assert_false(comes_up(w, &w->sides[1]));
    sbx_bus_subscription *s;
    sbx_bus_subscribe(w->sides[0].bus, "big", on_message, &w->sides[0], &s);
    uint8_t *bytes = calloc(1, 900000); /* more than one TLS record, more than a socket takes at once */
    sbx_view body = sbx_view_of(bytes, 900000);
    for (int i = 0; i < 5; i++)
        assert_int_equal(sbx_bus_publish(w->sides[0].bus, SBX_BUS_BULK, "big", NULL, NULL, 0, &body, 1),
                         SBX_OK);
    for (int i = 0; i < 200 && w->sides[0].count < 5; i++)
        run_for(w, 5);
    free(bytes);
    assert_int_equal(w->sides[0].count, 5);
}

/* ---- permissions ---- */

static const char shared_server[] =
    "authorization { users: [\n"
    "  { user: controller, password: c, permissions: {\n"
    "      publish: [\"inference.>\", \"worker.who\", \"controller.>\"],\n"
    "      subscribe: [\"response.c1.>\", \"worker.register\", \"worker.heartbeat\", \"worker.deregister\",\n"
    "                  \"controller.>\"] } },\n"
    "  { user: worker, password: w, permissions: {\n"
    "      publish: [\"worker.register\", \"worker.heartbeat\", \"worker.deregister\", \"response.>\"],\n"
    "      subscribe: [\"inference.w1\", \"inference.w1.>\", \"worker.who\"], allow_responses: true } },\n"
    "  { user: stranger, password: s, permissions: { publish: [\"chat.>\"], subscribe: [\"chat.>\", "
    "\"_INBOX.>\"] } }\n"
    "] }\n";

static void publish(side *s, const char *subject)
{
    sbx_view body = SBX_VIEW("{}");
    sbx_bus_publish(s->bus, SBX_BUS_CONTROL, subject, NULL, NULL, 0, &body, 1);
}

static void listen_on(side *s, const char *subject)
{
    sbx_bus_subscription *unused;
    assert_int_equal(sbx_bus_subscribe(s->bus, subject, on_message, s, &unused), SBX_OK);
}

static void open_roles(world *w)
{
    const char *url = w->server.url;
    assert_int_equal(open_side(w, 0, (sbx_bus_options){.url = url, .user = "controller", .password = "c"}),
                     SBX_OK);
    assert_int_equal(open_side(w, 1, (sbx_bus_options){.url = url, .user = "worker", .password = "w"}),
                     SBX_OK);
    assert_int_equal(open_side(w, 2, (sbx_bus_options){.url = url, .user = "stranger", .password = "s"}),
                     SBX_OK);
    for (int i = 0; i < 3; i++)
        assert_true(comes_up(w, &w->sides[i]));
}

static void a_stranger_can_neither_register_a_worker_nor_read_answers(void **state)
{
    world *w = *state;
    support_nats_start_with(&w->server, shared_server, NULL);
    open_roles(w);
    side *controller = &w->sides[0], *worker = &w->sides[1], *stranger = &w->sides[2];
    listen_on(controller, "response.c1.>");
    listen_on(controller, "worker.register");
    listen_on(worker, "inference.w1.>");
    listen_on(stranger, "response.>");
    listen_on(stranger, "inference.>");
    run_for(w, 30);
    publish(stranger, "worker.register");
    publish(stranger, "inference.w1.run");
    run_for(w, 30);
    assert_int_equal(controller->count, 0);
    assert_int_equal(worker->count, 0);
    publish(worker, "worker.register");
    publish(worker, "response.c1.r.1");
    publish(controller, "inference.w1.run");
    run_for(w, 30);
    assert_int_equal(controller->count, 2);
    assert_int_equal(worker->count, 1);
    assert_int_equal(stranger->count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
        T(an_nkey_gets_in_by_its_seed_file),
        T(tls_works_with_the_right_authority_and_only_with_it),
        T(a_stranger_can_neither_register_a_worker_nor_read_answers),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
