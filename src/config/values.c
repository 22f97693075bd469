/* Readers of single values. Numbers are written plainly: "0x10", "1e3", "010" or a number in quotes are
 * refused, as different YAML readers read them differently. */
#include <assert.h>

#include "config/values_priv.h"

bool sbx_read_value(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    static sbx_read_fn *const readers[] = {
#define SBX_KIND(name, type, reader) sbx_##reader,
#include "config/kinds.def"
#undef SBX_KIND
    };
    assert(row->kind < SBX_KIND_COUNT);
    return readers[row->kind](load, row, node, field);
}

bool sbx_wrong(sbx_load *load, const sbx_row *row, sbx_node *node)
{
    char quoted[SBX_QUOTE_MAX];
    char expected[SBX_DESCRIBE_MAX];
    const char *found = sbx_found(node, quoted);
    bool has_text = node->kind == SBX_NODE_SCALAR && node->text.len > 0;
    bool is_string = has_text && !node->is_plain && !node->is_expanded;
    if (has_text && row->kind == SBX_KIND_SECRET) {
        found = "another value (not shown)";
        is_string = false;
    }
    node->is_bad = true;
    sbx_load_problem(load, node->place, "found %s%s, expected %s", is_string ? "the string " : "", found,
                     sbx_describe(row, expected));
    return false;
}

bool sbx_want_scalar(sbx_load *load, const sbx_row *row, sbx_node *node)
{
    return node->kind == SBX_NODE_SCALAR || sbx_wrong(load, row, node);
}

bool sbx_is_clean(sbx_view text, size_t max)
{
    if (text.len == 0 || text.len > max)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 0x20 || text.data[i] == 0x7f)
            return false;
    return true;
}

/* A scalar without quotes, or one whose text came from the environment, where quotes say nothing. */
static bool is_bare(const sbx_node *node)
{
    return node->kind == SBX_NODE_SCALAR && (node->is_plain || node->is_expanded);
}

static bool is_one_of(sbx_view text, const char *const *words, size_t *ret_index)
{
    for (size_t i = 0; words[i] != NULL; i++)
        if (sbx_view_eq_cstr(text, words[i])) {
            *ret_index = i;
            return true;
        }
    return false;
}

/* -- numbers
 * --------------------------------------------------------------------------------------------------- */

static bool has_leading_zero(sbx_view digits)
{
    return digits.len > 1 && digits.data[0] == '0';
}

static bool to_number(sbx_view text, uint64_t *ret_number)
{
    return !has_leading_zero(text) && sbx_view_to_u64(text, UINT64_MAX, ret_number) == SBX_OK;
}

/* "10", "10.0", "0.25" to thousandths. */
static bool to_thousandths(sbx_view text, uint64_t *ret_thousandths)
{
    size_t dot = sbx_view_find(text, '.', 0);
    sbx_view fraction = dot == SIZE_MAX ? SBX_VIEW("0") : sbx_view_skip(text, dot + 1);
    uint64_t whole;
    uint64_t part = 0;
    if (!to_number(sbx_view_slice(text, 0, dot), &whole) || whole > UINT64_MAX / 1000 - 1 ||
        fraction.len == 0)
        return false;
    while (fraction.len > 3 && fraction.data[fraction.len - 1] == '0')
        fraction.len--;
    if (fraction.len > 3 || sbx_view_to_u64(fraction, 999, &part) != SBX_OK)
        return false;
    for (size_t i = fraction.len; i < 3; i++)
        part *= 10;
    *ret_thousandths = whole * 1000 + part;
    return true;
}

bool sbx_read_uint(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    uint64_t number;
    assert(row->most <= UINT32_MAX);
    if (!is_bare(node) || !to_number(node->text, &number) || number < row->least || number > row->most)
        return sbx_wrong(load, row, node);
    *(uint32_t *)field = (uint32_t)number;
    return true;
}

bool sbx_read_ms(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    uint64_t thousandths;
    assert(row->most <= UINT32_MAX);
    if (!is_bare(node) || !to_thousandths(node->text, &thousandths) || thousandths % 1000 != 0 ||
        thousandths / 1000 < row->least || thousandths / 1000 > row->most)
        return sbx_wrong(load, row, node);
    *(uint32_t *)field = (uint32_t)(thousandths / 1000);
    return true;
}

bool sbx_read_sec(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    uint64_t ms;
    assert(row->most <= UINT32_MAX / 1000);
    if (!is_bare(node) || !to_thousandths(node->text, &ms) || ms < row->least * 1000 || ms > row->most * 1000)
        return sbx_wrong(load, row, node);
    *(uint32_t *)field = (uint32_t)ms;
    return true;
}

bool sbx_read_real(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    uint64_t thousandths;
    if (!is_bare(node) || !to_thousandths(node->text, &thousandths) || thousandths < row->least * 1000 ||
        thousandths > row->most * 1000)
        return sbx_wrong(load, row, node);
    *(double *)field = (double)thousandths / 1000.0;
    return true;
}

static bool unit_bytes(sbx_view unit, uint64_t *ret_bytes)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {{"", 1},
                 {"B", 1},
                 {"bytes", 1},
                 {"KiB", UINT64_C(1) << 10},
                 {"MiB", UINT64_C(1) << 20},
                 {"GiB", UINT64_C(1) << 30},
                 {"TiB", UINT64_C(1) << 40},
                 {"kB", 1000},
                 {"KB", 1000},
                 {"MB", 1000000},
                 {"GB", 1000000000},
                 {"TB", 1000000000000}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (sbx_view_eq_cstr(unit, units[i].name)) {
            *ret_bytes = units[i].bytes;
            return true;
        }
    return false;
}

/* Quotes are fine here: "32 MiB" is a string to begin with. */
bool sbx_read_size(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    size_t digits = 0;
    uint64_t number;
    uint64_t unit;
    if (!sbx_want_scalar(load, row, node))
        return false;
    while (digits < node->text.len && node->text.data[digits] >= '0' && node->text.data[digits] <= '9')
        digits++;
    sbx_view unit_text = sbx_view_trim(sbx_view_skip(node->text, digits));
    if (!to_number(sbx_view_slice(node->text, 0, digits), &number) || !unit_bytes(unit_text, &unit) ||
        number > UINT64_MAX / unit || number * unit < row->least || number * unit > row->most)
        return sbx_wrong(load, row, node);
    *(uint64_t *)field = number * unit;
    return true;
}

/* -- words
 * ----------------------------------------------------------------------------------------------------- */

/* What YAML 1.1 and 1.2 take for a truth value; the key's type leaves no doubt. 1 and 0 only from outside
 * YAML. */
bool sbx_read_bool(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "1", "0"};
    if (!is_bare(node))
        return sbx_wrong(load, row, node);
    bool takes_digits = node->is_verbatim || node->is_expanded;
    for (size_t i = 0; i < (takes_digits ? 8 : 6); i++)
        if (sbx_view_eq_nocase(node->text, sbx_view_cstr(words[i]))) {
            *(bool *)field = i % 2 == 0;
            return true;
        }
    return sbx_wrong(load, row, node);
}

bool sbx_read_enum(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    size_t index;
    if (!sbx_want_scalar(load, row, node))
        return false;
    if (!is_one_of(node->text, row->words, &index))
        return sbx_wrong(load, row, node);
    int value = (int)index;
    memcpy(field, &value, sizeof value);
    return true;
}

/* -- strings
 * --------------------------------------------------------------------------------------------------- */

static bool keep(sbx_load *load, sbx_view text, void *field)
{
    const char *kept = sbx_load_keep_text(load, text);
    if (kept == NULL)
        return false;
    *(const char **)field = kept;
    return true;
}

/* Whether text is 1 to max bytes of letters, digits and the extra characters. */
static bool is_made_of(sbx_view text, const char *extra, size_t max)
{
    if (text.len == 0 || text.len > max)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool is_alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_alphanumeric && (c == 0 || strchr(extra, c) == NULL))
            return false;
    }
    return true;
}

bool sbx_read_text(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    if (!sbx_want_scalar(load, row, node))
        return false;
    for (size_t i = 0; i < node->text.len; i++) {
        uint8_t c = node->text.data[i];
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            return sbx_wrong(load, row, node);
    }
    return keep(load, node->text, field);
}

bool sbx_read_secret(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    if (!sbx_want_scalar(load, row, node))
        return false;
    if (!sbx_is_clean(node->text, SBX_CONFIG_SECRET_MAX))
        return sbx_wrong(load, row, node);
    return keep(load, node->text, field);
}

bool sbx_read_path(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    if (!sbx_want_scalar(load, row, node))
        return false;
    if (!sbx_is_clean(node->text, 4095))
        return sbx_wrong(load, row, node);
    const char *path = sbx_keep_path(load, node);
    if (path == NULL)
        return false;
    *(const char **)field = path;
    return true;
}

bool sbx_read_id(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    if (!sbx_want_scalar(load, row, node))
        return false;
    if (!is_made_of(node->text, "_-", SBX_CONFIG_ID_MAX))
        return sbx_wrong(load, row, node);
    return keep(load, node->text, field);
}

bool sbx_read_prefix(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    if (node->kind == SBX_NODE_SCALAR && node->text.len == 0)
        return keep(load, node->text, field);
    return sbx_read_id(load, row, node, field);
}

bool sbx_read_worker_id(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    if (!sbx_want_scalar(load, row, node))
        return false;
    if (!is_made_of(node->text, "._:@+-", SBX_CONFIG_ID_MAX))
        return sbx_wrong(load, row, node);
    return keep(load, node->text, field);
}

bool sbx_read_model(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    if (!sbx_want_scalar(load, row, node))
        return false;
    if (!sbx_is_clean(node->text, SBX_CONFIG_MODEL_MAX))
        return sbx_wrong(load, row, node);
    return keep(load, node->text, field);
}
