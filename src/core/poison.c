/* The poison guard: a direct-mapped table of body hashes. */
#include "core/poison.h"

static bool is_old(const sbx_poison_row *row, sbx_time_ns now)
{
    return now - row->at > SBX_POISON_SPAN;
}

static void clear(sbx_poison *poison, sbx_poison_row *row)
{
    if (row->deaths > 0)
        poison->count--;
    *row = (sbx_poison_row){0};
}

void sbx_poison_death(sbx_poison *poison, uint64_t body_hash, uint64_t victim, sbx_time_ns now)
{
    if (body_hash == 0)
        return;
    sbx_poison_row *row = &poison->rows[body_hash % SBX_POISON_ROWS];
    if (row->body_hash != body_hash || is_old(row, now))
        clear(poison, row);
    row->body_hash = body_hash;
    row->at = now;
    if (row->deaths > 0 && row->last_victim == victim)
        return;
    if (row->deaths == 0)
        poison->count++;
    row->last_victim = victim;
    row->deaths++;
}

void sbx_poison_served(sbx_poison *poison, uint64_t body_hash)
{
    if (poison->count == 0)
        return;
    sbx_poison_row *row = &poison->rows[body_hash % SBX_POISON_ROWS];
    if (row->body_hash == body_hash)
        clear(poison, row);
}

bool sbx_poison_is_known(const sbx_poison *poison, uint64_t body_hash, sbx_time_ns now)
{
    if (poison->count == 0 || body_hash == 0)
        return false;
    const sbx_poison_row *row = &poison->rows[body_hash % SBX_POISON_ROWS];
    return row->body_hash == body_hash && row->deaths >= SBX_POISON_BODY_DEATHS && !is_old(row, now);
}
