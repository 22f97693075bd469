/* See fake.h. A call plays its script from a task at the end of a turn: as many steps as there are without a
 * delay, one loop turn, until it is paused, cancelled or over. */
#include "transport/fake.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/list.h"

enum {
    PIECE_MAX = 64 * 1024,
    RECORDS_MAX = 64 * 1024
};

typedef struct script {
    sbx_fake_step *steps;
    size_t count;
} script;

typedef struct fake_peer {
    sbx_peer super;
    sbx_loop *loop;
    sbx_arena memory; /* scripts, and the texts of records */
    script *scripts;
    size_t script_count, script_size;
    size_t next_script;
    sbx_err refusal;
    sbx_fake_record *records;
    size_t record_count, record_size;
    sbx_list calls; /* fake_call.node */
} fake_peer;

typedef struct fake_call {
    sbx_transport_call super;
    fake_peer *peer;
    size_t record;
    const sbx_transport_events *events;
    void *user;
    sbx_list_node node;
    script script;
    size_t step;
    uint32_t repeated; /* of the present step */
    size_t piece_at;   /* bytes of the present step's data that were told */
    bool has_waited;   /* for the present step */
    bool is_paused;
    bool is_dying;
    bool is_over;
    sbx_task play, reap;
    sbx_timer delay;
} fake_call;

static const sbx_transport_kind fake_kind;

/* ---- the peer ---- */

static fake_peer *peer_of(sbx_peer *super)
{
    assert(super->kind == &fake_kind);
    return (fake_peer *)super;
}

sbx_err sbx_fake_peer_new(sbx_loop *loop, sbx_peer **ret_peer)
{
    fake_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return SBX_E_NOMEM;
    peer->super.kind = &fake_kind;
    peer->loop = loop;
    sbx_arena_init(&peer->memory, SIZE_MAX);
    sbx_list_init(&peer->calls);
    *ret_peer = &peer->super;
    return SBX_OK;
}

/* Room for one more element; the array is moved. */
static void *grown(void *array, size_t count, size_t *size, size_t element)
{
    if (count < *size)
        return array;
    size_t wanted = *size == 0 ? 8 : *size * 2;
    void *moved = realloc(array, wanted * element);
    if (moved != NULL)
        *size = wanted;
    return moved;
}

sbx_err sbx_fake_peer_script(sbx_peer *peer, const sbx_fake_step *steps, size_t count)
{
    fake_peer *fake = peer_of(peer);
    sbx_fake_step *copy = SBX_ARENA_ARRAY(&fake->memory, sbx_fake_step, count);
    script *scripts = grown(fake->scripts, fake->script_count, &fake->script_size, sizeof *scripts);
    if (scripts != NULL)
        fake->scripts = scripts;
    if (copy == NULL || scripts == NULL)
        return SBX_E_NOMEM;
    if (count > 0)
        memcpy(copy, steps, count * sizeof *steps);
    fake->scripts[fake->script_count++] = (script){.steps = copy, .count = count};
    return SBX_OK;
}

void sbx_fake_peer_clear(sbx_peer *peer)
{
    fake_peer *fake = peer_of(peer);
    fake->script_count = 0;
    fake->next_script = 0;
}

void sbx_fake_peer_refuse(sbx_peer *peer, sbx_err err)
{
    peer_of(peer)->refusal = err;
}

size_t sbx_fake_peer_call_count(const sbx_peer *peer)
{
    assert(peer->kind == &fake_kind);
    return ((const fake_peer *)peer)->record_count;
}

const sbx_fake_record *sbx_fake_peer_record(const sbx_peer *peer, size_t index)
{
    const fake_peer *fake = (const fake_peer *)peer;
    assert(peer->kind == &fake_kind && index < fake->record_count);
    return &fake->records[index];
}

static script next_script(fake_peer *peer)
{
    if (peer->script_count == 0)
        return (script){0};
    size_t index = peer->next_script;
    if (index + 1 < peer->script_count)
        peer->next_script++;
    return peer->scripts[index];
}

/* ---- records ---- */

static sbx_fake_record *record_of(const fake_call *call)
{
    return &call->peer->records[call->record];
}

static sbx_err join(sbx_arena *arena, const sbx_view *pieces, size_t count, sbx_view *ret_whole)
{
    size_t total = sbx_view_total(pieces, count);
    uint8_t *whole = sbx_arena_alloc(arena, total);
    if (whole == NULL)
        return SBX_E_NOMEM;
    for (size_t i = 0, at = 0; i < count; i++) {
        if (pieces[i].len > 0)
            memcpy(whole + at, pieces[i].data, pieces[i].len);
        at += pieces[i].len;
    }
    *ret_whole = sbx_view_of(whole, total);
    return SBX_OK;
}

static sbx_err add_record(fake_peer *peer, const sbx_transport_request *request, size_t *ret_index)
{
    sbx_fake_record *records = grown(peer->records, peer->record_count, &peer->record_size, sizeof *records);
    if (records == NULL)
        return SBX_E_NOMEM;
    peer->records = records;
    assert(peer->record_count < RECORDS_MAX);
    sbx_fake_record record = {
        .attempt = request->attempt,
        .streaming = request->streaming,
        .budget_ns = request->budget_ns,
        .started_at = sbx_loop_now(peer->loop),
        .cancelled_at = -1,
    };
    sbx_err err = sbx_arena_dup(&peer->memory, request->path, &record.path);
    if (err == SBX_OK)
        err = sbx_arena_dup(&peer->memory, request->request_id, &record.request_id);
    if (err == SBX_OK)
        err = sbx_arena_dup(&peer->memory, request->traceparent, &record.traceparent);
    if (err == SBX_OK)
        err = join(&peer->memory, request->body, request->body_count, &record.body);
    if (err != SBX_OK)
        return err;
    *ret_index = peer->record_count;
    peer->records[peer->record_count++] = record;
    return SBX_OK;
}

/* ---- a call's end ---- */

static void retire(fake_call *call)
{
    assert(!call->is_over);
    call->is_over = true;
    record_of(call)->is_over = true;
    sbx_list_remove(&call->node);
    sbx_timer_stop(&call->delay);
    sbx_loop_undefer(call->peer->loop, &call->play);
    sbx_loop_defer(call->peer->loop, &call->reap); /* callers up the stack may still look at it */
}

/* ---- playing the script ---- */

static const sbx_fake_step *present_step(const fake_call *call)
{
    return call->step < call->script.count ? &call->script.steps[call->step] : NULL;
}

static void go_on(fake_call *call)
{
    const sbx_fake_step *step = present_step(call);
    call->piece_at = 0;
    call->has_waited = false;
    call->repeated++;
    if (call->repeated < step->times)
        return;
    call->repeated = 0;
    call->step++;
}

static void tell_piece(fake_call *call, sbx_view data)
{
    sbx_view piece = sbx_view_slice(data, call->piece_at, PIECE_MAX);
    call->piece_at += piece.len;
    if (call->piece_at >= data.len)
        go_on(call);
    if (piece.len > 0)
        call->events->on_data(call->user, piece);
}

static void tell_end(fake_call *call)
{
    const sbx_transport_events *events = call->events;
    void *user = call->user;
    retire(call);
    events->on_end(user);
}

static void tell_failure(fake_call *call, sbx_outcome outcome, sbx_time_ns retry_after, const char *detail)
{
    const sbx_transport_events *events = call->events;
    void *user = call->user;
    retire(call);
    events->on_fail(user, outcome, retry_after, detail);
}

/* Returns whether the step could be played now. */
static bool is_due(fake_call *call, const sbx_fake_step *step)
{
    if (call->is_paused && step->kind != SBX_FAKE_FAIL)
        return false;
    if (step->delay_ns <= 0 || call->has_waited)
        return true;
    if (!sbx_wheel_is_armed(&call->delay.entry))
        sbx_timer_start(&call->delay, sbx_time_add(sbx_loop_now(call->peer->loop), step->delay_ns));
    return false;
}

static void play_step(fake_call *call, const sbx_fake_step *step)
{
    switch (step->kind) {
    case SBX_FAKE_ACCEPT:
        go_on(call);
        call->events->on_accepted(call->user);
        return;
    case SBX_FAKE_PROGRESS:
        go_on(call);
        call->events->on_progress(call->user);
        return;
    case SBX_FAKE_HEAD:
        go_on(call);
        call->events->on_head(call->user, &step->head);
        return;
    case SBX_FAKE_DATA:
        tell_piece(call, step->data);
        return;
    case SBX_FAKE_ECHO:
        tell_piece(call, record_of(call)->body);
        return;
    case SBX_FAKE_END:
        tell_end(call);
        return;
    case SBX_FAKE_FAIL:
        tell_failure(call, step->outcome, step->retry_after_ns > 0 ? step->retry_after_ns : -1,
                     step->detail == NULL ? "scripted" : step->detail);
        return;
    }
    assert(false); /* a step of unknown kind */
}

static void play(void *user)
{
    fake_call *call = user;
    if (call->is_dying)
        tell_failure(call, SBX_OUTCOME_RESET, /* retry_after: */ -1, "the fake worker died");
    while (!call->is_over) {
        const sbx_fake_step *step = present_step(call);
        if (step == NULL || !is_due(call, step))
            break;
        play_step(call, step);
    }
}

static void on_delay(sbx_timer *timer, void *user)
{
    fake_call *call = user;
    (void)timer;
    call->has_waited = true;
    play(call);
}

void sbx_fake_peer_die(sbx_peer *peer)
{
    fake_peer *fake = peer_of(peer);
    SBX_LIST_EACH(node, &fake->calls)
    {
        fake_call *call = SBX_CONTAINER_OF(node, fake_call, node);
        call->is_dying = true;
        sbx_loop_defer(fake->loop, &call->play);
    }
}

/* ---- the kind ---- */

static sbx_err start(sbx_peer *super, const sbx_transport_request *request,
                     const sbx_transport_events *events, void *user, sbx_transport_call **ret_call)
{
    fake_peer *peer = peer_of(super);
    size_t record = 0;
    sbx_err err = add_record(peer, request, &record);
    if (err != SBX_OK)
        return err;
    if (peer->refusal != SBX_OK) {
        peer->records[record].is_over = true;
        return peer->refusal;
    }
    fake_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return SBX_E_NOMEM;
    *call = (fake_call){
        .super.kind = &fake_kind,
        .peer = peer,
        .record = record,
        .events = events,
        .user = user,
        .script = next_script(peer),
        .play = {.fn = play, .user = call},
        .reap = {.fn = free, .user = call},
    };
    sbx_timer_init(&call->delay, peer->loop, on_delay, call);
    sbx_list_push_back(&peer->calls, &call->node);
    sbx_loop_defer(peer->loop, &call->play);
    *ret_call = &call->super;
    return SBX_OK;
}

static void cancel(sbx_transport_call *super)
{
    fake_call *call = (fake_call *)super;
    record_of(call)->cancelled_at = sbx_loop_now(call->peer->loop);
    retire(call);
}

static void pause_call(sbx_transport_call *super)
{
    fake_call *call = (fake_call *)super;
    call->is_paused = true;
    record_of(call)->pauses++;
}

static void resume_call(sbx_transport_call *super)
{
    fake_call *call = (fake_call *)super;
    call->is_paused = false;
    record_of(call)->resumes++;
    sbx_loop_defer(call->peer->loop, &call->play);
}

static void free_peer(sbx_peer *super)
{
    fake_peer *peer = peer_of(super);
    SBX_LIST_EACH(node, &peer->calls)
    {
        cancel(&SBX_CONTAINER_OF(node, fake_call, node)->super);
    }
    sbx_arena_deinit(&peer->memory);
    free(peer->scripts);
    free(peer->records);
    free(peer);
}

static const sbx_transport_kind fake_kind = {
    .name = "fake",
    .start = start,
    .cancel = cancel,
    .pause = pause_call,
    .resume = resume_call,
    .free_peer = free_peer,
};
