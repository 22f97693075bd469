/* See sim_server.h. This file: connections, and requests that the engine answers. */
#include "worker/sim_server.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sim_answer.h"
#include "worker/sim_pace.h"
#include "worker/sim_request.h"
#include "worker/sim_server_priv.h"

enum {
    MAX_HEADERS = 6,
    NUMBER_BYTES = 24
};

/* One inference request at work. */
typedef struct exchange {
    sbx_sim_server *server;
    sbx_http_request *request; /* NULL: over */
    sbx_sim_pace pace;
    uint64_t log_id;
    sbx_time_ns began_at;
    unsigned status; /* sent; 0: none yet */
} exchange;

/* ---- plain answers ---- */

static sbx_http_header header(const char *name, const char *value)
{
    return (sbx_http_header){sbx_view_cstr(name), sbx_view_cstr(value)};
}

void sbx_sim_server_answer(sbx_sim_server *server, sbx_http_request *request, unsigned status)
{
    sbx_http_header type = header("Content-Type", "application/json");
    sbx_view body = sbx_buf_view(&server->scratch);
    (void)sbx_http_respond(request, status, &type, 1, &body,
                           1); /* on failure the connection is gone already */
}

void sbx_sim_server_refuse(sbx_sim_server *server, sbx_http_request *request, unsigned status,
                           const char *message)
{
    sbx_buf_clear(&server->scratch);
    sbx_sim_write_error(message, "invalid_request_error", NULL, NULL, &server->scratch);
    sbx_sim_server_answer(server, request, status);
}

/* ---- what the engine's runs do to a connection ---- */

static size_t headers_of(const sbx_sim_head *head, sbx_http_header ret_headers[MAX_HEADERS],
                         char ret_number[NUMBER_BYTES])
{
    size_t count = 0;
    ret_headers[count++] = header("Content-Type", head->content_type);
    ret_headers[count++] = header("Cache-Control", "no-cache");
    if (head->content_encoding != NULL)
        ret_headers[count++] = header("Content-Encoding", head->content_encoding);
    if (head->location != NULL)
        ret_headers[count++] = header("Location", head->location);
    if (head->retry_after_s >= 0) {
        snprintf(ret_number, NUMBER_BYTES, "%d", head->retry_after_s);
        ret_headers[count++] = header("Retry-After", ret_number);
    }
    assert(count <= MAX_HEADERS);
    return count;
}

/* Writes the log, and frees the exchange: its request is over one way or another. */
static void close_exchange(exchange *x, bool is_finished, bool is_aborted)
{
    sbx_sim_server *server = x->server;
    sbx_sim_run_stats stats = sbx_sim_run_stats_of(x->pace.run);
    sbx_sim_log_end end = {.status = x->status,
                           .body_bytes = stats.body_bytes,
                           .tokens = stats.tokens,
                           .fault = stats.fault,
                           .is_aborted = is_aborted,
                           .is_finished = is_finished};
    sbx_sim_log_finish(server->log, x->log_id, &end, sbx_loop_now(server->loop));
    sbx_sim_pace_stop(&x->pace);
    free(x);
}

/* The peer is gone, or a write failed (which ends the request without on_gone). */
static void give_up(exchange *x)
{
    sbx_sim_run *run = x->pace.run;
    close_exchange(x, /* is_finished= */ false, /* is_aborted= */ true);
    sbx_sim_run_cancel(run);
}

static void on_whole(void *user, const sbx_sim_head *head, sbx_view body)
{
    exchange *x = user;
    sbx_http_header headers[MAX_HEADERS];
    char number[NUMBER_BYTES];
    size_t count = headers_of(head, headers, number);
    x->status = head->status;
    sbx_http_request *request = x->request;
    close_exchange(x, /* is_finished= */ true, /* is_aborted= */ false);
    (void)sbx_http_respond(request, head->status, headers, count, &body, 1);
}

static void on_head(void *user, const sbx_sim_head *head)
{
    exchange *x = user;
    sbx_http_header headers[MAX_HEADERS];
    char number[NUMBER_BYTES];
    size_t count = headers_of(head, headers, number);
    x->status = head->status;
    if (sbx_http_start(x->request, head->status, headers, count, NULL, 0) != SBX_OK)
        give_up(x);
}

static void on_data(void *user, sbx_view bytes)
{
    exchange *x = user;
    if (sbx_http_write(x->request, &bytes, 1) != SBX_OK) {
        give_up(x);
        return;
    }
    if (sbx_http_is_full(x->request))
        sbx_sim_run_pause(x->pace.run);
}

static void on_end(void *user)
{
    exchange *x = user;
    sbx_http_request *request = x->request;
    close_exchange(x, /* is_finished= */ true, /* is_aborted= */ false);
    sbx_http_end(request);
}

static void break_connection(sbx_http_request *request, sbx_sim_effect effect, bool is_headed)
{
    if (effect == SBX_SIM_CRASH) {
        (void)sbx_http_write_raw(request, (sbx_view){0}); /* what was said before goes out */
        raise(SIGKILL);
    }
    if (effect == SBX_SIM_RESET) {
        sbx_http_reset(request);
        return;
    }
    if (effect == SBX_SIM_GARBAGE) {
        sbx_view garbage = is_headed ? SBX_VIEW("not-a-size\r\nnot a chunk\r\n")
                                     : SBX_VIEW("\x16\x03\x01 this is not HTTP\r\n\r\n");
        (void)sbx_http_write_raw(request, garbage);
    }
    sbx_http_cut(request);
}

static void on_break(void *user, sbx_sim_effect effect)
{
    exchange *x = user;
    sbx_http_request *request = x->request;
    bool is_headed = x->status != 0;
    close_exchange(x, /* is_finished= */ false, /* is_aborted= */ false);
    break_connection(request, effect, is_headed);
}

static void arm(void *user, sbx_time_ns at)
{
    sbx_sim_pace_arm(&((exchange *)user)->pace, at);
}

static const sbx_sim_sink sink = {
    .on_whole = on_whole,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_break = on_break,
    .arm = arm,
};

static void start_exchange(sbx_sim_server *server, sbx_http_request *request, uint64_t log_id)
{
    sbx_time_ns now = sbx_loop_now(server->loop);
    exchange *x = calloc(1, sizeof(*x));
    if (x == NULL) {
        sbx_sim_server_refuse(server, request, 500, "out of memory");
        return;
    }
    *x = (exchange){.server = server, .request = request, .log_id = log_id, .began_at = now};
    sbx_sim_pace_init(&x->pace, server->loop);
    sbx_err err = sbx_sim_engine_start(server->engine, sbx_http_request_head(request)->path,
                                       sbx_http_request_body(request), &sink, x, now, &x->pace.run);
    if (err != SBX_OK) {
        free(x);
        sbx_sim_server_refuse(server, request, 500, "out of memory");
        return;
    }
    sbx_http_request_set_user(request, x);
}

/* ---- models, health ---- */

static void log_answer(sbx_sim_server *server, uint64_t log_id, unsigned status, const char *fault)
{
    sbx_sim_log_end end = {
        .status = status, .body_bytes = server->scratch.len, .fault = fault, .is_finished = true};
    sbx_sim_log_finish(server->log, log_id, &end, sbx_loop_now(server->loop));
}

static void answer_plain(sbx_sim_server *server, sbx_http_request *request, uint64_t log_id, unsigned status)
{
    log_answer(server, log_id, status, /* fault= */ NULL);
    sbx_sim_server_answer(server, request, status);
}

static void refuse_plain(sbx_sim_server *server, sbx_http_request *request, uint64_t log_id, unsigned status,
                         const char *message)
{
    log_answer(server, log_id, status, /* fault= */ NULL);
    sbx_sim_server_refuse(server, request, status, message);
}

static unsigned write_one_model(sbx_sim_server *server, sbx_view name)
{
    const sbx_sim_options *options = sbx_sim_engine_options(server->engine);
    for (size_t i = 0; i < options->model_count; i++) {
        if (!sbx_view_eq_cstr(name, options->models[i]))
            continue;
        sbx_sim_write_model(options->models[i], &server->scratch);
        return 200;
    }
    sbx_sim_write_error("The model does not exist", "invalid_request_error", "model", "model_not_found",
                        &server->scratch);
    return 404;
}

static unsigned write_info(sbx_sim_server *server, sbx_view path)
{
    static const sbx_view below_models = SBX_VIEW_INIT("/v1/models/");
    const sbx_sim_options *options = sbx_sim_engine_options(server->engine);
    sbx_buf_clear(&server->scratch);
    if (sbx_sim_engine_is_loading(server->engine)) {
        const sbx_sim_fault_row *row = sbx_sim_fault_row_of(SBX_SIM_FAULT_LOADING);
        sbx_buf_append_view(&server->scratch, row->body);
        return row->status;
    }
    if (sbx_view_starts_with(path, below_models))
        return write_one_model(server, sbx_view_skip(path, below_models.len));
    if (sbx_view_eq_cstr(path, "/v1/models"))
        sbx_sim_write_models(options->models, options->model_count, &server->scratch);
    else
        sbx_buf_append_cstr(&server->scratch, "{\"status\":\"ok\"}");
    return 200;
}

static bool is_info_path(sbx_view path)
{
    return sbx_view_eq_cstr(path, "/health") || sbx_view_eq_cstr(path, "/v1/models") ||
           sbx_view_starts_with(path, SBX_VIEW("/v1/models/"));
}

/* Faults ordered for such a path; true when the request is dealt with. A fault that strikes in mid-answer
 * strikes at once here. */
static bool info_fault(sbx_sim_server *server, sbx_http_request *request, sbx_view path, uint64_t log_id)
{
    sbx_sim_order order;
    sbx_rng rng;
    sbx_rng_seed(&rng, log_id);
    if (!sbx_sim_faults_draw(sbx_sim_engine_faults(server->engine), path, /* is_inference= */ false, &rng,
                             &order))
        return false;
    const sbx_sim_fault_row *row = sbx_sim_fault_row_of(order.fault);
    sbx_buf_clear(&server->scratch);
    if (row->effect == SBX_SIM_ANSWER) {
        sbx_buf_append_view(&server->scratch, row->body);
        log_answer(server, log_id, row->status, row->name);
        sbx_sim_server_answer(server, request, row->status);
        return true;
    }
    sbx_sim_log_end end = {.fault = row->name};
    sbx_sim_log_finish(server->log, log_id, &end, sbx_loop_now(server->loop));
    if (row->effect == SBX_SIM_RESET || row->effect == SBX_SIM_CUT || row->effect == SBX_SIM_GARBAGE ||
        row->effect == SBX_SIM_CRASH)
        break_connection(request, row->effect, /* is_headed= */ false);
    return true; /* anything else: no answer, ever */
}

/* ---- requests ---- */

static bool is_authorized(const sbx_sim_server *server, const sbx_http_head *head)
{
    static const sbx_view bearer = SBX_VIEW_INIT("Bearer ");
    if (server->api_key == NULL)
        return true;
    sbx_view value = sbx_http_head_get(head, "authorization");
    return sbx_view_starts_with(value, bearer) &&
           sbx_view_eq_cstr(sbx_view_skip(value, bearer.len), server->api_key);
}

static void dispatch(sbx_sim_server *server, sbx_http_request *request, const sbx_http_head *head,
                     uint64_t log_id)
{
    sbx_sim_kind kind;
    bool is_inference = sbx_sim_kind_of_path(head->path, &kind);
    bool is_post = sbx_view_eq_cstr(head->method, "POST");
    if (!is_authorized(server, head))
        refuse_plain(server, request, log_id, 401, "Incorrect API key provided");
    else if (is_inference && is_post)
        start_exchange(server, request, log_id);
    else if (is_inference || (is_info_path(head->path) && is_post))
        refuse_plain(server, request, log_id, 405, "method not allowed");
    else if (!is_info_path(head->path))
        refuse_plain(server, request, log_id, 404, "there is no such endpoint");
    else if (!info_fault(server, request, head->path, log_id))
        answer_plain(server, request, log_id, write_info(server, head->path));
}

static void on_request(void *user, sbx_http_request *request)
{
    sbx_sim_server *server = user;
    const sbx_http_head *head = sbx_http_request_head(request);
    if (sbx_view_starts_with(head->path, SBX_VIEW("/sim/"))) {
        sbx_sim_control(server, request);
        return;
    }
    uint64_t log_id =
        sbx_sim_log_begin(server->log, head, sbx_http_request_body(request), sbx_loop_now(server->loop));
    dispatch(server, request, head, log_id);
}

static void on_gone(void *user, sbx_http_request *request)
{
    (void)user;
    exchange *x = sbx_http_request_user(request);
    if (x != NULL)
        give_up(x);
}

static void on_drained(void *user, sbx_http_request *request)
{
    (void)user;
    exchange *x = sbx_http_request_user(request);
    if (x != NULL)
        sbx_sim_run_resume(x->pace.run);
}

static sbx_view error_body(void *user, unsigned status, const char *message)
{
    (void)status;
    sbx_sim_server *server = user;
    sbx_buf_clear(&server->scratch);
    sbx_sim_write_error(message, "invalid_request_error", NULL, NULL, &server->scratch);
    return sbx_buf_view(&server->scratch);
}

/* ---- life ---- */

static const sbx_http_server_options http_options = {
    .max_connections = 10000,
    .max_body_bytes = UINT64_C(64) << 20,
    .max_buffered_bytes = UINT64_C(1) << 30,
    .header_timeout_ns = SBX_SEC(10),
    .body_timeout_ns = SBX_SEC(30),
    .keep_alive_timeout_ns = SBX_SEC(75),
    .write_timeout_ns = SBX_SEC(600), /* a slow reader is a test's own business */
    .high_water_bytes = 128 * 1024,
    .arena_cap_bytes = 1024 * 1024,
};

/* What reset goes back to. */
static sbx_err remember_initial(sbx_sim_server *server, const sbx_sim_options *options)
{
    const char **models = SBX_ARENA_ARRAY(&server->initial_names, const char *, options->model_count);
    if (models == NULL)
        return SBX_E_NOMEM;
    for (size_t i = 0; i < options->model_count; i++) {
        char *copy;
        if (sbx_arena_dup_cstr(&server->initial_names, sbx_view_cstr(options->models[i]), &copy) != SBX_OK)
            return SBX_E_NOMEM;
        models[i] = copy;
    }
    server->initial = *options;
    server->initial.models = models;
    return SBX_OK;
}

static sbx_err remember_key(sbx_sim_server *server, const char *api_key)
{
    if (api_key == NULL)
        return SBX_OK;
    server->api_key = strdup(api_key);
    return server->api_key == NULL ? SBX_E_NOMEM : SBX_OK;
}

static sbx_err make_parts(sbx_sim_server *server, const sbx_sim_server_options *options)
{
    sbx_http_handler handler = {.on_request = on_request,
                                .on_gone = on_gone,
                                .on_drained = on_drained,
                                .error_body = error_body,
                                .user = server};
    sbx_err err = remember_initial(server, &options->engine);
    if (err == SBX_OK)
        err = remember_key(server, options->api_key);
    if (err == SBX_OK)
        err = sbx_sim_engine_new(&options->engine, &server->engine);
    if (err == SBX_OK)
        err = sbx_sim_log_new(sbx_loop_now(server->loop), &server->log);
    if (err == SBX_OK)
        err = sbx_http_server_new(server->loop, &http_options, &handler, &server->http);
    return err;
}

sbx_err sbx_sim_server_new(sbx_loop *loop, const sbx_sim_server_options *options, sbx_sim_server **ret_server,
                           sbx_errinfo *reterr_info)
{
    sbx_sim_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return SBX_E_NOMEM;
    server->loop = loop;
    sbx_arena_init(&server->initial_names, SIZE_MAX);
    sbx_buf_init(&server->scratch, SIZE_MAX);
    sbx_err err = make_parts(server, options);
    if (err == SBX_OK)
        err = sbx_http_server_listen(server->http, options->host, options->port, &server->port, reterr_info);
    if (err != SBX_OK) {
        sbx_sim_server_free(server);
        return err;
    }
    *ret_server = server;
    return SBX_OK;
}

uint16_t sbx_sim_server_port(const sbx_sim_server *server)
{
    return server->port;
}

sbx_sim_engine *sbx_sim_server_engine(sbx_sim_server *server)
{
    return server->engine;
}

void sbx_sim_server_free(sbx_sim_server *server)
{
    if (server == NULL)
        return;
    sbx_http_server_free(server->http); /* calls on_gone for each that is at work */
    sbx_sim_engine_free(server->engine);
    sbx_sim_log_free(server->log);
    sbx_buf_deinit(&server->scratch);
    sbx_arena_deinit(&server->initial_names);
    free(server->api_key);
    free(server);
}
