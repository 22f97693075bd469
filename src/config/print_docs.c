/* docs/configuration.md, and the table of keys for shell completion. */
#include <string.h>

#include "config/print.h"
#include "config/schema_priv.h"

static const char introduction[] =
    "# Configuration\n"
    "\n"
    "This page is made from `src/config/keys.def`; `SBX_UPDATE_DOCS=1 build/dev/config_test_print` writes it "
    "anew.\n"
    "\n"
    "Signalbox reads one YAML file. Every section and key is optional: `{}` or an empty file is a valid "
    "controller\n"
    "without workers. `signalbox check FILE` tells everything that is wrong with a file, one line each, and "
    "exits 2:\n"
    "\n"
    "```\n"
    "signalbox.yaml:3:11: cluster.controller.port: found \"84840\", expected a whole number from 0 to 65535\n"
    "```\n"
    "\n"
    "## Rules\n"
    "\n"
    "* Unknown and doubled keys are errors. `null`, `~` and nothing at all mean \"not set\".\n"
    "* Names (of backends, presets, models) are strings even when they look like numbers. Numbers are "
    "written plainly:\n"
    "  no quotes, no `0x`, no exponent, no zero in front. Durations may end in decimals (`10.0`) where they "
    "come out\n"
    "  whole; seconds may have up to three. Sizes are bytes, or have a unit: `32 MiB`, `512MiB`, `1 GB`.\n"
    "* Where a list is expected, one value stands for a list of one.\n"
    "* `${NAME}` and `${NAME:-text}` inside a value are replaced from the environment, in quotes too. `text` "
    "is taken\n"
    "  when NAME is not set or empty; without it, a NAME that is not set is an error. A value that comes to "
    "nothing is\n"
    "  not set. `$${` stands for `${` itself. Between `{ }` or `[ ]` YAML wants quotes around it.\n"
    "* A key that holds a secret may name a file instead: `api_key_file` for `api_key`, `passwordFile` for "
    "`password`\n"
    "  below `cluster:`. Newlines at the file's end are dropped. Giving both is an error. Secrets are never "
    "printed.\n"
    "* Relative paths are taken from the folder of the file they stand in; those of flags and of the "
    "environment from\n"
    "  the working directory.\n"
    "* Anchors, aliases and `<<` work. Tags other than YAML's own, several documents in a file, tabs as "
    "indentation and\n"
    "  anything but UTF-8 do not.\n"
    "* Flags beat the environment, the environment beats the file. The variable of a key is `SIGNALBOX_` and "
    "its path\n"
    "  without `cluster.`, its words in capitals joined by `_`: `cluster.nats.serverUrl` is "
    "`SIGNALBOX_NATS_SERVER_URL`.\n"
    "  Files of secrets have theirs: `SIGNALBOX_NATS_PASSWORD_FILE`. A variable that is set to nothing "
    "counts as not\n"
    "  set. Lists are separated by commas; lists and maps of mappings are written as YAML:\n"
    "  `SIGNALBOX_WORKER_ENGINES='[{kind: simulated}]'`. Keys inside those have no variable of their own.\n"
    "* Kubernetes sets variables for services of a namespace: a service called `signalbox-controller` gives\n"
    "  `SIGNALBOX_CONTROLLER_PORT=tcp://...`, which is refused. Call it otherwise, or set "
    "`enableServiceLinks: false`.\n";

/* Rows of one heading stand together: "cluster.nats" for all below it, "backends", "logging". */
static sbx_view heading_of(const sbx_row *row)
{
    sbx_view path = sbx_view_cstr(row->path);
    size_t dot = sbx_view_find(path, '.', 0);
    if (sbx_view_starts_with(path, SBX_VIEW("cluster.")))
        dot = sbx_view_find(path, '.', dot + 1);
    sbx_view heading = sbx_view_slice(path, 0, dot);
    if (sbx_view_starts_with(heading, SBX_VIEW("active_stack")) ||
        sbx_view_starts_with(heading, SBX_VIEW("stack_")))
        return SBX_VIEW("stack_presets");
    return sbx_view_eq_cstr(heading, "cluster.mode") ? SBX_VIEW("cluster") : heading;
}

static void print_type(sbx_buf *buf, const sbx_row *row)
{
    char expected[SBX_DESCRIBE_MAX];
    if (row->type == SBX_ROW_LIST)
        sbx_buf_append_cstr(buf,
                            row->short_key == NULL ? "a list of mappings" : "a list of strings or mappings");
    else if (row->type == SBX_ROW_MAP)
        sbx_buf_appendf(buf, "a mapping; names: %s", sbx_describe(row, expected));
    else
        sbx_buf_append_cstr(buf, sbx_describe(row, expected));
}

static void print_default(sbx_buf *buf, const sbx_row *row)
{
    if (row->type != SBX_ROW_KEY || row->default_text == NULL)
        return;
    if (row->default_text == sbx_required)
        sbx_buf_append_cstr(buf, "required");
    else if (row->default_text[0] != '\0')
        sbx_buf_appendf(buf, "`%s`", row->default_text);
}

static void print_row(sbx_buf *buf, const sbx_row *row)
{
    char name[SBX_CONFIG_ENV_NAME_MAX];
    sbx_buf_appendf(buf, "| `%s` | ", row->path);
    print_type(buf, row);
    sbx_buf_append_cstr(buf, " | ");
    print_default(buf, row);
    sbx_config_env_name(row->path, name, sizeof name);
    sbx_buf_appendf(buf, " | %s%s%s | %s%s |\n", name[0] == '\0' ? "" : "`", name, name[0] == '\0' ? "" : "`",
                    row->meaning,
                    row->type == SBX_ROW_KEY && row->kind == SBX_KIND_SECRET ? " (secret)" : "");
}

sbx_err sbx_config_print_docs(sbx_buf *buf)
{
    sbx_view heading = {0};
    sbx_buf_append_cstr(buf, introduction);
    for (size_t i = 0; i < sbx_row_count; i++) {
        sbx_view now = heading_of(&sbx_rows[i]);
        if (!sbx_view_eq(now, heading))
            sbx_buf_appendf(buf,
                            "\n## %.*s\n\n| key | type, range | default | environment | meaning |\n"
                            "|---|---|---|---|---|\n",
                            SBX_VIEW_ARG(now));
        heading = now;
        print_row(buf, &sbx_rows[i]);
    }
    return sbx_buf_error(buf);
}

size_t sbx_config_key_count(void)
{
    return sbx_row_count;
}

sbx_config_key_info sbx_config_key_at(size_t index)
{
    const sbx_row *row = &sbx_rows[index];
    return (sbx_config_key_info){.path = row->path,
                                 .default_text = row->default_text == sbx_required ? NULL : row->default_text,
                                 .words = row->words,
                                 .meaning = row->meaning,
                                 .is_secret = row->type == SBX_ROW_KEY && row->kind == SBX_KIND_SECRET};
}
