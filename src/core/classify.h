/* The one table that says what the outcome of an attempt means (classify.def). Pure; one caller, the router.
 */
#ifndef SBX_CORE_CLASSIFY_H
#define SBX_CORE_CLASSIFY_H

#include "base/api_error.h"
#include "base/outcome.h"
#include "core/breaker.h"

/* What happens to the worker besides its breaker. */
typedef enum sbx_class_worker {
    SBX_CLASS_WORKER_NOTHING,
    SBX_CLASS_WORKER_COOL_DOWN,  /* busy: no traffic for Retry-After */
    SBX_CLASS_WORKER_DROP_MODEL, /* it does not serve what it claimed */
    SBX_CLASS_WORKER_HARD_DOWN,  /* it refuses our key */
    SBX_CLASS_WORKER_DRAIN       /* it leaves: no new work */
} sbx_class_worker;

typedef enum sbx_class_retry {
    SBX_CLASS_RETRY_NO,
    SBX_CLASS_RETRY_AT_ONCE,       /* the worker never worked on it: no back-off while another is free */
    SBX_CLASS_RETRY_FIRST_AT_ONCE, /* the connection is lost: no back-off the first time */
    SBX_CLASS_RETRY_DELAY,
    SBX_CLASS_RETRY_FREE,  /* at once, and no retry is used up */
    SBX_CLASS_RETRY_RESEND /* free, once, and the same worker may have it again */
} sbx_class_retry;

/* The word of retryOnErrors that must be on. */
typedef enum sbx_class_on {
    SBX_CLASS_ON_ALWAYS,
    SBX_CLASS_ON_TIMEOUT,
    SBX_CLASS_ON_UNAVAILABLE,
    SBX_CLASS_ON_OVERLOADED
} sbx_class_on;

/* Flags of a row. */
enum {
    SBX_CLASS_TIMEOUT = 1, /* counts in `timeouts`; a progressing worker's is neither failure nor retry */
    SBX_CLASS_DEATH = 2,   /* counts for the poison guard */
    SBX_CLASS_PASSED = 4   /* the worker's answer goes to the client unchanged */
};

typedef struct sbx_class {
    sbx_breaker_effect breaker;
    sbx_class_worker worker;
    sbx_class_retry retry;
    sbx_class_on on;
    sbx_api_error error; /* if this is the only attempt */
    uint32_t http_status;
    uint32_t flags;
} sbx_class;

/* Asserts that the outcome is one of the table. */
const sbx_class *sbx_classify(sbx_outcome outcome);

#endif
