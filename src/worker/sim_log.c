/* See sim_log.h. */
#include "worker/sim_log.h"

#include <openssl/sha.h>
#include <stdlib.h>

#include "base/arena.h"

enum {
    SHA256_BYTES = 32
};

typedef struct log_entry {
    uint64_t id; /* 0: none */
    sbx_time_ns began_at, ended_at;
    bool is_over;
    sbx_arena arena; /* the texts below */
    sbx_view method, target, path;
    sbx_http_header *headers;
    size_t header_count;
    uint64_t body_bytes;
    uint8_t sha256[SHA256_BYTES];
    sbx_sim_log_end end;
} log_entry;

typedef struct kept_body {
    uint64_t id;
    sbx_buf bytes;
} kept_body;

struct sbx_sim_log {
    sbx_time_ns started_at;
    uint64_t last_id, first_id; /* first_id: the oldest that clear left */
    kept_body bodies[SBX_SIM_LOG_BODIES];
    size_t next_body;
    log_entry entries[SBX_SIM_LOG_ENTRIES]; /* by id */
};

sbx_err sbx_sim_log_new(sbx_time_ns started_at, sbx_sim_log **ret_log)
{
    sbx_sim_log *log = calloc(1, sizeof(*log));
    if (log == NULL)
        return SBX_E_NOMEM;
    log->started_at = started_at;
    log->first_id = 1;
    for (size_t i = 0; i < SBX_SIM_LOG_BODIES; i++)
        sbx_buf_init(&log->bodies[i].bytes, SIZE_MAX);
    *ret_log = log;
    return SBX_OK;
}

static void empty_entry(log_entry *entry)
{
    sbx_arena_deinit(&entry->arena);
    *entry = (log_entry){0};
}

void sbx_sim_log_clear(sbx_sim_log *log)
{
    for (size_t i = 0; i < SBX_SIM_LOG_ENTRIES; i++)
        empty_entry(&log->entries[i]);
    for (size_t i = 0; i < SBX_SIM_LOG_BODIES; i++) {
        log->bodies[i].id = 0;
        sbx_buf_deinit(&log->bodies[i].bytes);
        sbx_buf_init(&log->bodies[i].bytes, SIZE_MAX);
    }
    log->first_id = log->last_id + 1;
}

void sbx_sim_log_free(sbx_sim_log *log)
{
    if (log == NULL)
        return;
    sbx_sim_log_clear(log);
    free(log);
}

static sbx_err copy_headers(log_entry *entry, const sbx_http_head *head)
{
    entry->headers = SBX_ARENA_ARRAY(&entry->arena, sbx_http_header, head->header_count);
    if (entry->headers == NULL)
        return SBX_E_NOMEM;
    for (size_t i = 0; i < head->header_count; i++) {
        sbx_http_header *copy = &entry->headers[i];
        if (sbx_arena_dup(&entry->arena, head->headers[i].name, &copy->name) != SBX_OK ||
            sbx_arena_dup(&entry->arena, head->headers[i].value, &copy->value) != SBX_OK)
            return SBX_E_NOMEM;
    }
    entry->header_count = head->header_count;
    return SBX_OK;
}

static sbx_err copy_head(log_entry *entry, const sbx_http_head *head)
{
    sbx_err err = sbx_arena_dup(&entry->arena, head->method, &entry->method);
    if (err == SBX_OK)
        err = sbx_arena_dup(&entry->arena, head->target, &entry->target);
    if (err == SBX_OK)
        err = sbx_arena_dup(&entry->arena, head->path, &entry->path);
    return err == SBX_OK ? copy_headers(entry, head) : err;
}

static void keep_body(sbx_sim_log *log, uint64_t id, sbx_view body)
{
    if (body.len == 0)
        return;
    kept_body *kept = &log->bodies[log->next_body];
    log->next_body = (log->next_body + 1) % SBX_SIM_LOG_BODIES;
    sbx_buf_deinit(&kept->bytes);
    sbx_buf_init(&kept->bytes, SIZE_MAX);
    kept->id = sbx_buf_append_view(&kept->bytes, body) == SBX_OK ? id : 0;
}

uint64_t sbx_sim_log_begin(sbx_sim_log *log, const sbx_http_head *head, sbx_view body, sbx_time_ns now)
{
    uint64_t id = ++log->last_id;
    log_entry *entry = &log->entries[id % SBX_SIM_LOG_ENTRIES];
    empty_entry(entry);
    sbx_arena_init(&entry->arena, SIZE_MAX);
    if (copy_head(entry, head) != SBX_OK) {
        empty_entry(entry);
        return 0;
    }
    entry->id = id;
    entry->began_at = now;
    entry->body_bytes = body.len;
    SHA256(body.len == 0 ? (const uint8_t *)"" : body.data, body.len, entry->sha256);
    keep_body(log, id, body);
    return id;
}

static log_entry *find(sbx_sim_log *log, uint64_t id)
{
    log_entry *entry = &log->entries[id % SBX_SIM_LOG_ENTRIES];
    return id != 0 && entry->id == id ? entry : NULL;
}

void sbx_sim_log_finish(sbx_sim_log *log, uint64_t id, const sbx_sim_log_end *end, sbx_time_ns now)
{
    log_entry *entry = find(log, id);
    if (entry == NULL)
        return;
    entry->is_over = true;
    entry->ended_at = now;
    entry->end = *end;
}

/* ---- as JSON ---- */

static double to_ms(sbx_time_ns time)
{
    return (double)time / 1e6;
}

static void write_text(const char *name, sbx_view text, sbx_buf *out)
{
    sbx_buf_appendf(out, "\"%s\":", name);
    sbx_buf_append_json(out, text);
    sbx_buf_append_byte(out, ',');
}

static void write_headers(const log_entry *entry, sbx_buf *out)
{
    sbx_buf_append_cstr(out, "\"headers\":[");
    for (size_t i = 0; i < entry->header_count; i++) {
        sbx_buf_append_cstr(out, i > 0 ? ",[" : "[");
        sbx_buf_append_json(out, entry->headers[i].name);
        sbx_buf_append_byte(out, ',');
        sbx_buf_append_json(out, entry->headers[i].value);
        sbx_buf_append_byte(out, ']');
    }
    sbx_buf_append_cstr(out, "],");
}

static void write_body_facts(const log_entry *entry, sbx_buf *out)
{
    sbx_buf_appendf(out, "\"body_bytes\":%llu,\"body_sha256\":\"", (unsigned long long)entry->body_bytes);
    for (size_t i = 0; i < SHA256_BYTES; i++)
        sbx_buf_appendf(out, "%02x", entry->sha256[i]);
    sbx_buf_append_cstr(out, "\",");
}

static const char *boolean(bool value)
{
    return value ? "true" : "false";
}

static void write_end(const log_entry *entry, sbx_buf *out)
{
    const sbx_sim_log_end *end = &entry->end;
    sbx_buf_appendf(out, "\"status\":%u,\"bytes_sent\":%llu,\"tokens\":%u,", end->status,
                    (unsigned long long)end->body_bytes, end->tokens);
    sbx_buf_appendf(out, "\"finished\":%s,\"aborted\":%s,\"running\":%s,", boolean(end->is_finished),
                    boolean(end->is_aborted), boolean(!entry->is_over));
    if (end->is_aborted)
        sbx_buf_appendf(out, "\"aborted_after_ms\":%.3f,", to_ms(entry->ended_at - entry->began_at));
    if (end->fault != NULL)
        sbx_buf_appendf(out, "\"fault\":\"%s\",", end->fault);
    if (entry->is_over)
        sbx_buf_appendf(out, "\"duration_ms\":%.3f,", to_ms(entry->ended_at - entry->began_at));
}

static void write_entry(const sbx_sim_log *log, const log_entry *entry, sbx_buf *out)
{
    sbx_buf_append_byte(out, '{');
    write_text("method", entry->method, out);
    write_text("path", entry->path, out);
    write_text("target", entry->target, out);
    write_headers(entry, out);
    write_body_facts(entry, out);
    write_end(entry, out);
    sbx_buf_appendf(out, "\"at_ms\":%.3f,\"id\":%llu}", to_ms(entry->began_at - log->started_at),
                    (unsigned long long)entry->id);
}

static uint64_t oldest_id(const sbx_sim_log *log)
{
    uint64_t held = log->last_id < SBX_SIM_LOG_ENTRIES ? 1 : log->last_id - SBX_SIM_LOG_ENTRIES + 1;
    return held > log->first_id ? held : log->first_id;
}

void sbx_sim_log_write(const sbx_sim_log *log, sbx_view path, uint64_t since, sbx_time_ns now, sbx_buf *out)
{
    uint64_t oldest = oldest_id(log);
    bool is_first = true;
    sbx_buf_appendf(out, "{\"now_ms\":%.3f,\"total\":%llu,\"dropped\":%llu,\"requests\":[",
                    to_ms(now - log->started_at), (unsigned long long)(log->last_id - log->first_id + 1),
                    (unsigned long long)(oldest - log->first_id));
    for (uint64_t id = oldest > since ? oldest : since + 1; id <= log->last_id; id++) {
        const log_entry *entry = &log->entries[id % SBX_SIM_LOG_ENTRIES];
        if (entry->id != id || (path.len > 0 && !sbx_view_eq(path, entry->path)))
            continue;
        if (!is_first)
            sbx_buf_append_byte(out, ',');
        is_first = false;
        write_entry(log, entry, out);
    }
    sbx_buf_append_cstr(out, "]}");
}

sbx_view sbx_sim_log_body(const sbx_sim_log *log, uint64_t id)
{
    const kept_body *found = NULL;
    for (size_t i = 0; i < SBX_SIM_LOG_BODIES; i++) {
        const kept_body *kept = &log->bodies[i];
        bool is_wanted = id == 0 ? kept->id > (found == NULL ? 0 : found->id) : kept->id == id;
        if (is_wanted && kept->id != 0)
            found = kept;
    }
    return found == NULL ? (sbx_view){0} : sbx_buf_view(&found->bytes);
}
