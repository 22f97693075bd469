/* The hand-off from many threads to the loop; run under TSan it shows that nothing else is shared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <uv.h>

#include <cmocka.h>

#include "net/bus_handoff.h"

enum {
    THREADS = 4,
    ITEMS = 20000
};

typedef struct numbered {
    sbx_handoff_item link;
    int thread;
    int number;
    int *unshared; /* written by the pusher, read by the loop: TSan sees whether the hand-off orders them */
} numbered;

typedef struct world {
    sbx_loop *loop;
    sbx_handoff *handoff;
    int next[THREADS];
    int total;
    int out_of_order;
    int batch, largest_batch;
    sbx_task end_of_turn;
} world;

static void on_turn_end(void *user)
{
    world *w = user;
    if (w->batch > w->largest_batch)
        w->largest_batch = w->batch;
    w->batch = 0;
}

static void take(void *user, sbx_handoff_item *link)
{
    world *w = user;
    numbered *item = SBX_CONTAINER_OF(link, numbered, link);
    if (item->number != w->next[item->thread] || *item->unshared != item->number)
        w->out_of_order++;
    w->next[item->thread] = item->number + 1;
    w->batch++;
    sbx_loop_defer(w->loop, &w->end_of_turn);
    free(item->unshared);
    free(item);
    w->total++;
    if (w->total == THREADS * ITEMS)
        sbx_loop_stop(w->loop);
}

typedef struct pusher {
    uv_thread_t thread;
    world *world;
    int index;
} pusher;

static void push_one(world *w, int thread, int number)
{
    numbered *item = malloc(sizeof *item);
    item->thread = thread;
    item->number = number;
    item->unshared = malloc(sizeof *item->unshared);
    *item->unshared = number;
    sbx_handoff_push(w->handoff, &item->link);
}

static void push_all(void *arg)
{
    pusher *p = arg;
    for (int i = 0; i < ITEMS; i++)
        push_one(p->world, p->index, i);
}

static void open_world(world *w)
{
    *w = (world){0};
    assert_int_equal(sbx_loop_new(&w->loop), SBX_OK);
    w->end_of_turn = (sbx_task){.fn = on_turn_end, .user = w};
    assert_int_equal(sbx_handoff_new(w->loop, take, w, &w->handoff), SBX_OK);
}

static void every_item_arrives_once_and_in_its_threads_order(void **state)
{
    (void)state;
    world w;
    pusher pushers[THREADS];
    open_world(&w);
    for (int i = 0; i < THREADS; i++) {
        pushers[i] = (pusher){.world = &w, .index = i};
        uv_thread_create(&pushers[i].thread, push_all, &pushers[i]);
    }
    sbx_loop_run(w.loop);
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&pushers[i].thread);
    assert_int_equal(w.total, THREADS * ITEMS);
    assert_int_equal(w.out_of_order, 0);
    assert_true(w.largest_batch <= SBX_HANDOFF_BATCH);
    sbx_handoff_free(w.handoff);
    sbx_loop_free(w.loop);
}

static void a_burst_is_cut_into_batches(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    w.total = THREADS * ITEMS - 2000; /* stop after these 2000 */
    for (int i = 0; i < 2000; i++)
        push_one(&w, 0, i);
    sbx_loop_run(w.loop);
    assert_int_equal(w.out_of_order, 0);
    assert_int_equal(w.largest_batch, SBX_HANDOFF_BATCH);
    sbx_handoff_free(w.handoff);
    sbx_loop_free(w.loop);
}

static void what_is_left_comes_out_at_the_end(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    for (int i = 0; i < 3; i++)
        push_one(&w, 1, i);
    sbx_handoff_free(w.handoff);
    assert_int_equal(w.total, 3);
    assert_int_equal(w.out_of_order, 0);
    sbx_loop_free(w.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_arrives_once_and_in_its_threads_order),
        cmocka_unit_test(a_burst_is_cut_into_batches),
        cmocka_unit_test(what_is_left_comes_out_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
