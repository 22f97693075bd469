/* YAML as such: what is no YAML or no text, anchors, merging, tags, caps. */
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

static void broken_yaml_is_told_with_its_place(void **state)
{
    (void)state;
    test_problems(
        "cluster:\n  mode: both\n   nats: 1\n",
        "f:3:8: found text that is not YAML (mapping values are not allowed in this context), expected YAML");
    test_problems("logging: {level: info\nx: y", "f:2:2: found text that is not YAML (did not find expected "
                                                 "',' or '}' while parsing a flow mapping that "
                                                 "begins at line 1), expected YAML");
    test_problems("a: [b", "f:2:1: found text that is not YAML (did not find expected ',' or ']' while "
                           "parsing a flow sequence that "
                           "begins at line 1), expected YAML");
    test_problems("a: \"b", "f:1:6: found text that is not YAML (found unexpected end of stream while "
                            "scanning a quoted scalar that "
                            "begins at line 1), expected YAML");
}

static void a_reference_in_braces_without_quotes_gets_a_hint(void **state)
{
    (void)state;
    test_problems("security: {admin_key: ${KEY}}\n",
                  "f:1:24: found text that is not YAML (did not find expected ',' or '}' while parsing a "
                  "flow mapping that "
                  "begins at line 1), expected YAML; between { } or [ ], ${NAME} needs quotes");
}

static void a_tab_as_indentation_is_named(void **state)
{
    (void)state;
    test_problems("cluster:\n\tmode: both\n",
                  "f:2:1: found a tab, expected spaces: YAML is not indented with tabs");
    test_problems("cluster:\n  nats:\n  \tmode: off\n",
                  "f:3:3: found a tab, expected spaces: YAML is not indented with tabs");
}

static void tabs_elsewhere_are_fine(void **state)
{
    (void)state;
    sbx_config *config = test_load("cluster:\t# a comment\twith tabs\n  mode:\tcontroller\t# here\n");
    assert_int_equal(config->cluster.mode, SBX_CONFIG_MODE_CONTROLLER);
    sbx_config_free(config);
}

static void what_is_no_text_is_told(void **state)
{
    (void)state;
    test_problems_of_bytes("a: b\nc: \0", 9, "f:2:4: found a NUL byte, expected UTF-8 text");
    test_problems_of_bytes("a: \"\xff\"", 6, "f:1:5: found the byte 0xff, expected UTF-8 text");
    test_problems_of_bytes("# \xc3\xa4\xc3", 5, "f:1:4: found the byte 0xc3, expected UTF-8 text");
    test_problems_of_bytes("a\r\nb\rc\x1b", 7,
                           "f:3:2: found the control character 0x1b, expected UTF-8 text");
    test_problems_of_bytes("\xff\xfe{\0}\0", 6, "f:1:1: found the byte 0xff, expected UTF-8 text");
}

static void a_nul_written_as_an_escape_is_refused(void **state)
{
    (void)state;
    test_problems("backends: {a: {url: http://h, name: \"a\\0b\"}}\n",
                  "f:1:37: backends.a.name: found the string \"a\\x00b\", expected a string");
    test_problems("backends: {a: {url: http://h, model: \"a\\0b\"}}\n",
                  "f:1:38: backends.a.model: found \"a\\x00b\", expected a model id of 1 to 256 bytes");
    test_problems("\"a\\0b\": 1\n",
                  "f:1:1: a\\x00b: found an unknown key, expected one of cluster, routing, stack_presets, "
                  "active_stack_preset, stack_state_file, backends, helper_nodes, admin, security, "
                  "logging");
}

static void a_byte_order_mark_and_dos_lines_are_fine(void **state)
{
    (void)state;
    sbx_config *config = test_load("\xef\xbb\xbf"
                                   "cluster:\r\n  mode: controller\r\n");
    assert_int_equal(config->cluster.mode, SBX_CONFIG_MODE_CONTROLLER);
    sbx_config_free(config);
}

static void a_second_document_is_refused(void **state)
{
    (void)state;
    test_problems("a: 1\n---\nb: 2\n", "f:2:1: found a second document, expected one");
}

static void anchors_repeat_values(void **state)
{
    (void)state;
    sbx_config *config = test_load("backends:\n"
                                   "  a: {url: http://h, models: &models [m, n], api_key: &key k}\n"
                                   "  b: {url: http://i, models: *models, api_key: *key}\n");
    assert_int_equal(config->backends.items[1].models.count, 2);
    assert_string_equal(config->backends.items[1].models.items[1], "n");
    assert_string_equal(config->backends.items[1].api_key, "k");
    sbx_config_free(config);
}

static void merging_fills_in_what_is_not_written(void **state)
{
    (void)state;
    sbx_config *config = test_load("backends:\n"
                                   "  a: &a {url: http://h, weight: 50, gpu: x}\n"
                                   "  b: {<<: *a, url: http://i}\n"
                                   "  c: &c {url: http://j, weight: 7}\n"
                                   "  d: {weight: 9, <<: [*c, *a]}\n");
    const sbx_config_backend *backends = config->backends.items;
    assert_string_equal(backends[1].url.host, "i");
    assert_int_equal(backends[1].weight, 50);
    assert_string_equal(backends[3].url.host, "j");
    assert_int_equal(backends[3].weight, 9);
    assert_string_equal(backends[3].gpu, "x");
    sbx_config_free(config);
}

static void merging_anything_but_mappings_is_refused(void **state)
{
    (void)state;
    test_problems("backends: {a: {<<: 5}}\n",
                  "f:1:20: found \"5\" after <<, expected a mapping or a list of mappings");
    test_problems("backends: {a: {<<: [{}, x]}}\n",
                  "f:1:20: found a list after <<, expected a mapping or a list of mappings");
}

static void aliases_without_an_anchor_or_into_themselves_are_refused(void **state)
{
    (void)state;
    test_problems("a: *b\n", "f:1:4: found an alias to \"b\", expected an anchor of that name before it");
    test_problems("a: &a [*a]\n", "f:1:8: found an alias to \"a\" inside of it, expected one from outside");
    test_problems("&a a: {<<: *b}\n",
                  "f:1:12: found an alias to \"b\", expected an anchor of that name before it");
}

static void a_bomb_of_aliases_is_refused(void **state)
{
    (void)state;
    sbx_buf text;
    sbx_buf_init(&text, SIZE_MAX);
    sbx_buf_append_cstr(&text, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 20; i++) {
        sbx_buf_appendf(&text, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            sbx_buf_appendf(&text, "%s*a%d", k == 0 ? "" : ", ", i - 1);
        sbx_buf_append_cstr(&text, "]\n");
    }
    sbx_view view = sbx_buf_view(&text);
    test_problems_of_bytes(view.data, view.len, "f:6:10: found more than 200000 values, expected fewer");
    sbx_buf_deinit(&text);
}

static void nesting_has_a_cap(void **state)
{
    (void)state;
    char text[200];
    memset(text, '[', sizeof text);
    test_problems_of_bytes(text, sizeof text, "f:1:33: found more than 32 levels, expected fewer");
}

static void a_file_has_a_cap(void **state)
{
    (void)state;
    char path[] = "/tmp/sbx_config_XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "wb");
    assert_non_null(file);
    for (int i = 0; i <= SBX_CONFIG_FILE_MAX / 64; i++)
        fprintf(file, "#%62s\n", "");
    fclose(file);
    sbx_config_problems problems;
    sbx_config *config = NULL;
    sbx_err err = sbx_config_load_file(path, NULL, &problems, &config);
    remove(path);
    assert_int_equal(err, SBX_E_INVALID);
    assert_int_equal(problems.count, 1);
    assert_non_null(strstr(problems.items[0].text, ": found no readable file (it is too large), expected"));
    sbx_config_problems_deinit(&problems);
}

static void tags_of_yaml_work_and_others_are_refused(void **state)
{
    (void)state;
    sbx_config *config = test_load(
        "cluster: {controller: {port: !!int 5, id: !!str 7}}\nlogging: !!map {level: !!str warn}\n");
    assert_int_equal(config->cluster.controller.port, 5);
    assert_string_equal(config->cluster.controller.id, "7");
    sbx_config_free(config);
    test_problems("a: !x 1\n", "f:1:4: found the tag \"!x\", expected none");
    test_problems("a: !!binary eA==\n", "f:1:4: found the tag \"tag:yaml.org,2002:binary\", expected none");
    test_problems(
        "cluster: {controller: {port: !!str 5}}\n",
        "f:1:30: cluster.controller.port: found the string \"5\", expected a whole number from 0 to 65535");
}

static void a_key_that_is_no_name_is_refused(void **state)
{
    (void)state;
    test_problems("? [a]\n: b\n", "f:1:3: found a list as a key, expected a name");
    test_problems("{{a: b}: c}\n", "f:1:2: found a mapping as a key, expected a name");
}

static void names_that_look_like_other_types_stay_names(void **state)
{
    (void)state;
    sbx_config *config =
        test_load("routing:\n  aliases:\n    4: 1.50\n    yes: [0x10, true]\n    ~: m\n    \"null\": n\n");
    const sbx_config_named_list *aliases = config->stack.aliases.items;
    assert_int_equal(config->stack.aliases.count, 4);
    assert_string_equal(aliases[0].name, "4");
    assert_string_equal(aliases[0].models.items[0], "1.50");
    assert_string_equal(aliases[1].name, "yes");
    assert_string_equal(aliases[1].models.items[0], "0x10");
    assert_string_equal(aliases[1].models.items[1], "true");
    assert_string_equal(aliases[2].name, "~");
    assert_string_equal(aliases[3].name, "null");
    sbx_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_yaml_is_told_with_its_place),
        cmocka_unit_test(a_reference_in_braces_without_quotes_gets_a_hint),
        cmocka_unit_test(a_tab_as_indentation_is_named),
        cmocka_unit_test(tabs_elsewhere_are_fine),
        cmocka_unit_test(what_is_no_text_is_told),
        cmocka_unit_test(a_nul_written_as_an_escape_is_refused),
        cmocka_unit_test(a_byte_order_mark_and_dos_lines_are_fine),
        cmocka_unit_test(a_second_document_is_refused),
        cmocka_unit_test(anchors_repeat_values),
        cmocka_unit_test(merging_fills_in_what_is_not_written),
        cmocka_unit_test(merging_anything_but_mappings_is_refused),
        cmocka_unit_test(aliases_without_an_anchor_or_into_themselves_are_refused),
        cmocka_unit_test(a_bomb_of_aliases_is_refused),
        cmocka_unit_test(nesting_has_a_cap),
        cmocka_unit_test(a_file_has_a_cap),
        cmocka_unit_test(tags_of_yaml_work_and_others_are_refused),
        cmocka_unit_test(a_key_that_is_no_name_is_refused),
        cmocka_unit_test(names_that_look_like_other_types_stay_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
