/* Start lines are taken apart here once more, because llhttp takes several spaces, RTSP and HTTP/0.9. */
#include "net/http_policy.h"

#define PROBLEM(name, code, words) static const sbx_http_problem name = {.status = code, .text = words}

PROBLEM(bad_start_line, 400, "malformed start line");
PROBLEM(bad_version, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
PROBLEM(bad_version_form, 400, "malformed HTTP version");
PROBLEM(bad_target, 400, "the request target must be a path");
PROBLEM(bad_method, 405, "CONNECT is not served here");
PROBLEM(bad_header_name, 400, "empty header name");
PROBLEM(no_host, 400, "an HTTP/1.1 request needs a Host header");
PROBLEM(two_hosts, 400, "more than one Host header");
PROBLEM(bad_host, 400, "malformed Host header");
PROBLEM(two_lengths, 400, "more than one Content-Length header");
PROBLEM(bad_length, 400, "malformed Content-Length header");
PROBLEM(two_encodings, 400, "more than one Transfer-Encoding header");
PROBLEM(bad_encoding, 400, "Transfer-Encoding must be exactly \"chunked\"");
PROBLEM(old_encoding, 400, "Transfer-Encoding needs HTTP/1.1");
PROBLEM(both_lengths, 400, "Content-Length and Transfer-Encoding together");

/* ---- start lines ---- */

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* version: 8 bytes that should read HTTP/1.0 or HTTP/1.1 */
static const sbx_http_problem *check_version(sbx_view version, sbx_http_head *head)
{
    if (version.len != 8 || !sbx_view_starts_with(version, SBX_VIEW("HTTP/")) || !is_digit(version.data[5]) ||
        version.data[6] != '.' || !is_digit(version.data[7]))
        return &bad_version_form;
    if (version.data[5] != '1' || version.data[7] > '1')
        return &bad_version;
    head->minor_version = (unsigned)(version.data[7] - '0');
    return NULL;
}

/* The path of an absolute-form target, which a server must take (RFC 9112, 3.2.2); others unchanged. */
static sbx_view origin_form(sbx_view target)
{
    size_t scheme = 0;
    if (sbx_view_eq_nocase(sbx_view_slice(target, 0, 7), SBX_VIEW("http://")))
        scheme = 7;
    else if (sbx_view_eq_nocase(sbx_view_slice(target, 0, 8), SBX_VIEW("https://")))
        scheme = 8;
    if (scheme == 0)
        return target;
    size_t slash = sbx_view_find(target, '/', scheme);
    return slash == SIZE_MAX ? SBX_VIEW("/") : sbx_view_skip(target, slash);
}

static const sbx_http_problem *split_target(sbx_view written, sbx_http_head *head)
{
    bool is_star = sbx_view_eq_cstr(written, "*") && sbx_view_eq_cstr(head->method, "OPTIONS");
    sbx_view target = origin_form(written);
    if (!is_star && (target.len == 0 || target.data[0] != '/'))
        return &bad_target;
    for (size_t i = 0; i < target.len; i++) {
        if (target.data[i] <= ' ' || target.data[i] >= 0x7f || target.data[i] == '#')
            return &bad_target;
    }
    size_t mark = sbx_view_find(target, '?', 0);
    head->target = target;
    head->path = sbx_view_slice(target, 0, mark);
    if (mark != SIZE_MAX)
        head->query = sbx_view_skip(target, mark + 1);
    return NULL;
}

const sbx_http_problem *sbx_http_policy_request_line(sbx_view line, sbx_http_head *head)
{
    size_t first = sbx_view_find(line, ' ', 0);
    size_t second = first == SIZE_MAX ? SIZE_MAX : sbx_view_find(line, ' ', first + 1);
    if (second == SIZE_MAX || first == 0)
        return &bad_start_line;
    head->method = sbx_view_slice(line, 0, first);
    const sbx_http_problem *problem = check_version(sbx_view_skip(line, second + 1), head);
    if (problem != NULL)
        return problem;
    if (sbx_view_eq_cstr(head->method, "CONNECT"))
        return &bad_method;
    return split_target(sbx_view_slice(line, first + 1, second - first - 1), head);
}

const sbx_http_problem *sbx_http_policy_status_line(sbx_view line, sbx_http_head *head)
{
    const sbx_http_problem *problem = check_version(sbx_view_slice(line, 0, 8), head);
    if (problem != NULL)
        return problem;
    if (line.len < 12 || line.data[8] != ' ' || (line.len > 12 && line.data[12] != ' '))
        return &bad_start_line;
    uint64_t status = 0;
    if (sbx_view_to_u64(sbx_view_slice(line, 9, 3), 999, &status) != SBX_OK || status < 100)
        return &bad_start_line;
    head->status = (unsigned)status;
    return NULL;
}

/* ---- header fields ---- */

struct fields {
    unsigned hosts, lengths, encodings;
    sbx_view host, length, encoding, expect;
};

static void note_field(struct fields *fields, const sbx_http_header *header)
{
    switch (header->name.len) {
    case 4:
        if (sbx_view_eq_nocase(header->name, SBX_VIEW("host"))) {
            fields->hosts++;
            fields->host = header->value;
        }
        break;
    case 6:
        if (sbx_view_eq_nocase(header->name, SBX_VIEW("expect")))
            fields->expect = header->value;
        break;
    case 14:
        if (sbx_view_eq_nocase(header->name, SBX_VIEW("content-length"))) {
            fields->lengths++;
            fields->length = header->value;
        }
        break;
    case 17:
        if (sbx_view_eq_nocase(header->name, SBX_VIEW("transfer-encoding"))) {
            fields->encodings++;
            fields->encoding = header->value;
        }
        break;
    default:
        break;
    }
}

static bool is_host(sbx_view host)
{
    for (size_t i = 0; i < host.len; i++) {
        uint8_t byte = host.data[i];
        if (byte <= ' ' || byte >= 0x7f || strchr("/\\?#@,\"<>{}^`|", byte) != NULL)
            return false;
    }
    return true;
}

static const sbx_http_problem *check_host(const struct fields *fields, const sbx_http_head *head)
{
    if (fields->hosts > 1)
        return &two_hosts;
    if (fields->hosts == 0 && head->minor_version >= 1)
        return &no_host;
    return is_host(fields->host) ? NULL : &bad_host;
}

static const sbx_http_problem *check_framing(const struct fields *fields, const sbx_http_head *head,
                                             sbx_http_framing *framing)
{
    if (fields->lengths > 0 && fields->encodings > 0)
        return &both_lengths;
    if (fields->lengths > 1)
        return &two_lengths;
    if (fields->encodings > 1)
        return &two_encodings;
    if (fields->encodings == 1 && head->minor_version == 0)
        return &old_encoding;
    if (fields->encodings == 1 && !sbx_view_eq_nocase(fields->encoding, SBX_VIEW("chunked")))
        return &bad_encoding;
    if (fields->lengths == 1 && sbx_view_to_u64(fields->length, INT64_MAX, &framing->length) != SBX_OK)
        return &bad_length;
    framing->has_length = fields->lengths == 1;
    framing->is_chunked = fields->encodings == 1;
    return NULL;
}

const sbx_http_problem *sbx_http_policy_headers(sbx_http_kind kind, const sbx_http_head *head,
                                                sbx_http_framing *framing)
{
    struct fields fields = {0};
    for (size_t i = 0; i < head->header_count; i++) {
        if (head->headers[i].name.len == 0)
            return &bad_header_name;
        note_field(&fields, &head->headers[i]);
    }
    const sbx_http_problem *problem = kind == SBX_HTTP_REQUEST ? check_host(&fields, head) : NULL;
    if (problem != NULL)
        return problem;
    bool has_expect = kind == SBX_HTTP_REQUEST && head->minor_version >= 1 && fields.expect.data != NULL;
    framing->expects_continue = has_expect && sbx_view_eq_nocase(fields.expect, SBX_VIEW("100-continue"));
    framing->expects_other = has_expect && !framing->expects_continue;
    return check_framing(&fields, head, framing);
}
