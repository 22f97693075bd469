/* A page of docs/ that is made from a table: the test that holds the generator compares the file with the
 * text, and writes the file anew when SBX_UPDATE_DOCS is set. Include after cmocka.h; tests run in the root.
 */
#ifndef SUPPORT_PAGE_H
#define SUPPORT_PAGE_H

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

static inline void page_write(const char *path, sbx_view text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text.data, 1, text.len, file), text.len);
    assert_int_equal(fclose(file), 0);
}

static inline void page_is_fresh(const char *path, const sbx_buf *text)
{
    enum {
        PAGE_MAX = 1 << 20
    };
    assert_int_equal(sbx_buf_error(text), SBX_OK);
    if (getenv("SBX_UPDATE_DOCS") != NULL)
        page_write(path, sbx_buf_view(text));
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s is missing: run this test with SBX_UPDATE_DOCS=1", path);
    char *found = calloc(1, PAGE_MAX);
    assert_non_null(found);
    size_t len = fread(found, 1, PAGE_MAX, file);
    fclose(file);
    bool is_same = sbx_view_eq(sbx_view_of(found, len), sbx_buf_view(text));
    free(found);
    if (!is_same)
        fail_msg("%s is stale: run this test with SBX_UPDATE_DOCS=1", path);
}

#endif
