/* What is told of a wrong file: each kind of problem, with its exact place and text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "support_config.h"

static void an_unknown_key_names_the_one_that_was_meant(void **state)
{
    (void)state;
    test_problems("cluster:\n  controler: {}\n",
                  "f:2:3: cluster.controler: found an unknown key, did you mean controller?");
    test_problems(
        "cluster: {requestRouting: {retry: {max_retries: 1}}}\n",
        "f:1:36: cluster.requestRouting.retry.max_retries: found an unknown key, did you mean maxRetries?");
    test_problems("cluster:\n  nats:\n    embedded: {prot: 1}\n",
                  "f:3:16: cluster.nats.embedded.prot: found an unknown key, did you mean port?");
}

static void an_unknown_key_without_a_likeness_gets_the_list(void **state)
{
    (void)state;
    test_problems("routing: {zebra: 1}\n",
                  "f:1:11: routing.zebra: found an unknown key, expected one of default_model, aliases");
    test_problems("1: 2\n",
                  "f:1:1: 1: found an unknown key, expected one of cluster, routing, stack_presets, "
                  "active_stack_preset, stack_state_file, backends, helper_nodes, admin, security, logging");
    test_problems("\"\": 2\n",
                  "f:1:1: found an unknown key, expected one of cluster, routing, stack_presets, "
                  "active_stack_preset, stack_state_file, backends, helper_nodes, admin, security, logging");
}

static void a_key_that_comes_twice_names_the_first_line(void **state)
{
    (void)state;
    test_problems("logging: {level: info}\nadmin: {}\nlogging: {level: debug}\n",
                  "f:3:1: logging: found the key a second time, expected it once (line 1 has it)");
    test_problems("backends:\n  a: {url: http://h}\n  a: {url: http://i}\n",
                  "f:3:3: backends.a: found the key a second time, expected it once (line 2 has it)");
    test_problems("routing:\n  aliases:\n    a: x\n    a: y\n",
                  "f:4:5: routing.aliases.a: found the key a second time, expected it once (line 3 has it)");
}

static void a_value_of_the_wrong_type_is_named(void **state)
{
    (void)state;
    test_problems("cluster: {controller: {port: [1]}}\n",
                  "f:1:30: cluster.controller.port: found a list, expected a whole number from 0 to 65535");
    test_problems("cluster: {controller: {port: \"8484\"}}\n",
                  "f:1:30: cluster.controller.port: found the string \"8484\", expected a whole number from "
                  "0 to 65535");
    test_problems("cluster: 5\n", "f:1:10: cluster: found \"5\", expected a mapping");
    test_problems("logging: []\n", "f:1:10: logging: found a list, expected a mapping");
    test_problems("backends: [a]\n", "f:1:11: backends: found a list, expected a mapping");
    test_problems("cluster: {worker: {engines: {}}}\n",
                  "f:1:29: cluster.worker.engines: found a mapping, expected a list of mappings");
    test_problems("cluster: {worker: {engines: [x]}}\n",
                  "f:1:30: cluster.worker.engines[0]: found \"x\", expected a mapping");
    test_problems("routing: {aliases: {a: {b: c}}}\n",
                  "f:1:24: routing.aliases.a: found a mapping, expected a model id or a list of them");
    test_problems("routing: {aliases: [a]}\n",
                  "f:1:20: routing.aliases: found a list, expected a mapping of at most 10000 names");
    test_problems("- a\n", "f:1:1: found a list, expected a mapping");
    test_problems(
        "cluster: {loadBalancing: {sessionAffinity: {enabled: maybe}}}\n",
        "f:1:54: cluster.loadBalancing.sessionAffinity.enabled: found \"maybe\", expected true or false");
}

static void a_number_out_of_range_is_told_with_the_range(void **state)
{
    (void)state;
    test_problems(
        "cluster:\n  controller:\n    port: 65536\n",
        "f:3:11: cluster.controller.port: found \"65536\", expected a whole number from 0 to 65535");
    test_problems("cluster: {requestRouting: {retry: {maxRetries: 11}}}\n",
                  "f:1:48: cluster.requestRouting.retry.maxRetries: found \"11\", expected a whole number "
                  "from 0 to 10");
    test_problems("cluster: {requestRouting: {timeoutMs: 0}}\n",
                  "f:1:39: cluster.requestRouting.timeoutMs: found \"0\", expected whole milliseconds from 1 "
                  "to 2592000000");
    test_problems("cluster: {controller: {maxBodyBytes: 1}}\n",
                  "f:1:38: cluster.controller.maxBodyBytes: found \"1\", expected a size from 1 KiB to 1 "
                  "TiB, such as 32 MiB");
    test_problems(
        "helper_nodes: {embedding: {url: http://h, model: m, timeout_sec: 120.5}}\n",
        "f:1:66: helper_nodes.embedding.timeout_sec: found \"120.5\", expected seconds from 1 to 120");
}

static void an_unknown_word_is_told_with_the_known_ones(void **state)
{
    (void)state;
    test_problems("cluster: {mode: master}\n",
                  "f:1:17: cluster.mode: found \"master\", expected controller, worker or both");
    test_problems("backends:\n  a:\n    url: http://h\n    status: on\n",
                  "f:4:13: backends.a.status: found \"on\", expected active or inactive");
    test_problems("cluster: {requestRouting: {retry: {retryOnErrors: [WORKER_TIMEOUT, OOPS]}}}\n",
                  "f:1:68: cluster.requestRouting.retry.retryOnErrors[1]: found \"OOPS\", expected any of "
                  "WORKER_TIMEOUT, "
                  "WORKER_UNAVAILABLE or WORKER_OVERLOADED");
    test_problems("helper_nodes: {chat: {url: http://h, model: m}}\n",
                  "f:1:16: helper_nodes.chat: found \"chat\", expected embedding or reranking");
}

#define BAD_URL(url, why)                                                                                    \
    test_problems("backends: {a: {url: " url "}}\n", "f:1:21: backends.a.url: found \"" url                  \
                                                     "\", expected a URL such as http://host:8080/v1: " why)

static void a_bad_url_is_told_with_the_reason(void **state)
{
    (void)state;
    BAD_URL("localhost", "it must begin with http:// or https://");
    BAD_URL("ftp://h", "its scheme must be http or https");
    BAD_URL("http://", "its host is missing");
    BAD_URL("http://h:0", "its port must be from 1 to 65535");
    BAD_URL("http://10.0.0.256", "its host is neither a name nor an address");
    BAD_URL("http://h/v1?x=1", "it must not have a query or fragment");
    test_problems("backends: {a: {url: \"http://me:secret@h\"}}\n",
                  "f:1:21: backends.a.url: found a URL with a user (not shown), expected a URL such as "
                  "http://host:8080/v1: it must not hold a user or password");
}

static void a_bad_url_of_the_bus_is_told_with_the_reason(void **state)
{
    static const char start[] = "cluster:\n  nats:\n    mode: external\n    serverUrl: ";
    static const char *const cases[][2] = {
        {"http://h", "\"http://h\", expected a URL such as nats://host:4222 or tls://host:4222: it must "
                     "begin with nats:// or tls://"},
        {"nats://",
         "\"nats://\", expected a URL such as nats://host:4222 or tls://host:4222: its host is missing"},
        {"nats://h/x", "\"nats://h/x\", expected a URL such as nats://host:4222 or tls://host:4222: nothing "
                       "may follow its port"},
        {"nats://u:p@h",
         "a URL with a user (not shown), expected a URL such as nats://host:4222 or tls://host:4222: "
         "give user and password in keys of their own"},
        {"\"nats://a,\"", "\"nats://a,\", expected a URL such as nats://host:4222 or tls://host:4222: it "
                          "must begin with nats:// or tls://"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        char wanted[256];
        snprintf(text, sizeof text, "%s%s\n", start, cases[i][0]);
        snprintf(wanted, sizeof wanted, "f:4:16: cluster.nats.serverUrl: found %s", cases[i][1]);
        test_problems(text, wanted);
    }
}

static void ids_are_held_to_their_characters(void **state)
{
    (void)state;
    test_problems(
        "cluster: {worker: {workerId: a.b}}\n",
        "f:1:30: cluster.worker.workerId: found \"a.b\", expected 1 to 64 of the characters A-Z a-z 0-9 _ -");
    test_problems("cluster: {controller: {id: \"\"}}\n",
                  "f:1:28: cluster.controller.id: found an empty string, expected 1 to 64 of the characters "
                  "A-Z a-z 0-9 _ -");
    test_problems(
        "cluster: {nats: {subjectPrefix: \"a>b\"}}\n",
        "f:1:33: cluster.nats.subjectPrefix: found the string \"a>b\", expected at most 64 of the characters "
        "A-Z a-z 0-9 _ -");
    test_problems("backends:\n  my mac: {url: http://h}\n",
                  "f:2:3: backends.my mac: found \"my mac\", expected 1 to 64 of the characters A-Z a-z 0-9 "
                  ". _ : @ + -");
    test_problems(
        "cluster: {worker: {workerId: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}\n",
        "f:1:30: cluster.worker.workerId: found "
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\", "
        "expected 1 to 64 of the characters A-Z a-z 0-9 _ -");
}

static void ids_used_twice_are_told(void **state)
{
    (void)state;
    test_problems("backends: {a: {url: http://h}}\n"
                  "cluster:\n"
                  "  workers:\n"
                  "    static:\n"
                  "      - {workerId: a, url: http://h}\n"
                  "      - {workerId: b, url: http://h}\n"
                  "      - {workerId: b, url: http://h}\n",
                  "f:5:20: cluster.workers.static[0].workerId: found \"a\", which a backend has, expected an "
                  "id of its own\n"
                  "f:7:20: cluster.workers.static[2].workerId: found \"b\", which another static worker has, "
                  "expected an "
                  "id of its own");
}

static void what_is_required_and_missing_is_told_at_its_owner(void **state)
{
    (void)state;
    test_problems("backends:\n  a: {model: m}\n",
                  "f:2:3: backends.a.url: found nothing, expected a URL such as http://host:8080/v1");
    test_problems("backends:\n  a:\n", "f:2:5: backends.a: found null, expected a mapping");
    test_problems(
        "cluster: {workers: {static: [{}]}}\n",
        "f:1:30: cluster.workers.static[0].workerId: found nothing, expected 1 to 64 of the characters A-Z "
        "a-z "
        "0-9 . _ : @ + -\n"
        "f:1:30: cluster.workers.static[0].url: found nothing, expected a URL such as http://host:8080/v1");
    test_problems(
        "cluster: {worker: {engines: [{kind: openai}]}}\n",
        "f:1:30: cluster.worker.engines[0].url: found nothing, expected a URL such as http://host:8080/v1");
    test_problems(
        "cluster: {nats: {mode: external}}\n",
        "f:1:24: cluster.nats.serverUrl: found nothing, expected a URL, as cluster.nats.mode is external");
    test_problems(
        "security: {api_keys: [{name: me}]}\n",
        "f:1:23: security.api_keys[0].key: found nothing, expected a string without control characters");
    test_problems("helper_nodes:\n  embedding: {timeout_sec: 5}\n",
                  "f:2:3: helper_nodes.embedding.url: found nothing, expected a URL such as "
                  "http://host:8080/v1, or endpoints\n"
                  "f:2:3: helper_nodes.embedding.model: found nothing, expected a model id");
}

static void the_short_and_the_long_form_of_a_helper_exclude_each_other(void **state)
{
    (void)state;
    test_problems("helper_nodes:\n  embedding:\n    url: http://h\n    model: m\n    endpoints: [{url: "
                  "http://h, model: m}]\n",
                  "f:3:5: helper_nodes.embedding.url: found beside endpoints, expected the short form or "
                  "endpoints, not both\n"
                  "f:4:5: helper_nodes.embedding.model: found beside endpoints, expected the short form or "
                  "endpoints, not "
                  "both");
    test_problems(
        "helper_nodes: {reranking: {endpoints: []}}\n",
        "f:1:39: helper_nodes.reranking.endpoints: found an empty list, expected one endpoint at least");
    test_problems(
        "helper_nodes:\n  embedding:\n    endpoints:\n      - url: http://h\n",
        "f:4:9: helper_nodes.embedding.endpoints[0].model: found nothing, expected a name of 1 to 256 bytes");
}

static void circles_of_aliases_are_told_once_each(void **state)
{
    (void)state;
    test_problems("routing: {aliases: {a: a}}\n",
                  "f:1:21: routing.aliases.a: found the circle a -> a, expected names that end at models");
    test_problems(
        "routing:\n  aliases:\n    m: model\n    a: [m, b]\n    b: [c]\n    c: [m, a]\n    d: [a]\n",
        "f:4:5: routing.aliases.a: found the circle a -> b -> c -> a, expected names that end at models");
    test_problems("routing:\n  default_model: fast\n  aliases: {fast: [auto]}\n",
                  "f:3:13: routing.aliases.fast: found the circle fast -> auto -> fast, expected names that "
                  "end at models");
    test_problems(
        "routing: {default_model: auto}\n",
        "f:1:26: routing.default_model: found the circle auto -> auto, expected names that end at models");
    test_problems("routing: {aliases: {auto: [m]}}\n",
                  "f:1:21: routing.aliases.auto: found the reserved name auto, expected another one, or "
                  "routing.default_model");
}

static void circles_through_roles_are_told_preset_by_preset(void **state)
{
    (void)state;
    test_problems("stack_presets: {p: {roles: {coding: coding}}}\n",
                  "f:1:29: stack_presets.p.roles.coding: found the circle coding -> coding, expected names "
                  "that end at models");
    test_problems("routing: {aliases: {fast: [coding]}}\n"
                  "stack_presets:\n  p: {roles: {coding: [m, fast]}}\n  q: {roles: {coding: m}}\n",
                  "f:3:15: stack_presets.p.roles.coding: found the circle fast -> coding -> fast, expected "
                  "names that end at models");
    test_problems(
        "routing: {aliases: {a: a}}\nstack_presets: {p: {roles: {coding: a}}, q: {roles: {x: a}}}\n",
        "f:1:21: routing.aliases.a: found the circle a -> a, expected names that end at models");
    sbx_config *config = test_load("stack_presets: {p: {roles: {a: b, b: m}}, q: {roles: {b: a, a: m}}}\n");
    assert_int_equal(config->stack.presets.count, 2);
    sbx_config_free(config);
}

static void aliases_of_aliases_without_a_circle_are_fine(void **state)
{
    (void)state;
    sbx_config *config = test_load("routing: {default_model: a, aliases: {a: [b, c], b: [c, m], c: m}}\n");
    assert_int_equal(config->stack.aliases.count, 3);
    sbx_config_free(config);
}

static void lists_of_models_hold_each_once(void **state)
{
    (void)state;
    test_problems("backends: {a: {url: http://h, models: [m, n, m]}}\n",
                  "f:1:46: backends.a.models[2]: found \"m\" a second time, expected it once");
    test_problems("routing: {aliases: {a: []}}\n",
                  "f:1:24: routing.aliases.a: found an empty list, expected a model id or a list of them");
    test_problems("backends: {a: {url: http://h, models: [[m]]}}\n",
                  "f:1:40: backends.a.models[0]: found a list, expected a model id of 1 to 256 bytes");
    test_problems("backends: {a: {url: http://h, model: m, models: [n]}}\n",
                  "f:1:41: backends.a.models: found beside model, expected one of the two");
}

static void an_unknown_preset_is_told(void **state)
{
    (void)state;
    test_problems("stack_presets: {a: {}}\nactive_stack_preset: b\n",
                  "f:2:22: active_stack_preset: found \"b\", expected the name of one of stack_presets");
}

static void numbers_in_the_wrong_order_are_told(void **state)
{
    (void)state;
    test_problems(
        "cluster: {discovery: {heartbeatIntervalMs: 5000, offlineTimeoutMs: 5000}}\n",
        "f:1:68: cluster.discovery.offlineTimeoutMs: found no more than heartbeatIntervalMs, expected more");
    test_problems("cluster: {controller: {maxBufferedBytes: 1 MiB, maxBodyBytes: 2 MiB}}\n",
                  "f:1:42: cluster.controller.maxBufferedBytes: found less than maxBodyBytes, expected as "
                  "much at least");
}

static void what_follows_from_a_number_grows_with_it(void **state)
{
    (void)state;
    sbx_config *config =
        test_load("cluster:\n"
                  "  discovery: {heartbeatIntervalMs: 6000}\n"
                  "  controller: {maxBodyBytes: 1 GiB}\n"
                  "  requestRouting: {retry: {retryDelayMs: 2000}, circuitBreaker: {timeoutMs: 600000}}\n");
    assert_int_equal(config->cluster.discovery.offline_timeout_ms, 30000);
    assert_int_equal(config->cluster.controller.max_buffered_bytes, 1 << 30);
    assert_int_equal(config->cluster.routing.retry.max_delay_ms, 2000);
    assert_int_equal(config->cluster.routing.breaker.max_open_ms, 600000);
    sbx_config_free(config);
}

static void settings_of_the_bus_that_contradict_are_told(void **state)
{
    (void)state;
    test_problems("cluster: {nats: {serverUrl: \"nats://h\"}}\n",
                  "f:1:29: cluster.nats.serverUrl: found a server without cluster.nats.mode, expected mode: "
                  "external beside it");
    test_problems(
        "cluster: {mode: worker, nats: {mode: off}}\n",
        "f:1:38: cluster.nats.mode: found off, expected embedded or external, as cluster.mode is worker");
    test_problems(
        "cluster: {nats: {password: x, tls: {keyFile: k}}}\n",
        "f:1:28: cluster.nats.password: found a password without cluster.nats.user, expected both\n"
        "f:1:46: cluster.nats.tls.keyFile: found a key without cluster.nats.tls.certFile, expected both");
    test_problems(
        "cluster: {nats: {user: u, token: t}}\n",
        "f:1:34: cluster.nats.token: found a second credential, expected one of user, token, nkeySeedFile");
}

static void several_problems_come_in_the_order_of_the_file(void **state)
{
    (void)state;
    test_problems(
        "logging:\n"
        "  level: loud\n"
        "  colour: red\n"
        "backends:\n"
        "  a:\n"
        "    status: gone\n"
        "cluster:\n"
        "  nats: {mode: external}\n"
        "  controller:\n"
        "    port: x\n"
        "    port: 5\n"
        "active_stack_preset: p\n",
        "f:2:10: logging.level: found \"loud\", expected debug, info, warn or error\n"
        "f:3:3: logging.colour: found an unknown key, expected one of level, format, file\n"
        "f:5:3: backends.a.url: found nothing, expected a URL such as http://host:8080/v1\n"
        "f:6:13: backends.a.status: found \"gone\", expected active or inactive\n"
        "f:8:16: cluster.nats.serverUrl: found nothing, expected a URL, as cluster.nats.mode is external\n"
        "f:10:11: cluster.controller.port: found \"x\", expected a whole number from 0 to 65535\n"
        "f:11:5: cluster.controller.port: found the key a second time, expected it once (line 10 has it)\n"
        "f:12:22: active_stack_preset: found \"p\", expected the name of one of stack_presets");
}

static void a_problem_can_be_taken_apart(void **state)
{
    (void)state;
    sbx_config_problems problems;
    sbx_config *config = NULL;
    sbx_err err =
        sbx_config_load_text("x.yaml", SBX_VIEW("admin:\n  listen: here\n"), NULL, &problems, &config);
    assert_int_equal(err, SBX_E_INVALID);
    assert_int_equal(problems.count, 1);
    assert_string_equal(problems.items[0].origin, "x.yaml");
    assert_string_equal(problems.items[0].key, "admin.listen");
    assert_int_equal(problems.items[0].line, 2);
    assert_int_equal(problems.items[0].column, 11);
    sbx_config_problems_deinit(&problems);
}

static void columns_count_characters_and_control_characters_are_escaped(void **state)
{
    (void)state;
    test_problems(
        "{\"\xc3\xa4\xc3\xb6\": 1, logging: {level: \"a\\e[31m\"}}\n",
        "f:1:2: \xc3\xa4\xc3\xb6: found an unknown key, expected one of cluster, routing, stack_presets, "
        "active_stack_preset, stack_state_file, backends, helper_nodes, admin, security, logging\n"
        "f:1:28: logging.level: found the string \"a\\x1b[31m\", expected debug, info, warn or error");
}

static void files_that_cannot_be_read_say_why(void **state)
{
    (void)state;
    sbx_config_problems problems;
    sbx_config *config = NULL;
    assert_int_equal(sbx_config_load_file("test/fixtures/none.yaml", NULL, &problems, &config),
                     SBX_E_NOT_FOUND);
    assert_string_equal(problems.items[0].text,
                        "test/fixtures/none.yaml: found no readable file (No such file or "
                        "directory), expected a configuration");
    sbx_config_problems_deinit(&problems);
    assert_int_equal(sbx_config_load_file("test/fixtures", NULL, &problems, &config), SBX_E_IO);
    assert_int_equal(problems.count, 1);
    sbx_config_problems_deinit(&problems);
    assert_null(config);
}

static void problems_are_kept_up_to_a_cap(void **state)
{
    (void)state;
    sbx_buf text;
    sbx_buf_init(&text, SIZE_MAX);
    for (int i = 0; i < SBX_CONFIG_PROBLEMS_MAX + 5; i++)
        sbx_buf_appendf(&text, "unknown_key_%d: 1\n", i);
    sbx_config_problems problems;
    sbx_config *config = NULL;
    assert_int_equal(sbx_config_load_text("f", sbx_buf_view(&text), NULL, &problems, &config), SBX_E_INVALID);
    assert_int_equal(problems.count, SBX_CONFIG_PROBLEMS_MAX);
    assert_int_equal(problems.items[999].line, 1000);
    sbx_config_problems_deinit(&problems);
    sbx_buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_key_names_the_one_that_was_meant),
        cmocka_unit_test(an_unknown_key_without_a_likeness_gets_the_list),
        cmocka_unit_test(a_key_that_comes_twice_names_the_first_line),
        cmocka_unit_test(a_value_of_the_wrong_type_is_named),
        cmocka_unit_test(a_number_out_of_range_is_told_with_the_range),
        cmocka_unit_test(an_unknown_word_is_told_with_the_known_ones),
        cmocka_unit_test(a_bad_url_is_told_with_the_reason),
        cmocka_unit_test(a_bad_url_of_the_bus_is_told_with_the_reason),
        cmocka_unit_test(ids_are_held_to_their_characters),
        cmocka_unit_test(ids_used_twice_are_told),
        cmocka_unit_test(what_is_required_and_missing_is_told_at_its_owner),
        cmocka_unit_test(the_short_and_the_long_form_of_a_helper_exclude_each_other),
        cmocka_unit_test(circles_of_aliases_are_told_once_each),
        cmocka_unit_test(circles_through_roles_are_told_preset_by_preset),
        cmocka_unit_test(aliases_of_aliases_without_a_circle_are_fine),
        cmocka_unit_test(lists_of_models_hold_each_once),
        cmocka_unit_test(an_unknown_preset_is_told),
        cmocka_unit_test(numbers_in_the_wrong_order_are_told),
        cmocka_unit_test(what_follows_from_a_number_grows_with_it),
        cmocka_unit_test(settings_of_the_bus_that_contradict_are_told),
        cmocka_unit_test(several_problems_come_in_the_order_of_the_file),
        cmocka_unit_test(a_problem_can_be_taken_apart),
        cmocka_unit_test(columns_count_characters_and_control_characters_are_escaped),
        cmocka_unit_test(files_that_cannot_be_read_say_why),
        cmocka_unit_test(problems_are_kept_up_to_a_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
