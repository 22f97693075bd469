/* Replaces one small file, whole or not at all, without stopping the loop: written beside it, synced, renamed
 * over it. Whoever reads it, also after a crash at any moment, finds the old text or the new one.
 *
 * Threads: belongs to the loop's thread; the writing itself is done on one of libuv's. */
#ifndef SBX_NET_FILE_WRITER_H
#define SBX_NET_FILE_WRITER_H

#include "base/view.h"
#include "net/loop.h"

typedef struct sbx_file_writer sbx_file_writer;

/* Called once per write, from the loop. SBX_E_IO: the file is as it was. */
typedef void sbx_file_written_fn(void *user, sbx_err err);

/* Folders of the path that are missing are made with the first write. Copies the path. SBX_E_NOMEM. */
sbx_err sbx_file_writer_new(sbx_loop *loop, const char *path, sbx_file_writer **ret_writer);

/* Writes follow each other in the order of the calls. Copies the text. SBX_E_NOMEM: done is not called. */
sbx_err sbx_file_writer_write(sbx_file_writer *writer, sbx_view text, sbx_file_written_fn *done, void *user);

/* What was asked for is written all the same; done is not called any more. NULL is fine. */
void sbx_file_writer_free(sbx_file_writer *writer);

#endif
