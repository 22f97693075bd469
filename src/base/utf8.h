/* UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef SBX_BASE_UTF8_H
#define SBX_BASE_UTF8_H

#include "base/view.h"

/* Length (1 to 4) of the valid character the view begins with; 0 when it does not begin with one. */
size_t sbx_utf8_valid_char(sbx_view v);

/* Whether the whole view is valid. */
bool sbx_utf8_is_valid(sbx_view v);

/* Writes a code point (not a surrogate, at most 0x10ffff) into ret_bytes; returns its length. */
size_t sbx_utf8_encode(uint32_t code_point, uint8_t ret_bytes[4]);

#endif
