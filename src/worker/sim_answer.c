/* See sim_answer.h. */
#include "worker/sim_answer.h"

static const char tool_opening[] = "{\"text\":\"";
static const char tool_closing[] = "\"}";

static bool is_chat(const sbx_sim_meta *meta)
{
    return meta->request->kind == SBX_SIM_CHAT;
}

static bool is_tool_call(const sbx_sim_meta *meta)
{
    return meta->request->tool_name.len > 0;
}

/* {"id":..,"object":..,"created":..,"model":.. */
static void write_opening(const sbx_sim_meta *meta, const char *object, sbx_buf *out)
{
    sbx_buf_appendf(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", meta->id, object,
                    (long long)meta->created);
    sbx_buf_append_json(out, meta->request->model);
}

static void write_usage_object(const sbx_sim_meta *meta, sbx_buf *out)
{
    uint32_t prompt = meta->request->prompt_tokens;
    uint32_t completion = meta->completion_tokens;
    sbx_buf_appendf(out, "\"usage\":{\"prompt_tokens\":%u,\"completion_tokens\":%u,\"total_tokens\":%llu}",
                    prompt, completion, (unsigned long long)prompt + completion);
}

/* ---- streams ---- */

static void open_event(const sbx_sim_meta *meta, sbx_buf *out)
{
    sbx_buf_append_cstr(out, "data: ");
    write_opening(meta, is_chat(meta) ? "chat.completion.chunk" : "text_completion", out);
}

static void close_event(sbx_buf *out)
{
    sbx_buf_append_cstr(out, "}\n\n");
}

/* Ends a choice: its finish reason (NULL: not yet), and a usage of null for those who asked for usage. */
static void close_choice(const sbx_sim_meta *meta, const char *finish_reason, sbx_buf *out)
{
    if (finish_reason == NULL)
        sbx_buf_append_cstr(out, ",\"finish_reason\":null}]");
    else
        sbx_buf_appendf(out, ",\"finish_reason\":\"%s\"}]", finish_reason);
    if (meta->request->include_usage)
        sbx_buf_append_cstr(out, ",\"usage\":null");
    close_event(out);
}

static void write_arguments_delta(const sbx_sim_meta *meta, sbx_view arguments, sbx_buf *out)
{
    open_event(meta, out);
    sbx_buf_append_cstr(out, ",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,"
                             "\"function\":{\"arguments\":");
    sbx_buf_append_json(out, arguments);
    sbx_buf_append_cstr(out, "}}]}");
    close_choice(meta, /* finish_reason= */ NULL, out);
}

static void write_tool_opening(const sbx_sim_meta *meta, sbx_buf *out)
{
    open_event(meta, out);
    sbx_buf_appendf(out,
                    ",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_%s\","
                    "\"type\":\"function\",\"function\":{\"name\":",
                    meta->id);
    sbx_buf_append_json(out, meta->request->tool_name);
    sbx_buf_append_cstr(out, ",\"arguments\":");
    sbx_buf_append_json(out, sbx_view_cstr(tool_opening));
    sbx_buf_append_cstr(out, "}}]}");
    close_choice(meta, /* finish_reason= */ NULL, out);
}

void sbx_sim_write_role(const sbx_sim_meta *meta, sbx_buf *out)
{
    if (!is_chat(meta))
        return;
    open_event(meta, out);
    sbx_buf_appendf(out, ",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":%s}",
                    is_tool_call(meta) ? "null" : "\"\"");
    close_choice(meta, /* finish_reason= */ NULL, out);
}

void sbx_sim_write_token(const sbx_sim_meta *meta, sbx_view text, sbx_buf *out)
{
    if (is_tool_call(meta)) {
        if (meta->completion_tokens == 0)
            write_tool_opening(meta, out);
        write_arguments_delta(meta, text, out);
        return;
    }
    open_event(meta, out);
    sbx_buf_append_cstr(out, is_chat(meta) ? ",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
                                           : ",\"choices\":[{\"index\":0,\"text\":");
    sbx_buf_append_json(out, text);
    if (is_chat(meta))
        sbx_buf_append_byte(out, '}');
    close_choice(meta, /* finish_reason= */ NULL, out);
}

void sbx_sim_write_finish(const sbx_sim_meta *meta, sbx_buf *out)
{
    if (is_tool_call(meta))
        write_arguments_delta(meta, sbx_view_cstr(tool_closing), out);
    open_event(meta, out);
    sbx_buf_append_cstr(out, is_chat(meta) ? ",\"choices\":[{\"index\":0,\"delta\":{}"
                                           : ",\"choices\":[{\"index\":0,\"text\":\"\"");
    close_choice(meta, meta->finish_reason, out);
}

void sbx_sim_write_usage(const sbx_sim_meta *meta, sbx_buf *out)
{
    if (!meta->request->include_usage)
        return;
    open_event(meta, out);
    sbx_buf_append_cstr(out, ",\"choices\":[],");
    write_usage_object(meta, out);
    close_event(out);
}

void sbx_sim_write_done(sbx_buf *out)
{
    sbx_buf_append_cstr(out, "data: [DONE]\n\n");
}

/* ---- whole answers ---- */

/* The arguments are JSON inside a JSON text: {"text":" one two"} with its quotes escaped. */
static void write_tool_message(const sbx_sim_meta *meta, sbx_view text, sbx_buf *out)
{
    sbx_buf_appendf(
        out,
        "\"message\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_%s\","
        "\"type\":\"function\",\"function\":{\"name\":",
        meta->id);
    sbx_buf_append_json(out, meta->request->tool_name);
    sbx_buf_append_cstr(out, ",\"arguments\":\"{\\\"text\\\":\\\"");
    sbx_buf_append_view(out, text);
    sbx_buf_append_cstr(out, "\\\"}\"}}]}");
}

static void write_message(const sbx_sim_meta *meta, sbx_view text, sbx_buf *out)
{
    if (is_tool_call(meta)) {
        write_tool_message(meta, text, out);
        return;
    }
    sbx_buf_append_cstr(out,
                        is_chat(meta) ? "\"message\":{\"role\":\"assistant\",\"content\":" : "\"text\":");
    sbx_buf_append_json(out, text);
    if (is_chat(meta))
        sbx_buf_append_byte(out, '}');
}

void sbx_sim_write_whole(const sbx_sim_meta *meta, sbx_view text, sbx_buf *out)
{
    write_opening(meta, is_chat(meta) ? "chat.completion" : "text_completion", out);
    sbx_buf_append_cstr(out, ",\"choices\":[{\"index\":0,");
    write_message(meta, text, out);
    sbx_buf_appendf(out, ",\"logprobs\":null,\"finish_reason\":\"%s\"}],", meta->finish_reason);
    write_usage_object(meta, out);
    sbx_buf_append_byte(out, '}');
}

static void write_text_or_null(const char *text, sbx_buf *out)
{
    if (text == NULL)
        sbx_buf_append_cstr(out, "null");
    else
        sbx_buf_append_json(out, sbx_view_cstr(text));
}

void sbx_sim_write_error(const char *message, const char *type, const char *param, const char *code,
                         sbx_buf *out)
{
    sbx_buf_append_cstr(out, "{\"error\":{\"message\":");
    sbx_buf_append_json(out, sbx_view_cstr(message));
    sbx_buf_appendf(out, ",\"type\":\"%s\",\"param\":", type);
    write_text_or_null(param, out);
    sbx_buf_append_cstr(out, ",\"code\":");
    write_text_or_null(code, out);
    sbx_buf_append_cstr(out, "}}");
}

void sbx_sim_write_model(const char *model, sbx_buf *out)
{
    sbx_buf_append_cstr(out, "{\"id\":");
    sbx_buf_append_json(out, sbx_view_cstr(model));
    sbx_buf_append_cstr(out, ",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"simulated\"}");
}

void sbx_sim_write_models(const char *const *models, size_t count, sbx_buf *out)
{
    sbx_buf_append_cstr(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            sbx_buf_append_byte(out, ',');
        sbx_sim_write_model(models[i], out);
    }
    sbx_buf_append_cstr(out, "]}");
}
