/* The shell: turns I/O into router events and router actions into I/O, and holds the bytes the core never
 * sees.
 *
 *   server --job--> shell --event--> core/router --action--> shell --attempt--> transport --> worker
 *
 * Reading order: job.h (what a client side asks for), shell.c (the pump between events and actions), job.c,
 * attempt.c, answer.c (what one attempt's bytes mean), workers.c (who can be reached), notes.c (the log).
 *
 * Threads: one shell belongs to one loop. */
#ifndef SBX_SHELL_SHELL_H
#define SBX_SHELL_SHELL_H

#include "core/router.h"
#include "net/loop.h"
#include "transport/http.h"
#include "transport/nats.h"

typedef struct sbx_shell sbx_shell;

typedef enum sbx_metadata_mode {
    SBX_METADATA_BODY,
    SBX_METADATA_HEADERS,
    SBX_METADATA_OFF
} sbx_metadata_mode;

typedef struct sbx_shell_options {
    sbx_policy policy; /* copied, with everything it points to, by the router */
    uint64_t max_response_bytes;
    sbx_metadata_mode metadata;
    sbx_time_ns health_jitter_ns; /* spreads the health checks of backends */
    uint64_t seed;
} sbx_shell_options;

sbx_err sbx_shell_new(sbx_loop *loop, const sbx_shell_options *options, sbx_shell **ret_shell);
/* All jobs must be over. Closes peers; the bus link is freed last, at process end. */
void sbx_shell_free(sbx_shell *shell);

/* ---- who can be reached ---- */

typedef enum sbx_health_expect {
    SBX_HEALTH_AUTO,  /* OK, and MODELS where there is no such page */
    SBX_HEALTH_OK,    /* health_path answers 2xx */
    SBX_HEALTH_MODELS /* /v1/models lists a model of it */
} sbx_health_expect;

typedef struct sbx_backend_options {
    sbx_view id;
    sbx_http_peer_options peer;
    const sbx_view *models; /* none: asked from the backend by its health check */
    size_t model_count;
    uint32_t weight;
    bool asks_for_usage; /* stream_usage: on */
    const char *health_path;
    sbx_time_ns health_interval_ns;
    sbx_health_expect health_expect;
    uint32_t health_rise, health_fall; /* checks in a row that change how it stands; 0 counts as 1 */
    uint64_t context_length;           /* tokens; 0: what its list of models says */
    /* Of helper endpoints. Its models are what checks look for; what it serves is `helper_tier` alone. */
    sbx_helper_role helper;
    const char *url;                   /* as configured, for messages */
    sbx_view helper_tier;              /* a hidden id (core/policy.h) */
    sbx_time_ns attempt_ns;            /* most that one attempt may take; 0: the model's limit */
    const sbx_breaker_policy *breaker; /* copied; NULL: the router's */
} sbx_backend_options;

sbx_err sbx_shell_add_backend(sbx_shell *shell, const sbx_backend_options *options);

/* A new configuration: all backends that it has are added once more between these two. One that is as it was
 * keeps its breaker, figures and connections; one that changed starts fresh, and what runs there ends over
 * the old connections; one that was not added takes no new work and goes when it has none left. */
typedef struct sbx_backend_update {
    uint32_t kept, changed, added, removed;
} sbx_backend_update;
void sbx_shell_begin_update(sbx_shell *shell);
sbx_backend_update sbx_shell_end_update(sbx_shell *shell);

/* Swaps the policy between two requests. SBX_E_NOMEM: the old one stays. */
sbx_err sbx_shell_use_policy(sbx_shell *shell, const sbx_policy *policy);

/* What a backend's answers and checks tell, beside what the registry says. */
typedef struct sbx_backend_facts {
    bool is_checked;         /* a health check ended */
    sbx_time_ns checked_at;  /* the last one */
    const char *last_error;  /* of a request or a check; "" = none yet; until the next step */
    uint32_t latency_count;  /* good answers that the figures are of; 0: no figures */
    sbx_time_ns latency_avg; /* whole answers */
    sbx_time_ns latency_p95;
} sbx_backend_facts;
/* false: no such backend. */
bool sbx_shell_backend_facts(const sbx_shell *shell, sbx_view id, sbx_backend_facts *ret_facts);

/* At most once: joins the bus; workers come and go with their heartbeats. */
sbx_err sbx_shell_join_bus(sbx_shell *shell, const sbx_nats_link_options *options);
bool sbx_shell_bus_is_up(const sbx_shell *shell);

/* ---- for the server's pages ---- */

/* shell/metrics.h */
const struct sbx_metrics *sbx_shell_metrics(const sbx_shell *shell);

sbx_router *sbx_shell_router(sbx_shell *shell);
sbx_time_ns sbx_shell_now(const sbx_shell *shell);
uint32_t sbx_shell_job_count(const sbx_shell *shell);
/* Reports an event that comes from outside the shell (admin, drain). */
void sbx_shell_report(sbx_shell *shell, const sbx_event *event);

#endif
