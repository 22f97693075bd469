/* What comes from outside the file: ${NAME}, files of secrets, variables of the environment, overrides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "support_config.h"

/* -- ${NAME}
 * ------------------------------------------------------------------------------------------------------- */

static const char *const some[] = {"HOST",    "gpu-1", "PORT", "9000", "EMPTY", "",
                                   "NULLISH", "null",  "BAD",  "\xff", NULL};
static const test_environment with_some = {.pairs = some};

static void references_are_replaced_inside_values(void **state)
{
    (void)state;
    sbx_config *config =
        test_load_in("backends:\n"
                     "  a:\n"
                     "    url: http://${HOST}:${PORT}/v1\n"
                     "    api_key: ${KEY:-none given}\n"
                     "    name: \"${HOST} ${EMPTY}$ $${HOST} $5\"\n"
                     "    models: [\"${MODEL:-a:b}\", \"${NULLISH}\"]\n"
                     "cluster: {controller: {port: \"${PORT}\", drainGraceMs: \"${GRACE:-5}\"}}\n",
                     &with_some);
    const sbx_config_backend *backend = &config->backends.items[0];
    assert_string_equal(backend->url.host, "gpu-1");
    assert_int_equal(backend->url.port, 9000);
    assert_string_equal(backend->api_key, "none given");
    assert_string_equal(backend->name, "gpu-1 $ ${HOST} $5");
    assert_string_equal(backend->models.items[0], "a:b");
    assert_string_equal(backend->models.items[1], "null");
    assert_int_equal(config->cluster.controller.port, 9000);
    assert_int_equal(config->cluster.controller.drain_grace_ms, 5);
    sbx_config_free(config);
}

static void a_value_that_comes_to_nothing_is_not_set(void **state)
{
    (void)state;
    sbx_config *config = test_load_in("security: {admin_key: \"${EMPTY}\"}\n"
                                      "cluster: {controller: {port: \"${NOPE:-}\"}}\n"
                                      "logging: {file: \"${EMPTY:-}\"}\n",
                                      &with_some);
    assert_null(config->security.admin_key);
    assert_int_equal(config->cluster.controller.port, 8484);
    assert_null(config->logging.path);
    sbx_config_free(config);
}

static void a_default_is_taken_for_an_empty_variable_too(void **state)
{
    (void)state;
    sbx_config *config = test_load_in("backends: {a: {url: http://h, name: \"${EMPTY:-x}\"}}\n", &with_some);
    assert_string_equal(config->backends.items[0].name, "x");
    sbx_config_free(config);
}

static void what_a_reference_becomes_is_not_looked_at_again(void **state)
{
    static const char *const pairs[] = {"A", "${B}", "B", "b", NULL};
    (void)state;
    sbx_config *config = test_load_in("backends:\n  a: &a {url: http://h, name: \"${A}\"}\n  b: *a\n",
                                      &(test_environment){.pairs = pairs});
    assert_string_equal(config->backends.items[0].name, "${B}");
    assert_string_equal(config->backends.items[1].name, "${B}");
    sbx_config_free(config);
}

static void a_variable_that_is_not_set_is_a_problem(void **state)
{
    (void)state;
    test_problems_in(
        "backends: {a: {url: \"http://${NOPE}\", models: [m, \"${NO}\"]}}\nx: ${NOPE}\n", &with_some,
        "f:1:21: backends.a.url: found \"${NOPE}\", expected a variable that is set in the environment, or "
        "${NAME:-text}\n"
        "f:1:51: backends.a.models[1]: found \"${NO}\", expected a variable that is set in the environment, "
        "or "
        "${NAME:-text}\n"
        "f:2:1: x: found an unknown key, expected one of cluster, routing, stack_presets, "
        "active_stack_preset, stack_state_file, backends, helper_nodes, admin, security, logging");
}

static void broken_references_are_problems(void **state)
{
    (void)state;
    test_problems_in(
        "logging: {level: \"${HOST\", file: \"${a b}\", format: \"${HOST:+x}\"}\n", &with_some,
        "f:1:18: logging.level: found \"${\", expected a } that ends it ($${ stands for ${ itself)\n"
        "f:1:34: logging.file: found \"${a b}\", expected ${NAME} or ${NAME:-text} ($${ stands for ${ "
        "itself)\n"
        "f:1:52: logging.format: found \"${HOST:+x}\", expected ${NAME} or ${NAME:-text} ($${ stands for ${ "
        "itself)");
    test_problems_in("logging: {level: \"${BAD}\"}\n", &with_some,
                     "f:1:18: logging.level: found \"${BAD}\", expected UTF-8 text in place of it");
}

/* -- secrets
 * ---------------------------------------------------------------------------------------------------------
 */

struct folder {
    char path[32];
};

static void put_file(const struct folder *folder, const char *name, const char *content, size_t len)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", folder->path, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, len, file), len);
    fclose(file);
}

static struct folder folder_new(void)
{
    struct folder made = {.path = "/tmp/sbx_config_XXXXXX"};
    assert_non_null(mkdtemp(made.path));
    return made;
}

static void folder_remove(const struct folder *folder, const char *const *names)
{
    for (; *names != NULL; names++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%s", folder->path, *names);
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(rmdir(folder->path), 0);
}

static void secrets_come_from_files_beside_the_configuration(void **state)
{
    static const char text[] = "security: {admin_key_file: key}\n"
                               "cluster: {nats: {embedded: {tokenFile: key}, tls: {caFile: ca.pem}}}\n"
                               "logging: {file: /var/log/x}\n"
                               "backends: {a: {url: http://h, api_key_file: key}}\n";
    (void)state;
    struct folder folder = folder_new();
    put_file(&folder, "key", "s3cret\r\n\n", 9);
    put_file(&folder, "c.yaml", text, sizeof text - 1);
    char path[64];
    char ca[64];
    snprintf(path, sizeof path, "%s/c.yaml", folder.path);
    snprintf(ca, sizeof ca, "%s/ca.pem", folder.path);
    sbx_config *config = test_load_file_in(path, NULL);
    assert_string_equal(config->security.admin_key, "s3cret");
    assert_string_equal(config->cluster.nats.embedded.token, "s3cret");
    assert_string_equal(config->backends.items[0].api_key, "s3cret");
    assert_string_equal(config->cluster.nats.tls.ca_path, ca);
    assert_string_equal(config->logging.path, "/var/log/x");
    sbx_config_free(config);
    folder_remove(&folder, (const char *const[]){"key", "c.yaml", NULL});
}

static void a_secret_and_its_file_exclude_each_other(void **state)
{
    (void)state;
    test_problems("security: {admin_key: a, admin_key_file: b}\n",
                  "f:1:26: security.admin_key_file: found beside admin_key, expected one of the two");
    test_problems("cluster: {nats: {tokenFile: b, token: a}}\n",
                  "f:1:29: cluster.nats.tokenFile: found the file \"b\": No such file or directory, expected "
                  "a file that "
                  "can be read\n"
                  "f:1:32: cluster.nats.token: found beside tokenFile, expected one of the two");
}

static void files_of_secrets_that_hold_none_are_told(void **state)
{
    (void)state;
    struct folder folder = folder_new();
    put_file(&folder, "empty", "\n\n", 2);
    put_file(&folder, "two", "a\nb\n", 4);
    put_file(&folder, "bytes", "a\xff", 2);
    char text[256];
    char wanted[1024];
    snprintf(text, sizeof text,
             "backends:\n  a: {url: http://h, api_key_file: %s/empty}\n  b: {url: http://h, api_key_file: "
             "%s/two}\n"
             "  c: {url: http://h, api_key_file: %s/bytes}\n",
             folder.path, folder.path, folder.path);
    snprintf(wanted, sizeof wanted,
             "f:2:36: backends.a.api_key_file: found the file \"%s/empty\": it is empty, expected one line "
             "with the secret\n"
             "f:3:36: backends.b.api_key_file: found the file \"%s/two\": it is no text of one line, "
             "expected one line with "
             "the secret\n"
             "f:4:36: backends.c.api_key_file: found the file \"%s/bytes\": it is no text of one line, "
             "expected one line "
             "with the secret",
             folder.path, folder.path, folder.path);
    test_problems(text, wanted);
    folder_remove(&folder, (const char *const[]){"empty", "two", "bytes", NULL});
}

static void a_secret_is_never_shown(void **state)
{
    (void)state;
    test_problems("security: {admin_key: \"top\\nsecret\"}\n",
                  "f:1:23: security.admin_key: found another value (not shown), expected a string without "
                  "control characters");
}

/* -- the environment
 * ---------------------------------------------------------------------------------------------------- */

static void variables_beat_the_file(void **state)
{
    static const char *const pairs[] = {"SIGNALBOX_CONTROLLER_PORT",
                                        "9000",
                                        "SIGNALBOX_LOGGING_LEVEL",
                                        "",
                                        "SIGNALBOX_REQUEST_ROUTING_RETRY_RETRY_ON_ERRORS",
                                        "WORKER_TIMEOUT, WORKER_OVERLOADED",
                                        "SIGNALBOX_REQUEST_ROUTING_RETRY_SAME_WORKER",
                                        "1",
                                        "SIGNALBOX_SECURITY_ADMIN_KEY",
                                        "${x} # null",
                                        "SIGNALBOX_WORKER_ENGINES",
                                        "[{kind: simulated}]",
                                        "SIGNALBOX_ROUTING_ALIASES",
                                        "{fast: [a, b]}",
                                        NULL};
    (void)state;
    sbx_config *config = test_load_in("cluster: {controller: {port: 1}}\nlogging: {level: warn}\n",
                                      &(test_environment){.pairs = pairs});
    assert_int_equal(config->cluster.controller.port, 9000);
    assert_int_equal(config->logging.level, SBX_CONFIG_LOG_WARN);
    assert_int_equal(config->cluster.routing.retry.on_errors,
                     SBX_CONFIG_RETRY_ON_TIMEOUT | SBX_CONFIG_RETRY_ON_OVERLOADED);
    assert_true(config->cluster.routing.retry.same_worker);
    assert_string_equal(config->security.admin_key, "${x} # null");
    assert_int_equal(config->cluster.worker.engines.count, 1);
    assert_int_equal(config->stack.aliases.items[0].models.count, 2);
    sbx_config_free(config);
}

static void a_variable_works_without_a_file_and_over_a_section_left_empty(void **state)
{
    static const char *const pairs[] = {"SIGNALBOX_NATS_EMBEDDED_BIND", "10.0.0.1", NULL};
    static const char *const texts[] = {"", "{}", "cluster:\n", "cluster: {nats: {embedded: ~}}\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        sbx_config *config = test_load_in(texts[i], &(test_environment){.pairs = pairs});
        assert_string_equal(config->cluster.nats.embedded.bind, "10.0.0.1");
        sbx_config_free(config);
    }
}

static void problems_name_the_variable(void **state)
{
    static const char *const pairs[] = {"SIGNALBOX_CONTROLLER_PORT",
                                        "tcp://10.0.0.1:8484",
                                        "SIGNALBOX_WORKER_ENGINES",
                                        "[{url: x}, {",
                                        "SIGNALBOX_BACKENDS",
                                        "{a: {weight: 0}}",
                                        "SIGNALBOX_LOGGING_FILE",
                                        "\xff",
                                        NULL};
    (void)state;
    test_problems_in(
        "logging: {level: x}\n", &(test_environment){.pairs = pairs},
        "f:1:18: logging.level: found \"x\", expected debug, info, warn or error\n"
        "environment variable SIGNALBOX_LOGGING_FILE: logging.file: found bytes that are no text, expected "
        "UTF-8\n"
        "environment variable SIGNALBOX_CONTROLLER_PORT: cluster.controller.port: found "
        "\"tcp://10.0.0.1:8484\", expected "
        "a whole number from 0 to 65535\n"
        "environment variable SIGNALBOX_BACKENDS: backends.a.url: found nothing, expected a URL such as "
        "http://host:8080/v1\n"
        "environment variable SIGNALBOX_BACKENDS: backends.a.weight: found \"0\", expected a whole number "
        "from 1 to 10000\n"
        "environment variable SIGNALBOX_WORKER_ENGINES: cluster.worker.engines: found text that is not YAML "
        "(did not find "
        "expected node content while parsing a flow node that begins at line 2), expected YAML");
}

static void a_secret_of_the_environment_beats_the_files_in_either_form(void **state)
{
    static const char *const pairs[] = {"SIGNALBOX_NATS_EMBEDDED_TOKEN", "from-env", NULL};
    static const char *const both[] = {"SIGNALBOX_SECURITY_ADMIN_KEY", "a",
                                       "SIGNALBOX_SECURITY_ADMIN_KEY_FILE", "b", NULL};
    (void)state;
    sbx_config *config = test_load_in("cluster: {nats: {embedded: {tokenFile: /nonexistent}}}\n",
                                      &(test_environment){.pairs = pairs});
    assert_string_equal(config->cluster.nats.embedded.token, "from-env");
    sbx_config_free(config);
    test_problems_in(
        "", &(test_environment){.pairs = both},
        "environment variable SIGNALBOX_SECURITY_ADMIN_KEY_FILE: security.admin_key_file: found beside "
        "admin_key, expected one of the two");
}

/* -- overrides
 * --------------------------------------------------------------------------------------------------------------
 */

static void overrides_beat_variables_and_the_last_one_wins(void **state)
{
    static const char *const pairs[] = {"SIGNALBOX_CONTROLLER_PORT", "1", NULL};
    static const sbx_config_override overrides[] = {
        {.key = "cluster.controller.port", .value = "2", .origin = "--port"},
        {.key = "cluster.controller.port", .value = "3", .origin = "--port"},
        {.key = "cluster.nats.mode", .value = "external", .origin = "--join"},
        {.key = "cluster.nats.serverUrl", .value = "nats://h:4222", .origin = "--join"},
        {.key = "cluster.worker.engines",
         .value = "[{url: \"http://e\", models: [m]}]",
         .origin = "--engine"},
        {.key = "backends", .value = "{m2.5: {url: http://b}}", .origin = "--backend"}};
    (void)state;
    sbx_config *config =
        test_load_in("cluster: {controller: {port: 0}, worker: {engines: [{kind: simulated}, {}]}}\n",
                     &(test_environment){.pairs = pairs, .overrides = overrides, .override_count = 6});
    assert_int_equal(config->cluster.controller.port, 3);
    assert_int_equal(config->cluster.nats.mode, SBX_CONFIG_NATS_EXTERNAL);
    assert_int_equal(config->cluster.worker.engines.count, 1);
    assert_string_equal(config->cluster.worker.engines.items[0].url.host, "e");
    assert_string_equal(config->backends.items[0].id, "m2.5");
    sbx_config_free(config);
}

static void problems_name_the_flag(void **state)
{
    static const sbx_config_override overrides[] = {
        {.key = "cluster.controller.prt", .value = "2", .origin = "--set"},
        {.key = "cluster.controller.port", .value = "x", .origin = "--port"},
        {.key = "cluster.controller", .value = "{}", .origin = "--set"},
        {.key = "backends.a.url", .value = "http://h", .origin = "--set"},
        {.key = "cluster.nats.mode", .value = "external", .origin = "--join"}};
    (void)state;
    test_problems_in(
        "", &(test_environment){.overrides = overrides, .override_count = 5},
        "--set: cluster.controller.prt: found an unknown key, expected one outside of lists and maps\n"
        "--port: cluster.controller.port: found \"x\", expected a whole number from 0 to 65535\n"
        "--set: cluster.controller: found an unknown key, expected one outside of lists and maps\n"
        "--set: backends.a.url: found an unknown key, expected one outside of lists and maps\n"
        "--join: cluster.nats.serverUrl: found nothing, expected a URL, as cluster.nats.mode is external");
}

static void an_override_into_something_that_is_no_section_leaves_that_problem(void **state)
{
    static const sbx_config_override overrides[] = {
        {.key = "cluster.controller.port", .value = "2", .origin = "--port"}};
    (void)state;
    test_problems_in("cluster: 5\n", &(test_environment){.overrides = overrides, .override_count = 1},
                     "f:1:10: cluster: found \"5\", expected a mapping");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_are_replaced_inside_values),
        cmocka_unit_test(a_value_that_comes_to_nothing_is_not_set),
        cmocka_unit_test(a_default_is_taken_for_an_empty_variable_too),
        cmocka_unit_test(what_a_reference_becomes_is_not_looked_at_again),
        cmocka_unit_test(a_variable_that_is_not_set_is_a_problem),
        cmocka_unit_test(broken_references_are_problems),
        cmocka_unit_test(secrets_come_from_files_beside_the_configuration),
        cmocka_unit_test(a_secret_and_its_file_exclude_each_other),
        cmocka_unit_test(files_of_secrets_that_hold_none_are_told),
        cmocka_unit_test(a_secret_is_never_shown),
        cmocka_unit_test(variables_beat_the_file),
        cmocka_unit_test(a_variable_works_without_a_file_and_over_a_section_left_empty),
        cmocka_unit_test(problems_name_the_variable),
        cmocka_unit_test(a_secret_of_the_environment_beats_the_files_in_either_form),
        cmocka_unit_test(overrides_beat_variables_and_the_last_one_wins),
        cmocka_unit_test(problems_name_the_flag),
        cmocka_unit_test(an_override_into_something_that_is_no_section_leaves_that_problem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
