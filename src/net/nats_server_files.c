/* Files of the managed nats-server. */
#include "net/nats_server_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/view.h"

/* ---- program ---- */

/* Where packages put it; /usr/sbin is not in everybody's PATH. */
static const char *const extra_dirs[] = {"/usr/sbin", "/usr/local/sbin", "/usr/local/bin",
                                         "/opt/homebrew/bin"};

static bool is_program(const char *dir, size_t dir_len, char ret_path[NATS_PATH_MAX])
{
    int len = snprintf(ret_path, NATS_PATH_MAX, "%.*s/nats-server", (int)dir_len, dir);
    return dir_len > 0 && len < NATS_PATH_MAX && access(ret_path, X_OK) == 0;
}

static sbx_err find_program(char ret_path[NATS_PATH_MAX])
{
    const char *path = getenv("PATH");
    while (path != NULL && *path != '\0') {
        size_t len = strcspn(path, ":");
        if (is_program(path, len, ret_path))
            return SBX_OK;
        path += len + (path[len] == ':');
    }
    for (size_t i = 0; i < sizeof extra_dirs / sizeof extra_dirs[0]; i++) {
        if (is_program(extra_dirs[i], strlen(extra_dirs[i]), ret_path))
            return SBX_OK;
    }
    return SBX_E_NOT_FOUND;
}

static sbx_err take_program(nats_files *files, const char *program, sbx_errinfo *reterr_info)
{
    if (program == NULL) {
        if (find_program(files->program) == SBX_OK)
            return SBX_OK;
        return sbx_errinfo_set(reterr_info, SBX_E_NOT_FOUND, 0, "nats-server is not installed");
    }
    int len = snprintf(files->program, sizeof files->program, "%s", program);
    if (len < (int)sizeof files->program && access(files->program, X_OK) == 0)
        return SBX_OK;
    return sbx_errinfo_set(reterr_info, SBX_E_NOT_FOUND, 0, "%.100s cannot be run", program);
}

/* ---- token ---- */

static sbx_err make_token(char ret_token[NATS_TOKEN_MAX + 1])
{
    uint8_t bytes[16];
    if (getentropy(bytes, sizeof bytes) != 0)
        return SBX_E_IO;
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(ret_token + 2 * i, 3, "%02x", bytes[i]);
    return SBX_OK;
}

static bool is_plain(const char *text, const char *allowed)
{
    return *text != '\0' && text[strspn(text, allowed)] == '\0';
}

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static sbx_err take_token(nats_files *files, const char *token, sbx_errinfo *reterr_info)
{
    if (token == NULL) {
        if (make_token(files->token) == SBX_OK)
            return SBX_OK;
        return sbx_errinfo_set(reterr_info, SBX_E_IO, 0, "no random bytes for the bus token");
    }
    if (strlen(token) > NATS_TOKEN_MAX || !is_plain(token, LETTERS "-_"))
        return sbx_errinfo_set(reterr_info, SBX_E_INVALID, 0,
                               "the bus token must be 1 to %d letters, digits, - or _", NATS_TOKEN_MAX);
    memcpy(files->token, token, strlen(token) + 1);
    return SBX_OK;
}

/* ---- directory ---- */

static sbx_err make_dir(nats_files *files, const char *parent, sbx_errinfo *reterr_info)
{
    if (parent == NULL)
        parent = getenv("TMPDIR");
    if (parent == NULL || *parent == '\0')
        parent = "/tmp";
    int len = snprintf(files->dir, sizeof files->dir, "%s/signalbox-nats-XXXXXX", parent);
    if (len >= (int)sizeof files->dir || mkdtemp(files->dir) == NULL) {
        files->dir[0] = '\0';
        return sbx_errinfo_set(reterr_info, SBX_E_IO, 0, "no directory can be made in %.80s: %s", parent,
                               strerror(errno));
    }
    snprintf(files->conf_path, sizeof files->conf_path, "%s/nats.conf", files->dir);
    return SBX_OK;
}

sbx_err sbx_nats_files_make(nats_files *files, const sbx_nats_server_options *options,
                            sbx_errinfo *reterr_info)
{
    const char *host = options->bind == NULL ? "127.0.0.1" : options->bind;
    *files = (nats_files){.port = options->port};
    if (strlen(host) >= sizeof files->host || !is_plain(host, LETTERS "-_.:"))
        return sbx_errinfo_set(reterr_info, SBX_E_INVALID, 0, "the address to bind is not valid");
    memcpy(files->host, host, strlen(host) + 1);
    sbx_err err = take_program(files, options->program, reterr_info);
    if (err == SBX_OK)
        err = take_token(files, options->token, reterr_info);
    if (err == SBX_OK)
        err = make_dir(files, options->dir, reterr_info);
    return err;
}

/* ---- configuration ---- */

/* max_pending 128 MB and write_deadline 5 s: what a slow link may hold before its client is cut off. */
static void print_conf(FILE *file, const nats_files *files)
{
    fprintf(file,
            "host: \"%s\"\n"
            "port: %d\n"
            "authorization { token: \"%s\" }\n"
            "ports_file_dir: \"%s\"\n"
            "log_file: \"%s/nats-server.log\"\n"
            "logfile_size_limit: 1048576\n"
            "ping_interval: \"5s\"\n"
            "ping_max: 2\n"
            "write_deadline: \"5s\"\n"
            "max_payload: 32MB\n"
            "max_pending: 128MB\n",
            files->host, files->port == 0 ? -1 : (int)files->port, files->token, files->dir, files->dir);
}

sbx_err sbx_nats_files_write_conf(const nats_files *files)
{
    int number = open(files->conf_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (number < 0)
        return SBX_E_IO;
    FILE *file = fdopen(number, "w");
    if (file == NULL) {
        close(number);
        return SBX_E_IO;
    }
    print_conf(file, files);
    return fclose(file) == 0 ? SBX_OK : SBX_E_IO;
}

/* ---- ports file ---- */

/* {"nats":["nats://127.0.0.1:35681"]}: the number before the first closing quote after "nats://". */
static sbx_err parse_ports(sbx_view text, uint16_t *ret_port)
{
    static const char mark[] = "nats://";
    if (!sbx_view_contains(text, sbx_view_cstr(mark)) ||
        !sbx_view_ends_with(sbx_view_trim(text), SBX_VIEW("}")))
        return SBX_E_AGAIN;
    while (!sbx_view_starts_with(text, sbx_view_cstr(mark)))
        text = sbx_view_skip(text, 1);
    text.len = sbx_view_find(text, '"', 0);
    if (text.len == SIZE_MAX)
        return SBX_E_AGAIN;
    size_t colon = text.len;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    uint64_t port;
    if (sbx_view_to_u64(sbx_view_skip(text, colon), UINT16_MAX, &port) != SBX_OK || port == 0)
        return SBX_E_AGAIN;
    *ret_port = (uint16_t)port;
    return SBX_OK;
}

sbx_err sbx_nats_files_read_port(const nats_files *files, pid_t pid, uint16_t *ret_port)
{
    char path[NATS_PATH_MAX + 64], text[1024];
    snprintf(path, sizeof path, "%s/nats-server_%ld.ports", files->dir, (long)pid);
    int number = open(path, O_RDONLY | O_CLOEXEC);
    if (number < 0)
        return SBX_E_AGAIN;
    ssize_t len = read(number, text, sizeof text);
    close(number);
    if (len <= 0 || parse_ports(sbx_view_of(text, (size_t)len), ret_port) != SBX_OK)
        return SBX_E_AGAIN;
    unlink(path); /* a killed server would leave it behind */
    return SBX_OK;
}

void sbx_nats_files_set_port(nats_files *files, uint16_t port)
{
    files->port = port;
}

void sbx_nats_files_url(const nats_files *files, char ret_url[NATS_URL_MAX])
{
    const char *host = files->host;
    if (strcmp(host, "0.0.0.0") == 0)
        host = "127.0.0.1";
    if (strcmp(host, "::") == 0)
        host = "::1";
    bool is_ipv6 = strchr(host, ':') != NULL;
    snprintf(ret_url, NATS_URL_MAX, "nats://%s%s%s:%u", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "",
             (unsigned)files->port);
}

/* ---- the end ---- */

static void remove_files(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    for (struct dirent *entry = readdir(d); entry != NULL; entry = readdir(d)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(d), entry->d_name, 0);
    }
    closedir(d);
}

void sbx_nats_files_remove(nats_files *files)
{
    if (files->dir[0] != '\0') {
        remove_files(files->dir);
        rmdir(files->dir);
    }
    files->dir[0] = '\0';
    memset(files->token, 0, sizeof files->token);
}
