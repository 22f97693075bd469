/* Fuzzes the configuration loader. layers: config base
 *
 * The first byte picks how the rest is used: as the file, or as the value of an override of one key. Whatever
 * comes, loading ends with a configuration or with problems that each name something, and frees everything.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "config/print.h"

static const char *get_env(void *user, const char *name)
{
    (void)user;
    return strlen(name) < 4 ? "value" : NULL;
}

static void check(sbx_err err, const sbx_config *config, const sbx_config_problems *problems)
{
    assert((err == SBX_OK) == (config != NULL));
    assert((err == SBX_OK) == (problems->count == 0));
    for (size_t i = 0; i < problems->count; i++)
        assert(strstr(problems->items[i].text, "found ") != NULL);
}

static void load_text(sbx_view text, const sbx_config_options *options)
{
    sbx_config_problems problems;
    sbx_config *config = NULL;
    sbx_err err = sbx_config_load_text("f", text, options, &problems, &config);
    check(err, config, &problems);
    sbx_config_problems_deinit(&problems);
    sbx_config_free(config);
}

/* The key of a row without its elements: "backends.<name>.url" gives "backends". */
static void load_override(size_t row, const char *value)
{
    char key[128];
    sbx_config_key_info info = sbx_config_key_at(row % sbx_config_key_count());
    size_t len = strcspn(info.path, "<[");
    memcpy(key, info.path, len);
    key[len > 0 && key[len - 1] == '.' ? len - 1 : len] = '\0';
    sbx_config_override override = {.key = key, .value = value, .origin = "--set"};
    sbx_config_options options = {.get_env = get_env, .overrides = &override, .override_count = 1};
    load_text(SBX_VIEW("backends: {a: {url: http://h}}\n"), &options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 65536)
        return 0;
    if (data[0] < 0xa0) { /* a seed is a plain file: its first byte is text */
        sbx_config_options options = {.get_env = get_env};
        load_text(sbx_view_of(data, size), &options);
        return 0;
    }
    char *value = malloc(size);
    assert(value != NULL);
    memcpy(value, data + 1, size - 1);
    value[size - 1] = '\0';
    load_override((size_t)data[0] * 7 + size, value);
    free(value);
    return 0;
}
