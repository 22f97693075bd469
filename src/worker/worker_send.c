/* Frames of one attempt: numbered and kept, cut at event ends, held back without credit, sent again on
 * request. */
#include <assert.h>
#include <stdio.h>

#include "worker/worker_node_priv.h"

/* ---- the bus ---- */

/* A message that cannot go out now is not lost: what is numbered is kept, and the controller asks for it. */
static void publish(sbx_worker_node *node, const char *subject, const char *reply, sbx_view first,
                    sbx_view second)
{
    sbx_view pieces[] = {first, second};
    (void)sbx_bus_publish(node->bus, SBX_BUS_CONTROL, subject, reply, NULL, 0, pieces, 2);
}

static uint32_t elapsed_ms(const sbx_attempt *attempt)
{
    return (uint32_t)sbx_time_to_ms(sbx_loop_now(attempt->worker->loop) - attempt->began_at);
}

static void note_sent(sbx_attempt *attempt)
{
    attempt->last_frame_at = sbx_loop_now(attempt->worker->loop);
    attempt->saw_progress = false;
}

/* ---- numbered frames ---- */

/* Its frames cannot be kept, so nothing can be promised any more. */
static void break_off(sbx_attempt *attempt)
{
    sbx_node_send_unknown(attempt->worker, attempt->subject);
    sbx_attempt_end(attempt);
}

void sbx_attempt_send(sbx_attempt *attempt, sbx_frame_type type, uint8_t flags, sbx_view payload)
{
    sbx_frame frame = {.type = type, .flags = flags, .aux = elapsed_ms(attempt), .payload = payload};
    sbx_view message;
    if (sbx_outbox_add(&attempt->outbox, &frame, &message) != SBX_OK) {
        break_off(attempt);
        return;
    }
    publish(attempt->worker, attempt->subject, /* reply= */ NULL, message, (sbx_view){0});
    note_sent(attempt);
}

void sbx_attempt_send_head(sbx_attempt *attempt, const sbx_engine_head *head)
{
    sbx_buf *scratch = &attempt->worker->scratch;
    sbx_frame_head said = {
        .status = head->status,
        .content_type = head->content_type,
        .content_encoding = head->content_encoding,
        .retry_after_ns = head->retry_after_ns,
    };
    sbx_buf_clear(scratch);
    if (sbx_frame_head_write(scratch, &said) == SBX_OK)
        sbx_attempt_send(attempt, SBX_FRAME_HEAD, /* flags= */ 0, sbx_buf_view(scratch));
    else
        break_off(attempt);
}

static sbx_view write_error(sbx_worker_node *node, sbx_outcome outcome, const char *text)
{
    sbx_frame_error error = {.outcome = outcome, .retry_after_ns = -1, .text = sbx_view_cstr(text)};
    sbx_buf_clear(&node->scratch);
    (void)sbx_frame_error_write(&node->scratch,
                                &error); /* without memory it reads as malformed: an end as well */
    return sbx_buf_view(&node->scratch);
}

void sbx_attempt_send_error(sbx_attempt *attempt, sbx_outcome outcome, const char *text)
{
    sbx_attempt_send(attempt, SBX_FRAME_ERROR, /* flags= */ 0, write_error(attempt->worker, outcome, text));
}

/* ---- frames that are not kept ---- */

static void send_loose(sbx_worker_node *node, const char *subject, const char *reply, const sbx_frame *frame)
{
    uint8_t header[SBX_FRAME_HEADER_BYTES];
    sbx_frame_encode_header(frame, header);
    publish(node, subject, reply, sbx_view_of(header, sizeof(header)), frame->payload);
}

void sbx_node_send_unknown(sbx_worker_node *node, const char *subject)
{
    sbx_frame frame = {.type = SBX_FRAME_ERROR,
                       .flags = SBX_FRAME_ERROR_UNKNOWN,
                       .payload =
                           write_error(node, SBX_OUTCOME_RESET, "the worker does not have this attempt")};
    send_loose(node, subject, /* reply= */ NULL, &frame);
}

void sbx_node_send_refusal(sbx_worker_node *node, const char *subject, sbx_outcome outcome, const char *text)
{
    sbx_frame frame = {.type = SBX_FRAME_ERROR, .payload = write_error(node, outcome, text)};
    send_loose(node, subject, /* reply= */ NULL, &frame);
}

/* What the engine said since the last frame, or that it says it is loading. */
static bool has_progress(const sbx_attempt *attempt)
{
    bool is_asked = attempt->state == SBX_ATTEMPT_RUNNING;
    return is_asked && (attempt->saw_progress || attempt->worker->engine_state == SBX_BUS_ENGINE_LOADING);
}

void sbx_attempt_ping(sbx_attempt *attempt)
{
    char reply[SBX_NODE_SUBJECT_MAX];
    sbx_frame frame = {.seq = attempt->outbox.next, .type = SBX_FRAME_PING, .aux = elapsed_ms(attempt)};
    if (has_progress(attempt))
        frame.flags |= SBX_FRAME_PING_PROGRESS;
    if (attempt->body_bytes > 0 && attempt->state != SBX_ATTEMPT_ENDED) {
        frame.flags |= SBX_FRAME_PING_BODY;
        frame.aux = (uint32_t)attempt->body.len;
    }
    snprintf(reply, sizeof(reply), "inference.%s.orphan.%s", attempt->worker->id, attempt->controller->id);
    send_loose(attempt->worker, attempt->subject, reply, &frame);
    note_sent(attempt);
}

/* ---- the engine's bytes ---- */

static uint64_t room_of(const sbx_attempt *attempt)
{
    return attempt->credit > attempt->sent_bytes ? attempt->credit - attempt->sent_bytes : 0;
}

/* How many of these bytes the next DATA frame takes: whole events where the answer has events. 0: none now.
 */
static size_t next_piece(const sbx_attempt *attempt, sbx_view bytes, uint8_t *ret_flags)
{
    uint64_t room = room_of(attempt);
    size_t limit = bytes.len < SBX_BUS_DATA_BYTES ? bytes.len : SBX_BUS_DATA_BYTES;
    if (limit > room)
        limit = (size_t)room;
    *ret_flags = 0;
    if (!attempt->is_event_stream || limit == 0)
        return limit;
    sbx_event_cut cut = attempt->cut;
    size_t whole = sbx_event_cut_scan(&cut, sbx_view_slice(bytes, 0, limit));
    if (whole > 0)
        return whole;
    bool may_wait = limit == bytes.len && limit < SBX_BUS_DATA_BYTES && !attempt->has_whole_answer;
    *ret_flags = SBX_FRAME_DATA_PART;
    return may_wait ? 0 : limit;
}

/* Returns how many bytes went out. */
static size_t send_some(sbx_attempt *attempt, sbx_view bytes)
{
    size_t used = 0;
    while (used < bytes.len && attempt->state == SBX_ATTEMPT_RUNNING) {
        uint8_t flags;
        sbx_view rest = sbx_view_skip(bytes, used);
        sbx_view piece = sbx_view_slice(rest, 0, next_piece(attempt, rest, &flags));
        if (piece.len == 0)
            break;
        if (attempt->is_event_stream)
            (void)sbx_event_cut_scan(&attempt->cut, piece);
        attempt->sent_bytes += piece.len;
        used += piece.len;
        sbx_attempt_send(attempt, SBX_FRAME_DATA, flags, piece);
    }
    return used;
}

static bool is_out_of_credit(const sbx_attempt *attempt)
{
    return attempt->pending.len > 0 && room_of(attempt) == 0;
}

/* The engine is read from only while there is credit for what it says. */
static void update_pause(sbx_attempt *attempt)
{
    bool should_pause = is_out_of_credit(attempt);
    if (attempt->call == NULL || should_pause == attempt->is_paused)
        return;
    attempt->is_paused = should_pause;
    if (should_pause)
        attempt->call->kind->pause(attempt->call);
    else
        attempt->call->kind->resume(attempt->call);
}

static void pump(sbx_attempt *attempt)
{
    size_t used = send_some(attempt, sbx_buf_view(&attempt->pending));
    if (attempt->state != SBX_ATTEMPT_RUNNING)
        return;
    sbx_buf_consume(&attempt->pending, used);
    if (attempt->has_whole_answer && attempt->pending.len == 0) {
        sbx_attempt_send(attempt, SBX_FRAME_END, /* flags= */ 0, (sbx_view){0});
        sbx_attempt_end(attempt);
        return;
    }
    update_pause(attempt);
}

void sbx_attempt_take_bytes(sbx_attempt *attempt, sbx_view bytes)
{
    /* Straight from the engine's buffer when nothing waits. */
    size_t used = attempt->pending.len == 0 ? send_some(attempt, bytes) : 0;
    if (attempt->state != SBX_ATTEMPT_RUNNING)
        return;
    attempt->saw_progress = used < bytes.len;
    if (sbx_buf_append_view(&attempt->pending, sbx_view_skip(bytes, used)) != SBX_OK)
        sbx_attempt_fail(attempt, SBX_OUTCOME_LOCAL, "out of memory");
    else
        pump(attempt);
}

void sbx_attempt_finish(sbx_attempt *attempt)
{
    attempt->has_whole_answer = true;
    pump(attempt);
}

/* ---- what the controller says about frames ---- */

void sbx_attempt_take_credit(sbx_attempt *attempt, const sbx_bus_credit *credit)
{
    sbx_outbox_acknowledge(&attempt->outbox, credit->seq);
    if (credit->bytes > attempt->credit)
        attempt->credit = credit->bytes;
    if (attempt->state == SBX_ATTEMPT_RUNNING)
        pump(attempt);
    else if (attempt->state == SBX_ATTEMPT_ENDED && sbx_outbox_is_empty(&attempt->outbox))
        sbx_attempt_forget(attempt);
}

void sbx_attempt_replay(sbx_attempt *attempt, uint32_t from)
{
    size_t position = 0;
    sbx_view message;
    if (!sbx_outbox_reaches(&attempt->outbox, from)) {
        sbx_node_send_unknown(attempt->worker, attempt->subject);
        return;
    }
    while (sbx_outbox_each(&attempt->outbox, from, &position, &message))
        publish(attempt->worker, attempt->subject, /* reply= */ NULL, message, (sbx_view){0});
    sbx_attempt_ping(attempt);
}
