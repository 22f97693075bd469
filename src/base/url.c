/* Splitting and joining base URLs. One pass from left to right, each part checked by the bytes it may hold.
 */
#include "base/url.h"

#include <arpa/inet.h>
#include <string.h>

enum {
    HOST_MAX = 253, /* RFC 1035 */
    PREFIX_MAX = 1024
};

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_host_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '_' ||
           c == '.';
}

static bool is_ip(sbx_view host, int family)
{
    char text[INET6_ADDRSTRLEN + 1];
    unsigned char address[16];
    return sbx_view_to_cstr(host, text, sizeof text) == SBX_OK && inet_pton(family, text, address) == 1;
}

/* No label is empty or longer than 63 bytes; the last may be followed by the root's dot. */
static bool has_good_labels(sbx_view host)
{
    size_t label = 0;
    for (size_t i = 0; i < host.len; i++) {
        bool ends = host.data[i] == '.';
        if ((ends && label == 0) || (!ends && !is_host_byte(host.data[i])) || label > 63)
            return false;
        label = ends ? 0 : label + 1;
    }
    return label <= 63;
}

/* "10.0.0.300" is a mistyped address, not a name: no top-level domain is a number. */
static bool ends_in_number(sbx_view host)
{
    size_t i = host.len;
    while (i > 0 && is_digit(host.data[i - 1]))
        i--;
    return i < host.len && (i == 0 || host.data[i - 1] == '.');
}

bool sbx_url_is_host(sbx_view host)
{
    if (host.len == 0 || host.len > HOST_MAX)
        return false;
    if (sbx_view_find(host, ':', 0) != SIZE_MAX)
        return is_ip(host, AF_INET6);
    if (ends_in_number(host))
        return is_ip(host, AF_INET);
    return has_good_labels(host);
}

static sbx_view without_slashes_at_end(sbx_view v)
{
    while (v.len > 0 && v.data[v.len - 1] == '/')
        v.len--;
    return v;
}

/* Cuts the scheme off `rest`. */
static const char *take_scheme(sbx_view *rest, bool *ret_is_https)
{
    size_t colon = sbx_view_find(*rest, ':', 0);
    sbx_view after = sbx_view_skip(*rest, colon);
    if (colon == SIZE_MAX || !sbx_view_starts_with(after, SBX_VIEW("://")))
        return "it must begin with http:// or https://";

    sbx_view scheme = sbx_view_slice(*rest, 0, colon);
    *ret_is_https = sbx_view_eq_nocase(scheme, SBX_VIEW("https"));
    if (!*ret_is_https && !sbx_view_eq_nocase(scheme, SBX_VIEW("http")))
        return "its scheme must be http or https";
    *rest = sbx_view_skip(*rest, colon + 3);
    return NULL;
}

/* Splits host[:port] or [ipv6][:port]; ret_port is empty when there is none. */
static const char *split_authority(sbx_view authority, sbx_view *ret_host, sbx_view *ret_port)
{
    bool in_brackets = authority.len > 0 && authority.data[0] == '[';
    size_t host_end = sbx_view_find(authority, in_brackets ? ']' : ':', 0);
    if (in_brackets && host_end == SIZE_MAX)
        return "']' is missing after its IPv6 address";
    *ret_host = sbx_view_slice(authority, in_brackets, host_end - in_brackets);

    sbx_view after = sbx_view_skip(authority, host_end == SIZE_MAX ? SIZE_MAX : host_end + in_brackets);
    if (after.len > 0 && after.data[0] != ':')
        return "only a port may follow its host";
    if (after.len == 1)
        return "its port is missing after ':'";
    *ret_port = sbx_view_skip(after, 1);
    if (in_brackets && !is_ip(*ret_host, AF_INET6))
        return "what is in brackets must be an IPv6 address";
    if (!in_brackets && sbx_view_find(*ret_port, ':', 0) != SIZE_MAX)
        return "an IPv6 address must be in brackets";
    return NULL;
}

static const char *check_authority(sbx_view authority, sbx_view *ret_host, uint16_t *port)
{
    if (sbx_view_find(authority, '@', 0) != SIZE_MAX)
        return "it must not hold a user or password";
    sbx_view digits;
    const char *why = split_authority(authority, ret_host, &digits);
    if (why != NULL)
        return why;
    if (ret_host->len == 0)
        return "its host is missing";
    if (!sbx_url_is_host(*ret_host))
        return "its host is neither a name nor an address";

    uint64_t number = *port;
    if (digits.len > 0 && (sbx_view_to_u64(digits, 65535, &number) != SBX_OK || number == 0))
        return "its port must be from 1 to 65535";
    *port = (uint16_t)number;
    return NULL;
}

static const char *check_prefix(sbx_view prefix)
{
    if (prefix.len > PREFIX_MAX)
        return "its path is longer than 1024 bytes";
    for (size_t i = 0; i < prefix.len; i++) {
        uint8_t c = prefix.data[i];
        if (c == '?' || c == '#')
            return "it must not have a query or fragment";
        if (c <= ' ' || c >= 0x7f || strchr("\"<>\\^`{|}", c) != NULL)
            return "its path holds a character that must be percent-encoded";
    }
    return NULL;
}

static sbx_err keep(sbx_arena *arena, sbx_view view, const char **ret_text)
{
    char *copy;
    sbx_err err = sbx_arena_dup_cstr(arena, view, &copy);
    if (err == SBX_OK)
        *ret_text = copy;
    return err;
}

static sbx_err keep_lower(sbx_arena *arena, sbx_view view, const char **ret_text)
{
    char *copy;
    sbx_err err = sbx_arena_dup_cstr(arena, view, &copy);
    if (err != SBX_OK)
        return err;
    for (char *c = copy; *c != '\0'; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
    *ret_text = copy;
    return SBX_OK;
}

sbx_err sbx_url_parse(sbx_arena *arena, sbx_view text, sbx_url *ret_url, const char **reterr_why)
{
    sbx_view rest = text;
    sbx_url url = {0};
    const char *why = take_scheme(&rest, &url.is_https);
    if (why == NULL) {
        size_t authority_len = 0;
        while (authority_len < rest.len && strchr("/?#", rest.data[authority_len]) == NULL)
            authority_len++;
        sbx_view host = {0};
        url.port = url.is_https ? 443 : 80;
        why = check_authority(sbx_view_slice(rest, 0, authority_len), &host, &url.port);
        sbx_view prefix = without_slashes_at_end(sbx_view_skip(rest, authority_len));
        if (why == NULL)
            why = check_prefix(prefix);
        if (why == NULL &&
            (keep_lower(arena, host, &url.host) != SBX_OK || keep(arena, prefix, &url.prefix) != SBX_OK ||
             keep(arena, without_slashes_at_end(text), &url.text) != SBX_OK))
            return SBX_E_NOMEM;
    }
    if (why != NULL) {
        *reterr_why = why;
        return SBX_E_PARSE;
    }
    *ret_url = url;
    return SBX_OK;
}

/* Length of a "/v<digits>" that ends the prefix; 0 when there is none. */
static size_t version_len(const char *prefix)
{
    size_t len = strlen(prefix);
    size_t i = len;
    while (i > 0 && is_digit((uint8_t)prefix[i - 1]))
        i--;
    bool is_version = i < len && i >= 2 && prefix[i - 1] == 'v' && prefix[i - 2] == '/';
    return is_version ? len - (i - 2) : 0;
}

static bool is_below_v1(const char *path)
{
    return strncmp(path, "/v1", 3) == 0 && (path[3] == '/' || path[3] == '\0' || path[3] == '?');
}

sbx_err sbx_url_join(const char *prefix, const char *path, sbx_buf *buf)
{
    size_t version = version_len(prefix);
    size_t keep_len = strlen(prefix);
    if (version > 0 && is_below_v1(path))
        path += strlen("/v1");
    else
        keep_len -= version;
    sbx_buf_append(buf, prefix, keep_len);
    return sbx_buf_append_cstr(buf, path);
}
