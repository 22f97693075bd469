/* A new configuration's backends: what is as it was stays, what changed starts fresh, what is not wanted any
 * more goes. Old ones are kept until their last call is over, since calls refer to their peers. */
#include <stdlib.h>

#include "shell/backend.h"

#define RETIRE_POLL SBX_MS(200)

/* ---- what makes two equal ---- */

static void write_peer(sbx_buf *text, const sbx_http_peer_options *peer)
{
    sbx_buf_appendf(text, "%s %u %d %s %s %u %lld;", peer->host, (unsigned)peer->port, peer->tls,
                    peer->path_prefix == NULL ? "" : peer->path_prefix,
                    peer->api_key == NULL ? "" : peer->api_key, peer->max_concurrent,
                    (long long)peer->connect_timeout_ns);
}

static void write_breaker(sbx_buf *text, const sbx_breaker_policy *breaker)
{
    sbx_buf_appendf(text, "%u %u %lld;", breaker->failure_threshold, breaker->success_threshold,
                    (long long)breaker->timeout_ns);
}

uint64_t sbx_backend_fingerprint(const sbx_shell *shell, const sbx_backend_options *options)
{
    sbx_buf text;
    sbx_buf_init(&text, SIZE_MAX);
    write_peer(&text, &options->peer);
    sbx_buf_appendf(&text, "%u %d %s %lld %d %u %u %llu %d %lld;", options->weight, options->asks_for_usage,
                    options->health_path, (long long)options->health_interval_ns, (int)options->health_expect,
                    options->health_rise, options->health_fall, (unsigned long long)options->context_length,
                    (int)options->helper, (long long)options->attempt_ns);
    sbx_buf_append_view(&text, options->helper_tier);
    for (size_t i = 0; i < options->model_count; i++) {
        sbx_buf_append_byte(&text, 0);
        sbx_buf_append_view(&text, options->models[i]);
    }
    if (options->breaker != NULL)
        write_breaker(&text, options->breaker);
    sbx_view all = sbx_buf_view(&text);
    uint64_t fingerprint = sbx_siphash(shell->hash_key, all.data, all.len);
    sbx_buf_deinit(&text);
    return fingerprint;
}

/* ---- leaving ---- */

void sbx_backend_retire(sbx_backend *backend)
{
    sbx_shell *shell = backend->shell;
    backend->is_retired = true;
    sbx_timer_stop(&backend->timer);
    sbx_list_remove(&backend->node);
    sbx_list_push_back(&shell->retired, &backend->node);
    sbx_timer_start(&shell->retire_timer, sbx_time_add(sbx_shell_now(shell), RETIRE_POLL));
}

static bool is_in_use(const sbx_shell *shell, const sbx_backend *backend)
{
    SBX_LIST_EACH(node, &shell->jobs)
    {
        const sbx_job *job = SBX_CONTAINER_OF(node, sbx_job, node);
        if (job->attempt.call != NULL && job->attempt.peer == backend->peer)
            return true;
    }
    return false;
}

static const sbx_worker *worker_of(const sbx_backend *backend)
{
    return sbx_registry_find(sbx_router_registry(backend->shell->router), sbx_view_cstr(backend->id));
}

/* Nobody took its place: the registry forgets it. */
static void say_goodbye(const sbx_backend *backend)
{
    sbx_shell *shell = backend->shell;
    const sbx_worker *worker = worker_of(backend);
    if (worker == NULL)
        return;
    sbx_worker_info info = sbx_worker_describe(worker, sbx_shell_now(shell));
    if (info.peer == backend->peer)
        sbx_shell_step(shell, &(sbx_event){.kind = SBX_EVENT_WORKER_GONE, .worker = info.ref});
}

void sbx_backend_on_retire_timer(sbx_timer *timer, void *user)
{
    sbx_shell *shell = user;
    SBX_LIST_EACH(node, &shell->retired)
    {
        sbx_backend *backend = SBX_CONTAINER_OF(node, sbx_backend, node);
        if (is_in_use(shell, backend))
            continue;
        say_goodbye(backend);
        sbx_backend_free(backend);
    }
    if (!sbx_list_is_empty(&shell->retired))
        sbx_timer_start(timer, sbx_time_add(sbx_shell_now(shell), RETIRE_POLL));
}

/* ---- an update ---- */

void sbx_shell_begin_update(sbx_shell *shell)
{
    shell->is_updating = true;
    shell->update = (sbx_backend_update){0};
    SBX_LIST_EACH(node, &shell->backends)
    {
        SBX_CONTAINER_OF(node, sbx_backend, node)->is_wanted = false;
    }
}

static void drain(const sbx_backend *backend)
{
    const sbx_worker *worker = worker_of(backend);
    if (worker == NULL)
        return;
    sbx_worker_ref ref = sbx_worker_describe(worker, sbx_shell_now(backend->shell)).ref;
    sbx_shell_step(backend->shell, &(sbx_event){.kind = SBX_EVENT_WORKER_ADMIN,
                                                .admin = {.worker = ref, .command = SBX_COMMAND_DRAIN}});
}

sbx_backend_update sbx_shell_end_update(sbx_shell *shell)
{
    SBX_LIST_EACH(node, &shell->backends)
    {
        sbx_backend *backend = SBX_CONTAINER_OF(node, sbx_backend, node);
        if (backend->is_wanted)
            continue;
        shell->update.removed++;
        drain(backend);
        sbx_backend_retire(backend);
    }
    shell->is_updating = false;
    return shell->update;
}

sbx_err sbx_shell_use_policy(sbx_shell *shell, const sbx_policy *policy)
{
    sbx_err err = sbx_router_set_policy(shell->router, policy);
    if (err == SBX_OK) /* some that wait may be served now, or have nothing to wait for */
        sbx_shell_step(shell, &(sbx_event){.kind = SBX_EVENT_TICK});
    return err;
}
