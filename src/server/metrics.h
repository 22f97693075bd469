/* The table of metrics, for docs and tests. The page itself is a row of routes.def. */
#ifndef SBX_SERVER_METRICS_H
#define SBX_SERVER_METRICS_H

#include <stddef.h>

#include "codec/prometheus.h"

enum {
    SBX_METRICS_SERIES_MAX = 2000,
    SBX_METRICS_WORKERS_MAX = 190 /* that have series of their own: the first ones of the registry */
};

typedef struct sbx_metric_info {
    const char *name;
    sbx_prom_type type;
    const char *labels; /* "model, code"; empty: none */
    const char *help;
} sbx_metric_info;

size_t sbx_metric_count(void);
sbx_metric_info sbx_metric_at(size_t index);

#endif
