/* Writing heads: start lines and header lines that can never break out of their line. */
#ifndef SBX_NET_HTTP_EMIT_H
#define SBX_NET_HTTP_EMIT_H

#include "base/buf.h"
#include "net/http_message.h"

/* "Not Found"; "Unknown" for a status that is not in the table. */
const char *sbx_http_reason(unsigned status);

/* "HTTP/1.1 404 Not Found" CRLF */
void sbx_http_emit_status_line(sbx_buf *buf, unsigned status);
/* "POST /v1/x HTTP/1.1" CRLF. The target is free of spaces and control bytes (asserted). */
void sbx_http_emit_request_line(sbx_buf *buf, const char *method, sbx_view target);

/* "name: value" CRLF. The name is a token (asserted); CR, LF, NUL and other control bytes in the value become
 * spaces. Errors stick to the buffer. */
void sbx_http_emit_header(sbx_buf *buf, sbx_view name, sbx_view value);
void sbx_http_emit_headers(sbx_buf *buf, const sbx_http_header *headers, size_t count);
void sbx_http_emit_number(sbx_buf *buf, const char *name, uint64_t value);

#endif
