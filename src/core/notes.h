/* The table of notes: notes.def as an enum with total accessors. */
#ifndef SBX_CORE_NOTES_H
#define SBX_CORE_NOTES_H

typedef enum sbx_note {
#define SBX_NOTE(symbol, name, level, text) SBX_NOTE_##symbol,
#include "core/notes.def"
#undef SBX_NOTE
    SBX_NOTE_COUNT
} sbx_note;

typedef enum sbx_note_level {
    SBX_NOTE_LEVEL_DEBUG,
    SBX_NOTE_LEVEL_INFO,
    SBX_NOTE_LEVEL_WARN,
    SBX_NOTE_LEVEL_ERROR
} sbx_note_level;

const char *sbx_note_name(sbx_note note);
sbx_note_level sbx_note_level_of(sbx_note note);
const char *sbx_note_text(sbx_note note);

#endif
