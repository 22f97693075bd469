/* A shell on a real loop with the real router; its workers w0, w1, w2 all share one fake peer, so that
 * scripts are taken in the order of attempts, whichever worker is picked. And clients that write down what
 * they hear. */
#ifndef SUPPORT_SHELL_H
#define SUPPORT_SHELL_H

#include "shell/job.h"
#include "transport/fake.h"

typedef struct rig {
    sbx_loop *loop;
    sbx_shell *shell;
    sbx_shell_options options; /* change before rig_open */
    sbx_peer *peer;
    bool (*until)(struct rig *r, const void *what);
    const void *what;
    bool timed_out;
    sbx_timer limit, poll;
    unsigned end_lines; /* request_ended in the log */
} rig;

typedef struct client {
    rig *rig;
    sbx_job *job; /* NULL: over or cancelled */
    sbx_arena arena;
    sbx_openai_request request;
    unsigned replies, opens, chunks, closes;
    bool is_cancelled;
    sbx_job_head head; /* numbers only; its texts are below */
    char content_type[64], worker[65], request_id[64], metadata[1024];
    sbx_buf bytes;  /* of the reply, or of the open and all chunks */
    sbx_buf opened; /* of the open alone */
    void (*when_open)(struct client *c);
    void (*when_chunk)(struct client *c);
    void (*when_reply)(struct client *c);
} client;

/* Options with quick retries and limits far away. */
void rig_init(rig *r);
void rig_open(rig *r, unsigned workers);
void rig_close(rig *r); /* and checks that every gauge is back at zero */

void rig_run_until(rig *r, bool (*until)(rig *, const void *what), const void *what, long limit_ms);
void rig_run_for(rig *r, long ms);
bool rig_is_over(rig *r, const void *client);
bool rig_has_bytes(rig *r, const void *client);
bool rig_was_asked(rig *r, const void *count); /* const size_t * */
sbx_worker_ref rig_worker(rig *r, const char *id);

/* Adds a script for the next attempt. */
void rig_script(rig *r, const sbx_fake_step *steps, size_t count);
#define RIG_SCRIPT(rig, ...)                                                                                 \
    rig_script(rig, (const sbx_fake_step[]){__VA_ARGS__},                                                    \
               sizeof((const sbx_fake_step[]){__VA_ARGS__}) / sizeof(sbx_fake_step))

/* Steps. */
#define ACCEPT                                                                                               \
    {                                                                                                        \
        .kind = SBX_FAKE_ACCEPT                                                                              \
    }
#define HEAD_JSON(code)                                                                                      \
    {                                                                                                        \
        .kind = SBX_FAKE_HEAD, .head = {                                                                     \
            .status = (code),                                                                                \
            .content_type = SBX_VIEW_INIT("application/json"),                                               \
            .retry_after_ns = -1                                                                             \
        }                                                                                                    \
    }
#define HEAD_SSE                                                                                             \
    {                                                                                                        \
        .kind = SBX_FAKE_HEAD, .head = {                                                                     \
            .status = 200,                                                                                   \
            .content_type = SBX_VIEW_INIT("text/event-stream"),                                              \
            .retry_after_ns = -1                                                                             \
        }                                                                                                    \
    }
#define DATA(text)                                                                                           \
    {                                                                                                        \
        .kind = SBX_FAKE_DATA, .data = SBX_VIEW_INIT(text)                                                   \
    }
#define DATA_AFTER(ms, text)                                                                                 \
    {                                                                                                        \
        .kind = SBX_FAKE_DATA, .delay_ns = SBX_MS(ms), .data = SBX_VIEW_INIT(text)                           \
    }
#define END                                                                                                  \
    {                                                                                                        \
        .kind = SBX_FAKE_END                                                                                 \
    }
#define FAILS(what)                                                                                          \
    {                                                                                                        \
        .kind = SBX_FAKE_FAIL, .outcome = SBX_OUTCOME_##what                                                 \
    }

/* Texts. */
#define GOOD  "{\"choices\":[{\"message\":{\"content\":\"hi\"}}],\"usage\":{\"completion_tokens\":2}}"
#define ROLE  "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n"
#define HELLO "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n"
#define WORLD "data: {\"choices\":[{\"delta\":{\"content\":\" world\"}}]}\n\n"
#define STOP  "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE  "data: [DONE]\n\n"

#define ASK        "{\"model\":\"sim\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"
#define ASK_STREAM "{\"model\":\"sim\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"

/* Submits a request of this body. Change the rest of params in `change`, or NULL. */
void client_ask(rig *r, client *c, const char *body, void (*change)(sbx_job_params *params));
void client_cancel(client *c);
void client_forget(client *c);

void client_expect_bytes(const client *c, const char *wanted);
void client_expect_reply(const client *c, unsigned status);
/* One error event at the end of a stream that was open, no [DONE]; returns nothing, fails the test. */
void client_expect_interrupted(const client *c, const char *before);

/* Values out of the JSON that the client got: "metadata.retryCount". Text form of numbers and null. */
void json_expect(const char *json, const char *path, const char *wanted);
void client_expect_json(const client *c, const char *path, const char *wanted);

#endif
