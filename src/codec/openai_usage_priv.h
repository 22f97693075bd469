/* Usage counts, shared by answers and stream chunks. */
#ifndef SBX_CODEC_OPENAI_USAGE_PRIV_H
#define SBX_CODEC_OPENAI_USAGE_PRIV_H

#include "codec/openai_response.h"

/* Of anything but an object: not present. Counts that are missing or odd are 0. */
sbx_usage sbx_usage_of(sbx_json_value usage);

#endif
