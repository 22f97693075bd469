/* The log sink: one line per event, an event name and key=value fields, as JSON or as text.
 * base, core and codec never call it. Loop thread only. Before sbx_log_open(): text, level info, stderr.
 *
 *   sbx_log(SBX_LOG_INFO, "worker_online", SBX_F_STR("worker", id), SBX_F_INT("models", n), SBX_F_END);
 *
 * Fields are evaluated only when the level is on. Control bytes are escaped, so that one event is one line
 * whatever a peer sent; values are cut at SBX_LOG_VALUE_MAX bytes, lines at SBX_LOG_LINE_MAX. */
#ifndef SBX_BASE_LOG_H
#define SBX_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/time.h"
#include "base/view.h"

enum {
    SBX_LOG_VALUE_MAX = 1024,
    SBX_LOG_LINE_MAX = 8192
};

/* error = a human must act, warn = degraded but served, info = lifecycle, debug = per request. */
typedef enum sbx_log_level {
    SBX_LOG_DEBUG,
    SBX_LOG_INFO,
    SBX_LOG_WARN,
    SBX_LOG_ERROR,
} sbx_log_level;

typedef enum sbx_log_format {
    SBX_LOG_TEXT,
    SBX_LOG_JSON,
} sbx_log_format;

typedef struct sbx_log_field {
    enum {
        SBX_LOG_FIELD_END = 0,
        SBX_LOG_FIELD_STR,
        SBX_LOG_FIELD_INT,
        SBX_LOG_FIELD_UINT,
        SBX_LOG_FIELD_BOOL,
        SBX_LOG_FIELD_DURATION,
    } kind;
    const char *key;
    sbx_view text;
    int64_t number;
} sbx_log_field;

/* Keys are literals of [a-z0-9_]. SBX_F_MS takes an sbx_time_ns and prints milliseconds with 3 decimals. */
#define SBX_F_STR(k, view) ((sbx_log_field){.kind = SBX_LOG_FIELD_STR, .key = (k), .text = (view)})
#define SBX_F_CSTR(k, cstr)                                                                                  \
    ((sbx_log_field){.kind = SBX_LOG_FIELD_STR, .key = (k), .text = sbx_view_cstr(cstr)})
#define SBX_F_INT(k, n)  ((sbx_log_field){.kind = SBX_LOG_FIELD_INT, .key = (k), .number = (int64_t)(n)})
#define SBX_F_UINT(k, n) ((sbx_log_field){.kind = SBX_LOG_FIELD_UINT, .key = (k), .number = (int64_t)(n)})
#define SBX_F_BOOL(k, b) ((sbx_log_field){.kind = SBX_LOG_FIELD_BOOL, .key = (k), .number = (b) ? 1 : 0})
#define SBX_F_MS(k, ns)  ((sbx_log_field){.kind = SBX_LOG_FIELD_DURATION, .key = (k), .number = (ns)})
#define SBX_F_END        ((sbx_log_field){.kind = SBX_LOG_FIELD_END})

#define sbx_log(level, event, ...)                                                                           \
    do {                                                                                                     \
        if (sbx_log_is_on(level))                                                                            \
            sbx_log_write((level), (event), (const sbx_log_field[]){__VA_ARGS__},                            \
                          sizeof((const sbx_log_field[]){__VA_ARGS__}) / sizeof(sbx_log_field));             \
    } while (0)

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

/* Behind the macro. */
void sbx_log_write(sbx_log_level level, const char *event, const sbx_log_field *fields, size_t count);

#endif
