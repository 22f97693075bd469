/* Heads as bytes. */
#include "net/http_emit.h"

#include <assert.h>

const char *sbx_http_reason(unsigned status)
{
    switch (status) {
#define SBX_HTTP_STATUS(code, phrase)                                                                        \
    case code:                                                                                               \
        return phrase;
#include "net/http_status.def"
#undef SBX_HTTP_STATUS
    default:
        return "Unknown";
    }
}

void sbx_http_emit_status_line(sbx_buf *buf, unsigned status)
{
    assert(status >= 100 && status <= 999);
    sbx_buf_append(buf, "HTTP/1.1 ", 9);
    sbx_buf_append_u64(buf, status);
    sbx_buf_append_byte(buf, ' ');
    sbx_buf_append_cstr(buf, sbx_http_reason(status));
    sbx_buf_append(buf, "\r\n", 2);
}

static bool is_clean_target(sbx_view target)
{
    for (size_t i = 0; i < target.len; i++) {
        if (target.data[i] <= ' ' || target.data[i] >= 0x7f)
            return false;
    }
    return target.len > 0;
}

void sbx_http_emit_request_line(sbx_buf *buf, const char *method, sbx_view target)
{
    assert(is_clean_target(target));
    sbx_buf_append_cstr(buf, method);
    sbx_buf_append_byte(buf, ' ');
    sbx_buf_append_view(buf, target);
    sbx_buf_append(buf, " HTTP/1.1\r\n", 11);
}

static bool is_token(sbx_view name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] <= ' ' || name.data[i] >= 0x7f || name.data[i] == ':')
            return false;
    }
    return name.len > 0;
}

static bool is_control(uint8_t byte)
{
    return (byte < ' ' && byte != '\t') || byte == 0x7f;
}

static void append_value(sbx_buf *buf, sbx_view value)
{
    size_t start = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (!is_control(value.data[i]))
            continue;
        sbx_buf_append(buf, value.data + start, i - start);
        sbx_buf_append_byte(buf, ' ');
        start = i + 1;
    }
    if (start < value.len)
        sbx_buf_append(buf, value.data + start, value.len - start);
}

void sbx_http_emit_header(sbx_buf *buf, sbx_view name, sbx_view value)
{
    assert(is_token(name));
    sbx_buf_append_view(buf, name);
    sbx_buf_append(buf, ": ", 2);
    append_value(buf, value);
    sbx_buf_append(buf, "\r\n", 2);
}

void sbx_http_emit_headers(sbx_buf *buf, const sbx_http_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sbx_http_emit_header(buf, headers[i].name, headers[i].value);
}

void sbx_http_emit_number(sbx_buf *buf, const char *name, uint64_t value)
{
    sbx_buf_append_cstr(buf, name);
    sbx_buf_append(buf, ": ", 2);
    sbx_buf_append_u64(buf, value);
    sbx_buf_append(buf, "\r\n", 2);
}
