/* What we and the guard say to each other: records over a stream socket, in the machine's own byte order,
 * since both ends are the same program. */
#ifndef SBX_NET_GUARD_WIRE_H
#define SBX_NET_GUARD_WIRE_H

#include "base/buf.h"
#include "base/err.h"

enum {
    GUARD_RECORD_MAX = 64 * 1024,
    GUARD_STRINGS_MAX = 256
};

typedef enum guard_record_kind {
    GUARD_SPAWN =
        1,         /* child; a = argv strings, b = env strings, then the log path ("" = none), in `strings` */
    GUARD_KILL,    /* child; a = signal */
    GUARD_STARTED, /* child; a = pid */
    GUARD_EXITED   /* child; a = exit code, b = signal */
} guard_record_kind;

typedef struct guard_record {
    uint32_t kind;
    uint32_t child;
    int32_t a, b;
    uint32_t strings_len; /* bytes that follow: strings, each with its NUL */
} guard_record;

/* Blocks until all is written. SBX_E_CLOSED. */
sbx_err sbx_guard_write(int socket, const guard_record *record, const void *strings);

/* One read into buf. SBX_E_CLOSED (the peer ended), SBX_E_AGAIN (nothing there), SBX_E_NOMEM, SBX_E_CAP. */
sbx_err sbx_guard_read(int socket, sbx_buf *buf);

/* Takes the first whole record out of buf; its strings are valid until buf changes: consume it then with
 * sbx_guard_consume. False: none is complete. */
bool sbx_guard_next(const sbx_buf *buf, guard_record *ret_record, const char **ret_strings);
void sbx_guard_consume(sbx_buf *buf, const guard_record *record);

#endif
