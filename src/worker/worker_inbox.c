/* What comes from the bus: who says it about which attempt, and what the headers mean. Anything malformed is
 * dropped: it is no answer to anybody. */
#include <stdio.h>

#include "base/log.h"
#include "worker/worker_node_priv.h"

enum {
    CREDIT_NOT_SAID = 128 * 1024
};

/* ---- names ---- */

/* "response.<controller>.<request id>.<number>" without the bus's prefix. */
typedef struct attempt_name {
    char subject[SBX_NODE_SUBJECT_MAX];
    sbx_view controller;
    sbx_view request_id;
} attempt_name;

/* The part up to the next dot, which is taken off as well. */
static sbx_view next_token(sbx_view *rest)
{
    size_t dot = sbx_view_find(*rest, '.', 0);
    sbx_view token = sbx_view_slice(*rest, 0, dot == SIZE_MAX ? rest->len : dot);
    *rest = dot == SIZE_MAX ? (sbx_view){0} : sbx_view_skip(*rest, dot + 1);
    return token;
}

static bool is_request_id(sbx_view text)
{
    for (size_t i = 0; i < text.len; i++) {
        bool is_hex =
            (text.data[i] >= '0' && text.data[i] <= '9') || (text.data[i] >= 'a' && text.data[i] <= 'f');
        if (!is_hex)
            return false;
    }
    return text.len == SBX_ID_LEN;
}

static bool read_name(const sbx_worker_node *node, sbx_view reply, attempt_name *ret_name)
{
    sbx_view prefix = sbx_view_cstr(node->bus_prefix);
    uint64_t number;
    if (!sbx_view_starts_with(reply, prefix) ||
        sbx_view_to_cstr(sbx_view_skip(reply, prefix.len), ret_name->subject, sizeof(ret_name->subject)) !=
            SBX_OK)
        return false;
    sbx_view rest = sbx_view_cstr(ret_name->subject);
    bool is_response = sbx_view_eq_cstr(next_token(&rest), "response");
    ret_name->controller = next_token(&rest);
    ret_name->request_id = next_token(&rest);
    return is_response && sbx_id_is_token(ret_name->controller) && is_request_id(ret_name->request_id) &&
           sbx_view_to_u64(rest, UINT32_MAX, &number) == SBX_OK;
}

static void heard(sbx_worker_node *node, sbx_node_controller *controller)
{
    controller->heard_at = sbx_loop_now(node->loop);
    controller->missed_at = SBX_TIME_NEVER;
}

/* ---- a run ---- */

/* `otherwise` when there is no such header, or it is no number. */
static uint64_t number_header(const sbx_bus_message *message, const char *name, uint64_t most,
                              uint64_t otherwise)
{
    uint64_t value = otherwise;
    (void)sbx_view_to_u64(sbx_bus_message_header(message, name), most, &value);
    return value;
}

static void text_header(const sbx_bus_message *message, const char *name, char *ret_text, size_t size)
{
    ret_text[0] = '\0';
    (void)sbx_view_to_cstr(sbx_bus_message_header(message, name), ret_text,
                           size); /* too long reads as none */
}

static void read_headers(const sbx_bus_message *message, const attempt_name *name,
                         sbx_run_headers *ret_headers)
{
    const uint64_t most_ms = INT64_MAX / SBX_MS(1) / 2;
    *ret_headers = (sbx_run_headers){
        .streaming = sbx_view_eq_cstr(sbx_bus_message_header(message, SBX_BUS_HEADER_STREAM), "1"),
        .deadline_ms = number_header(message, SBX_BUS_HEADER_DEADLINE_MS, most_ms, 0),
        .expires_ms = number_header(message, SBX_BUS_HEADER_EXPIRES_MS, most_ms, 0),
        .credit = number_header(message, SBX_BUS_HEADER_CREDIT, UINT64_MAX, CREDIT_NOT_SAID),
        .body_bytes = number_header(message, SBX_BUS_HEADER_BODY_BYTES, UINT64_MAX, 0),
    };
    (void)sbx_view_to_cstr(name->request_id, ret_headers->request_id, sizeof(ret_headers->request_id));
    text_header(message, SBX_BUS_HEADER_PATH, ret_headers->path, sizeof(ret_headers->path));
    text_header(message, SBX_BUS_HEADER_TRACEPARENT, ret_headers->traceparent,
                sizeof(ret_headers->traceparent));
}

static void take_run(sbx_worker_node *node, const attempt_name *name, const sbx_bus_message *message)
{
    sbx_attempt *known = sbx_attempt_find(node, name->subject);
    if (known != NULL) {
        sbx_attempt_replay(known, 0);
        return;
    }
    if (sbx_recent_knows(&node->recent, sbx_view_cstr(name->subject), sbx_loop_now(node->loop)))
        return;
    sbx_node_controller *controller = sbx_node_controller_get(node, name->controller);
    sbx_run_headers headers;
    read_headers(message, name, &headers);
    if (controller == NULL) {
        sbx_node_send_refusal(node, name->subject, SBX_OUTCOME_LOCAL, "out of memory");
        return;
    }
    heard(node, controller);
    sbx_attempt_begin(node, name->subject, controller, &headers, message->data);
}

/* ---- about an attempt ---- */

static void take_cancel(sbx_worker_node *node, const attempt_name *name, const sbx_bus_message *message)
{
    (void)message;
    sbx_attempt *attempt = sbx_attempt_find(node, name->subject);
    if (attempt != NULL)
        sbx_attempt_cancel(attempt);
    else /* it overtook its run, or the run never came: it must not start later */
        sbx_recent_add(&node->recent, sbx_view_cstr(name->subject), sbx_loop_now(node->loop));
}

static void take_credit(sbx_worker_node *node, const attempt_name *name, const sbx_bus_message *message)
{
    sbx_bus_credit credit;
    sbx_attempt *attempt = sbx_attempt_find(node, name->subject);
    if (attempt != NULL && sbx_bus_credit_parse(message->data, &credit) == SBX_OK)
        sbx_attempt_take_credit(attempt, &credit);
}

static void take_replay(sbx_worker_node *node, const attempt_name *name, const sbx_bus_message *message)
{
    uint32_t from;
    sbx_attempt *attempt = sbx_attempt_find(node, name->subject);
    if (sbx_bus_replay_parse(message->data, &from) != SBX_OK)
        return;
    if (attempt != NULL)
        sbx_attempt_replay(attempt, from);
    else
        sbx_node_send_unknown(node, name->subject);
}

static void take_chunk(sbx_worker_node *node, const attempt_name *name, const sbx_bus_message *message)
{
    sbx_attempt *attempt = sbx_attempt_find(node, name->subject);
    uint64_t offset = number_header(message, SBX_BUS_HEADER_OFFSET, UINT64_MAX, UINT64_MAX);
    if (attempt != NULL)
        sbx_attempt_take_chunk(attempt, offset, message->data);
}

typedef void attempt_verb_fn(sbx_worker_node *node, const attempt_name *name, const sbx_bus_message *message);

static const struct {
    const char *verb;
    attempt_verb_fn *take;
} verbs[] = {
    {"run", take_run},       {"credit", take_credit}, {"cancel", take_cancel},
    {"replay", take_replay}, {"chunk", take_chunk},
};

static void take_about_attempt(sbx_worker_node *node, sbx_view verb, const sbx_bus_message *message)
{
    attempt_name name;
    if (!read_name(node, message->reply, &name))
        return;
    sbx_node_controller *controller = sbx_node_controller_find(node, name.controller);
    if (controller != NULL)
        heard(node, controller);
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (sbx_view_eq_cstr(verb, verbs[i].verb))
            verbs[i].take(node, &name, message);
    }
}

/* ---- about a controller ---- */

/* Its reply subject names who pings: response.<controller>.ping.<worker>. */
static void take_ping(sbx_worker_node *node, const sbx_bus_message *message)
{
    sbx_view prefix = sbx_view_cstr(node->bus_prefix);
    sbx_view rest = sbx_view_skip(message->reply, prefix.len);
    (void)next_token(&rest);
    sbx_node_controller *controller = sbx_node_controller_find(node, next_token(&rest));
    if (controller != NULL)
        heard(node, controller);
}

static void take_orphan(sbx_worker_node *node, sbx_view controller_id, const sbx_bus_message *message)
{
    sbx_node_controller *controller = sbx_node_controller_find(node, controller_id);
    if (controller != NULL && message->no_responders)
        sbx_node_controller_missed(node, controller);
}

/* ---- all ---- */

/* inference.<id>.> */
static void on_message(void *user, const sbx_bus_message *message)
{
    sbx_worker_node *node = user;
    sbx_view rest = message->subject;
    (void)next_token(&rest); /* inference */
    (void)next_token(&rest); /* our id */
    sbx_view verb = next_token(&rest);
    if (sbx_view_eq_cstr(verb, "orphan"))
        take_orphan(node, rest, message);
    else if (sbx_view_eq_cstr(verb, "ping"))
        take_ping(node, message);
    else if (!message->no_responders)
        take_about_attempt(node, verb, message);
}

static void on_plain(void *user, const sbx_bus_message *message)
{
    if (!message->no_responders && message->reply.len > 0)
        sbx_plain_begin(user, message);
}

static void on_who(void *user, const sbx_bus_message *message)
{
    (void)message;
    sbx_node_heartbeat_now(user);
}

sbx_err sbx_node_subscribe(sbx_worker_node *node)
{
    char own[SBX_NODE_SUBJECT_MAX], below[SBX_NODE_SUBJECT_MAX];
    sbx_bus_subscription *unused;
    snprintf(own, sizeof(own), "inference.%s", node->id);
    snprintf(below, sizeof(below), "inference.%s.>", node->id);
    sbx_err err = sbx_bus_subscribe(node->bus, below, on_message, node, &unused);
    if (err == SBX_OK)
        err = sbx_bus_subscribe(node->bus, own, on_plain, node, &unused);
    if (err == SBX_OK)
        err = sbx_bus_subscribe(node->bus, "worker.who", on_who, node, &unused);
    return err;
}
