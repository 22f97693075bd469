/* See prometheus.h. */
#include "codec/prometheus.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

const char *sbx_prom_type_name(sbx_prom_type type)
{
    switch (type) {
    case SBX_PROM_COUNTER:
        return "counter";
    case SBX_PROM_GAUGE:
        return "gauge";
    case SBX_PROM_HISTOGRAM:
        return "histogram";
    }
    return "untyped";
}

void sbx_prom_init(sbx_prom *prom, sbx_buf *out, uint32_t series_cap)
{
    *prom = (sbx_prom){.out = out, .series_cap = series_cap};
}

static bool is_name(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    return text[0] != '\0' && strchr(letters, text[0]) != NULL &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == strlen(text);
}

/* ---- text ---- */

static void put_help(sbx_buf *out, const char *help)
{
    for (; *help != '\0'; help++) {
        if (*help == '\\')
            sbx_buf_append_cstr(out, "\\\\");
        else if (*help == '\n')
            sbx_buf_append_cstr(out, "\\n");
        else
            sbx_buf_append_byte(out, (uint8_t)*help);
    }
}

/* C0, DEL, and C1, which terminals obey too. */
static bool is_control(sbx_view rest, size_t len)
{
    uint8_t byte = rest.data[0];
    return byte < 0x20 || byte == 0x7f || (len == 2 && byte == 0xc2 && rest.data[1] < 0xa0);
}

/* What is no UTF-8, and control characters other than the newline, come out as U+FFFD. */
static void put_char(sbx_buf *out, sbx_view rest, size_t len)
{
    uint8_t byte = rest.data[0];
    if (byte == '\n')
        sbx_buf_append_cstr(out, "\\n");
    else if (byte == '"' || byte == '\\')
        sbx_buf_append(out, byte == '"' ? "\\\"" : "\\\\", 2);
    else if (len == 0 || is_control(rest, len))
        sbx_buf_append_cstr(out, "\xef\xbf\xbd");
    else
        sbx_buf_append(out, rest.data, len);
}

static void put_label(sbx_buf *out, const sbx_prom_label *label)
{
    sbx_view rest = label->value;
    assert(is_name(label->name));
    sbx_buf_append_cstr(out, label->name);
    sbx_buf_append_cstr(out, "=\"");
    while (rest.len > 0) {
        size_t len = sbx_utf8_valid_char(rest);
        put_char(out, rest, len);
        rest = sbx_view_skip(rest, len == 0 ? 1 : len);
    }
    sbx_buf_append_byte(out, '"');
}

/* {a="x",le="0.5"}; le NULL: none. */
static void put_labels(sbx_buf *out, const sbx_prom_label *labels, size_t count, const char *le)
{
    if (count == 0 && le == NULL)
        return;
    sbx_buf_append_byte(out, '{');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            sbx_buf_append_byte(out, ',');
        put_label(out, &labels[i]);
    }
    if (le != NULL)
        sbx_buf_appendf(out, "%sle=\"%s\"", count > 0 ? "," : "", le);
    sbx_buf_append_byte(out, '}');
}

static void put_start(sbx_prom *prom, const char *suffix, const sbx_prom_label *labels, size_t count,
                      const char *le)
{
    sbx_buf_append_cstr(prom->out, prom->family);
    sbx_buf_append_cstr(prom->out, suffix);
    put_labels(prom->out, labels, count, le);
    sbx_buf_append_byte(prom->out, ' ');
}

/* ---- families and samples ---- */

void sbx_prom_family(sbx_prom *prom, const char *name, sbx_prom_type type, const char *help)
{
    assert(is_name(name));
    assert((type == SBX_PROM_COUNTER) == sbx_view_ends_with(sbx_view_cstr(name), SBX_VIEW("_total")));
    prom->family = name;
    sbx_buf_appendf(prom->out, "# HELP %s ", name);
    put_help(prom->out, help);
    sbx_buf_appendf(prom->out, "\n# TYPE %s %s\n", name, sbx_prom_type_name(type));
}

void sbx_prom_leave_out(sbx_prom *prom, uint32_t series)
{
    prom->left_out += series;
}

static bool takes(sbx_prom *prom, uint32_t series)
{
    assert(prom->family != NULL);
    if (series > prom->series_cap - prom->series) {
        sbx_prom_leave_out(prom, series);
        return false;
    }
    prom->series += series;
    return true;
}

void sbx_prom_u64(sbx_prom *prom, const sbx_prom_label *labels, size_t count, uint64_t value)
{
    if (!takes(prom, 1))
        return;
    put_start(prom, "", labels, count, /* le: */ NULL);
    sbx_buf_append_u64(prom->out, value);
    sbx_buf_append_byte(prom->out, '\n');
}

void sbx_prom_i64(sbx_prom *prom, const sbx_prom_label *labels, size_t count, int64_t value)
{
    if (!takes(prom, 1))
        return;
    put_start(prom, "", labels, count, /* le: */ NULL);
    sbx_buf_append_i64(prom->out, value);
    sbx_buf_append_byte(prom->out, '\n');
}

/* ---- histograms ---- */

enum {
    SECONDS_SIZE = 32
};

/* "0.005", "2.5", "600": no zeros at the end. */
static const char *write_seconds(uint64_t us, char text[SECONDS_SIZE])
{
    int len = snprintf(text, SECONDS_SIZE, "%llu.%06llu", (unsigned long long)(us / 1000000),
                       (unsigned long long)(us % 1000000));
    while (text[len - 1] == '0')
        len--;
    if (text[len - 1] == '.')
        len--;
    text[len] = '\0';
    return text;
}

static void put_bucket(sbx_prom *prom, const sbx_prom_label *labels, size_t count, const char *le,
                       uint64_t value)
{
    put_start(prom, "_bucket", labels, count, le);
    sbx_buf_append_u64(prom->out, value);
    sbx_buf_append_byte(prom->out, '\n');
}

void sbx_prom_histogram(sbx_prom *prom, const sbx_prom_label *labels, size_t count,
                        const sbx_histogram *histogram)
{
    char text[SECONDS_SIZE];
    uint64_t below = 0;
    if (!takes(prom, SBX_PROM_HISTOGRAM_SERIES))
        return;
    for (unsigned i = 0; i < SBX_HISTOGRAM_BOUNDS; i++) {
        below += histogram->counts[i];
        put_bucket(prom, labels, count, write_seconds((uint64_t)(sbx_histogram_bounds[i] / SBX_US(1)), text),
                   below);
    }
    below += histogram->counts[SBX_HISTOGRAM_BOUNDS];
    put_bucket(prom, labels, count, "+Inf", below);
    put_start(prom, "_sum", labels, count, /* le: */ NULL);
    sbx_buf_appendf(prom->out, "%s\n", write_seconds(histogram->sum_us, text));
    put_start(prom, "_count", labels, count, /* le: */ NULL);
    sbx_buf_append_u64(prom->out, below);
    sbx_buf_append_byte(prom->out, '\n');
}
