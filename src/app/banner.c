/* See banner.h. */
#include "app/banner.h"

#include <stdio.h>

static bool is_any_address(sbx_view host)
{
    return sbx_view_eq_cstr(host, "0.0.0.0") || sbx_view_eq_cstr(host, "::");
}

static void print_workers(const sbx_registry *registry, sbx_time_ns now)
{
    for (size_t i = 0; i < sbx_registry_count(registry); i++) {
        const sbx_worker *worker = sbx_registry_at(registry, i);
        sbx_worker_info info = sbx_worker_describe(worker, now);
        if (info.is_helper) {
            printf("  helper     %.*s\n", SBX_VIEW_ARG(info.id));
            continue;
        }
        printf("  worker     %.*s", SBX_VIEW_ARG(info.id));
        for (size_t k = 0; k < info.model_count && k < 4; k++) {
            sbx_view model = sbx_worker_model_at(registry, worker, k);
            printf("%s%.*s", k == 0 ? "  serves " : ", ", SBX_VIEW_ARG(model));
        }
        if (info.model_count > 4)
            printf(" and %zu more", info.model_count - 4);
        printf("%s\n", info.online ? "" : "  (not online yet)");
    }
    if (sbx_registry_count(registry) == 0)
        printf("  worker     none yet\n");
}

static void print_curl(const char *host, uint16_t port, sbx_view model)
{
    printf("  try it     curl -sN http://%s:%u/v1/chat/completions -H 'content-type: application/json' \\\n",
           host, (unsigned)port);
    printf(
        "               -d "
        "'{\"model\":\"%.*s\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n",
        SBX_VIEW_ARG(model));
}

void sbx_banner_print(const sbx_banner *banner, sbx_shell *shell)
{
    const sbx_registry *registry = sbx_router_registry(sbx_shell_router(shell));
    const char *host = is_any_address(sbx_view_cstr(banner->host)) ? "127.0.0.1" : banner->host;
    printf("\nSignalbox %s\n", SBX_VERSION);
    printf("  endpoint   http://%s:%u/v1\n", host, (unsigned)banner->port);
    print_workers(registry, sbx_shell_now(shell));
    if (banner->is_simulated)
        printf("  note       no engine was found on this machine: both workers are simulated, their text is "
               "made up.\n");
    if (banner->join_url != NULL)
        printf("  next one   signalbox worker --join %s\n", banner->join_url);
    if (sbx_registry_model_count(registry) > 0)
        print_curl(host, banner->port, sbx_registry_model_at(registry, 0));
    printf("\n");
    fflush(stdout);
}
