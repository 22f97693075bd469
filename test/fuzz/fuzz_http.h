/* Split invariance of the HTTP parser: the same bytes, fed whole, byte by byte and in pieces whose sizes come
 * from the bytes themselves, must give the same transcript. Messages follow each other as on a connection. */
#ifndef SBX_FUZZ_HTTP_H
#define SBX_FUZZ_HTTP_H

#include <assert.h>
#include <stdlib.h>

#include "base/buf.h"
#include "net/http_parse.h"

typedef struct transcript {
    sbx_buf text;
    uint64_t body_bytes; /* of the present message */
    sbx_http_framing framing;
} transcript;

static bool fuzz_on_head(void *user, const sbx_http_head *head, const sbx_http_framing *framing)
{
    transcript *t = user;
    t->framing = *framing;
    assert(head->header_count <= SBX_HTTP_MAX_HEADERS);
    assert(!(framing->has_length && framing->is_chunked));
    sbx_buf_appendf(&t->text, "\nhead %.*s %.*s %u 1.%u %d%d%d%d:", SBX_VIEW_ARG(head->method),
                    SBX_VIEW_ARG(head->target), head->status, head->minor_version, framing->has_length,
                    framing->is_chunked, framing->is_until_eof, framing->keeps_alive);
    for (size_t i = 0; i < head->header_count; i++) {
        sbx_view value = head->headers[i].value;
        assert(head->headers[i].name.len > 0);
        assert(value.len == 0 ||
               (memchr(value.data, '\r', value.len) == NULL && memchr(value.data, '\n', value.len) == NULL &&
                memchr(value.data, 0, value.len) == NULL));
        sbx_buf_appendf(&t->text, "%.*s=%.*s;", SBX_VIEW_ARG(head->headers[i].name), SBX_VIEW_ARG(value));
    }
    return true;
}

static bool fuzz_on_body(void *user, sbx_view bytes)
{
    transcript *t = user;
    t->body_bytes += bytes.len;
    sbx_buf_append_view(&t->text, bytes);
    return true;
}

static const sbx_http_parse_events fuzz_events = {.on_head = fuzz_on_head, .on_body = fuzz_on_body};

static void end_message(transcript *t, sbx_http_parser *parser)
{
    bool has_body =
        !(t->framing.has_length && sbx_http_parser_head(parser)->status != 0 && t->body_bytes == 0);
    assert(!t->framing.has_length || !has_body || t->body_bytes == t->framing.length);
    sbx_buf_append_cstr(&t->text, "\nend");
    t->body_bytes = 0;
    sbx_http_parser_reset(parser, /* is_bodyless= */ false);
}

/* seed 0: whole; 1: byte by byte; else pieces of pseudo-random sizes. */
static size_t next_piece(uint32_t *seed)
{
    if (*seed == 0)
        return SIZE_MAX;
    if (*seed == 1)
        return 1;
    *seed = *seed * 1664525U + 1013904223U;
    *seed |= 2;
    return 1 + (*seed >> 16) % 37;
}

static void transcribe(sbx_http_kind kind, sbx_view bytes, uint32_t seed, transcript *t)
{
    sbx_http_parser *parser = NULL;
    sbx_http_fed fed = SBX_HTTP_FED_MORE;
    *t = (transcript){0};
    sbx_buf_init(&t->text, SIZE_MAX);
    if (sbx_http_parser_new(kind, /* max_head_bytes= */ 4096, &fuzz_events, t, &parser) != SBX_OK)
        abort();
    for (size_t at = 0; at < bytes.len && fed != SBX_HTTP_FED_BAD;) {
        sbx_view piece = sbx_view_slice(bytes, at, next_piece(&seed));
        size_t used = 0;
        fed = sbx_http_parser_feed(parser, piece, &used);
        assert(fed == SBX_HTTP_FED_BAD || used > 0);
        at += used;
        if (fed == SBX_HTTP_FED_DONE)
            end_message(t, parser);
    }
    sbx_buf_appendf(&t->text, "\n%d %u", (int)fed, sbx_http_parser_problem(parser)->status);
    sbx_http_parser_free(parser);
}

static void check_splits(sbx_http_kind kind, const uint8_t *data, size_t size)
{
    sbx_view bytes = sbx_view_of(data, size);
    uint32_t mixed = 2;
    for (size_t i = 0; i < size; i++)
        mixed = mixed * 31 + data[i];
    const uint32_t seeds[] = {1, mixed | 2};
    transcript whole;
    transcribe(kind, bytes, 0, &whole);
    for (size_t i = 0; i < 2; i++) {
        transcript split;
        transcribe(kind, bytes, seeds[i], &split);
        assert(sbx_view_eq(sbx_buf_view(&whole.text), sbx_buf_view(&split.text)));
        sbx_buf_deinit(&split.text);
    }
    sbx_buf_deinit(&whole.text);
}

#endif
