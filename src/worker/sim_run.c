/* One run of the simulated engine: a small state machine. Each state is a function that does what is due,
 * sets when the next thing is due, and returns the next state. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "worker/sim_engine_priv.h"

enum {
    NOISE_INTERVAL_MS = 100,
    MADE_UP_EPOCH_S = 1700000000 /* there is no wall clock here; `created` needs to be plausible only */
};

static const char json_type[] = "application/json";
static const char stream_type[] = "text/event-stream; charset=utf-8";

static bool has_effect(const sbx_sim_run *run, sbx_sim_effect effect)
{
    return run->has_fault && sbx_sim_fault_row_of(run->order.fault)->effect == effect;
}

static bool is_generation(const sbx_sim_run *run)
{
    return run->request.kind == SBX_SIM_CHAT || run->request.kind == SBX_SIM_COMPLETION;
}

/* ---- waits ---- */

static sbx_time_ns wait_of(sbx_sim_run *run, sbx_time_ns base)
{
    uint64_t jitter = run->engine->options.jitter_pct;
    int64_t percent = (int64_t)(100 - jitter + sbx_rng_below(&run->jitter, 2 * jitter + 1));
    sbx_time_ns wait = base / 100 * percent;
    return has_effect(run, SBX_SIM_SLOW) ? wait * run->order.factor : wait;
}

static sbx_time_ns first_wait(sbx_sim_run *run)
{
    return wait_of(run, SBX_MS(run->engine->options.ttft_ms));
}

static sbx_time_ns token_wait(sbx_sim_run *run)
{
    uint32_t tps = run->engine->options.tps;
    return tps == 0 ? 0 : wait_of(run, SBX_SEC(1) / tps);
}

/* ---- ends ---- */

static sbx_sim_state over(sbx_sim_run *run)
{
    sbx_sim_place_leave(run);
    run->due = SBX_TIME_NEVER;
    return SBX_SIM_OVER;
}

static sbx_sim_state answer_whole(sbx_sim_run *run, const sbx_sim_head *head, sbx_view body)
{
    sbx_sim_state next = over(run);
    run->sent_bytes += body.len;
    run->sink->on_whole(run->user, head, body);
    return next;
}

static sbx_sim_state answer_row(sbx_sim_run *run, sbx_sim_fault fault)
{
    const sbx_sim_fault_row *row = sbx_sim_fault_row_of(fault);
    sbx_sim_head head = {
        .status = row->status,
        .content_type = fault == SBX_SIM_FAULT_WRONG_CONTENT_TYPE ? "text/html" : json_type,
        .content_encoding = fault == SBX_SIM_FAULT_ENCODED ? "gzip" : NULL,
        .location = fault == SBX_SIM_FAULT_REDIRECT_302 ? "/elsewhere" : NULL,
        .retry_after_s = row->retry_after_s,
    };
    return answer_whole(run, &head, row->body);
}

static sbx_sim_state answer_error(sbx_sim_run *run, unsigned status, const char *message, const char *param,
                                  const char *code)
{
    sbx_sim_head head = {.status = status, .content_type = json_type, .retry_after_s = -1};
    sbx_buf_clear(&run->out);
    sbx_sim_write_error(message, status >= 500 ? "server_error" : "invalid_request_error", param, code,
                        &run->out);
    return answer_whole(run, &head, sbx_buf_view(&run->out));
}

static sbx_sim_state answer_no_memory(sbx_sim_run *run)
{
    return answer_error(run, 500, "out of memory", /* param= */ NULL, /* code= */ NULL);
}

static sbx_sim_state end_with_error_event(sbx_sim_run *run)
{
    sbx_buf_clear(&run->out);
    sbx_buf_append_cstr(&run->out, "data: ");
    sbx_sim_write_error("simulated error in mid-stream", "server_error", NULL, NULL, &run->out);
    sbx_buf_append_cstr(&run->out, "\n\n");
    run->sink->on_data(run->user, sbx_buf_view(&run->out));
    sbx_sim_state next = over(run);
    if (!run->is_cancelled)
        run->sink->on_end(run->user);
    return next;
}

/* The moment of the fault has come. */
static sbx_sim_state strike(sbx_sim_run *run)
{
    sbx_sim_effect effect = sbx_sim_fault_row_of(run->order.fault)->effect;
    run->due = SBX_TIME_NEVER;
    if (run->is_cancelled)
        return over(run);
    if (effect == SBX_SIM_HANG)
        return SBX_SIM_HUNG;
    if (effect == SBX_SIM_ERROR_EVENT)
        return end_with_error_event(run);
    sbx_sim_state next = over(run);
    run->sink->on_break(run->user, effect);
    return next;
}

/* ---- sending, up to the moment of a fault ---- */

static void send_head(sbx_sim_run *run, const char *content_type)
{
    sbx_sim_head head = {.status = 200, .content_type = content_type, .retry_after_s = -1};
    run->is_headed = true;
    run->sink->on_head(run->user, &head);
}

static bool struck(const sbx_sim_run *run)
{
    return (run->break_bytes >= 0 && run->sent_bytes >= (uint64_t)run->break_bytes) ||
           (run->break_tokens >= 0 && run->sent_tokens >= (uint64_t)run->break_tokens);
}

/* Sends what is in `out`, as far as the fault lets it. */
static void send_out(sbx_sim_run *run)
{
    sbx_view bytes = sbx_buf_view(&run->out);
    if (run->break_bytes >= 0)
        bytes = sbx_view_slice(bytes, 0, (size_t)run->break_bytes - run->sent_bytes);
    run->sent_bytes += bytes.len;
    if (bytes.len > 0 && !run->is_cancelled)
        run->sink->on_data(run->user, bytes);
}

/* ---- when a fault strikes ---- */

static bool strikes_at_a_point(sbx_sim_effect effect)
{
    switch (effect) {
    case SBX_SIM_HANG:
    case SBX_SIM_RESET:
    case SBX_SIM_CUT:
    case SBX_SIM_GARBAGE:
    case SBX_SIM_CRASH:
    case SBX_SIM_ERROR_EVENT:
        return true;
    case SBX_SIM_ANSWER:
    case SBX_SIM_NO_DONE:
    case SBX_SIM_NO_FINISH:
    case SBX_SIM_ROLE_ONLY:
    case SBX_SIM_COMMENTS:
    case SBX_SIM_SLOW:
        return false;
    }
    return false;
}

static bool strikes_before_head(const sbx_sim_run *run)
{
    const sbx_sim_order *order = &run->order;
    const sbx_sim_fault_row *row = sbx_sim_fault_row_of(order->fault);
    return strikes_at_a_point(row->effect) && row->before_head && order->after_bytes < 0 &&
           order->after_tokens < 0;
}

/* Where in the answer the fault strikes; whole_bytes: of a buffered answer, 0 for a stream. */
static void set_break(sbx_sim_run *run, size_t whole_bytes)
{
    const sbx_sim_order *order = &run->order;
    if (!run->has_fault || !strikes_at_a_point(sbx_sim_fault_row_of(order->fault)->effect))
        return;
    if (order->after_bytes >= 0)
        run->break_bytes = order->after_bytes;
    else if (whole_bytes > 0)
        run->break_bytes = (int64_t)(whole_bytes / 2);
    else
        run->break_tokens = order->after_tokens >= 0 ? order->after_tokens : 1;
}

/* ---- states ---- */

typedef sbx_sim_state state_fn(sbx_sim_run *run, sbx_time_ns now);

static sbx_sim_state make_plan(sbx_sim_run *run)
{
    sbx_err err = sbx_sim_plan_make(&run->engine->options, &run->request, &run->plan);
    run->meta.finish_reason = run->plan.finish_reason;
    return err == SBX_OK ? SBX_SIM_OPENING : SBX_SIM_OVER;
}

/* The run has its place: when will there be what? */
static sbx_sim_state admitted(sbx_sim_run *run, sbx_time_ns now)
{
    run->due = now;
    if (is_generation(run) && make_plan(run) == SBX_SIM_OVER)
        return answer_no_memory(run);
    if (is_generation(run) && run->request.stream)
        return SBX_SIM_OPENING;
    run->due += first_wait(run);
    for (uint32_t i = 1; i < run->plan.tokens; i++)
        run->due += token_wait(run);
    return SBX_SIM_WHOLE;
}

static sbx_sim_state refuse(sbx_sim_run *run)
{
    if (run->refusal == SBX_E_NOMEM)
        return answer_no_memory(run);
    return answer_error(run, 400, run->why.text, /* param= */ NULL, /* code= */ NULL);
}

static sbx_sim_state hold_place(sbx_sim_run *run, sbx_time_ns now)
{
    if (sbx_sim_place_take(run))
        return admitted(run, now);
    if (!sbx_sim_place_wait(run))
        return answer_row(run, SBX_SIM_FAULT_BUSY);
    run->due = sbx_time_add(now, SBX_MS(run->engine->options.max_wait_ms));
    return SBX_SIM_WAITING;
}

static sbx_sim_state begin(sbx_sim_run *run, sbx_time_ns now)
{
    const sbx_sim_engine *engine = run->engine;
    if (has_effect(run, SBX_SIM_ANSWER))
        return answer_row(run, run->order.fault);
    if (run->has_fault && strikes_before_head(run)) {
        (void)sbx_sim_place_take(run); /* a request that hangs keeps others out */
        return strike(run);
    }
    if (engine->is_loading)
        return answer_row(run, SBX_SIM_FAULT_LOADING);
    if (run->refusal != SBX_OK)
        return refuse(run);
    if (!sbx_sim_engine_serves(engine, run->request.model))
        return answer_error(run, 404, "The model does not exist", "model", "model_not_found");
    if (run->request.prompt_tokens >= engine->options.max_context)
        return answer_row(run, SBX_SIM_FAULT_CONTEXT_LENGTH);
    return hold_place(run, now);
}

static sbx_sim_state waiting(sbx_sim_run *run, sbx_time_ns now)
{
    if (run->has_place)
        return admitted(run, now);
    if (now < run->due)
        return SBX_SIM_WAITING;
    return answer_row(run, SBX_SIM_FAULT_BUSY);
}

static sbx_sim_state opening(sbx_sim_run *run, sbx_time_ns now)
{
    set_break(run, /* whole_bytes= */ 0);
    send_head(run, stream_type);
    sbx_buf_clear(&run->out);
    sbx_sim_write_role(&run->meta, &run->out);
    send_out(run);
    if (struck(run))
        return strike(run);
    run->due = sbx_time_add(now, first_wait(run));
    if (has_effect(run, SBX_SIM_ROLE_ONLY) || has_effect(run, SBX_SIM_COMMENTS))
        return SBX_SIM_NOISE;
    return SBX_SIM_TOKENS;
}

static sbx_sim_state finish_stream(sbx_sim_run *run)
{
    sbx_buf_clear(&run->out);
    run->meta.completion_tokens = run->plan.tokens;
    if (!has_effect(run, SBX_SIM_NO_FINISH)) {
        sbx_sim_write_finish(&run->meta, &run->out);
        sbx_sim_write_usage(&run->meta, &run->out);
    }
    if (!has_effect(run, SBX_SIM_NO_FINISH) && !has_effect(run, SBX_SIM_NO_DONE))
        sbx_sim_write_done(&run->out);
    send_out(run);
    if (run->is_cancelled)
        return over(run);
    if (struck(run))
        return strike(run);
    sbx_sim_state next = over(run);
    run->sink->on_end(run->user);
    return next;
}

static sbx_sim_state tokens(sbx_sim_run *run, sbx_time_ns now)
{
    (void)now;
    if (run->sent_tokens == run->plan.tokens)
        return finish_stream(run);
    sbx_buf_clear(&run->out);
    run->meta.completion_tokens = run->sent_tokens;
    sbx_sim_write_token(&run->meta, sbx_sim_plan_token(&run->plan, run->sent_tokens), &run->out);
    send_out(run);
    run->sent_tokens++;
    if (struck(run))
        return strike(run);
    /* The end comes with the last token. */
    if (run->sent_tokens < run->plan.tokens)
        run->due = sbx_time_add(run->due, token_wait(run));
    return SBX_SIM_TOKENS;
}

static sbx_sim_state noise(sbx_sim_run *run, sbx_time_ns now)
{
    sbx_buf_clear(&run->out);
    if (has_effect(run, SBX_SIM_COMMENTS))
        sbx_buf_append_cstr(&run->out, ": keep-alive\n\n");
    else
        sbx_sim_write_role(&run->meta, &run->out);
    send_out(run);
    run->due = sbx_time_add(now, SBX_MS(NOISE_INTERVAL_MS));
    return SBX_SIM_NOISE;
}

static sbx_err write_generation(sbx_sim_run *run)
{
    sbx_buf text;
    sbx_buf_init(&text, SIZE_MAX);
    for (uint32_t i = 0; i < run->plan.tokens; i++)
        sbx_buf_append_view(&text, sbx_sim_plan_token(&run->plan, i));
    run->meta.completion_tokens = run->sent_tokens = run->plan.tokens;
    sbx_err err = sbx_buf_error(&text);
    if (err == SBX_OK)
        sbx_sim_write_whole(&run->meta, sbx_buf_view(&text), &run->out);
    sbx_buf_deinit(&text);
    return err == SBX_OK ? sbx_buf_error(&run->out) : err;
}

static sbx_err write_body(sbx_sim_run *run)
{
    sbx_buf_clear(&run->out);
    switch (run->request.kind) {
    case SBX_SIM_CHAT:
    case SBX_SIM_COMPLETION:
        return write_generation(run);
    case SBX_SIM_EMBEDDINGS:
        sbx_sim_write_embeddings(&run->request, &run->out);
        return sbx_buf_error(&run->out);
    case SBX_SIM_RERANK:
        return sbx_sim_write_rerank(&run->request, &run->arena, &run->out);
    }
    return SBX_E_INTERNAL;
}

/* A whole answer that a fault breaks off goes out piece by piece. */
static sbx_sim_state whole(sbx_sim_run *run, sbx_time_ns now)
{
    (void)now;
    if (write_body(run) != SBX_OK)
        return answer_no_memory(run);
    if (has_effect(run, SBX_SIM_ERROR_EVENT))
        return answer_row(run, SBX_SIM_FAULT_ERROR_500);
    if (has_effect(run, SBX_SIM_ROLE_ONLY) || has_effect(run, SBX_SIM_COMMENTS)) {
        run->due = SBX_TIME_NEVER;
        return SBX_SIM_HUNG;
    }
    set_break(run, sbx_buf_view(&run->out).len);
    if (run->break_bytes < 0 || (uint64_t)run->break_bytes > sbx_buf_view(&run->out).len) {
        sbx_sim_head head = {.status = 200, .content_type = json_type, .retry_after_s = -1};
        return answer_whole(run, &head, sbx_buf_view(&run->out));
    }
    send_head(run, json_type);
    send_out(run);
    return strike(run);
}

static state_fn *const states[SBX_SIM_STATE_COUNT] = {
    [SBX_SIM_BEGIN] = begin,   [SBX_SIM_WAITING] = waiting, [SBX_SIM_OPENING] = opening,
    [SBX_SIM_TOKENS] = tokens, [SBX_SIM_WHOLE] = whole,     [SBX_SIM_NOISE] = noise,
};

/* ---- life ---- */

static void free_run(sbx_sim_run *run)
{
    sbx_sim_place_leave(run);
    sbx_buf_deinit(&run->out);
    sbx_arena_deinit(&run->arena);
    free(run);
}

static bool is_due(const sbx_sim_run *run, sbx_time_ns now)
{
    if (run->is_cancelled || run->is_paused || states[run->state] == NULL)
        return false;
    return run->due <= now || (run->state == SBX_SIM_WAITING && run->has_place);
}

void sbx_sim_run_step(sbx_sim_run *run, sbx_time_ns now)
{
    assert(!run->is_stepping);
    run->is_stepping = true;
    while (is_due(run, now))
        run->state = states[run->state](run, now);
    run->is_stepping = false;
    if (run->is_cancelled || run->state == SBX_SIM_OVER)
        free_run(run);
    else if (!run->is_paused && run->due != SBX_TIME_NEVER)
        run->sink->arm(run->user, run->due);
}

void sbx_sim_run_cancel(sbx_sim_run *run)
{
    if (run == NULL)
        return;
    run->is_cancelled = true;
    if (!run->is_stepping)
        free_run(run);
}

void sbx_sim_run_pause(sbx_sim_run *run)
{
    run->is_paused = true;
}

void sbx_sim_run_resume(sbx_sim_run *run)
{
    if (!run->is_paused)
        return;
    run->is_paused = false;
    if (!run->is_stepping && run->due != SBX_TIME_NEVER)
        run->sink->arm(run->user, run->due);
}

static const char *id_prefix(sbx_sim_kind kind)
{
    return kind == SBX_SIM_COMPLETION ? "cmpl" : "chatcmpl";
}

static void set_meta(sbx_sim_run *run, sbx_time_ns now)
{
    uint64_t number = run->engine->total;
    uint64_t hash = sbx_sim_hash_add(run->request.key, sbx_view_of(&number, sizeof(number)));
    run->meta.request = &run->request;
    run->meta.created = MADE_UP_EPOCH_S + now / SBX_SEC(1);
    snprintf(run->meta.id, sizeof(run->meta.id), "%s-%016llx", id_prefix(run->request.kind),
             (unsigned long long)hash);
    sbx_rng_seed(&run->jitter, hash);
}

static void read_request(sbx_sim_run *run, sbx_view path, sbx_view body)
{
    sbx_sim_kind kind;
    if (!sbx_sim_kind_of_path(path, &kind)) {
        run->refusal = sbx_errinfo_set(&run->why, SBX_E_INVALID, 0, "there is no such endpoint");
        return;
    }
    run->refusal =
        sbx_sim_request_parse(&run->arena, kind, body, run->engine->options.seed, &run->request, &run->why);
}

sbx_err sbx_sim_engine_start(sbx_sim_engine *engine, sbx_view path, sbx_view body, const sbx_sim_sink *sink,
                             void *user, sbx_time_ns now, sbx_sim_run **ret_run)
{
    sbx_sim_run *run = calloc(1, sizeof(*run));
    if (run == NULL)
        return SBX_E_NOMEM;
    *run = (sbx_sim_run){.engine = engine, .sink = sink, .user = user, .break_bytes = -1, .break_tokens = -1};
    sbx_arena_init(&run->arena, SIZE_MAX); /* the owner has capped the body */
    sbx_buf_init(&run->out, SIZE_MAX);
    engine->total++;
    read_request(run, path, body);
    set_meta(run, now);
    run->has_fault =
        sbx_sim_faults_draw(&engine->faults, path, /* is_inference= */ true, &engine->rng, &run->order);
    run->due = sbx_time_add(now, run->has_fault ? SBX_MS(run->order.delay_ms) : 0);
    *ret_run = run;
    sink->arm(user, run->due);
    return SBX_OK;
}

sbx_sim_run_stats sbx_sim_run_stats_of(const sbx_sim_run *run)
{
    return (sbx_sim_run_stats){
        .body_bytes = run->sent_bytes,
        .tokens = run->sent_tokens,
        .fault = run->has_fault ? sbx_sim_fault_row_of(run->order.fault)->name : NULL,
    };
}
