/* Once a second it looks for half_open nats workers, remembers since when each has been quiet, and sends the
 * probe of the quietest. */
#include "shell/idle_probe.h"

#include <stdlib.h>

#include "base/id.h"
#include "shell/shell_priv.h"

#define PACE     SBX_SEC(1)
#define PATIENCE SBX_SEC(5)  /* without an attempt */
#define BUDGET   SBX_SEC(10) /* of one probe */

enum {
    WATCHED_MAX = 32, /* half_open at once; more wait until these are closed */
    ANSWER_MAX = 64 * 1024
};

typedef struct watched {
    sbx_worker_ref ref;
    uint64_t attempts;
    sbx_time_ns quiet_since;
} watched;

struct sbx_idle_probe {
    sbx_shell *shell;
    sbx_timer timer;
    watched watched[WATCHED_MAX];
    size_t count;
    /* The probe that is out; call is NULL when none is. */
    sbx_transport_call *call;
    sbx_worker_ref worker;
    sbx_time_ns started_at;
    sbx_buf body;
    sbx_answer answer;
};

/* ---- the answer --------------------------------------------------------------------------------------- */

static void end(sbx_idle_probe *probe, sbx_outcome outcome)
{
    probe->call = NULL;
    if (outcome == SBX_OUTCOME_OK)
        sbx_shell_step(probe->shell, &(sbx_event){.kind = SBX_EVENT_WORKER_HEALTH,
                                                  .health = {.worker = probe->worker, .good = true}});
}

static void give_up(sbx_idle_probe *probe)
{
    sbx_transport_call *call = probe->call;
    probe->call = NULL;
    if (call != NULL)
        sbx_transport_cancel(call);
}

static void on_nothing(void *user)
{
    (void)user;
}

static void on_head(void *user, const sbx_answer_head *head)
{
    sbx_idle_probe *probe = user;
    if (sbx_answer_take_head(&probe->answer, head) != SBX_OUTCOME_OK)
        give_up(probe);
}

static void on_data(void *user, sbx_view bytes)
{
    sbx_idle_probe *probe = user;
    if (sbx_answer_take_body(&probe->answer, bytes) != SBX_OUTCOME_OK)
        give_up(probe);
}

static void on_end(void *user)
{
    sbx_idle_probe *probe = user;
    end(probe, sbx_answer_finish(&probe->answer));
}

static void on_fail(void *user, sbx_outcome outcome, sbx_time_ns retry_after_ns, const char *detail)
{
    (void)retry_after_ns, (void)detail;
    end(user, outcome);
}

static const sbx_transport_events events = {
    .on_accepted = on_nothing,
    .on_progress = on_nothing,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_fail = on_fail,
};

/* ---- the run ------------------------------------------------------------------------------------------ */

static sbx_err write_body(sbx_buf *body, sbx_view model)
{
    sbx_buf_clear(body);
    sbx_buf_append_cstr(body, "{\"model\":");
    sbx_buf_append_json(body, model);
    return sbx_buf_append_cstr(body,
                               ",\"messages\":[{\"role\":\"user\",\"content\":\"ping\"}],\"max_tokens\":1}");
}

static void start(sbx_idle_probe *probe, const sbx_worker *worker, const sbx_worker_info *info)
{
    sbx_shell *shell = probe->shell;
    sbx_view model = sbx_worker_model_at(sbx_router_registry(shell->router), worker, 0);
    sbx_id request_id;
    if (write_body(&probe->body, model) != SBX_OK)
        return;
    sbx_id_make(&shell->rng, &request_id);
    sbx_answer_deinit(&probe->answer);
    sbx_answer_init(&probe->answer, SBX_ENDPOINT_CHAT, /* wants_stream= */ false, ANSWER_MAX);
    probe->worker = info->ref;
    probe->started_at = sbx_shell_now(shell);
    sbx_view body = sbx_buf_view(&probe->body);
    sbx_peer *peer = info->peer;
    sbx_transport_request request = {
        .path = SBX_VIEW("/v1/chat/completions"),
        .body = &body,
        .body_count = 1,
        .request_id = sbx_id_view(&request_id),
        .attempt = 1,
        .budget_ns = BUDGET,
    };
    if (peer->kind->start(peer, &request, &events, probe, &probe->call) != SBX_OK)
        probe->call = NULL;
}

/* ---- who is quiet ------------------------------------------------------------------------------------- */

static bool is_candidate(const sbx_worker_info *info)
{
    return info->kind == SBX_WORKER_NATS && info->breaker == SBX_BREAKER_HALF_OPEN && info->online &&
           !info->draining && info->engine == SBX_ENGINE_UP && info->in_flight == 0 && info->model_count > 0;
}

static const watched *find(const watched *items, size_t count, sbx_worker_ref ref)
{
    for (size_t i = 0; i < count; i++) {
        if (items[i].ref.slot == ref.slot && items[i].ref.generation == ref.generation)
            return &items[i];
    }
    return NULL;
}

/* Those that are half_open now, each with the time since when no attempt came. */
static void watch(sbx_idle_probe *probe, sbx_time_ns now)
{
    const sbx_registry *registry = sbx_router_registry(probe->shell->router);
    watched found[WATCHED_MAX];
    size_t count = 0;
    for (size_t i = 0; i < sbx_registry_count(registry) && count < WATCHED_MAX; i++) {
        sbx_worker_info info = sbx_worker_describe(sbx_registry_at(registry, i), now);
        if (!is_candidate(&info))
            continue;
        const watched *known = find(probe->watched, probe->count, info.ref);
        bool is_quiet = known != NULL && known->attempts == info.attempts;
        found[count++] = (watched){
            .ref = info.ref,
            .attempts = info.attempts,
            .quiet_since = is_quiet ? known->quiet_since : now,
        };
    }
    for (size_t i = 0; i < count; i++)
        probe->watched[i] = found[i];
    probe->count = count;
}

static watched *quietest(sbx_idle_probe *probe)
{
    watched *best = NULL;
    for (size_t i = 0; i < probe->count; i++) {
        if (best == NULL || probe->watched[i].quiet_since < best->quiet_since)
            best = &probe->watched[i];
    }
    return best;
}

static void probe_one(sbx_idle_probe *probe, sbx_time_ns now)
{
    watched *next = quietest(probe);
    if (next == NULL || now - next->quiet_since < PATIENCE)
        return;
    next->quiet_since = now - PATIENCE + PACE; /* again in a second, after the others */
    const sbx_worker *worker = sbx_registry_get(sbx_router_registry(probe->shell->router), next->ref);
    if (worker == NULL)
        return;
    sbx_worker_info info = sbx_worker_describe(worker, now);
    start(probe, worker, &info);
}

static void on_timer(sbx_timer *timer, void *user)
{
    sbx_idle_probe *probe = user;
    sbx_time_ns now = sbx_shell_now(probe->shell);
    sbx_timer_start(timer, sbx_time_add(now, PACE));
    watch(probe, now);
    if (probe->call != NULL && now - probe->started_at >= BUDGET)
        give_up(probe);
    if (probe->call == NULL)
        probe_one(probe, now);
}

/* ---- life --------------------------------------------------------------------------------------------- */

sbx_err sbx_idle_probe_new(sbx_shell *shell, sbx_idle_probe **ret_probe)
{
    sbx_idle_probe *probe = calloc(1, sizeof *probe);
    if (probe == NULL)
        return SBX_E_NOMEM;
    probe->shell = shell;
    sbx_buf_init(&probe->body, ANSWER_MAX);
    sbx_answer_init(&probe->answer, SBX_ENDPOINT_CHAT, /* wants_stream= */ false, ANSWER_MAX);
    sbx_timer_init(&probe->timer, shell->loop, on_timer, probe);
    sbx_timer_start(&probe->timer, sbx_time_add(sbx_shell_now(shell), PACE));
    *ret_probe = probe;
    return SBX_OK;
}

void sbx_idle_probe_free(sbx_idle_probe *probe)
{
    if (probe == NULL)
        return;
    sbx_timer_stop(&probe->timer);
    give_up(probe);
    sbx_answer_deinit(&probe->answer);
    sbx_buf_deinit(&probe->body);
    free(probe);
}
