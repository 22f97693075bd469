/* Bus frames: the fixed header, and the JSON payloads of HEAD and ERROR. */
#include "codec/bus_frame.h"

#include <assert.h>

#include "codec/json_scan.h"

const char *sbx_frame_type_name(sbx_frame_type type)
{
    switch (type) {
    case SBX_FRAME_ACK:
        return "ack";
    case SBX_FRAME_HEAD:
        return "head";
    case SBX_FRAME_DATA:
        return "data";
    case SBX_FRAME_END:
        return "end";
    case SBX_FRAME_ERROR:
        return "error";
    case SBX_FRAME_PING:
        return "ping";
    }
    return "unknown";
}

static void put_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 4; i++)
        value |= (uint32_t)at[i] << (8 * i);
    return value;
}

void sbx_frame_encode_header(const sbx_frame *frame, uint8_t ret_header[SBX_FRAME_HEADER_BYTES])
{
    assert(frame->payload.len <= UINT32_MAX);
    put_u32(ret_header, frame->seq);
    ret_header[4] = (uint8_t)frame->type;
    ret_header[5] = frame->flags;
    ret_header[6] = 0;
    ret_header[7] = 0;
    put_u32(ret_header + 8, frame->aux);
    put_u32(ret_header + 12, (uint32_t)frame->payload.len);
}

static bool may_have_payload(uint8_t type)
{
    return type == SBX_FRAME_HEAD || type == SBX_FRAME_DATA || type == SBX_FRAME_ERROR;
}

sbx_err sbx_frame_decode(sbx_view message, sbx_frame *ret_frame)
{
    if (message.len < SBX_FRAME_HEADER_BYTES)
        return SBX_E_PARSE;
    const uint8_t *header = message.data;
    sbx_view payload = sbx_view_skip(message, SBX_FRAME_HEADER_BYTES);
    if (header[4] < SBX_FRAME_ACK || header[4] > SBX_FRAME_PING || header[6] != 0 || header[7] != 0)
        return SBX_E_PARSE;
    if (get_u32(header + 12) != payload.len || (payload.len > 0 && !may_have_payload(header[4])))
        return SBX_E_PARSE;
    *ret_frame = (sbx_frame){
        .seq = get_u32(header),
        .type = (sbx_frame_type)header[4],
        .flags = header[5],
        .aux = get_u32(header + 8),
        .payload = payload,
    };
    return SBX_OK;
}

static void write_text(sbx_buf *buf, const char *key, sbx_view text)
{
    if (text.len == 0)
        return;
    sbx_buf_appendf(buf, ",\"%s\":", key);
    sbx_buf_append_json(buf, text);
}

static void write_retry_after(sbx_buf *buf, sbx_time_ns retry_after_ns)
{
    if (retry_after_ns < 0)
        return;
    sbx_buf_append_cstr(buf, ",\"retryAfterMs\":");
    sbx_buf_append_i64(buf, sbx_time_to_ms_ceil(retry_after_ns));
}

sbx_err sbx_frame_head_write(sbx_buf *buf, const sbx_frame_head *head)
{
    sbx_buf_append_cstr(buf, "{\"status\":");
    sbx_buf_append_u64(buf, head->status);
    write_text(buf, "contentType", head->content_type);
    write_text(buf, "contentEncoding", head->content_encoding);
    write_retry_after(buf, head->retry_after_ns);
    return sbx_buf_append_byte(buf, '}');
}

sbx_err sbx_frame_error_write(sbx_buf *buf, const sbx_frame_error *error)
{
    sbx_buf_append_cstr(buf, "{\"outcome\":");
    sbx_buf_append_json(buf, sbx_view_cstr(sbx_outcome_name(error->outcome)));
    write_text(buf, "text", sbx_view_slice(error->text, 0, SBX_FRAME_TEXT_MAX));
    write_retry_after(buf, error->retry_after_ns);
    return sbx_buf_append_byte(buf, '}');
}

/* Absent or null: an empty view. */
static sbx_err read_text(sbx_json_value value, sbx_arena *arena, sbx_view *ret_text)
{
    if (value.type == SBX_JSON_NONE || value.type == SBX_JSON_NULL)
        return SBX_OK;
    return value.type == SBX_JSON_STRING ? sbx_json_string(value.text, arena, ret_text) : SBX_E_PARSE;
}

static sbx_err read_retry_after(sbx_json_value value, sbx_time_ns *ret_ns)
{
    uint64_t ms;
    *ret_ns = -1;
    if (value.type == SBX_JSON_NONE || value.type == SBX_JSON_NULL)
        return SBX_OK;
    sbx_err err = sbx_json_to_u64(value, &ms);
    if (err != SBX_OK || ms > (uint64_t)(INT64_MAX / SBX_MS(1)))
        return SBX_E_PARSE;
    *ret_ns = SBX_MS(ms);
    return SBX_OK;
}

sbx_err sbx_frame_head_parse(sbx_view payload, sbx_arena *arena, sbx_frame_head *ret_head)
{
    sbx_json_want wants[] = {
        {.name = SBX_VIEW("status")},
        {.name = SBX_VIEW("contentType")},
        {.name = SBX_VIEW("contentEncoding")},
        {.name = SBX_VIEW("retryAfterMs")},
    };
    uint64_t status;
    sbx_frame_head head = {0};
    sbx_err err = sbx_json_scan(payload, wants, sizeof wants / sizeof wants[0], NULL, NULL);
    if (err == SBX_OK)
        err = sbx_json_to_u64(wants[0].value, &status) == SBX_OK && status >= 100 && status <= 599
                  ? SBX_OK
                  : SBX_E_PARSE;
    if (err == SBX_OK)
        err = read_text(wants[1].value, arena, &head.content_type);
    if (err == SBX_OK)
        err = read_text(wants[2].value, arena, &head.content_encoding);
    if (err == SBX_OK)
        err = read_retry_after(wants[3].value, &head.retry_after_ns);
    if (err != SBX_OK)
        return err;
    head.status = (uint32_t)status;
    *ret_head = head;
    return SBX_OK;
}

/* A worker newer than we are may know more ways to fail. */
static sbx_outcome outcome_of(sbx_view name)
{
    char text[64];
    sbx_outcome outcome;
    if (sbx_view_to_cstr(name, text, sizeof text) != SBX_OK || !sbx_outcome_from_name(text, &outcome))
        return SBX_OUTCOME_SERVER_ERROR;
    return outcome == SBX_OUTCOME_OK ? SBX_OUTCOME_SERVER_ERROR : outcome;
}

sbx_err sbx_frame_error_parse(sbx_view payload, sbx_arena *arena, sbx_frame_error *ret_error)
{
    sbx_json_want wants[] = {
        {.name = SBX_VIEW("outcome")},
        {.name = SBX_VIEW("text")},
        {.name = SBX_VIEW("retryAfterMs")},
    };
    sbx_view name = {0};
    sbx_frame_error error = {0};
    sbx_err err = sbx_json_scan(payload, wants, sizeof wants / sizeof wants[0], NULL, NULL);
    if (err == SBX_OK)
        err = wants[0].value.type == SBX_JSON_STRING ? read_text(wants[0].value, arena, &name) : SBX_E_PARSE;
    if (err == SBX_OK)
        err = read_text(wants[1].value, arena, &error.text);
    if (err == SBX_OK)
        err = read_retry_after(wants[2].value, &error.retry_after_ns);
    if (err != SBX_OK)
        return err;
    error.outcome = outcome_of(name);
    error.text = sbx_view_slice(error.text, 0, SBX_FRAME_TEXT_MAX);
    *ret_error = error;
    return SBX_OK;
}
