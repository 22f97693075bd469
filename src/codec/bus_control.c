/* Credit and replay messages. */
#include "codec/bus_control.h"

#include <stdio.h>

#include "codec/json_scan.h"

sbx_view sbx_bus_credit_write(const sbx_bus_credit *credit, char ret_text[SBX_BUS_CONTROL_TEXT])
{
    int len = snprintf(ret_text, SBX_BUS_CONTROL_TEXT, "{\"seq\":%lu,\"bytes\":%llu}",
                       (unsigned long)credit->seq, (unsigned long long)credit->bytes);
    return sbx_view_of(ret_text, (size_t)len);
}

sbx_view sbx_bus_replay_write(uint32_t from, char ret_text[SBX_BUS_CONTROL_TEXT])
{
    int len = snprintf(ret_text, SBX_BUS_CONTROL_TEXT, "{\"from\":%lu}", (unsigned long)from);
    return sbx_view_of(ret_text, (size_t)len);
}

static sbx_err read_u32(sbx_json_value value, uint32_t *ret_number)
{
    uint64_t number;
    if (sbx_json_to_u64(value, &number) != SBX_OK || number > UINT32_MAX)
        return SBX_E_PARSE;
    *ret_number = (uint32_t)number;
    return SBX_OK;
}

sbx_err sbx_bus_credit_parse(sbx_view message, sbx_bus_credit *ret_credit)
{
    sbx_json_want wants[] = {{.name = SBX_VIEW("seq")}, {.name = SBX_VIEW("bytes")}};
    sbx_bus_credit credit = {0};
    sbx_err err = sbx_json_scan(message, wants, 2, NULL, NULL);
    if (err == SBX_OK)
        err = read_u32(wants[0].value, &credit.seq);
    if (err == SBX_OK && sbx_json_to_u64(wants[1].value, &credit.bytes) != SBX_OK)
        err = SBX_E_PARSE;
    if (err == SBX_OK)
        *ret_credit = credit;
    return err;
}

sbx_err sbx_bus_replay_parse(sbx_view message, uint32_t *ret_from)
{
    sbx_json_want wants[] = {{.name = SBX_VIEW("from")}};
    sbx_err err = sbx_json_scan(message, wants, 1, NULL, NULL);
    return err == SBX_OK ? read_u32(wants[0].value, ret_from) : err;
}
