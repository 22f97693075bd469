/* The worker's pure parts: where events end, what is kept for a replay, what is remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "worker/event_cut.h"
#include "worker/outbox.h"
#include "worker/recent.h"

/* ---- event_cut ---- */

static size_t cut_of(const char *text)
{
    sbx_event_cut cut;
    sbx_event_cut_init(&cut);
    return sbx_event_cut_scan(&cut, sbx_view_cstr(text));
}

static void an_event_ends_with_an_empty_line(void **state)
{
    (void)state;
    assert_int_equal(cut_of("data: x\n\n"), 9);
    assert_int_equal(cut_of("data: x\r\n\r\n"), 11);
    assert_int_equal(cut_of("data: x\r\r"), 9);
    assert_int_equal(cut_of("data: x\n"), 0);
    assert_int_equal(cut_of("data: x"), 0);
    assert_int_equal(cut_of(""), 0);
}

static void the_last_event_counts(void **state)
{
    (void)state;
    assert_int_equal(cut_of("data: x\n\ndata: y\n\ndata: z\n"), 18);
}

static void a_stream_may_be_cut_anywhere_in_between(void **state)
{
    (void)state;
    static const char text[] = "data: x\r\n\r\nid: 1\ndata: y\n\n: c\n\n";
    for (size_t at = 0; at < sizeof(text); at++) {
        sbx_event_cut cut;
        sbx_event_cut_init(&cut);
        sbx_view all = sbx_view_cstr(text);
        (void)sbx_event_cut_scan(&cut, sbx_view_slice(all, 0, at));
        size_t found = sbx_event_cut_scan(&cut, sbx_view_skip(all, at));
        assert_int_equal(found, all.len - at); /* the text ends with an event */
    }
}

static void a_line_feed_after_the_cut_belongs_to_the_event_before(void **state)
{
    (void)state;
    sbx_event_cut cut;
    sbx_event_cut_init(&cut);
    assert_int_equal(sbx_event_cut_scan(&cut, SBX_VIEW("data: x\r\n\r")), 10);
    assert_int_equal(sbx_event_cut_scan(&cut, SBX_VIEW("\ndata")), 1);
}

/* ---- outbox ---- */

static void add(sbx_outbox *outbox, const char *payload)
{
    sbx_frame frame = {.type = SBX_FRAME_DATA, .payload = sbx_view_cstr(payload)};
    sbx_view message;
    assert_int_equal(sbx_outbox_add(outbox, &frame, &message), SBX_OK);
}

/* The seqs and payloads from there on, as text. */
static void describe(const sbx_outbox *outbox, uint32_t from, char *ret_text, size_t size)
{
    size_t position = 0, used = 0;
    sbx_view message;
    sbx_frame frame;
    ret_text[0] = '\0';
    while (sbx_outbox_each(outbox, from, &position, &message)) {
        assert_int_equal(sbx_frame_decode(message, &frame), SBX_OK);
        used +=
            (size_t)snprintf(ret_text + used, size - used, "%u%.*s ", frame.seq, SBX_VIEW_ARG(frame.payload));
    }
}

static void frames_are_numbered_from_0_and_kept_in_order(void **state)
{
    (void)state;
    sbx_outbox outbox;
    char text[64];
    sbx_outbox_init(&outbox, 1000);
    add(&outbox, "a");
    add(&outbox, "");
    add(&outbox, "ccc");
    describe(&outbox, 0, text, sizeof(text));
    assert_string_equal(text, "0a 1 2ccc ");
    describe(&outbox, 2, text, sizeof(text));
    assert_string_equal(text, "2ccc ");
    sbx_outbox_deinit(&outbox);
}

static void acknowledged_frames_are_forgotten(void **state)
{
    (void)state;
    sbx_outbox outbox;
    char text[64];
    sbx_outbox_init(&outbox, 1000);
    add(&outbox, "a");
    add(&outbox, "b");
    add(&outbox, "c");
    sbx_outbox_acknowledge(&outbox, 2);
    describe(&outbox, 0, text, sizeof(text));
    assert_string_equal(text, "2c ");
    assert_false(sbx_outbox_reaches(&outbox, 1));
    assert_true(sbx_outbox_reaches(&outbox, 2));
    assert_true(sbx_outbox_reaches(&outbox, 3));
    assert_false(sbx_outbox_reaches(&outbox, 4));
    sbx_outbox_acknowledge(&outbox, 1); /* an old message changes nothing */
    assert_false(sbx_outbox_is_empty(&outbox));
    sbx_outbox_acknowledge(&outbox, 100);
    assert_true(sbx_outbox_is_empty(&outbox));
    sbx_outbox_deinit(&outbox);
}

static void a_full_outbox_refuses(void **state)
{
    (void)state;
    sbx_outbox outbox;
    sbx_outbox_init(&outbox, 2 * SBX_FRAME_HEADER_BYTES);
    add(&outbox, "");
    add(&outbox, "");
    sbx_frame frame = {.type = SBX_FRAME_END};
    sbx_view message;
    assert_int_equal(sbx_outbox_add(&outbox, &frame, &message), SBX_E_CAP);
    sbx_outbox_deinit(&outbox);
}

/* ---- recent ---- */

static sbx_recent *new_recent(void)
{
    sbx_recent *recent = malloc(sizeof(*recent));
    assert_int_equal(sbx_recent_init(recent, (sbx_siphash_key){1, 2}), SBX_OK);
    return recent;
}

static void free_recent(sbx_recent *recent)
{
    sbx_recent_deinit(recent);
    free(recent);
}

static void a_name_is_known_for_a_minute(void **state)
{
    (void)state;
    sbx_recent *recent = new_recent();
    sbx_recent_add(recent, SBX_VIEW("a"), SBX_SEC(5));
    assert_true(sbx_recent_knows(recent, SBX_VIEW("a"), SBX_SEC(65)));
    assert_false(sbx_recent_knows(recent, SBX_VIEW("a"), SBX_SEC(65) + 1));
    assert_false(sbx_recent_knows(recent, SBX_VIEW("b"), SBX_SEC(5)));
    free_recent(recent);
}

static void the_oldest_name_makes_room(void **state)
{
    (void)state;
    sbx_recent *recent = new_recent();
    char name[16];
    for (int i = 0; i <= SBX_RECENT_NAMES; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        sbx_recent_add(recent, sbx_view_cstr(name), 0);
    }
    assert_false(sbx_recent_knows(recent, SBX_VIEW("n0"), 0));
    assert_true(sbx_recent_knows(recent, SBX_VIEW("n1"), 0));
    assert_true(sbx_recent_knows(recent, sbx_view_cstr(name), 0));
    free_recent(recent);
}

static void a_name_added_again_outlives_its_first_place(void **state)
{
    (void)state;
    sbx_recent *recent = new_recent();
    char name[16];
    sbx_recent_add(recent, SBX_VIEW("x"), 0);
    sbx_recent_add(recent, SBX_VIEW("x"), 0);
    for (int i = 0; i < SBX_RECENT_NAMES - 1; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        sbx_recent_add(recent, sbx_view_cstr(name), 0);
    }
    assert_true(sbx_recent_knows(recent, SBX_VIEW("x"), 0));
    free_recent(recent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_ends_with_an_empty_line),
        cmocka_unit_test(the_last_event_counts),
        cmocka_unit_test(a_stream_may_be_cut_anywhere_in_between),
        cmocka_unit_test(a_line_feed_after_the_cut_belongs_to_the_event_before),
        cmocka_unit_test(frames_are_numbered_from_0_and_kept_in_order),
        cmocka_unit_test(acknowledged_frames_are_forgotten),
        cmocka_unit_test(a_full_outbox_refuses),
        cmocka_unit_test(a_name_is_known_for_a_minute),
        cmocka_unit_test(the_oldest_name_makes_room),
        cmocka_unit_test(a_name_added_again_outlives_its_first_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
