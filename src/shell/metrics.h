/* What the shell counts for /metrics beside the router's own counts: durations, why candidates were filtered,
 * what attempts failed of, and how requests ended, by model. All tables are of fixed size; feeding one is an
 * addition.
 *
 * Labels are bounded: models are counted by name only when the registry knows them, the first
 * SBX_METRICS_MODELS_MAX of them and at most SBX_METRICS_MODEL_SERIES pairs of model and code; all others
 * count as SBX_METRICS_OTHER. */
#ifndef SBX_SHELL_METRICS_H
#define SBX_SHELL_METRICS_H

#include "base/histogram.h"
#include "base/map.h"
#include "core/router.h"

enum {
    SBX_METRICS_MODELS_MAX = 64,
    SBX_METRICS_MODEL_SERIES = 400,
    SBX_METRICS_OTHER = 0,                   /* index of the models without a name of their own */
    SBX_METRICS_CODE_PASSED = SBX_API_COUNT, /* a worker's 4xx */
    SBX_METRICS_CODES                        /* ... and SBX_API_NONE is "ok" */
};

typedef struct sbx_model_counts {
    uint16_t id_len;
    char id[SBX_MODEL_ID_MAX];
    uint64_t by_code[SBX_METRICS_CODES];
} sbx_model_counts;

typedef struct sbx_metrics {
    sbx_histogram duration[2];   /* of a request: buffered, streaming */
    sbx_histogram first_content; /* of streams, as the client waits for it */
    sbx_histogram queue_wait;    /* from submission to the first attempt */
    uint64_t notes[SBX_NOTE_COUNT];
    uint64_t filtered[SBX_FILTER_COUNT];
    uint64_t failed[SBX_OUTCOME_COUNT];  /* attempts */
    uint64_t retried[SBX_OUTCOME_COUNT]; /* retries scheduled after this outcome */
    uint32_t model_count;                /* SBX_METRICS_OTHER included */
    uint32_t model_series;
    sbx_model_counts models[SBX_METRICS_MODELS_MAX + 1];
    sbx_map by_model;
    int64_t conservation_error; /* at the last look */
} sbx_metrics;

/* SBX_E_NOMEM. deinit is fine after a failed init. */
sbx_err sbx_metrics_init(sbx_metrics *metrics, sbx_siphash_key seed);
void sbx_metrics_deinit(sbx_metrics *metrics);

void sbx_metrics_take_note(sbx_metrics *metrics, const sbx_action *action);

/* The model's index; a name that is not counted yet gets one. The caller has it from the registry. */
uint32_t sbx_metrics_model(sbx_metrics *metrics, sbx_view model);
/* "_other" for SBX_METRICS_OTHER. */
sbx_view sbx_metrics_model_name(const sbx_metrics *metrics, uint32_t model);

/* A request ended with this action. */
void sbx_metrics_take_end(sbx_metrics *metrics, uint32_t model, bool is_stream, sbx_time_ns duration,
                          const sbx_action *end);
/* "ok", "passed", or the error's code. */
const char *sbx_metrics_code_name(unsigned code);

/* accepted - (all ends + in flight): not 0 is a bug of ours. */
int64_t sbx_metrics_imbalance(const sbx_router_counts *counts);
/* Keeps it, and logs conservation_broken when it is not 0 and not what it was. */
void sbx_metrics_check(sbx_metrics *metrics, const sbx_router_counts *counts);

#endif
