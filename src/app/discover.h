/* Looks for engines: asks every address for /v1/models, all at once, and waits 300 ms. A Signalbox does not
 * count as an engine (it refuses our Via), nor does a server without models. */
#ifndef SBX_APP_DISCOVER_H
#define SBX_APP_DISCOVER_H

#include "base/url.h"
#include "net/loop.h"

enum {
    SBX_DISCOVER_MAX = 32
};

typedef struct sbx_address {
    const char *name; /* for people; kept */
    sbx_url url;      /* strings kept */
} sbx_address;

typedef enum sbx_finding {
    SBX_FOUND_NOTHING, /* nobody answered in time, or what answered is no engine */
    SBX_FOUND_NO_MODELS,
    SBX_FOUND_ENGINE
} sbx_finding;

typedef struct sbx_discovery {
    sbx_finding findings[SBX_DISCOVER_MAX]; /* by address */
    size_t model_counts[SBX_DISCOVER_MAX];
} sbx_discovery;

/* Addresses given by flag; NULL and 0: those of known_engines.def. Strings come from the arena. Returns how
 * many; SIZE_MAX with a message on stderr when one is no URL. */
size_t sbx_discover_addresses(sbx_arena *arena, const char *const *urls, size_t url_count,
                              sbx_address ret_addresses[SBX_DISCOVER_MAX]);

/* Runs the loop until all answered or the time is over. SBX_E_NOMEM. */
sbx_err sbx_discover(sbx_loop *loop, const sbx_address *addresses, size_t count,
                     sbx_discovery *ret_discovery);

#endif
