/* Sessions: under which id a client's requests stick to one worker, for its KV cache.
 *
 * A bounded table, least recently used out first, with a sliding time to live. A session moves only when its
 * worker could not be picked and another one succeeded; until then it stays, so that a worker that is away
 * for a moment gets its sessions back. All memory is taken at init. */
#ifndef SBX_CORE_SESSIONS_H
#define SBX_CORE_SESSIONS_H

#include "base/list.h"
#include "base/map.h"
#include "base/time.h"
#include "core/types.h"

typedef struct sbx_session {
    uint64_t key;
    sbx_worker_ref worker;
    sbx_time_ns used_at;
    sbx_list_node node; /* by use, latest last */
} sbx_session;

typedef struct sbx_sessions {
    sbx_map64 by_key;
    sbx_session *table;
    uint32_t cap;
    uint32_t high_water;
    sbx_list used;
    sbx_list unused;
} sbx_sessions;

/* cap: most sessions, 0 allowed. SBX_E_NOMEM. A table must not be moved after init. */
sbx_err sbx_sessions_init(sbx_sessions *sessions, uint32_t cap, uint64_t seed);
void sbx_sessions_deinit(sbx_sessions *sessions);

/* The id of a session within one API key; never 0. */
uint64_t sbx_session_key(uint64_t session_hash, uint64_t key_hash);

/* The worker the session sticks to, its time to live begun anew; generation 0: none, or expired. */
sbx_worker_ref sbx_sessions_use(sbx_sessions *sessions, uint64_t key, sbx_time_ns ttl_ns, sbx_time_ns now);

/* From now on it sticks to this worker; the least recently used one makes room. */
void sbx_sessions_set(sbx_sessions *sessions, uint64_t key, sbx_worker_ref worker, sbx_time_ns now);

size_t sbx_sessions_count(const sbx_sessions *sessions);

#endif
