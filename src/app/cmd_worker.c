/* signalbox worker: from its arguments to a configuration of mode worker. */
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "app/settings.h"
#include "app/worker_process.h"
#include "base/buf.h"

enum {
    ENGINES_MAX = 32
};

typedef struct worker_flags {
    sbx_settings settings;
    const char *engines[ENGINES_MAX]; /* URLs, or "simulated" */
    size_t engine_count;
    const char *models; /* ID[,ID...] of every engine named here; NULL: asked from it */
    const char *max_concurrent;
} worker_flags;

/* nats://TOKEN@HOST:PORT, as `up` prints it: the token must not stay in the URL, which is logged. */
static bool take_join(worker_flags *flags, const char *text)
{
    static const char *const schemes[] = {"nats://", "tls://"};
    const char *rest = NULL;
    size_t scheme = 0;
    for (; scheme < 2 && rest == NULL; scheme++) {
        if (strncmp(text, schemes[scheme], strlen(schemes[scheme])) == 0)
            rest = text + strlen(schemes[scheme]);
    }
    if (rest == NULL || *rest == '\0') {
        fprintf(stderr, "signalbox worker: --join: found \"%s\", expected nats://TOKEN@HOST:PORT\n", text);
        return false;
    }
    const char *at = strchr(rest, '@');
    char *url = sbx_arena_alloc(&flags->settings.arena, strlen(text) + 1);
    char *token = NULL;
    if (url == NULL)
        return false;
    sprintf(url, "%s%s", schemes[scheme - 1], at == NULL ? rest : at + 1);
    if (at != NULL &&
        sbx_arena_dup_cstr(&flags->settings.arena, sbx_view_of(rest, (size_t)(at - rest)), &token) != SBX_OK)
        return false;
    sbx_settings_override(&flags->settings, "cluster.nats.mode", "external", "--join");
    sbx_settings_override(&flags->settings, "cluster.nats.serverUrl", url, "--join");
    if (token != NULL)
        sbx_settings_override(&flags->settings, "cluster.nats.token", token, "--join");
    return true;
}

static bool take_engine(worker_flags *flags, const char *text)
{
    if (flags->engine_count == ENGINES_MAX) {
        fprintf(stderr, "signalbox worker: --engine: more than %d\n", ENGINES_MAX);
        return false;
    }
    flags->engines[flags->engine_count++] = text;
    return true;
}

static bool take_flag(worker_flags *flags, int argc, char **argv, int *index)
{
    const char *flag = argv[*index];
    bool is_bad = false;
    if (sbx_settings_take_flag(&flags->settings, argc, argv, index, &is_bad))
        return !is_bad;
    const char *known[] = {"--join", "--engine", "--model", "--id", "--max-concurrent"};
    size_t which = 0;
    while (which < 5 && strcmp(flag, known[which]) != 0)
        which++;
    if (which == 5) {
        fprintf(stderr, "signalbox worker: unexpected \"%s\"\n", flag);
        return false;
    }
    const char *value = sbx_settings_argument(argc, argv, index);
    if (value == NULL)
        return false;
    if (which == 0)
        return take_join(flags, value);
    if (which == 1)
        return take_engine(flags, value);
    if (which == 2)
        flags->models = value;
    else if (which == 3)
        sbx_settings_override(&flags->settings, "cluster.worker.workerId", value, flag);
    else
        flags->max_concurrent = value;
    return true;
}

/* ---- the engines named by flags, as the configuration's list ---- */

static void write_models(sbx_buf *buf, const char *models)
{
    sbx_view rest = sbx_view_cstr(models);
    sbx_buf_append_cstr(buf, ",\"models\":[");
    for (bool is_first = true; rest.len > 0; is_first = false) {
        size_t comma = sbx_view_find(rest, ',', 0);
        sbx_buf_append_cstr(buf, is_first ? "" : ",");
        sbx_buf_append_json(buf, sbx_view_slice(rest, 0, comma));
        rest = comma == SIZE_MAX ? (sbx_view){0} : sbx_view_skip(rest, comma + 1);
    }
    sbx_buf_append_cstr(buf, "]");
}

static void write_engine(sbx_buf *buf, const worker_flags *flags, size_t index)
{
    const char *engine = flags->engines[index];
    sbx_buf_append_cstr(buf, index == 0 ? "[" : ",");
    if (strcmp(engine, "simulated") == 0) {
        sbx_buf_append_cstr(buf, "{\"kind\":\"simulated\"");
    } else {
        sbx_buf_append_cstr(buf, "{\"kind\":\"openai\",\"url\":");
        sbx_buf_append_json(buf, sbx_view_cstr(engine));
    }
    if (flags->models != NULL)
        write_models(buf, flags->models);
    if (flags->max_concurrent != NULL)
        sbx_buf_appendf(buf, ",\"maxConcurrent\":%s", flags->max_concurrent);
    sbx_buf_append_cstr(buf, "}");
}

static bool add_engines(worker_flags *flags)
{
    sbx_buf buf;
    char *text = NULL;
    if (flags->engine_count == 0)
        return true;
    sbx_buf_init(&buf, 1 << 20);
    for (size_t i = 0; i < flags->engine_count; i++)
        write_engine(&buf, flags, i);
    sbx_buf_append_cstr(&buf, "]");
    bool is_well = sbx_buf_error(&buf) == SBX_OK &&
                   sbx_arena_dup_cstr(&flags->settings.arena, sbx_buf_view(&buf), &text) == SBX_OK;
    sbx_buf_deinit(&buf);
    if (is_well)
        sbx_settings_override(&flags->settings, "cluster.worker.engines", text, "--engine");
    return is_well;
}

/* ---- the command ---- */

static int run(worker_flags *flags)
{
    sbx_config *config = NULL;
    int code = sbx_settings_load(&flags->settings, &config);
    if (code != 0)
        return code;
    if (config->cluster.nats.server_url == NULL) {
        fprintf(stderr,
                "signalbox worker: no bus: give --join nats://TOKEN@HOST:PORT, or cluster.nats.serverUrl\n");
        code = 2;
    } else {
        code = sbx_worker_process_run(config);
    }
    sbx_config_free(config);
    return code;
}

int sbx_cmd_worker(int argc, char **argv)
{
    worker_flags flags = {.engine_count = 0};
    bool is_well = true;
    sbx_settings_init(&flags.settings);
    for (int i = 1; i < argc && is_well; i++)
        is_well = take_flag(&flags, argc, argv, &i);
    is_well = is_well && add_engines(&flags);
    int code = is_well ? run(&flags) : 2;
    sbx_settings_deinit(&flags.settings);
    return code;
}
