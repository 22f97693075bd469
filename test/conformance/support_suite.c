/* See support_suite.h. */
#include "support_suite.h"

int sbx_transport_conformance(const conf_factory *factory)
{
    return conf_run_exchanges(factory) + conf_run_endings(factory);
}
