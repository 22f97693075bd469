/* Accessors of notes.def, filters.def and ends.def. */
#include "core/notes.h"

static const char *const note_names[] = {
#define SBX_NOTE(symbol, event) #event,
#include "core/notes.def"
#undef SBX_NOTE
};

static const char *const filter_names[] = {
#define SBX_FILTER(symbol, name, text) name,
#include "core/filters.def"
#undef SBX_FILTER
};

static const char *const end_names[] = {
#define SBX_END_ROW(symbol, name, text) name,
#include "core/ends.def"
#undef SBX_END_ROW
};

const char *sbx_note_name(sbx_note note)
{
    return (unsigned)note < SBX_NOTE_COUNT ? note_names[note] : "unknown";
}

const char *sbx_filter_name(sbx_filter filter)
{
    return (unsigned)filter < SBX_FILTER_COUNT ? filter_names[filter] : "unknown";
}

const char *sbx_request_end_name(sbx_request_end end)
{
    return (unsigned)end < SBX_END_COUNT ? end_names[end] : "unknown";
}
