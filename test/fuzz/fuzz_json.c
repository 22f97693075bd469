/* The JSON scanner against cJSON, and the walk over what it accepted.
 * layers: codec base
 *
 * Accepted by us must mean accepted by cJSON, whole. The other way round ours is stricter, on purpose: UTF-8
 * and surrogates are checked, control characters, numbers such as 01 or 1. and bytes behind the value are
 * refused, so are duplicate top-level keys, a BOM, and more than 64 levels, 256 keys or 63 bytes in a number.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "codec/json_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static sbx_json_type type_of(const cJSON *item)
{
    if (cJSON_IsObject(item))
        return SBX_JSON_OBJECT;
    if (cJSON_IsArray(item))
        return SBX_JSON_ARRAY;
    if (cJSON_IsString(item))
        return SBX_JSON_STRING;
    if (cJSON_IsNumber(item))
        return SBX_JSON_NUMBER;
    return cJSON_IsBool(item) ? SBX_JSON_BOOL : SBX_JSON_NULL;
}

/* cJSON keeps C strings, so a decoded NUL ends its copy. */
static void assert_same_string(sbx_view string, const char *theirs)
{
    sbx_arena arena;
    sbx_view ours;
    sbx_arena_init(&arena, SIZE_MAX);
    assert(sbx_json_string(string, &arena, &ours) == SBX_OK);
    assert(sbx_json_string_eq(string, ours));
    size_t nul = sbx_view_find(ours, 0, 0);
    assert(sbx_view_eq_cstr(sbx_view_slice(ours, 0, nul), theirs));
    sbx_arena_deinit(&arena);
}

static void assert_same(sbx_json_value ours, const cJSON *theirs)
{
    sbx_json_iter iter;
    sbx_view key;
    sbx_json_value value;
    assert(ours.type == type_of(theirs));
    if (ours.type == SBX_JSON_STRING)
        assert_same_string(ours.text, theirs->valuestring);
    if (ours.type == SBX_JSON_BOOL)
        assert(cJSON_IsTrue(theirs) == (ours.text.len == 4));
    const cJSON *child = theirs->child;
    sbx_json_iter_init(&iter, ours);
    while (sbx_json_iter_next(&iter, &key, &value)) {
        assert(child != NULL);
        if (ours.type == SBX_JSON_OBJECT)
            assert_same_string(key, child->string);
        assert_same(value, child);
        child = child->next;
    }
    assert(child == NULL);
}

static void assert_found_as_walked(sbx_view text, sbx_json_value root)
{
    sbx_json_iter iter;
    sbx_view key;
    sbx_json_value walked;
    sbx_arena arena;
    sbx_arena_init(&arena, SIZE_MAX);
    sbx_json_iter_init(&iter, root);
    while (root.type == SBX_JSON_OBJECT && sbx_json_iter_next(&iter, &key, &walked)) {
        sbx_json_want want = {.name = {0}};
        sbx_json_value found;
        assert(sbx_json_string(key, &arena, &want.name) == SBX_OK);
        assert(sbx_json_scan(text, &want, 1, NULL, NULL) == SBX_OK);
        assert(want.value.text.data == walked.text.data && want.value.text.len == walked.text.len);
        assert(want.value.type == walked.type && text.data + want.key_offset == key.data);
        assert(sbx_json_find(root, want.name, &found) && found.text.data == walked.text.data);
    }
    sbx_arena_deinit(&arena);
}

/* On text that was not accepted the walk must still end and stay inside. */
static void walk(sbx_json_value container, int levels)
{
    sbx_json_iter iter;
    sbx_json_value value;
    sbx_json_iter_init(&iter, container);
    while (levels > 0 && sbx_json_iter_next(&iter, NULL, &value)) {
        assert(value.text.len > 0);
        walk(value, levels - 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sbx_view text = sbx_view_of(data, size);
    sbx_json_value root;
    sbx_errinfo info = {0};
    const char *end = NULL;
    if (sbx_json_scan(text, NULL, 0, &root, &info) != SBX_OK) {
        assert(info.code == SBX_E_PARSE && info.offset <= size && info.text[0] != '\0');
        walk((sbx_json_value){SBX_JSON_ARRAY, text}, 4);
        walk((sbx_json_value){SBX_JSON_OBJECT, text}, 4);
        return 0;
    }
    cJSON *theirs = cJSON_ParseWithLengthOpts((const char *)data, size, &end, 0);
    assert(theirs != NULL);
    assert_same(root, theirs);
    cJSON_Delete(theirs);
    assert_found_as_walked(text, root);
    return 0;
}
