/* See local_engines.h. */
#include "app/local_engines.h"

#include <stdio.h>

#include "app/discover.h"

static sbx_config_engine engine_at(const sbx_url *url)
{
    return (sbx_config_engine){
        .kind = SBX_CONFIG_ENGINE_OPENAI,
        .url = *url,
        .max_concurrent = 16,
        .stream_usage = SBX_CONFIG_STREAM_USAGE_AUTO,
    };
}

static void say(const sbx_address *address, sbx_finding finding, size_t model_count)
{
    switch (finding) {
    case SBX_FOUND_NOTHING:
        return;
    case SBX_FOUND_NO_MODELS:
        printf("%s at %s answers, but has no model: left out\n", address->name, address->url.text);
        return;
    case SBX_FOUND_ENGINE:
        printf("found %s at %s with %zu model%s\n", address->name, address->url.text, model_count,
               model_count == 1 ? "" : "s");
        return;
    }
}

sbx_err sbx_local_engines_find(sbx_loop *loop, sbx_arena *arena, sbx_local_engines *ret_engines)
{
    sbx_address addresses[SBX_DISCOVER_MAX];
    sbx_discovery discovery;
    size_t count = sbx_discover_addresses(arena, NULL, 0, addresses);
    if (count == SIZE_MAX)
        return SBX_E_NOMEM;
    sbx_config_engine *engines = SBX_ARENA_ARRAY(arena, sbx_config_engine, count);
    sbx_err err = engines == NULL ? SBX_E_NOMEM : sbx_discover(loop, addresses, count, &discovery);
    if (err != SBX_OK)
        return err;
    *ret_engines = (sbx_local_engines){.items = engines};
    for (size_t i = 0; i < count; i++) {
        say(&addresses[i], discovery.findings[i], discovery.model_counts[i]);
        if (discovery.findings[i] == SBX_FOUND_ENGINE)
            engines[ret_engines->count++] = engine_at(&addresses[i].url);
    }
    fflush(stdout);
    return SBX_OK;
}

enum {
    SIMULATED_COUNT = 2
};

static sbx_err simulate(sbx_arena *arena, sbx_local_engines *ret_engines)
{
    static const char *const models[] = {"simulated"};
    sbx_config_engine *engines = SBX_ARENA_ARRAY(arena, sbx_config_engine, SIMULATED_COUNT);
    if (engines == NULL)
        return SBX_E_NOMEM;
    for (size_t i = 0; i < SIMULATED_COUNT; i++) {
        engines[i] = (sbx_config_engine){
            .kind = SBX_CONFIG_ENGINE_SIMULATED,
            .models = {.items = models, .count = 1},
            .max_concurrent = 16,
            .resume = SBX_CONFIG_RESUME_PREFILL,
            .stream_usage = SBX_CONFIG_STREAM_USAGE_AUTO,
            .simulated = {.first_token_ms = 50, .tokens_per_second = 50, .seed = 1},
        };
    }
    *ret_engines = (sbx_local_engines){.items = engines, .count = SIMULATED_COUNT, .is_simulated = true};
    printf("no engine answers on this machine: starting two workers with the simulated engine, its text is "
           "made up\n");
    fflush(stdout);
    return SBX_OK;
}

sbx_err sbx_local_engines_choose(sbx_loop *loop, const sbx_config *config, sbx_arena *arena,
                                 sbx_local_engines *ret_engines)
{
    const sbx_config_engines *configured = &config->cluster.worker.engines;
    *ret_engines = (sbx_local_engines){.items = configured->items, .count = configured->count};
    if (configured->count > 0 || config->backends.count > 0 || config->cluster.static_workers.count > 0)
        return SBX_OK;
    sbx_err err = sbx_local_engines_find(loop, arena, ret_engines);
    if (err == SBX_OK && ret_engines->count == 0)
        err = simulate(arena, ret_engines);
    return err;
}
