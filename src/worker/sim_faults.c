/* See sim_faults.h. */
#include "worker/sim_faults.h"

#include <assert.h>

enum {
    BEFORE = true,
    MIDDLE = false
};

static const sbx_sim_fault_row rows[] = {
#define SBX_SIM_FAULT(symbol, wire_name, what, moment, http_status, retry_after, answer, says)               \
    [SBX_SIM_FAULT_##symbol] = {.name = wire_name,                                                           \
                                .effect = SBX_SIM_##what,                                                    \
                                .before_head = moment,                                                       \
                                .status = http_status,                                                       \
                                .retry_after_s = retry_after,                                                \
                                .body = SBX_VIEW_INIT(answer),                                               \
                                .text = says},
#include "worker/sim_faults.def"
#undef SBX_SIM_FAULT
};

const sbx_sim_fault_row *sbx_sim_fault_row_of(sbx_sim_fault fault)
{
    assert(fault >= 0 && fault < SBX_SIM_FAULT_COUNT);
    return &rows[fault];
}

sbx_err sbx_sim_fault_by_name(sbx_view name, sbx_sim_fault *ret_fault)
{
    for (int i = 0; i < SBX_SIM_FAULT_COUNT; i++) {
        if (!sbx_view_eq_cstr(name, rows[i].name))
            continue;
        *ret_fault = (sbx_sim_fault)i;
        return SBX_OK;
    }
    return SBX_E_NOT_FOUND;
}

sbx_sim_order sbx_sim_order_of(sbx_sim_fault fault)
{
    return (sbx_sim_order){
        .fault = fault,
        .after_bytes = -1,
        .after_tokens = -1,
        .count = -1,
        .probability_pct = 100,
        .factor = 10,
    };
}

void sbx_sim_faults_clear(sbx_sim_faults *faults)
{
    faults->count = 0;
}

sbx_err sbx_sim_faults_add(sbx_sim_faults *faults, const sbx_sim_order *order)
{
    if (faults->count == SBX_SIM_ORDERS_MAX)
        return SBX_E_CAP;
    faults->orders[faults->count++] = *order;
    return SBX_OK;
}

static void remove_at(sbx_sim_faults *faults, size_t index)
{
    faults->count--;
    memmove(&faults->orders[index], &faults->orders[index + 1],
            (faults->count - index) * sizeof(faults->orders[0]));
}

static bool concerns(const sbx_sim_order *order, sbx_view path, bool is_inference)
{
    return order->path[0] == '\0' ? is_inference : sbx_view_eq_cstr(path, order->path);
}

/* Whether this order takes the request; counts down what it has to count. */
static bool takes(sbx_sim_order *order, sbx_rng *rng)
{
    if (order->count == 0)
        return false;
    if (order->skip > 0) {
        order->skip--;
        return false;
    }
    if (order->probability_pct < 100 && sbx_rng_below(rng, 100) >= order->probability_pct)
        return false;
    if (order->count > 0)
        order->count--;
    return true;
}

bool sbx_sim_faults_draw(sbx_sim_faults *faults, sbx_view path, bool is_inference, sbx_rng *rng,
                         sbx_sim_order *ret_order)
{
    for (size_t i = 0; i < faults->count; i++) {
        sbx_sim_order *order = &faults->orders[i];
        if (!concerns(order, path, is_inference) || !takes(order, rng))
            continue;
        *ret_order = *order;
        if (order->count == 0)
            remove_at(faults, i);
        return true;
    }
    return false;
}

static void write_order(const sbx_sim_order *order, sbx_buf *out)
{
    sbx_buf_appendf(out, "{\"fault\":\"%s\",\"after_bytes\":%lld,\"after_tokens\":%lld,\"count\":%lld,",
                    rows[order->fault].name, (long long)order->after_bytes, (long long)order->after_tokens,
                    (long long)order->count);
    sbx_buf_appendf(out, "\"skip\":%lld,\"probability_pct\":%u,\"delay_ms\":%u,\"factor\":%u,\"path\":",
                    (long long)order->skip, order->probability_pct, order->delay_ms, order->factor);
    sbx_buf_append_json(out, sbx_view_cstr(order->path));
    sbx_buf_append_byte(out, '}');
}

void sbx_sim_faults_write(const sbx_sim_faults *faults, sbx_buf *out)
{
    sbx_buf_append_byte(out, '[');
    for (size_t i = 0; i < faults->count; i++) {
        if (i > 0)
            sbx_buf_append_byte(out, ',');
        write_order(&faults->orders[i], out);
    }
    sbx_buf_append_byte(out, ']');
}
