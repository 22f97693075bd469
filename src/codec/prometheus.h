/* Prometheus text, version 0.0.4: families of samples with labels. Names are ours (asserted); label values
 * and help are escaped, whatever they hold. How many series may be written is capped: those beyond are
 * counted, not written, and a histogram is written whole or not at all.
 *
 *   sbx_prom_family(&prom, "signalbox_attempts_total", SBX_PROM_COUNTER, "attempts at workers");
 *   sbx_prom_u64(&prom, NULL, 0, counts.attempts);
 *
 * Errors stick to the buffer: check sbx_buf_error(out) once at the end. */
#ifndef SBX_CODEC_PROMETHEUS_H
#define SBX_CODEC_PROMETHEUS_H

#include "base/buf.h"
#include "base/histogram.h"
#include "base/view.h"

#define SBX_PROM_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

typedef enum sbx_prom_type {
    SBX_PROM_COUNTER,
    SBX_PROM_GAUGE,
    SBX_PROM_HISTOGRAM
} sbx_prom_type;

/* "counter", "gauge", "histogram" */
const char *sbx_prom_type_name(sbx_prom_type type);

typedef struct sbx_prom_label {
    const char *name;
    sbx_view value;
} sbx_prom_label;

typedef struct sbx_prom {
    sbx_buf *out;       /* kept */
    const char *family; /* the one being written */
    uint32_t series, series_cap;
    uint32_t left_out; /* series */
} sbx_prom;

enum {
    SBX_PROM_HISTOGRAM_SERIES = SBX_HISTOGRAM_BOUNDS + 3 /* buckets, +Inf, sum, count */
};

void sbx_prom_init(sbx_prom *prom, sbx_buf *out, uint32_t series_cap);

/* HELP and TYPE; the samples that follow are of this family. Keeps name. A counter's name ends in _total. */
void sbx_prom_family(sbx_prom *prom, const char *name, sbx_prom_type type, const char *help);

/* One sample. labels may be NULL when count is 0. */
void sbx_prom_u64(sbx_prom *prom, const sbx_prom_label *labels, size_t count, uint64_t value);
void sbx_prom_i64(sbx_prom *prom, const sbx_prom_label *labels, size_t count, int64_t value);
/* In seconds. */
void sbx_prom_histogram(sbx_prom *prom, const sbx_prom_label *labels, size_t count,
                        const sbx_histogram *histogram);

/* Series that the caller left out by itself. */
void sbx_prom_leave_out(sbx_prom *prom, uint32_t series);

#endif
