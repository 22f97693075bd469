/* See support_config.h. */
#include "support_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static const char *get_env(void *user, const char *name)
{
    const char *const *pairs = user;
    for (; pairs != NULL && *pairs != NULL; pairs += 2)
        if (strcmp(pairs[0], name) == 0)
            return pairs[1];
    return NULL;
}

static sbx_config_options options_of(const test_environment *environment)
{
    if (environment == NULL)
        return (sbx_config_options){0};
    return (sbx_config_options){.get_env = get_env,
                                .env_user = (void *)(uintptr_t)environment->pairs,
                                .overrides = environment->overrides,
                                .override_count = environment->override_count};
}

static void print_problems(const sbx_config_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        print_error("%s\n", problems->items[i].text);
}

sbx_config *test_load_in(const char *text, const test_environment *environment)
{
    sbx_config_options options = options_of(environment);
    sbx_config_problems problems;
    sbx_config *config = NULL;
    sbx_err err = sbx_config_load_text("f", sbx_view_cstr(text), &options, &problems, &config);
    print_problems(&problems);
    sbx_config_problems_deinit(&problems);
    assert_int_equal(err, SBX_OK);
    assert_non_null(config);
    return config;
}

sbx_config *test_load(const char *text)
{
    return test_load_in(text, NULL);
}

sbx_config *test_load_file_in(const char *path, const test_environment *environment)
{
    sbx_config_options options = options_of(environment);
    sbx_config_problems problems;
    sbx_config *config = NULL;
    sbx_err err = sbx_config_load_file(path, &options, &problems, &config);
    print_problems(&problems);
    sbx_config_problems_deinit(&problems);
    assert_int_equal(err, SBX_OK);
    return config;
}

static void check_problems(sbx_view text, const test_environment *environment, const char *wanted)
{
    sbx_config_options options = options_of(environment);
    sbx_config_problems problems;
    sbx_config *config = NULL;
    sbx_err err = sbx_config_load_text("f", text, &options, &problems, &config);

    sbx_buf found;
    sbx_buf_init(&found, SIZE_MAX);
    for (size_t i = 0; i < problems.count; i++)
        sbx_buf_appendf(&found, "%s%s", i == 0 ? "" : "\n", problems.items[i].text);
    sbx_buf_append_byte(&found, 0);
    sbx_config_problems_deinit(&problems);
    assert_string_equal(found.data + found.head, wanted);
    sbx_buf_deinit(&found);
    assert_int_equal(err, SBX_E_INVALID);
    assert_null(config);
}

void test_problems_in(const char *text, const test_environment *environment, const char *wanted)
{
    check_problems(sbx_view_cstr(text), environment, wanted);
}

void test_problems(const char *text, const char *wanted)
{
    check_problems(sbx_view_cstr(text), NULL, wanted);
}

void test_problems_of_bytes(const void *bytes, size_t len, const char *wanted)
{
    check_problems(sbx_view_of(bytes, len), NULL, wanted);
}
