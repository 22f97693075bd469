/* Readers of hosts, URLs and request paths. */
#include "config/values_priv.h"

/* "expected a URL ...: its host is missing" */
static bool wrong_because(sbx_load *load, const sbx_row *row, sbx_node *node, const char *why)
{
    char quoted[SBX_QUOTE_MAX];
    char expected[SBX_DESCRIBE_MAX];
    bool has_secret = sbx_view_find(node->text, '@', 0) != SIZE_MAX;
    node->is_bad = true;
    sbx_load_problem(load, node->place, "found %s, expected %s: %s",
                     has_secret ? "a URL with a user (not shown)" : sbx_found(node, quoted),
                     sbx_describe(row, expected), why);
    return false;
}

/* "[::1]" is "::1" in brackets. */
static sbx_view without_brackets(sbx_view host)
{
    bool has_both = host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    return has_both ? sbx_view_slice(host, 1, host.len - 2) : host;
}

bool sbx_read_host(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    if (!sbx_want_scalar(load, row, node))
        return false;
    sbx_view host = without_brackets(node->text);
    if (!sbx_url_is_host(host))
        return sbx_wrong(load, row, node);
    const char *kept = sbx_load_keep_text(load, host);
    if (kept == NULL)
        return false;
    *(const char **)field = kept;
    return true;
}

bool sbx_read_uri_path(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    if (!sbx_want_scalar(load, row, node))
        return false;
    bool is_path = node->text.len > 0 && node->text.len <= 1024 && node->text.data[0] == '/';
    for (size_t i = 0; i < node->text.len; i++)
        is_path =
            is_path && node->text.data[i] > ' ' && node->text.data[i] < 0x7f && node->text.data[i] != '#';
    if (!is_path)
        return sbx_wrong(load, row, node);
    const char *kept = sbx_load_keep_text(load, node->text);
    if (kept == NULL)
        return false;
    *(const char **)field = kept;
    return true;
}

bool sbx_read_url(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    const char *why = "";
    if (!sbx_want_scalar(load, row, node))
        return false;
    sbx_err err = sbx_url_parse(load->keep, node->text, (sbx_url *)field, &why);
    if (err == SBX_E_PARSE)
        return wrong_because(load, row, node, why);
    load->out_of_memory = load->out_of_memory || err != SBX_OK;
    return err == SBX_OK;
}

/* One server of the bus: the rest of the URL is held to the same rules as an http one. */
static const char *check_nats_url(sbx_load *load, sbx_view text)
{
    size_t scheme = sbx_view_starts_with(text, SBX_VIEW("nats://"))  ? strlen("nats")
                    : sbx_view_starts_with(text, SBX_VIEW("tls://")) ? strlen("tls")
                                                                     : 0;
    if (scheme == 0)
        return "it must begin with nats:// or tls://";
    sbx_buf buf;
    sbx_buf_init(&buf, 4096);
    sbx_buf_append_cstr(&buf, "http");
    sbx_buf_append_view(&buf, sbx_view_skip(text, scheme));
    const char *why = "it is too long";
    sbx_url url = {0};
    sbx_err err = SBX_E_PARSE;
    if (sbx_buf_error(&buf) == SBX_OK)
        err = sbx_url_parse(&load->scratch, sbx_buf_view(&buf), &url, &why);
    sbx_buf_deinit(&buf);
    if (err == SBX_E_PARSE)
        return sbx_view_find(text, '@', 0) != SIZE_MAX ? "give user and password in keys of their own" : why;
    if (err != SBX_OK)
        load->out_of_memory = true;
    return err == SBX_OK && url.prefix[0] != '\0' ? "nothing may follow its port" : NULL;
}

bool sbx_read_nats_url(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    if (!sbx_want_scalar(load, row, node))
        return false;
    sbx_buf joined;
    sbx_buf_init(&joined, 65536);
    const char *why = NULL;
    for (sbx_view rest = node->text; why == NULL;) {
        size_t comma = sbx_view_find(rest, ',', 0);
        sbx_view one = sbx_view_trim(sbx_view_slice(rest, 0, comma));
        why = check_nats_url(load, one);
        sbx_buf_append_cstr(&joined, joined.len == 0 ? "" : ",");
        sbx_buf_append_view(&joined, one);
        if (comma == SIZE_MAX)
            break;
        rest = sbx_view_skip(rest, comma + 1);
    }
    const char *kept = why == NULL ? sbx_load_keep_text(load, sbx_buf_view(&joined)) : NULL;
    sbx_buf_deinit(&joined);
    if (why != NULL)
        return wrong_because(load, row, node, why);
    if (kept == NULL)
        return false;
    *(const char **)field = kept;
    return true;
}

bool sbx_read_listen(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    if (!sbx_want_scalar(load, row, node))
        return false;
    size_t colon = node->text.len;
    while (colon > 0 && node->text.data[colon - 1] != ':')
        colon--;
    uint64_t port;
    sbx_view address = sbx_view_slice(node->text, 0, colon == 0 ? 0 : colon - 1);
    sbx_view host = without_brackets(address);
    bool is_bare_ipv6 = host.len == address.len && sbx_view_find(host, ':', 0) != SIZE_MAX;
    if (is_bare_ipv6 || !sbx_url_is_host(host) ||
        sbx_view_to_u64(sbx_view_skip(node->text, colon), 65535, &port) != SBX_OK)
        return sbx_wrong(load, row, node);
    const char *kept = sbx_load_keep_text(load, host);
    if (kept == NULL)
        return false;
    *(sbx_config_address *)field = (sbx_config_address){.host = kept, .port = (uint32_t)port};
    return true;
}
