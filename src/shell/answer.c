/* See answer.h. */
#include "shell/answer.h"

#include <assert.h>

#include "codec/openai_embeddings.h"
#include "codec/openai_rerank.h"
#include "core/router.h"

void sbx_answer_init(sbx_answer *answer, sbx_endpoint endpoint, bool wants_stream, uint64_t max_bytes)
{
    *answer = (sbx_answer){.endpoint = endpoint, .wants_stream = wants_stream, .retry_after_ns = -1};
    sbx_buf_init(&answer->body, (size_t)max_bytes);
    sbx_buf_init(&answer->rewritten, SBX_ANSWER_EVENT_MAX * 2);
    sbx_buf_init(&answer->held, SBX_ANSWER_HELD_MAX);
    sbx_sse_init(&answer->sse, SBX_ANSWER_EVENT_MAX);
}

void sbx_answer_deinit(sbx_answer *answer)
{
    sbx_buf_deinit(&answer->body);
    sbx_buf_deinit(&answer->rewritten);
    sbx_buf_deinit(&answer->held);
    sbx_sse_deinit(&answer->sse);
}

/* ---- head ---- */

static bool is_type(sbx_view content_type, sbx_view wanted)
{
    sbx_view start = sbx_view_slice(content_type, 0, wanted.len);
    if (!sbx_view_eq_nocase(start, wanted))
        return false;
    sbx_view rest = sbx_view_trim(sbx_view_skip(content_type, wanted.len));
    return rest.len == 0 || rest.data[0] == ';';
}

/* Some engines leave the type of a JSON body out; a wrong one is worse than none. */
static bool is_json(sbx_view content_type)
{
    return content_type.len == 0 || is_type(content_type, SBX_VIEW("application/json"));
}

static bool is_encoded(sbx_view encoding)
{
    return encoding.len > 0 && !sbx_view_eq_nocase(encoding, SBX_VIEW("identity"));
}

sbx_outcome sbx_answer_take_head(sbx_answer *answer, const sbx_answer_head *head)
{
    answer->status = head->status;
    answer->retry_after_ns = head->retry_after_ns;
    if (sbx_view_to_cstr(head->content_type, answer->content_type, sizeof answer->content_type) != SBX_OK)
        answer->content_type[0] = '\0';
    if (head->status >= 300 && head->status < 400)
        return SBX_OUTCOME_MALFORMED;
    if (is_encoded(head->content_encoding))
        return SBX_OUTCOME_MALFORMED;
    if (head->status != 200)
        return SBX_OUTCOME_OK; /* its body says more */
    if (!answer->wants_stream)
        return is_json(head->content_type) ? SBX_OUTCOME_OK : SBX_OUTCOME_MALFORMED;
    answer->is_stream = is_type(head->content_type, SBX_VIEW("text/event-stream"));
    return answer->is_stream ? SBX_OUTCOME_OK : SBX_OUTCOME_MALFORMED;
}

/* ---- a whole body ---- */

sbx_outcome sbx_answer_take_body(sbx_answer *answer, sbx_view bytes)
{
    assert(!answer->is_stream);
    switch (sbx_buf_append_view(&answer->body, bytes)) {
    case SBX_OK:
        return SBX_OUTCOME_OK;
    case SBX_E_CAP:
        return SBX_OUTCOME_MALFORMED;
    default:
        return SBX_OUTCOME_LOCAL;
    }
}

/* Vectors and ranks: what the check wrote anew takes the answer's place. */
static sbx_outcome check_request_of(sbx_answer *answer)
{
    sbx_buf anew;
    sbx_errinfo info;
    bool is_rerank = answer->endpoint == SBX_ENDPOINT_RERANK;
    if (answer->request == NULL || (!is_rerank && answer->endpoint != SBX_ENDPOINT_EMBEDDINGS))
        return SBX_OUTCOME_OK;
    sbx_buf_init(&anew, SIZE_MAX);
    sbx_view body = sbx_buf_view(&answer->body);
    sbx_err err = is_rerank ? sbx_rerank_check(body, answer->request, &anew, &info)
                            : sbx_embeddings_check(body, answer->request, &anew, &info);
    if (err == SBX_OK && anew.len > 0) {
        sbx_buf_deinit(&answer->body);
        answer->body = anew;
        err = sbx_answer_check(sbx_buf_view(&answer->body), answer->endpoint, &answer->info, &info);
    } else {
        sbx_buf_deinit(&anew);
    }
    if (err == SBX_OK)
        return SBX_OUTCOME_OK;
    return err == SBX_E_PARSE ? SBX_OUTCOME_MALFORMED : SBX_OUTCOME_LOCAL;
}

static sbx_outcome finish_body(sbx_answer *answer)
{
    sbx_view body = sbx_buf_view(&answer->body);
    if (answer->status != 200)
        return answer->status < 300 ? SBX_OUTCOME_MALFORMED
                                    : sbx_answer_outcome(answer->status, answer->retry_after_ns >= 0, body);
    sbx_errinfo info;
    if (sbx_answer_check(body, answer->endpoint, &answer->info, &info) != SBX_OK)
        return SBX_OUTCOME_MALFORMED;
    answer->completion_tokens = answer->info.usage.completion_tokens;
    return check_request_of(answer);
}

/* ---- a stream ---- */

sbx_outcome sbx_answer_feed(sbx_answer *answer, sbx_view bytes)
{
    assert(answer->is_stream);
    sbx_err err = sbx_sse_feed(&answer->sse, bytes);
    if (err == SBX_OK)
        return SBX_OUTCOME_OK;
    return err == SBX_E_CAP ? SBX_OUTCOME_MALFORMED : SBX_OUTCOME_LOCAL;
}

static uint32_t chunk_flags_of(const sbx_delta *delta)
{
    uint32_t flags = 0;
    if ((delta->flags & SBX_DELTA_ANY_CONTENT) != 0)
        flags |= SBX_CHUNK_CONTENT;
    if ((delta->flags & SBX_DELTA_FINISH) != 0)
        flags |= SBX_CHUNK_FINISH;
    if ((delta->flags & SBX_DELTA_DONE) != 0)
        flags |= SBX_CHUNK_DONE;
    return flags == 0 ? SBX_CHUNK_SILENT : flags;
}

/* A worker can send a client data lines and comments, nothing else. */
static sbx_outcome bytes_of(sbx_answer *answer, const sbx_sse_event *event, sbx_view *ret_bytes)
{
    *ret_bytes = event->raw;
    if (!event->has_other_fields)
        return SBX_OUTCOME_OK;
    sbx_buf_clear(&answer->rewritten);
    sbx_err err = sbx_sse_write_data(&answer->rewritten, event->data);
    if (err != SBX_OK)
        return err == SBX_E_CAP ? SBX_OUTCOME_MALFORMED : SBX_OUTCOME_LOCAL;
    *ret_bytes = sbx_buf_view(&answer->rewritten);
    return SBX_OUTCOME_OK;
}

static bool is_usage_only(const sbx_delta *delta)
{
    return (delta->flags & SBX_DELTA_USAGE) != 0 && (delta->flags & SBX_DELTA_NO_CHOICES) != 0;
}

static sbx_outcome chunk_of(sbx_answer *answer, const sbx_sse_event *event, sbx_answer_chunk *ret_chunk)
{
    *ret_chunk = (sbx_answer_chunk){.flags = SBX_CHUNK_SILENT, .is_comment = true};
    if (!event->has_data)
        return bytes_of(answer, event, &ret_chunk->bytes);

    sbx_delta delta;
    sbx_delta_classify(event->data, &delta);
    if ((delta.flags & (SBX_DELTA_ERROR | SBX_DELTA_MALFORMED)) != 0)
        return SBX_OUTCOME_MALFORMED;
    *ret_chunk = (sbx_answer_chunk){.flags = chunk_flags_of(&delta)};
    if (delta.usage.is_present)
        answer->completion_tokens = delta.usage.completion_tokens;
    answer->saw_finish = answer->saw_finish || (delta.flags & SBX_DELTA_FINISH) != 0;
    if ((delta.flags & SBX_DELTA_DONE) != 0) {
        answer->saw_done = true;
        return SBX_OUTCOME_OK;
    }
    if (answer->hides_usage && is_usage_only(&delta))
        return SBX_OUTCOME_OK;
    return bytes_of(answer, event, &ret_chunk->bytes);
}

bool sbx_answer_next(sbx_answer *answer, sbx_answer_chunk *ret_chunk, sbx_outcome *ret_outcome)
{
    sbx_sse_event event;
    *ret_outcome = SBX_OUTCOME_OK;
    for (;;) {
        sbx_err err = sbx_sse_next(&answer->sse, &event);
        if (err == SBX_E_AGAIN)
            return false;
        if (err != SBX_OK)
            *ret_outcome = err == SBX_E_CAP ? SBX_OUTCOME_MALFORMED : SBX_OUTCOME_LOCAL;
        else if (answer->saw_done)
            continue; /* nothing counts after [DONE] */
        else if (event.has_data || (event.is_comment && !event.has_other_fields))
            *ret_outcome = chunk_of(answer, &event, ret_chunk);
        else
            continue; /* fields without data: dispatches nothing */
        return *ret_outcome == SBX_OUTCOME_OK;
    }
}

static sbx_outcome finish_stream(const sbx_answer *answer)
{
    return answer->saw_finish || answer->saw_done ? SBX_OUTCOME_OK : SBX_OUTCOME_MALFORMED;
}

sbx_outcome sbx_answer_finish(sbx_answer *answer)
{
    return answer->is_stream ? finish_stream(answer) : finish_body(answer);
}
