/* See sim_text.h. */
#include "worker/sim_text.h"

/* No word is longer than 7 bytes and none begins another's continuation: a position is found by comparing. */
static const sbx_view words[] = {
    SBX_VIEW_INIT(" the"),    SBX_VIEW_INIT(" a"),       SBX_VIEW_INIT(" of"),     SBX_VIEW_INIT(" and"),
    SBX_VIEW_INIT(" to"),     SBX_VIEW_INIT(" in"),      SBX_VIEW_INIT(" is"),     SBX_VIEW_INIT(" it"),
    SBX_VIEW_INIT(" that"),   SBX_VIEW_INIT(" for"),     SBX_VIEW_INIT(" on"),     SBX_VIEW_INIT(" with"),
    SBX_VIEW_INIT(" as"),     SBX_VIEW_INIT(" this"),    SBX_VIEW_INIT(" by"),     SBX_VIEW_INIT(" from"),
    SBX_VIEW_INIT(" signal"), SBX_VIEW_INIT(" box"),     SBX_VIEW_INIT(" track"),  SBX_VIEW_INIT(" train"),
    SBX_VIEW_INIT(" lever"),  SBX_VIEW_INIT(" point"),   SBX_VIEW_INIT(" line"),   SBX_VIEW_INIT(" block"),
    SBX_VIEW_INIT(" lamp"),   SBX_VIEW_INIT(" wire"),    SBX_VIEW_INIT(" bell"),   SBX_VIEW_INIT(" clear"),
    SBX_VIEW_INIT(" stop"),   SBX_VIEW_INIT(" go"),      SBX_VIEW_INIT(" slow"),   SBX_VIEW_INIT(" fast"),
    SBX_VIEW_INIT(" north"),  SBX_VIEW_INIT(" south"),   SBX_VIEW_INIT(" east"),   SBX_VIEW_INIT(" west"),
    SBX_VIEW_INIT(" up"),     SBX_VIEW_INIT(" down"),    SBX_VIEW_INIT(" near"),   SBX_VIEW_INIT(" far"),
    SBX_VIEW_INIT(" one"),    SBX_VIEW_INIT(" two"),     SBX_VIEW_INIT(" three"),  SBX_VIEW_INIT(" four"),
    SBX_VIEW_INIT(" red"),    SBX_VIEW_INIT(" green"),   SBX_VIEW_INIT(" yellow"), SBX_VIEW_INIT(" white"),
    SBX_VIEW_INIT(" runs"),   SBX_VIEW_INIT(" waits"),   SBX_VIEW_INIT(" turns"),  SBX_VIEW_INIT(" holds"),
    SBX_VIEW_INIT(" sends"),  SBX_VIEW_INIT(" hears"),   SBX_VIEW_INIT(" sees"),   SBX_VIEW_INIT(" knows"),
    SBX_VIEW_INIT(" house"),  SBX_VIEW_INIT(" station"), SBX_VIEW_INIT(" bridge"), SBX_VIEW_INIT(" river"),
    SBX_VIEW_INIT(" night"),  SBX_VIEW_INIT(" morning"), SBX_VIEW_INIT(" again"),  SBX_VIEW_INIT(" soon"),
};
enum {
    WORD_COUNT = sizeof(words) / sizeof(words[0]),
    TOKEN_BYTES = 8,
    SHORTEST = 32,
    LENGTH_SPREAD = 64
};

/* The finaliser of splitmix64: every bit of the input reaches every bit of the output. */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t sbx_sim_hash_init(uint64_t seed)
{
    return mix(seed);
}

uint64_t sbx_sim_hash_add(uint64_t hash, sbx_view part)
{
    for (size_t i = 0; i < part.len; i++)
        hash = (hash ^ part.data[i]) * UINT64_C(0x100000001b3);
    return mix(hash ^ part.len);
}

sbx_view sbx_sim_token(uint64_t key, uint64_t index)
{
    return words[mix(key ^ mix(index)) % WORD_COUNT];
}

uint32_t sbx_sim_text_length(uint64_t key)
{
    return SHORTEST + (uint32_t)(mix(~key) % LENGTH_SPREAD);
}

sbx_sim_position sbx_sim_text_after(uint64_t key, sbx_view prefill)
{
    sbx_sim_position position = {.key = key};
    sbx_view rest = prefill;
    while (rest.len > 0) {
        sbx_view token = sbx_sim_token(key, position.index);
        if (rest.len < token.len && sbx_view_starts_with(token, rest)) {
            position.offset = rest.len;
            return position;
        }
        if (!sbx_view_starts_with(rest, token))
            return (sbx_sim_position){.key = sbx_sim_hash_add(key, prefill)};
        rest = sbx_view_skip(rest, token.len);
        position.index++;
    }
    return position;
}

uint32_t sbx_sim_count_tokens(sbx_view text)
{
    uint32_t count = 0;
    size_t word_bytes = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];
        bool is_space = byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
        if (is_space)
            word_bytes = 0;
        else if (word_bytes++ % TOKEN_BYTES == 0)
            count++;
    }
    return count;
}
