/* How much text a request gets, and where it ends: the natural end, a limit, or a stop sequence. */
#include "worker/sim_engine_priv.h"

static uint64_t natural_tokens(const sbx_sim_options *options, const sbx_sim_request *request,
                               const sbx_sim_position *from)
{
    uint64_t length = options->answer_tokens > 0 ? options->answer_tokens : sbx_sim_text_length(from->key);
    uint64_t left = length > from->index ? length - from->index : 0;
    return left > (uint64_t)request->min_tokens ? left : (uint64_t)request->min_tokens;
}

static uint64_t allowed_tokens(const sbx_sim_options *options, const sbx_sim_request *request)
{
    uint64_t context =
        options->max_context > request->prompt_tokens ? options->max_context - request->prompt_tokens : 0;
    if (request->max_tokens >= 0 && (uint64_t)request->max_tokens < context)
        return (uint64_t)request->max_tokens;
    return context;
}

sbx_view sbx_sim_plan_token(const sbx_sim_plan *plan, uint32_t made)
{
    sbx_view token = sbx_sim_token(plan->from.key, plan->from.index + made);
    if (made + 1 == plan->tokens)
        token = sbx_view_slice(token, 0, plan->last_bytes);
    return made == 0 ? sbx_view_skip(token, plan->from.offset) : token;
}

/* Whether one of the stops begins at that offset of the text. */
static bool stops_at(const sbx_sim_views *stops, sbx_view text, size_t offset)
{
    for (size_t i = 0; i < stops->count; i++) {
        if (sbx_view_starts_with(sbx_view_skip(text, offset), stops->items[i]))
            return true;
    }
    return false;
}

/* Ends the plan so that exactly `bytes` of its text remain. */
static void cut_at(sbx_sim_plan *plan, size_t bytes)
{
    uint32_t made = 0;
    while (bytes > sbx_sim_plan_token(plan, made).len)
        bytes -= sbx_sim_plan_token(plan, made++).len;
    plan->tokens = made + 1;
    plan->last_bytes = bytes + (made == 0 ? plan->from.offset : 0);
    plan->finish_reason = "stop";
}

static void cut_at_stop(sbx_sim_plan *plan, const sbx_sim_views *stops, sbx_view text)
{
    for (size_t offset = 0; offset < text.len; offset++) {
        if (!stops_at(stops, text, offset))
            continue;
        if (offset == 0)
            plan->tokens = 0;
        else
            cut_at(plan, offset);
        plan->finish_reason = "stop";
        return;
    }
}

static sbx_err apply_stops(sbx_sim_plan *plan, const sbx_sim_views *stops)
{
    if (stops->count == 0)
        return SBX_OK;
    sbx_buf text;
    sbx_buf_init(&text, SIZE_MAX);
    for (uint32_t i = 0; i < plan->tokens; i++)
        sbx_buf_append_view(&text, sbx_sim_plan_token(plan, i));
    sbx_err err = sbx_buf_error(&text);
    if (err == SBX_OK)
        cut_at_stop(plan, stops, sbx_buf_view(&text));
    sbx_buf_deinit(&text);
    return err;
}

sbx_err sbx_sim_plan_make(const sbx_sim_options *options, const sbx_sim_request *request,
                          sbx_sim_plan *ret_plan)
{
    sbx_sim_plan plan = {.from = sbx_sim_text_after(request->key, request->prefill),
                         .last_bytes = SIZE_MAX,
                         .finish_reason = request->tool_name.len > 0 ? "tool_calls" : "stop"};
    uint64_t allowed = allowed_tokens(options, request);
    uint64_t wanted = request->ignore_eos ? UINT32_MAX : natural_tokens(options, request, &plan.from);
    plan.tokens = (uint32_t)(wanted < allowed ? wanted : allowed);
    if (wanted > allowed)
        plan.finish_reason = "length";
    sbx_err err = apply_stops(&plan, &request->stops);
    if (err != SBX_OK)
        return err;
    *ret_plan = plan;
    return SBX_OK;
}
