/* See local_workers.h. A child gets its configuration through the environment, never through its arguments,
 * which everybody on the machine can read. */
#include "app/local_workers.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/self.h"
#include "base/buf.h"
#include "base/log.h"

#define FIRST_DELAY SBX_MS(100)
#define MAX_DELAY   SBX_SEC(5)
#define STEADY      SBX_SEC(10) /* a worker that lived this long starts again without a longer delay */

enum {
    ENV_MAX = 20,
    ID_SIZE = 80
};

typedef struct local_worker {
    sbx_local_workers *all;
    char id[ID_SIZE];
    char *env[ENV_MAX + 1];
    size_t env_count;
    uint32_t child;
    bool is_running;
    sbx_time_ns started_at;
    sbx_time_ns delay;
    sbx_timer timer;
} local_worker;

struct sbx_local_workers {
    sbx_loop *loop;
    sbx_guard *guard;
    char *program;
    bool is_stopping;
    size_t count;
    local_worker items[];
};

/* ---- the environment of one ---- */

static void write_member(sbx_buf *buf, const char *name, const char *value)
{
    sbx_buf_appendf(buf, ",\"%s\":", name);
    sbx_buf_append_json(buf, sbx_view_cstr(value));
}

static void write_models(sbx_buf *buf, const sbx_config_strings *models)
{
    if (models->count == 0)
        return;
    sbx_buf_append_cstr(buf, ",\"models\":[");
    for (size_t i = 0; i < models->count; i++) {
        sbx_buf_append_cstr(buf, i == 0 ? "" : ",");
        sbx_buf_append_json(buf, sbx_view_cstr(models->items[i]));
    }
    sbx_buf_append_cstr(buf, "]");
}

static const char *stream_usage_word(sbx_config_stream_usage usage)
{
    switch (usage) {
    case SBX_CONFIG_STREAM_USAGE_AUTO:
        return "auto";
    case SBX_CONFIG_STREAM_USAGE_ON:
        return "on";
    case SBX_CONFIG_STREAM_USAGE_OFF:
        return "off";
    }
    return "auto";
}

static void write_simulated(sbx_buf *buf, const sbx_config_engine *engine)
{
    sbx_buf_append_cstr(buf, "{\"kind\":\"simulated\"");
    sbx_buf_appendf(
        buf, ",\"simulated\":{\"firstTokenMs\":%u,\"tokensPerSecond\":%u,\"jitterPct\":%u,\"seed\":%u}",
        engine->simulated.first_token_ms, engine->simulated.tokens_per_second, engine->simulated.jitter_pct,
        engine->simulated.seed);
}

static void write_openai(sbx_buf *buf, const sbx_config_engine *engine)
{
    sbx_buf_append_cstr(buf, "{\"kind\":\"openai\"");
    write_member(buf, "url", engine->url.text);
    if (engine->api_key != NULL)
        write_member(buf, "apiKey", engine->api_key);
}

/* The one engine as the list that cluster.worker.engines is, in YAML's JSON form. */
static void write_engine(sbx_buf *buf, const sbx_config_engine *engine)
{
    sbx_buf_append_cstr(buf, "[");
    if (engine->kind == SBX_CONFIG_ENGINE_SIMULATED)
        write_simulated(buf, engine);
    else
        write_openai(buf, engine);
    write_models(buf, &engine->models);
    sbx_buf_appendf(buf, ",\"maxConcurrent\":%u", engine->max_concurrent);
    write_member(buf, "resume", engine->resume == SBX_CONFIG_RESUME_PREFILL ? "prefill" : "off");
    write_member(buf, "streamUsage", stream_usage_word(engine->stream_usage));
    sbx_buf_append_cstr(buf, "}]");
}

static sbx_err add_env(local_worker *worker, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 2;
    char *text = malloc(size);
    if (text == NULL || worker->env_count == ENV_MAX) {
        free(text);
        return SBX_E_NOMEM;
    }
    snprintf(text, size, "%s=%s", name, value);
    worker->env[worker->env_count++] = text;
    return SBX_OK;
}

static sbx_err add_engine(local_worker *worker, const sbx_config_engine *engine)
{
    sbx_buf buf;
    sbx_buf_init(&buf, 1 << 20);
    write_engine(&buf, engine);
    sbx_buf_append_byte(&buf, '\0');
    sbx_err err = sbx_buf_error(&buf);
    if (err == SBX_OK)
        err = add_env(worker, "SIGNALBOX_WORKER_ENGINES", (const char *)sbx_buf_view(&buf).data);
    sbx_buf_deinit(&buf);
    return err;
}

static const char *log_level_word(sbx_config_log_level level)
{
    switch (level) {
    case SBX_CONFIG_LOG_DEBUG:
        return "debug";
    case SBX_CONFIG_LOG_INFO:
        return "info";
    case SBX_CONFIG_LOG_WARN:
        return "warn";
    case SBX_CONFIG_LOG_ERROR:
        return "error";
    }
    return "info";
}

/* What is not set is left out; then the child's own defaults hold. */
typedef struct setting {
    const char *name;
    const char *value;
} setting;

static sbx_err add_all(local_worker *worker, const setting *settings, size_t count)
{
    sbx_err err = SBX_OK;
    for (size_t i = 0; i < count && err == SBX_OK; i++) {
        if (settings[i].value != NULL)
            err = add_env(worker, settings[i].name, settings[i].value);
    }
    return err;
}

static sbx_err add_bus(local_worker *worker, const sbx_local_workers_options *options)
{
    const sbx_bus_options *bus = options->bus;
    const setting settings[] = {
        {"SIGNALBOX_NATS_MODE", "external"},
        {"SIGNALBOX_NATS_SERVER_URL", bus->url},
        {"SIGNALBOX_NATS_USER", bus->user},
        {"SIGNALBOX_NATS_PASSWORD", bus->password},
        {"SIGNALBOX_NATS_TOKEN", bus->token},
        {"SIGNALBOX_NATS_NKEY_SEED_FILE", bus->nkey_seed_file},
        {"SIGNALBOX_NATS_TLS_CA_FILE", bus->ca_file},
        {"SIGNALBOX_NATS_TLS_CERT_FILE", bus->cert_file},
        {"SIGNALBOX_NATS_TLS_KEY_FILE", bus->key_file},
        {"SIGNALBOX_NATS_SUBJECT_PREFIX", options->config->cluster.nats.subject_prefix},
    };
    return add_all(worker, settings, sizeof settings / sizeof settings[0]);
}

static sbx_err add_settings(local_worker *worker, const sbx_local_workers_options *options)
{
    const sbx_config *config = options->config;
    char heartbeat[16];
    snprintf(heartbeat, sizeof heartbeat, "%u", config->cluster.discovery.heartbeat_interval_ms);
    const setting settings[] = {
        {"SIGNALBOX_MODE", "worker"},
        {"SIGNALBOX_WORKER_WORKER_ID", worker->id},
        {"SIGNALBOX_DISCOVERY_HEARTBEAT_INTERVAL_MS", heartbeat},
        {"SIGNALBOX_LOGGING_LEVEL", log_level_word(config->logging.level)},
    };
    return add_all(worker, settings, sizeof settings / sizeof settings[0]);
}

/* ---- life of one ---- */

static void start(local_worker *worker)
{
    sbx_local_workers *all = worker->all;
    char word[] = "worker";
    char *argv[] = {all->program, word, NULL};
    worker->started_at = sbx_loop_now(all->loop);
    sbx_err err = sbx_guard_spawn(all->guard, argv, worker->env, /* log_path: */ NULL, &worker->child);
    worker->is_running = err == SBX_OK;
    if (err != SBX_OK)
        sbx_log(local_worker_failed, .worker = worker->id, .why = sbx_err_text(err));
}

static void on_timer(sbx_timer *timer, void *user)
{
    (void)timer;
    start(user);
}

static void start_again_later(local_worker *worker)
{
    sbx_time_ns now = sbx_loop_now(worker->all->loop);
    sbx_time_ns doubled = worker->delay * 2 < MAX_DELAY ? worker->delay * 2 : MAX_DELAY;
    worker->delay = now - worker->started_at >= STEADY ? FIRST_DELAY : doubled;
    sbx_timer_start(&worker->timer, sbx_time_add(now, worker->delay));
}

bool sbx_local_workers_on_exited(sbx_local_workers *workers, uint32_t child, int exit_code, int signal)
{
    for (size_t i = 0; workers != NULL && i < workers->count; i++) {
        local_worker *worker = &workers->items[i];
        if (!worker->is_running || worker->child != child)
            continue;
        worker->is_running = false;
        if (workers->is_stopping)
            sbx_log(local_worker_stopped, .worker = worker->id, .exit_code = exit_code, .signal = signal);
        else
            sbx_log(local_worker_exited, .worker = worker->id, .exit_code = exit_code, .signal = signal);
        if (!workers->is_stopping)
            start_again_later(worker);
        return true;
    }
    return false;
}

/* ---- all of them ---- */

static sbx_err prepare(sbx_local_workers *all, const sbx_local_workers_options *options, size_t index)
{
    local_worker *worker = &all->items[index];
    worker->all = all;
    worker->delay = FIRST_DELAY / 2;
    sbx_timer_init(&worker->timer, all->loop, on_timer, worker);
    snprintf(worker->id, sizeof worker->id, "%.60s-%zu", options->id_prefix, index + 1);
    sbx_err err = add_settings(worker, options);
    if (err == SBX_OK)
        err = add_bus(worker, options);
    if (err == SBX_OK)
        err = add_engine(worker, &options->engines[index]);
    return err;
}

sbx_err sbx_local_workers_start(sbx_loop *loop, sbx_guard *guard, const sbx_local_workers_options *options,
                                sbx_local_workers **ret_workers)
{
    sbx_local_workers *all = calloc(1, sizeof *all + options->count * sizeof all->items[0]);
    if (all == NULL)
        return SBX_E_NOMEM;
    all->loop = loop;
    all->guard = guard;
    all->count = options->count;
    all->program = sbx_self_path();
    sbx_err err = all->program == NULL ? SBX_E_NOT_FOUND : SBX_OK;
    for (size_t i = 0; err == SBX_OK && i < all->count; i++)
        err = prepare(all, options, i);
    if (err != SBX_OK) {
        sbx_local_workers_free(all);
        return err;
    }
    for (size_t i = 0; i < all->count; i++)
        start(&all->items[i]);
    *ret_workers = all;
    return SBX_OK;
}

void sbx_local_workers_stop(sbx_local_workers *workers)
{
    if (workers == NULL)
        return;
    workers->is_stopping = true;
    for (size_t i = 0; i < workers->count; i++) {
        sbx_timer_stop(&workers->items[i].timer);
        if (workers->items[i].is_running)
            (void)sbx_guard_kill(workers->guard, workers->items[i].child, SIGTERM);
    }
}

size_t sbx_local_workers_running(const sbx_local_workers *workers)
{
    size_t count = 0;
    for (size_t i = 0; workers != NULL && i < workers->count; i++)
        count += workers->items[i].is_running ? 1 : 0;
    return count;
}

void sbx_local_workers_free(sbx_local_workers *workers)
{
    if (workers == NULL)
        return;
    for (size_t i = 0; i < workers->count; i++) {
        if (workers->items[i].all != NULL)
            sbx_timer_stop(&workers->items[i].timer);
        for (size_t k = 0; k < workers->items[i].env_count; k++)
            free(workers->items[i].env[k]);
    }
    free(workers->program);
    free(workers);
}
