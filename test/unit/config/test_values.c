/* Single values: how each kind may be written and what it becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support_config.h"

static uint32_t load_timeout(const char *written)
{
    char text[128];
    snprintf(text, sizeof text, "cluster: {requestRouting: {timeoutMs: %s}}\n", written);
    sbx_config *config = test_load(text);
    uint32_t ms = config->cluster.routing.limits.timeout_ms;
    sbx_config_free(config);
    return ms;
}

static void milliseconds_are_whole(void **state)
{
    (void)state;
    assert_int_equal(load_timeout("1"), 1);
    assert_int_equal(load_timeout("30000.0"), 30000);
    assert_int_equal(load_timeout("30000.000000"), 30000);
    assert_int_equal(load_timeout("2592000000"), 2592000000);
    assert_int_equal(load_timeout("null"), 30000);
    assert_int_equal(load_timeout("~"), 30000);
    assert_int_equal(load_timeout(""), 30000);
}

static void numbers_written_in_other_ways_are_refused(void **state)
{
    static const char *const cases[] = {"010",   "0x10",   "1e3",
                                        "+5",    "-5",     "5.5",
                                        "1_000", ".5",     "5.",
                                        "30s",   "1 000",  "18446744073709551616",
                                        "1.0.0", "5.0001", "99999999999999999999999"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        char wanted[256];
        snprintf(text, sizeof text, "cluster: {requestRouting: {timeoutMs: %s}}\n", cases[i]);
        snprintf(wanted, sizeof wanted,
                 "f:1:39: cluster.requestRouting.timeoutMs: found \"%s\", expected whole milliseconds from 1 "
                 "to 2592000000",
                 cases[i]);
        test_problems(text, wanted);
    }
}

static uint32_t load_seconds(const char *written)
{
    char text[128];
    snprintf(text, sizeof text, "helper_nodes: {embedding: {url: http://h, model: m, timeout_sec: %s}}\n",
             written);
    sbx_config *config = test_load(text);
    uint32_t ms = config->helpers.items[0].endpoints.items[0].timeout_ms;
    sbx_config_free(config);
    return ms;
}

static void seconds_may_have_three_decimals(void **state)
{
    (void)state;
    assert_int_equal(load_seconds("10"), 10000);
    assert_int_equal(load_seconds("10.0"), 10000);
    assert_int_equal(load_seconds("1.25"), 1250);
    assert_int_equal(load_seconds("1.001"), 1001);
    assert_int_equal(load_seconds("1.500000"), 1500);
    assert_int_equal(load_seconds("120.000"), 120000);
    test_problems(
        "helper_nodes: {embedding: {url: http://h, model: m, timeout_sec: 1.0001}}\n",
        "f:1:66: helper_nodes.embedding.timeout_sec: found \"1.0001\", expected seconds from 1 to 120");
}

static uint64_t load_size(const char *written)
{
    char text[128];
    snprintf(text, sizeof text, "cluster: {requestRouting: {queue: {maxBytes: %s}}}\n", written);
    sbx_config *config = test_load(text);
    uint64_t bytes = config->cluster.routing.queue.max_bytes;
    sbx_config_free(config);
    return bytes;
}

static void sizes_are_bytes_or_have_a_unit(void **state)
{
    (void)state;
    assert_int_equal(load_size("0"), 0);
    assert_int_equal(load_size("33554432"), 33554432);
    assert_int_equal(load_size("32 MiB"), 33554432);
    assert_int_equal(load_size("32MiB"), 33554432);
    assert_int_equal(load_size("\"32 MiB\""), 33554432);
    assert_int_equal(load_size("64 KiB"), 65536);
    assert_int_equal(load_size("2GiB"), 2147483648);
    assert_int_equal(load_size("1 TiB"), 1099511627776);
    assert_int_equal(load_size("1 kB"), 1000);
    assert_int_equal(load_size("5 MB"), 5000000);
    assert_int_equal(load_size("1 GB"), 1000000000);
    assert_int_equal(load_size("7 B"), 7);
}

static void sizes_written_in_other_ways_are_refused(void **state)
{
    static const char *const cases[] = {
        "32 mib", "1.5 GiB", "32M", "MiB", "-1 MiB", "2 TiB", "99999999999999 TiB", "08"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        char wanted[256];
        snprintf(text, sizeof text, "cluster: {requestRouting: {queue: {maxBytes: %s}}}\n", cases[i]);
        snprintf(wanted, sizeof wanted,
                 "f:1:46: cluster.requestRouting.queue.maxBytes: found \"%s\", expected a size from 0 bytes "
                 "to 1 TiB, such as "
                 "32 MiB",
                 cases[i]);
        test_problems(text, wanted);
    }
}

static bool load_bool(const char *written)
{
    char text[128];
    snprintf(text, sizeof text, "cluster: {requestRouting: {retry: {sameWorker: %s}}}\n", written);
    sbx_config *config = test_load(text);
    bool value = config->cluster.routing.retry.same_worker;
    sbx_config_free(config);
    return value;
}

static void truth_values_are_what_yaml_takes_for_them(void **state)
{
    (void)state;
    assert_true(load_bool("true"));
    assert_true(load_bool("True"));
    assert_true(load_bool("yes"));
    assert_true(load_bool("on"));
    assert_false(load_bool("false"));
    assert_false(load_bool("NO"));
    assert_false(load_bool("off"));
    test_problems("cluster: {requestRouting: {retry: {sameWorker: 1}}}\n",
                  "f:1:48: cluster.requestRouting.retry.sameWorker: found \"1\", expected true or false");
}

static void words_that_yaml_takes_for_truth_values_stay_words(void **state)
{
    (void)state;
    sbx_config *config = test_load("cluster: {nats: {mode: off}, controller: {responseMetadata: off}}\n"
                                   "backends: {a: {url: http://h, stream_usage: on, resume: off}}\n");
    assert_int_equal(config->cluster.nats.mode, SBX_CONFIG_NATS_OFF);
    assert_int_equal(config->cluster.controller.response_metadata, SBX_CONFIG_METADATA_OFF);
    assert_int_equal(config->backends.items[0].stream_usage, SBX_CONFIG_STREAM_USAGE_ON);
    sbx_config_free(config);
}

static void addresses_take_names_and_both_kinds_of_ip(void **state)
{
    (void)state;
    sbx_config *config =
        test_load("cluster: {controller: {bindAddress: \"::\"}, nats: {embedded: {bind: \"[fe80::1]\"}}}\n"
                  "admin: {listen: \"[::1]:9000\"}\n");
    assert_string_equal(config->cluster.controller.bind_address, "::");
    assert_string_equal(config->cluster.nats.embedded.bind, "fe80::1");
    assert_string_equal(config->admin_listen.host, "::1");
    assert_int_equal(config->admin_listen.port, 9000);
    sbx_config_free(config);
}

static void a_listener_needs_address_and_port(void **state)
{
    static const char *const cases[] = {"9000", ":9000",   "localhost", "::1:9000",
                                        "h:",   "h:65536", "h:x",       "256.1.1.1:5"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        char wanted[128];
        snprintf(text, sizeof text, "admin:\n  listen: '%s'\n", cases[i]);
        snprintf(wanted, sizeof wanted,
                 "f:2:11: admin.listen: found the string \"%s\", expected address:port", cases[i]);
        test_problems(text, wanted);
    }
}

static void the_bus_may_have_several_servers(void **state)
{
    (void)state;
    sbx_config *config = test_load("cluster: {nats: {mode: external, serverUrl: \"nats://a:4222, "
                                   "tls://[::1]:5\", user: u, password: p}}\n");
    assert_string_equal(config->cluster.nats.server_url, "nats://a:4222,tls://[::1]:5");
    assert_string_equal(config->cluster.nats.user, "u");
    assert_string_equal(config->cluster.nats.password, "p");
    sbx_config_free(config);
}

static void origins_are_urls_without_a_path(void **state)
{
    (void)state;
    sbx_config *config = test_load(
        "cluster: {controller: {cors: {allowedOrigins: [\"https://a.b/\", \"*\", \"http://l:3000\"]}}}\n");
    const sbx_config_strings *origins = &config->cluster.controller.allowed_origins;
    assert_int_equal(origins->count, 3);
    assert_string_equal(origins->items[0], "https://a.b");
    sbx_config_free(config);
    test_problems("cluster: {controller: {cors: {allowedOrigins: [\"https://a/b\", null]}}}\n",
                  "f:1:48: cluster.controller.cors.allowedOrigins[0]: found \"https://a/b\", expected an "
                  "origin such as "
                  "https://host:8080\n"
                  "f:1:63: cluster.controller.cors.allowedOrigins[1]: found null, expected an origin such as "
                  "https://host:8080");
}

static void one_value_stands_for_a_list_of_one(void **state)
{
    (void)state;
    sbx_config *config = test_load("backends: {a: {url: http://h, models: m, roles: coding}}\n"
                                   "cluster: {requestRouting: {retry: {retryOnErrors: WORKER_OVERLOADED}}}\n"
                                   "security: {api_keys: [k1, {key: k2, name: me}]}\n");
    assert_int_equal(config->backends.items[0].models.count, 1);
    assert_string_equal(config->backends.items[0].roles.items[0], "coding");
    assert_int_equal(config->cluster.routing.retry.on_errors, SBX_CONFIG_RETRY_ON_OVERLOADED);
    assert_string_equal(config->security.api_keys.items[0].key, "k1");
    assert_string_equal(config->security.api_keys.items[0].name, "");
    assert_string_equal(config->security.api_keys.items[1].name, "me");
    sbx_config_free(config);
}

static void an_empty_list_of_errors_retries_nothing(void **state)
{
    (void)state;
    sbx_config *config = test_load("cluster: {requestRouting: {retry: {retryOnErrors: []}}}\n");
    assert_int_equal(config->cluster.routing.retry.on_errors, 0);
    sbx_config_free(config);
}

static void limits_of_a_model_fall_back_to_the_general_ones(void **state)
{
    (void)state;
    sbx_config *config = test_load("cluster:\n"
                                   "  requestRouting:\n"
                                   "    timeoutMs: 5000\n"
                                   "    models:\n"
                                   "      org/slow-4bit: {timeoutMs: 90000}\n"
                                   "      2.5: {streamIdleTimeoutMs: 7}\n");
    sbx_config_limits slow = sbx_config_limits_of(config, "org/slow-4bit");
    assert_int_equal(slow.timeout_ms, 90000);
    assert_int_equal(slow.streaming_timeout_ms, 60000);
    assert_int_equal(sbx_config_limits_of(config, "2.5").stream_idle_timeout_ms, 7);
    assert_int_equal(sbx_config_limits_of(config, "2.5").timeout_ms, 5000);
    assert_int_equal(sbx_config_limits_of(config, "other").timeout_ms, 5000);
    assert_int_equal(sbx_config_limits_of(config, NULL).timeout_ms, 5000);
    sbx_config_free(config);
}

static void a_backend_says_everything_about_itself(void **state)
{
    (void)state;
    sbx_config *config = test_load("backends:\n"
                                   "  mac-studio.local:\n"
                                   "    url: https://Host:8443/llm/v1/\n"
                                   "    models: [a, b]\n"
                                   "    status: inactive\n"
                                   "    api_key: secret\n"
                                   "    max_concurrent: 3\n"
                                   "    weight: 50\n"
                                   "    resume: prefill\n"
                                   "    health_path: /ready?full=1\n"
                                   "    health_check_interval_sec: 2.5\n"
                                   "    name: Mac Studio\n"
                                   "    gpu: M3 Ultra\n"
                                   "    vram_gb: 23.5\n"
                                   "    roles: [coding, chat]\n");
    const sbx_config_backend *backend = &config->backends.items[0];
    assert_true(backend->url.is_https);
    assert_string_equal(backend->url.host, "host");
    assert_int_equal(backend->url.port, 8443);
    assert_string_equal(backend->url.prefix, "/llm/v1");
    assert_int_equal(backend->status, SBX_CONFIG_STATUS_INACTIVE);
    assert_string_equal(backend->api_key, "secret");
    assert_int_equal(backend->max_concurrent, 3);
    assert_int_equal(backend->resume, SBX_CONFIG_RESUME_PREFILL);
    assert_string_equal(backend->health_path, "/ready?full=1");
    assert_int_equal(backend->health_check_interval_ms, 2500);
    assert_string_equal(backend->name, "Mac Studio");
    assert_true(backend->vram_gb > 23.4 && backend->vram_gb < 23.6);
    assert_int_equal(backend->roles.count, 2);
    sbx_config_free(config);
}

static void engines_of_both_kinds_load(void **state)
{
    (void)state;
    sbx_config *config =
        test_load("cluster:\n"
                  "  worker:\n"
                  "    workerId: mac-1\n"
                  "    engines:\n"
                  "      - {kind: simulated, models: [sim], simulated: {firstTokenMs: 0, seed: 4294967295}}\n"
                  "      - {url: http://localhost:11434, streamUsage: off, maxConcurrent: 2}\n");
    const sbx_config_worker *worker = &config->cluster.worker;
    assert_string_equal(worker->id, "mac-1");
    assert_int_equal(worker->engines.count, 2);
    assert_int_equal(worker->engines.items[0].kind, SBX_CONFIG_ENGINE_SIMULATED);
    assert_null(worker->engines.items[0].url.text);
    assert_int_equal(worker->engines.items[0].simulated.first_token_ms, 0);
    assert_int_equal(worker->engines.items[0].simulated.seed, 4294967295);
    assert_int_equal(worker->engines.items[1].url.port, 11434);
    assert_int_equal(worker->engines.items[1].max_concurrent, 2);
    sbx_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(milliseconds_are_whole),
        cmocka_unit_test(numbers_written_in_other_ways_are_refused),
        cmocka_unit_test(seconds_may_have_three_decimals),
        cmocka_unit_test(sizes_are_bytes_or_have_a_unit),
        cmocka_unit_test(sizes_written_in_other_ways_are_refused),
        cmocka_unit_test(truth_values_are_what_yaml_takes_for_them),
        cmocka_unit_test(words_that_yaml_takes_for_truth_values_stay_words),
        cmocka_unit_test(addresses_take_names_and_both_kinds_of_ip),
        cmocka_unit_test(a_listener_needs_address_and_port),
        cmocka_unit_test(the_bus_may_have_several_servers),
        cmocka_unit_test(origins_are_urls_without_a_path),
        cmocka_unit_test(one_value_stands_for_a_list_of_one),
        cmocka_unit_test(an_empty_list_of_errors_retries_nothing),
        cmocka_unit_test(limits_of_a_model_fall_back_to_the_general_ones),
        cmocka_unit_test(a_backend_says_everything_about_itself),
        cmocka_unit_test(engines_of_both_kinds_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
