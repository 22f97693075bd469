/* See openai_embeddings.h. */
#include "codec/openai_embeddings.h"

#include <float.h>
#include <math.h>

#include "codec/openai_vectors_priv.h"

typedef enum encoding {
    FLOATS,
    BASE64,
    OTHER /* one that only the engine knows: passed on */
} encoding;

typedef struct item {
    sbx_json_value object; /* NONE: not there yet */
    sbx_json_value vector;
} item;

typedef struct check {
    sbx_view body;
    sbx_errinfo *info;
    encoding wanted;
    uint64_t wanted_dimension; /* 0: any */
    size_t count;
    item *items; /* by index */
    size_t dimension;
    bool is_out_of_order;
    bool is_otherwise_encoded;
} check;

size_t sbx_embeddings_inputs(const sbx_openai_request *request)
{
    sbx_json_iter iter;
    sbx_json_value first;
    sbx_json_iter_init(&iter, request->input);
    bool is_list = request->input.type == SBX_JSON_ARRAY && sbx_json_iter_next(&iter, NULL, &first);
    return is_list && first.type != SBX_JSON_NUMBER ? sbx_json_count(request->input) : 1;
}

static sbx_err refuse(const check *c, const char *why)
{
    return sbx_errinfo_set(c->info, SBX_E_PARSE, 0, "%s", why);
}

/* ---- base64 of little-endian floats ---- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int digit_of(uint8_t byte)
{
    const char *at = byte == '\0' ? NULL : strchr(digits, byte);
    return at == NULL ? -1 : (int)(at - digits);
}

typedef struct decoder {
    sbx_view text; /* without quotes and padding */
    size_t at;
    uint32_t bits;
    unsigned bit_count;
} decoder;

/* A string of JSON; engines do not escape the '/' in it, and one that does is decoded as is: refused. */
static decoder decoder_of(sbx_json_value string)
{
    sbx_view text = sbx_view_slice(string.text, 1, string.text.len - 2);
    for (unsigned i = 0; i < 2 && sbx_view_ends_with(text, SBX_VIEW("=")); i++)
        text.len--;
    return (decoder){.text = text};
}

static bool next_byte(decoder *d, uint8_t *ret_byte)
{
    while (d->bit_count < 8) {
        int digit = d->at < d->text.len ? digit_of(d->text.data[d->at]) : -1;
        if (digit < 0)
            return false;
        d->at++;
        d->bits = d->bits << 6 | (uint32_t)digit;
        d->bit_count += 6;
    }
    d->bit_count -= 8;
    *ret_byte = (uint8_t)(d->bits >> d->bit_count);
    return true;
}

static bool next_float(decoder *d, float *ret_number)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint8_t byte = 0;
        if (!next_byte(d, &byte))
            return false;
        bits |= (uint32_t)byte << (8 * i);
    }
    memcpy(ret_number, &bits, sizeof bits);
    return true;
}

static void write_base64(sbx_json_value floats, sbx_buf *out)
{
    sbx_json_iter iter;
    sbx_json_value value;
    uint32_t bits = 0;
    unsigned bit_count = 0;
    size_t written = 0;
    sbx_json_iter_init(&iter, floats);
    sbx_buf_append_byte(out, '"');
    while (sbx_json_iter_next(&iter, NULL, &value)) {
        float number = (float)sbx_json_to_double(value);
        uint32_t word;
        memcpy(&word, &number, sizeof word);
        for (unsigned i = 0; i < 4; i++) {
            bits = bits << 8 | (word >> (8 * i) & 0xff);
            for (bit_count += 8; bit_count >= 6; written++) {
                bit_count -= 6;
                sbx_buf_append_byte(out, (uint8_t)digits[bits >> bit_count & 63]);
            }
        }
    }
    if (bit_count > 0) {
        sbx_buf_append_byte(out, (uint8_t)digits[bits << (6 - bit_count) & 63]);
        written++;
    }
    for (; written % 4 != 0; written++)
        sbx_buf_append_byte(out, '=');
    sbx_buf_append_byte(out, '"');
}

static void write_floats(sbx_json_value base64, sbx_buf *out)
{
    decoder d = decoder_of(base64);
    float number = 0;
    for (char before = '['; next_float(&d, &number); before = ',')
        sbx_buf_appendf(out, "%c%.9g", before, (double)number);
    sbx_buf_append_byte(out, ']');
}

/* ---- one vector ---- */

/* 0: it is no vector. */
static size_t dimension_of_floats(sbx_json_value array, bool is_to_be_written)
{
    sbx_json_iter iter;
    sbx_json_value value;
    size_t count = 0;
    sbx_json_iter_init(&iter, array);
    while (sbx_json_iter_next(&iter, NULL, &value)) {
        if (value.type != SBX_JSON_NUMBER) /* null is what some engines make of a NaN */
            return 0;
        if (is_to_be_written && fabs(sbx_json_to_double(value)) > (double)FLT_MAX)
            return 0;
        count++;
    }
    return count;
}

static size_t dimension_of_base64(sbx_json_value string)
{
    decoder d = decoder_of(string);
    float number;
    size_t count = 0;
    while (next_float(&d, &number)) {
        if (!isfinite(number))
            return 0;
        count++;
    }
    bool is_whole = d.at == d.text.len && d.bit_count < 6;
    return is_whole ? count : 0;
}

static sbx_err check_vector(check *c, sbx_json_value vector)
{
    if (c->wanted == OTHER)
        return vector.type == SBX_JSON_NONE ? refuse(c, "an embedding is missing") : SBX_OK;
    if (vector.type != SBX_JSON_ARRAY && vector.type != SBX_JSON_STRING)
        return refuse(c, "an embedding is neither an array nor a string");
    bool is_base64 = vector.type == SBX_JSON_STRING;
    size_t dimension =
        is_base64 ? dimension_of_base64(vector) : dimension_of_floats(vector, c->wanted == BASE64);
    if (dimension == 0)
        return refuse(c, "an embedding is no vector of finite numbers");
    if (c->dimension != 0 && dimension != c->dimension)
        return refuse(c, "the embeddings are of different dimensions");
    c->dimension = dimension;
    c->is_otherwise_encoded = c->is_otherwise_encoded || is_base64 != (c->wanted == BASE64);
    return SBX_OK;
}

/* ---- all of them ---- */

static sbx_err take_item(check *c, sbx_json_value object, size_t position)
{
    sbx_json_value index_value, vector;
    uint64_t index = 0;
    if (!sbx_json_find(object, SBX_VIEW("index"), &index_value) ||
        sbx_json_to_u64(index_value, &index) != SBX_OK || index >= c->count)
        return refuse(c, "an embedding's index is missing or out of range");
    if (c->items[index].object.type != SBX_JSON_NONE)
        return refuse(c, "two embeddings have one index");
    (void)sbx_json_find(object, SBX_VIEW("embedding"), &vector);
    sbx_err err = check_vector(c, vector);
    if (err != SBX_OK)
        return err;
    c->items[index] = (item){.object = object, .vector = vector};
    c->is_out_of_order = c->is_out_of_order || index != position;
    return SBX_OK;
}

static sbx_err take_items(check *c, sbx_json_value data)
{
    sbx_json_iter iter;
    sbx_json_value object;
    size_t position = 0;
    sbx_json_iter_init(&iter, data);
    while (sbx_json_iter_next(&iter, NULL, &object)) {
        sbx_err err = take_item(c, object, position++);
        if (err != SBX_OK)
            return err;
    }
    if (position != c->count)
        return refuse(c, "not as many embeddings as inputs");
    if (c->wanted_dimension != 0 && c->wanted != OTHER && c->dimension != c->wanted_dimension)
        return refuse(c, "the embeddings are not of the dimension that was asked for");
    return SBX_OK;
}

static void write_item(const check *c, const item *it, sbx_buf *out)
{
    bool is_base64 = it->vector.type == SBX_JSON_STRING;
    if (c->wanted == OTHER || is_base64 == (c->wanted == BASE64)) {
        sbx_buf_append_view(out, it->object.text);
        return;
    }
    size_t at = sbx_json_offset(it->object.text, it->vector.text);
    sbx_buf_append_view(out, sbx_view_slice(it->object.text, 0, at));
    if (is_base64)
        write_floats(it->vector, out);
    else
        write_base64(it->vector, out);
    sbx_buf_append_view(out, sbx_view_skip(it->object.text, at + it->vector.text.len));
}

static sbx_err write_anew(const check *c, sbx_json_value data, sbx_buf *out)
{
    size_t at = sbx_json_offset(c->body, data.text);
    sbx_buf_append_view(out, sbx_view_slice(c->body, 0, at));
    for (size_t i = 0; i < c->count; i++) {
        sbx_buf_append_byte(out, i == 0 ? '[' : ',');
        write_item(c, &c->items[i], out);
    }
    sbx_buf_append_byte(out, ']');
    sbx_buf_append_view(out, sbx_view_skip(c->body, at + data.text.len));
    return sbx_buf_error(out);
}

static encoding encoding_of(const sbx_openai_request *request)
{
    sbx_json_value format = sbx_request_member(request, SBX_VIEW("encoding_format"));
    bool is_given = format.type != SBX_JSON_NONE && format.type != SBX_JSON_NULL;
    if (!is_given || sbx_json_string_eq(format.text, SBX_VIEW("float")))
        return FLOATS;
    return sbx_json_string_eq(format.text, SBX_VIEW("base64")) ? BASE64 : OTHER;
}

sbx_err sbx_embeddings_check(sbx_view body, const sbx_openai_request *request, sbx_buf *out,
                             sbx_errinfo *reterr_info)
{
    sbx_json_value data, root = {.type = SBX_JSON_OBJECT, .text = sbx_view_trim(body)};
    sbx_arena memory;
    sbx_arena_init(&memory, SIZE_MAX);
    check c = {.body = body, .info = reterr_info, .wanted = encoding_of(request)};
    (void)sbx_json_to_u64(sbx_request_member(request, SBX_VIEW("dimensions")), &c.wanted_dimension);
    c.count = sbx_embeddings_inputs(request);
    c.items = SBX_ARENA_ARRAY(&memory, item, c.count);
    (void)sbx_json_find(root, SBX_VIEW("data"), &data);
    sbx_err err = c.items == NULL ? SBX_E_NOMEM : take_items(&c, data);
    if (err == SBX_OK && (c.is_out_of_order || c.is_otherwise_encoded))
        err = write_anew(&c, data, out);
    sbx_arena_deinit(&memory);
    return err;
}
