/* What the checks of embeddings and rerank answers share. */
#ifndef SBX_CODEC_OPENAI_VECTORS_PRIV_H
#define SBX_CODEC_OPENAI_VECTORS_PRIV_H

#include <stdlib.h>

#include "codec/openai_request.h"

/* A member of the request's body, which sbx_openai_request_parse() accepted. */
static inline sbx_json_value sbx_request_member(const sbx_openai_request *request, sbx_view name)
{
    sbx_json_value value, root = {.type = SBX_JSON_OBJECT, .text = sbx_view_trim(request->body)};
    (void)sbx_json_find(root, name, &value);
    return value;
}

static inline size_t sbx_json_count(sbx_json_value container)
{
    sbx_json_iter iter;
    sbx_json_value value;
    size_t count = 0;
    sbx_json_iter_init(&iter, container);
    while (sbx_json_iter_next(&iter, NULL, &value))
        count++;
    return count;
}

/* The scanner caps numbers at SBX_JSON_MAX_NUMBER bytes. What is too large becomes an infinity. */
static inline double sbx_json_to_double(sbx_json_value number)
{
    char text[SBX_JSON_MAX_NUMBER + 1];
    return sbx_view_to_cstr(number.text, text, sizeof text) == SBX_OK ? strtod(text, NULL) : 0;
}

#endif
