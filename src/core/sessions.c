/* The table of sessions; see sessions.h. */
#include "core/sessions.h"

#include <assert.h>

#include "base/block.h"

sbx_err sbx_sessions_init(sbx_sessions *sessions, uint32_t cap, uint64_t seed)
{
    *sessions = (sbx_sessions){.cap = cap};
    sbx_list_init(&sessions->used);
    sbx_list_init(&sessions->unused);
    sbx_map64_init(&sessions->by_key, seed, cap);
    sessions->table = sbx_block_new(cap, sizeof *sessions->table);
    if (sessions->table == NULL)
        return SBX_E_NOMEM;
    return sbx_map64_reserve(&sessions->by_key, cap);
}

void sbx_sessions_deinit(sbx_sessions *sessions)
{
    sbx_map64_deinit(&sessions->by_key);
    sbx_block_free(sessions->table);
    *sessions = (sbx_sessions){0};
}

uint64_t sbx_session_key(uint64_t session_hash, uint64_t key_hash)
{
    uint64_t mixed = (session_hash ^ (key_hash << 31 | key_hash >> 33)) * UINT64_C(0x9e3779b97f4a7c15);
    return mixed == 0 ? 1 : mixed;
}

static void touch(sbx_sessions *sessions, sbx_session *session, sbx_time_ns now)
{
    session->used_at = now;
    sbx_list_remove(&session->node);
    sbx_list_push_back(&sessions->used, &session->node);
}

static void forget(sbx_sessions *sessions, sbx_session *session)
{
    sbx_map64_remove(&sessions->by_key, session->key);
    sbx_list_remove(&session->node);
    sbx_list_push_back(&sessions->unused, &session->node);
}

sbx_worker_ref sbx_sessions_use(sbx_sessions *sessions, uint64_t key, sbx_time_ns ttl_ns, sbx_time_ns now)
{
    sbx_session *session = sbx_map64_get(&sessions->by_key, key);
    if (session == NULL)
        return (sbx_worker_ref){0};
    if (now - session->used_at > ttl_ns) {
        forget(sessions, session);
        return (sbx_worker_ref){0};
    }
    touch(sessions, session, now);
    return session->worker;
}

/* A free place: one given back, a fresh one, or that of the least recently used session. */
static sbx_session *take_place(sbx_sessions *sessions)
{
    if (sbx_list_is_empty(&sessions->unused) && sessions->high_water < sessions->cap)
        return &sessions->table[sessions->high_water++];
    if (sbx_list_is_empty(&sessions->unused))
        forget(sessions, SBX_CONTAINER_OF(sbx_list_first(&sessions->used), sbx_session, node));
    return SBX_CONTAINER_OF(sbx_list_pop_front(&sessions->unused), sbx_session, node);
}

void sbx_sessions_set(sbx_sessions *sessions, uint64_t key, sbx_worker_ref worker, sbx_time_ns now)
{
    if (sessions->cap == 0)
        return;
    sbx_session *session = sbx_map64_get(&sessions->by_key, key);
    if (session == NULL) {
        session = take_place(sessions);
        session->key = key;
        sbx_err err = sbx_map64_put(&sessions->by_key, key, session);
        assert(err == SBX_OK); /* reserved at init */
        (void)err;
    }
    session->worker = worker;
    touch(sessions, session, now);
}

size_t sbx_sessions_count(const sbx_sessions *sessions)
{
    return sessions->by_key.count;
}
