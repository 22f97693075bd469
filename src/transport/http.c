/* Transport kind http: builds the upstream request and passes on what net's HTTP client reports. The client's
 * own headers never come here: what an engine gets is exactly the list of net/http_engine.h. */
#include "transport/http.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/url.h"
#include "net/http_client.h"
#include "net/http_engine.h"

typedef struct http_peer {
    sbx_peer super;
    sbx_loop *loop;
    sbx_http_upstream *upstream;
    char *path_prefix;
    sbx_buf target;      /* of the request being started */
    char *authorization; /* "Bearer ...", or NULL */
    sbx_list calls;      /* http_call.node */
    sbx_list probes;     /* http_probe.node */
} http_peer;

typedef struct http_call {
    sbx_transport_call super;
    http_peer *peer;
    sbx_http_call *call;
    const sbx_transport_events *events;
    void *user;
    sbx_list_node node;
} http_call;

enum {
    PATH_SIZE = 256
};

static const sbx_transport_kind http_kind;

sbx_err sbx_http_peer_new(sbx_loop *loop, const sbx_http_peer_options *options, sbx_peer **ret_peer)
{
    sbx_err err = SBX_E_NOMEM;
    http_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return SBX_E_NOMEM;
    peer->super.kind = &http_kind;
    peer->loop = loop;
    sbx_buf_init(&peer->target, 8 * 1024);
    sbx_list_init(&peer->calls);
    sbx_list_init(&peer->probes);
    peer->path_prefix = strdup(options->path_prefix == NULL ? "" : options->path_prefix);
    if (peer->path_prefix == NULL)
        goto failed;
    if (options->api_key != NULL) {
        peer->authorization = sbx_http_engine_bearer(options->api_key);
        if (peer->authorization == NULL)
            goto failed;
    }
    err = sbx_http_upstream_new(loop,
                                &(sbx_http_upstream_options){
                                    .host = options->host,
                                    .port = options->port,
                                    .tls = options->tls,
                                    .max_idle = options->max_concurrent,
                                    .idle_timeout_ns = SBX_SEC(60),
                                    .connect_timeout_ns = options->connect_timeout_ns,
                                    .max_head_bytes = SBX_HTTP_MAX_HEAD_BYTES,
                                },
                                &peer->upstream);
    if (err != SBX_OK)
        goto failed;
    *ret_peer = &peer->super;
    return SBX_OK;
failed:
    free(peer->authorization);
    free(peer->path_prefix);
    free(peer);
    return err;
}

/* ---- what comes back ---- */

static void on_sent(void *user)
{
    http_call *call = user;
    call->events->on_accepted(call->user);
}

static void on_head(void *user, const sbx_http_head *head)
{
    http_call *call = user;
    sbx_answer_head answer = {
        .status = head->status,
        .content_type = sbx_http_head_get(head, "content-type"),
        .content_encoding = sbx_http_head_get(head, "content-encoding"),
        .retry_after_ns = sbx_http_engine_retry_after(head),
    };
    call->events->on_head(call->user, &answer);
}

static void on_body(void *user, sbx_view bytes)
{
    http_call *call = user;
    call->events->on_data(call->user, bytes);
}

/* Takes the call out of the books; what its owner is told comes after, so that the owner may free the peer.
 */
static http_call finish(http_call *call)
{
    http_call copy = *call;
    sbx_list_remove(&call->node);
    free(call);
    return copy;
}

static void on_end(void *user)
{
    http_call call = finish(user);
    call.events->on_end(call.user);
}

static void on_fail(void *user, sbx_outcome outcome, const char *detail)
{
    http_call call = finish(user);
    call.events->on_fail(call.user, outcome, /* retry_after_ns: */ -1, detail);
}

static const sbx_http_call_events call_events = {
    .on_sent = on_sent,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

/* ---- what goes out ---- */

/* Valid until the next call. */
static sbx_err target_of(http_peer *peer, const char *path, sbx_view *ret_target)
{
    sbx_buf_clear(&peer->target);
    sbx_err err = sbx_url_join(peer->path_prefix, path, &peer->target);
    *ret_target = sbx_buf_view(&peer->target);
    return err;
}

static sbx_err start(sbx_peer *super, const sbx_transport_request *request,
                     const sbx_transport_events *events, void *user, sbx_transport_call **ret_call)
{
    http_peer *peer = (http_peer *)super;
    char path[PATH_SIZE];
    sbx_view target = {0};
    sbx_err err = sbx_view_to_cstr(request->path, path, sizeof path);
    if (err == SBX_OK)
        err = target_of(peer, path, &target);
    if (err != SBX_OK)
        return err;
    http_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return SBX_E_NOMEM;
    *call = (http_call){.super.kind = &http_kind, .peer = peer, .events = events, .user = user};
    sbx_http_header headers[SBX_HTTP_ENGINE_HEADERS];
    sbx_http_engine_request head = {
        .has_body = true,
        .streaming = request->streaming,
        .request_id = request->request_id,
        .traceparent = request->traceparent,
        .authorization = peer->authorization,
    };
    sbx_http_call_params params = {
        .method = "POST",
        .target = target,
        .headers = headers,
        .header_count = sbx_http_engine_headers(&head, headers),
        .body = request->body,
        .body_count = request->body_count,
    };
    err = sbx_http_call_start(peer->upstream, &params, &call_events, call, &call->call);
    if (err != SBX_OK) {
        free(call);
        return err;
    }
    sbx_list_push_back(&peer->calls, &call->node);
    *ret_call = &call->super;
    return SBX_OK;
}

static void cancel(sbx_transport_call *super)
{
    http_call *call = (http_call *)super;
    sbx_http_call_cancel(call->call);
    sbx_list_remove(&call->node);
    free(call);
}

static void pause_call(sbx_transport_call *super)
{
    sbx_http_call_pause(((http_call *)super)->call);
}

static void resume_call(sbx_transport_call *super)
{
    sbx_http_call_resume(((http_call *)super)->call);
}

/* ---- probes: health checks and model lists ---- */

typedef struct http_probe {
    http_peer *peer;
    sbx_http_call *call;
    sbx_timer limit;
    sbx_http_probe_fn *done;
    void *user;
    unsigned status;
    size_t max_body, body_len;
    sbx_list_node node;
    uint8_t body[];
} http_probe;

static void free_probe(http_probe *probe)
{
    sbx_timer_stop(&probe->limit);
    sbx_list_remove(&probe->node);
    free(probe);
}

static void end_probe(http_probe *probe, unsigned status)
{
    sbx_timer_stop(&probe->limit);
    sbx_list_remove(&probe->node);
    probe->done(probe->user, status, sbx_view_of(probe->body, probe->body_len));
    free(probe);
}

static void on_probe_head(void *user, const sbx_http_head *head)
{
    ((http_probe *)user)->status = head->status;
}

static void on_probe_body(void *user, sbx_view bytes)
{
    http_probe *probe = user;
    size_t room = probe->max_body - probe->body_len;
    size_t taken = bytes.len < room ? bytes.len : room;
    memcpy(probe->body + probe->body_len, bytes.data, taken);
    probe->body_len += taken;
}

static void on_probe_end(void *user)
{
    http_probe *probe = user;
    end_probe(probe, probe->status);
}

static void on_probe_fail(void *user, sbx_outcome outcome, const char *detail)
{
    (void)outcome;
    (void)detail;
    end_probe(user, 0);
}

static void on_probe_sent(void *user)
{
    (void)user;
}

static void on_probe_limit(sbx_timer *timer, void *user)
{
    http_probe *probe = user;
    (void)timer;
    sbx_http_call_cancel(probe->call);
    end_probe(probe, 0);
}

static const sbx_http_call_events probe_events = {
    .on_sent = on_probe_sent,
    .on_head = on_probe_head,
    .on_body = on_probe_body,
    .on_end = on_probe_end,
    .on_fail = on_probe_fail,
};

sbx_err sbx_http_peer_get(sbx_peer *peer, const char *path, sbx_time_ns timeout_ns, size_t max_body,
                          sbx_http_probe_fn *done, void *user)
{
    http_peer *http = (http_peer *)peer;
    assert(peer->kind == &http_kind);
    sbx_view target = {0};
    sbx_err err = target_of(http, path, &target);
    if (err != SBX_OK)
        return err;
    http_probe *probe = calloc(1, sizeof *probe + max_body);
    if (probe == NULL)
        return SBX_E_NOMEM;
    *probe = (http_probe){.peer = http, .done = done, .user = user, .max_body = max_body};
    sbx_timer_init(&probe->limit, http->loop, on_probe_limit, probe);
    sbx_http_header headers[SBX_HTTP_ENGINE_HEADERS];
    sbx_http_engine_request head = {.request_id = SBX_VIEW("health"), .authorization = http->authorization};
    sbx_http_call_params params = {
        .method = "GET",
        .target = target,
        .headers = headers,
        .header_count = sbx_http_engine_headers(&head, headers),
    };
    err = sbx_http_call_start(http->upstream, &params, &probe_events, probe, &probe->call);
    if (err != SBX_OK) {
        free(probe);
        return err;
    }
    sbx_list_push_back(&http->probes, &probe->node);
    sbx_timer_start(&probe->limit, sbx_time_add(sbx_loop_now(http->loop), timeout_ns));
    return SBX_OK;
}

static void free_peer(sbx_peer *super)
{
    http_peer *peer = (http_peer *)super;
    SBX_LIST_EACH(node, &peer->calls)
    {
        cancel(&SBX_CONTAINER_OF(node, http_call, node)->super);
    }
    SBX_LIST_EACH(probe_node, &peer->probes)
    {
        http_probe *probe = SBX_CONTAINER_OF(probe_node, http_probe, node);
        sbx_http_call_cancel(probe->call);
        free_probe(probe);
    }
    sbx_http_upstream_free(peer->upstream);
    sbx_buf_deinit(&peer->target);
    free(peer->authorization);
    free(peer->path_prefix);
    free(peer);
}

static const sbx_transport_kind http_kind = {
    .name = "http",
    .start = start,
    .cancel = cancel,
    .pause = pause_call,
    .resume = resume_call,
    .free_peer = free_peer,
};
