/* TLS for client streams, apart from sockets: ciphertext in, ciphertext out, through OpenSSL's memory BIOs.
 * Peers are verified against the CA file and their host name; TLS 1.2 or later. */
#ifndef SBX_NET_STREAM_TLS_H
#define SBX_NET_STREAM_TLS_H

#include "base/err.h"
#include "base/view.h"

/* What all connections to one upstream share. */
typedef struct sbx_tls_context sbx_tls_context;
typedef struct sbx_tls sbx_tls;

/* ca_file NULL: the system's. Returns SBX_OK, SBX_E_NOMEM, SBX_E_TLS (the file cannot be used). */
sbx_err sbx_tls_context_new(const char *ca_file, sbx_tls_context **ret_context);
void sbx_tls_context_free(sbx_tls_context *context); /* NULL is fine */

/* host: a name or a numeric address, which the certificate must carry. Returns SBX_OK, SBX_E_NOMEM. */
sbx_err sbx_tls_new(sbx_tls_context *context, const char *host, sbx_tls **ret_tls);
void sbx_tls_free(sbx_tls *tls); /* NULL is fine */

typedef enum sbx_tls_result {
    SBX_TLS_DONE,   /* handshake complete / bytes were read */
    SBX_TLS_MORE,   /* needs more from the peer */
    SBX_TLS_END,    /* the peer said that nothing follows */
    SBX_TLS_FAILED, /* see sbx_tls_problem() */
} sbx_tls_result;

/* After each of the calls below, sbx_tls_outgoing() may have grown. */
sbx_err sbx_tls_receive(sbx_tls *tls, sbx_view ciphertext); /* SBX_OK, SBX_E_NOMEM */
sbx_tls_result sbx_tls_handshake(sbx_tls *tls);
sbx_tls_result sbx_tls_read(sbx_tls *tls, uint8_t *ret_bytes, size_t size, size_t *ret_len);
/* Encrypts all of it. SBX_OK, SBX_E_NOMEM, SBX_E_TLS. */
sbx_err sbx_tls_write(sbx_tls *tls, const sbx_view *pieces, size_t count);
void sbx_tls_say_end(sbx_tls *tls);

/* Ciphertext to be sent; valid until the next call. Drop it once it is on its way. */
sbx_view sbx_tls_outgoing(sbx_tls *tls);
void sbx_tls_drop_outgoing(sbx_tls *tls);

/* A short text, static or owned by the connection. */
const char *sbx_tls_problem(const sbx_tls *tls);

#endif
