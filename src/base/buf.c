/* The growable byte buffer. Growth doubles; consumed room in front is reused before growing. */
#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum {
    FIRST_SIZE = 256
};

void sbx_buf_init(sbx_buf *buf, size_t cap_bytes)
{
    *buf = (sbx_buf){.cap_bytes = cap_bytes};
}

void sbx_buf_deinit(sbx_buf *buf)
{
    free(buf->data);
    sbx_buf_init(buf, buf->cap_bytes);
}

void sbx_buf_clear(sbx_buf *buf)
{
    buf->head = 0;
    buf->len = 0;
    buf->err = SBX_OK;
}

static sbx_err fail(sbx_buf *buf, sbx_err err)
{
    buf->err = err;
    return err;
}

static void close_gap_in_front(sbx_buf *buf)
{
    if (buf->head == 0)
        return;
    memmove(buf->data, buf->data + buf->head, buf->len);
    buf->head = 0;
}

static size_t grown_size(const sbx_buf *buf, size_t wanted)
{
    size_t size = buf->size < FIRST_SIZE ? FIRST_SIZE : buf->size;
    while (size < wanted)
        size = size > SIZE_MAX / 2 ? wanted : size * 2;
    return size > buf->cap_bytes && wanted <= buf->cap_bytes ? buf->cap_bytes : size;
}

static sbx_err grow(sbx_buf *buf, size_t wanted)
{
    close_gap_in_front(buf);
    if (wanted <= buf->size)
        return SBX_OK;
    size_t size = grown_size(buf, wanted);
    uint8_t *data = realloc(buf->data, size);
    if (data == NULL)
        return fail(buf, SBX_E_NOMEM);
    buf->data = data;
    buf->size = size;
    return SBX_OK;
}

static sbx_err make_room(sbx_buf *buf, size_t len)
{
    if (buf->err != SBX_OK)
        return buf->err;
    if (len > buf->cap_bytes - buf->len)
        return fail(buf, SBX_E_CAP);
    if (len <= buf->size - buf->head - buf->len)
        return SBX_OK;
    return grow(buf, buf->len + len);
}

sbx_err sbx_buf_append(sbx_buf *buf, const void *data, size_t len)
{
    sbx_err err = make_room(buf, len);
    if (err != SBX_OK || len == 0)
        return err;
    memcpy(buf->data + buf->head + buf->len, data, len);
    buf->len += len;
    return SBX_OK;
}

sbx_err sbx_buf_append_view(sbx_buf *buf, sbx_view view)
{
    return sbx_buf_append(buf, view.data, view.len);
}

sbx_err sbx_buf_append_cstr(sbx_buf *buf, const char *text)
{
    return sbx_buf_append(buf, text, strlen(text));
}

sbx_err sbx_buf_append_byte(sbx_buf *buf, uint8_t byte)
{
    return sbx_buf_append(buf, &byte, 1);
}

sbx_err sbx_buf_append_u64(sbx_buf *buf, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return sbx_buf_append(buf, digits + at, sizeof digits - at);
}

sbx_err sbx_buf_append_i64(sbx_buf *buf, int64_t value)
{
    if (value >= 0)
        return sbx_buf_append_u64(buf, (uint64_t)value);
    sbx_err err = sbx_buf_append_byte(buf, '-');
    return err != SBX_OK ? err : sbx_buf_append_u64(buf, 0 - (uint64_t)value);
}

sbx_err sbx_buf_appendf(sbx_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    /* One byte more, because vsnprintf terminates. */
    sbx_err err = len < 0 ? fail(buf, SBX_E_INTERNAL) : make_room(buf, (size_t)len);
    if (err == SBX_OK && buf->size - buf->head - buf->len <= (size_t)len)
        err = grow(buf, buf->len + (size_t)len + 1);
    if (err == SBX_OK) {
        vsnprintf((char *)buf->data + buf->head + buf->len, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
    return err;
}

static bool is_plain_json(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\' && byte != 0x7f;
}

static size_t plain_run(sbx_view text, size_t from)
{
    size_t at = from;
    while (at < text.len && is_plain_json(text.data[at]))
        at++;
    return at - from;
}

static void append_control_escape(sbx_buf *buf, uint8_t byte)
{
    static const char *const hex = "0123456789abcdef";
    switch (byte) {
    case '\n':
        sbx_buf_append(buf, "\\n", 2);
        return;
    case '\r':
        sbx_buf_append(buf, "\\r", 2);
        return;
    case '\t':
        sbx_buf_append(buf, "\\t", 2);
        return;
    case '"':
    case '\\':
        sbx_buf_append_byte(buf, '\\');
        sbx_buf_append_byte(buf, byte);
        return;
    default:
        sbx_buf_append(buf, "\\u00", 4);
        sbx_buf_append_byte(buf, (uint8_t)hex[byte >> 4]);
        sbx_buf_append_byte(buf, (uint8_t)hex[byte & 15]);
    }
}

/* Appends one character that is not plain; returns how many input bytes it took. */
static size_t append_special(sbx_buf *buf, sbx_view rest)
{
    if (rest.data[0] < 0x80) {
        append_control_escape(buf, rest.data[0]);
        return 1;
    }
    size_t len = sbx_utf8_valid_char(rest);
    if (len == 0) {
        sbx_buf_append(buf, "\xef\xbf\xbd", 3);
        return 1;
    }
    sbx_buf_append(buf, rest.data, len);
    return len;
}

sbx_err sbx_buf_append_json(sbx_buf *buf, sbx_view text)
{
    sbx_buf_append_byte(buf, '"');
    for (size_t at = 0; at < text.len && buf->err == SBX_OK;) {
        size_t run = plain_run(text, at);
        if (run > 0)
            sbx_buf_append(buf, text.data + at, run);
        at += run;
        if (at < text.len)
            at += append_special(buf, sbx_view_skip(text, at));
    }
    return sbx_buf_append_byte(buf, '"');
}

sbx_err sbx_buf_reserve(sbx_buf *buf, size_t len, uint8_t **ret_place)
{
    sbx_err err = make_room(buf, len);
    if (err != SBX_OK)
        return err;
    *ret_place = buf->data == NULL ? NULL : buf->data + buf->head + buf->len;
    return SBX_OK;
}

void sbx_buf_commit(sbx_buf *buf, size_t len)
{
    assert(len <= buf->size - buf->head - buf->len);
    buf->len += len;
}

void sbx_buf_consume(sbx_buf *buf, size_t count)
{
    assert(count <= buf->len);
    buf->len -= count;
    buf->head = buf->len == 0 ? 0 : buf->head + count;
}

void sbx_buf_truncate(sbx_buf *buf, size_t len)
{
    assert(len <= buf->len);
    buf->len = len;
}

void sbx_buf_detach(sbx_buf *buf, uint8_t **ret_memory, sbx_view *ret_view)
{
    *ret_view = sbx_buf_view(buf);
    *ret_memory = buf->data;
    buf->data = NULL;
    sbx_buf_deinit(buf);
}
