/* Base URLs: splitting, refusing, joining. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/url.h"

static sbx_arena arena;

static int set_up(void **state)
{
    (void)state;
    sbx_arena_init(&arena, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sbx_arena_deinit(&arena);
    return 0;
}

static void check(const char *text, bool is_https, const char *host, int port, const char *prefix)
{
    sbx_url url = {0};
    const char *why = NULL;
    assert_int_equal(sbx_url_parse(&arena, sbx_view_cstr(text), &url, &why), SBX_OK);
    assert_int_equal(url.is_https, is_https);
    assert_string_equal(url.host, host);
    assert_int_equal(url.port, port);
    assert_string_equal(url.prefix, prefix);
}

static void a_url_is_split_into_its_parts(void **state)
{
    (void)state;
    check("http://localhost:10001/v1", false, "localhost", 10001, "/v1");
    check("http://localhost", false, "localhost", 80, "");
    check("https://Api.Example.COM", true, "api.example.com", 443, "");
    check("HTTPS://h:8443/", true, "h", 8443, "");
    check("http://h/a/b/v1///", false, "h", 80, "/a/b/v1");
    check("http://[::1]:8080/x", false, "::1", 8080, "/x");
    check("http://[FE80::A]", false, "fe80::a", 80, "");
    check("http://192.168.188.20:1234", false, "192.168.188.20", 1234, "");
    check("http://my_box.local.:1/p%20q", false, "my_box.local.", 1, "/p%20q");
    check("http://4090-box:1", false, "4090-box", 1, "");
}

static void the_text_is_kept_without_slashes_at_its_end(void **state)
{
    (void)state;
    sbx_url url = {0};
    const char *why = NULL;
    assert_int_equal(sbx_url_parse(&arena, SBX_VIEW("http://H:1/v1/"), &url, &why), SBX_OK);
    assert_string_equal(url.text, "http://H:1/v1");
}

static void refuse(const char *text, const char *wanted)
{
    sbx_url url = {0};
    const char *why = NULL;
    assert_int_equal(sbx_url_parse(&arena, sbx_view_cstr(text), &url, &why), SBX_E_PARSE);
    assert_string_equal(why, wanted);
    assert_null(url.text);
}

static void what_is_no_base_url_is_refused_with_the_reason(void **state)
{
    (void)state;
    refuse("", "it must begin with http:// or https://");
    refuse("localhost:8080", "it must begin with http:// or https://");
    refuse("http:/h", "it must begin with http:// or https://");
    refuse("ws://h", "its scheme must be http or https");
    refuse("http://", "its host is missing");
    refuse("http:///v1", "its host is missing");
    refuse("http://:80", "its host is missing");
    refuse("http://u@h", "it must not hold a user or password");
    refuse("http://u:p@h:1/v1", "it must not hold a user or password");
    refuse("http://h:", "its port is missing after ':'");
    refuse("http://h:0", "its port must be from 1 to 65535");
    refuse("http://h:65536", "its port must be from 1 to 65535");
    refuse("http://h:8a", "its port must be from 1 to 65535");
    refuse("http://::1", "an IPv6 address must be in brackets");
    refuse("http://[::1", "']' is missing after its IPv6 address");
    refuse("http://[::1]8", "only a port may follow its host");
    refuse("http://[h]", "what is in brackets must be an IPv6 address");
    refuse("http://a..b", "its host is neither a name nor an address");
    refuse("http://h h", "its host is neither a name nor an address");
    refuse("http://1.2.3.4.5", "its host is neither a name nor an address");
    refuse("http://h?x", "it must not have a query or fragment");
    refuse("http://h/v1#x", "it must not have a query or fragment");
    refuse("http://h/a b", "its path holds a character that must be percent-encoded");
    refuse("http://h/a\r\nHost: x", "its path holds a character that must be percent-encoded");
}

static void a_nul_in_a_url_is_refused(void **state)
{
    (void)state;
    sbx_url url = {0};
    const char *why = NULL;
    assert_int_equal(sbx_url_parse(&arena, sbx_view_of("http://h\0i", 10), &url, &why), SBX_E_PARSE);
    assert_int_equal(sbx_url_parse(&arena, sbx_view_of("http://h/\0i", 11), &url, &why), SBX_E_PARSE);
}

static void a_full_arena_is_told_apart_from_a_bad_url(void **state)
{
    (void)state;
    sbx_arena small;
    sbx_url url = {0};
    const char *why = NULL;
    sbx_arena_init(&small, 1);
    assert_int_equal(sbx_url_parse(&small, SBX_VIEW("http://host"), &url, &why), SBX_E_NOMEM);
    sbx_arena_deinit(&small);
}

static void join(const char *prefix, const char *path, const char *wanted)
{
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    assert_int_equal(sbx_url_join(prefix, path, &buf), SBX_OK);
    sbx_buf_append_byte(&buf, 0);
    assert_string_equal(buf.data + buf.head, wanted);
    sbx_buf_deinit(&buf);
}

static void joining_never_doubles_v1(void **state)
{
    (void)state;
    join("", "/v1/chat/completions", "/v1/chat/completions");
    join("/v1", "/v1/chat/completions", "/v1/chat/completions");
    join("/llm", "/v1/models", "/llm/v1/models");
    join("/llm/v1", "/v1/models", "/llm/v1/models");
    join("/paas/v4", "/v1/chat/completions", "/paas/v4/chat/completions");
    join("/v1", "/v1", "/v1");
}

static void other_paths_go_beside_the_version(void **state)
{
    (void)state;
    join("", "/health", "/health");
    join("/v1", "/health", "/health");
    join("/llm/v1", "/health?x=1", "/llm/health?x=1");
    join("/v1", "/v10/x", "/v10/x");
}

static void only_a_whole_segment_is_a_version(void **state)
{
    (void)state;
    join("/apiv1", "/v1/models", "/apiv1/v1/models");
    join("/v", "/v1/models", "/v/v1/models");
    join("/v1beta", "/v1/models", "/v1beta/v1/models");
    join("/12", "/v1/models", "/12/v1/models");
}

static void hosts_are_told_from_other_text(void **state)
{
    (void)state;
    assert_true(sbx_url_is_host(SBX_VIEW("localhost")));
    assert_true(sbx_url_is_host(SBX_VIEW("0.0.0.0")));
    assert_true(sbx_url_is_host(SBX_VIEW("::")));
    assert_false(sbx_url_is_host(SBX_VIEW("")));
    assert_false(sbx_url_is_host(SBX_VIEW("[::]")));
    assert_false(sbx_url_is_host(SBX_VIEW("a/b")));
    assert_false(sbx_url_is_host(SBX_VIEW("12345")));
    assert_false(sbx_url_is_host(SBX_VIEW(".")));
    assert_false(
        sbx_url_is_host(SBX_VIEW("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_is_split_into_its_parts),
        cmocka_unit_test(the_text_is_kept_without_slashes_at_its_end),
        cmocka_unit_test(what_is_no_base_url_is_refused_with_the_reason),
        cmocka_unit_test(a_nul_in_a_url_is_refused),
        cmocka_unit_test(a_full_arena_is_told_apart_from_a_bad_url),
        cmocka_unit_test(joining_never_doubles_v1),
        cmocka_unit_test(other_paths_go_beside_the_version),
        cmocka_unit_test(only_a_whole_segment_is_a_version),
        cmocka_unit_test(hosts_are_told_from_other_text),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
