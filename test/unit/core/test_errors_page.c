/* docs/errors.md, made from the tables of errors, outcomes and their classification. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/classify.h"
#include "core/notes.h"
#include "support/page.h"

/* ---- what the words of classify.def mean to an operator; a word that is not here does not compile ---- */

#define BREAKER_SUCCESS     "success"
#define BREAKER_FAILURE     "failure"
#define BREAKER_ALIVE       "none; a success while half open"
#define BREAKER_NONE        "none"
#define WORKER_NOTHING      ""
#define WORKER_COOL_DOWN    "; cools down for Retry-After"
#define WORKER_DROP_MODEL   "; the model is dropped from it until it is seen again"
#define WORKER_HARD_DOWN    "; no traffic for 30 min, or until reset or reload"
#define WORKER_DRAIN        "; no new work"
#define RETRY_NO            "no"
#define RETRY_AT_ONCE       "at once"
#define RETRY_FIRST_AT_ONCE "at once the first time, then after a delay"
#define RETRY_DELAY         "after a delay"
#define RETRY_FREE          "at once, uses up no retry"
#define RETRY_RESEND        "once more on a fresh connection, uses up no retry"
#define ON_ALWAYS           ""
#define ON_TIMEOUT          " (`WORKER_TIMEOUT`)"
#define ON_UNAVAILABLE      " (`WORKER_UNAVAILABLE`)"
#define ON_OVERLOADED       " (`WORKER_OVERLOADED`)"

typedef struct class_words {
    const char *breaker, *worker, *retry, *on;
} class_words;

static const class_words words[] = {
#define SBX_CLASSIFY(outcome, breaker, worker, retry, on, error, status, flags)                              \
    [SBX_OUTCOME_##outcome] = {BREAKER_##breaker, WORKER_##worker, RETRY_##retry, ON_##on},
#include "core/classify.def"
#undef SBX_CLASSIFY
};

/* ---- the page ---- */

static const char introduction[] =
    "# Errors\n\n"
    "This page is made from `src/base/api_error.def`, `src/base/outcome.def`, `src/core/classify.def` and\n"
    "`src/core/ends.def`; `SBX_UPDATE_DOCS=1 build/dev/core_test_errors_page` writes it anew.\n\n"
    "## What clients get\n\n"
    "```json\n"
    "{\"error\": {\"message\": \"...\", \"type\": \"...\", \"param\": null, \"code\": \"...\", \"context\": "
    "{...}}}\n"
    "```\n\n"
    "`context` is the routing metadata (`requestId`, `retryCount`, `circuitBreakerTrips`, `timeouts`, "
    "`failedWorkers`,\n"
    "`selectedWorker`, `totalDurationMs`) and `lastError`, the code that the last attempt alone would have "
    "given. After the\n"
    "first event of a stream the same object comes as one `data:` event, and no `[DONE]` follows. "
    "ALL_RETRIES_EXHAUSTED is\n"
    "504 when the last attempt timed out, WORKER_UNAVAILABLE 503 when no worker ever saw the request. A "
    "worker's own 4xx is\n"
    "passed through unchanged.\n\n"
    "| code | HTTP | type | message |\n"
    "|---|---|---|---|\n";

static const char attempts_heading[] =
    "\n## What an attempt's end means\n\n"
    "One row per outcome of one attempt at one worker. *Retry elsewhere* holds before the first event went "
    "to "
    "the client and\n"
    "while retries, budget and time are left; a code in brackets must be in `retryOnErrors`. A worker that "
    "reported progress\n"
    "and then ran into a limit counts neither as a failure nor as a reason to retry.\n\n"
    "| outcome | what happened | breaker | retry elsewhere | the client gets, if it was the only attempt |\n"
    "|---|---|---|---|---|\n";

static const char ends_heading[] =
    "\n## How requests end\n\n"
    "Every accepted request ends exactly once: `signalbox_requests_accepted_total` is the sum of\n"
    "`signalbox_requests_ended_total` over these and of `signalbox_requests_in_flight`.\n\n"
    "| end | meaning |\n"
    "|---|---|\n";

static void append_errors(sbx_buf *buf)
{
    for (int error = SBX_API_NONE + 1; error < SBX_API_COUNT; error++) {
        sbx_api_error e = (sbx_api_error)error;
        sbx_buf_appendf(buf, "| %s | %d | %s | %s |\n", sbx_api_error_code(e), sbx_api_error_status(e),
                        sbx_api_error_type(e), sbx_api_error_message(e));
    }
}

static void append_client_side(sbx_buf *buf, const sbx_class *row)
{
    if (row->flags & SBX_CLASS_PASSED)
        sbx_buf_append_cstr(buf, "the worker's answer, unchanged");
    else if (row->error == SBX_API_NONE)
        sbx_buf_append_cstr(buf, "the answer");
    else
        sbx_buf_appendf(buf, "%s %u", sbx_api_error_code(row->error), (unsigned)row->http_status);
}

static void append_outcomes(sbx_buf *buf)
{
    for (int outcome = 0; outcome < SBX_OUTCOME_COUNT; outcome++) {
        sbx_outcome o = (sbx_outcome)outcome;
        const class_words *w = &words[outcome];
        sbx_buf_appendf(buf, "| `%s` | %s | %s%s | %s%s | ", sbx_outcome_name(o), sbx_outcome_text(o),
                        w->breaker, w->worker, w->retry, w->on);
        append_client_side(buf, sbx_classify(o));
        sbx_buf_append_cstr(buf, " |\n");
    }
}

static void append_ends(sbx_buf *buf)
{
#define SBX_END_ROW(symbol, name, text) sbx_buf_append_cstr(buf, "| `" name "` | " text " |\n");
#include "core/ends.def"
#undef SBX_END_ROW
}

static void the_page_is_what_the_tables_say(void **state)
{
    (void)state;
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    sbx_buf_append_cstr(&buf, introduction);
    append_errors(&buf);
    sbx_buf_append_cstr(&buf, attempts_heading);
    append_outcomes(&buf);
    sbx_buf_append_cstr(&buf, ends_heading);
    append_ends(&buf);
    page_is_fresh("docs/errors.md", &buf);
    sbx_buf_deinit(&buf);
}

static void every_outcome_has_words(void **state)
{
    (void)state;
    assert_int_equal(sizeof words / sizeof words[0], SBX_OUTCOME_COUNT);
    for (int outcome = 0; outcome < SBX_OUTCOME_COUNT; outcome++)
        assert_non_null(words[outcome].retry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_outcome_has_words),
        cmocka_unit_test(the_page_is_what_the_tables_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
