/* Printing: defaults that load again, the reference page, names of the environment, rows for completion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/print.h"
#include "config/schema_priv.h"
#include "support_config.h"

/* -- the same configuration?
 * ---------------------------------------------------------------------------------- */

static bool is_inside_element(const char *path)
{
    char name[SBX_CONFIG_ENV_NAME_MAX];
    sbx_config_env_name(path, name, sizeof name);
    return name[0] == '\0';
}

static const void *field(const sbx_config *config, const sbx_row *row)
{
    return (const char *)config + row->offset;
}

static void assert_same_string(const char *a, const char *b)
{
    assert_int_equal(a == NULL, b == NULL);
    if (a != NULL)
        assert_string_equal(a, b);
}

static size_t size_of_kind(sbx_kind kind)
{
    static const size_t sizes[] = {
#define SBX_KIND(name, type, reader) sizeof(type),
#include "config/kinds.def"
#undef SBX_KIND
    };
    return sizes[kind];
}

static bool is_text_kind(sbx_kind kind)
{
    static const bool texts[] = {
#define SBX_KIND(name, type, reader) _Generic((type){0}, const char * : true, default : false),
#include "config/kinds.def"
#undef SBX_KIND
    };
    return texts[kind];
}

static void assert_same_value(const sbx_config *a, const sbx_config *b, const sbx_row *row)
{
    bool is_list =
        row->type != SBX_ROW_KEY || row->kind == SBX_KIND_NAMED_MODELS || row->kind == SBX_KIND_ORIGINS;
    if (is_list)
        assert_int_equal(((const sbx_config_strings *)field(a, row))->count,
                         ((const sbx_config_strings *)field(b, row))->count);
    else if (row->kind == SBX_KIND_LISTEN)
        assert_same_string(((const sbx_config_address *)field(a, row))->host,
                           ((const sbx_config_address *)field(b, row))->host);
    else if (is_text_kind(row->kind))
        assert_same_string(*(const char *const *)field(a, row), *(const char *const *)field(b, row));
    else
        assert_memory_equal(field(a, row), field(b, row), size_of_kind(row->kind));
}

static void printed_defaults_load_as_an_empty_file_does(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    assert_int_equal(sbx_config_print_defaults(&buf), SBX_OK);
    sbx_buf_append_byte(&buf, 0);
    sbx_config *printed = test_load((const char *)buf.data + buf.head);
    sbx_config *empty = test_load("");
    for (size_t i = 0; i < sbx_row_count; i++)
        if (!is_inside_element(sbx_rows[i].path))
            assert_same_value(printed, empty, &sbx_rows[i]);
    sbx_config_free(printed);
    sbx_config_free(empty);
    sbx_buf_deinit(&buf);
}

static void printed_defaults_name_every_key_outside_of_elements(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    assert_int_equal(sbx_config_print_defaults(&buf), SBX_OK);
    size_t keys = 0;
    for (size_t i = 0; i < sbx_row_count; i++) {
        if (is_inside_element(sbx_rows[i].path))
            continue;
        keys++;
        assert_true(sbx_view_contains(sbx_buf_view(&buf), sbx_view_cstr(sbx_rows[i].meaning)));
    }
    assert_in_range(keys, 80, 200);
    sbx_buf_deinit(&buf);
}

static void printing_reports_a_full_buffer(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, 100);
    assert_int_equal(sbx_config_print_defaults(&buf), SBX_E_CAP);
    sbx_buf_clear(&buf);
    assert_int_equal(sbx_config_print_docs(&buf), SBX_E_CAP);
    sbx_buf_deinit(&buf);
}

/* -- the reference page
 * ------------------------------------------------------------------------------------------ */

static const char page[] = "docs/configuration.md";

static void write_page(const sbx_buf *buf)
{
    FILE *file = fopen(page, "wb");
    assert_non_null(file);
    sbx_view text = sbx_buf_view(buf);
    assert_int_equal(fwrite(text.data, 1, text.len, file), text.len);
    assert_int_equal(fclose(file), 0);
}

static void the_reference_page_is_what_the_table_says(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    assert_int_equal(sbx_config_print_docs(&buf), SBX_OK);
    if (getenv("SBX_UPDATE_DOCS") != NULL)
        write_page(&buf);

    FILE *file = fopen(page, "rb");
    assert_non_null(file);
    char *found = calloc(1, 1 << 20);
    assert_non_null(found);
    size_t len = fread(found, 1, (1 << 20) - 1, file);
    fclose(file);
    if (!sbx_view_eq(sbx_view_of(found, len), sbx_buf_view(&buf)))
        fail_msg("%s is stale: run this test with SBX_UPDATE_DOCS=1", page);
    free(found);
    sbx_buf_deinit(&buf);
}

/* -- names
 * ----------------------------------------------------------------------------------------------------------
 */

static void check_env_name(const char *path, const char *wanted)
{
    char name[SBX_CONFIG_ENV_NAME_MAX];
    sbx_config_env_name(path, name, sizeof name);
    assert_string_equal(name, wanted);
}

static void names_of_the_environment_follow_the_path(void **state)
{
    (void)state;
    check_env_name("cluster.controller.port", "SIGNALBOX_CONTROLLER_PORT");
    check_env_name("cluster.nats.serverUrl", "SIGNALBOX_NATS_SERVER_URL");
    check_env_name("cluster.mode", "SIGNALBOX_MODE");
    check_env_name("routing.default_model", "SIGNALBOX_ROUTING_DEFAULT_MODEL");
    check_env_name("cluster.worker.engines[]", "SIGNALBOX_WORKER_ENGINES");
    check_env_name("backends.<name>", "SIGNALBOX_BACKENDS");
    check_env_name("routing.aliases.<name>", "SIGNALBOX_ROUTING_ALIASES");
    check_env_name("backends.<name>.url", "");
    check_env_name("cluster.worker.engines[].url", "");
    check_env_name("stack_presets.<name>.roles.<role>", "");
}

static void no_two_keys_share_a_name_of_the_environment(void **state)
{
    (void)state;
    char a[SBX_CONFIG_ENV_NAME_MAX];
    char b[SBX_CONFIG_ENV_NAME_MAX];
    for (size_t i = 0; i < sbx_row_count; i++) {
        sbx_config_env_name(sbx_rows[i].path, a, sizeof a);
        for (size_t j = 0; j < i && a[0] != '\0'; j++) {
            sbx_config_env_name(sbx_rows[j].path, b, sizeof b);
            assert_string_not_equal(a, b);
        }
    }
}

static void completion_sees_every_row(void **state)
{
    (void)state;
    assert_int_equal(sbx_config_key_count(), sbx_row_count);
    sbx_config_key_info mode = sbx_config_key_at(0);
    assert_string_equal(mode.path, "cluster.mode");
    assert_string_equal(mode.default_text, "both");
    assert_string_equal(mode.words[0], "controller");
    assert_null(mode.words[3]);
    assert_false(mode.is_secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printed_defaults_load_as_an_empty_file_does),
        cmocka_unit_test(printed_defaults_name_every_key_outside_of_elements),
        cmocka_unit_test(printing_reports_a_full_buffer),
        cmocka_unit_test(the_reference_page_is_what_the_table_says),
        cmocka_unit_test(names_of_the_environment_follow_the_path),
        cmocka_unit_test(no_two_keys_share_a_name_of_the_environment),
        cmocka_unit_test(completion_sees_every_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
