/* Registrations and heartbeats: there and back, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/bus_message.h"

static sbx_arena arena;
static sbx_buf buf;

static int set_up(void **state)
{
    (void)state;
    sbx_arena_init(&arena, 1000000);
    sbx_buf_init(&buf, SIZE_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sbx_arena_deinit(&arena);
    sbx_buf_deinit(&buf);
    return 0;
}

static void assert_view(sbx_view view, const char *expected)
{
    if (!sbx_view_eq_cstr(view, expected))
        fail_msg("wanted <%s>, found <%.*s>", expected, SBX_VIEW_ARG(view));
}

static sbx_bus_worker parsed(const char *message)
{
    sbx_bus_worker worker;
    sbx_errinfo info = {0};
    if (sbx_bus_worker_parse(sbx_view_cstr(message), &arena, &worker, &info) != SBX_OK)
        fail_msg("%s: %s", message, info.text);
    return worker;
}

/* Which member is complained about. */
static const char *refused(const char *message)
{
    sbx_bus_worker worker;
    sbx_errinfo info = {0};
    assert_int_equal(sbx_bus_worker_parse(sbx_view_cstr(message), &arena, &worker, &info), SBX_E_PARSE);
    assert_true(info.text[0] != '\0');
    return info.param == NULL ? "" : info.param;
}

static void a_worker_survives_the_way(void **state)
{
    (void)state;
    sbx_view models[] = {SBX_VIEW("qwen/qwen3:8b"), SBX_VIEW("a \"b\"")};
    sbx_bus_worker worker = {.worker_id = SBX_VIEW("mac-1"),
                             .boot_id = SBX_VIEW("b00t"),
                             .version = SBX_VIEW("0.1.0"),
                             .engine_kind = SBX_BUS_ENGINE_SIMULATED,
                             .engine_state = SBX_BUS_ENGINE_LOADING,
                             .models = models,
                             .model_count = 2,
                             .max_concurrent = 4,
                             .in_flight = 3,
                             .queued = 1,
                             .can_resume = true,
                             .stream_usage = SBX_BUS_USAGE_OFF,
                             .draining = true};
    assert_int_equal(sbx_bus_worker_write(&buf, &worker), SBX_OK);
    assert_view(sbx_buf_view(&buf), "{\"workerId\":\"mac-1\",\"bootId\":\"b00t\",\"version\":\"0.1.0\","
                                    "\"engine\":{\"kind\":\"simulated\",\"state\":\"loading\"},"
                                    "\"models\":[\"qwen/qwen3:8b\",\"a \\\"b\\\"\"],\"maxConcurrent\":4,"
                                    "\"load\":{\"inFlight\":3,\"queued\":1},\"resume\":\"prefill\","
                                    "\"streamUsage\":\"off\",\"draining\":true}");
    sbx_bus_worker back;
    assert_int_equal(sbx_bus_worker_parse(sbx_buf_view(&buf), &arena, &back, NULL), SBX_OK);
    assert_view(back.worker_id, "mac-1");
    assert_view(back.boot_id, "b00t");
    assert_view(back.version, "0.1.0");
    assert_int_equal(back.engine_kind, SBX_BUS_ENGINE_SIMULATED);
    assert_int_equal(back.engine_state, SBX_BUS_ENGINE_LOADING);
    assert_int_equal(back.model_count, 2);
    assert_view(back.models[1], "a \"b\"");
    assert_int_equal(back.max_concurrent, 4);
    assert_int_equal(back.in_flight, 3);
    assert_int_equal(back.queued, 1);
    assert_true(back.can_resume && back.draining);
    assert_int_equal(back.stream_usage, SBX_BUS_USAGE_OFF);
}

static void what_is_not_said_has_its_default(void **state)
{
    (void)state;
    sbx_bus_worker worker = parsed("{\"workerId\":\"w\",\"bootId\":\"b\",\"models\":[]}");
    assert_int_equal(worker.engine_kind, SBX_BUS_ENGINE_OPENAI);
    assert_int_equal(worker.engine_state, SBX_BUS_ENGINE_UP);
    assert_int_equal(worker.model_count, 0);
    assert_int_equal(worker.max_concurrent, 1);
    assert_int_equal(worker.in_flight, 0);
    assert_int_equal(worker.stream_usage, SBX_BUS_USAGE_AUTO);
    assert_false(worker.can_resume || worker.draining);
}

static void a_newer_workers_news_are_ignored(void **state)
{
    (void)state;
    sbx_bus_worker worker =
        parsed("{\"workerId\":\"w\",\"bootId\":\"b\",\"models\":[\"m\"],\"gpu\":{\"x\":[1]},"
               "\"streamUsage\":\"sometimes\",\"engine\":{\"kind\":\"quantum\",\"qubits\":3}}");
    assert_int_equal(worker.stream_usage, SBX_BUS_USAGE_AUTO);
    assert_int_equal(worker.engine_kind, SBX_BUS_ENGINE_OPENAI);
}

static void a_model_named_twice_counts_once(void **state)
{
    (void)state;
    assert_int_equal(
        parsed("{\"workerId\":\"w\",\"bootId\":\"b\",\"models\":[\"m\",\"\\u006d\",\"n\"]}").model_count, 2);
}

static void ids_must_be_tokens(void **state)
{
    (void)state;
    assert_string_equal(refused("{\"bootId\":\"b\",\"models\":[]}"), "workerId");
    assert_string_equal(refused("{\"workerId\":\"a.b\",\"bootId\":\"b\",\"models\":[]}"), "workerId");
    assert_string_equal(refused("{\"workerId\":\"*\",\"bootId\":\"b\",\"models\":[]}"), "workerId");
    assert_string_equal(refused("{\"workerId\":\"\",\"bootId\":\"b\",\"models\":[]}"), "workerId");
    assert_string_equal(refused("{\"workerId\":5,\"bootId\":\"b\",\"models\":[]}"), "workerId");
    assert_string_equal(refused("{\"workerId\":\"w\",\"models\":[]}"), "bootId");
    assert_string_equal(refused("{\"workerId\":\"w\",\"bootId\":\"b b\",\"models\":[]}"), "bootId");
}

static void wrong_types_and_ranges_are_refused(void **state)
{
    (void)state;
#define IDS "{\"workerId\":\"w\",\"bootId\":\"b\","
    assert_string_equal(refused(IDS "\"models\":\"m\"}"), "models");
    assert_string_equal(refused(IDS "\"models\":[5]}"), "models");
    assert_string_equal(refused(IDS "\"models\":[\"\"]}"), "models");
    assert_string_equal(refused(IDS "\"models\":[\"a\\nb\"]}"), "models");
    assert_string_equal(refused(IDS "\"models\":null}"), "models");
    assert_string_equal(refused(IDS "\"models\":[],\"maxConcurrent\":0}"), "maxConcurrent");
    assert_string_equal(refused(IDS "\"models\":[],\"maxConcurrent\":65537}"), "maxConcurrent");
    assert_string_equal(refused(IDS "\"models\":[],\"maxConcurrent\":1.5}"), "maxConcurrent");
    assert_string_equal(refused(IDS "\"models\":[],\"load\":{\"inFlight\":-1}}"), "load.inFlight");
    assert_string_equal(refused(IDS "\"models\":[],\"load\":{\"queued\":4294967296}}"), "load.queued");
    assert_string_equal(refused(IDS "\"models\":[],\"draining\":\"yes\"}"), "draining");
    assert_string_equal(refused(IDS "\"models\":[],\"engine\":{\"state\":1}}"), "engine.state");
    assert_string_equal(refused(IDS "\"models\":[],\"version\":[]}"), "version");
    assert_string_equal(refused(IDS "\"models\":[],\"workerId\":\"w\"}"), "");
}

static void a_message_may_name_256_models_but_not_257(void **state)
{
    (void)state;
    static char message[16000];
    strcpy(message, IDS "\"models\":[");
    for (int i = 0; i < 256; i++)
        snprintf(message + strlen(message), 16, "%s\"m%d\"", i == 0 ? "" : ",", i);
    size_t len = strlen(message);
    strcpy(message + len, "]}");
    assert_int_equal(parsed(message).model_count, 256);
    strcpy(message + len, ",\"more\"]}");
    assert_string_equal(refused(message), "models");
}

static void an_oversize_message_is_not_even_read(void **state)
{
    (void)state;
    static uint8_t spaces[SBX_BUS_MAX_MESSAGE + 1];
    sbx_bus_worker worker;
    memset(spaces, ' ', sizeof spaces);
    assert_int_equal(sbx_bus_worker_parse(sbx_view_of(spaces, sizeof spaces), &arena, &worker, NULL),
                     SBX_E_PARSE);
}

static void a_leave_taking_survives_the_way(void **state)
{
    (void)state;
    sbx_view worker_id, boot_id;
    assert_int_equal(sbx_bus_leave_write(&buf, SBX_VIEW("w-1"), SBX_VIEW("b-1")), SBX_OK);
    assert_view(sbx_buf_view(&buf), "{\"workerId\":\"w-1\",\"bootId\":\"b-1\"}");
    assert_int_equal(sbx_bus_leave_parse(sbx_buf_view(&buf), &arena, &worker_id, &boot_id, NULL), SBX_OK);
    assert_view(worker_id, "w-1");
    assert_view(boot_id, "b-1");
    assert_int_equal(
        sbx_bus_leave_parse(SBX_VIEW("{\"workerId\":\"w\"}"), &arena, &worker_id, &boot_id, NULL),
        SBX_E_PARSE);
}

static void words_have_names(void **state)
{
    (void)state;
    assert_string_equal(sbx_bus_engine_kind_name(SBX_BUS_ENGINE_SIMULATED), "simulated");
    assert_string_equal(sbx_bus_engine_state_name(SBX_BUS_ENGINE_DOWN), "down");
    assert_string_equal(sbx_bus_stream_usage_name(SBX_BUS_USAGE_ON), "on");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_worker_survives_the_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_said_has_its_default, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_workers_news_are_ignored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_model_named_twice_counts_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ids_must_be_tokens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_types_and_ranges_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_message_may_name_256_models_but_not_257, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_oversize_message_is_not_even_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_leave_taking_survives_the_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(words_have_names, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
