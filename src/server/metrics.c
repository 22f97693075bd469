/* GET /metrics: the table metrics.def, written as Prometheus text from what the router, the shell and the
 * HTTP server have counted. */
#include "server/metrics.h"

#include "base/log.h"
#include "server/reply.h"
#include "shell/metrics.h"

enum {
    PAGE_MAX = 8 << 20 /* bytes; 2000 series with the longest names fit */
};

/* What the page is written from, read once. */
typedef struct facts {
    const sbx_server *server;
    const sbx_metrics *shell;
    const sbx_registry *registry;
    sbx_router_counts counts;
    sbx_http_server_counts http;
    sbx_time_ns now;
} facts;

static facts facts_of(const sbx_server *server)
{
    const sbx_router *router = sbx_shell_router(server->shell);
    return (facts){
        .server = server,
        .shell = sbx_shell_metrics(server->shell),
        .registry = sbx_router_registry(router),
        .counts = sbx_router_counts_of(router),
        .http = sbx_http_server_counts_of(server->http),
        .now = sbx_shell_now(server->shell),
    };
}

/* ---- by rows of our own tables ---- */

static void put_by(sbx_prom *prom, const char *label, const char *value, uint64_t count)
{
    sbx_prom_u64(prom, &(sbx_prom_label){.name = label, .value = sbx_view_cstr(value)}, 1, count);
}

static void fill_build_info(sbx_prom *prom, const facts *f)
{
    (void)f;
    put_by(prom, "version", SBX_VERSION, 1);
}

static void fill_requests_ended_total(sbx_prom *prom, const facts *f)
{
    for (unsigned i = 0; i < SBX_END_COUNT; i++)
        put_by(prom, "end", sbx_request_end_name((sbx_request_end)i), f->counts.ended[i]);
}

static void fill_conservation_error(sbx_prom *prom, const facts *f)
{
    sbx_prom_i64(prom, /* labels: */ NULL, 0, sbx_metrics_imbalance(&f->counts));
}

static void fill_attempts_failed_total(sbx_prom *prom, const facts *f)
{
    for (unsigned i = SBX_OUTCOME_OK + 1; i < SBX_OUTCOME_COUNT; i++)
        put_by(prom, "outcome", sbx_outcome_name((sbx_outcome)i), f->shell->failed[i]);
}

static void fill_retries_scheduled_total(sbx_prom *prom, const facts *f)
{
    for (unsigned i = SBX_OUTCOME_OK + 1; i < SBX_OUTCOME_COUNT; i++)
        put_by(prom, "outcome", sbx_outcome_name((sbx_outcome)i), f->shell->retried[i]);
}

static void fill_candidates_filtered_total(sbx_prom *prom, const facts *f)
{
    for (unsigned i = 0; i < SBX_FILTER_COUNT; i++)
        put_by(prom, "why", sbx_filter_name((sbx_filter)i), f->shell->filtered[i]);
}

static void fill_events_total(sbx_prom *prom, const facts *f)
{
    for (unsigned i = 0; i < SBX_NOTE_COUNT; i++)
        put_by(prom, "event", sbx_note_name((sbx_note)i), f->shell->notes[i]);
}

/* ---- durations ---- */

static void fill_request_duration_seconds(sbx_prom *prom, const facts *f)
{
    for (unsigned is_stream = 0; is_stream < 2; is_stream++) {
        sbx_prom_label label = {"stream", is_stream ? SBX_VIEW("true") : SBX_VIEW("false")};
        sbx_prom_histogram(prom, &label, 1, &f->shell->duration[is_stream]);
    }
}

static void fill_first_content_seconds(sbx_prom *prom, const facts *f)
{
    sbx_prom_histogram(prom, /* labels: */ NULL, 0, &f->shell->first_content);
}

static void fill_queue_wait_seconds(sbx_prom *prom, const facts *f)
{
    sbx_prom_histogram(prom, /* labels: */ NULL, 0, &f->shell->queue_wait);
}

/* ---- by model: only the codes that came up ---- */

static void put_codes(sbx_prom *prom, const facts *f, uint32_t model)
{
    sbx_view name = sbx_metrics_model_name(f->shell, model);
    for (unsigned code = 0; code < SBX_METRICS_CODES; code++) {
        sbx_prom_label labels[] = {{"model", name}, {"code", sbx_view_cstr(sbx_metrics_code_name(code))}};
        if (f->shell->models[model].by_code[code] > 0)
            sbx_prom_u64(prom, labels, 2, f->shell->models[model].by_code[code]);
    }
}

static void fill_requests_by_code_total(sbx_prom *prom, const facts *f)
{
    for (uint32_t model = 0; model < f->shell->model_count; model++)
        put_codes(prom, f, model);
}

/* ---- by model: the lines of those that wait ---- */

typedef uint64_t queue_value(const sbx_queue_info *info);

static void put_queues(sbx_prom *prom, const facts *f, queue_value *value)
{
    const sbx_router *router = sbx_shell_router(f->server->shell);
    size_t count = sbx_registry_model_count(f->registry);
    size_t shown = count < SBX_METRICS_MODELS_MAX ? count : SBX_METRICS_MODELS_MAX;
    for (size_t i = 0; i < shown; i++) {
        sbx_view model = sbx_registry_model_at(f->registry, i);
        sbx_queue_info info = sbx_router_queue_of(router, model);
        sbx_prom_u64(prom, &(sbx_prom_label){"model", model}, 1, value(&info));
    }
    sbx_prom_leave_out(prom, (uint32_t)(count - shown));
}

static uint64_t length_of(const sbx_queue_info *info)
{
    return info->length;
}

static void fill_queue_length(sbx_prom *prom, const facts *f)
{
    put_queues(prom, f, length_of);
}

static uint64_t bytes_of(const sbx_queue_info *info)
{
    return info->bytes;
}

static void fill_queue_bytes(sbx_prom *prom, const facts *f)
{
    put_queues(prom, f, bytes_of);
}

/* ---- by worker ---- */

typedef uint64_t worker_value(const sbx_worker_info *info);

static void put_workers(sbx_prom *prom, const facts *f, worker_value *value)
{
    size_t count = sbx_registry_count(f->registry);
    size_t shown = count < SBX_METRICS_WORKERS_MAX ? count : SBX_METRICS_WORKERS_MAX;
    for (size_t i = 0; i < shown; i++) {
        sbx_worker_info info = sbx_worker_describe(sbx_registry_at(f->registry, i), f->now);
        sbx_prom_u64(prom, &(sbx_prom_label){"worker", info.id}, 1, value(&info));
    }
    sbx_prom_leave_out(prom, (uint32_t)(count - shown));
}

static uint64_t online_of(const sbx_worker_info *info)
{
    return info->online;
}

static uint64_t in_flight_of(const sbx_worker_info *info)
{
    return info->in_flight;
}

static uint64_t capacity_of(const sbx_worker_info *info)
{
    return info->capacity;
}

static uint64_t breaker_of(const sbx_worker_info *info)
{
    switch (info->breaker) {
    case SBX_BREAKER_CLOSED:
        return 0;
    case SBX_BREAKER_HALF_OPEN:
        return 1;
    case SBX_BREAKER_OPEN:
    case SBX_BREAKER_ISOLATED:
        return 2;
    }
    return 2;
}

static uint64_t attempts_of(const sbx_worker_info *info)
{
    return info->attempts;
}

static uint64_t successes_of(const sbx_worker_info *info)
{
    return info->successes;
}

static uint64_t failures_of(const sbx_worker_info *info)
{
    return info->failures;
}

static void fill_worker_online(sbx_prom *prom, const facts *f)
{
    put_workers(prom, f, online_of);
}

static void fill_worker_in_flight(sbx_prom *prom, const facts *f)
{
    put_workers(prom, f, in_flight_of);
}

static void fill_worker_capacity(sbx_prom *prom, const facts *f)
{
    put_workers(prom, f, capacity_of);
}

static void fill_worker_breaker_state(sbx_prom *prom, const facts *f)
{
    put_workers(prom, f, breaker_of);
}

static void fill_worker_attempts_total(sbx_prom *prom, const facts *f)
{
    put_workers(prom, f, attempts_of);
}

static void fill_worker_successes_total(sbx_prom *prom, const facts *f)
{
    put_workers(prom, f, successes_of);
}

static void fill_worker_failures_total(sbx_prom *prom, const facts *f)
{
    put_workers(prom, f, failures_of);
}

/* The last one: all others were written before. */
static void fill_series_left_out(sbx_prom *prom, const facts *f)
{
    (void)f;
    sbx_prom_u64(prom, /* labels: */ NULL, 0, prom->left_out);
}

/* ---- the table ---- */

#define SBX_METRIC(metric, type, labels, help)
#define SBX_METRIC_VALUE(metric, type, help, value)                                                          \
    static void fill_##metric(sbx_prom *prom, const facts *f)                                                \
    {                                                                                                        \
        (void)f;                                                                                             \
        sbx_prom_u64(prom, /* labels: */ NULL, 0, (value));                                                  \
    }
#include "server/metrics.def"
#undef SBX_METRIC
#undef SBX_METRIC_VALUE

static const struct {
    sbx_metric_info info;
    void (*fill)(sbx_prom *prom, const facts *f);
} rows[] = {
#define SBX_METRIC(metric, type, labels, help)                                                               \
    {{"signalbox_" #metric, SBX_PROM_##type, labels, help}, fill_##metric},
#define SBX_METRIC_VALUE(metric, type, help, value) SBX_METRIC(metric, type, "", help)
#include "server/metrics.def"
#undef SBX_METRIC
#undef SBX_METRIC_VALUE
};

size_t sbx_metric_count(void)
{
    return sizeof rows / sizeof rows[0];
}

sbx_metric_info sbx_metric_at(size_t index)
{
    return rows[index].info;
}

/* ---- the page ---- */

static sbx_err write_page(const sbx_server *server, sbx_buf *page)
{
    sbx_prom prom;
    facts f = facts_of(server);
    sbx_prom_init(&prom, page, SBX_METRICS_SERIES_MAX);
    for (size_t i = 0; i < sbx_metric_count(); i++) {
        sbx_prom_family(&prom, rows[i].info.name, rows[i].info.type, rows[i].info.help);
        rows[i].fill(&prom, &f);
    }
    return sbx_buf_error(page);
}

void sbx_page_metrics(sbx_server *server, sbx_http_request *request, sbx_view rest)
{
    (void)rest;
    sbx_buf page;
    sbx_buf_init(&page, PAGE_MAX);
    if (write_page(server, &page) == SBX_OK)
        sbx_reply_text(server, request, 200, SBX_VIEW(SBX_PROM_CONTENT_TYPE), sbx_buf_view(&page));
    else
        sbx_reply_error(server, request, SBX_API_INTERNAL_ERROR, "out of memory");
    sbx_buf_deinit(&page);
}
