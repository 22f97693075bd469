/* The SSE decoder: any split of a stream reads as the whole, and the raw bytes are the stream.
 * layers: codec base
 * The first two bytes choose the split. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    CAP = 4096
};

static void describe(sbx_sse *sse, sbx_buf *out, sbx_buf *raw)
{
    sbx_sse_event event;
    sbx_err err = sbx_sse_next(sse, &event);
    for (; err == SBX_OK; err = sbx_sse_next(sse, &event)) {
        assert(event.raw.len > 0 && event.raw.len <= CAP && event.data.len <= event.raw.len);
        assert(event.is_comment == (!event.has_data && !event.has_other_fields));
        sbx_buf_append_view(raw, event.raw);
        sbx_buf_append_u64(out, event.raw.len);
        sbx_buf_append_byte(out, event.has_data ? 'D' : event.is_comment ? 'C' : 'F');
        sbx_buf_append_view(out, event.data);
    }
    assert(err == SBX_E_AGAIN || err == SBX_E_CAP);
}

static void feed(sbx_sse *sse, const uint8_t *data, size_t size, sbx_buf *out, sbx_buf *raw)
{
    uint8_t *copy = malloc(size + (size == 0)); /* freed after the feed: nobody may look at it later */
    assert(copy != NULL);
    memcpy(copy, data, size);
    if (sbx_sse_feed(sse, sbx_view_of(copy, size)) == SBX_OK)
        describe(sse, out, raw);
    free(copy);
}

static void decode(const uint8_t *data, size_t size, size_t step, sbx_buf *out, sbx_buf *raw)
{
    sbx_sse sse;
    sbx_sse_init(&sse, CAP);
    for (size_t at = 0; at < size; at += step)
        feed(&sse, data + at, size - at < step ? size - at : step, out, raw);
    sbx_sse_end(&sse);
    if (sse.err == SBX_OK)
        describe(&sse, out, raw);
    sbx_buf_append_cstr(out, sbx_err_name(sse.err));
    if (sse.err == SBX_OK)
        sbx_buf_append_u64(out, sbx_sse_pending(&sse));
    sbx_sse_deinit(&sse);
}

static void assert_raw_is_the_stream(sbx_view raw, sbx_view stream)
{
    if (sbx_view_starts_with(stream, SBX_VIEW("\xef\xbb\xbf")))
        stream = sbx_view_skip(stream, 3);
    assert(sbx_view_starts_with(stream, raw));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sbx_buf whole, split, raw, ignored;
    if (size < 2)
        return 0;
    size_t step = 1 + (size_t)data[0] % 64;
    sbx_view stream = sbx_view_of(data + 2, size - 2);
    sbx_buf_init(&whole, SIZE_MAX);
    sbx_buf_init(&split, SIZE_MAX);
    sbx_buf_init(&raw, SIZE_MAX);
    sbx_buf_init(&ignored, SIZE_MAX);
    decode(stream.data, stream.len, stream.len + 1, &whole, &raw);
    decode(stream.data, stream.len, step, &split, &ignored);
    assert(sbx_view_eq(sbx_buf_view(&whole), sbx_buf_view(&split)));
    assert_raw_is_the_stream(sbx_buf_view(&raw), stream);
    sbx_buf_deinit(&whole);
    sbx_buf_deinit(&split);
    sbx_buf_deinit(&raw);
    sbx_buf_deinit(&ignored);
    return 0;
}
