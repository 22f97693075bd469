/* The plain request: an OpenAI body on inference.<id>, answered with the engine's whole JSON in one message.
 * For operators and simple clients; it has no attempts, no credit and no replay. */
#include <stdio.h>
#include <stdlib.h>

#include "codec/openai_request.h"
#include "worker/sim_answer.h"
#include "worker/worker_node_priv.h"

enum {
    ANSWER_MAX = 32 * 1024 * 1024,
    STATUS_TEXT = 16
};
#define PLAIN_LIMIT SBX_SEC(600)

struct sbx_plain {
    sbx_worker_node *worker;
    sbx_list_node node;
    sbx_buf reply, body, answer;
    sbx_engine_call *call;
    unsigned status;
    sbx_timer limit;
};

/* ---- answers ---- */

static sbx_err respond(sbx_worker_node *node, sbx_view reply, unsigned status, sbx_view body)
{
    char text[STATUS_TEXT];
    snprintf(text, sizeof(text), "%u", status);
    sbx_bus_header header = {SBX_BUS_HEADER_STATUS, text};
    return sbx_bus_respond(node->bus, reply, &header, 1, &body, 1);
}

static void refuse(sbx_worker_node *node, sbx_view reply, unsigned status, const char *message)
{
    const char *type = status >= 500 ? "server_error" : "invalid_request_error";
    sbx_buf_clear(&node->scratch);
    sbx_sim_write_error(message, type, /* param= */ NULL, /* code= */ NULL, &node->scratch);
    (void)respond(node, reply, status, sbx_buf_view(&node->scratch)); /* the asker may be gone */
}

static void free_plain(sbx_plain *plain)
{
    sbx_worker_node *node = plain->worker;
    sbx_list_remove(&plain->node);
    sbx_timer_stop(&plain->limit);
    sbx_buf_deinit(&plain->reply);
    sbx_buf_deinit(&plain->body);
    sbx_buf_deinit(&plain->answer);
    free(plain);
    node->running--;
    sbx_node_check_drained(node);
}

static void end_with(sbx_plain *plain, unsigned status, const char *message)
{
    if (plain->call != NULL)
        plain->call->kind->cancel(plain->call);
    refuse(plain->worker, sbx_buf_view(&plain->reply), status, message);
    free_plain(plain);
}

/* ---- what the engine says ---- */

static void on_head(void *user, const sbx_engine_head *head)
{
    ((sbx_plain *)user)->status = head->status;
}

static void on_data(void *user, sbx_view bytes)
{
    sbx_plain *plain = user;
    if (sbx_buf_append_view(&plain->answer, bytes) != SBX_OK)
        end_with(plain, 502, "the engine's answer is too large");
}

static void on_end(void *user)
{
    sbx_plain *plain = user;
    plain->call = NULL;
    sbx_err err =
        respond(plain->worker, sbx_buf_view(&plain->reply), plain->status, sbx_buf_view(&plain->answer));
    if (err == SBX_E_CAP)
        end_with(plain, 502, "the engine's answer is larger than one message may be");
    else
        free_plain(plain);
}

static void on_fail(void *user, sbx_outcome outcome, const char *detail)
{
    sbx_plain *plain = user;
    (void)detail; /* addresses of engines are not the asker's business */
    plain->call = NULL;
    end_with(plain, outcome == SBX_OUTCOME_REFUSED ? 503 : 502, sbx_outcome_text(outcome));
}

static const sbx_engine_events engine_events = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end, .on_fail = on_fail};

static void on_limit(sbx_timer *timer, void *user)
{
    (void)timer;
    end_with(user, 504, "the engine did not answer in time");
}

/* ---- questions ---- */

static sbx_view path_of(const sbx_bus_message *message)
{
    sbx_view path = sbx_bus_message_header(message, SBX_BUS_HEADER_PATH);
    return path.len > 0 ? path : SBX_VIEW("/v1/chat/completions");
}

/* NULL when the request is one we take; else why not. */
static const char *problem_of(const sbx_bus_message *message)
{
    sbx_endpoint endpoint;
    sbx_json_want stream = {.name = SBX_VIEW("stream")};
    bool is_streaming = false;
    if (!sbx_endpoint_from_path(path_of(message), &endpoint))
        return "there is no such endpoint";
    if (sbx_json_scan(message->data, &stream, 1, NULL, NULL) != SBX_OK)
        return "the body is not JSON";
    if (sbx_json_to_bool(stream.value, &is_streaming) == SBX_OK && is_streaming)
        return "stream is not possible in a plain request";
    return NULL;
}

static sbx_err start(sbx_plain *plain, const sbx_bus_message *message)
{
    sbx_engine *engine = plain->worker->engine;
    sbx_err err = sbx_buf_append_view(&plain->reply, message->reply);
    if (err == SBX_OK)
        err = sbx_buf_append_view(&plain->body, message->data);
    if (err != SBX_OK)
        return err;
    sbx_engine_request request = {.path = path_of(message), .body = sbx_buf_view(&plain->body)};
    return engine->kind->start(engine, &request, &engine_events, plain, &plain->call);
}

static sbx_plain *add(sbx_worker_node *node)
{
    sbx_plain *plain = calloc(1, sizeof(*plain));
    if (plain == NULL)
        return NULL;
    plain->worker = node;
    sbx_buf_init(&plain->reply, SBX_NODE_SUBJECT_MAX);
    sbx_buf_init(&plain->body, SBX_NODE_BODY_MAX);
    sbx_buf_init(&plain->answer, ANSWER_MAX);
    sbx_timer_init(&plain->limit, node->loop, on_limit, plain);
    sbx_list_push_back(&node->plains, &plain->node);
    node->running++;
    return plain;
}

void sbx_plain_begin(sbx_worker_node *node, const sbx_bus_message *message)
{
    const char *problem = problem_of(message);
    if (problem != NULL) {
        refuse(node, message->reply, 400, problem);
        return;
    }
    if (node->is_draining || node->running >= node->max_concurrent) {
        refuse(node, message->reply, 503,
               node->is_draining ? "the worker is draining" : "the worker is full");
        return;
    }
    sbx_plain *plain = add(node);
    if (plain == NULL) {
        refuse(node, message->reply, 503, "out of memory");
        return;
    }
    sbx_timer_start(&plain->limit, sbx_time_add(sbx_loop_now(node->loop), PLAIN_LIMIT));
    if (start(plain, message) != SBX_OK)
        end_with(plain, 503, "out of memory");
}

void sbx_plain_cancel_all(sbx_worker_node *node)
{
    SBX_LIST_EACH(link, &node->plains)
    {
        end_with(SBX_CONTAINER_OF(link, sbx_plain, node), 503, "the worker leaves");
    }
}
