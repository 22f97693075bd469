/* Kind nats: one attempt. Starting it, telling the worker about it, ending it. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/nats_priv.h"

enum {
    HEADERS_MAX = 9,
    NUMBER_TEXT = 24,
    BUDGET_MAX_MS = 24 * 3600 * 1000
};

nats_call *sbx_nats_call_of(sbx_transport_call *call)
{
    assert(call->kind == &sbx_nats_kind);
    return SBX_CONTAINER_OF(call, nats_call, super);
}

/* ---- telling the worker ---- */

static void subject_of(const nats_call *call, const char *verb, char ret_subject[NATS_SUBJECT_MAX])
{
    snprintf(ret_subject, NATS_SUBJECT_MAX, "inference.%s.%s", call->peer->id, verb);
}

sbx_err sbx_nats_call_tell(const nats_call *call, const char *verb, sbx_view body)
{
    char subject[NATS_SUBJECT_MAX];
    subject_of(call, verb, subject);
    return sbx_bus_publish(call->peer->link->bus, SBX_BUS_CONTROL, subject, call->subject, NULL, 0, &body, 1);
}

static int64_t budget_ms(const nats_call *call, sbx_time_ns now)
{
    int64_t ms = sbx_time_to_ms(sbx_time_left(call->deadline, now));
    if (ms < 1)
        return 1;
    return ms < BUDGET_MAX_MS ? ms : BUDGET_MAX_MS;
}

typedef struct run_headers {
    sbx_bus_header items[HEADERS_MAX];
    size_t count;
    char deadline[NUMBER_TEXT], expires[NUMBER_TEXT], credit[NUMBER_TEXT], body_bytes[NUMBER_TEXT];
} run_headers;

static void add(run_headers *h, const char *name, const char *value)
{
    assert(h->count < HEADERS_MAX);
    h->items[h->count++] = (sbx_bus_header){.name = name, .value = value};
}

static const char *number_text(int64_t number, char text[NUMBER_TEXT])
{
    snprintf(text, NUMBER_TEXT, "%" PRId64, number);
    return text;
}

static void add_deadline(run_headers *h, const nats_call *call)
{
    sbx_time_ns now = sbx_loop_now(call->peer->link->loop);
    int64_t ms = budget_ms(call, now);
    add(h, SBX_BUS_HEADER_DEADLINE_MS, number_text(ms, h->deadline));
    if (!call->peer->has_clock)
        return;
    int64_t expires = sbx_time_to_ms(now) + call->peer->clock_ahead_ms + ms;
    add(h, SBX_BUS_HEADER_EXPIRES_MS, number_text(expires, h->expires));
}

static void write_headers(run_headers *h, const nats_call *call)
{
    h->count = 0;
    add(h, SBX_BUS_HEADER_RID, call->request_id);
    add(h, SBX_BUS_HEADER_ATTEMPT, call->attempt);
    add(h, SBX_BUS_HEADER_PATH, call->path);
    add(h, SBX_BUS_HEADER_STREAM, call->streaming ? "1" : "0");
    add_deadline(h, call);
    add(h, SBX_BUS_HEADER_CREDIT, number_text((int64_t)call->granted, h->credit));
    if (call->upload.is_needed)
        add(h, SBX_BUS_HEADER_BODY_BYTES, number_text((int64_t)call->body_len, h->body_bytes));
    if (call->traceparent != NULL)
        add(h, SBX_BUS_HEADER_TRACEPARENT, call->traceparent);
}

sbx_err sbx_nats_call_send_run(nats_call *call)
{
    char subject[NATS_SUBJECT_MAX];
    run_headers headers;
    subject_of(call, "run", subject);
    write_headers(&headers, call);
    size_t pieces = call->upload.is_needed ? 0 : call->body_count;
    return sbx_bus_publish(call->peer->link->bus, SBX_BUS_CONTROL, subject, call->subject, headers.items,
                           headers.count, call->body, pieces);
}

/* ---- start ---- */

static uint64_t length_of(const sbx_transport_request *request)
{
    uint64_t len = 0;
    for (size_t i = 0; i < request->body_count; i++)
        len += request->body[i].len;
    return len;
}

static char *text_of(sbx_view v)
{
    char *text = malloc(v.len + 1);
    if (text != NULL && sbx_view_to_cstr(v, text, v.len + 1) != SBX_OK) {
        free(text);
        return NULL;
    }
    return text;
}

static bool fill_texts(nats_call *call, const sbx_transport_request *request)
{
    const sbx_nats_link *link = call->peer->link;
    assert(sbx_id_is_token(request->request_id));
    if (sbx_view_to_cstr(request->request_id, call->request_id, sizeof call->request_id) != SBX_OK)
        return false;
    snprintf(call->attempt, sizeof call->attempt, "%lu", (unsigned long)request->attempt);
    snprintf(call->key, sizeof call->key, "%s.%s", call->request_id, call->attempt);
    snprintf(call->subject, sizeof call->subject, "response.%s.%s", link->controller_id, call->key);
    call->path = text_of(request->path);
    if (request->traceparent.len > 0)
        call->traceparent = text_of(request->traceparent);
    return call->path != NULL;
}

static bool fits_the_run(const nats_call *call)
{
    size_t most = sbx_bus_max_payload(call->peer->link->bus);
    most = most > SBX_BUS_PAYLOAD_MARGIN ? most - SBX_BUS_PAYLOAD_MARGIN : 0;
    return call->body_len <= SBX_BUS_INLINE_BODY && call->body_len <= most;
}

static nats_call *make_call(nats_peer *peer, const sbx_transport_request *request,
                            const sbx_transport_events *events, void *user)
{
    nats_call *call = calloc(1, sizeof *call + request->body_count * sizeof *request->body);
    if (call == NULL)
        return NULL;
    call->super.kind = &sbx_nats_kind;
    call->peer = peer;
    call->events = events;
    call->user = user;
    call->started_at = sbx_loop_now(peer->link->loop);
    call->deadline = sbx_time_add(call->started_at, request->budget_ns);
    call->streaming = request->streaming;
    call->granted = peer->link->credit_bytes;
    call->body_len = length_of(request);
    call->body_count = request->body_count;
    if (request->body_count > 0)
        memcpy(call->body, request->body, request->body_count * sizeof *request->body);
    call->upload.is_needed = !fits_the_run(call);
    sbx_nats_recover_init(call);
    sbx_nats_upload_init(call);
    if (fill_texts(call, request))
        return call;
    free(call->path);
    free(call->traceparent);
    free(call);
    return NULL;
}

static sbx_err start(sbx_peer *super, const sbx_transport_request *request,
                     const sbx_transport_events *events, void *user, sbx_transport_call **ret_call)
{
    nats_peer *peer = SBX_CONTAINER_OF(super, nats_peer, super);
    sbx_nats_link *link = peer->link;
    if (!link->is_up || peer->is_gone)
        return SBX_E_CLOSED;
    nats_call *call = make_call(peer, request, events, user);
    if (call == NULL)
        return SBX_E_NOMEM;
    sbx_list_push_back(&peer->calls, &call->node);
    sbx_err err = sbx_map_put(&link->calls, sbx_view_cstr(call->key), call);
    if (err == SBX_OK)
        err = sbx_nats_call_send_run(call);
    if (err != SBX_OK) {
        sbx_nats_call_finish(call);
        return err == SBX_E_NOMEM ? SBX_E_NOMEM : SBX_E_CLOSED;
    }
    sbx_nats_link_start_pings(link);
    *ret_call = &call->super;
    return SBX_OK;
}

/* ---- back-pressure ---- */

void sbx_nats_call_grant(nats_call *call)
{
    uint64_t window = call->peer->link->credit_bytes;
    if (call->is_paused || call->received + window - call->granted < window / 2)
        return;
    char text[SBX_BUS_CONTROL_TEXT];
    sbx_bus_credit credit = {.seq = call->wanted, .bytes = call->received + window};
    if (sbx_nats_call_tell(call, "credit", sbx_bus_credit_write(&credit, text)) == SBX_OK)
        call->granted = credit.bytes;
}

static void pause_call(sbx_transport_call *super)
{
    sbx_nats_call_of(super)->is_paused = true;
}

static void resume_call(sbx_transport_call *super)
{
    nats_call *call = sbx_nats_call_of(super);
    call->is_paused = false;
    sbx_nats_call_grant(call);
}

/* ---- the end ---- */

nats_owner sbx_nats_call_finish(nats_call *call)
{
    sbx_nats_link *link = call->peer->link;
    nats_owner owner = {.events = call->events, .user = call->user};
    if (link->current == call)
        link->current = NULL;
    sbx_nats_recover_close(call);
    sbx_nats_upload_stop(call);
    sbx_list_remove(&call->node);
    if (sbx_map_get(&link->calls, sbx_view_cstr(call->key)) == call)
        sbx_map_remove(&link->calls, sbx_view_cstr(call->key));
    free(call->path);
    free(call->traceparent);
    free(call);
    return owner;
}

void sbx_nats_call_fail(nats_call *call, sbx_outcome outcome, sbx_time_ns retry_after_ns, const char *detail)
{
    nats_owner owner = sbx_nats_call_finish(call);
    owner.events->on_fail(owner.user, outcome, retry_after_ns, detail);
}

/* The oldest makes room: its worker has the deadline, too. */
static void cancel_later(const nats_call *call)
{
    sbx_nats_link *link = call->peer->link;
    late_cancel *late = calloc(1, sizeof *late);
    if (late == NULL)
        return;
    late->until = sbx_loop_now(link->loop) + SBX_MS(NATS_CANCEL_KEEP_MS);
    memcpy(late->worker_id, call->peer->id, sizeof late->worker_id);
    memcpy(late->subject, call->subject, sizeof late->subject);
    sbx_list_push_back(&link->late_cancels, &late->node);
    link->late_cancel_count++;
    if (link->late_cancel_count <= NATS_CANCELS_MAX)
        return;
    link->late_cancel_count--;
    free(SBX_CONTAINER_OF(sbx_list_pop_front(&link->late_cancels), late_cancel, node));
}

static void cancel(sbx_transport_call *super)
{
    nats_call *call = sbx_nats_call_of(super);
    if (sbx_nats_call_tell(call, "cancel", (sbx_view){0}) != SBX_OK && !call->peer->is_gone)
        cancel_later(call);
    sbx_nats_call_finish(call);
}

static void cancel_all(sbx_list *calls, const nats_peer *peer)
{
    SBX_LIST_EACH(node, calls)
    {
        nats_call *call = SBX_CONTAINER_OF(node, nats_call, node);
        if (call->peer == peer)
            cancel(&call->super);
    }
}

static void free_peer(sbx_peer *super)
{
    if (super == NULL)
        return;
    nats_peer *peer = SBX_CONTAINER_OF(super, nats_peer, super);
    cancel_all(&peer->calls, peer);
    cancel_all(&peer->link->doomed, peer);
    sbx_map_remove(&peer->link->peers, sbx_view_cstr(peer->id));
    free(peer);
}

const sbx_transport_kind sbx_nats_kind = {
    .name = "nats",
    .start = start,
    .cancel = cancel,
    .pause = pause_call,
    .resume = resume_call,
    .free_peer = free_peer,
};
