/* What the other files of net/ may use of the loop: one read buffer, shared because what was read is
 * consumed or copied before the callback returns. */
#ifndef SBX_NET_LOOP_PRIV_H
#define SBX_NET_LOOP_PRIV_H

#include <stdint.h>

#include "net/loop.h"

enum {
    SBX_LOOP_READ_SIZE = 64 * 1024
};

/* SBX_LOOP_READ_SIZE bytes, valid until the next read of anything on this loop. */
uint8_t *sbx_loop_read_buffer(sbx_loop *loop);

#endif
