/* The simulated engine on a clock of the test's own. */
#ifndef SUPPORT_PROBE_H
#define SUPPORT_PROBE_H

#include "base/buf.h"
#include "worker/sim_engine.h"

enum {
    TTFT_MS = 100,
    GAP_MS = 10
};

/* One request and all that came out of it. */
typedef struct probe {
    sbx_sim_run *run;
    sbx_time_ns armed_at; /* SBX_TIME_NEVER: not armed */
    sbx_time_ns head_at, first_data_at, last_data_at, over_at;
    unsigned status;
    int retry_after_s;
    char content_type[64];
    sbx_buf body;
    uint32_t pieces;
    bool has_head, is_over, is_ended, is_broken, cancel_in_data;
    sbx_sim_effect effect;
} probe;

typedef struct probe_world {
    sbx_sim_engine *engine;
    sbx_time_ns now;
    probe probes[8];
    size_t count;
} probe_world;

/* A request of a body on a path; a chat. */
probe *probe_request(probe_world *w, const char *path, const char *body);
probe *probe_chat(probe_world *w, const char *body);

/* Lets time pass, step by step. */
void probe_run_until(probe_world *w, sbx_time_ns until);
void probe_run_all(probe_world *w);

/* All that was said; how often a part occurs in it; all content deltas (or the one content), joined. */
const char *probe_text(probe *p);
int probe_occurrences(probe *p, const char *part);
void probe_content(probe *p, char *ret_content, size_t size);

/* A fault for every request from now on. */
void probe_fault(probe_world *w, sbx_sim_fault which, int64_t after_bytes, int64_t after_tokens);

/* For cmocka: two places, one waiting for at most 5 s. */
int probe_setup(void **state);
int probe_teardown(void **state);

#define HI           "\"model\":\"simulated\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define BUFFERED(x)  "{" HI x "}"
#define STREAMING(x) "{\"stream\":true," HI x "}"

#endif
