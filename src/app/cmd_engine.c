/* signalbox engine simulated: the simulated engine as an HTTP server. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/settings.h"
#include "app/signals.h"
#include "worker/sim_server.h"

typedef struct engine_flags {
    sbx_sim_server_options options;
    const char *models[SBX_SIM_MODELS_MAX];
    char host[256];
} engine_flags;

static bool take_number(const char *flag, const char *text, uint64_t max, uint64_t *ret_value)
{
    if (sbx_view_to_u64(sbx_view_cstr(text), max, ret_value) == SBX_OK)
        return true;
    fprintf(stderr, "signalbox engine: %s: found \"%s\", expected a number up to %llu\n", flag, text,
            (unsigned long long)max);
    return false;
}

/* HOST:PORT */
static bool take_listen(engine_flags *flags, const char *text)
{
    const char *colon = strrchr(text, ':');
    uint64_t port = 0;
    if (colon == NULL || (size_t)(colon - text) >= sizeof flags->host ||
        !take_number("--listen", colon + 1, UINT16_MAX, &port)) {
        fprintf(stderr, "signalbox engine: --listen: found \"%s\", expected HOST:PORT\n", text);
        return false;
    }
    memcpy(flags->host, text, (size_t)(colon - text));
    flags->host[colon - text] = '\0';
    flags->options.host = flags->host;
    flags->options.port = (uint16_t)port;
    return true;
}

/* ID[,ID...]; may be given more than once. */
static bool take_models(engine_flags *flags, char *text)
{
    char *rest = NULL;
    for (char *id = strtok_r(text, ",", &rest); id != NULL; id = strtok_r(NULL, ",", &rest)) {
        if (flags->options.engine.model_count == SBX_SIM_MODELS_MAX) {
            fprintf(stderr, "signalbox engine: --model: more than %d\n", SBX_SIM_MODELS_MAX);
            return false;
        }
        flags->models[flags->options.engine.model_count++] = id;
    }
    return true;
}

static bool take_u32(engine_flags *flags, const char *flag, const char *text, bool *ret_is_known)
{
    sbx_sim_options *sim = &flags->options.engine;
    const struct {
        const char *flag;
        uint32_t *place;
    } numbers[] = {
        {"--ttft-ms", &sim->ttft_ms},         {"--tps", &sim->tps},
        {"--jitter-pct", &sim->jitter_pct},   {"--capacity", &sim->capacity},
        {"--max-waiting", &sim->max_waiting}, {"--max-wait-ms", &sim->max_wait_ms},
        {"--max-context", &sim->max_context}, {"--answer-tokens", &sim->answer_tokens},
    };
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(flag, numbers[i].flag) != 0)
            continue;
        *ret_is_known = true;
        if (!take_number(flag, text, UINT32_MAX, &value))
            return false;
        *numbers[i].place = (uint32_t)value;
    }
    return true;
}

static bool take_flag(engine_flags *flags, const char *flag, char *value)
{
    bool is_known = false;
    if (strcmp(flag, "--listen") == 0)
        return take_listen(flags, value);
    if (strcmp(flag, "--model") == 0)
        return take_models(flags, value);
    if (strcmp(flag, "--seed") == 0)
        return take_number(flag, value, UINT64_MAX, &flags->options.engine.seed);
    if (strcmp(flag, "--api-key") == 0) {
        flags->options.api_key = value;
        return true;
    }
    if (!take_u32(flags, flag, value, &is_known))
        return false;
    if (!is_known)
        fprintf(stderr, "signalbox engine: unexpected \"%s\"\n", flag);
    return is_known;
}

static bool parse(int argc, char **argv, engine_flags *flags)
{
    if (argc < 2 || strcmp(argv[1], "simulated") != 0) {
        fprintf(stderr, "signalbox engine: expected \"simulated\"\n");
        return false;
    }
    for (int i = 2; i < argc; i++) {
        char *flag = argv[i];
        if (sbx_settings_argument(argc, argv, &i) == NULL || !take_flag(flags, flag, argv[i]))
            return false;
    }
    return true;
}

static void on_signal(void *user, unsigned count)
{
    (void)count;
    sbx_loop_stop(user);
}

static int serve(sbx_loop *loop, const engine_flags *flags)
{
    sbx_sim_server *server = NULL;
    sbx_errinfo info = {.text = ""};
    sbx_err err = sbx_sim_server_new(loop, &flags->options, &server, &info);
    if (err == SBX_OK)
        err = sbx_signals_start(loop, on_signal, loop);
    if (err != SBX_OK) {
        fprintf(stderr, "signalbox engine: %s: %s\n", sbx_err_text(err), info.text);
        return 1;
    }
    printf("listening http://%s:%u\n", flags->host, (unsigned)sbx_sim_server_port(server));
    fflush(stdout);
    sbx_loop_run(loop);
    sbx_signals_stop();
    sbx_sim_server_free(server);
    return 0;
}

int sbx_cmd_engine(int argc, char **argv)
{
    engine_flags flags = {.options = {.port = 0, .engine = sbx_sim_options_default()}, .host = "127.0.0.1"};
    flags.options.host = flags.host;
    flags.options.engine.models = flags.models;
    sbx_loop *loop = NULL;
    if (!parse(argc, argv, &flags))
        return 2;
    if (sbx_loop_new(&loop) != SBX_OK)
        return 1;
    int code = serve(loop, &flags);
    sbx_loop_free(loop);
    return code;
}
