/* The configuration: one validated, immutable tree that owns all its memory. Loading is load.h's business;
 * which keys there are, their ranges, defaults and meanings is keys.def's, and docs/configuration.md is made
 * from it.
 *
 * Strings end in NUL, hold no other NUL and are valid UTF-8; NULL means "not set" and is possible only where
 * a comment says so. Durations are milliseconds (_ms) whatever unit the file uses, sizes are bytes (_bytes).
 * Every pointer lives until sbx_config_free(). Nothing is written after loading: any thread may read. */
#ifndef SBX_CONFIG_CONFIG_H
#define SBX_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/url.h"

enum {
    SBX_CONFIG_ID_MAX = 64,      /* bytes of a worker, backend or controller id */
    SBX_CONFIG_MODEL_MAX = 256,  /* bytes of a model id, role or alias */
    SBX_CONFIG_MODELS_MAX = 64,  /* models one worker may list */
    SBX_CONFIG_ITEMS_MAX = 10000 /* entries of any other list or map */
};

/* The words of each enum are in words.def, in the same order. */
typedef enum sbx_config_mode {
    SBX_CONFIG_MODE_CONTROLLER,
    SBX_CONFIG_MODE_WORKER,
    SBX_CONFIG_MODE_BOTH
} sbx_config_mode;

typedef enum sbx_config_nats_mode {
    SBX_CONFIG_NATS_EMBEDDED,
    SBX_CONFIG_NATS_EXTERNAL,
    SBX_CONFIG_NATS_OFF
} sbx_config_nats_mode;

typedef enum sbx_config_metadata {
    SBX_CONFIG_METADATA_BODY,
    SBX_CONFIG_METADATA_HEADERS,
    SBX_CONFIG_METADATA_OFF
} sbx_config_metadata;

typedef enum sbx_config_engine_kind {
    SBX_CONFIG_ENGINE_OPENAI,
    SBX_CONFIG_ENGINE_SIMULATED
} sbx_config_engine_kind;

typedef enum sbx_config_resume {
    SBX_CONFIG_RESUME_OFF,
    SBX_CONFIG_RESUME_PREFILL
} sbx_config_resume;

typedef enum sbx_config_stream_usage {
    SBX_CONFIG_STREAM_USAGE_AUTO,
    SBX_CONFIG_STREAM_USAGE_ON,
    SBX_CONFIG_STREAM_USAGE_OFF
} sbx_config_stream_usage;

typedef enum sbx_config_strategy {
    SBX_CONFIG_STRATEGY_ROUND_ROBIN,
    SBX_CONFIG_STRATEGY_LEAST_LOADED,
    SBX_CONFIG_STRATEGY_SMART
} sbx_config_strategy;

typedef enum sbx_config_status {
    SBX_CONFIG_STATUS_ACTIVE,
    SBX_CONFIG_STATUS_INACTIVE /* shown, never called */
} sbx_config_status;

typedef enum sbx_config_helper_role {
    SBX_CONFIG_HELPER_EMBEDDING,
    SBX_CONFIG_HELPER_RERANKING
} sbx_config_helper_role;

/* What makes a health check good. */
typedef enum sbx_config_health_expect {
    SBX_CONFIG_HEALTH_AUTO,  /* OK, and MODELS where there is no such page */
    SBX_CONFIG_HEALTH_OK,    /* health_path answers 2xx */
    SBX_CONFIG_HEALTH_MODELS /* /v1/models lists a model of it */
} sbx_config_health_expect;

typedef enum sbx_config_fallback {
    SBX_CONFIG_FALLBACK_LOCAL,
    SBX_CONFIG_FALLBACK_SKIP
} sbx_config_fallback;

typedef enum sbx_config_profile {
    SBX_CONFIG_PROFILE_LAN,
    SBX_CONFIG_PROFILE_PUBLIC
} sbx_config_profile;

typedef enum sbx_config_log_level {
    SBX_CONFIG_LOG_DEBUG,
    SBX_CONFIG_LOG_INFO,
    SBX_CONFIG_LOG_WARN,
    SBX_CONFIG_LOG_ERROR
} sbx_config_log_level;

typedef enum sbx_config_log_format {
    SBX_CONFIG_LOG_AUTO, /* text on a terminal, else json */
    SBX_CONFIG_LOG_TEXT,
    SBX_CONFIG_LOG_JSON
} sbx_config_log_format;

/* Codes of requestRouting.retry.retryOnErrors, as bits. */
enum {
    SBX_CONFIG_RETRY_ON_TIMEOUT = 1 << 0,     /* WORKER_TIMEOUT */
    SBX_CONFIG_RETRY_ON_UNAVAILABLE = 1 << 1, /* WORKER_UNAVAILABLE */
    SBX_CONFIG_RETRY_ON_OVERLOADED = 1 << 2   /* WORKER_OVERLOADED */
};

typedef struct sbx_config_strings {
    const char *const *items; /* none is NULL */
    size_t count;
} sbx_config_strings;

/* A name that stands for models, in order of preference: an alias, or a role of a preset. */
typedef struct sbx_config_named_list {
    const char *name;
    sbx_config_strings models; /* one at least, none twice */
} sbx_config_named_list;

typedef struct sbx_config_named_lists {
    const sbx_config_named_list *items;
    size_t count;
} sbx_config_named_lists;

typedef struct sbx_config_address {
    const char *host; /* NULL = not set; an IPv6 address has no brackets */
    uint32_t port;
} sbx_config_address;

/* cluster.nats */
typedef struct sbx_config_nats {
    sbx_config_nats_mode mode;
    const char *server_url; /* external: nats:// or tls://, several separated by commas; else NULL */
    const char *user;       /* these four: NULL = not set */
    const char *password;
    const char *token;
    const char *nkey_seed_path;
    struct {
        const char *ca_path; /* all three: NULL = not set */
        const char *cert_path;
        const char *key_path;
    } tls;
    const char *subject_prefix; /* "" or an id, without the dot that follows it */
    struct {
        const char *bind;
        uint32_t port;         /* 0 = a free one */
        const char *token;     /* NULL = make one */
        const char *store_dir; /* NULL = the state directory */
    } embedded;
} sbx_config_nats;

/* cluster.controller */
typedef struct sbx_config_controller {
    const char *id; /* NULL = make one */
    const char *bind_address;
    uint32_t port; /* 0 = a free one */
    uint32_t max_connections;
    uint64_t max_body_bytes;
    uint64_t max_response_bytes;
    uint64_t max_buffered_bytes;
    uint32_t header_timeout_ms;
    uint32_t body_timeout_ms;
    uint32_t keep_alive_timeout_ms;
    uint32_t client_write_timeout_ms;
    uint32_t drain_grace_ms;
    uint32_t drain_timeout_ms;
    sbx_config_metadata response_metadata;
    uint32_t sse_keep_alive_ms;         /* 0 = off */
    uint32_t sse_early_head_ms;         /* 0 = off */
    sbx_config_strings allowed_origins; /* CORS: "*" or scheme://host[:port] */
} sbx_config_controller;

/* cluster.worker.engines[] */
typedef struct sbx_config_engine {
    sbx_config_engine_kind kind;
    sbx_url url;               /* kind openai */
    sbx_config_strings models; /* none = asked from the engine */
    const char *api_key;       /* NULL = none */
    uint32_t max_concurrent;
    sbx_config_resume resume;
    sbx_config_stream_usage stream_usage;
    struct {
        uint32_t first_token_ms;
        uint32_t tokens_per_second;
        uint32_t jitter_pct; /* of every wait */
        uint32_t seed;
    } simulated;
} sbx_config_engine;

typedef struct sbx_config_engines {
    const sbx_config_engine *items;
    size_t count;
} sbx_config_engines;

/* cluster.worker */
typedef struct sbx_config_worker {
    const char *id; /* NULL = make one */
    sbx_config_engines engines;
} sbx_config_worker;

typedef struct sbx_config_health {
    sbx_config_health_expect expect;
    uint32_t rise; /* good checks in a row until it is well again */
    uint32_t fall; /* bad checks in a row until it is not */
} sbx_config_health;

/* An http worker: an entry of backends, or of cluster.workers.static (which fills the same struct, with the
 * defaults of a backend for what it cannot say). Ids are unique over both. */
typedef struct sbx_config_backend {
    const char *id; /* A-Z a-z 0-9 . _ : @ + -, at most SBX_CONFIG_ID_MAX bytes */
    sbx_url url;
    sbx_config_strings models; /* none = asked from the backend */
    sbx_config_status status;
    const char *api_key; /* NULL = none */
    uint32_t max_concurrent;
    uint32_t weight;   /* 100 = normal */
    uint32_t priority; /* lower is preferred */
    sbx_config_resume resume;
    sbx_config_stream_usage stream_usage;
    const char *health_path; /* begins with '/' */
    uint32_t health_check_interval_ms;
    sbx_config_health health;
    uint32_t context_length; /* tokens; 0 = not told */
    const char *name;        /* for people; "" = none */
    const char *gpu;         /* for people; "" = none */
    double vram_gb;          /* for people; 0 = unknown */
    sbx_config_strings roles;
} sbx_config_backend;

typedef struct sbx_config_backends {
    const sbx_config_backend *items;
    size_t count;
} sbx_config_backends;

/* cluster.loadBalancing */
typedef struct sbx_config_balancing {
    sbx_config_strategy strategy;
    struct {
        bool enabled;
        uint32_t ttl_ms;
        uint32_t max_sessions;
        uint32_t load_bound_pct; /* of the mean load; at least 100 */
    } sessions;
    uint32_t slow_start_ms;
} sbx_config_balancing;

typedef struct sbx_config_limits {
    uint32_t timeout_ms;             /* one buffered attempt */
    uint32_t streaming_timeout_ms;   /* one streaming attempt, to first content */
    uint32_t stream_idle_timeout_ms; /* between content chunks */
} sbx_config_limits;

/* cluster.requestRouting.models.<model>; what an entry does not say is 0 */
typedef struct sbx_config_model_limits {
    const char *model;
    sbx_config_limits limits;
} sbx_config_model_limits;

typedef struct sbx_config_model_limits_list {
    const sbx_config_model_limits *items;
    size_t count;
} sbx_config_model_limits_list;

/* cluster.requestRouting */
typedef struct sbx_config_routing {
    struct {
        bool enabled;
        uint32_t max_retries;
        uint32_t delay_ms;
        uint32_t max_delay_ms;
        uint32_t on_errors; /* SBX_CONFIG_RETRY_ON_ bits */
        bool same_worker;
    } retry;
    struct {
        bool enabled;
        uint32_t failure_threshold;
        uint32_t success_threshold;
        uint32_t timeout_ms;
        uint32_t half_open_max_probes;
        uint32_t max_open_ms;
        uint32_t rate_threshold_pct; /* 0 = off */
        uint32_t rate_min_attempts;
        uint32_t rate_window_ms;
    } breaker;
    sbx_config_limits limits;
    uint32_t request_deadline_ms;
    uint32_t connect_timeout_ms;
    uint32_t ack_timeout_ms;
    sbx_config_model_limits_list models;
    struct {
        uint32_t max_length; /* requests per model; 0 = no queue */
        uint64_t max_bytes;
        uint32_t max_wait_ms;
    } queue;
    sbx_config_resume resume;
    uint32_t max_resumes;
} sbx_config_routing;

typedef struct sbx_config_cluster {
    sbx_config_mode mode;
    sbx_config_nats nats;
    sbx_config_controller controller;
    sbx_config_worker worker;
    struct {
        uint32_t heartbeat_interval_ms;
        uint32_t offline_timeout_ms; /* greater than the interval */
    } discovery;
    sbx_config_backends static_workers;
    sbx_config_balancing balancing;
    sbx_config_routing routing;
} sbx_config_cluster;

/* stack_presets.<name> */
typedef struct sbx_config_preset {
    const char *name;
    const char *description; /* "" = none */
    sbx_config_named_lists roles;
} sbx_config_preset;

typedef struct sbx_config_presets {
    const sbx_config_preset *items;
    size_t count;
} sbx_config_presets;

/* routing, stack_presets and their companions */
typedef struct sbx_config_stack {
    const char *default_model;      /* what `auto` means; NULL = nothing */
    sbx_config_named_lists aliases; /* free of cycles, `auto` included */
    sbx_config_presets presets;
    const char *active_preset; /* NULL, or the name of one of the presets */
    const char *state_path;    /* NULL = in the state directory */
} sbx_config_stack;

/* helper_nodes.<role>.endpoints[]; the short form is one endpoint */
typedef struct sbx_config_endpoint {
    sbx_url url;
    const char *model;
    uint32_t timeout_ms;
    uint32_t priority;   /* lower first; equal = balanced */
    const char *api_key; /* NULL = none */
    const char *health_path;
} sbx_config_endpoint;

typedef struct sbx_config_endpoints {
    const sbx_config_endpoint *items;
    size_t count; /* one at least */
} sbx_config_endpoints;

/* helper_nodes.<role> */
typedef struct sbx_config_helper {
    sbx_config_helper_role role;
    sbx_config_endpoints endpoints;
    sbx_config_endpoint single; /* where the short form is kept; read endpoints, which holds it then */
    sbx_config_fallback fallback;
    uint32_t health_check_interval_ms;
    sbx_config_health health;
    struct {
        uint32_t failure_threshold;
        uint32_t reset_timeout_ms;
        uint32_t success_threshold;
    } breaker;
} sbx_config_helper;

/* The helper roles that are configured, each once. */
typedef struct sbx_config_helpers {
    const sbx_config_helper *items;
    size_t count;
} sbx_config_helpers;

/* security.api_keys[] */
typedef struct sbx_config_api_key {
    const char *key;
    const char *name; /* what logs and metrics call it; "" = none */
} sbx_config_api_key;

typedef struct sbx_config_api_keys {
    const sbx_config_api_key *items;
    size_t count;
} sbx_config_api_keys;

typedef struct sbx_config {
    sbx_config_cluster cluster;
    sbx_config_stack stack;
    sbx_config_backends backends;
    sbx_config_helpers helpers;
    sbx_config_address admin_listen; /* host NULL = the public listener */
    struct {
        const char *admin_key; /* NULL = admin is open to loopback peers only */
        sbx_config_api_keys api_keys;
        sbx_config_profile profile;
    } security;
    struct {
        sbx_config_log_level level;
        sbx_config_log_format format;
        const char *path; /* NULL = stderr */
    } logging;
} sbx_config;

/* The limits for one model: its own where it has them, else the general ones. A model no entry names, and
 * NULL, get the general ones. */
sbx_config_limits sbx_config_limits_of(const sbx_config *config, const char *model);

/* The helper role's settings, or NULL when it is not configured. */
const sbx_config_helper *sbx_config_helper_of(const sbx_config *config, sbx_config_helper_role role);

#endif
