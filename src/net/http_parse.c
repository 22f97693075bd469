/* llhttp, wrapped. The bytes of a head are kept as they came (text); llhttp's spans become offsets into them,
 * so a head costs one copy however it was split. The scanner sees each byte of head and trailers before
 * llhttp does, but its verdict comes after llhttp's on the bytes before, so that any split gives the same
 * answer. */
#include "net/http_parse.h"

#include <assert.h>
#include <llhttp.h>
#include <stdlib.h>

#include "base/buf.h"
#include "net/http_policy.h"
#include "net/http_scan.h"

enum {
    FIRST_FIELDS = 24,
    KEPT_TEXT_BYTES = 4096
};

typedef enum part {
    PART_HEAD,
    PART_BODY,
    PART_TRAILERS
} part;

/* Offsets into text. */
struct field {
    uint32_t name, name_len, value, value_len;
};

struct sbx_http_parser {
    llhttp_t llhttp;
    sbx_http_kind kind;
    sbx_http_parse_events events;
    void *user;
    size_t max_head_bytes;

    part part;
    bool is_bodyless, has_begun, has_head, is_done, is_stopped;
    bool in_value; /* the last span was of a value */
    sbx_http_scan scan;
    sbx_buf text;
    const char *portion; /* what llhttp is being fed ... */
    size_t portion_at;   /* ... and where that lies in text */
    struct field *fields;
    sbx_http_header *headers;
    size_t field_count, field_room;
    size_t extension_bytes;
    sbx_http_head head;
    sbx_http_framing framing;
    sbx_http_problem problem; /* status 0: none */
};

static const sbx_http_problem out_of_memory = {503, "out of memory"};
static const sbx_http_problem too_many_fields = {431, "too many header fields"};
static const sbx_http_problem head_too_large = {431, "the header fields are too large"};
static const sbx_http_problem bad_line = {400, "malformed line in the header fields"};
static const sbx_http_problem bad_message = {400, "malformed message"};
static const sbx_http_problem bad_extension = {400, "chunk extension too long"};
static const sbx_http_problem ended_early = {400, "the connection ended inside the message"};

static int fail(sbx_http_parser *parser, const sbx_http_problem *problem)
{
    if (parser->problem.status == 0)
        parser->problem = *problem;
    return HPE_USER;
}

/* ---- what llhttp calls: header fields ---- */

static uint32_t offset_of(const sbx_http_parser *parser, const char *at)
{
    return (uint32_t)(parser->portion_at + (size_t)(at - parser->portion));
}

static bool make_room(sbx_http_parser *parser)
{
    if (parser->field_count < parser->field_room)
        return true;
    size_t room = parser->field_room == 0 ? FIRST_FIELDS : SBX_HTTP_MAX_HEADERS;
    struct field *fields = realloc(parser->fields, room * sizeof *fields);
    if (fields == NULL)
        return false;
    parser->fields = fields;
    sbx_http_header *headers = realloc(parser->headers, room * sizeof *headers);
    if (headers == NULL)
        return false;
    parser->headers = headers;
    parser->field_room = room;
    return true;
}

/* The field at hand is fields[field_count]; it counts once its value is complete. */
static int on_name(llhttp_t *llhttp, const char *at, size_t len)
{
    sbx_http_parser *parser = llhttp->data;
    if (parser->field_count == SBX_HTTP_MAX_HEADERS)
        return fail(parser, &too_many_fields);
    if (parser->part == PART_TRAILERS)
        return 0;
    if (!make_room(parser))
        return fail(parser, &out_of_memory);
    struct field *field = &parser->fields[parser->field_count];
    if (parser->in_value)
        *field = (struct field){.name = offset_of(parser, at)};
    parser->in_value = false;
    field->name_len += (uint32_t)len;
    return 0;
}

static int on_value(llhttp_t *llhttp, const char *at, size_t len)
{
    sbx_http_parser *parser = llhttp->data;
    if (parser->part == PART_TRAILERS)
        return 0;
    struct field *field = &parser->fields[parser->field_count];
    if (!parser->in_value)
        field->value = offset_of(parser, at);
    parser->in_value = true;
    field->value_len += (uint32_t)len;
    return 0;
}

static int on_value_complete(llhttp_t *llhttp)
{
    sbx_http_parser *parser = llhttp->data;
    parser->in_value = true;
    parser->field_count++;
    return 0;
}

/* ---- what llhttp calls: the head ---- */

static sbx_view start_line(const sbx_http_parser *parser)
{
    sbx_view text = sbx_buf_view(&parser->text);
    if (text.len >= 2 && text.data[0] == '\r')
        text = sbx_view_skip(text, 2);
    return sbx_view_slice(text, 0, sbx_view_find(text, '\r', 0));
}

static const sbx_http_problem *check_start_line(sbx_http_parser *parser)
{
    return parser->kind == SBX_HTTP_REQUEST ? sbx_http_policy_request_line(start_line(parser), &parser->head)
                                            : sbx_http_policy_status_line(start_line(parser), &parser->head);
}

static void build_headers(sbx_http_parser *parser)
{
    sbx_view text = sbx_buf_view(&parser->text);
    for (size_t i = 0; i < parser->field_count; i++) {
        const struct field *field = &parser->fields[i];
        parser->headers[i] = (sbx_http_header){
            .name = sbx_view_of(text.data + field->name, field->name_len),
            .value = sbx_view_trim(sbx_view_of(text.data + field->value, field->value_len)),
        };
    }
    parser->head.headers = parser->headers;
    parser->head.header_count = parser->field_count;
}

static bool has_no_body(const sbx_http_parser *parser)
{
    unsigned status = parser->head.status;
    return parser->kind == SBX_HTTP_RESPONSE &&
           (parser->is_bodyless || status < 200 || status == 204 || status == 304);
}

static void finish_framing(sbx_http_parser *parser)
{
    sbx_http_framing *framing = &parser->framing;
    bool says_close = parser->llhttp.flags & F_CONNECTION_CLOSE;
    bool says_keep = parser->llhttp.flags & F_CONNECTION_KEEP_ALIVE;
    framing->is_until_eof = parser->kind == SBX_HTTP_RESPONSE && !has_no_body(parser) &&
                            !framing->has_length && !framing->is_chunked;
    framing->keeps_alive =
        !framing->is_until_eof && !says_close && (says_keep || parser->head.minor_version >= 1);
    framing->wants_upgrade = llhttp_get_upgrade(&parser->llhttp) != 0;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    sbx_http_parser *parser = llhttp->data;
    const sbx_http_problem *problem = check_start_line(parser); /* again, because text may have moved */
    build_headers(parser);
    if (problem == NULL)
        problem = sbx_http_policy_headers(parser->kind, &parser->head, &parser->framing);
    if (problem != NULL)
        return fail(parser, problem);
    finish_framing(parser);
    parser->has_head = true;
    parser->field_count = 0; /* from here on: trailers */
    parser->is_stopped = !parser->events.on_head(parser->user, &parser->head, &parser->framing);
    if (parser->is_stopped)
        return HPE_USER;
    return has_no_body(parser) ? 1 : 0; /* 1: llhttp expects no body */
}

/* ---- what llhttp calls: the body ---- */

static int on_body(llhttp_t *llhttp, const char *at, size_t len)
{
    sbx_http_parser *parser = llhttp->data;
    parser->is_stopped = !parser->events.on_body(parser->user, sbx_view_of(at, len));
    return parser->is_stopped ? HPE_USER : 0;
}

static int on_extension(llhttp_t *llhttp, const char *at, size_t len)
{
    sbx_http_parser *parser = llhttp->data;
    (void)at;
    parser->extension_bytes += len;
    return parser->extension_bytes > SBX_HTTP_MAX_CHUNK_EXTENSION ? fail(parser, &bad_extension) : 0;
}

/* Pauses before the trailers, so that the scanner sees them first. */
static int on_chunk_header(llhttp_t *llhttp)
{
    sbx_http_parser *parser = llhttp->data;
    parser->extension_bytes = 0;
    if (llhttp->content_length != 0)
        return 0;
    parser->part = PART_TRAILERS;
    sbx_http_scan_init(&parser->scan, parser->max_head_bytes, /* is_trailers= */ true,
                       /* may_skip_line= */ false);
    return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *llhttp)
{
    sbx_http_parser *parser = llhttp->data;
    parser->is_done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_chunk_extension_name = on_extension,
    .on_chunk_extension_value = on_extension,
    .on_chunk_header = on_chunk_header,
    .on_message_complete = on_message_complete,
};

/* ---- feeding ---- */

/* Feeds llhttp; false when that stopped or failed. ret_used: how far it went. */
static bool execute(sbx_http_parser *parser, sbx_view bytes, size_t *ret_used)
{
    *ret_used = 0;
    if (bytes.len == 0)
        return true;
    const char *data = (const char *)bytes.data;
    parser->portion = data;
    llhttp_errno_t code = llhttp_execute(&parser->llhttp, data, bytes.len);
    if (parser->is_stopped || parser->problem.status != 0)
        return false;
    if (code == HPE_OK) {
        *ret_used = bytes.len;
        return true;
    }
    if (code != HPE_PAUSED) {
        const char *reason = llhttp_get_error_reason(&parser->llhttp);
        fail(parser, &(sbx_http_problem){400, reason == NULL || *reason == 0 ? bad_message.text : reason});
        return false;
    }
    *ret_used = (size_t)(llhttp_get_error_pos(&parser->llhttp) - data);
    llhttp_resume(&parser->llhttp);
    return true;
}

/* After the scanner's result was fed: does it agree with llhttp, and does the message go on? */
static bool judge_scan(sbx_http_parser *parser, sbx_http_scan_result result)
{
    bool is_head = parser->part == PART_HEAD;
    const sbx_http_problem *problem = NULL;
    switch (result) {
    case SBX_HTTP_SCAN_MORE:
        problem = parser->is_done || parser->has_head != !is_head ? &bad_message : NULL;
        break;
    case SBX_HTTP_SCAN_START:
        problem = parser->is_done ? &bad_message : check_start_line(parser);
        break;
    case SBX_HTTP_SCAN_END:
        problem = !parser->has_head || (!is_head && !parser->is_done) ? &bad_message : NULL;
        parser->part = PART_BODY;
        break;
    case SBX_HTTP_SCAN_BAD:
        problem = &bad_line;
        break;
    case SBX_HTTP_SCAN_TOO_LARGE:
        problem = &head_too_large;
        break;
    }
    if (problem != NULL)
        fail(parser, problem);
    return problem == NULL;
}

static bool feed_lines(sbx_http_parser *parser, sbx_view bytes, size_t *ret_used)
{
    size_t count = 0;
    sbx_http_scan_result result = sbx_http_scan_on(&parser->scan, bytes, &count);
    sbx_view portion = sbx_view_slice(bytes, 0, count);
    parser->portion_at = parser->text.len;
    if (parser->part == PART_HEAD && sbx_buf_append_view(&parser->text, portion) != SBX_OK) {
        fail(parser, &out_of_memory);
        return false;
    }
    return execute(parser, portion, ret_used) && judge_scan(parser, result);
}

sbx_http_fed sbx_http_parser_feed(sbx_http_parser *parser, sbx_view bytes, size_t *ret_used)
{
    size_t at = 0;
    bool is_fine = parser->problem.status == 0 && !parser->is_stopped;
    assert(!parser->is_done); /* reset comes first */
    while (is_fine && !parser->is_done && at < bytes.len) {
        sbx_view rest = sbx_view_skip(bytes, at);
        size_t used = 0;
        parser->has_begun = true;
        is_fine = parser->part == PART_BODY ? execute(parser, rest, &used) : feed_lines(parser, rest, &used);
        at += used;
    }
    *ret_used = at;
    if (parser->is_stopped)
        return SBX_HTTP_FED_STOPPED;
    if (!is_fine)
        return SBX_HTTP_FED_BAD;
    return parser->is_done ? SBX_HTTP_FED_DONE : SBX_HTTP_FED_MORE;
}

sbx_http_fed sbx_http_parser_finish(sbx_http_parser *parser)
{
    if (parser->problem.status == 0 && parser->part == PART_BODY && parser->framing.is_until_eof) {
        parser->is_done = true;
        return SBX_HTTP_FED_DONE;
    }
    fail(parser, &ended_early);
    return SBX_HTTP_FED_BAD;
}

/* ---- life ---- */

void sbx_http_parser_reset(sbx_http_parser *parser, bool is_bodyless)
{
    if (parser->text.size > KEPT_TEXT_BYTES)
        sbx_buf_deinit(&parser->text);
    sbx_buf_clear(&parser->text);
    llhttp_reset(&parser->llhttp);
    sbx_http_scan_init(&parser->scan, parser->max_head_bytes, /* is_trailers= */ false,
                       /* may_skip_line= */ parser->kind == SBX_HTTP_REQUEST);
    parser->part = PART_HEAD;
    parser->is_bodyless = is_bodyless;
    parser->has_begun = parser->has_head = parser->is_done = parser->is_stopped = false;
    parser->in_value = true;
    parser->field_count = 0;
    parser->extension_bytes = 0;
    parser->head = (sbx_http_head){0};
    parser->framing = (sbx_http_framing){0};
    parser->problem = (sbx_http_problem){0};
}

sbx_err sbx_http_parser_new(sbx_http_kind kind, size_t max_head_bytes, const sbx_http_parse_events *events,
                            void *user, sbx_http_parser **ret_parser)
{
    sbx_http_parser *parser = calloc(1, sizeof *parser);
    if (parser == NULL)
        return SBX_E_NOMEM;
    parser->kind = kind;
    parser->events = *events;
    parser->user = user;
    parser->max_head_bytes = max_head_bytes < UINT32_MAX ? max_head_bytes : UINT32_MAX;
    sbx_buf_init(&parser->text, SIZE_MAX);
    llhttp_init(&parser->llhttp, kind == SBX_HTTP_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    parser->llhttp.data = parser;
    sbx_http_parser_reset(parser, /* is_bodyless= */ false);
    *ret_parser = parser;
    return SBX_OK;
}

void sbx_http_parser_free(sbx_http_parser *parser)
{
    if (parser == NULL)
        return;
    sbx_buf_deinit(&parser->text);
    free(parser->fields);
    free(parser->headers);
    free(parser);
}

/* ---- looking ---- */

const sbx_http_problem *sbx_http_parser_problem(const sbx_http_parser *parser)
{
    return &parser->problem;
}

bool sbx_http_parser_has_begun(const sbx_http_parser *parser)
{
    return parser->has_begun;
}

bool sbx_http_parser_has_head(const sbx_http_parser *parser)
{
    return parser->has_head;
}

const sbx_http_head *sbx_http_parser_head(const sbx_http_parser *parser)
{
    return &parser->head;
}

const sbx_http_framing *sbx_http_parser_framing(const sbx_http_parser *parser)
{
    return &parser->framing;
}
