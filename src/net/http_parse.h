/* Parsing HTTP/1.1 messages strictly and incrementally: llhttp for the grammar, and the rules on top of it
 * that keep two parsers from reading one message differently (http_scan, http_policy). The only file that
 * knows llhttp is http_parse.c.
 *
 * Any split of the same bytes gives the same events (body pieces joined) and the same verdict. Callbacks must
 * not free or reset the parser that calls them. */
#ifndef SBX_NET_HTTP_PARSE_H
#define SBX_NET_HTTP_PARSE_H

#include "base/err.h"
#include "net/http_message.h"

enum {
    SBX_HTTP_MAX_CHUNK_EXTENSION = 256
};

typedef struct sbx_http_parser sbx_http_parser;

typedef enum sbx_http_kind {
    SBX_HTTP_REQUEST,
    SBX_HTTP_RESPONSE
} sbx_http_kind;

/* How the message is framed and what its head asks of the connection. */
typedef struct sbx_http_framing {
    bool has_length;
    uint64_t length;
    bool is_chunked;
    bool is_until_eof; /* responses: neither length nor chunked, so the connection's end is the body's */
    bool keeps_alive;
    bool wants_upgrade;    /* detected only */
    bool expects_continue; /* requests of 1.1 */
    bool expects_other;    /* requests of 1.1 */
} sbx_http_framing;

typedef struct sbx_http_parse_events {
    /* The head is complete and within the rules; it stays valid until the parser is reset. False: stop here.
     */
    bool (*on_head)(void *user, const sbx_http_head *head, const sbx_http_framing *framing);
    /* Bytes of the body, de-chunked, valid during the call. False: stop here. */
    bool (*on_body)(void *user, sbx_view bytes);
} sbx_http_parse_events;

typedef enum sbx_http_fed {
    SBX_HTTP_FED_MORE,    /* all used; the message goes on */
    SBX_HTTP_FED_DONE,    /* the message is complete; what follows belongs to the next one */
    SBX_HTTP_FED_STOPPED, /* a callback said so; only reset or free may follow */
    SBX_HTTP_FED_BAD      /* malformed, see _problem; only reset or free may follow */
} sbx_http_fed;

typedef struct sbx_http_problem {
    unsigned status; /* what a server answers: 400, 431, 503, 505 */
    const char *text;
} sbx_http_problem;

/* max_head_bytes: the head with its start line; trailers are bounded by it too. Returns SBX_OK, SBX_E_NOMEM.
 */
sbx_err sbx_http_parser_new(sbx_http_kind kind, size_t max_head_bytes, const sbx_http_parse_events *events,
                            void *user, sbx_http_parser **ret_parser);
void sbx_http_parser_free(sbx_http_parser *parser); /* NULL is fine */

/* Starts the next message. is_bodyless: the answer to a HEAD request, which has no body whatever it says. */
void sbx_http_parser_reset(sbx_http_parser *parser, bool is_bodyless);

sbx_http_fed sbx_http_parser_feed(sbx_http_parser *parser, sbx_view bytes, size_t *ret_used);
/* The connection ended: DONE for a body that only this ends, else BAD. */
sbx_http_fed sbx_http_parser_finish(sbx_http_parser *parser);

const sbx_http_problem *sbx_http_parser_problem(const sbx_http_parser *parser);
/* Any byte of the present message has been fed / its head is complete. */
bool sbx_http_parser_has_begun(const sbx_http_parser *parser);
bool sbx_http_parser_has_head(const sbx_http_parser *parser);
/* Valid once the head is complete, until reset. */
const sbx_http_head *sbx_http_parser_head(const sbx_http_parser *parser);
const sbx_http_framing *sbx_http_parser_framing(const sbx_http_parser *parser);

#endif
