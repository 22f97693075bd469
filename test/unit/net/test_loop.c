/* The loop: timers on the wheel, tasks at the end of the turn, one time per turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <uv.h>

#include "net/loop.h"

typedef struct probe {
    sbx_loop *loop;
    sbx_timer timer;
    sbx_task task;
    sbx_time_ns due, fired_at;
    unsigned fired;
    struct probe *other; /* what its callback acts on */
} probe;

static int setup(void **state)
{
    sbx_loop *loop = NULL;
    assert_int_equal(sbx_loop_new(&loop), SBX_OK);
    *state = loop;
    return 0;
}

static int teardown(void **state)
{
    sbx_loop_free(*state);
    return 0;
}

static sbx_time_ns clock_now(void)
{
    return (sbx_time_ns)uv_hrtime();
}

static void note(sbx_timer *timer, void *user)
{
    probe *p = user;
    assert_ptr_equal(timer, &p->timer);
    p->fired++;
    p->fired_at = clock_now();
}

static void note_and_stop_loop(sbx_timer *timer, void *user)
{
    probe *p = user;
    note(timer, user);
    sbx_loop_stop(p->loop);
}

static probe make(sbx_loop *loop)
{
    return (probe){.loop = loop};
}

static void start(probe *p, sbx_timer_fn *fn, int ms)
{
    sbx_timer_init(&p->timer, p->loop, fn, p);
    p->due = clock_now() + SBX_MS(ms);
    sbx_timer_start(&p->timer, p->due);
}

static void a_timer_fires_not_before_its_time_and_soon_after(void **state)
{
    static const int waits[] = {0, 1, 7, 40};
    for (size_t i = 0; i < 4; i++) {
        probe p = make(*state);
        start(&p, note_and_stop_loop, waits[i]);
        sbx_loop_run(p.loop);
        assert_int_equal(p.fired, 1);
        assert_true(p.fired_at >= p.due);
        assert_true(p.fired_at < p.due + SBX_MS(50)); /* 2 ms at most by design; the machine is shared */
    }
}

static void timers_fire_in_the_order_of_their_times(void **state)
{
    probe late = make(*state), early = make(*state), middle = make(*state);
    start(&late, note_and_stop_loop, 30);
    start(&early, note, 5);
    start(&middle, note, 15);
    sbx_loop_run(late.loop);
    assert_int_equal(early.fired + middle.fired + late.fired, 3);
    assert_true(early.fired_at < middle.fired_at && middle.fired_at < late.fired_at);
}

static void a_timer_set_while_a_later_one_waits_fires_at_its_own_time(void **state)
{
    probe far = make(*state), sooner = make(*state);
    start(&far, note_and_stop_loop, 2000);
    uv_run(sbx_loop_uv(far.loop), UV_RUN_NOWAIT); /* now the loop waits for the far one */
    start(&sooner, note_and_stop_loop, 5);
    sbx_loop_run(far.loop);
    assert_int_equal(far.fired, 0);
    assert_int_equal(sooner.fired, 1);
    assert_true(sooner.fired_at < sooner.due + SBX_MS(20));
    sbx_timer_stop(&far.timer);
}

static void a_stopped_timer_does_not_fire(void **state)
{
    probe stopped = make(*state), end = make(*state);
    start(&stopped, note, 5);
    start(&end, note_and_stop_loop, 20);
    sbx_timer_stop(&stopped.timer);
    sbx_timer_stop(&stopped.timer);
    sbx_loop_run(end.loop);
    assert_int_equal(stopped.fired, 0);
}

static void starting_a_running_timer_moves_it(void **state)
{
    probe moved = make(*state);
    start(&moved, note_and_stop_loop, 60000);
    moved.due = clock_now() + SBX_MS(5);
    sbx_timer_start(&moved.timer, moved.due);
    sbx_loop_run(moved.loop);
    assert_int_equal(moved.fired, 1);

    probe end = make(*state);
    start(&moved, note, 5);
    start(&end, note_and_stop_loop, 20);
    sbx_timer_start(&moved.timer, SBX_TIME_NEVER);
    sbx_loop_run(end.loop);
    assert_int_equal(moved.fired, 1); /* as before */
}

static void restart_twice(sbx_timer *timer, void *user)
{
    probe *p = user;
    note(timer, user);
    if (p->fired < 3)
        sbx_timer_start(timer, sbx_loop_now(p->loop) + SBX_MS(1));
    else
        sbx_loop_stop(p->loop);
}

static void a_timer_may_start_itself_again(void **state)
{
    probe p = make(*state);
    start(&p, restart_twice, 1);
    sbx_loop_run(p.loop);
    assert_int_equal(p.fired, 3);
}

static void stop_other(sbx_timer *timer, void *user)
{
    probe *p = user;
    note(timer, user);
    sbx_timer_stop(&p->other->timer);
}

static void a_timer_may_stop_another_that_is_due_as_well(void **state)
{
    probe victim = make(*state), killer = make(*state), end = make(*state);
    killer.other = &victim;
    start(&killer, stop_other, 5);
    start(&victim, note, 5);
    start(&end, note_and_stop_loop, 15);
    victim.due = killer.due;
    sbx_timer_start(&victim.timer, victim.due);
    sbx_loop_run(end.loop);
    assert_int_equal(killer.fired, 1);
    assert_int_equal(victim.fired, 0);
}

static void free_owner(sbx_timer *timer, void *user)
{
    probe *p = user;
    sbx_loop *loop = p->loop;
    (void)timer;
    free(p);
    sbx_loop_stop(loop);
}

static void a_timer_may_free_its_owner(void **state)
{
    probe *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->loop = *state;
    start(p, free_owner, 1);
    sbx_loop_run(*state);
}

/* ---- tasks ---- */

typedef struct tasks {
    sbx_loop *loop;
    sbx_timer timer;
    sbx_task task[4];
    char log[32];
    size_t log_len;
    bool nests;
} tasks;

static void log_one(tasks *t, char letter)
{
    assert_true(t->log_len + 1 < sizeof t->log);
    t->log[t->log_len++] = letter;
}

static void run_a(void *user)
{
    tasks *t = user;
    log_one(t, 'a');
    if (t->nests) {
        t->nests = false;
        sbx_loop_defer(t->loop, &t->task[0]);
        sbx_loop_defer(t->loop, &t->task[3]);
    }
}

static void run_b(void *user)
{
    log_one(user, 'b');
}

static void run_c(void *user)
{
    log_one(user, 'c');
}

static void run_d(void *user)
{
    tasks *t = user;
    log_one(t, 'd');
    sbx_loop_stop(t->loop);
}

static tasks make_tasks(sbx_loop *loop)
{
    return (tasks){.loop = loop};
}

static void wire(tasks *t)
{
    static sbx_task_fn *const fns[] = {run_a, run_b, run_c, run_d};
    for (size_t i = 0; i < 4; i++)
        t->task[i] = (sbx_task){.fn = fns[i], .user = t};
}

static void tasks_run_once_in_order(void **state)
{
    tasks t = make_tasks(*state);
    wire(&t);
    for (size_t i = 0; i < 4; i++)
        sbx_loop_defer(t.loop, &t.task[i]);
    sbx_loop_defer(t.loop, &t.task[1]); /* pending already */
    sbx_loop_run(t.loop);
    assert_string_equal(t.log, "abcd");
}

static void an_undeferred_task_does_not_run(void **state)
{
    for (size_t left_out = 0; left_out < 3; left_out++) {
        tasks t = make_tasks(*state);
        wire(&t);
        for (size_t i = 0; i < 3; i++)
            sbx_loop_defer(t.loop, &t.task[i]);
        sbx_loop_undefer(t.loop, &t.task[left_out]);
        sbx_loop_undefer(t.loop, &t.task[left_out]);
        sbx_loop_defer(t.loop, &t.task[3]);
        sbx_loop_run(t.loop);
        assert_string_equal(t.log, left_out == 0 ? "bcd" : left_out == 1 ? "acd" : "abd");
    }
}

static void a_task_may_defer_itself_and_others(void **state)
{
    tasks t = make_tasks(*state);
    wire(&t);
    t.nests = true;
    sbx_loop_defer(t.loop, &t.task[0]);
    sbx_loop_defer(t.loop, &t.task[1]);
    sbx_loop_run(t.loop);
    assert_string_equal(t.log, "abad");
}

static void defer_two(sbx_timer *timer, void *user)
{
    tasks *t = user;
    (void)timer;
    sbx_loop_defer(t->loop, &t->task[1]);
    sbx_loop_defer(t->loop, &t->task[3]);
    log_one(t, '(');
}

/* Nothing else would ever wake the loop: the tasks must run before it waits. */
static void a_task_of_a_timer_runs_before_the_loop_waits(void **state)
{
    tasks t = make_tasks(*state);
    wire(&t);
    sbx_timer_init(&t.timer, t.loop, defer_two, &t);
    sbx_timer_start(&t.timer, clock_now());
    sbx_loop_run(t.loop);
    assert_string_equal(t.log, "(bd");
}

static void pending_tasks_run_when_the_loop_is_freed(void **state)
{
    sbx_loop *loop = NULL;
    (void)state;
    assert_int_equal(sbx_loop_new(&loop), SBX_OK);
    tasks t = make_tasks(loop);
    wire(&t);
    sbx_loop_defer(loop, &t.task[0]);
    sbx_loop_free(loop);
    assert_string_equal(t.log, "a");
}

/* ---- time ---- */

static void burn_and_compare(sbx_timer *timer, void *user)
{
    probe *p = user;
    sbx_time_ns before = sbx_loop_now(p->loop);
    (void)timer;
    while (clock_now() < before + SBX_MS(3)) {
    }
    assert_true(sbx_loop_now(p->loop) == before);
    p->fired_at = before;
    sbx_loop_stop(p->loop);
}

static void the_time_stands_still_within_a_turn_and_moves_between(void **state)
{
    probe first = make(*state), second = make(*state);
    start(&first, burn_and_compare, 0);
    sbx_loop_run(first.loop);
    start(&second, burn_and_compare, 0);
    sbx_loop_run(second.loop);
    assert_true(second.fired_at >= first.fired_at + SBX_MS(3));
}

static void a_loop_closes_what_is_left_open(void **state)
{
    sbx_loop *loop = NULL;
    uv_timer_t left;
    (void)state;
    assert_int_equal(sbx_loop_new(&loop), SBX_OK);
    uv_timer_init(sbx_loop_uv(loop), &left);
    sbx_loop_free(loop);
    sbx_loop_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_timer_fires_not_before_its_time_and_soon_after),
        TEST(timers_fire_in_the_order_of_their_times),
        TEST(a_timer_set_while_a_later_one_waits_fires_at_its_own_time),
        TEST(a_stopped_timer_does_not_fire),
        TEST(starting_a_running_timer_moves_it),
        TEST(a_timer_may_start_itself_again),
        TEST(a_timer_may_stop_another_that_is_due_as_well),
        TEST(a_timer_may_free_its_owner),
        TEST(tasks_run_once_in_order),
        TEST(an_undeferred_task_does_not_run),
        TEST(a_task_may_defer_itself_and_others),
        TEST(a_task_of_a_timer_runs_before_the_loop_waits),
        TEST(pending_tasks_run_when_the_loop_is_freed),
        TEST(the_time_stands_still_within_a_turn_and_moves_between),
        TEST(a_loop_closes_what_is_left_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
