/* The public half of an NKey. nats.c signs with the seed but wants to be told the public key, which is
 * Ed25519's of the seed, written as NATS writes keys: base32 of prefix byte, 32 bytes and a CRC-16 (XMODEM),
 * little-endian. */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "net/bus_priv.h"

enum {
    RAW_KEY_BYTES = 32,
    SEED_CHARS = 58, /* base32 of 2 prefix bytes, 32 bytes, 2 bytes of CRC */
    SEED_BYTES = 2 + RAW_KEY_BYTES + 2,
    PUBLIC_BYTES = 1 + RAW_KEY_BYTES + 2,
    PREFIX_USER = 20 << 3, /* reads as 'U' */
    FILE_MAX = 4096
};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static uint16_t crc16(const uint8_t *data, size_t len)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc = (uint16_t)(crc ^ (uint16_t)(data[i] << 8));
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)((crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1);
    }
    return crc;
}

static void base32_encode(const uint8_t *data, size_t len, char *ret_text)
{
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8) | data[i];
        held += 8;
        for (; held >= 5; held -= 5)
            *ret_text++ = alphabet[(bits >> (held - 5)) & 31];
    }
    if (held > 0)
        *ret_text++ = alphabet[(bits << (5 - held)) & 31];
    *ret_text = '\0';
}

static sbx_err base32_decode(const char *text, size_t chars, uint8_t *ret_data)
{
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < chars; i++) {
        const char *at = text[i] == '\0' ? NULL : strchr(alphabet, text[i]);
        if (at == NULL)
            return SBX_E_PARSE;
        bits = (bits << 5) | (uint32_t)(at - alphabet);
        held += 5;
        if (held >= 8) {
            held -= 8;
            *ret_data++ = (uint8_t)(bits >> held);
        }
    }
    return SBX_OK;
}

static sbx_err read_seed(const char *seed_file, uint8_t ret_seed[RAW_KEY_BYTES])
{
    char text[FILE_MAX + 1] = {0};
    FILE *file = fopen(seed_file, "rb");
    if (file == NULL)
        return SBX_E_IO;
    size_t len = fread(text, 1, FILE_MAX, file);
    fclose(file);
    text[len] = '\0';

    uint8_t bytes[SEED_BYTES + 1];
    const char *seed = strstr(text, "SU");
    sbx_err err = SBX_E_PARSE;
    if (seed != NULL && strlen(seed) >= SEED_CHARS)
        err = base32_decode(seed, SEED_CHARS, bytes);
    if (err == SBX_OK && crc16(bytes, SEED_BYTES - 2) != (bytes[SEED_BYTES - 2] | bytes[SEED_BYTES - 1] << 8))
        err = SBX_E_PARSE;
    if (err == SBX_OK)
        memcpy(ret_seed, bytes + 2, RAW_KEY_BYTES);
    OPENSSL_cleanse(bytes, sizeof bytes);
    OPENSSL_cleanse(text, sizeof text);
    return err;
}

static sbx_err derive(const uint8_t seed[RAW_KEY_BYTES], uint8_t ret_public[RAW_KEY_BYTES])
{
    size_t len = RAW_KEY_BYTES;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, RAW_KEY_BYTES);
    if (key == NULL)
        return SBX_E_NOMEM;
    int ok = EVP_PKEY_get_raw_public_key(key, ret_public, &len);
    EVP_PKEY_free(key);
    return ok == 1 && len == RAW_KEY_BYTES ? SBX_OK : SBX_E_INTERNAL;
}

sbx_err sbx_bus_nkey_public(const char *seed_file, char ret_key[BUS_NKEY_LEN + 1])
{
    uint8_t seed[RAW_KEY_BYTES];
    uint8_t bytes[PUBLIC_BYTES] = {PREFIX_USER};
    sbx_err err = read_seed(seed_file, seed);
    if (err != SBX_OK)
        return err;
    err = derive(seed, bytes + 1);
    OPENSSL_cleanse(seed, sizeof seed);
    if (err != SBX_OK)
        return err;
    uint16_t crc = crc16(bytes, PUBLIC_BYTES - 2);
    bytes[PUBLIC_BYTES - 2] = (uint8_t)crc;
    bytes[PUBLIC_BYTES - 1] = (uint8_t)(crc >> 8);
    base32_encode(bytes, PUBLIC_BYTES, ret_key);
    return SBX_OK;
}
