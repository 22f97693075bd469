/* Questions to a finished configuration. */
#include "config/config.h"

#include <string.h>

static void overlay(uint32_t *general, uint32_t own)
{
    if (own != 0)
        *general = own;
}

sbx_config_limits sbx_config_limits_of(const sbx_config *config, const char *model)
{
    const sbx_config_model_limits_list *models = &config->cluster.routing.models;
    sbx_config_limits limits = config->cluster.routing.limits;
    for (size_t i = 0; model != NULL && i < models->count; i++) {
        if (strcmp(models->items[i].model, model) != 0)
            continue;
        overlay(&limits.timeout_ms, models->items[i].limits.timeout_ms);
        overlay(&limits.streaming_timeout_ms, models->items[i].limits.streaming_timeout_ms);
        overlay(&limits.stream_idle_timeout_ms, models->items[i].limits.stream_idle_timeout_ms);
    }
    return limits;
}

const sbx_config_helper *sbx_config_helper_of(const sbx_config *config, sbx_config_helper_role role)
{
    for (size_t i = 0; i < config->helpers.count; i++)
        if (config->helpers.items[i].role == role)
            return &config->helpers.items[i];
    return NULL;
}
