/* The conformance suite: what transport.h promises, checked for one kind. Every kind's test runs it whole. */
#ifndef CONFORMANCE_SUPPORT_SUITE_H
#define CONFORMANCE_SUPPORT_SUITE_H

#include "support_world.h"

/* Returns the number of failed tests. */
int sbx_transport_conformance(const conf_factory *factory);

/* Its two halves. */
int conf_run_exchanges(const conf_factory *factory); /* support_exchanges.c: what goes over */
int conf_run_endings(const conf_factory *factory);   /* support_endings.c: how calls end before their time */

#define CONF_TEST(test, factory)                                                                             \
    cmocka_unit_test_prestate_setup_teardown(test, conf_setup, conf_teardown, (void *)(uintptr_t)(factory))

#endif
