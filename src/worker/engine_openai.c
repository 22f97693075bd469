/* Engine kind openai: any OpenAI-compatible server, over HTTP. What it gets is exactly the headers of
 * net/http_engine.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "codec/openai_response.h"
#include "net/http_client.h"
#include "net/http_engine.h"
#include "worker/engine.h"

enum {
    PATH_SIZE = 256,
    PROBE_BODY_MAX = 1024 * 1024
};
#define PROBE_TIMEOUT   SBX_SEC(2)
#define CONNECT_TIMEOUT SBX_SEC(2)
#define IDLE_TIMEOUT    SBX_SEC(30)

/* The question how the engine is: one at a time. */
typedef struct probe_state {
    sbx_http_call *call; /* NULL: none at work */
    sbx_timer limit;
    unsigned status;
    sbx_buf body;
    sbx_engine_probe_fn *done;
    void *user;
} probe_state;

typedef struct openai_engine {
    sbx_engine super;
    sbx_loop *loop;
    sbx_http_upstream *upstream;
    char *prefix;
    char *authorization; /* "Bearer ...", or NULL */
    sbx_buf target;      /* of the request being started */
    probe_state probe;
} openai_engine;

typedef struct openai_call {
    sbx_engine_call super;
    sbx_http_call *call;
    const sbx_engine_events *events;
    void *user;
} openai_call;

static const sbx_engine_kind openai_kind;

/* ---- what comes back ---- */

static void on_sent(void *user)
{
    (void)user;
}

static void on_head(void *user, const sbx_http_head *head)
{
    openai_call *call = user;
    sbx_engine_head said = {
        .status = head->status,
        .content_type = sbx_http_head_get(head, "content-type"),
        .content_encoding = sbx_http_head_get(head, "content-encoding"),
        .retry_after_ns = sbx_http_engine_retry_after(head),
    };
    call->events->on_head(call->user, &said);
}

static void on_body(void *user, sbx_view bytes)
{
    openai_call *call = user;
    call->events->on_data(call->user, bytes);
}

/* What the owner is told comes last, so that it may free the engine. */
static void on_end(void *user)
{
    openai_call call = *(openai_call *)user;
    free(user);
    call.events->on_end(call.user);
}

static void on_fail(void *user, sbx_outcome outcome, const char *detail)
{
    openai_call call = *(openai_call *)user;
    free(user);
    call.events->on_fail(call.user, outcome, detail);
}

static const sbx_http_call_events call_events = {
    .on_sent = on_sent,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

/* ---- what goes out ---- */

/* A path comes from the bus: nothing that could end the request line may be in it. */
static bool is_path(sbx_view path)
{
    for (size_t i = 0; i < path.len; i++) {
        if (path.data[i] <= ' ' || path.data[i] > '~')
            return false;
    }
    return path.len > 0 && path.data[0] == '/';
}

/* Valid until the next call. */
static sbx_err target_of(openai_engine *engine, sbx_view path, sbx_view *ret_target)
{
    char text[PATH_SIZE];
    if (!is_path(path) || sbx_view_to_cstr(path, text, sizeof(text)) != SBX_OK)
        return SBX_E_INVALID;
    sbx_buf_clear(&engine->target);
    sbx_err err = sbx_url_join(engine->prefix, text, &engine->target);
    *ret_target = sbx_buf_view(&engine->target);
    return err;
}

static sbx_err send(openai_engine *engine, const char *method, const sbx_engine_request *request,
                    const sbx_http_call_events *events, void *user, sbx_http_call **ret_call)
{
    sbx_view target = {0};
    sbx_err err = target_of(engine, request->path, &target);
    if (err != SBX_OK)
        return err;
    sbx_http_header headers[SBX_HTTP_ENGINE_HEADERS];
    sbx_http_engine_request head = {
        .has_body = request->body.len > 0,
        .streaming = request->streaming,
        .request_id = request->request_id,
        .traceparent = request->traceparent,
        .authorization = engine->authorization,
    };
    sbx_http_call_params params = {
        .method = method,
        .target = target,
        .headers = headers,
        .header_count = sbx_http_engine_headers(&head, headers),
        .body = &request->body,
        .body_count = request->body.len > 0 ? 1 : 0,
    };
    return sbx_http_call_start(engine->upstream, &params, events, user, ret_call);
}

/* ---- calls ---- */

static sbx_err start(sbx_engine *super, const sbx_engine_request *request, const sbx_engine_events *events,
                     void *user, sbx_engine_call **ret_call)
{
    openai_call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return SBX_E_NOMEM;
    *call = (openai_call){.super.kind = &openai_kind, .events = events, .user = user};
    sbx_err err = send((openai_engine *)super, "POST", request, &call_events, call, &call->call);
    if (err != SBX_OK) {
        free(call);
        return err;
    }
    *ret_call = &call->super;
    return SBX_OK;
}

static void cancel(sbx_engine_call *super)
{
    openai_call *call = (openai_call *)super;
    sbx_http_call_cancel(call->call);
    free(call);
}

static void pause_call(sbx_engine_call *super)
{
    sbx_http_call_pause(((openai_call *)super)->call);
}

static void resume_call(sbx_engine_call *super)
{
    sbx_http_call_resume(((openai_call *)super)->call);
}

/* ---- probes ---- */

static void end_probe(openai_engine *engine, sbx_engine_health health, const sbx_view *models, size_t count)
{
    sbx_timer_stop(&engine->probe.limit);
    engine->probe.call = NULL;
    engine->probe.done(engine->probe.user, health, models, count);
}

/* 200 with a list of models. */
static void end_probe_with_models(openai_engine *engine)
{
    const sbx_model_info *infos = NULL;
    sbx_view ids[SBX_MODELS_MAX];
    size_t count = 0;
    sbx_arena arena;
    sbx_arena_init(&arena, PROBE_BODY_MAX);
    if (sbx_models_parse(sbx_buf_view(&engine->probe.body), &arena, &infos, &count, NULL) != SBX_OK)
        count = 0;
    for (size_t i = 0; i < count; i++)
        ids[i] = infos[i].id;
    end_probe(engine, SBX_ENGINE_IS_UP, ids, count);
    sbx_arena_deinit(&arena);
}

static void on_probe_head(void *user, const sbx_http_head *head)
{
    ((openai_engine *)user)->probe.status = head->status;
}

static void on_probe_body(void *user, sbx_view bytes)
{
    (void)sbx_buf_append_view(&((openai_engine *)user)->probe.body, bytes); /* too much reads as no list */
}

/* An engine that knows no /v1/models still answers; one that cannot yet says 503. */
static void on_probe_end(void *user)
{
    openai_engine *engine = user;
    if (engine->probe.status == 200)
        end_probe_with_models(engine);
    else
        end_probe(engine, engine->probe.status == 503 ? SBX_ENGINE_IS_LOADING : SBX_ENGINE_IS_UP, NULL, 0);
}

static void on_probe_fail(void *user, sbx_outcome outcome, const char *detail)
{
    (void)detail;
    bool is_slow = outcome == SBX_OUTCOME_CONNECT_TIMEOUT || outcome == SBX_OUTCOME_LOCAL;
    end_probe(user, is_slow ? SBX_ENGINE_IS_SILENT : SBX_ENGINE_IS_DOWN, NULL, 0);
}

static const sbx_http_call_events probe_events = {
    .on_sent = on_sent,
    .on_head = on_probe_head,
    .on_body = on_probe_body,
    .on_end = on_probe_end,
    .on_fail = on_probe_fail,
};

static void on_probe_limit(sbx_timer *timer, void *user)
{
    openai_engine *engine = user;
    (void)timer;
    if (engine->probe.call != NULL)
        sbx_http_call_cancel(engine->probe.call);
    end_probe(engine, SBX_ENGINE_IS_SILENT, NULL, 0);
}

static void probe(sbx_engine *super, sbx_engine_probe_fn *done, void *user)
{
    openai_engine *engine = (openai_engine *)super;
    sbx_engine_request request = {.path = SBX_VIEW("/v1/models")};
    assert(engine->probe.call == NULL);
    sbx_buf_clear(&engine->probe.body);
    engine->probe.status = 0;
    engine->probe.done = done;
    engine->probe.user = user;
    sbx_timer_start(&engine->probe.limit, sbx_time_add(sbx_loop_now(engine->loop), PROBE_TIMEOUT));
    if (send(engine, "GET", &request, &probe_events, engine, &engine->probe.call) != SBX_OK)
        engine->probe.call = NULL; /* the limit reports it */
}

/* ---- the engine ---- */

static void free_engine(sbx_engine *super)
{
    openai_engine *engine = (openai_engine *)super;
    sbx_timer_stop(&engine->probe.limit);
    sbx_http_upstream_free(engine->upstream);
    sbx_buf_deinit(&engine->probe.body);
    sbx_buf_deinit(&engine->target);
    free(engine->prefix);
    free(engine->authorization);
    free(engine);
}

static sbx_err copy_config(openai_engine *engine, const sbx_config_engine *config)
{
    engine->prefix = strdup(config->url.prefix == NULL ? "" : config->url.prefix);
    if (engine->prefix == NULL)
        return SBX_E_NOMEM;
    if (config->api_key == NULL)
        return SBX_OK;
    engine->authorization = sbx_http_engine_bearer(config->api_key);
    return engine->authorization == NULL ? SBX_E_NOMEM : SBX_OK;
}

sbx_err sbx_engine_openai_new(sbx_loop *loop, const sbx_config_engine *config, sbx_engine **ret_engine)
{
    openai_engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL)
        return SBX_E_NOMEM;
    engine->super.kind = &openai_kind;
    engine->loop = loop;
    sbx_buf_init(&engine->target, SIZE_MAX);
    sbx_buf_init(&engine->probe.body, PROBE_BODY_MAX);
    sbx_timer_init(&engine->probe.limit, loop, on_probe_limit, engine);
    sbx_http_upstream_options options = {
        .host = config->url.host,
        .port = config->url.port,
        .tls = config->url.is_https,
        .max_idle = config->max_concurrent,
        .idle_timeout_ns = IDLE_TIMEOUT,
        .connect_timeout_ns = CONNECT_TIMEOUT,
        .max_head_bytes = SBX_HTTP_MAX_HEAD_BYTES,
    };
    sbx_err err = copy_config(engine, config);
    if (err == SBX_OK)
        err = sbx_http_upstream_new(loop, &options, &engine->upstream);
    if (err != SBX_OK) {
        free_engine(&engine->super);
        return err;
    }
    *ret_engine = &engine->super;
    return SBX_OK;
}

static const sbx_engine_kind openai_kind = {
    .name = "openai",
    .start = start,
    .cancel = cancel,
    .pause = pause_call,
    .resume = resume_call,
    .probe = probe,
    .free = free_engine,
};
