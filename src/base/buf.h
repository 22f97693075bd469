/* A growable byte buffer with a cap: appended at the back, consumed at the front.
 * The first failure sticks: later appends do nothing and return it, so that a writer of many pieces
 * may check once at the end with sbx_buf_error(). sbx_buf_clear() forgives it. */
#ifndef SBX_BASE_BUF_H
#define SBX_BASE_BUF_H

#include <stdarg.h>
#include <stdint.h>

#include "base/err.h"
#include "base/view.h"

typedef struct sbx_buf {
    uint8_t *data;    /* our malloc; NULL until the first append */
    size_t head;      /* bytes consumed in front */
    size_t len;       /* bytes held, from data + head */
    size_t size;      /* allocated */
    size_t cap_bytes; /* most that may be held */
    sbx_err err;
} sbx_buf;

/* Starts empty and allocates nothing. cap_bytes SIZE_MAX: no cap. */
void sbx_buf_init(sbx_buf *buf, size_t cap_bytes);
void sbx_buf_deinit(sbx_buf *buf);

/* Empties it and keeps the memory. */
void sbx_buf_clear(sbx_buf *buf);

static inline sbx_view sbx_buf_view(const sbx_buf *buf)
{
    return sbx_view_of(buf->data == NULL ? NULL : buf->data + buf->head, buf->len);
}

static inline sbx_err sbx_buf_error(const sbx_buf *buf)
{
    return buf->err;
}

/* All appends: SBX_E_CAP (it would hold more than cap_bytes), SBX_E_NOMEM; then nothing was appended.
 * Views of earlier content are invalid afterwards. */
sbx_err sbx_buf_append(sbx_buf *buf, const void *data, size_t len);
sbx_err sbx_buf_append_view(sbx_buf *buf, sbx_view view);
sbx_err sbx_buf_append_cstr(sbx_buf *buf, const char *text);
sbx_err sbx_buf_append_byte(sbx_buf *buf, uint8_t byte);
sbx_err sbx_buf_append_u64(sbx_buf *buf, uint64_t value);
sbx_err sbx_buf_append_i64(sbx_buf *buf, int64_t value);
__attribute__((format(printf, 2, 3))) sbx_err sbx_buf_appendf(sbx_buf *buf, const char *format, ...);

/* A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
sbx_err sbx_buf_append_json(sbx_buf *buf, sbx_view text);

/* Room for `len` more bytes to be written in place (a read from a socket, say); then commit what was
 * written, at most `len`. Nothing else may touch the buffer in between. */
sbx_err sbx_buf_reserve(sbx_buf *buf, size_t len, uint8_t **ret_place);
void sbx_buf_commit(sbx_buf *buf, size_t len);

/* Drops bytes in front / at the back; count must be at most len. */
void sbx_buf_consume(sbx_buf *buf, size_t count);
void sbx_buf_truncate(sbx_buf *buf, size_t len);

/* Gives the bytes: the caller frees ret_memory with free(); the buffer is empty afterwards.
 * ret_memory is NULL when nothing was ever appended. */
void sbx_buf_detach(sbx_buf *buf, uint8_t **ret_memory, sbx_view *ret_view);

#endif
