/* See file_writer.h. */
#include "net/file_writer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/list.h"

typedef struct job {
    sbx_list_node node;
    sbx_file_written_fn *done;
    void *user;
    size_t len;
    uint8_t text[];
} job;

struct sbx_file_writer {
    sbx_loop *loop;
    char *path, *beside; /* the file, and where it is written first */
    sbx_list waiting;    /* job.node */
    job *current;        /* on the other thread; NULL: none */
    sbx_err result;
    uv_work_t work;
    bool is_freed; /* by its owner; goes with the last write */
};

/* ---- on the other thread ---- */

static void make_folders(char *path)
{
    for (char *slash = path + 1; *slash != '\0'; slash++) {
        if (*slash != '/')
            continue;
        *slash = '\0';
        (void)mkdir(path, 0700); /* whether it is there shows when the file is opened */
        *slash = '/';
    }
}

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t written = write(fd, data, len);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            data += written;
            len -= (size_t)written;
        }
    }
    return fsync(fd) == 0;
}

/* Without this the rename itself may be lost with the machine's power; the file is whole either way. */
static void sync_folder(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL)
        return;
    *slash = '\0';
    int fd = open(slash == path ? "/" : path, O_RDONLY | O_CLOEXEC);
    *slash = '/';
    if (fd < 0)
        return;
    (void)fsync(fd);
    (void)close(fd);
}

static sbx_err replace(sbx_file_writer *writer, const job *j)
{
    make_folders(writer->beside);
    int fd = open(writer->beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return SBX_E_IO;
    bool is_written = write_all(fd, j->text, j->len);
    if (close(fd) != 0 || !is_written || rename(writer->beside, writer->path) != 0) {
        (void)unlink(writer->beside);
        return SBX_E_IO;
    }
    sync_folder(writer->beside);
    return SBX_OK;
}

static void on_work(uv_work_t *work)
{
    sbx_file_writer *writer = work->data;
    writer->result = replace(writer, writer->current);
}

/* ---- on the loop ---- */

static void destroy(sbx_file_writer *writer)
{
    free(writer->path);
    free(writer->beside);
    free(writer);
}

static void start_next(sbx_file_writer *writer);

static void on_worked(uv_work_t *work, int status)
{
    sbx_file_writer *writer = work->data;
    job *j = writer->current;
    writer->current = NULL;
    if (!writer->is_freed)
        j->done(j->user, status == 0 ? writer->result : SBX_E_IO);
    free(j);
    start_next(writer);
}

static void start_next(sbx_file_writer *writer)
{
    if (writer->current != NULL)
        return; /* `done` asked for another one */
    sbx_list_node *node = sbx_list_first(&writer->waiting);
    if (node == NULL) {
        if (writer->is_freed)
            destroy(writer);
        return;
    }
    sbx_list_remove(node);
    writer->current = SBX_CONTAINER_OF(node, job, node);
    int error = uv_queue_work(sbx_loop_uv(writer->loop), &writer->work, on_work, on_worked);
    assert(error == 0); /* fails only without a callback */
    (void)error;
}

sbx_err sbx_file_writer_new(sbx_loop *loop, const char *path, sbx_file_writer **ret_writer)
{
    sbx_file_writer *writer = calloc(1, sizeof *writer);
    size_t size = strlen(path) + sizeof ".new";
    if (writer == NULL)
        return SBX_E_NOMEM;
    writer->loop = loop;
    writer->work.data = writer;
    sbx_list_init(&writer->waiting);
    writer->path = strdup(path);
    writer->beside = malloc(size);
    if (writer->path == NULL || writer->beside == NULL) {
        destroy(writer);
        return SBX_E_NOMEM;
    }
    snprintf(writer->beside, size, "%s.new", path);
    *ret_writer = writer;
    return SBX_OK;
}

sbx_err sbx_file_writer_write(sbx_file_writer *writer, sbx_view text, sbx_file_written_fn *done, void *user)
{
    job *j = calloc(1, sizeof *j + text.len);
    if (j == NULL)
        return SBX_E_NOMEM;
    j->done = done;
    j->user = user;
    j->len = text.len;
    if (text.len > 0)
        memcpy(j->text, text.data, text.len);
    sbx_list_push_back(&writer->waiting, &j->node);
    start_next(writer);
    return SBX_OK;
}

void sbx_file_writer_free(sbx_file_writer *writer)
{
    if (writer == NULL)
        return;
    writer->is_freed = true;
    if (writer->current == NULL && sbx_list_is_empty(&writer->waiting))
        destroy(writer);
}
