/* See bus_setup.h. */
#include "app/bus_setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/nats_server.h"

#define MAX_BUFFERED ((size_t)8 << 20)

struct sbx_bus_setup {
    sbx_loop *loop;
    const sbx_config *config;
    sbx_bus_ready_fn *on_ready;
    void *user;
    sbx_nats_server *server; /* embedded */
    sbx_timer soon;          /* external: ready in the next turn */
    bool is_ready;
    sbx_bus_options options;
    char join_url[400];
    char prefix[SBX_BUS_PREFIX_SIZE];
};

static const char *prefix_of(const sbx_config *config, char prefix[SBX_BUS_PREFIX_SIZE])
{
    const char *word = config->cluster.nats.subject_prefix;
    snprintf(prefix, SBX_BUS_PREFIX_SIZE, "%s%s", word, word[0] == '\0' ? "" : ".");
    return prefix;
}

sbx_bus_options sbx_bus_options_external(const sbx_config *config, const char *name,
                                         char prefix[SBX_BUS_PREFIX_SIZE])
{
    const sbx_config_nats *nats = &config->cluster.nats;
    return (sbx_bus_options){
        .url = nats->server_url,
        .name = name,
        .user = nats->user,
        .password = nats->password,
        .token = nats->token,
        .nkey_seed_file = nats->nkey_seed_path,
        .ca_file = nats->tls.ca_path,
        .cert_file = nats->tls.cert_path,
        .key_file = nats->tls.key_path,
        .subject_prefix = prefix_of(config, prefix),
        .max_buffered_bytes = MAX_BUFFERED,
    };
}

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 || strncmp(host, "127.", 4) == 0;
}

/* The address that another machine can use: what was bound, or this machine's name where all addresses were.
 */
static void write_join_url(sbx_bus_setup *setup, uint16_t port)
{
    const char *host = setup->config->cluster.nats.embedded.bind;
    char name[256] = "";
    if (is_loopback(host))
        return;
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0) {
        if (gethostname(name, sizeof name - 1) != 0)
            return;
        host = name;
    }
    bool is_ipv6 = strchr(host, ':') != NULL;
    snprintf(setup->join_url, sizeof setup->join_url, "nats://%s@%s%s%s:%u",
             sbx_nats_server_token(setup->server), is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "",
             (unsigned)port);
}

static void on_server_ready(void *user, const char *url, uint16_t port)
{
    sbx_bus_setup *setup = user;
    if (setup->is_ready)
        return; /* back after a crash, on the same port: the bus reconnects by itself */
    setup->is_ready = true;
    setup->options = (sbx_bus_options){
        .url = url,
        .name = "controller",
        .token = sbx_nats_server_token(setup->server),
        .subject_prefix = prefix_of(setup->config, setup->prefix),
        .max_buffered_bytes = MAX_BUFFERED,
    };
    write_join_url(setup, port);
    setup->on_ready(setup->user, /* is_ok: */ true);
}

static sbx_err start_embedded(sbx_bus_setup *setup, sbx_guard *guard)
{
    const sbx_config_nats *nats = &setup->config->cluster.nats;
    sbx_nats_server_options options = {
        .bind = nats->embedded.bind,
        .port = (uint16_t)nats->embedded.port,
        .token = nats->embedded.token,
        .dir = nats->embedded.store_dir,
    };
    sbx_nats_server_events events = {.on_ready = on_server_ready, .user = setup};
    sbx_errinfo info = {.text = ""};
    sbx_err err = sbx_nats_server_start(setup->loop, guard, &options, &events, &setup->server, &info);
    if (err != SBX_OK)
        fprintf(stderr, "signalbox: nats-server: %s\n", info.text[0] != '\0' ? info.text : sbx_err_text(err));
    return err;
}

static void on_soon(sbx_timer *timer, void *user)
{
    sbx_bus_setup *setup = user;
    (void)timer;
    setup->is_ready = true;
    setup->on_ready(setup->user, /* is_ok: */ true);
}

sbx_err sbx_bus_setup_start(sbx_loop *loop, sbx_guard *guard, const sbx_config *config,
                            sbx_bus_ready_fn *on_ready, void *user, sbx_bus_setup **ret_setup)
{
    sbx_bus_setup *setup = calloc(1, sizeof *setup);
    if (setup == NULL)
        return SBX_E_NOMEM;
    *setup = (sbx_bus_setup){.loop = loop, .config = config, .on_ready = on_ready, .user = user};
    sbx_timer_init(&setup->soon, loop, on_soon, setup);
    sbx_err err = SBX_OK;
    if (config->cluster.nats.mode == SBX_CONFIG_NATS_EMBEDDED) {
        err = start_embedded(setup, guard);
    } else {
        setup->options = sbx_bus_options_external(config, "controller", setup->prefix);
        sbx_timer_start(&setup->soon, sbx_loop_now(loop));
    }
    if (err != SBX_OK) {
        free(setup);
        return err;
    }
    *ret_setup = setup;
    return SBX_OK;
}

const sbx_bus_options *sbx_bus_setup_options(const sbx_bus_setup *setup)
{
    return &setup->options;
}

const char *sbx_bus_setup_join_url(const sbx_bus_setup *setup)
{
    return setup->join_url[0] != '\0' ? setup->join_url : NULL;
}

void sbx_bus_setup_free(sbx_bus_setup *setup)
{
    if (setup == NULL)
        return;
    sbx_timer_stop(&setup->soon);
    sbx_nats_server_free(setup->server);
    free(setup);
}
