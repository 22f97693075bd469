/* The defaults, key by key, as the project promises them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support_config.h"

static sbx_config *config;

static int load_nothing(void **state)
{
    (void)state;
    config = test_load("");
    return 0;
}

static int free_it(void **state)
{
    (void)state;
    sbx_config_free(config);
    return 0;
}

static void an_empty_file_is_a_controller_without_workers(void **state)
{
    (void)state;
    assert_int_equal(config->cluster.mode, SBX_CONFIG_MODE_BOTH);
    assert_int_equal(config->backends.count, 0);
    assert_int_equal(config->cluster.static_workers.count, 0);
    assert_int_equal(config->cluster.worker.engines.count, 0);
    assert_int_equal(config->helpers.count, 0);
    assert_null(sbx_config_helper_of(config, SBX_CONFIG_HELPER_EMBEDDING));
}

static void braces_comments_and_null_are_as_good_as_an_empty_file(void **state)
{
    static const char *const texts[] = {"{}",         "# nothing\n", "null",
                                        "cluster:\n", "---\n",       "cluster: {nats: ~}\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        sbx_config *other = test_load(texts[i]);
        assert_int_equal(other->cluster.controller.port, 8484);
        sbx_config_free(other);
    }
}

static void the_bus_is_embedded_on_loopback(void **state)
{
    (void)state;
    const sbx_config_nats *nats = &config->cluster.nats;
    assert_int_equal(nats->mode, SBX_CONFIG_NATS_EMBEDDED);
    assert_null(nats->server_url);
    assert_null(nats->user);
    assert_null(nats->password);
    assert_null(nats->token);
    assert_null(nats->nkey_seed_path);
    assert_null(nats->tls.ca_path);
    assert_null(nats->tls.cert_path);
    assert_null(nats->tls.key_path);
    assert_string_equal(nats->subject_prefix, "");
    assert_string_equal(nats->embedded.bind, "127.0.0.1");
    assert_int_equal(nats->embedded.port, 0);
    assert_null(nats->embedded.token);
    assert_null(nats->embedded.store_dir);
}

static void the_controller_has_its_defaults(void **state)
{
    (void)state;
    const sbx_config_controller *controller = &config->cluster.controller;
    assert_null(controller->id);
    assert_string_equal(controller->bind_address, "127.0.0.1");
    assert_int_equal(controller->port, 8484);
    assert_int_equal(controller->max_connections, 10000);
    assert_int_equal(controller->max_body_bytes, 32 << 20);
    assert_int_equal(controller->max_response_bytes, 32 << 20);
    assert_int_equal(controller->max_buffered_bytes, 512 << 20);
    assert_int_equal(controller->header_timeout_ms, 10000);
    assert_int_equal(controller->body_timeout_ms, 30000);
    assert_int_equal(controller->keep_alive_timeout_ms, 75000);
    assert_int_equal(controller->client_write_timeout_ms, 30000);
    assert_int_equal(controller->drain_grace_ms, 1000);
    assert_int_equal(controller->drain_timeout_ms, 600000);
    assert_int_equal(controller->response_metadata, SBX_CONFIG_METADATA_BODY);
    assert_int_equal(controller->sse_keep_alive_ms, 15000);
    assert_int_equal(controller->sse_early_head_ms, 0);
    assert_int_equal(controller->allowed_origins.count, 0);
}

static void worker_discovery_and_balancing_have_their_defaults(void **state)
{
    (void)state;
    const sbx_config_cluster *cluster = &config->cluster;
    assert_null(cluster->worker.id);
    assert_int_equal(cluster->discovery.heartbeat_interval_ms, 1000);
    assert_int_equal(cluster->discovery.offline_timeout_ms, 5000);
    assert_int_equal(cluster->balancing.strategy, SBX_CONFIG_STRATEGY_SMART);
    assert_true(cluster->balancing.sessions.enabled);
    assert_int_equal(cluster->balancing.sessions.ttl_ms, 1800000);
    assert_int_equal(cluster->balancing.sessions.max_sessions, 100000);
    assert_int_equal(cluster->balancing.sessions.load_bound_pct, 150);
    assert_int_equal(cluster->balancing.slow_start_ms, 30000);
}

static void retry_and_breaker_have_their_defaults(void **state)
{
    (void)state;
    const sbx_config_routing *routing = &config->cluster.routing;
    assert_true(routing->retry.enabled);
    assert_int_equal(routing->retry.max_retries, 2);
    assert_int_equal(routing->retry.delay_ms, 100);
    assert_int_equal(routing->retry.max_delay_ms, 1000);
    assert_int_equal(routing->retry.on_errors, 7);
    assert_false(routing->retry.same_worker);
    assert_true(routing->breaker.enabled);
    assert_int_equal(routing->breaker.failure_threshold, 5);
    assert_int_equal(routing->breaker.success_threshold, 2);
    assert_int_equal(routing->breaker.timeout_ms, 30000);
    assert_int_equal(routing->breaker.half_open_max_probes, 1);
    assert_int_equal(routing->breaker.max_open_ms, 300000);
    assert_int_equal(routing->breaker.rate_threshold_pct, 50);
    assert_int_equal(routing->breaker.rate_min_attempts, 20);
    assert_int_equal(routing->breaker.rate_window_ms, 10000);
}

static void limits_queue_and_resume_have_their_defaults(void **state)
{
    (void)state;
    const sbx_config_routing *routing = &config->cluster.routing;
    assert_int_equal(routing->limits.timeout_ms, 30000);
    assert_int_equal(routing->limits.streaming_timeout_ms, 60000);
    assert_int_equal(routing->limits.stream_idle_timeout_ms, 20000);
    assert_int_equal(routing->request_deadline_ms, 600000);
    assert_int_equal(routing->connect_timeout_ms, 1000);
    assert_int_equal(routing->ack_timeout_ms, 250);
    assert_int_equal(routing->models.count, 0);
    assert_int_equal(routing->queue.max_length, 1000);
    assert_int_equal(routing->queue.max_bytes, 256 << 20);
    assert_int_equal(routing->queue.max_wait_ms, 30000);
    assert_int_equal(routing->resume, SBX_CONFIG_RESUME_OFF);
    assert_int_equal(routing->max_resumes, 2);
}

static void stack_security_and_logging_have_their_defaults(void **state)
{
    (void)state;
    assert_null(config->stack.default_model);
    assert_int_equal(config->stack.aliases.count, 0);
    assert_int_equal(config->stack.presets.count, 0);
    assert_null(config->stack.active_preset);
    assert_null(config->stack.state_path);
    assert_null(config->admin_listen.host);
    assert_null(config->security.admin_key);
    assert_int_equal(config->security.api_keys.count, 0);
    assert_int_equal(config->security.profile, SBX_CONFIG_PROFILE_LAN);
    assert_int_equal(config->logging.level, SBX_CONFIG_LOG_INFO);
    assert_int_equal(config->logging.format, SBX_CONFIG_LOG_AUTO);
    assert_null(config->logging.path);
}

static void check_backend_defaults(const sbx_config_backend *backend)
{
    assert_int_equal(backend->models.count, 0);
    assert_int_equal(backend->status, SBX_CONFIG_STATUS_ACTIVE);
    assert_null(backend->api_key);
    assert_int_equal(backend->max_concurrent, 16);
    assert_int_equal(backend->weight, 100);
    assert_int_equal(backend->priority, 1);
    assert_int_equal(backend->resume, SBX_CONFIG_RESUME_OFF);
    assert_int_equal(backend->stream_usage, SBX_CONFIG_STREAM_USAGE_AUTO);
    assert_string_equal(backend->health_path, "/health");
    assert_int_equal(backend->health_check_interval_ms, 30000);
    assert_string_equal(backend->name, "");
    assert_string_equal(backend->gpu, "");
    assert_true(backend->vram_gb <= 0.0);
    assert_int_equal(backend->roles.count, 0);
}

static void backends_and_static_workers_have_the_same_defaults(void **state)
{
    (void)state;
    sbx_config *some = test_load("backends: {a: {url: http://h}}\n"
                                 "cluster: {workers: {static: [{workerId: b, url: http://h}]}}\n");
    check_backend_defaults(&some->backends.items[0]);
    assert_int_equal(some->cluster.static_workers.count, 1);
    assert_string_equal(some->cluster.static_workers.items[0].id, "b");
    check_backend_defaults(&some->cluster.static_workers.items[0]);
    sbx_config_free(some);
}

static void engines_have_their_defaults(void **state)
{
    (void)state;
    sbx_config *some = test_load("cluster: {worker: {engines: [{url: http://h}]}}\n");
    const sbx_config_engine *engine = &some->cluster.worker.engines.items[0];
    assert_int_equal(engine->kind, SBX_CONFIG_ENGINE_OPENAI);
    assert_int_equal(engine->models.count, 0);
    assert_null(engine->api_key);
    assert_int_equal(engine->max_concurrent, 16);
    assert_int_equal(engine->resume, SBX_CONFIG_RESUME_OFF);
    assert_int_equal(engine->stream_usage, SBX_CONFIG_STREAM_USAGE_AUTO);
    assert_int_equal(engine->simulated.first_token_ms, 50);
    assert_int_equal(engine->simulated.tokens_per_second, 50);
    assert_int_equal(engine->simulated.seed, 1);
    sbx_config_free(some);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_is_a_controller_without_workers),
        cmocka_unit_test(braces_comments_and_null_are_as_good_as_an_empty_file),
        cmocka_unit_test(the_bus_is_embedded_on_loopback),
        cmocka_unit_test(the_controller_has_its_defaults),
        cmocka_unit_test(worker_discovery_and_balancing_have_their_defaults),
        cmocka_unit_test(retry_and_breaker_have_their_defaults),
        cmocka_unit_test(limits_queue_and_resume_have_their_defaults),
        cmocka_unit_test(stack_security_and_logging_have_their_defaults),
        cmocka_unit_test(backends_and_static_workers_have_the_same_defaults),
        cmocka_unit_test(engines_have_their_defaults),
    };
    return cmocka_run_group_tests(tests, load_nothing, free_it);
}
