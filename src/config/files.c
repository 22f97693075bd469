/* Files of the configuration: itself, secrets, and paths relative to its folder. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "config/values_priv.h"

static sbx_err read_all(sbx_load *load, FILE *file, size_t max_bytes, sbx_view *ret_content,
                        const char **reterr_why)
{
    sbx_buf buf;
    sbx_buf_init(&buf, max_bytes);
    char piece[4096];
    size_t count = fread(piece, 1, sizeof piece, file);
    while (count > 0 && sbx_buf_append(&buf, piece, count) == SBX_OK)
        count = fread(piece, 1, sizeof piece, file);

    sbx_err err = sbx_buf_error(&buf);
    if (err == SBX_E_CAP)
        *reterr_why = "it is too large";
    if (err == SBX_OK && ferror(file)) {
        *reterr_why = strerror(errno);
        err = SBX_E_IO;
    }
    if (err == SBX_OK)
        err = sbx_arena_dup(&load->scratch, sbx_buf_view(&buf), ret_content);
    sbx_buf_deinit(&buf);
    return err;
}

sbx_err sbx_file_read(sbx_load *load, const char *path, size_t max_bytes, sbx_view *ret_content,
                      const char **reterr_why)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        *reterr_why = strerror(errno);
        return errno == ENOENT ? SBX_E_NOT_FOUND : SBX_E_IO;
    }
    sbx_err err = read_all(load, file, max_bytes, ret_content, reterr_why);
    fclose(file);
    if (err == SBX_E_NOMEM)
        load->out_of_memory = true;
    return err;
}

const char *sbx_keep_path(sbx_load *load, const sbx_node *node)
{
    bool is_below_folder = node->place.origin->is_file && node->text.len > 0 && node->text.data[0] != '/';
    if (!is_below_folder)
        return sbx_load_keep_text(load, node->text);
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    sbx_buf_append_view(&buf, load->folder);
    sbx_buf_append_view(&buf, node->text);
    const char *kept = NULL;
    if (sbx_buf_error(&buf) == SBX_OK)
        kept = sbx_load_keep_text(load, sbx_buf_view(&buf));
    else
        load->out_of_memory = true;
    sbx_buf_deinit(&buf);
    return kept;
}

static bool bad_file(sbx_load *load, sbx_node *node, const char *why, const char *expected)
{
    char quoted[SBX_QUOTE_MAX];
    node->is_bad = true;
    sbx_load_problem(load, node->place, "found the file %s: %s, expected %s", sbx_quote(node->text, quoted),
                     why, expected);
    return false;
}

bool sbx_read_secret_file(sbx_load *load, const sbx_row *row, sbx_node *node, void *field)
{
    sbx_view content;
    const char *why = "";
    (void)row;
    if (node->kind != SBX_NODE_SCALAR || !sbx_is_clean(node->text, 4095)) {
        char quoted[SBX_QUOTE_MAX];
        node->is_bad = true;
        sbx_load_problem(load, node->place, "found %s, expected a path", sbx_found(node, quoted));
        return false;
    }
    const char *path = sbx_keep_path(load, node);
    if (path == NULL)
        return false;
    sbx_err err = sbx_file_read(load, path, SBX_CONFIG_SECRET_MAX, &content, &why);
    if (err == SBX_E_NOMEM)
        return false;
    if (err != SBX_OK)
        return bad_file(load, node, why, "a file that can be read");

    while (content.len > 0 &&
           (content.data[content.len - 1] == '\n' || content.data[content.len - 1] == '\r'))
        content.len--;
    if (!sbx_is_clean(content, SBX_CONFIG_SECRET_MAX) || !sbx_utf8_is_valid(content))
        return bad_file(load, node, content.len == 0 ? "it is empty" : "it is no text of one line",
                        "one line with the secret");
    const char *kept = sbx_load_keep_text(load, content);
    if (kept == NULL)
        return false;
    *(const char **)field = kept;
    return true;
}
