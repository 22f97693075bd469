/* See event_cut.h. */
#include "worker/event_cut.h"

void sbx_event_cut_init(sbx_event_cut *cut)
{
    *cut = (sbx_event_cut){.line_is_empty = true};
}

/* A line ends: was it the empty one? */
static void end_line(sbx_event_cut *cut)
{
    cut->after_event = cut->line_is_empty;
    cut->line_is_empty = true;
}

size_t sbx_event_cut_scan(sbx_event_cut *cut, sbx_view bytes)
{
    size_t found = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t byte = bytes.data[i];
        bool completes_crlf = byte == '\n' && cut->after_cr;
        cut->after_cr = byte == '\r';
        if (byte == '\n' || byte == '\r') {
            if (!completes_crlf)
                end_line(cut);
            if (cut->after_event)
                found = i + 1;
        } else {
            cut->line_is_empty = false;
            cut->after_event = false;
        }
    }
    return found;
}
