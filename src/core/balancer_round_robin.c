/* round_robin: one after the other, whatever their load. */
#include "core/balancer.h"

static sbx_worker *pick_next(sbx_pick *pick)
{
    sbx_model *model = pick->model;
    for (uint32_t i = 0; i < model->count; i++) {
        uint32_t position = (model->cursor + i) % model->count;
        const sbx_candidate *candidate = sbx_model_candidate(pick->registry, model, position);
        if (sbx_pick_factor(pick, candidate->worker) == 0)
            continue;
        pick->eligible++;
        model->cursor = position; /* it moves on when the attempt starts */
        return &pick->registry->workers[candidate->worker];
    }
    return NULL;
}

const sbx_balancer sbx_balancer_round_robin = {.name = "round_robin", .pick = pick_next};
