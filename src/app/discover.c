/* See discover.h. */
#include "app/discover.h"

#include <assert.h>
#include <stdio.h>

#include "codec/openai_response.h"
#include "transport/http.h"

#define ASK_TIMEOUT SBX_MS(300)

enum {
    LIST_MAX = 1 << 20 /* bytes of a model list */
};

static const struct {
    const char *name;
    const char *url;
} known[] = {
#define SBX_KNOWN_ENGINE(name, url) {name, url},
#include "app/known_engines.def"
#undef SBX_KNOWN_ENGINE
};

size_t sbx_discover_addresses(sbx_arena *arena, const char *const *urls, size_t url_count,
                              sbx_address ret_addresses[SBX_DISCOVER_MAX])
{
    size_t count = url_count > 0 ? url_count : sizeof known / sizeof known[0];
    const char *why = NULL;
    assert(count <= SBX_DISCOVER_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *text = url_count > 0 ? urls[i] : known[i].url;
        ret_addresses[i].name = url_count > 0 ? "engine" : known[i].name;
        if (sbx_url_parse(arena, sbx_view_cstr(text), &ret_addresses[i].url, &why) != SBX_OK) {
            fprintf(stderr, "signalbox: \"%s\": expected a URL: %s\n", text,
                    why == NULL ? "out of memory" : why);
            return SIZE_MAX;
        }
    }
    return count;
}

/* ---- asking ---- */

typedef struct asking asking;

typedef struct question {
    asking *all;
    size_t index;
    sbx_peer *peer;
} question;

struct asking {
    sbx_loop *loop;
    sbx_discovery *discovery;
    question questions[SBX_DISCOVER_MAX];
    size_t open;
};

static void judge(sbx_discovery *discovery, size_t index, sbx_view body)
{
    const sbx_model_info *models = NULL;
    size_t count = 0;
    sbx_arena memory;
    sbx_errinfo info;
    sbx_arena_init(&memory, LIST_MAX);
    if (sbx_models_parse(body, &memory, &models, &count, &info) == SBX_OK) {
        discovery->findings[index] = count > 0 ? SBX_FOUND_ENGINE : SBX_FOUND_NO_MODELS;
        discovery->model_counts[index] = count;
    }
    sbx_arena_deinit(&memory);
}

static void on_answer(void *user, unsigned status, sbx_view body)
{
    question *q = user;
    if (status == 200)
        judge(q->all->discovery, q->index, body);
    q->all->open--;
    if (q->all->open == 0)
        sbx_loop_stop(q->all->loop);
}

static sbx_err ask(asking *all, size_t index, const sbx_url *url)
{
    question *q = &all->questions[index];
    *q = (question){.all = all, .index = index};
    sbx_http_peer_options options = {
        .host = url->host,
        .port = url->port,
        .tls = url->is_https,
        .path_prefix = url->prefix,
        .max_concurrent = 1,
        .connect_timeout_ns = ASK_TIMEOUT,
    };
    sbx_err err = sbx_http_peer_new(all->loop, &options, &q->peer);
    if (err == SBX_OK)
        err = sbx_http_peer_get(q->peer, "/v1/models", ASK_TIMEOUT, LIST_MAX, on_answer, q);
    if (err == SBX_OK)
        all->open++;
    return err;
}

sbx_err sbx_discover(sbx_loop *loop, const sbx_address *addresses, size_t count, sbx_discovery *ret_discovery)
{
    asking all = {.loop = loop, .discovery = ret_discovery};
    sbx_err err = SBX_OK;
    *ret_discovery = (sbx_discovery){0};
    for (size_t i = 0; i < count && err == SBX_OK; i++)
        err = ask(&all, i, &addresses[i].url);
    if (all.open > 0)
        sbx_loop_run(loop);
    for (size_t i = 0; i < count; i++) {
        if (all.questions[i].peer != NULL)
            all.questions[i].peer->kind->free_peer(all.questions[i].peer);
    }
    return err;
}
