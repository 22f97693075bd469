/* Linked into every program that is built with AddressSanitizer (cmake/options.cmake), the real one and the
 * tests: what LeakSanitizer is not to report. Nothing of ours is ever listed here.
 *
 * nats.c 3.4 leaks messages and buffers that are in use when a connection ends in the middle of traffic, as
 * it does where a test kills the bus. That we free what we were given is test_bus.c's business. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
    return "leak:libnats\n";
}
