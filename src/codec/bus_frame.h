/* Frames that a worker sends for one attempt: a 16-byte little-endian header
 *   u32 seq | u8 type | u8 flags | u16 reserved | u32 aux | u32 length
 * then `length` payload bytes. One bus message is one frame. seq counts from 0 without gaps; PING, and ERROR
 * with SBX_FRAME_ERROR_UNKNOWN, use none up. Flags are in codec/bus_control.h, the whole protocol in
 * docs/bus.md. */
#ifndef SBX_CODEC_BUS_FRAME_H
#define SBX_CODEC_BUS_FRAME_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/outcome.h"
#include "base/time.h"

enum {
    SBX_FRAME_HEADER_BYTES = 16
};

typedef enum sbx_frame_type {
    SBX_FRAME_ACK = 1,   /* the worker has it; empty */
    SBX_FRAME_HEAD = 2,  /* sbx_frame_head */
    SBX_FRAME_DATA = 3,  /* whole SSE events or body bytes exactly as the engine sent them */
    SBX_FRAME_END = 4,   /* the answer is complete; empty */
    SBX_FRAME_ERROR = 5, /* sbx_frame_error; ends the attempt */
    SBX_FRAME_PING = 6,  /* alive; progress by flag; empty */
} sbx_frame_type;

typedef struct sbx_frame {
    uint32_t seq;
    sbx_frame_type type;
    uint8_t flags;
    uint32_t aux; /* ms since the worker accepted the attempt; PING_BODY: bytes of the body it has */
    sbx_view payload;
} sbx_frame;

const char *sbx_frame_type_name(sbx_frame_type type);

/* The header of a frame whose payload follows; only payload.len is read. payload.len must fit 32 bits. */
void sbx_frame_encode_header(const sbx_frame *frame, uint8_t ret_header[SBX_FRAME_HEADER_BYTES]);

/* The payload is borrowed from the message. SBX_E_PARSE: too short, unknown type, reserved bits set, a length
 * that is not the message's, a payload where there must be none. */
sbx_err sbx_frame_decode(sbx_view message, sbx_frame *ret_frame);

/* Payload of HEAD. Unset views are empty. */
typedef struct sbx_frame_head {
    uint32_t status; /* 100 to 599 */
    sbx_view content_type;
    sbx_view content_encoding;
    sbx_time_ns retry_after_ns; /* -1: none; travels in whole milliseconds, rounded up */
} sbx_frame_head;

/* Payload of ERROR. */
typedef struct sbx_frame_error {
    sbx_outcome outcome;        /* travels by name; a name that is not known reads as SERVER_ERROR */
    sbx_time_ns retry_after_ns; /* -1: none */
    sbx_view text;              /* short, for the log; at most SBX_FRAME_TEXT_MAX bytes are sent */
} sbx_frame_error;

enum {
    SBX_FRAME_TEXT_MAX = 512
};

/* As JSON, appended. SBX_E_CAP, SBX_E_NOMEM. */
sbx_err sbx_frame_head_write(sbx_buf *buf, const sbx_frame_head *head);
sbx_err sbx_frame_error_write(sbx_buf *buf, const sbx_frame_error *error);

/* Unknown members are ignored. Views are borrowed from the payload or live in the arena.
 * SBX_E_PARSE, SBX_E_NOMEM. */
sbx_err sbx_frame_head_parse(sbx_view payload, sbx_arena *arena, sbx_frame_head *ret_head);
sbx_err sbx_frame_error_parse(sbx_view payload, sbx_arena *arena, sbx_frame_error *ret_error);

#endif
