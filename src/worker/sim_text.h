/* The text of the simulated engine: an endless row of short words that depends on a key alone, and the key on
 * model, prompt and seed. Pure, integers only: the same on every machine, so that a test can say which text
 * it expects and whether a token was lost or doubled.
 *
 * A token is a word with the space before it. A conversation whose last message is the assistant's goes on
 * exactly where that message ends, within a word if need be. */
#ifndef SBX_WORKER_SIM_TEXT_H
#define SBX_WORKER_SIM_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

/* A hash over the parts of a prompt; each part is closed off, so that ("ab", "c") differs from ("a", "bc").
 */
uint64_t sbx_sim_hash_init(uint64_t seed);
uint64_t sbx_sim_hash_add(uint64_t hash, sbx_view part);

/* The token at that index of the text; static memory. */
sbx_view sbx_sim_token(uint64_t key, uint64_t index);

/* How long the text is when nothing limits it: 32 to 95 tokens. */
uint32_t sbx_sim_text_length(uint64_t key);

/* Where a text goes on. */
typedef struct sbx_sim_position {
    uint64_t key;
    uint64_t index; /* of the next token */
    size_t offset;  /* bytes of it that are there already */
} sbx_sim_position;

/* The position behind a prefill (empty: the start). A prefill that is not the beginning of this key's text
 * gets a text of its own, with another key. */
sbx_sim_position sbx_sim_text_after(uint64_t key, sbx_view prefill);

/* What a tokenizer would count: words, long ones once per 8 bytes. A token of ours counts as 1. */
uint32_t sbx_sim_count_tokens(sbx_view text);

#endif
