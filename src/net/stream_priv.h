/* A stream's inside: stream.c opens and ends it, stream_read.c and stream_write.c move its bytes. */
#ifndef SBX_NET_STREAM_PRIV_H
#define SBX_NET_STREAM_PRIV_H

#include <uv.h>

#include "base/buf.h"
#include "net/stream.h"
#include "net/stream_tls.h"

struct sbx_stream {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;
    sbx_loop *loop;
    const sbx_stream_events *events;
    void *user;
    sbx_buf sending, pending;
    uint64_t submitted;
    sbx_task tell; /* on_broken, or on_refused when connecting failed at once */
    int refused_code;
    bool is_writing, is_open, is_paused, has_ended, is_broken, is_closed;
    bool wants_shutdown, peer_is_loopback;
    sbx_tls *tls;      /* NULL: plain */
    bool is_encrypted; /* the handshake is done */
    sbx_task take_up;  /* reads what OpenSSL still holds after a pause */
};

static inline uv_stream_t *sbx_stream_uv(sbx_stream *stream)
{
    return (uv_stream_t *)&stream->tcp;
}

/* stream_read.c */
void sbx_stream_start_reading(sbx_stream *stream);
/* Goes on with the TLS handshake; on_open or on_refused at its end. */
void sbx_stream_shake_hands(sbx_stream *stream);
/* Hands out what OpenSSL has decrypted; a task. */
void sbx_stream_hand_out_plaintext(void *user);

/* stream_write.c */
sbx_err sbx_stream_write_raw(sbx_stream *stream, const sbx_view *pieces, size_t count);
void sbx_stream_send_ciphertext(sbx_stream *stream);
void sbx_stream_set_broken(sbx_stream *stream);

#endif
