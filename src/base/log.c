/* The log sink: formats into one static line and writes it with one write(2). */
#include "base/log_priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"

static struct {
    sbx_log_level level;
    sbx_log_format format;
    int fd;
    char path[4096]; /* empty: stderr */
    uint64_t lost;
    void (*on_line)(void *user, sbx_view line);
    void *user;
} sink = {.level = SBX_LOG_INFO, .fd = STDERR_FILENO};

static struct {
    char bytes[SBX_LOG_LINE_MAX];
    size_t len;
} line;

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const padded_level_names[] = {" debug ", " info  ", " warn  ", " error "};

static sbx_err open_file(const char *path, int *ret_fd)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0)
        return SBX_E_IO;
    *ret_fd = fd;
    return SBX_OK;
}

static void use_fd(int fd)
{
    if (sink.fd != STDERR_FILENO)
        close(sink.fd);
    sink.fd = fd;
}

sbx_err sbx_log_open(sbx_log_level level, sbx_log_format format, const char *path)
{
    const char *file = path == NULL ? "" : path;
    int fd = STDERR_FILENO;
    if (strlen(file) >= sizeof sink.path)
        return SBX_E_RANGE;
    sbx_err err = *file == '\0' ? SBX_OK : open_file(file, &fd);
    if (err != SBX_OK)
        return err;
    use_fd(fd);
    memmove(sink.path, file, strlen(file) + 1);
    sink.level = level;
    sink.format = format;
    return SBX_OK;
}

sbx_err sbx_log_reopen(void)
{
    int fd;
    if (sink.path[0] == '\0')
        return SBX_OK;
    sbx_err err = open_file(sink.path, &fd);
    if (err == SBX_OK)
        use_fd(fd);
    return err;
}

void sbx_log_close(void)
{
    (void)sbx_log_open(SBX_LOG_INFO, SBX_LOG_TEXT, NULL);
}

void sbx_log_set_level(sbx_log_level level)
{
    sink.level = level;
}

bool sbx_log_is_on(sbx_log_level level)
{
    return level >= sink.level;
}

const char *sbx_log_level_name(sbx_log_level level)
{
    return level <= SBX_LOG_ERROR ? level_names[level] : "error";
}

bool sbx_log_level_from_name(sbx_view name, sbx_log_level *ret_level)
{
    for (unsigned i = SBX_LOG_DEBUG; i <= SBX_LOG_ERROR; i++) {
        if (!sbx_view_eq_cstr(name, level_names[i]))
            continue;
        *ret_level = (sbx_log_level)i;
        return true;
    }
    return false;
}

uint64_t sbx_log_lost(void)
{
    return sink.lost;
}

void sbx_log_capture(void (*on_line)(void *user, sbx_view line), void *user)
{
    sink.on_line = on_line;
    sink.user = user;
}

/* Room is always left for what ends a line: an ellipsis, a quote, a brace, the newline. */
enum {
    LINE_ROOM = SBX_LOG_LINE_MAX - 16
};

static void put(const char *bytes, size_t len)
{
    size_t room = line.len < LINE_ROOM ? LINE_ROOM - line.len : 0;
    if (len == 0 || len > room)
        return;
    memcpy(line.bytes + line.len, bytes, len);
    line.len += len;
}

static void put_end(const char *text)
{
    size_t len = strlen(text);
    if (len > sizeof line.bytes - line.len)
        return;
    memcpy(line.bytes + line.len, text, len);
    line.len += len;
}

static void put_cstr(const char *text)
{
    put(text, strlen(text));
}

__attribute__((format(printf, 1, 2))) static void putf(const char *format, ...)
{
    char text[64];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len > 0)
        put(text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
}

/* A request costs one line at least: what every line has is written without printf. */
static void put_u64(uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    put(digits + at, sizeof digits - at);
}

static void put_i64(int64_t value)
{
    if (value < 0)
        put_cstr("-");
    put_u64(value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* 0 to 999, always three digits */
static void put_thousandths(uint64_t value)
{
    const char digits[3] = {(char)('0' + value / 100), (char)('0' + value / 10 % 10),
                            (char)('0' + value % 10)};
    put(digits, sizeof digits);
}

/* The text of a second is kept: many lines fall into one. */
static void put_time(void)
{
    static time_t shown_second = -1;
    static char text[32];
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != shown_second) {
        if (gmtime_r(&now.tv_sec, &parts) == NULL)
            return;
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.", &parts);
        shown_second = now.tv_sec;
    }
    put_cstr(text);
    put_thousandths((uint64_t)now.tv_nsec / 1000000);
    put_cstr("Z");
}

static void put_char(sbx_view rest, size_t len)
{
    uint8_t byte = rest.data[0];
    if (len == 0)
        put("\xef\xbf\xbd", 3);
    else if (byte == '"' || byte == '\\')
        putf("\\%c", byte);
    else if (byte == '\n')
        put("\\n", 2);
    else if (byte < 0x20 || byte == 0x7f || (len == 2 && byte == 0xc2 && rest.data[1] < 0xa0))
        putf("\\u%04x", len == 2 ? rest.data[1] : byte); /* C0, DEL, and C1, which terminals obey too */
    else
        put((const char *)rest.data, len);
}

/* How many bytes at the front need no escape; most values are all of that kind. */
static size_t plain_prefix(sbx_view text)
{
    size_t len = 0;
    while (len < text.len && text.data[len] >= 0x20 && text.data[len] < 0x7f && text.data[len] != '"' &&
           text.data[len] != '\\')
        len++;
    return len;
}

static void put_quoted(sbx_view text)
{
    sbx_view shown = sbx_view_slice(text, 0, SBX_LOG_VALUE_MAX);
    put_cstr("\"");
    size_t plain = plain_prefix(shown);
    put((const char *)shown.data, plain);
    shown = sbx_view_skip(shown, plain);
    while (shown.len > 0) {
        size_t len = sbx_utf8_valid_char(shown);
        put_char(shown, len);
        shown = sbx_view_skip(shown, len == 0 ? 1 : len);
    }
    if (text.len > SBX_LOG_VALUE_MAX)
        put_cstr("...");
    put_end("\"");
}

static bool is_bare_byte(uint8_t byte)
{
    return byte > ' ' && byte < 0x7f && byte != '"' && byte != '\\' && byte != '=';
}

static bool is_bare(sbx_view text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_bare_byte(text.data[i]))
            return false;
    }
    return text.len > 0 && text.len <= SBX_LOG_VALUE_MAX;
}

static void put_text_value(sbx_view text)
{
    if (sink.format == SBX_LOG_TEXT && is_bare(text))
        put((const char *)text.data, text.len);
    else
        put_quoted(text);
}

static void put_duration(int64_t ns)
{
    uint64_t us = (ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns) / 1000;
    if (ns < 0)
        put_cstr("-");
    put_u64(us / 1000);
    put_cstr(".");
    put_thousandths(us % 1000);
}

static void put_value(const sbx_log_field *field)
{
    switch (field->kind) {
    case SBX_LOG_KEY_STR:
    case SBX_LOG_KEY_OPT:
    case SBX_LOG_KEY_CSTR:
        put_text_value(field->text);
        return;
    case SBX_LOG_KEY_INT:
        put_i64(field->number);
        return;
    case SBX_LOG_KEY_UINT:
        put_u64((uint64_t)field->number);
        return;
    case SBX_LOG_KEY_BOOL:
        put_cstr(field->number != 0 ? "true" : "false");
        return;
    case SBX_LOG_KEY_MS:
        put_duration(field->number);
        return;
    }
}

static bool is_left_out(const sbx_log_field *field)
{
    return (field->kind == SBX_LOG_KEY_OPT && field->text.len == 0) ||
           (field->kind == SBX_LOG_KEY_MS && field->number == SBX_TIME_NEVER);
}

/* The most a field can take once written: each byte as \u00xx at worst. */
static bool fits(const sbx_log_field *field)
{
    size_t shown = field->text.len < SBX_LOG_VALUE_MAX ? field->text.len : SBX_LOG_VALUE_MAX;
    return line.len + strlen(field->key) + shown * 6 + 40 < LINE_ROOM;
}

static void put_field(const sbx_log_field *field)
{
    bool is_json = sink.format == SBX_LOG_JSON;
    put_cstr(is_json ? ",\"" : " ");
    put_cstr(field->key);
    put_cstr(is_json ? "\":" : "=");
    put_value(field);
}

static void put_start(sbx_log_level level, const char *event)
{
    line.len = 0;
    if (sink.format == SBX_LOG_JSON) {
        put_cstr("{\"time\":\"");
        put_time();
        put_cstr("\",\"level\":\"");
        put_cstr(sbx_log_level_name(level));
        put_cstr("\",\"event\":");
        put_quoted(sbx_view_cstr(event));
        return;
    }
    put_time();
    put_cstr(padded_level_names[level]);
    put_cstr(event);
}

static void write_line(void)
{
    size_t done = 0;
    if (sink.on_line != NULL) {
        sink.on_line(sink.user, sbx_view_of(line.bytes, line.len));
        return;
    }
    while (done < line.len) {
        ssize_t count = write(sink.fd, line.bytes + done, line.len - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            sink.lost++;
            return;
        }
        done += (size_t)count;
    }
}

void sbx_log_write(sbx_log_level level, const char *name, const sbx_log_field *fields, size_t count)
{
    put_start(level, name);
    for (size_t i = 0; i < count; i++) {
        if (!is_left_out(&fields[i]) && fits(&fields[i]))
            put_field(&fields[i]);
    }
    put_end(sink.format == SBX_LOG_JSON ? "}\n" : "\n");
    write_line();
}

/* ---- events ---- */

static sbx_log_field field_at(const sbx_log_key *key, const void *fields)
{
    const void *place = (const uint8_t *)fields + key->offset;
    sbx_log_field field = {.kind = key->kind, .key = key->key};
    switch (key->kind) {
    case SBX_LOG_KEY_STR:
    case SBX_LOG_KEY_OPT:
        field.text = *(const sbx_view *)place;
        break;
    case SBX_LOG_KEY_CSTR:
        field.text = sbx_view_cstr(*(const char *const *)place);
        break;
    case SBX_LOG_KEY_INT:
    case SBX_LOG_KEY_MS:
        field.number = *(const int64_t *)place;
        break;
    case SBX_LOG_KEY_UINT:
        field.number = (int64_t)(*(const uint64_t *)place);
        break;
    case SBX_LOG_KEY_BOOL:
        field.number = *(const bool *)place ? 1 : 0;
        break;
    }
    return field;
}

void sbx_log_emit(sbx_log_event event, const void *fields)
{
    sbx_log_event_info info = sbx_log_event_at(event);
    sbx_log_field list[SBX_LOG_FIELDS_MAX];
    assert(info.field_count <= SBX_LOG_FIELDS_MAX);
    for (size_t i = 0; i < info.field_count; i++)
        list[i] = field_at(&info.fields[i], fields);
    sbx_log_write(info.level, info.name, list, info.field_count);
}
