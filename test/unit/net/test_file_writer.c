/* Files are replaced whole, in order, and without stopping the loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/file_writer.h"

typedef struct world {
    sbx_loop *loop;
    char folder[64];
    char path[128];
    unsigned expected, written;
    sbx_err errors[8];
} world;

static world w;

static int set_up(void **state)
{
    (void)state;
    w = (world){.folder = "/tmp/sbx-writer-XXXXXX"};
    assert_non_null(mkdtemp(w.folder));
    snprintf(w.path, sizeof w.path, "%s/deep/er/file.json", w.folder);
    assert_int_equal(sbx_loop_new(&w.loop), SBX_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"/deep/er/file.json", "/deep/er", "/deep", ""};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", w.folder, names[i]);
        (void)remove(path);
    }
    assert_int_not_equal(access(w.folder, F_OK), 0); /* nothing else was left */
    return 0;
}

static void on_written(void *user, sbx_err err)
{
    world *me = user;
    me->errors[me->written++] = err;
    if (me->written == me->expected)
        sbx_loop_stop(me->loop);
}

static void run_until(unsigned count)
{
    w.expected = count;
    sbx_loop_run(w.loop);
    assert_int_equal(w.written, count);
}

static void assert_holds(const char *wanted)
{
    char found[64] = "";
    FILE *file = fopen(w.path, "rb");
    assert_non_null(file);
    size_t len = fread(found, 1, sizeof found - 1, file);
    fclose(file);
    assert_int_equal(len, strlen(wanted));
    assert_string_equal(found, wanted);
}

static void a_file_is_made_with_its_folders_for_its_owner_alone(void **state)
{
    (void)state;
    sbx_file_writer *writer;
    struct stat status;
    assert_int_equal(sbx_file_writer_new(w.loop, w.path, &writer), SBX_OK);
    assert_int_equal(sbx_file_writer_write(writer, SBX_VIEW("one"), on_written, &w), SBX_OK);
    assert_int_equal(w.written, 0);
    run_until(1);
    assert_int_equal(w.errors[0], SBX_OK);
    assert_holds("one");
    assert_int_equal(stat(w.path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    sbx_file_writer_free(writer);
    sbx_loop_free(w.loop);
}

static void writes_follow_each_other(void **state)
{
    (void)state;
    sbx_file_writer *writer;
    assert_int_equal(sbx_file_writer_new(w.loop, w.path, &writer), SBX_OK);
    assert_int_equal(sbx_file_writer_write(writer, SBX_VIEW("a longer first one"), on_written, &w), SBX_OK);
    assert_int_equal(sbx_file_writer_write(writer, SBX_VIEW("second"), on_written, &w), SBX_OK);
    assert_int_equal(sbx_file_writer_write(writer, SBX_VIEW("3"), on_written, &w), SBX_OK);
    run_until(3);
    assert_holds("3");
    sbx_file_writer_free(writer);
    sbx_loop_free(w.loop);
}

static void what_cannot_be_written_is_told(void **state)
{
    (void)state;
    sbx_file_writer *writer;
    char blocked[160];
    snprintf(blocked, sizeof blocked, "%s/file.json/below", w.folder);
    snprintf(w.path, sizeof w.path, "%s/file.json", w.folder);
    FILE *file = fopen(w.path, "wb");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(sbx_file_writer_new(w.loop, blocked, &writer), SBX_OK);
    assert_int_equal(sbx_file_writer_write(writer, SBX_VIEW("x"), on_written, &w), SBX_OK);
    run_until(1);
    assert_int_equal(w.errors[0], SBX_E_IO);
    assert_int_equal(remove(w.path), 0);
    sbx_file_writer_free(writer);
    sbx_loop_free(w.loop);
}

static void a_writer_that_is_freed_finishes_and_says_nothing(void **state)
{
    (void)state;
    sbx_file_writer *writer;
    assert_int_equal(sbx_file_writer_new(w.loop, w.path, &writer), SBX_OK);
    assert_int_equal(sbx_file_writer_write(writer, SBX_VIEW("one"), on_written, &w), SBX_OK);
    assert_int_equal(sbx_file_writer_write(writer, SBX_VIEW("two"), on_written, &w), SBX_OK);
    sbx_file_writer_free(writer);
    sbx_loop_free(w.loop);
    assert_int_equal(w.written, 0);
    assert_holds("two");
    sbx_file_writer_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_made_with_its_folders_for_its_owner_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(writes_follow_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_writer_that_is_freed_finishes_and_says_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
