/* See outbox.h. */
#include "worker/outbox.h"

#include <assert.h>

void sbx_outbox_init(sbx_outbox *outbox, size_t cap_bytes)
{
    *outbox = (sbx_outbox){0};
    sbx_buf_init(&outbox->kept, cap_bytes);
}

void sbx_outbox_deinit(sbx_outbox *outbox)
{
    sbx_buf_deinit(&outbox->kept);
}

sbx_err sbx_outbox_add(sbx_outbox *outbox, const sbx_frame *frame, sbx_view *ret_message)
{
    uint8_t header[SBX_FRAME_HEADER_BYTES];
    sbx_frame numbered = *frame;
    size_t before = outbox->kept.len;
    numbered.seq = outbox->next;
    sbx_frame_encode_header(&numbered, header);
    sbx_err err = sbx_buf_append(&outbox->kept, header, sizeof(header));
    if (err == SBX_OK)
        err = sbx_buf_append_view(&outbox->kept, frame->payload);
    if (err != SBX_OK)
        return err; /* the attempt is over: half a frame is never looked at */
    outbox->next++;
    *ret_message = sbx_view_skip(sbx_buf_view(&outbox->kept), before);
    return SBX_OK;
}

/* The frame that the bytes begin with. We wrote them. */
static sbx_view first_frame(sbx_view kept)
{
    assert(kept.len >= SBX_FRAME_HEADER_BYTES);
    const uint8_t *length = kept.data + 12;
    size_t payload =
        (size_t)length[0] | (size_t)length[1] << 8 | (size_t)length[2] << 16 | (size_t)length[3] << 24;
    assert(kept.len - SBX_FRAME_HEADER_BYTES >= payload);
    return sbx_view_slice(kept, 0, SBX_FRAME_HEADER_BYTES + payload);
}

void sbx_outbox_acknowledge(sbx_outbox *outbox, uint32_t wanted)
{
    while (outbox->first < outbox->next && outbox->first < wanted) {
        sbx_buf_consume(&outbox->kept, first_frame(sbx_buf_view(&outbox->kept)).len);
        outbox->first++;
    }
}

bool sbx_outbox_each(const sbx_outbox *outbox, uint32_t from, size_t *position, sbx_view *ret_message)
{
    sbx_view rest = sbx_view_skip(sbx_buf_view(&outbox->kept), *position);
    while (rest.len > 0) {
        sbx_frame frame;
        sbx_view message = first_frame(rest);
        rest = sbx_view_skip(rest, message.len);
        *position += message.len;
        if (sbx_frame_decode(message, &frame) != SBX_OK || frame.seq < from)
            continue;
        *ret_message = message;
        return true;
    }
    return false;
}
