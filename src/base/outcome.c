/* Names of outcomes, generated from outcome.def. */
#include "base/outcome.h"

#include <string.h>

static const char *const names[] = {
#define SBX_OUTCOME_ROW(name, text_name, text) text_name,
#include "base/outcome.def"
#undef SBX_OUTCOME_ROW
};

static const char *const texts[] = {
#define SBX_OUTCOME_ROW(name, text_name, text) text,
#include "base/outcome.def"
#undef SBX_OUTCOME_ROW
};

const char *sbx_outcome_name(sbx_outcome outcome)
{
    return (unsigned)outcome < SBX_OUTCOME_COUNT ? names[outcome] : "unknown";
}

const char *sbx_outcome_text(sbx_outcome outcome)
{
    return (unsigned)outcome < SBX_OUTCOME_COUNT ? texts[outcome] : "unknown";
}

bool sbx_outcome_from_name(const char *name, sbx_outcome *ret_outcome)
{
    for (unsigned i = 0; i < SBX_OUTCOME_COUNT; i++) {
        if (strcmp(names[i], name) != 0)
            continue;
        *ret_outcome = (sbx_outcome)i;
        return true;
    }
    return false;
}
