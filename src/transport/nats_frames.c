/* Kind nats: frames become events. Numbered frames are taken in order only; nats_recover.c asks for what is
 * missing.
 *
 * An event's callback may cancel the call: link->current tells whether it is still there. */
#include "transport/nats_priv.h"

static bool is_numbered(const sbx_frame *frame)
{
    return frame->type != SBX_FRAME_PING &&
           !(frame->type == SBX_FRAME_ERROR && (frame->flags & SBX_FRAME_ERROR_UNKNOWN) != 0);
}

static void break_off(nats_call *call, const char *detail)
{
    sbx_nats_call_tell(call, "cancel", (sbx_view){0});
    sbx_nats_call_fail(call, SBX_OUTCOME_MALFORMED, /* retry_after_ns= */ -1, detail);
}

/* The last frame was taken: the worker may forget all of it. */
static void acknowledge(const nats_call *call)
{
    char text[SBX_BUS_CONTROL_TEXT];
    sbx_bus_credit credit = {.seq = call->wanted, .bytes = call->granted};
    sbx_nats_call_tell(call, "credit", sbx_bus_credit_write(&credit, text));
}

/* ---- one function per frame ---- */

static void take_ack(nats_call *call)
{
    call->is_accepted = true;
    sbx_nats_upload_go(call);
    call->events->on_accepted(call->user);
}

static void take_head(nats_call *call, sbx_view payload)
{
    sbx_frame_head head;
    if (call->has_head || sbx_frame_head_parse(payload, &call->peer->link->arena, &head) != SBX_OK) {
        break_off(call, "a HEAD frame that is not one");
        return;
    }
    call->has_head = true;
    sbx_answer_head answer = {
        .status = head.status,
        .content_type = head.content_type,
        .content_encoding = head.content_encoding,
        .retry_after_ns = head.retry_after_ns,
    };
    call->events->on_head(call->user, &answer);
}

static void take_data(nats_call *call, sbx_view payload)
{
    sbx_nats_link *link = call->peer->link;
    if (!call->has_head) {
        break_off(call, "DATA before HEAD");
        return;
    }
    call->received += payload.len;
    call->events->on_data(call->user, payload);
    if (link->current == call)
        sbx_nats_call_grant(call);
}

static void take_end(nats_call *call)
{
    if (!call->has_head) {
        break_off(call, "END before HEAD");
        return;
    }
    acknowledge(call);
    nats_owner owner = sbx_nats_call_finish(call);
    owner.events->on_end(owner.user);
}

static void take_error(nats_call *call, sbx_view payload)
{
    sbx_frame_error error;
    char text[SBX_FRAME_TEXT_MAX + 1] = "";
    if (sbx_frame_error_parse(payload, &call->peer->link->arena, &error) != SBX_OK) {
        break_off(call, "an ERROR frame that is not one");
        return;
    }
    sbx_view_to_cstr(error.text, text, sizeof text);
    acknowledge(call);
    sbx_nats_call_fail(call, error.outcome, error.retry_after_ns, text);
}

/* ---- order ---- */

static void take_numbered(nats_call *call, const sbx_frame *frame)
{
    call->wanted++;
    if (frame->type != SBX_FRAME_ACK && frame->type != SBX_FRAME_ERROR && !call->is_accepted) {
        break_off(call, "a frame before ACK");
        return;
    }
    switch (frame->type) {
    case SBX_FRAME_ACK:
        take_ack(call);
        break;
    case SBX_FRAME_HEAD:
        take_head(call, frame->payload);
        break;
    case SBX_FRAME_DATA:
        take_data(call, frame->payload);
        break;
    case SBX_FRAME_END:
        take_end(call);
        break;
    case SBX_FRAME_ERROR:
        take_error(call, frame->payload);
        break;
    case SBX_FRAME_PING:
        break;
    }
}

static void take_ping(nats_call *call, const sbx_frame *frame)
{
    if ((frame->flags & SBX_FRAME_PING_BODY) != 0)
        sbx_nats_upload_take(call, frame->aux);
    sbx_nats_call_grant(call); /* one that could not be sent when it was due */
    if ((frame->flags & SBX_FRAME_PING_PROGRESS) != 0)
        call->events->on_progress(call->user);
}

/* What is known to be there, ends the search; what shows that more is missing, begins it. */
static void review_gap(nats_call *call, const sbx_frame *frame)
{
    if (frame->seq > call->wanted)
        sbx_nats_recover_open(call, /* after_restart= */ false);
    else if (frame->seq == call->wanted)
        sbx_nats_recover_close(call);
}

static void take_frame(nats_call *call, const sbx_frame *frame)
{
    if (frame->type == SBX_FRAME_ERROR && !is_numbered(frame)) {
        take_error(call, frame->payload);
        return;
    }
    review_gap(call, frame);
    if (frame->type == SBX_FRAME_PING)
        take_ping(call, frame);
    else if (frame->seq == call->wanted)
        take_numbered(call, frame);
}

void sbx_nats_call_take(nats_call *call, sbx_view message)
{
    sbx_nats_link *link = call->peer->link;
    sbx_frame frame;
    if (sbx_frame_decode(message, &frame) != SBX_OK) {
        break_off(call, "a message that is no frame");
        return;
    }
    link->current = call;
    take_frame(call, &frame);
    link->current = NULL;
}
