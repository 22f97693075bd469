/* See support_probe.h. */
#include "unit/worker/support_probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static probe_world *the_world; /* the sink's callbacks need the time */

static void take_head(probe *p, const sbx_sim_head *head)
{
    p->has_head = true;
    p->head_at = the_world->now;
    p->status = head->status;
    p->retry_after_s = head->retry_after_s;
    snprintf(p->content_type, sizeof(p->content_type), "%s", head->content_type);
}

static void on_head(void *user, const sbx_sim_head *head)
{
    take_head(user, head);
}

static void on_data(void *user, sbx_view bytes)
{
    probe *p = user;
    if (p->pieces++ == 0)
        p->first_data_at = the_world->now;
    p->last_data_at = the_world->now;
    sbx_buf_append_view(&p->body, bytes);
    if (p->cancel_in_data)
        sbx_sim_run_cancel(p->run);
}

static void over(probe *p)
{
    assert_false(p->is_over);
    p->is_over = true;
    p->over_at = the_world->now;
    p->run = NULL;
    p->armed_at = SBX_TIME_NEVER;
}

static void on_end(void *user)
{
    over(user);
    ((probe *)user)->is_ended = true;
}

static void on_whole(void *user, const sbx_sim_head *head, sbx_view body)
{
    take_head(user, head);
    on_data(user, body);
    on_end(user);
}

static void on_break(void *user, sbx_sim_effect effect)
{
    over(user);
    ((probe *)user)->is_broken = true;
    ((probe *)user)->effect = effect;
}

static void arm(void *user, sbx_time_ns at)
{
    ((probe *)user)->armed_at = at;
}

static const sbx_sim_sink sink = {.on_whole = on_whole,
                                  .on_head = on_head,
                                  .on_data = on_data,
                                  .on_end = on_end,
                                  .on_break = on_break,
                                  .arm = arm};

probe *probe_request(probe_world *w, const char *path, const char *body)
{
    probe *p = &w->probes[w->count++];
    *p = (probe){.armed_at = SBX_TIME_NEVER};
    sbx_buf_init(&p->body, SIZE_MAX);
    assert_int_equal(
        sbx_sim_engine_start(w->engine, sbx_view_cstr(path), sbx_view_cstr(body), &sink, p, w->now, &p->run),
        SBX_OK);
    return p;
}

probe *probe_chat(probe_world *w, const char *body)
{
    return probe_request(w, "/v1/chat/completions", body);
}

static probe *next_armed(probe_world *w)
{
    probe *next = NULL;
    for (size_t i = 0; i < w->count; i++) {
        probe *p = &w->probes[i];
        if (p->run != NULL && p->armed_at != SBX_TIME_NEVER && (next == NULL || p->armed_at < next->armed_at))
            next = p;
    }
    return next;
}

/* Lets time pass up to `until`. */
void probe_run_until(probe_world *w, sbx_time_ns until)
{
    for (probe *p = next_armed(w); p != NULL && p->armed_at <= until; p = next_armed(w)) {
        w->now = p->armed_at > w->now ? p->armed_at : w->now;
        p->armed_at = SBX_TIME_NEVER;
        sbx_sim_run_step(p->run, w->now);
    }
    w->now = until > w->now ? until : w->now;
}

void probe_run_all(probe_world *w)
{
    probe_run_until(w, w->now + SBX_SEC(1000));
}

const char *probe_text(probe *p)
{
    sbx_buf_append_byte(&p->body, 0);
    sbx_buf_truncate(&p->body, sbx_buf_view(&p->body).len - 1);
    return (const char *)sbx_buf_view(&p->body).data;
}

int probe_occurrences(probe *p, const char *part)
{
    int count = 0;
    for (const char *at = strstr(probe_text(p), part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

/* All content deltas (or the one content) of an answer, joined. */
void probe_content(probe *p, char *ret_content, size_t size)
{
    static const char key[] = "\"content\":\"";
    size_t used = 0;
    for (const char *at = strstr(probe_text(p), key); at != NULL; at = strstr(at, key)) {
        at += sizeof(key) - 1;
        size_t len = strcspn(at, "\"");
        assert_true(used + len < size);
        memcpy(ret_content + used, at, len);
        used += len;
    }
    ret_content[used] = '\0';
}

int probe_setup(void **state)
{
    probe_world *w = calloc(1, sizeof(*w));
    sbx_sim_options options = sbx_sim_options_default();
    options.ttft_ms = TTFT_MS;
    options.tps = 1000 / GAP_MS;
    options.capacity = 2;
    options.max_waiting = 1;
    options.max_wait_ms = 5000;
    w->now = SBX_SEC(10);
    the_world = w;
    *state = w;
    return sbx_sim_engine_new(&options, &w->engine) == SBX_OK ? 0 : -1;
}

int probe_teardown(void **state)
{
    probe_world *w = *state;
    for (size_t i = 0; i < w->count; i++) {
        sbx_sim_run_cancel(w->probes[i].run);
        sbx_buf_deinit(&w->probes[i].body);
    }
    sbx_sim_engine_free(w->engine);
    free(w);
    return 0;
}

void probe_fault(probe_world *w, sbx_sim_fault which, int64_t after_bytes, int64_t after_tokens)
{
    sbx_sim_order order = sbx_sim_order_of(which);
    order.after_bytes = after_bytes;
    order.after_tokens = after_tokens;
    sbx_sim_faults_add(sbx_sim_engine_faults(w->engine), &order);
}
