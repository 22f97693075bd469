/* The HTTP server's inside: http_server.c holds listeners and the whole, http_conn.c one connection's way
 * through its requests, http_answer.c the answers. */
#ifndef SBX_NET_HTTP_SERVER_PRIV_H
#define SBX_NET_HTTP_SERVER_PRIV_H

#include "base/buf.h"
#include "base/list.h"
#include "net/http_parse.h"
#include "net/http_server.h"
#include "net/stream.h"

struct uv_stream_s;

struct sbx_http_server {
    sbx_loop *loop;
    sbx_http_server_options options;
    sbx_http_handler handler;
    sbx_list listeners;
    sbx_list connections;
    uint32_t connection_count;
    uint64_t buffered_bytes;       /* bodies of all requests */
    sbx_http_server_counts counts; /* sent: of connections that are closed */
    bool is_closing;
};

typedef enum sbx_http_phase {
    SBX_HTTP_IDLE,    /* nothing of the next request has arrived */
    SBX_HTTP_HEAD,    /* its head arrives */
    SBX_HTTP_BODY,    /* its body arrives */
    SBX_HTTP_WORK,    /* it is with the handler */
    SBX_HTTP_FLUSH,   /* it is answered, the last bytes are queued */
    SBX_HTTP_LINGER,  /* we said our last word and wait for the client to read it */
    SBX_HTTP_LEAVING, /* on_gone is being called */
    SBX_HTTP_CLOSED
} sbx_http_phase;

typedef struct sbx_http_conn sbx_http_conn;

struct sbx_http_request {
    sbx_http_conn *conn;
    sbx_arena arena;
    void *user;
    bool is_started; /* a streamed answer's head is out */
    bool is_chunked; /* ... in chunks */
    bool sends_body; /* false for HEAD, 204, 304 */
    bool was_full;   /* on_drained is owed */
};

struct sbx_http_conn {
    sbx_list_node link;
    sbx_http_server *server;
    sbx_stream *stream;
    sbx_http_parser *parser;
    sbx_http_phase phase;
    struct sbx_http_request request;
    sbx_buf body;
    sbx_buf input; /* arrived while a request was at work */
    sbx_buf out;   /* scratch for heads */
    sbx_buf chunk; /* pieces of this turn, not yet written */

    sbx_timer timer;
    sbx_time_ns timer_at; /* what the wheel knows; NEVER when not armed */
    sbx_time_ns deadline; /* what counts; may be later than timer_at */
    sbx_time_ns body_since;
    uint64_t sent_seen; /* write stall: progress at the last look ... */
    sbx_time_ns sent_at;

    sbx_task flush;  /* writes `chunk` at the end of the turn */
    sbx_task resume; /* takes up `input` after an answer */
    sbx_task reap;
    sbx_http_problem refusal; /* set while parsing; status 0: none */
    bool is_head_request;
    bool closes; /* after the present answer */
    bool saw_eof;
    bool is_processing; /* inside process_input */
    bool is_paused;
    bool told_continue;
    size_t lingered_bytes;
};

/* http_conn.c */
/* Takes the connection that waits. SBX_E_NOMEM: it still waits, and so do those behind it; SBX_E_IO: it is
 * gone. */
sbx_err sbx_http_conn_accept(sbx_http_server *server, struct uv_stream_s *listener);
/* Drops it at once; when a request is at work, on_gone was or is not to be called. */
void sbx_http_conn_close(sbx_http_conn *conn);
/* on_gone if a request is at work, then closes. */
void sbx_http_conn_leave(sbx_http_conn *conn);
/* Answers an error from here (before or instead of a request) and lingers. */
void sbx_http_conn_refuse(sbx_http_conn *conn, unsigned status, const char *message);
/* The present answer is complete: what comes next? */
void sbx_http_conn_answered(sbx_http_conn *conn);

/* http_conn_time.c */
void sbx_http_conn_init_timer(sbx_http_conn *conn);
/* Enters a phase, whose time limit counts from now. */
void sbx_http_conn_enter(sbx_http_conn *conn, sbx_http_phase phase);
/* Something may have been queued: watches that it goes out. */
void sbx_http_conn_watch_queue(sbx_http_conn *conn);

/* http_answer.c */
/* Writes what the turn collected; is_last adds the end of the chunked body. */
void sbx_http_answer_flush(sbx_http_conn *conn, bool is_last);
void sbx_http_answer_drained(sbx_http_conn *conn);

#endif
