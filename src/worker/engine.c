/* From a configured engine to its adapter. */
#include "worker/engine.h"

sbx_err sbx_engine_new(sbx_loop *loop, const sbx_config_engine *config, sbx_engine **ret_engine)
{
    switch (config->kind) {
    case SBX_CONFIG_ENGINE_OPENAI:
        return sbx_engine_openai_new(loop, config, ret_engine);
    case SBX_CONFIG_ENGINE_SIMULATED:
        return sbx_engine_simulated_new(loop, config, ret_engine);
    }
    return SBX_E_INVALID;
}
