/* Controllers that have attempts here. One that is gone stops its generations: two unanswered pings, or long
 * silence. */
#include <stdlib.h>

#include "base/log.h"
#include "worker/worker_node_priv.h"

#define MISSED_APART SBX_SEC(2)
#define SILENCE_MAX  SBX_SEC(15)

sbx_node_controller *sbx_node_controller_find(sbx_worker_node *node, sbx_view id)
{
    SBX_LIST_EACH(link, &node->controllers)
    {
        sbx_node_controller *controller = SBX_CONTAINER_OF(link, sbx_node_controller, node);
        if (sbx_view_eq_cstr(id, controller->id))
            return controller;
    }
    return NULL;
}

sbx_node_controller *sbx_node_controller_get(sbx_worker_node *node, sbx_view id)
{
    sbx_node_controller *controller = sbx_node_controller_find(node, id);
    if (controller != NULL)
        return controller;
    controller = calloc(1, sizeof(*controller));
    if (controller == NULL || sbx_view_to_cstr(id, controller->id, sizeof(controller->id)) != SBX_OK) {
        free(controller);
        return NULL;
    }
    controller->heard_at = sbx_loop_now(node->loop);
    controller->missed_at = SBX_TIME_NEVER;
    sbx_list_push_back(&node->controllers, &controller->node);
    return controller;
}

void sbx_node_controller_put(sbx_worker_node *node, sbx_node_controller *controller)
{
    (void)node;
    if (controller->attempts > 0)
        return;
    sbx_list_remove(&controller->node);
    free(controller);
}

/* Cancelling the last one frees the controller. */
static void cancel_all_of(sbx_worker_node *node, const sbx_node_controller *controller, const char *why)
{
    sbx_log(controller_gone, .worker = node->id, .controller = controller->id,
            .attempts = controller->attempts, .why = why);
    SBX_LIST_EACH(link, &node->attempts)
    {
        sbx_attempt *attempt = SBX_CONTAINER_OF(link, sbx_attempt, node);
        if (attempt->controller == controller)
            sbx_attempt_cancel(attempt);
    }
}

void sbx_node_controller_missed(sbx_worker_node *node, sbx_node_controller *controller)
{
    sbx_time_ns now = sbx_loop_now(node->loop);
    if (controller->missed_at == SBX_TIME_NEVER)
        controller->missed_at = now;
    else if (now - controller->missed_at >= MISSED_APART)
        cancel_all_of(node, controller, "nobody listens for its answers");
}

/* Silence counts only while our own bus is up and we are awake. */
static bool is_silent(const sbx_worker_node *node, const sbx_node_controller *controller, sbx_time_ns now)
{
    return sbx_bus_is_up(node->bus) && now - sbx_time_max(controller->heard_at, node->up_at) > SILENCE_MAX;
}

void sbx_node_controllers_tick(sbx_worker_node *node, sbx_time_ns now)
{
    SBX_LIST_EACH(link, &node->controllers)
    {
        sbx_node_controller *controller = SBX_CONTAINER_OF(link, sbx_node_controller, node);
        if (is_silent(node, controller, now))
            cancel_all_of(node, controller, "it is silent");
    }
}
