/* Kind fake passes the conformance suite, so that what tests conclude from it holds for the real kinds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "support_suite.h"
#include "transport/fake.h"

enum {
    STEPS_MAX = 2100
};

typedef struct fake_side {
    sbx_peer *peer;
    sbx_arena events; /* the bytes that scripts refer to */
    size_t asked;     /* at the time the peer was freed */
} fake_side;

static void open_fake(conf_world *w)
{
    fake_side *side = calloc(1, sizeof *side);
    assert_non_null(side);
    assert_int_equal(sbx_fake_peer_new(w->loop, &w->peer), SBX_OK);
    side->peer = w->peer;
    sbx_arena_init(&side->events, SIZE_MAX);
    w->side = side;
}

static void close_fake(conf_world *w)
{
    fake_side *side = w->side;
    sbx_arena_deinit(&side->events);
    free(side);
}

static sbx_fake_step head_of(const conf_answer *answer)
{
    return (sbx_fake_step){
        .kind = SBX_FAKE_HEAD,
        .head = {
            .status = answer->status,
            .content_type = answer->is_stream ? SBX_VIEW("text/event-stream") : SBX_VIEW("application/json"),
            .retry_after_ns = answer->retry_after_s > 0 ? SBX_SEC((sbx_time_ns)answer->retry_after_s) : -1,
        }};
}

static sbx_view event_of(fake_side *side, uint32_t n, size_t len)
{
    sbx_buf buf;
    sbx_view copy = {0};
    sbx_buf_init(&buf, SIZE_MAX);
    conf_write_event(&buf, n, len);
    assert_int_equal(sbx_arena_dup(&side->events, sbx_buf_view(&buf), &copy), SBX_OK);
    sbx_buf_deinit(&buf);
    return copy;
}

static size_t write_events(fake_side *side, const conf_answer *answer, sbx_fake_step *steps)
{
    for (uint32_t i = 0; i < answer->events; i++) {
        steps[i] = (sbx_fake_step){
            .kind = SBX_FAKE_DATA,
            .delay_ns = i == 0 ? 0 : answer->gap_ns,
            .data = event_of(side, i, answer->event_len),
        };
    }
    return answer->events;
}

static size_t write_body(const conf_answer *answer, sbx_fake_step *steps)
{
    steps[0] = answer->echoes ? (sbx_fake_step){.kind = SBX_FAKE_ECHO}
                              : (sbx_fake_step){.kind = SBX_FAKE_DATA, .data = answer->body};
    return 1;
}

static void answer_with(conf_world *w, const conf_answer *answer)
{
    static sbx_fake_step steps[STEPS_MAX];
    fake_side *side = w->side;
    size_t count = 0;
    assert_true(answer->events + 4 <= STEPS_MAX);
    steps[count++] = (sbx_fake_step){.kind = SBX_FAKE_ACCEPT};
    if (!answer->is_mute) {
        steps[count++] = head_of(answer);
        count +=
            answer->is_stream ? write_events(side, answer, &steps[count]) : write_body(answer, &steps[count]);
        if (answer->end == CONF_END)
            steps[count++] = (sbx_fake_step){.kind = SBX_FAKE_END};
        else if (answer->end != CONF_HANG)
            steps[count++] = (sbx_fake_step){.kind = SBX_FAKE_FAIL, .outcome = SBX_OUTCOME_RESET};
    }
    sbx_fake_peer_clear(side->peer);
    assert_int_equal(sbx_fake_peer_script(side->peer, steps, count), SBX_OK);
}

static void unplug(conf_world *w)
{
    sbx_fake_peer_refuse(w->peer, SBX_E_CLOSED);
}

static void die(conf_world *w)
{
    sbx_fake_peer_die(w->peer);
    sbx_fake_peer_refuse(w->peer, SBX_E_CLOSED);
}

static size_t seen_count(conf_world *w)
{
    fake_side *side = w->side;
    if (w->peer != NULL)
        side->asked = sbx_fake_peer_call_count(w->peer);
    return side->asked;
}

static conf_seen seen(conf_world *w, size_t index)
{
    const sbx_fake_record *record = sbx_fake_peer_record(w->peer, index);
    return (conf_seen){
        .path = record->path,
        .body = record->body,
        .request_id = record->request_id,
        .traceparent = record->traceparent,
        .budget_ns = record->budget_ns,
        .is_aborted = record->cancelled_at >= 0,
    };
}

static const conf_factory fake = {
    .name = "fake",
    .open = open_fake,
    .close = close_fake,
    .answer_with = answer_with,
    .unplug = unplug,
    .die = die,
    .seen_count = seen_count,
    .seen = seen,
};

int main(void)
{
    return sbx_transport_conformance(&fake);
}
