/* The scanner goes from line end to line end with memchr; a head of 300 bytes costs some 30 ns. */
#include "net/http_scan.h"

void sbx_http_scan_init(sbx_http_scan *scan, size_t max_bytes, bool is_trailers, bool may_skip_line)
{
    *scan = (sbx_http_scan){.max_bytes = max_bytes, .has_start = is_trailers, .may_skip_line = may_skip_line};
}

/* Bytes of `part` (a line, or the part of it that is here) that are fine; part.len when all are. */
static size_t fine_prefix(const sbx_http_scan *scan, sbx_view part, bool has_lf)
{
    if (scan->line_bytes == 0 && (part.data[0] == ' ' || part.data[0] == '\t'))
        return 0;
    if (scan->last == '\r' && part.data[0] != '\n')
        return 0;
    size_t body = has_lf ? part.len - 1 : part.len;
    const uint8_t *cr = body == 0 ? NULL : memchr(part.data, '\r', body);
    if (cr != NULL && cr + 1 < part.data + body)
        return (size_t)(cr + 1 - part.data); /* the byte after it is the bad one */
    bool ends_with_cr = body == 0 ? scan->last == '\r' : cr != NULL;
    return has_lf && !ends_with_cr ? body : part.len;
}

static void count(sbx_http_scan *scan, sbx_view part)
{
    scan->bytes += part.len;
    scan->line_bytes += part.len;
    if (part.len > 0)
        scan->last = part.data[part.len - 1];
}

static sbx_http_scan_result end_line(sbx_http_scan *scan)
{
    bool is_empty = scan->line_bytes == 2;
    scan->line_bytes = 0;
    if (!is_empty && !scan->has_start) {
        scan->has_start = true;
        return SBX_HTTP_SCAN_START;
    }
    if (!is_empty)
        return SBX_HTTP_SCAN_MORE;
    if (scan->has_start)
        return SBX_HTTP_SCAN_END;
    bool was_allowed = scan->may_skip_line;
    scan->may_skip_line = false;
    return was_allowed ? SBX_HTTP_SCAN_MORE : SBX_HTTP_SCAN_BAD;
}

static sbx_http_scan_result scan_allowed(sbx_http_scan *scan, sbx_view bytes, size_t *ret_count)
{
    size_t at = 0;
    while (at < bytes.len) {
        const uint8_t *lf = memchr(bytes.data + at, '\n', bytes.len - at);
        size_t len = lf == NULL ? bytes.len - at : (size_t)(lf + 1 - bytes.data) - at;
        sbx_view part = sbx_view_slice(bytes, at, len);
        size_t fine = fine_prefix(scan, part, lf != NULL);
        count(scan, sbx_view_slice(part, 0, fine));
        at += fine;
        *ret_count = at;
        if (fine < part.len)
            return SBX_HTTP_SCAN_BAD;
        sbx_http_scan_result result = lf == NULL ? SBX_HTTP_SCAN_MORE : end_line(scan);
        if (result != SBX_HTTP_SCAN_MORE)
            return result;
    }
    return SBX_HTTP_SCAN_MORE;
}

sbx_http_scan_result sbx_http_scan_on(sbx_http_scan *scan, sbx_view bytes, size_t *ret_count)
{
    size_t room = scan->max_bytes - scan->bytes;
    *ret_count = 0;
    sbx_http_scan_result result = scan_allowed(scan, sbx_view_slice(bytes, 0, room), ret_count);
    if (result == SBX_HTTP_SCAN_MORE && bytes.len > room)
        return SBX_HTTP_SCAN_TOO_LARGE;
    return result;
}
