/* Bus frames, their payloads, and workers' registrations: what was read and is written reads the same.
 * layers: codec base
 */
#include <assert.h>
#include <stdint.h>

#include "base/id.h"
#include "codec/bus_frame.h"
#include "codec/bus_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void head(sbx_view payload, sbx_arena *arena, sbx_buf *buf)
{
    sbx_frame_head first, second;
    if (sbx_frame_head_parse(payload, arena, &first) != SBX_OK)
        return;
    assert(sbx_frame_head_write(buf, &first) == SBX_OK);
    assert(sbx_frame_head_parse(sbx_buf_view(buf), arena, &second) == SBX_OK);
    assert(first.status == second.status && first.retry_after_ns == second.retry_after_ns);
    assert(sbx_view_eq(first.content_type, second.content_type));
    assert(sbx_view_eq(first.content_encoding, second.content_encoding));
}

static void error(sbx_view payload, sbx_arena *arena, sbx_buf *buf)
{
    sbx_frame_error first, second;
    if (sbx_frame_error_parse(payload, arena, &first) != SBX_OK)
        return;
    assert(first.outcome != SBX_OUTCOME_OK && first.text.len <= SBX_FRAME_TEXT_MAX);
    assert(sbx_frame_error_write(buf, &first) == SBX_OK);
    assert(sbx_frame_error_parse(sbx_buf_view(buf), arena, &second) == SBX_OK);
    assert(first.outcome == second.outcome && first.retry_after_ns == second.retry_after_ns);
}

static void worker(sbx_view message, sbx_arena *arena, sbx_buf *buf)
{
    sbx_bus_worker first, second;
    if (sbx_bus_worker_parse(message, arena, &first, NULL) != SBX_OK)
        return;
    assert(sbx_id_is_token(first.worker_id) && sbx_id_is_token(first.boot_id));
    assert(first.model_count <= SBX_BUS_MAX_MODELS && first.max_concurrent >= 1);
    assert(sbx_bus_worker_write(buf, &first) == SBX_OK);
    assert(sbx_bus_worker_parse(sbx_buf_view(buf), arena, &second, NULL) == SBX_OK);
    assert(sbx_view_eq(first.worker_id, second.worker_id) && first.model_count == second.model_count);
    assert(first.engine_state == second.engine_state && first.draining == second.draining);
}

static void frame(sbx_view message)
{
    sbx_frame decoded;
    uint8_t header[SBX_FRAME_HEADER_BYTES];
    if (sbx_frame_decode(message, &decoded) != SBX_OK)
        return;
    sbx_frame_encode_header(&decoded, header);
    assert(sbx_view_eq(sbx_view_of(header, sizeof header), sbx_view_slice(message, 0, sizeof header)));
    assert(decoded.payload.len == message.len - sizeof header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(sbx_view, sbx_arena *, sbx_buf *) = {head, error, worker};
    sbx_view message = sbx_view_of(data, size);
    frame(message);
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        sbx_arena arena;
        sbx_buf buf;
        sbx_arena_init(&arena, SIZE_MAX);
        sbx_buf_init(&buf, SIZE_MAX);
        readers[i](message, &arena, &buf);
        readers[i](sbx_view_skip(message, SBX_FRAME_HEADER_BYTES), &arena, &buf);
        sbx_buf_deinit(&buf);
        sbx_arena_deinit(&arena);
    }
    return 0;
}
