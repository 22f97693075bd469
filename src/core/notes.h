/* What the core tells others to log and count: notes.def, filters.def and ends.def as enums with total
 * accessors. */
#ifndef SBX_CORE_NOTES_H
#define SBX_CORE_NOTES_H

typedef enum sbx_note {
#define SBX_NOTE(symbol, event) SBX_NOTE_##symbol,
#include "core/notes.def"
#undef SBX_NOTE
    SBX_NOTE_COUNT
} sbx_note;

/* The name of its event. */
const char *sbx_note_name(sbx_note note);

typedef enum sbx_filter {
#define SBX_FILTER(symbol, name, text) SBX_FILTER_##symbol,
#include "core/filters.def"
#undef SBX_FILTER
    SBX_FILTER_COUNT
} sbx_filter;

const char *sbx_filter_name(sbx_filter filter);

typedef enum sbx_request_end {
#define SBX_END_ROW(symbol, name, text) SBX_END_##symbol,
#include "core/ends.def"
#undef SBX_END_ROW
    SBX_END_COUNT
} sbx_request_end;

const char *sbx_request_end_name(sbx_request_end end);

#endif
