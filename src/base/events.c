/* events.def as a table that can be read at run time. */
#include "base/events.h"

#include <assert.h>

/* One function per event: only there its struct has a name that its fields can use. */
#define SUFFIX_STR  ""
#define SUFFIX_OPT  ""
#define SUFFIX_CSTR ""
#define SUFFIX_INT  ""
#define SUFFIX_UINT ""
#define SUFFIX_BOOL ""
#define SUFFIX_MS   "_ms"
#define SBX_LOG_KEY(field_kind, field_key)                                                                   \
    {.kind = SBX_LOG_KEY_##field_kind,                                                                       \
     .key = #field_key SUFFIX_##field_kind,                                                                  \
     .offset = offsetof(this_event, field_key)},
#define SBX_LOG_ROW(event_name, event_level, event_text, event_fields)                                       \
    static sbx_log_event_info info_of_##event_name(void)                                                     \
    {                                                                                                        \
        typedef struct sbx_log_fields_of_##event_name this_event;                                            \
        static const sbx_log_key rows[] = {event_fields};                                                    \
        return (sbx_log_event_info){.name = #event_name,                                                     \
                                    .level = SBX_LOG_##event_level,                                          \
                                    .text = event_text,                                                      \
                                    .fields = rows,                                                          \
                                    .field_count = sizeof rows / sizeof rows[0]};                            \
    }
#include "base/events.def"
#undef SBX_LOG_ROW
#undef SBX_LOG_KEY

static sbx_log_event_info (*const infos[])(void) = {
#define SBX_LOG_ROW(name, level, text, fields) info_of_##name,
#include "base/events.def"
#undef SBX_LOG_ROW
};

sbx_log_event_info sbx_log_event_at(sbx_log_event event)
{
    assert((unsigned)event < SBX_LOG_EVENT_COUNT);
    return infos[event]();
}
