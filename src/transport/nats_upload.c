/* Kind nats: a large body goes in chunks on the bulk connection, a few beyond what the worker said it has. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "transport/nats_priv.h"

enum {
    OFFSET_TEXT = 24
};

static uint64_t chunk_size(const nats_call *call)
{
    size_t most = sbx_bus_max_payload(call->peer->link->bus);
    most = most > 2 * SBX_BUS_PAYLOAD_MARGIN ? most - SBX_BUS_PAYLOAD_MARGIN : SBX_BUS_PAYLOAD_MARGIN;
    return most < SBX_BUS_CHUNK_BYTES ? most : SBX_BUS_CHUNK_BYTES;
}

/* The pieces of the body that hold its bytes [from, from + len). Gives how many. */
static size_t cut(const nats_call *call, uint64_t from, uint64_t len, sbx_view *ret_pieces)
{
    size_t count = 0;
    for (size_t i = 0; i < call->body_count && len > 0; i++) {
        sbx_view piece = call->body[i];
        if (from >= piece.len) {
            from -= piece.len;
            continue;
        }
        piece = sbx_view_slice(piece, (size_t)from, (size_t)len);
        from = 0;
        len -= piece.len;
        ret_pieces[count++] = piece;
    }
    return count;
}

static sbx_err send_chunk(nats_call *call, uint64_t len)
{
    char subject[NATS_SUBJECT_MAX], offset[OFFSET_TEXT];
    sbx_view *pieces = calloc(call->body_count, sizeof *pieces);
    if (pieces == NULL)
        return SBX_E_NOMEM;
    snprintf(subject, sizeof subject, "inference.%s.chunk", call->peer->id);
    snprintf(offset, sizeof offset, "%" PRIu64, call->upload.sent);
    sbx_bus_header header = {.name = SBX_BUS_HEADER_OFFSET, .value = offset};
    size_t count = cut(call, call->upload.sent, len, pieces);
    sbx_err err = sbx_bus_publish(call->peer->link->bus, SBX_BUS_BULK, subject, call->subject, &header, 1,
                                  pieces, count);
    free(pieces);
    return err;
}

static bool is_complete(const nats_call *call)
{
    return !call->upload.is_needed || call->upload.there >= call->body_len;
}

static void set_timer(nats_call *call)
{
    int64_t ms = call->upload.is_full ? NATS_UPLOAD_FULL_MS : NATS_UPLOAD_STALL_MS;
    sbx_timer_start(&call->upload.timer, sbx_loop_now(call->peer->link->loop) + SBX_MS(ms));
}

void sbx_nats_upload_go(nats_call *call)
{
    if (is_complete(call)) {
        sbx_nats_upload_stop(call);
        return;
    }
    uint64_t size = chunk_size(call);
    uint64_t limit = call->upload.there + SBX_BUS_CHUNK_WINDOW * size;
    call->upload.is_full = false;
    while (call->upload.sent < call->body_len && call->upload.sent + size <= limit) {
        uint64_t rest = call->body_len - call->upload.sent;
        uint64_t len = rest < size ? rest : size;
        call->upload.is_full = send_chunk(call, len) != SBX_OK;
        if (call->upload.is_full)
            break;
        call->upload.sent += len;
    }
    set_timer(call);
}

/* Is something lost? The same figure again, with more sent (taken so once per figure), or the answer to our
 * question. */
static bool shows_a_loss(const nats_call *call, uint64_t there)
{
    if (call->upload.is_asked)
        return true;
    return there > 0 && there == call->upload.there && there != call->upload.rewound_to;
}

void sbx_nats_upload_take(nats_call *call, uint32_t there)
{
    if (!call->upload.is_needed || !call->is_accepted || there > call->body_len)
        return;
    if (shows_a_loss(call, there)) {
        call->upload.sent = there;
        call->upload.rewound_to = there;
        call->upload.is_asked = false;
    }
    if (there > call->upload.there)
        call->upload.there = there;
    if (call->upload.sent < there)
        call->upload.sent = there;
    sbx_nats_upload_go(call);
}

/* A stuck worker must not be sent the same megabytes again and again: it is asked, by a small message, what
 * it has. */
static void ask(nats_call *call)
{
    char text[SBX_BUS_CONTROL_TEXT];
    call->upload.is_asked = true;
    sbx_nats_call_tell(call, "replay", sbx_bus_replay_write(call->wanted, text));
    set_timer(call);
}

static void on_timer(sbx_timer *timer, void *user)
{
    (void)timer;
    nats_call *call = user;
    if (call->upload.is_full)
        sbx_nats_upload_go(call);
    else
        ask(call);
}

void sbx_nats_upload_init(nats_call *call)
{
    call->upload.rewound_to = UINT64_MAX;
    sbx_timer_init(&call->upload.timer, call->peer->link->loop, on_timer, call);
}

void sbx_nats_upload_stop(nats_call *call)
{
    sbx_timer_stop(&call->upload.timer);
    call->upload.is_asked = true;
}
