/* An engine as the worker sees it: one const table of functions per kind (openai, simulated).
 *
 * An adapter only moves bytes: the request's body goes in as it is, the answer comes out as it is. Of what it
 * sends, the engine's API key is the one thing that the controller does not know.
 *
 * Threads: the loop's. */
#ifndef SBX_WORKER_ENGINE_H
#define SBX_WORKER_ENGINE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/outcome.h"
#include "base/time.h"
#include "base/view.h"
#include "config/config.h"
#include "net/loop.h"

typedef struct sbx_engine_head {
    unsigned status;
    sbx_view content_type;
    sbx_view content_encoding;
    sbx_time_ns retry_after_ns; /* -1: none */
} sbx_engine_head;

/* Called from the loop, never from within start. Exactly one of on_end and on_fail is the last; none after a
 * cancel, which a callback may do to its own call. Views are valid during the callback. */
typedef struct sbx_engine_events {
    void (*on_head)(void *user, const sbx_engine_head *head);
    void (*on_data)(void *user, sbx_view bytes);
    void (*on_end)(void *user);
    void (*on_fail)(void *user, sbx_outcome outcome, const char *detail);
} sbx_engine_events;

typedef struct sbx_engine_request {
    sbx_view path; /* "/v1/chat/completions" */
    sbx_view body; /* kept until the call is over */
    bool streaming;
    sbx_view request_id;
    sbx_view traceparent; /* empty: none */
} sbx_engine_request;

/* Whether the engine can work, and what it serves. */
typedef enum sbx_engine_health {
    SBX_ENGINE_IS_UP,
    SBX_ENGINE_IS_LOADING, /* it answers, but not yet with tokens */
    SBX_ENGINE_IS_DOWN,    /* nobody there */
    SBX_ENGINE_IS_SILENT   /* it took the question and did not answer in time: busy, perhaps */
} sbx_engine_health;

/* models: what it says it serves; count 0 when it does not say. Valid during the call. */
typedef void sbx_engine_probe_fn(void *user, sbx_engine_health health, const sbx_view *models, size_t count);

/* `super` of each kind's own structs. */
typedef struct sbx_engine sbx_engine;
typedef struct sbx_engine_call sbx_engine_call;

typedef struct sbx_engine_kind {
    const char *name;
    /* SBX_OK, SBX_E_NOMEM, or SBX_E_INVALID for a path that cannot be asked. Keeps events and user. */
    sbx_err (*start)(sbx_engine *engine, const sbx_engine_request *request, const sbx_engine_events *events,
                     void *user, sbx_engine_call **ret_call);
    void (*cancel)(sbx_engine_call *call); /* at once: the engine stops generating */
    void (*pause)(sbx_engine_call *call);  /* events may still come for what was read already */
    void (*resume)(sbx_engine_call *call);
    /* Asks how it is; done comes later from the loop, not when the engine is freed first. One at a time. */
    void (*probe)(sbx_engine *engine, sbx_engine_probe_fn *done, void *user);
    void (*free)(sbx_engine *engine); /* all calls must be over or cancelled */
} sbx_engine_kind;

struct sbx_engine {
    const sbx_engine_kind *kind;
};
struct sbx_engine_call {
    const sbx_engine_kind *kind;
};

/* The adapter for a configured engine; the configuration is copied. SBX_E_NOMEM, and what the HTTP client
 * refuses. */
sbx_err sbx_engine_new(sbx_loop *loop, const sbx_config_engine *config, sbx_engine **ret_engine);

/* The kinds' own constructors. */
sbx_err sbx_engine_openai_new(sbx_loop *loop, const sbx_config_engine *config, sbx_engine **ret_engine);
sbx_err sbx_engine_simulated_new(sbx_loop *loop, const sbx_config_engine *config, sbx_engine **ret_engine);

/* The engine behind a simulated adapter, so that a test can order faults. */
struct sbx_sim_engine *sbx_engine_simulated_inside(sbx_engine *engine);

#endif
