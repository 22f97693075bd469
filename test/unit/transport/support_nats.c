/* The same real nats-server that the tests of net/ use. */
#include "unit/net/support_nats.c"
