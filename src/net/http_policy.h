/* The rules over a parsed head: one Host, Transfer-Encoding exactly `chunked` and only on 1.1, never beside a
 * Content-Length, one Content-Length of digits, an origin-form target (notes: security checklist 1). */
#ifndef SBX_NET_HTTP_POLICY_H
#define SBX_NET_HTTP_POLICY_H

#include "net/http_parse.h"

/* Splits and checks a start line (without CRLF) into head. NULL when it is fine, else what is wrong. */
const sbx_http_problem *sbx_http_policy_request_line(sbx_view line, sbx_http_head *head);
const sbx_http_problem *sbx_http_policy_status_line(sbx_view line, sbx_http_head *head);

/* Checks the header fields and fills the parts of framing that they decide (not keeps_alive, wants_upgrade).
 */
const sbx_http_problem *sbx_http_policy_headers(sbx_http_kind kind, const sbx_http_head *head,
                                                sbx_http_framing *framing);

#endif
