/* See metrics.h. */
#include "shell/metrics.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"

sbx_err sbx_metrics_init(sbx_metrics *metrics, sbx_siphash_key seed)
{
    *metrics = (sbx_metrics){.model_count = 1};
    sbx_map_init(&metrics->by_model, seed, SBX_METRICS_MODELS_MAX);
    return sbx_map_reserve(&metrics->by_model, SBX_METRICS_MODELS_MAX);
}

void sbx_metrics_deinit(sbx_metrics *metrics)
{
    sbx_map_deinit(&metrics->by_model);
}

void sbx_metrics_take_note(sbx_metrics *metrics, const sbx_action *action)
{
    sbx_note note = action->note.note;
    metrics->notes[note]++;
    if (note == SBX_NOTE_ATTEMPT_FAILED)
        metrics->failed[action->note.outcome]++;
    else if (note == SBX_NOTE_RETRY_SCHEDULED)
        metrics->retried[action->note.outcome]++;
    else if (note == SBX_NOTE_CANDIDATES_FILTERED) {
        for (unsigned filter = 0; filter < SBX_FILTER_COUNT; filter++)
            metrics->filtered[filter] += action->note.filtered[filter];
    }
}

/* ---- models ---- */

static uint32_t add_model(sbx_metrics *metrics, sbx_view model)
{
    uint32_t index = metrics->model_count;
    if (index > SBX_METRICS_MODELS_MAX || model.len == 0 || model.len > SBX_MODEL_ID_MAX)
        return SBX_METRICS_OTHER;
    sbx_model_counts *counts = &metrics->models[index];
    memcpy(counts->id, model.data, model.len);
    counts->id_len = (uint16_t)model.len;
    if (sbx_map_put(&metrics->by_model, sbx_view_of(counts->id, model.len), counts) != SBX_OK)
        return SBX_METRICS_OTHER;
    metrics->model_count++;
    return index;
}

uint32_t sbx_metrics_model(sbx_metrics *metrics, sbx_view model)
{
    const sbx_model_counts *counts = sbx_map_get(&metrics->by_model, model);
    return counts == NULL ? add_model(metrics, model) : (uint32_t)(counts - metrics->models);
}

sbx_view sbx_metrics_model_name(const sbx_metrics *metrics, uint32_t model)
{
    assert(model < metrics->model_count);
    if (model == SBX_METRICS_OTHER)
        return SBX_VIEW("_other");
    return sbx_view_of(metrics->models[model].id, metrics->models[model].id_len);
}

/* ---- ends ---- */

static unsigned code_of(const sbx_action *end)
{
    if (end->kind == SBX_ACTION_PASS)
        return SBX_METRICS_CODE_PASSED;
    return end->kind == SBX_ACTION_SUCCEED ? (unsigned)SBX_API_NONE : (unsigned)end->end.error;
}

const char *sbx_metrics_code_name(unsigned code)
{
    if (code == SBX_METRICS_CODE_PASSED)
        return "passed";
    return code == SBX_API_NONE ? "ok" : sbx_api_error_code((sbx_api_error)code);
}

static void count_code(sbx_metrics *metrics, uint32_t model, unsigned code)
{
    uint64_t *count = &metrics->models[model].by_code[code];
    if (*count == 0 && model != SBX_METRICS_OTHER) {
        if (metrics->model_series == SBX_METRICS_MODEL_SERIES)
            count = &metrics->models[SBX_METRICS_OTHER].by_code[code];
        else
            metrics->model_series++;
    }
    (*count)++;
}

void sbx_metrics_take_end(sbx_metrics *metrics, uint32_t model, bool is_stream, sbx_time_ns duration,
                          const sbx_action *end)
{
    sbx_histogram_add(&metrics->duration[is_stream], duration);
    count_code(metrics, model, code_of(end));
}

/* ---- the conservation law ---- */

static uint64_t ended_of(const sbx_router_counts *counts)
{
    uint64_t ended = 0;
    for (unsigned end = 0; end < SBX_END_COUNT; end++)
        ended += counts->ended[end];
    return ended;
}

int64_t sbx_metrics_imbalance(const sbx_router_counts *counts)
{
    return (int64_t)(counts->accepted - ended_of(counts) - counts->in_flight);
}

void sbx_metrics_check(sbx_metrics *metrics, const sbx_router_counts *counts)
{
    int64_t error = sbx_metrics_imbalance(counts);
    if (error == metrics->conservation_error)
        return;
    metrics->conservation_error = error;
    if (error != 0)
        sbx_log(conservation_broken, .accepted = counts->accepted, .ended = ended_of(counts),
                .in_flight = counts->in_flight, .error = error);
}
