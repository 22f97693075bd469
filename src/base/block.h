/* One block of zeroed memory that lives as long as its owner: a table allocated at start. Pages that are
 * never written cost nothing, so a table may be sized for the worst case. */
#ifndef SBX_BASE_BLOCK_H
#define SBX_BASE_BLOCK_H

#include <stddef.h>

/* Gives `count` zeroed objects of `size` bytes; release with sbx_block_free. NULL when memory is out. */
void *sbx_block_new(size_t count, size_t size);
void sbx_block_free(void *block);

#endif
