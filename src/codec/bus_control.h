/* The small messages and fixed names between controller and worker (docs/bus.md): flags of frames, headers of
 * a run, `credit` and `replay`. Both sides use these, so that they cannot drift apart. */
#ifndef SBX_CODEC_BUS_CONTROL_H
#define SBX_CODEC_BUS_CONTROL_H

#include "base/err.h"
#include "base/view.h"

/* Bits of sbx_frame.flags, by frame type. */
enum {
    SBX_FRAME_DATA_PART = 1,     /* does not end at an SSE event boundary */
    SBX_FRAME_ERROR_UNKNOWN = 1, /* unnumbered: the worker does not have this attempt (any more) */
    SBX_FRAME_PING_PROGRESS = 1, /* the engine is seen at work on this attempt */
    SBX_FRAME_PING_BODY = 2      /* aux: bytes of a large body that are there */
};

#define SBX_BUS_HEADER_RID         "Sbx-Rid"
#define SBX_BUS_HEADER_ATTEMPT     "Sbx-Attempt"
#define SBX_BUS_HEADER_PATH        "Sbx-Path"
#define SBX_BUS_HEADER_STREAM      "Sbx-Stream"
#define SBX_BUS_HEADER_DEADLINE_MS "Sbx-Deadline-Ms"
#define SBX_BUS_HEADER_EXPIRES_MS  "Sbx-Expires-Ms"
#define SBX_BUS_HEADER_CREDIT      "Sbx-Credit"
#define SBX_BUS_HEADER_BODY_BYTES  "Sbx-Body-Bytes"
#define SBX_BUS_HEADER_OFFSET      "Sbx-Offset" /* of a chunk */
#define SBX_BUS_HEADER_STATUS      "Sbx-Status" /* of a plain request's answer */
#define SBX_BUS_HEADER_TRACEPARENT "traceparent"

enum {
    SBX_BUS_INLINE_BODY = 64 * 1024,   /* a larger body comes in chunks */
    SBX_BUS_CHUNK_BYTES = 1024 * 1024, /* at most, each */
    SBX_BUS_CHUNK_WINDOW = 4,          /* chunks beyond what the worker said it has */
    SBX_BUS_DATA_BYTES = 64 * 1024,    /* payload of one DATA frame at most */
    SBX_BUS_PAYLOAD_MARGIN = 4 * 1024, /* left of max_payload for headers */
    SBX_BUS_CONTROL_TEXT = 64          /* room for the messages below, with their NUL */
};

/* {"seq":17,"bytes":393216}: the next frame wanted, and the total of DATA bytes allowed. */
typedef struct sbx_bus_credit {
    uint32_t seq;
    uint64_t bytes;
} sbx_bus_credit;

/* Give the text's view, inside ret_text. */
sbx_view sbx_bus_credit_write(const sbx_bus_credit *credit, char ret_text[SBX_BUS_CONTROL_TEXT]);
sbx_view sbx_bus_replay_write(uint32_t from, char ret_text[SBX_BUS_CONTROL_TEXT]);

/* SBX_E_PARSE. */
sbx_err sbx_bus_credit_parse(sbx_view message, sbx_bus_credit *ret_credit);
sbx_err sbx_bus_replay_parse(sbx_view message, uint32_t *ret_from);

#endif
