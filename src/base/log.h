/* The log sink: one line per event, the event's name and key=value fields, as JSON or as text.
 * core and codec never call it. Loop thread only. Before sbx_log_open(): text, level info, stderr.
 *
 *   sbx_log(backend_models, .worker = id, .models = count);
 *
 * The event, its level and its fields are a row of base/events.def: an unknown event, a field too many, one
 * that is missing, named twice or of a wrong type does not compile. The values are evaluated only when the
 * level is on. Control bytes are escaped, so that one event is one line whatever a peer sent; values are cut
 * at SBX_LOG_VALUE_MAX bytes, lines at SBX_LOG_LINE_MAX. */
#ifndef SBX_BASE_LOG_H
#define SBX_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/events.h"
#include "base/view.h"

enum {
    SBX_LOG_VALUE_MAX = 1024,
    SBX_LOG_LINE_MAX = 8192,
    SBX_LOG_FIELDS_MAX = 16
};

typedef enum sbx_log_format {
    SBX_LOG_TEXT,
    SBX_LOG_JSON,
} sbx_log_format;

/* Values must not have braces of their own around commas, or the count of fields is off. */
#define sbx_log(event, ...)                                                                                  \
    do {                                                                                                     \
        _Static_assert(SBX_LOG_COUNT(__VA_ARGS__) == SBX_LOG_KEYS_OF_##event,                                \
                       #event ": a field of base/events.def is missing");                                    \
        if (sbx_log_is_on((sbx_log_level)SBX_LOG_LEVEL_OF_##event))                                          \
            sbx_log_emit(SBX_LOG_EVENT_##event, &(const struct sbx_log_fields_of_##event){__VA_ARGS__});     \
    } while (0)

/* How many arguments there are, up to SBX_LOG_FIELDS_MAX. */
#define SBX_LOG_COUNT(...)                                                                                   \
    SBX_LOG_COUNT_PICK(__VA_ARGS__, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define SBX_LOG_COUNT_PICK(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, count, ...) count

/* path NULL or "": stderr. Replaces an earlier sink. SBX_E_IO (file cannot be opened; the earlier sink
 * stays), SBX_E_RANGE (path too long). */
sbx_err sbx_log_open(sbx_log_level level, sbx_log_format format, const char *path);

/* Opens the file anew, after log rotation. SBX_E_IO: the old file stays in use. Nothing for stderr. */
sbx_err sbx_log_reopen(void);

/* Back to what it was before the first open. */
void sbx_log_close(void);

void sbx_log_set_level(sbx_log_level level);
bool sbx_log_is_on(sbx_log_level level);

/* "debug", "info", "warn", "error"; false when the name is none of them. */
const char *sbx_log_level_name(sbx_log_level level);
bool sbx_log_level_from_name(sbx_view name, sbx_log_level *ret_level);

/* Lines that could not be written (disk full). */
uint64_t sbx_log_lost(void);

/* Lines go to `on_line` (borrowed, with their newline) instead; NULL ends that. For tests. */
void sbx_log_capture(void (*on_line)(void *user, sbx_view line), void *user);

/* Behind the macro: fields is the event's struct. */
void sbx_log_emit(sbx_log_event event, const void *fields);

#endif
