/* layers: net codec base
 * HTTP requests in any split; see fuzz_http.h. */
#include "fuzz_http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_splits(SBX_HTTP_REQUEST, data, size);
    return 0;
}
