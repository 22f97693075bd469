/* What a key's value may be, in words: one text for messages and for the reference page. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "config/schema_priv.h"

const char *sbx_describe_size(uint64_t bytes, char ret_text[32])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes > 0 && bytes % 1024 == 0 && unit < 4) {
        bytes /= 1024;
        unit++;
    }
    snprintf(ret_text, 32, "%" PRIu64 " %s", bytes, units[unit]);
    return ret_text;
}

static void describe_words(const char *const *words, char *ret_text)
{
    size_t len = 0;
    for (size_t i = 0; words[i] != NULL; i++) {
        const char *last = words[i + 1] == NULL ? " or " : ", ";
        const char *before = i == 0 ? "" : last;
        int added = snprintf(ret_text + len, SBX_DESCRIBE_MAX - len, "%s%s", before, words[i]);
        if (added < 0 || (size_t)added >= SBX_DESCRIBE_MAX - len)
            return;
        len += (size_t)added;
    }
}

static void describe_range(const sbx_row *row, const char *what, char *ret_text)
{
    snprintf(ret_text, SBX_DESCRIBE_MAX, "%s from %" PRIu64 " to %" PRIu64, what, row->least, row->most);
}

static void describe_size_range(const sbx_row *row, char *ret_text)
{
    char least[32];
    char most[32];
    snprintf(ret_text, SBX_DESCRIBE_MAX, "a size from %s to %s, such as 32 MiB",
             sbx_describe_size(row->least, least), sbx_describe_size(row->most, most));
}

static void describe_codes(const sbx_row *row, char *ret_text)
{
    char words[SBX_DESCRIBE_MAX];
    describe_words(row->words, words);
    snprintf(ret_text, SBX_DESCRIBE_MAX, "any of %.200s", words);
}

static const char *text_of(sbx_kind kind)
{
    switch (kind) {
    case SBX_KIND_BOOL:
        return "true or false";
    case SBX_KIND_TEXT:
        return "a string";
    case SBX_KIND_SECRET:
        return "a string without control characters";
    case SBX_KIND_PATH:
        return "a path";
    case SBX_KIND_ID:
        return "1 to 64 of the characters A-Z a-z 0-9 _ -";
    case SBX_KIND_PREFIX:
        return "at most 64 of the characters A-Z a-z 0-9 _ -";
    case SBX_KIND_WORKER_ID:
        return "1 to 64 of the characters A-Z a-z 0-9 . _ : @ + -";
    case SBX_KIND_MODEL:
        return "a name of 1 to 256 bytes";
    case SBX_KIND_HOST:
        return "a host name or an IP address";
    case SBX_KIND_URI_PATH:
        return "a path that begins with /";
    case SBX_KIND_URL:
        return "a URL such as http://host:8080/v1";
    case SBX_KIND_NATS_URL:
        return "a URL such as nats://host:4222 or tls://host:4222";
    case SBX_KIND_LISTEN:
        return "address:port";
    case SBX_KIND_TEXTS:
        return "a list of strings";
    case SBX_KIND_MODELS:
        return "a list of model ids";
    case SBX_KIND_ONE_MODEL:
        return "a model id";
    case SBX_KIND_ORIGINS:
        return "a list of origins such as https://host:8080, or *";
    case SBX_KIND_NAMED_MODELS:
        return "a model id or a list of them";
    case SBX_KIND_UINT:
    case SBX_KIND_MS:
    case SBX_KIND_SEC:
    case SBX_KIND_SIZE:
    case SBX_KIND_REAL:
    case SBX_KIND_ENUM:
    case SBX_KIND_HELPER_ROLE:
    case SBX_KIND_CODES:
    case SBX_KIND_COUNT:
        break;
    }
    return "";
}

const char *sbx_describe(const sbx_row *row, char ret_text[SBX_DESCRIBE_MAX])
{
    switch ((int)row->kind) {
    case SBX_KIND_UINT:
        describe_range(row, "a whole number", ret_text);
        break;
    case SBX_KIND_MS:
        describe_range(row, "whole milliseconds", ret_text);
        break;
    case SBX_KIND_SEC:
        describe_range(row, "seconds", ret_text);
        break;
    case SBX_KIND_REAL:
        describe_range(row, "a number", ret_text);
        break;
    case SBX_KIND_SIZE:
        describe_size_range(row, ret_text);
        break;
    case SBX_KIND_ENUM:
    case SBX_KIND_HELPER_ROLE:
        describe_words(row->words, ret_text);
        break;
    case SBX_KIND_CODES:
        describe_codes(row, ret_text);
        break;
    default:
        snprintf(ret_text, SBX_DESCRIBE_MAX, "%s", text_of(row->kind));
    }
    return ret_text;
}
