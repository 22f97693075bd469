/* See recent.h. */
#include "worker/recent.h"

sbx_err sbx_recent_init(sbx_recent *recent, sbx_siphash_key seed)
{
    *recent = (sbx_recent){.seed = seed};
    sbx_map64_init(&recent->by_hash, seed.k1, SBX_RECENT_NAMES);
    return sbx_map64_reserve(&recent->by_hash, SBX_RECENT_NAMES);
}

void sbx_recent_deinit(sbx_recent *recent)
{
    sbx_map64_deinit(&recent->by_hash);
}

/* A name that was added again later lives on in its later slot. */
static void drop(sbx_recent *recent, sbx_recent_name *slot)
{
    if (sbx_map64_get(&recent->by_hash, slot->hash) == slot)
        sbx_map64_remove(&recent->by_hash, slot->hash);
}

void sbx_recent_add(sbx_recent *recent, sbx_view name, sbx_time_ns now)
{
    sbx_recent_name *slot = &recent->names[recent->next];
    recent->next = (recent->next + 1) % SBX_RECENT_NAMES;
    drop(recent, slot);
    *slot = (sbx_recent_name){.hash = sbx_siphash(recent->seed, name.data, name.len), .at = now};
    (void)sbx_map64_put(&recent->by_hash, slot->hash, slot); /* room for all slots was made at the start */
}

bool sbx_recent_knows(const sbx_recent *recent, sbx_view name, sbx_time_ns now)
{
    uint64_t hash = sbx_siphash(recent->seed, name.data, name.len);
    const sbx_recent_name *slot = sbx_map64_get(&recent->by_hash, hash);
    return slot != NULL && now - slot->at <= SBX_RECENT_KEPT;
}
