/* The table of notes/http.md "Strictness" and more of its kind, as data: each row is a message whose framing
 * two parsers might read differently. The request is REQUEST_LINE + host + rest; the response is the status
 * line + rest, for rows that are about more than requests. */
#ifndef SBX_TEST_NET_STRICTNESS_H
#define SBX_TEST_NET_STRICTNESS_H

#include <stdbool.h>
#include <stddef.h>

#define STRICT_JSON    "{\"model\":\"m\",\"messages\":[1]}" /* 28 bytes */
#define STRICT_CHUNKED "1c\r\n" STRICT_JSON "\r\n0\r\n\r\n"
#define STRICT_CL      "Content-Length: 28\r\n"
#define STRICT_TE      "Transfer-Encoding: chunked\r\n"

typedef struct strict_row {
    const char *name;
    bool is_fine;
    const char *request_line; /* NULL: POST /v1/chat/completions HTTP/1.1 */
    const char *status_line;  /* NULL: HTTP/1.1 200 OK; "": not a row for responses */
    const char *host;         /* NULL: Host: x */
    const char *rest;
    size_t rest_len;
} strict_row;

#define FINE(name, rest)                                                                                     \
    {                                                                                                        \
        name, true, NULL, NULL, NULL, rest, sizeof rest - 1                                                  \
    }
#define BAD(name, rest)                                                                                      \
    {                                                                                                        \
        name, false, NULL, NULL, NULL, rest, sizeof rest - 1                                                 \
    }
#define BAD_REQUEST(name, line, host, rest)                                                                  \
    {                                                                                                        \
        name, false, line, "", host, rest, sizeof rest - 1                                                   \
    }
#define BAD_START(name, line, status, rest)                                                                  \
    {                                                                                                        \
        name, false, line, status, NULL, rest, sizeof rest - 1                                               \
    }
#define BAD_RESPONSE(name, status, rest)                                                                     \
    {                                                                                                        \
        name, false, "", status, NULL, rest, sizeof rest - 1                                                 \
    }

static const strict_row strict_rows[] = {
    FINE("ok plain", STRICT_CL "\r\n" STRICT_JSON),
    FINE("ok chunked", STRICT_TE "\r\n" STRICT_CHUNKED),
    FINE("ok chunked, upper case", "Transfer-Encoding: CHUNKED\r\n\r\n" STRICT_CHUNKED),
    FINE("ok zero length", "Content-Length: 0\r\n\r\n"),
    FINE("ok empty value", "X:\r\n" STRICT_CL "\r\n" STRICT_JSON),
    FINE("ok chunk extension", STRICT_TE "\r\n1c;a=b\r\n" STRICT_JSON "\r\n0\r\n\r\n"),
    FINE("chunk trailers", STRICT_TE "\r\n1c\r\n" STRICT_JSON "\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n"),
    BAD("CL+TE", STRICT_CL STRICT_TE "\r\n" STRICT_CHUNKED),
    BAD("TE+CL", STRICT_TE STRICT_CL "\r\n" STRICT_CHUNKED),
    BAD("dup CL differ", STRICT_CL "Content-Length: 27\r\n\r\n" STRICT_JSON),
    BAD("dup CL same", STRICT_CL STRICT_CL "\r\n" STRICT_JSON),
    BAD("CL +n", "Content-Length: +28\r\n\r\n" STRICT_JSON),
    BAD("CL n, n", "Content-Length: 28, 28\r\n\r\n" STRICT_JSON),
    BAD("CL -1", "Content-Length: -1\r\n\r\n" STRICT_JSON),
    BAD("CL 0x1c", "Content-Length: 0x1c\r\n\r\n" STRICT_JSON),
    BAD("CL overflow", "Content-Length: 18446744073709551644\r\n\r\n" STRICT_JSON),
    BAD("CL empty", "Content-Length:\r\n\r\n" STRICT_JSON),
    BAD("CL 2 8", "Content-Length: 2 8\r\n\r\n" STRICT_JSON),
    BAD("CL vertical tab", "Content-Length: \v28\r\n\r\n" STRICT_JSON),
    BAD("TE chunked,identity", "Transfer-Encoding: chunked, identity\r\n\r\n" STRICT_CHUNKED),
    BAD("TE identity", "Transfer-Encoding: identity\r\n\r\n" STRICT_CHUNKED),
    BAD("TE gzip,chunked", "Transfer-Encoding: gzip, chunked\r\n\r\n" STRICT_CHUNKED),
    BAD("TE xchunked", "Transfer-Encoding: xchunked\r\n\r\n" STRICT_CHUNKED),
    BAD("TE xchunked+CL", "Transfer-Encoding: xchunked\r\n" STRICT_CL "\r\n" STRICT_JSON),
    BAD("TE dup chunked", STRICT_TE STRICT_TE "\r\n" STRICT_CHUNKED),
    BAD("TE dup identity,chunked", "Transfer-Encoding: identity\r\n" STRICT_TE "\r\n" STRICT_CHUNKED),
    BAD("TE empty", "Transfer-Encoding:\r\n\r\n" STRICT_CHUNKED),
    BAD("TE quoted", "Transfer-Encoding: \"chunked\"\r\n\r\n" STRICT_CHUNKED),
    BAD_START("TE HTTP/1.0", "POST / HTTP/1.0", "HTTP/1.0 200 OK", STRICT_TE "\r\n" STRICT_CHUNKED),
    BAD("bare LF headers", "X: y\n" STRICT_CL "\r\n" STRICT_JSON),
    BAD("bare LF ends the head", "Content-Length: 28\r\n\n" STRICT_JSON),
    BAD("bare CR in value", "X: a\rb\r\n" STRICT_CL "\r\n" STRICT_JSON),
    BAD("bare CR smuggle TE", "X: a\rTransfer-Encoding: chunked\r\n" STRICT_CL "\r\n" STRICT_JSON),
    BAD("bare CR before CRLF", "X: a\r\r\n" STRICT_CL "\r\n" STRICT_JSON),
    BAD("obs-fold", "X: a\r\n b\r\n" STRICT_CL "\r\n" STRICT_JSON),
    BAD("obs-fold with tab", "X: a\r\n\tb\r\n" STRICT_CL "\r\n" STRICT_JSON),
    BAD("fold in CL", "Content-Length:\r\n 28\r\n\r\n" STRICT_JSON),
    BAD("fold in TE", "Transfer-Encoding:\r\n chunked\r\n\r\n" STRICT_CHUNKED),
    BAD("space before colon", "Content-Length : 28\r\n\r\n" STRICT_JSON),
    BAD("leading space hdr", " X: y\r\n" STRICT_CL "\r\n" STRICT_JSON),
    BAD("sp before CL line", "X: y\r\n Content-Length: 28\r\n\r\n" STRICT_JSON),
    BAD("NUL in value", "X: a\0b\r\n" STRICT_CL "\r\n" STRICT_JSON),
    BAD("bad hdr name", "X(y): a\r\n" STRICT_CL "\r\n" STRICT_JSON),
    BAD("empty hdr name", ": a\r\n" STRICT_CL "\r\n" STRICT_JSON),
    BAD("no colon hdr", "Content-Length 28\r\n\r\n" STRICT_JSON),
    BAD_REQUEST("no Host", NULL, "", STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("dup Host", NULL, "Host: x\r\nHost: x\r\n", STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("dup Host, case", NULL, "Host: x\r\nhOST: y\r\n", STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("Host with path", NULL, "Host: x/y\r\n", STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("Host list", NULL, "Host: x, y\r\n", STRICT_CL "\r\n" STRICT_JSON),
    BAD_START("HTTP/1.9", "POST / HTTP/1.9", "HTTP/1.9 200 OK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_START("HTTP/3.7", "POST / HTTP/3.7", "HTTP/3.7 200 OK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_START("HTTP/0.9", "POST / HTTP/0.9", "HTTP/0.9 200 OK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_START("HTTP/2.0", "POST / HTTP/2.0", "HTTP/2.0 200 OK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_START("HTTP/1.10", "POST / HTTP/1.10", "HTTP/1.10 200 OK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_START("http/1.1", "POST / http/1.1", "http/1.1 200 OK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_START("RTSP", "POST / RTSP/1.0", "RTSP/1.0 200 OK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_START("two spaces", "POST  / HTTP/1.1", "HTTP/1.1  200 OK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_START("tab", "POST\t/ HTTP/1.1", "HTTP/1.1\t200 OK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_START("space in front", " POST / HTTP/1.1", " HTTP/1.1 200 OK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_START("bare LF start line", "POST / HTTP/1.1\nX: y", "HTTP/1.1 200 OK\nX: y",
              STRICT_CL "\r\n" STRICT_JSON),
    BAD_START("bare CR start line", "POST /\r HTTP/1.1", "HTTP/1.1 200 O\rK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("version missing", "POST /", NULL, STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("space behind", "POST / HTTP/1.1 ", NULL, STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("ctl in URL", "POST /a\001b HTTP/1.1", NULL, STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("space in URL", "POST /a b HTTP/1.1", NULL, STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("8-bit in URL", "POST /a\xc3\xa4 HTTP/1.1", NULL, STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("fragment in URL", "POST /a#b HTTP/1.1", NULL, STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("relative URL", "POST a HTTP/1.1", NULL, STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("star", "POST * HTTP/1.1", NULL, STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("CONNECT", "CONNECT x:1 HTTP/1.1", NULL, "\r\n"),
    BAD_REQUEST("preface of HTTP/2", "PRI * HTTP/2.0", "", "\r\nSM\r\n\r\n"),
    BAD_REQUEST("unknown method", "FETCH / HTTP/1.1", NULL, STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("lower-case method", "post / HTTP/1.1", NULL, STRICT_CL "\r\n" STRICT_JSON),
    BAD_REQUEST("two empty lines first", "\r\n\r\nPOST / HTTP/1.1", NULL, STRICT_CL "\r\n" STRICT_JSON),
    BAD("chunk 0x", STRICT_TE "\r\n0x1c\r\n" STRICT_JSON "\r\n0\r\n\r\n"),
    BAD("chunk overflow", STRICT_TE "\r\n1000000000000001c\r\n" STRICT_JSON "\r\n0\r\n\r\n"),
    BAD("chunk bad end", STRICT_TE "\r\n1c\r\n" STRICT_JSON "XX0\r\n\r\n"),
    BAD("chunk without end", STRICT_TE "\r\n1c\r\n" STRICT_JSON "0\r\n\r\n"),
    BAD("chunk bare LF", STRICT_TE "\r\n1c\n" STRICT_JSON "\r\n0\r\n\r\n"),
    BAD("chunk bare LF behind data", STRICT_TE "\r\n1c\r\n" STRICT_JSON "\n0\r\n\r\n"),
    BAD("chunk ext LF", STRICT_TE "\r\n1c;a\n" STRICT_JSON "\r\n0\r\n\r\n"),
    BAD("chunk ext CR", STRICT_TE "\r\n1c;a\rb\r\n" STRICT_JSON "\r\n0\r\n\r\n"),
    BAD("chunk neg", STRICT_TE "\r\n-1\r\n" STRICT_JSON "\r\n0\r\n\r\n"),
    BAD("chunk plus", STRICT_TE "\r\n+1c\r\n" STRICT_JSON "\r\n0\r\n\r\n"),
    BAD("chunk underscore", STRICT_TE "\r\n1_c\r\n" STRICT_JSON "\r\n0\r\n\r\n"),
    BAD("chunk space behind", STRICT_TE "\r\n1c \r\n" STRICT_JSON "\r\n0\r\n\r\n"),
    BAD("chunk space in front", STRICT_TE "\r\n 1c\r\n" STRICT_JSON "\r\n0\r\n\r\n"),
    BAD("chunk empty line", STRICT_TE "\r\n\r\n1c\r\n" STRICT_JSON "\r\n0\r\n\r\n"),
    BAD("last chunk bare LF", STRICT_TE "\r\n1c\r\n" STRICT_JSON "\r\n0\n\r\n"),
    BAD("last line bare LF", STRICT_TE "\r\n1c\r\n" STRICT_JSON "\r\n0\r\n\n"),
    BAD("trailer fold", STRICT_TE "\r\n1c\r\n" STRICT_JSON "\r\n0\r\nX: a\r\n b\r\n\r\n"),
    BAD("trailer bare LF", STRICT_TE "\r\n1c\r\n" STRICT_JSON "\r\n0\r\nX: a\nY: b\r\n\r\n"),
    BAD("trailer no colon", STRICT_TE "\r\n1c\r\n" STRICT_JSON "\r\n0\r\nX\r\n\r\n"),
    BAD_REQUEST("garbage", "\x16\x03\x01\x02\x01", "", "\r\n\r\n"),
    BAD_RESPONSE("garbage", "\x15\x03\x01", "\r\n\r\n"),
    BAD_RESPONSE("two-digit status", "HTTP/1.1 20 OK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_RESPONSE("four-digit status", "HTTP/1.1 2000 OK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_RESPONSE("status 099", "HTTP/1.1 099 OK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_RESPONSE("status glued", "HTTP/1.1 200OK", STRICT_CL "\r\n" STRICT_JSON),
    BAD_RESPONSE("status missing", "HTTP/1.1", STRICT_CL "\r\n" STRICT_JSON),
    BAD_RESPONSE("empty line first", "\r\nHTTP/1.1 200 OK", STRICT_CL "\r\n" STRICT_JSON),
};
enum {
    STRICT_ROW_COUNT = sizeof strict_rows / sizeof strict_rows[0]
};

#endif
