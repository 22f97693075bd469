/* See support_queue.h. */
#include "unit/core/support_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const sbx_view either_models[] = {SBX_VIEW_INIT("n"), SBX_VIEW_INIT("m")};
static const sbx_model_alias either = {
    .name = SBX_VIEW_INIT("either"), .models = either_models, .model_count = 2};

sbx_policy line_policy(void)
{
    sbx_policy policy = rig_policy();
    policy.queue =
        (sbx_queue_policy){.max_length = 100, .max_bytes = UINT64_C(1) << 20, .max_wait_ns = SBX_SEC(20)};
    policy.aliases = &either;
    policy.alias_count = 1;
    return policy;
}

sbx_attempt_ref line_waits(rig *r, sbx_event_request_new what)
{
    sbx_attempt_ref attempt = rig_request(r, what);
    assert_int_equal(attempt.request.generation, 0);
    assert_int_equal(rig_count(r, SBX_ACTION_FAIL), 0);
    assert_true(rig_noted(r, SBX_NOTE_REQUEST_QUEUED));
    return (sbx_attempt_ref){.request = rig_find(r, SBX_ACTION_ADMITTED)->request};
}

sbx_attempt_ref line_waits_plain(rig *r)
{
    return line_waits(r, (sbx_event_request_new){0});
}

sbx_attempt_ref line_endless(rig *r)
{
    sbx_attempt_ref attempt = rig_streaming(r);
    rig_content(r, attempt);
    rig_paused(r, attempt, true);
    return attempt;
}

void line_started_is(const rig *r, sbx_attempt_ref waiting)
{
    assert_int_equal(rig_count(r, SBX_ACTION_START), 1);
    assert_int_equal(rig_started(r).request.slot, waiting.request.slot);
    assert_int_equal(rig_started(r).request.generation, waiting.request.generation);
}

sbx_attempt_ref line_next_after(rig *r, sbx_attempt_ref running, sbx_attempt_ref waiting)
{
    rig_ended(r, running, SBX_OUTCOME_OK);
    line_started_is(r, waiting);
    return rig_started(r);
}

const sbx_action *line_told(const rig *r, sbx_api_error error)
{
    const sbx_action *end = rig_end(r);
    assert_int_equal(end->kind, SBX_ACTION_FAIL);
    assert_int_equal(end->end.error, error);
    return end;
}

uint64_t line_queued(const rig *r)
{
    return sbx_router_counts_of(r->router).queued;
}
