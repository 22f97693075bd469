/* Blocks are calloc: the system hands out zero pages lazily. */
#include "base/block.h"

#include <stdlib.h>

void *sbx_block_new(size_t count, size_t size)
{
    return calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
}

void sbx_block_free(void *block)
{
    free(block);
}
