/* How one attempt ended, as the transports report it and core/classify judges it. */
#ifndef SBX_BASE_OUTCOME_H
#define SBX_BASE_OUTCOME_H

#include <stdbool.h>

typedef enum sbx_outcome {
#define SBX_OUTCOME_ROW(name, text_name, text) SBX_OUTCOME_##name,
#include "base/outcome.def"
#undef SBX_OUTCOME_ROW
    SBX_OUTCOME_COUNT
} sbx_outcome;

/* "first_content_timeout", and a text for humans. Total: anything unknown reads as "unknown". */
const char *sbx_outcome_name(sbx_outcome outcome);
const char *sbx_outcome_text(sbx_outcome outcome);

/* The outcome of that name; false (ret untouched) when there is none. */
bool sbx_outcome_from_name(const char *name, sbx_outcome *ret_outcome);

#endif
