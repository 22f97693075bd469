/* The metadata object and the error body. */
#include "codec/error_body.h"

/* One is written per request: no printf here. */
static void write_key(sbx_buf *buf, const char *key)
{
    sbx_buf_append_cstr(buf, ",\"");
    sbx_buf_append_cstr(buf, key);
    sbx_buf_append_cstr(buf, "\":");
}

static void write_count(sbx_buf *buf, const char *key, uint32_t count)
{
    write_key(buf, key);
    sbx_buf_append_u64(buf, count);
}

static void write_text_or_null(sbx_buf *buf, const char *key, sbx_view text)
{
    write_key(buf, key);
    if (text.len == 0)
        sbx_buf_append_cstr(buf, "null");
    else
        sbx_buf_append_json(buf, text);
}

static void write_failed_workers(sbx_buf *buf, const sbx_metadata *metadata)
{
    sbx_buf_append_cstr(buf, ",\"failedWorkers\":[");
    for (size_t i = 0; i < metadata->failed_count; i++) {
        if (i > 0)
            sbx_buf_append_byte(buf, ',');
        sbx_buf_append_json(buf, metadata->failed_workers[i]);
    }
    sbx_buf_append_byte(buf, ']');
}

/* All members, without the closing brace. */
static void write_members(sbx_buf *buf, const sbx_metadata *metadata)
{
    sbx_buf_append_cstr(buf, "{\"requestId\":");
    sbx_buf_append_json(buf, metadata->request_id);
    write_count(buf, "retryCount", metadata->retry_count);
    write_count(buf, "circuitBreakerTrips", metadata->breaker_trips);
    write_count(buf, "timeouts", metadata->timeouts);
    write_failed_workers(buf, metadata);
    write_text_or_null(buf, "selectedWorker", metadata->selected_worker);
    sbx_buf_append_cstr(buf, ",\"totalDurationMs\":");
    sbx_buf_append_i64(buf, sbx_time_to_ms(metadata->total_duration_ns));
}

sbx_err sbx_metadata_write(sbx_buf *buf, const sbx_metadata *metadata)
{
    write_members(buf, metadata);
    return sbx_buf_append_byte(buf, '}');
}

static void write_context(sbx_buf *buf, const sbx_error_body *body)
{
    sbx_buf_append_cstr(buf, ",\"context\":");
    if (body->metadata == NULL) {
        sbx_buf_append_cstr(buf, "null");
        return;
    }
    write_members(buf, body->metadata);
    write_text_or_null(buf, "lastError", body->last_error);
    sbx_buf_append_byte(buf, '}');
}

sbx_err sbx_error_body_write(sbx_buf *buf, const sbx_error_body *body)
{
    sbx_view message =
        body->message.len > 0 ? body->message : sbx_view_cstr(sbx_api_error_message(body->error));
    sbx_buf_append_cstr(buf, "{\"error\":{\"message\":");
    sbx_buf_append_json(buf, message);
    sbx_buf_appendf(buf, ",\"type\":\"%s\"", sbx_api_error_type(body->error));
    write_text_or_null(buf, "param", body->param);
    sbx_buf_appendf(buf, ",\"code\":\"%s\"", sbx_api_error_code(body->error));
    write_context(buf, body);
    return sbx_buf_append_cstr(buf, "}}");
}
