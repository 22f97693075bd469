/* One call: find or make a connection, send, and hand the answer on. Structs that a caller up the stack may
 * still look at are freed at the end of the turn. */
#include <assert.h>
#include <stdlib.h>

#include "net/http_client_priv.h"
#include "net/http_emit.h"

/* ---- ends ---- */

static void reap_link(void *user)
{
    sbx_http_link *link = user;
    sbx_http_parser_free(link->parser);
    free(link);
}

void sbx_http_link_close(sbx_http_link *link)
{
    if (link->is_closed)
        return;
    link->is_closed = true;
    link->call = NULL;
    sbx_stream_close(link->stream);
    sbx_loop_defer(link->upstream->loop, &link->reap);
}

static void reap_call(void *user)
{
    sbx_http_call *call = user;
    sbx_buf_deinit(&call->head);
    free(call->pieces);
    free(call);
}

/* The call is over: it hears nothing more, and its connection belongs to nobody. */
static void retire(sbx_http_call *call)
{
    sbx_loop *loop = call->upstream->loop;
    assert(!call->has_ended);
    call->has_ended = true;
    sbx_list_remove(&call->node);
    sbx_timer_stop(&call->connect_timer);
    sbx_loop_undefer(loop, &call->tell_sent);
    sbx_loop_undefer(loop, &call->tell_failed);
    if (call->link != NULL)
        call->link->call = NULL;
    sbx_loop_defer(loop, &call->reap);
}

static void fail_now(sbx_http_call *call, sbx_outcome outcome, const char *detail)
{
    sbx_http_link *link = call->link;
    retire(call);
    if (link != NULL)
        sbx_http_link_close(link);
    call->events.on_fail(call->user, outcome, detail);
}

static void fail_later(sbx_http_call *call, sbx_outcome outcome, const char *detail)
{
    call->failure = outcome;
    call->failure_detail = detail;
    sbx_loop_defer(call->upstream->loop, &call->tell_failed);
}

static void tell_failed(void *user)
{
    sbx_http_call *call = user;
    fail_now(call, call->failure, call->failure_detail);
}

void sbx_http_call_cancel(sbx_http_call *call)
{
    sbx_http_link *link = call->link;
    if (call->has_ended)
        return;
    retire(call);
    if (link != NULL)
        sbx_http_link_close(link);
}

/* ---- sending ---- */

static void tell_sent(void *user)
{
    sbx_http_call *call = user;
    call->events.on_sent(call->user);
}

/* on_sent comes before on_head, however fast the answer is. */
static void tell_sent_first(sbx_http_call *call)
{
    if (!call->tell_sent.pending)
        return;
    sbx_loop_undefer(call->upstream->loop, &call->tell_sent);
    tell_sent(call);
}

static void send_request(sbx_http_link *link)
{
    sbx_http_call *call = link->call;
    link->has_bytes = false;
    sbx_http_parser_reset(link->parser, call->is_head_method);
    if (sbx_stream_write_kept(link->stream, call->pieces, call->piece_count) != SBX_OK)
        fail_later(call, SBX_OUTCOME_LOCAL, "out of memory");
    else if (!call->was_resent)
        sbx_loop_defer(call->upstream->loop, &call->tell_sent);
}

static void attach(sbx_http_call *call, sbx_http_link *link)
{
    call->link = link;
    link->call = call;
    if (call->is_paused)
        sbx_stream_pause(link->stream);
}

/* ---- what the parser finds ---- */

static bool stop(sbx_http_link *link, const char *problem)
{
    link->problem = problem;
    return false;
}

static bool on_head(void *user, const sbx_http_head *head, const sbx_http_framing *framing)
{
    sbx_http_link *link = user;
    (void)framing;
    if (head->status == 101)
        return stop(link, "the upstream switched protocols unasked");
    if (head->status < 200)
        return true;
    sbx_http_call *call = link->call;
    tell_sent_first(call);
    if (!call->has_ended)
        call->events.on_head(call->user, head);
    return !call->has_ended; /* ended: cancelled by its callback */
}

static bool on_body(void *user, sbx_view bytes)
{
    sbx_http_link *link = user;
    sbx_http_call *call = link->call;
    call->events.on_body(call->user, bytes);
    return !call->has_ended;
}

static const sbx_http_parse_events parse_events = {.on_head = on_head, .on_body = on_body};

/* ---- the answer ---- */

static void finish(sbx_http_link *link, bool has_more_bytes)
{
    sbx_http_call *call = link->call;
    bool is_reusable = sbx_http_parser_framing(link->parser)->keeps_alive && !has_more_bytes &&
                       !link->is_broken && sbx_stream_queued(link->stream) == 0;
    retire(call);
    if (is_reusable) {
        sbx_stream_resume(link->stream);
        sbx_http_pool_put(link);
    } else {
        sbx_http_link_close(link);
    }
    call->events.on_end(call->user);
}

/* Feeds one message's bytes; returns how many were used. */
static size_t take(sbx_http_link *link, sbx_view bytes)
{
    size_t used = 0;
    switch (sbx_http_parser_feed(link->parser, bytes, &used)) {
    case SBX_HTTP_FED_MORE:
        break;
    case SBX_HTTP_FED_DONE:
        if (sbx_http_parser_head(link->parser)->status < 200)
            sbx_http_parser_reset(link->parser, link->call->is_head_method);
        else
            finish(link, /* has_more_bytes= */ used < bytes.len);
        break;
    case SBX_HTTP_FED_STOPPED:
        if (link->call != NULL)
            fail_now(link->call, SBX_OUTCOME_MALFORMED, link->problem);
        break;
    case SBX_HTTP_FED_BAD:
        fail_now(link->call, SBX_OUTCOME_MALFORMED, sbx_http_parser_problem(link->parser)->text);
        break;
    }
    return used;
}

static void close_idle(sbx_http_link *link)
{
    sbx_list_remove(&link->node);
    link->upstream->idle_count--;
    sbx_http_link_close(link);
}

static void on_read(void *user, sbx_view bytes)
{
    sbx_http_link *link = user;
    sbx_http_call *call = link->call;
    if (call == NULL) {
        close_idle(link); /* nobody asked for anything */
        return;
    }
    link->has_bytes = true;
    for (size_t used = 0; used < bytes.len && link->call == call;)
        used += take(link, sbx_view_skip(bytes, used));
}

/* ---- connecting ---- */

static void find_connection(sbx_http_call *call);

static void try_next_address(sbx_http_call *call, const char *detail)
{
    sbx_http_link *link = call->link;
    call->link = NULL;
    sbx_http_link_close(link);
    call->address_at++;
    if (call->address_at < call->upstream->address_count) {
        find_connection(call);
        return;
    }
    sbx_http_upstream_forget_addresses(call->upstream);
    fail_now(call, SBX_OUTCOME_REFUSED, detail);
}

static void on_open(void *user)
{
    sbx_http_link *link = user;
    sbx_timer_stop(&link->call->connect_timer);
    send_request(link);
}

static void on_refused(void *user, sbx_err err, const char *detail)
{
    sbx_http_link *link = user;
    (void)err;
    try_next_address(link->call, detail);
}

static void on_end(void *user, sbx_err err)
{
    sbx_http_link *link = user;
    sbx_http_call *call = link->call;
    if (call == NULL) {
        close_idle(link);
    } else if (err == SBX_OK && sbx_http_parser_finish(link->parser) == SBX_HTTP_FED_DONE) {
        finish(link, /* has_more_bytes= */ false);
    } else if (link->was_used && !link->has_bytes && !call->was_resent) {
        call->was_resent = true;
        call->link = NULL;
        call->address_at = 0;
        sbx_http_link_close(link);
        find_connection(call);
    } else {
        fail_now(call, SBX_OUTCOME_RESET,
                 err != SBX_OK     ? "the connection was reset"
                 : link->has_bytes ? "the connection ended inside the answer"
                                   : "the connection ended before the answer");
    }
}

static void on_broken(void *user)
{
    sbx_http_link *link = user;
    link->is_broken = true; /* an answer may still be on its way: what is read decides */
}

static const sbx_stream_events stream_events = {.on_open = on_open,
                                                .on_refused = on_refused,
                                                .on_read = on_read,
                                                .on_end = on_end,
                                                .on_broken = on_broken};

static sbx_err link_new(sbx_http_upstream *upstream, const struct sockaddr *address, sbx_http_link **ret_link)
{
    sbx_http_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return SBX_E_NOMEM;
    link->upstream = upstream;
    link->reap = (sbx_task){.fn = reap_link, .user = link};
    sbx_err err = sbx_http_parser_new(SBX_HTTP_RESPONSE, upstream->options.max_head_bytes, &parse_events,
                                      link, &link->parser);
    if (err == SBX_OK)
        err = sbx_stream_connect(upstream->loop, address, &stream_events, link, &link->stream);
    if (err == SBX_OK && upstream->tls != NULL)
        err = sbx_stream_start_tls(link->stream, upstream->tls, upstream->host);
    if (err != SBX_OK) {
        sbx_stream_close(link->stream);
        reap_link(link);
        return err;
    }
    *ret_link = link;
    return SBX_OK;
}

static void connect_to(sbx_http_call *call, const struct sockaddr *address)
{
    sbx_http_link *link = NULL;
    sbx_err err = link_new(call->upstream, address, &link);
    if (err == SBX_OK)
        attach(call, link);
    else
        fail_later(call, SBX_OUTCOME_LOCAL, err == SBX_E_NOMEM ? "out of memory" : "out of descriptors");
}

/* A fresh connection, once the address is known. */
static void find_connection(sbx_http_call *call)
{
    sbx_http_upstream *upstream = call->upstream;
    if (!sbx_wheel_is_armed(&call->connect_timer.entry))
        sbx_timer_start(&call->connect_timer,
                        sbx_time_add(sbx_loop_now(upstream->loop), upstream->options.connect_timeout_ns));
    if (call->address_at < upstream->address_count) {
        connect_to(call, (const struct sockaddr *)&upstream->addresses[call->address_at]);
        return;
    }
    call->is_resolving = true;
    if (sbx_http_upstream_resolve(upstream) != SBX_OK)
        fail_later(call, SBX_OUTCOME_LOCAL, "the resolver could not be started");
}

void sbx_http_call_resolved(sbx_http_call *call, const char *detail)
{
    if (!call->is_resolving)
        return;
    call->is_resolving = false;
    call->address_at = 0;
    if (detail == NULL)
        find_connection(call);
    else
        fail_later(call, SBX_OUTCOME_REFUSED, detail);
}

static void on_connect_timeout(sbx_timer *timer, void *user)
{
    sbx_http_call *call = user;
    (void)timer;
    sbx_http_upstream_forget_addresses(call->upstream);
    fail_now(call, SBX_OUTCOME_CONNECT_TIMEOUT, "no connection in time");
}

/* ---- the beginning ---- */

static bool method_has_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
}

static sbx_err write_head(sbx_http_call *call, const sbx_http_call_params *params)
{
    const sbx_http_upstream *upstream = call->upstream;
    uint64_t length = 0;
    for (size_t i = 0; i < params->body_count; i++)
        length += params->body[i].len;
    sbx_http_emit_request_line(&call->head, params->method, params->target);
    sbx_http_emit_header(&call->head, SBX_VIEW("host"), sbx_view_cstr(upstream->host_header));
    sbx_http_emit_headers(&call->head, params->headers, params->header_count);
    if (params->body_count > 0 || method_has_body(params->method))
        sbx_http_emit_number(&call->head, "content-length", length);
    if (upstream->options.max_idle == 0)
        sbx_buf_append_cstr(&call->head, "connection: close\r\n");
    return sbx_buf_append_cstr(&call->head, "\r\n");
}

static sbx_err call_new(sbx_http_upstream *upstream, const sbx_http_call_params *params,
                        sbx_http_call **ret_call)
{
    sbx_http_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return SBX_E_NOMEM;
    call->upstream = upstream;
    sbx_buf_init(&call->head, SIZE_MAX);
    call->piece_count = 1 + params->body_count;
    call->pieces = calloc(call->piece_count, sizeof *call->pieces);
    if (call->pieces == NULL || write_head(call, params) != SBX_OK) {
        reap_call(call);
        return SBX_E_NOMEM;
    }
    call->pieces[0] = sbx_buf_view(&call->head);
    if (params->body_count > 0)
        memcpy(call->pieces + 1, params->body, params->body_count * sizeof *params->body);
    *ret_call = call;
    return SBX_OK;
}

sbx_err sbx_http_call_start(sbx_http_upstream *upstream, const sbx_http_call_params *params,
                            const sbx_http_call_events *events, void *user, sbx_http_call **ret_call)
{
    sbx_http_call *call = NULL;
    sbx_err err = call_new(upstream, params, &call);
    if (err != SBX_OK)
        return err;
    call->events = *events;
    call->user = user;
    call->is_head_method = strcmp(params->method, "HEAD") == 0;
    call->tell_sent = (sbx_task){.fn = tell_sent, .user = call};
    call->tell_failed = (sbx_task){.fn = tell_failed, .user = call};
    call->reap = (sbx_task){.fn = reap_call, .user = call};
    sbx_timer_init(&call->connect_timer, upstream->loop, on_connect_timeout, call);
    sbx_list_push_back(&upstream->calls, &call->node);
    *ret_call = call;

    sbx_http_link *link = sbx_http_pool_take(upstream);
    if (link == NULL) {
        find_connection(call);
        return SBX_OK;
    }
    link->was_used = true;
    attach(call, link);
    send_request(link);
    return SBX_OK;
}

void sbx_http_call_pause(sbx_http_call *call)
{
    call->is_paused = true;
    if (call->link != NULL)
        sbx_stream_pause(call->link->stream);
}

void sbx_http_call_resume(sbx_http_call *call)
{
    call->is_paused = false;
    if (call->link != NULL)
        sbx_stream_resume(call->link->stream);
}
