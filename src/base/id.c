/* Request ids and the token rule. */
#include "base/id.h"

void sbx_id_make(sbx_rng *rng, sbx_id *ret_id)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t bytes[SBX_ID_LEN / 2];
    sbx_rng_bytes(rng, bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        ret_id->text[2 * i] = hex[bytes[i] >> 4];
        ret_id->text[2 * i + 1] = hex[bytes[i] & 15];
    }
    ret_id->text[SBX_ID_LEN] = '\0';
}

static bool is_token_byte(uint8_t byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
           byte == '_' || byte == '-';
}

bool sbx_id_is_token(sbx_view v)
{
    if (v.len == 0 || v.len > SBX_TOKEN_MAX)
        return false;
    for (size_t i = 0; i < v.len; i++) {
        if (!is_token_byte(v.data[i]))
            return false;
    }
    return true;
}
