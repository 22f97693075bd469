/* What the bytes of one attempt's answer mean: a whole body kept and judged at its end, or a stream cut into
 * chunks. Says how the attempt stands as an sbx_outcome; what follows from it is the router's business. No
 * I/O here. */
#ifndef SBX_SHELL_ANSWER_H
#define SBX_SHELL_ANSWER_H

#include "codec/openai_response.h"
#include "codec/sse.h"
#include "transport/transport.h"

enum {
    SBX_ANSWER_EVENT_MAX = 1 << 20, /* bytes of one event of a stream */
    SBX_ANSWER_HELD_MAX = 1 << 20,  /* bytes kept before the commit */
    SBX_ANSWER_TYPE_MAX = 127       /* bytes of a content-type that are passed on */
};

typedef struct sbx_answer {
    sbx_endpoint endpoint;
    const sbx_openai_request *request; /* what vectors and ranks are checked against; may be set after init */
    bool wants_stream;
    bool hides_usage; /* we asked for it, not the client: the chunk that holds nothing else stays here */
    bool is_stream;   /* status 200 and text/event-stream */
    unsigned status;  /* 0: no head yet */
    sbx_time_ns retry_after_ns;
    char content_type[SBX_ANSWER_TYPE_MAX + 1];
    sbx_buf body;         /* not a stream: the answer, whole at the end */
    sbx_answer_info info; /* of a good buffered body */
    sbx_sse sse;
    sbx_buf rewritten; /* an event that had more than data lines, without them */
    sbx_buf held;      /* chunks from before the commit */
    bool saw_finish, saw_done;
    uint64_t completion_tokens;
} sbx_answer;

/* One chunk of a stream, as the router and the client see it. */
typedef struct sbx_answer_chunk {
    uint32_t flags; /* SBX_CHUNK_... of core/router.h */
    sbx_view bytes; /* to forward: a whole event; empty for [DONE], which is written at the end, and for
                       hidden usage */
    bool is_comment;
} sbx_answer_chunk;

void sbx_answer_init(sbx_answer *answer, sbx_endpoint endpoint, bool wants_stream, uint64_t max_bytes);
void sbx_answer_deinit(sbx_answer *answer);

/* OK: go on; anything else ends the attempt with that outcome. */
sbx_outcome sbx_answer_take_head(sbx_answer *answer, const sbx_answer_head *head);

/* Not a stream: OK or MALFORMED (larger than max_bytes) or LOCAL (no memory). */
sbx_outcome sbx_answer_take_body(sbx_answer *answer, sbx_view bytes);

/* A stream: feed once, then next until it returns false with OK. Chunks are valid until the next call. */
sbx_outcome sbx_answer_feed(sbx_answer *answer, sbx_view bytes);
bool sbx_answer_next(sbx_answer *answer, sbx_answer_chunk *ret_chunk, sbx_outcome *ret_outcome);

/* The transport said that the answer is complete: how the attempt ended. */
sbx_outcome sbx_answer_finish(sbx_answer *answer);

#endif
