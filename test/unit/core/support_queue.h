/* A line before the workers of a rig (support_rig.h): requests that must wait, and what is said of them. */
#ifndef TEST_UNIT_CORE_SUPPORT_QUEUE_H
#define TEST_UNIT_CORE_SUPPORT_QUEUE_H

#include "unit/core/support_rig.h"

/* The rig's policy with a line of 100 requests, 1 MiB and 20 s; the name "either" stands for "n" and "m". */
sbx_policy line_policy(void);

/* Raises a request that must wait; an attempt without number, for leaving. */
sbx_attempt_ref line_waits(rig *r, sbx_event_request_new what);
sbx_attempt_ref line_waits_plain(rig *r);

/* An attempt without any limit but its request's deadline: a stream whose client reads slowly. */
sbx_attempt_ref line_endless(rig *r);

/* The last step started this one and no other; fails the test when not. */
void line_started_is(const rig *r, sbx_attempt_ref waiting);

/* Ends the attempt well; the one that waits next starts. */
sbx_attempt_ref line_next_after(rig *r, sbx_attempt_ref running, sbx_attempt_ref waiting);

/* The FAIL of the last step, with this error; fails the test when there is none. */
const sbx_action *line_told(const rig *r, sbx_api_error error);

/* How many wait now. */
uint64_t line_queued(const rig *r);

#endif
