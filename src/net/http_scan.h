/* The byte rules of a head (and of trailers) that llhttp leaves open: each line ends with CRLF, CR and LF
 * occur nowhere else, no line begins with a space or tab (which ends obsolete folding and its smuggling
 * shapes), and the whole head is bounded. Finds the empty line that ends the head. Any split gives the same
 * result. */
#ifndef SBX_NET_HTTP_SCAN_H
#define SBX_NET_HTTP_SCAN_H

#include "base/view.h"

typedef enum sbx_http_scan_result {
    SBX_HTTP_SCAN_MORE,  /* all bytes belong to the head, and it goes on */
    SBX_HTTP_SCAN_START, /* up to here: the start line, complete */
    SBX_HTTP_SCAN_END,   /* up to here: the whole head */
    SBX_HTTP_SCAN_BAD,   /* what follows breaks a rule; the bytes counted so far are fine */
    SBX_HTTP_SCAN_TOO_LARGE
} sbx_http_scan_result;

typedef struct sbx_http_scan {
    size_t max_bytes;
    size_t bytes;       /* of the head, so far */
    size_t line_bytes;  /* of the line at hand */
    uint8_t last;       /* the byte before */
    bool has_start;     /* the start line is complete */
    bool may_skip_line; /* one empty line before the start line is forgiven (RFC 9112, 2.2) */
} sbx_http_scan;

/* trailers: there is no start line. */
void sbx_http_scan_init(sbx_http_scan *scan, size_t max_bytes, bool is_trailers, bool may_skip_line);

/* Scans on; ret_count says how many bytes of `bytes` the result is about. */
sbx_http_scan_result sbx_http_scan_on(sbx_http_scan *scan, sbx_view bytes, size_t *ret_count);

#endif
