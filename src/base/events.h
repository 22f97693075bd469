/* The table of log events, events.def, as types: an enum, a struct of fields per event, and accessors for
 * docs and tests. Whoever logs includes base/log.h. */
#ifndef SBX_BASE_EVENTS_H
#define SBX_BASE_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
#include "base/view.h"

/* error = a human must act, warn = degraded but served, info = lifecycle, debug = per attempt. */
typedef enum sbx_log_level {
    SBX_LOG_DEBUG,
    SBX_LOG_INFO,
    SBX_LOG_WARN,
    SBX_LOG_ERROR,
} sbx_log_level;

typedef enum sbx_log_event {
#define SBX_LOG_ROW(name, level, text, fields) SBX_LOG_EVENT_##name,
#include "base/events.def"
#undef SBX_LOG_ROW
    SBX_LOG_EVENT_COUNT
} sbx_log_event;

/* ---- what the compiler checks at each call of sbx_log ---- */

/* struct sbx_log_fields_of_worker_online {sbx_view worker;} ... */
#define SBX_LOG_TYPE_STR       sbx_view
#define SBX_LOG_TYPE_OPT       sbx_view
#define SBX_LOG_TYPE_CSTR      const char *
#define SBX_LOG_TYPE_INT       int64_t
#define SBX_LOG_TYPE_UINT      uint64_t
#define SBX_LOG_TYPE_BOOL      bool
#define SBX_LOG_TYPE_MS        sbx_time_ns
#define SBX_LOG_KEY(kind, key) SBX_LOG_TYPE_##kind key;
#define SBX_LOG_ROW(name, level, text, fields)                                                               \
    struct sbx_log_fields_of_##name {                                                                        \
        fields                                                                                               \
    };
#include "base/events.def"
#undef SBX_LOG_ROW
#undef SBX_LOG_KEY

/* How many they are: a call names each of them, or does not compile. */
enum {
#define SBX_LOG_KEY(kind, key)                 +1
#define SBX_LOG_ROW(name, level, text, fields) SBX_LOG_KEYS_OF_##name = 0 fields,
#include "base/events.def"
#undef SBX_LOG_ROW
#undef SBX_LOG_KEY
};

enum {
#define SBX_LOG_ROW(name, level, text, fields) SBX_LOG_LEVEL_OF_##name = SBX_LOG_##level,
#include "base/events.def"
#undef SBX_LOG_ROW
};

/* ---- the table, for docs and tests ---- */

typedef enum sbx_log_key_kind {
    SBX_LOG_KEY_STR,
    SBX_LOG_KEY_OPT,
    SBX_LOG_KEY_CSTR,
    SBX_LOG_KEY_INT,
    SBX_LOG_KEY_UINT,
    SBX_LOG_KEY_BOOL,
    SBX_LOG_KEY_MS
} sbx_log_key_kind;

typedef struct sbx_log_key {
    sbx_log_key_kind kind;
    const char *key; /* as it is printed */
    size_t offset;   /* in the event's struct */
} sbx_log_key;

typedef struct sbx_log_event_info {
    const char *name;
    sbx_log_level level;
    const char *text;
    const sbx_log_key *fields;
    size_t field_count;
} sbx_log_event_info;

sbx_log_event_info sbx_log_event_at(sbx_log_event event);

#endif
