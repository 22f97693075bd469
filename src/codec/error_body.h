/* What we write into answers ourselves: the metadata object and the error body of DESIGN 7. */
#ifndef SBX_CODEC_ERROR_BODY_H
#define SBX_CODEC_ERROR_BODY_H

#include "base/api_error.h"
#include "base/buf.h"
#include "base/time.h"

typedef struct sbx_metadata {
    sbx_view request_id;
    uint32_t retry_count;
    uint32_t breaker_trips;
    uint32_t timeouts;
    const sbx_view *failed_workers; /* in order */
    size_t failed_count;
    sbx_view selected_worker; /* empty: null */
    sbx_time_ns total_duration_ns;
} sbx_metadata;

typedef struct sbx_error_body {
    sbx_api_error error;
    sbx_view message;             /* empty: the error's default */
    sbx_view param;               /* empty: null */
    const sbx_metadata *metadata; /* NULL: "context" is null */
    sbx_view last_error;          /* what the last attempt ended with; empty: null. Only with metadata */
} sbx_error_body;

/* {"requestId":..,"retryCount":..,"circuitBreakerTrips":..,"timeouts":..,"failedWorkers":[..],
 *  "selectedWorker":..|null,"totalDurationMs":..}. SBX_E_CAP, SBX_E_NOMEM. */
sbx_err sbx_metadata_write(sbx_buf *buf, const sbx_metadata *metadata);

/* {"error":{"message","type","param","code","context"}}. SBX_E_CAP, SBX_E_NOMEM. */
sbx_err sbx_error_body_write(sbx_buf *buf, const sbx_error_body *body);

#endif
