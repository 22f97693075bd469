/* The loop over libuv. Tasks run after each poll (check) and before the next one (prepare), so a task
 * deferred by any kind of callback runs before the loop waits. All timers share one wheel and one uv_timer,
 * which is only moved forward: one that fires too early because its timer was stopped costs one empty turn.
 */
#include "net/loop.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <uv.h>

#include "net/loop_priv.h"

struct clock_cache {
    sbx_time_ns now;
    bool fresh;
};

struct sbx_loop {
    uv_loop_t uv;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    uv_timer_t alarm;
    sbx_time_ns alarm_at; /* NEVER: not set */
    sbx_wheel wheel;
    sbx_task *first_task, **last_task;
    struct clock_cache *clock; /* apart, because asking for the time does not change the loop */
    uint8_t *read_buffer;
};

/* ---- time ---- */

static sbx_time_ns read_clock(struct clock_cache *clock)
{
    clock->now = (sbx_time_ns)uv_hrtime();
    clock->fresh = true;
    return clock->now;
}

sbx_time_ns sbx_loop_now(const sbx_loop *loop)
{
    return loop->clock->fresh ? loop->clock->now : read_clock(loop->clock);
}

struct uv_loop_s *sbx_loop_uv(sbx_loop *loop)
{
    return &loop->uv;
}

uint8_t *sbx_loop_read_buffer(sbx_loop *loop)
{
    return loop->read_buffer;
}

/* ---- tasks ---- */

void sbx_loop_defer(sbx_loop *loop, sbx_task *task)
{
    if (task->pending)
        return;
    task->pending = true;
    task->next = NULL;
    task->link = loop->last_task;
    *loop->last_task = task;
    loop->last_task = &task->next;
}

void sbx_loop_undefer(sbx_loop *loop, sbx_task *task)
{
    if (!task->pending)
        return;
    *task->link = task->next;
    if (task->next != NULL)
        task->next->link = task->link;
    else
        loop->last_task = task->link;
    task->pending = false;
}

static bool run_tasks(sbx_loop *loop)
{
    bool ran = false;
    while (loop->first_task != NULL) {
        sbx_task *task = loop->first_task;
        sbx_loop_undefer(loop, task);
        task->fn(task->user);
        ran = true;
    }
    return ran;
}

/* ---- timers ---- */

void sbx_timer_init(sbx_timer *timer, sbx_loop *loop, sbx_timer_fn *fn, void *user)
{
    *timer = (sbx_timer){.loop = loop, .fn = fn, .user = user};
}

void sbx_timer_start(sbx_timer *timer, sbx_time_ns at)
{
    sbx_wheel_arm(&timer->loop->wheel, &timer->entry, at);
}

void sbx_timer_stop(sbx_timer *timer)
{
    sbx_wheel_cancel(&timer->loop->wheel, &timer->entry);
}

static void on_alarm(uv_timer_t *alarm)
{
    sbx_loop *loop = alarm->data;
    loop->alarm_at = SBX_TIME_NEVER;
    sbx_time_ns now = read_clock(loop->clock);
    sbx_wheel_entry *entry = sbx_wheel_expire(&loop->wheel, now);
    while (entry != NULL) {
        sbx_timer *timer = SBX_CONTAINER_OF(entry, sbx_timer, entry);
        timer->fn(timer, timer->user);
        entry = sbx_wheel_expire(&loop->wheel, now);
    }
}

static void set_alarm(sbx_loop *loop)
{
    sbx_time_ns next = sbx_wheel_next_deadline(&loop->wheel);
    if (next >= loop->alarm_at)
        return;
    loop->alarm_at = next;
    int64_t wait_ms = sbx_time_to_ms_ceil(sbx_time_left(next, sbx_loop_now(loop)));
    uv_update_time(&loop->uv); /* libuv counts from its own last look at the clock */
    uv_timer_start(&loop->alarm, on_alarm, (uint64_t)wait_ms, /* repeat= */ 0);
}

/* ---- turns ---- */

static void on_before_poll(uv_prepare_t *prepare)
{
    sbx_loop *loop = prepare->data;
    run_tasks(loop);
    set_alarm(loop);
    loop->clock->fresh = false;
}

static void on_after_poll(uv_check_t *check)
{
    run_tasks(check->data);
}

static void start_handles(sbx_loop *loop)
{
    uv_prepare_init(&loop->uv, &loop->before_poll);
    uv_check_init(&loop->uv, &loop->after_poll);
    uv_timer_init(&loop->uv, &loop->alarm);
    loop->before_poll.data = loop;
    loop->after_poll.data = loop;
    loop->alarm.data = loop;
    uv_prepare_start(&loop->before_poll, on_before_poll);
    uv_check_start(&loop->after_poll, on_after_poll);
}

static void free_memory(sbx_loop *loop)
{
    free(loop->read_buffer);
    free(loop->clock);
    free(loop);
}

/* A write to a closed connection is an error like others; libuv leaves the signal to us. */
static void ignore_sigpipe(void)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
}

sbx_err sbx_loop_new(sbx_loop **ret_loop)
{
    sbx_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        return SBX_E_NOMEM;
    loop->clock = calloc(1, sizeof *loop->clock);
    loop->read_buffer = malloc(SBX_LOOP_READ_SIZE);
    if (loop->clock == NULL || loop->read_buffer == NULL || uv_loop_init(&loop->uv) != 0) {
        free_memory(loop);
        return SBX_E_NOMEM;
    }
    ignore_sigpipe();
    loop->last_task = &loop->first_task;
    loop->alarm_at = SBX_TIME_NEVER;
    sbx_wheel_init(&loop->wheel, read_clock(loop->clock));
    start_handles(loop);
    loop->clock->fresh = false;
    *ret_loop = loop;
    return SBX_OK;
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle))
        uv_close(handle, /* close_cb= */ NULL);
}

void sbx_loop_free(sbx_loop *loop)
{
    if (loop == NULL)
        return;
    run_tasks(loop);
    uv_walk(&loop->uv, close_handle, NULL);
    do {
        uv_run(&loop->uv, UV_RUN_ONCE);
        loop->clock->fresh = false;
    } while (run_tasks(loop) || uv_loop_close(&loop->uv) == UV_EBUSY);
    free_memory(loop);
}

void sbx_loop_run(sbx_loop *loop)
{
    loop->clock->fresh = false;
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void sbx_loop_stop(sbx_loop *loop)
{
    uv_stop(&loop->uv);
}
