/* The fixtures: files as operators of this kind of system write them. They load unchanged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support_config.h"

static void helper_nodes_load_in_both_forms(void **state)
{
    (void)state;
    sbx_config *config = test_load_file_in("test/fixtures/helper-nodes.yaml", NULL);
    assert_int_equal(config->helpers.count, 2);

    const sbx_config_helper *embedding = sbx_config_helper_of(config, SBX_CONFIG_HELPER_EMBEDDING);
    assert_int_equal(embedding->endpoints.count, 1);
    const sbx_config_endpoint *one = &embedding->endpoints.items[0];
    assert_string_equal(one->url.host, "192.168.188.20");
    assert_int_equal(one->url.port, 1234);
    assert_string_equal(one->url.prefix, "");
    assert_string_equal(one->model, "nomic-embed-text-v1.5");
    assert_int_equal(one->timeout_ms, 10000);
    assert_string_equal(one->health_path, "/health");
    assert_int_equal(embedding->fallback, SBX_CONFIG_FALLBACK_LOCAL);
    assert_int_equal(embedding->breaker.failure_threshold, 3);
    assert_int_equal(embedding->breaker.reset_timeout_ms, 60000);
    assert_int_equal(embedding->breaker.success_threshold, 1);

    const sbx_config_helper *reranking = sbx_config_helper_of(config, SBX_CONFIG_HELPER_RERANKING);
    assert_int_equal(reranking->endpoints.count, 2);
    assert_int_equal(reranking->endpoints.items[0].priority, 1);
    assert_int_equal(reranking->endpoints.items[1].priority, 2);
    assert_string_equal(reranking->endpoints.items[1].url.prefix, "/v1");
    assert_int_equal(reranking->endpoints.items[1].timeout_ms, 10000);
    assert_int_equal(reranking->fallback, SBX_CONFIG_FALLBACK_SKIP);
    assert_int_equal(reranking->health_check_interval_ms, 30000);
    sbx_config_free(config);
}

static void names_of_backends_that_look_like_numbers_are_strings(void **state)
{
    (void)state;
    sbx_config *config = test_load_file_in("test/fixtures/mono-machine-backends.yaml", NULL);
    assert_int_equal(config->backends.count, 2);
    const sbx_config_backend *backend = &config->backends.items[0];
    assert_string_equal(backend->id, "m2.5-4bit");
    assert_string_equal(backend->url.text, "http://localhost:10001/v1");
    assert_string_equal(backend->url.host, "localhost");
    assert_int_equal(backend->url.port, 10001);
    assert_int_equal(backend->models.count, 1);
    assert_string_equal(backend->models.items[0], "mlx-community/MiniMax-M2.5-4bit");
    assert_int_equal(backend->status, SBX_CONFIG_STATUS_ACTIVE);
    assert_int_equal(backend->max_concurrent, 16);
    assert_string_equal(config->backends.items[1].id, "m2.5-5bit");
    sbx_config_free(config);
}

static void request_routing_loads(void **state)
{
    (void)state;
    sbx_config *config = test_load_file_in("test/fixtures/request-routing.yaml", NULL);
    const sbx_config_routing *routing = &config->cluster.routing;
    assert_int_equal(routing->retry.max_retries, 2);
    assert_int_equal(routing->retry.on_errors, SBX_CONFIG_RETRY_ON_TIMEOUT | SBX_CONFIG_RETRY_ON_UNAVAILABLE |
                                                   SBX_CONFIG_RETRY_ON_OVERLOADED);
    assert_int_equal(routing->breaker.failure_threshold, 5);
    assert_int_equal(routing->breaker.timeout_ms, 30000);
    assert_int_equal(routing->limits.timeout_ms, 30000);
    assert_int_equal(routing->limits.streaming_timeout_ms, 60000);
    sbx_config_free(config);
}

static void stack_presets_load(void **state)
{
    (void)state;
    sbx_config *config = test_load_file_in("test/fixtures/stack-presets.yaml", NULL);
    assert_int_equal(config->stack.presets.count, 2);
    const sbx_config_preset *standard = &config->stack.presets.items[0];
    assert_string_equal(standard->name, "standard");
    assert_string_equal(standard->description, "Standard 4-model stack");
    assert_int_equal(standard->roles.count, 4);
    assert_string_equal(standard->roles.items[3].name, "vision");
    assert_int_equal(standard->roles.items[3].models.count, 1);
    assert_string_equal(standard->roles.items[3].models.items[0],
                        "mlx-community/Qwen2.5-VL-32B-Instruct-4bit");
    assert_null(config->stack.active_preset);
    sbx_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(helper_nodes_load_in_both_forms),
        cmocka_unit_test(names_of_backends_that_look_like_numbers_are_strings),
        cmocka_unit_test(request_routing_loads),
        cmocka_unit_test(stack_presets_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
