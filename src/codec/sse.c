/* The SSE decoder. Its source is what was fed, in place, as long as events do not straddle feeds; the rest of
 * an incomplete event goes to `tail`, and then `tail` is the source until it ran empty. */
#include "codec/sse.h"

#include <string.h>

void sbx_sse_init(sbx_sse *sse, size_t cap_bytes)
{
    *sse = (sbx_sse){.cap_bytes = cap_bytes};
    sbx_buf_init(&sse->tail, SIZE_MAX);
    sbx_buf_init(&sse->joined, SIZE_MAX);
}

void sbx_sse_deinit(sbx_sse *sse)
{
    sbx_buf_deinit(&sse->tail);
    sbx_buf_deinit(&sse->joined);
    sbx_sse_init(sse, sse->cap_bytes);
}

static sbx_view source(const sbx_sse *sse)
{
    return sse->tail.len > 0 ? sbx_buf_view(&sse->tail) : sse->fresh;
}

static sbx_err fail(sbx_sse *sse, sbx_err err)
{
    sse->err = err;
    return err;
}

/* Events already given out are in front of the tail; positions count from the present event then. */
static void forget_given_events(sbx_sse *sse)
{
    if (sse->tail.len > 0)
        sbx_buf_consume(&sse->tail, sse->event_at);
    sse->line_at -= sse->event_at;
    sse->scan_at -= sse->event_at;
    sse->event_at = 0;
    sse->is_lf_known = false;
}

sbx_err sbx_sse_feed(sbx_sse *sse, sbx_view bytes)
{
    if (sse->err != SBX_OK)
        return sse->err;
    forget_given_events(sse);
    if (sse->tail.len == 0) {
        sse->fresh = bytes;
        return SBX_OK;
    }
    sbx_err err = sbx_buf_append_view(&sse->tail, bytes);
    return err == SBX_OK ? SBX_OK : fail(sse, err);
}

void sbx_sse_end(sbx_sse *sse)
{
    sse->is_ended = true;
}

/* Drops a BOM at the start of the stream. False while it cannot be told yet. */
static bool skip_byte_order_mark(sbx_sse *sse, sbx_view src)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    size_t len = src.len < sizeof mark ? src.len : sizeof mark;
    bool may_be_mark = len > 0 && memcmp(src.data, mark, len) == 0;
    if (len == 0 || (may_be_mark && len < sizeof mark))
        return false;
    if (may_be_mark) {
        sse->event_at = sizeof mark;
        sse->line_at = sizeof mark;
        sse->scan_at = sizeof mark;
    }
    sse->is_started = true;
    return true;
}

/* The next LF, remembered, so that a stream of CRs is not searched to its end once per line. */
static size_t next_lf(sbx_sse *sse, sbx_view src)
{
    if (!sse->is_lf_known || (sse->lf_at < sse->scan_at && sse->lf_at != SIZE_MAX)) {
        sse->lf_at = sbx_view_find(src, '\n', sse->scan_at);
        sse->is_lf_known = true;
    }
    return sse->lf_at;
}

/* Where the present line ends and the next begins. False when that is not there yet. */
static bool find_line_end(sbx_sse *sse, sbx_view src, size_t *ret_end, size_t *ret_next)
{
    size_t lf = next_lf(sse, src);
    size_t limit = lf == SIZE_MAX ? src.len : lf;
    size_t cr = sbx_view_find(sbx_view_slice(src, 0, limit), '\r', sse->scan_at);
    if (cr == SIZE_MAX && lf == SIZE_MAX) {
        sse->scan_at = src.len;
        return false;
    }
    if (cr == SIZE_MAX) {
        *ret_end = lf;
        *ret_next = lf + 1;
        return true;
    }
    sse->scan_at = cr;
    if (cr + 1 == src.len && !sse->is_ended) /* an LF may follow, which then belongs to this line end */
        return false;
    *ret_end = cr;
    *ret_next = cr + 1 < src.len && src.data[cr + 1] == '\n' ? cr + 2 : cr + 1;
    return true;
}

static sbx_view take_line(sbx_view *rest)
{
    size_t end = 0;
    while (end < rest->len && rest->data[end] != '\n' && rest->data[end] != '\r')
        end++;
    sbx_view line = sbx_view_slice(*rest, 0, end);
    bool is_crlf = end + 1 < rest->len && rest->data[end] == '\r' && rest->data[end + 1] == '\n';
    *rest = sbx_view_skip(*rest, end + (is_crlf ? 2 : 1));
    return line;
}

static sbx_view value_behind(sbx_view line, size_t name_len)
{
    sbx_view value = sbx_view_skip(line, name_len + 1);
    return sbx_view_starts_with(value, SBX_VIEW(" ")) ? sbx_view_skip(value, 1) : value;
}

/* The first data line is a view; from the second on they are joined in the buffer. */
static sbx_err add_data(sbx_sse *sse, sbx_sse_event *event, sbx_view value)
{
    if (!event->has_data) {
        event->has_data = true;
        event->data = value;
        return SBX_OK;
    }
    if (sse->joined.len == 0)
        sbx_buf_append_view(&sse->joined, event->data);
    sbx_buf_append_byte(&sse->joined, '\n');
    sbx_buf_append_view(&sse->joined, value);
    event->data = sbx_buf_view(&sse->joined);
    return sbx_buf_error(&sse->joined);
}

static sbx_err read_line(sbx_sse *sse, sbx_sse_event *event, sbx_view line)
{
    size_t colon = sbx_view_find(line, ':', 0);
    size_t name_len = colon == SIZE_MAX ? line.len : colon;
    if (line.len == 0 || name_len == 0) /* the blank line, or a comment */
        return SBX_OK;
    if (sbx_view_eq(sbx_view_slice(line, 0, name_len), SBX_VIEW("data")))
        return add_data(sse, event, value_behind(line, name_len));
    event->has_other_fields = true;
    return SBX_OK;
}

static sbx_err read_event(sbx_sse *sse, sbx_view raw, sbx_sse_event *ret_event)
{
    sbx_sse_event event = {.raw = raw};
    sbx_view rest = raw;
    sbx_buf_clear(&sse->joined);
    while (rest.len > 0) {
        sbx_err err = read_line(sse, &event, take_line(&rest));
        if (err != SBX_OK)
            return fail(sse, err);
    }
    event.is_comment = !event.has_data && !event.has_other_fields;
    *ret_event = event;
    return SBX_OK;
}

/* Nothing complete is left: what remains of the fed bytes is kept. */
static sbx_err keep_rest(sbx_sse *sse)
{
    sbx_view rest = sbx_view_skip(source(sse), sse->event_at);
    if (rest.len > sse->cap_bytes)
        return fail(sse, SBX_E_CAP);
    if (sse->tail.len > 0) /* stays where it is: views of events before it are still in use */
        return SBX_E_AGAIN;
    sse->fresh = (sbx_view){0};
    sse->line_at -= sse->event_at;
    sse->scan_at -= sse->event_at;
    sse->event_at = 0;
    sse->is_lf_known = false;
    sbx_err err = sbx_buf_append_view(&sse->tail, rest);
    return err == SBX_OK ? SBX_E_AGAIN : fail(sse, err);
}

static sbx_err give_event(sbx_sse *sse, sbx_view src, size_t next, sbx_sse_event *ret_event)
{
    sbx_view raw = sbx_view_slice(src, sse->event_at, next - sse->event_at);
    if (raw.len > sse->cap_bytes)
        return fail(sse, SBX_E_CAP);
    sse->event_at = next;
    return read_event(sse, raw, ret_event);
}

sbx_err sbx_sse_next(sbx_sse *sse, sbx_sse_event *ret_event)
{
    size_t end, next;
    sbx_view src = source(sse);
    if (sse->err != SBX_OK)
        return sse->err;
    if (!sse->is_started && !skip_byte_order_mark(sse, src))
        return keep_rest(sse);
    while (find_line_end(sse, src, &end, &next)) {
        bool is_blank = end == sse->line_at;
        sse->line_at = next;
        sse->scan_at = next;
        if (is_blank)
            return give_event(sse, src, next, ret_event);
    }
    return keep_rest(sse);
}

size_t sbx_sse_pending(const sbx_sse *sse)
{
    return source(sse).len - sse->event_at;
}

/* One line up to LF, CR or CRLF, behind `prefix`. */
static sbx_err write_lines(sbx_buf *buf, sbx_view prefix, sbx_view text)
{
    do {
        sbx_buf_append_view(buf, prefix);
        sbx_buf_append_view(buf, take_line(&text));
        sbx_buf_append_byte(buf, '\n');
    } while (text.len > 0);
    return sbx_buf_append_byte(buf, '\n');
}

sbx_err sbx_sse_write_data(sbx_buf *buf, sbx_view payload)
{
    return write_lines(buf, SBX_VIEW("data: "), payload);
}

sbx_err sbx_sse_write_comment(sbx_buf *buf, sbx_view text)
{
    return write_lines(buf, SBX_VIEW(": "), text);
}
