/* Records between us and the guard. */
#include "net/guard_wire.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static sbx_err write_all(int socket, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = send(socket, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = socket, .events = POLLOUT};
            poll(&p, 1, /* timeout_ms= */ 1000);
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return SBX_E_CLOSED;
        at += n;
        len -= (size_t)n;
    }
    return SBX_OK;
}

sbx_err sbx_guard_write(int socket, const guard_record *record, const void *strings)
{
    sbx_err err = write_all(socket, record, sizeof *record);
    if (err != SBX_OK || record->strings_len == 0)
        return err;
    return write_all(socket, strings, record->strings_len);
}

sbx_err sbx_guard_read(int socket, sbx_buf *buf)
{
    uint8_t *place;
    sbx_err err = sbx_buf_reserve(buf, 4096, &place);
    if (err != SBX_OK)
        return err;
    ssize_t n = read(socket, place, 4096);
    sbx_buf_commit(buf, n > 0 ? (size_t)n : 0);
    if (n > 0)
        return SBX_OK;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? SBX_E_AGAIN : SBX_E_CLOSED;
}

bool sbx_guard_next(const sbx_buf *buf, guard_record *ret_record, const char **ret_strings)
{
    sbx_view v = sbx_buf_view(buf);
    if (v.len < sizeof *ret_record)
        return false;
    memcpy(ret_record, v.data, sizeof *ret_record);
    if (v.len - sizeof *ret_record < ret_record->strings_len)
        return false;
    *ret_strings = (const char *)v.data + sizeof *ret_record;
    return true;
}

void sbx_guard_consume(sbx_buf *buf, const guard_record *record)
{
    sbx_buf_consume(buf, sizeof *record + record->strings_len);
}
