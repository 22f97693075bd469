/* See support_world.h. */
#include "support_world.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- bytes ---- */

void conf_write_event(sbx_buf *buf, uint32_t n, size_t len)
{
    char start[32];
    int written = snprintf(start, sizeof start, "data: %08u ", n);
    assert_true(len >= (size_t)written + 2);
    sbx_buf_append(buf, start, (size_t)written);
    for (size_t i = (size_t)written; i < len - 2; i++)
        sbx_buf_append_byte(buf, (uint8_t)('a' + (i + n) % 26));
    assert_int_equal(sbx_buf_append_cstr(buf, "\n\n"), SBX_OK);
}

void conf_write_bytes(sbx_buf *buf, size_t len, uint32_t seed)
{
    uint8_t *place = NULL;
    uint32_t x = seed * 2654435761u + 1;
    assert_int_equal(sbx_buf_reserve(buf, len, &place), SBX_OK);
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525u + 1013904223u;
        place[i] = (uint8_t)(x >> 24);
    }
    sbx_buf_commit(buf, len);
}

/* ---- running ---- */

static void on_limit(sbx_timer *timer, void *user)
{
    conf_world *w = user;
    (void)timer;
    w->timed_out = true;
    sbx_loop_stop(w->loop);
}

static void on_poll(sbx_timer *timer, void *user)
{
    conf_world *w = user;
    if (w->until != NULL && w->until(w, w->what))
        sbx_loop_stop(w->loop);
    else
        sbx_timer_start(timer, sbx_loop_now(w->loop) + SBX_MS(1));
}

static void run(conf_world *w, bool (*until)(conf_world *w, const void *what), const void *what, long ms)
{
    w->until = until;
    w->what = what;
    w->timed_out = false;
    sbx_timer_start(&w->limit, sbx_loop_now(w->loop) + SBX_MS(ms));
    sbx_timer_start(&w->poll, sbx_loop_now(w->loop));
    sbx_loop_run(w->loop);
    sbx_timer_stop(&w->limit);
    sbx_timer_stop(&w->poll);
}

void conf_run_until(conf_world *w, bool (*until)(conf_world *w, const void *what), const void *what,
                    long limit_ms)
{
    run(w, until, what, limit_ms);
    assert_false(w->timed_out);
}

void conf_run_for(conf_world *w, long ms)
{
    run(w, /* until: */ NULL, NULL, ms);
}

bool conf_is_over(conf_world *w, const void *what)
{
    const conf_call *call = what;
    (void)w;
    return call->ends + call->failures > 0;
}

bool conf_has_data(conf_world *w, const void *what)
{
    (void)w;
    return ((const conf_call *)what)->datas > 0;
}

bool conf_has_head(conf_world *w, const void *what)
{
    (void)w;
    return ((const conf_call *)what)->heads > 0;
}

bool conf_was_seen(conf_world *w, const void *what)
{
    return w->factory->seen_count(w) >= *(const size_t *)what;
}

/* ---- calls: what transport.h promises is checked at each callback ---- */

static conf_call *hear(void *user)
{
    conf_call *call = user;
    assert_null(call->world->starting); /* never from within start */
    assert_false(call->is_cancelled);
    assert_int_equal(call->ends + call->failures, 0);
    return call;
}

static void on_accepted(void *user)
{
    conf_call *call = hear(user);
    assert_int_equal(call->accepted, 0);
    assert_int_equal(call->heads, 0);
    call->accepted++;
    if (call->when_accepted != NULL)
        call->when_accepted(call);
}

static void on_progress(void *user)
{
    hear(user)->progressed++;
}

static void on_head(void *user, const sbx_answer_head *head)
{
    conf_call *call = hear(user);
    assert_int_equal(call->heads, 0);
    assert_int_equal(call->accepted, 1);
    call->heads++;
    call->head = (sbx_answer_head){.status = head->status, .retry_after_ns = head->retry_after_ns};
    assert_int_equal(sbx_view_to_cstr(head->content_type, call->content_type, sizeof call->content_type),
                     SBX_OK);
    if (call->when_head != NULL)
        call->when_head(call);
}

static void on_data(void *user, sbx_view bytes)
{
    conf_call *call = hear(user);
    assert_int_equal(call->heads, 1);
    assert_true(bytes.len > 0);
    if (call->datas++ == 0)
        call->first_data_at = sbx_loop_now(call->world->loop);
    assert_int_equal(sbx_buf_append_view(&call->body, bytes), SBX_OK);
    if (call->when_data != NULL)
        call->when_data(call);
}

static void on_over(conf_call *call)
{
    call->call = NULL;
    call->over_at = sbx_loop_now(call->world->loop);
    if (call->when_over != NULL)
        call->when_over(call);
}

static void on_end(void *user)
{
    conf_call *call = hear(user);
    assert_int_equal(call->heads, 1);
    call->ends++;
    on_over(call);
}

static void on_fail(void *user, sbx_outcome outcome, sbx_time_ns retry_after_ns, const char *detail)
{
    conf_call *call = hear(user);
    assert_non_null(detail);
    call->failures++;
    call->outcome = outcome;
    call->retry_after_ns = retry_after_ns;
    on_over(call);
}

static const sbx_transport_events events = {
    .on_accepted = on_accepted,
    .on_progress = on_progress,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_fail = on_fail,
};

void conf_start_pieces(conf_world *w, conf_call *call, const sbx_view *pieces, size_t count,
                       sbx_time_ns budget_ns, uint32_t number)
{
    char id[33];
    snprintf(id, sizeof id, "%032x", number);
    call->world = w;
    call->started_at = sbx_loop_now(w->loop);
    sbx_buf_init(&call->body, SIZE_MAX);
    sbx_transport_request request = {
        .path = SBX_VIEW("/v1/chat/completions"),
        .streaming = true,
        .body = pieces,
        .body_count = count,
        .request_id = sbx_view_cstr(id),
        .attempt = 1,
        .traceparent = SBX_VIEW("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        .budget_ns = budget_ns,
    };
    w->starting = call;
    call->start_err = w->peer->kind->start(w->peer, &request, &events, call, &call->call);
    w->starting = NULL;
    memset(id, 'x', sizeof id); /* only the body's bytes are kept */
}

void conf_start(conf_world *w, conf_call *call, const char *body)
{
    static uint32_t number = 0;
    sbx_view piece = sbx_view_cstr(body);
    conf_start_pieces(w, call, &piece, 1, SBX_SEC(30), ++number);
}

void conf_cancel(conf_call *call)
{
    sbx_transport_call *handle = call->call;
    call->call = NULL;
    call->is_cancelled = true;
    sbx_transport_cancel(handle);
}

void conf_forget(conf_call *call)
{
    sbx_buf_deinit(&call->body);
}

/* ---- what is expected ---- */

void conf_assert_ended_with(const conf_call *call, unsigned status, sbx_view body)
{
    assert_int_equal(call->start_err, SBX_OK);
    if (call->failures > 0)
        fail_msg("wanted an end, found the failure \"%s\"", sbx_outcome_name(call->outcome));
    assert_int_equal(call->ends, 1);
    assert_int_equal(call->head.status, status);
    assert_int_equal(call->body.len, body.len);
    if (body.len > 0)
        assert_memory_equal(sbx_buf_view(&call->body).data, body.data, body.len);
}

void conf_assert_failed_with(const conf_call *call, sbx_outcome outcome)
{
    assert_int_equal(call->start_err, SBX_OK);
    assert_int_equal(call->ends, 0);
    assert_int_equal(call->failures, 1);
    assert_string_equal(sbx_outcome_name(call->outcome), sbx_outcome_name(outcome));
}

void conf_assert_silent(const conf_call *call)
{
    assert_int_equal(call->ends + call->failures, 0);
}

/* ---- setup ---- */

int conf_setup(void **state)
{
    conf_world *w = calloc(1, sizeof *w);
    signal(SIGPIPE, SIG_IGN); /* as the program does */
    assert_non_null(w);
    w->factory = *state;
    assert_int_equal(sbx_loop_new(&w->loop), SBX_OK);
    sbx_timer_init(&w->limit, w->loop, on_limit, w);
    sbx_timer_init(&w->poll, w->loop, on_poll, w);
    w->factory->open(w);
    *state = w;
    return 0;
}

int conf_teardown(void **state)
{
    conf_world *w = *state;
    if (w->peer != NULL)
        w->peer->kind->free_peer(w->peer);
    w->factory->close(w);
    sbx_loop_free(w->loop);
    free(w);
    return 0;
}
