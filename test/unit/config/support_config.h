/* Loading text in tests: one call that asserts the outcome and hands out the configuration, or the problems
 * as one text with a line each. The environment is a list of name, value, ... that ends with NULL. */
#ifndef TEST_SUPPORT_CONFIG_H
#define TEST_SUPPORT_CONFIG_H

#include "config/load.h"

typedef struct test_environment {
    const char *const *pairs; /* name, value, name, value, ..., NULL */
    const sbx_config_override *overrides;
    size_t override_count;
} test_environment;

/* Fails the test, printing the problems, unless the text is fine. Give the result to sbx_config_free(). */
sbx_config *test_load(const char *text);
sbx_config *test_load_in(const char *text, const test_environment *environment);
sbx_config *test_load_file_in(const char *path, const test_environment *environment);

/* Asserts that loading fails with exactly these problems; `wanted` holds one line each, without the newline
 * at the end. The file is called "f". */
void test_problems(const char *text, const char *wanted);
void test_problems_in(const char *text, const test_environment *environment, const char *wanted);
void test_problems_of_bytes(const void *bytes, size_t len, const char *wanted);

#endif
