/* OpenSSL, wrapped. */
#include "net/stream_tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

struct sbx_tls_context {
    SSL_CTX *ctx;
};

struct sbx_tls {
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
    const char *problem;
};

/* ---- context ---- */

static bool set_up(SSL_CTX *ctx, const char *ca_file)
{
    static const uint8_t http11[] = "\x08http/1.1";
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    /* Idle upstream connections should not hold OpenSSL's 34 KiB of buffers each. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_alpn_protos(ctx, http11, sizeof http11 - 1) == 0 &&
           (ca_file == NULL ? SSL_CTX_set_default_verify_paths(ctx)
                            : SSL_CTX_load_verify_file(ctx, ca_file)) == 1;
}

sbx_err sbx_tls_context_new(const char *ca_file, sbx_tls_context **ret_context)
{
    sbx_tls_context *context = calloc(1, sizeof *context);
    if (context == NULL)
        return SBX_E_NOMEM;
    context->ctx = SSL_CTX_new(TLS_client_method());
    bool is_fine = context->ctx != NULL && set_up(context->ctx, ca_file);
    ERR_clear_error();
    if (!is_fine) {
        sbx_tls_context_free(context);
        return SBX_E_TLS;
    }
    *ret_context = context;
    return SBX_OK;
}

void sbx_tls_context_free(sbx_tls_context *context)
{
    if (context == NULL)
        return;
    SSL_CTX_free(context->ctx);
    free(context);
}

/* ---- connection ---- */

static bool is_numeric(const char *host)
{
    uint8_t address[16];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static bool expect_host(SSL *ssl, const char *host)
{
    if (is_numeric(host))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    /* What SSL_set_tlsext_host_name() does, which casts const away; the name is copied. */
    void *name = (void *)(uintptr_t)host;
    return SSL_set1_host(ssl, host) == 1 &&
           SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name) == 1;
}

sbx_err sbx_tls_new(sbx_tls_context *context, const char *host, sbx_tls **ret_tls)
{
    sbx_tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL)
        return SBX_E_NOMEM;
    tls->ssl = SSL_new(context->ctx);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (tls->ssl == NULL || tls->in == NULL || tls->out == NULL) {
        BIO_free(tls->in);
        BIO_free(tls->out);
        sbx_tls_free(tls);
        return SBX_E_NOMEM;
    }
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    SSL_set_connect_state(tls->ssl);
    if (!expect_host(tls->ssl, host)) {
        sbx_tls_free(tls);
        return SBX_E_NOMEM;
    }
    *ret_tls = tls;
    return SBX_OK;
}

void sbx_tls_free(sbx_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    free(tls);
}

static sbx_tls_result failed(sbx_tls *tls)
{
    long verdict = SSL_get_verify_result(tls->ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    tls->problem = verdict != X509_V_OK ? X509_verify_cert_error_string(verdict)
                   : reason != NULL     ? reason
                                        : "TLS failure";
    ERR_clear_error();
    return SBX_TLS_FAILED;
}

static sbx_tls_result result_of(sbx_tls *tls, int code)
{
    switch (SSL_get_error(tls->ssl, code)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: /* never: a memory BIO takes everything */
        return SBX_TLS_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return SBX_TLS_END;
    default:
        return failed(tls);
    }
}

sbx_err sbx_tls_receive(sbx_tls *tls, sbx_view ciphertext)
{
    int wrote = BIO_write(tls->in, ciphertext.data, (int)ciphertext.len);
    return wrote == (int)ciphertext.len ? SBX_OK : SBX_E_NOMEM;
}

sbx_tls_result sbx_tls_handshake(sbx_tls *tls)
{
    ERR_clear_error();
    int code = SSL_do_handshake(tls->ssl);
    return code == 1 ? SBX_TLS_DONE : result_of(tls, code);
}

sbx_tls_result sbx_tls_read(sbx_tls *tls, uint8_t *ret_bytes, size_t size, size_t *ret_len)
{
    ERR_clear_error();
    int code = SSL_read_ex(tls->ssl, ret_bytes, size, ret_len);
    return code == 1 ? SBX_TLS_DONE : result_of(tls, code);
}

sbx_err sbx_tls_write(sbx_tls *tls, const sbx_view *pieces, size_t count)
{
    ERR_clear_error();
    for (size_t i = 0; i < count; i++) {
        size_t wrote = 0;
        if (pieces[i].len == 0)
            continue;
        int code = SSL_write_ex(tls->ssl, pieces[i].data, pieces[i].len, &wrote);
        if (code != 1) {
            failed(tls);
            return SBX_E_TLS;
        }
    }
    return SBX_OK;
}

void sbx_tls_say_end(sbx_tls *tls)
{
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

sbx_view sbx_tls_outgoing(sbx_tls *tls)
{
    char *data = NULL;
    long len = BIO_get_mem_data(tls->out, &data);
    return sbx_view_of(data, len > 0 ? (size_t)len : 0);
}

void sbx_tls_drop_outgoing(sbx_tls *tls)
{
    (void)BIO_reset(tls->out);
}

const char *sbx_tls_problem(const sbx_tls *tls)
{
    return tls->problem == NULL ? "TLS failure" : tls->problem;
}
