/* Accessors of notes.def. */
#include "core/notes.h"

#include <stddef.h>

static const struct {
    const char *name;
    sbx_note_level level;
    const char *text;
} ROWS[] = {
#define SBX_NOTE(symbol, name, level, text) {name, SBX_NOTE_LEVEL_##level, text},
#include "core/notes.def"
#undef SBX_NOTE
};

static size_t row_of(sbx_note note)
{
    size_t index = (size_t)note;
    return index < SBX_NOTE_COUNT ? index : SBX_NOTE_COUNT;
}

const char *sbx_note_name(sbx_note note)
{
    return row_of(note) == SBX_NOTE_COUNT ? "unknown" : ROWS[note].name;
}

sbx_note_level sbx_note_level_of(sbx_note note)
{
    return row_of(note) == SBX_NOTE_COUNT ? SBX_NOTE_LEVEL_INFO : ROWS[note].level;
}

const char *sbx_note_text(sbx_note note)
{
    return row_of(note) == SBX_NOTE_COUNT ? "unknown" : ROWS[note].text;
}
