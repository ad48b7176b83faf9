/* See store.h. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "os.h"

enum { TRIES = 100 };

static void fd_close(struct vnt_block *block) {
  if (block->fd >= 0) close(block->fd);
  block->fd = -1;
}

/* The next file that is new. Of a process that was killed between making and unlinking, or runs on
 * another machine, there may be some of the same number. -1: errno; *path is set, or NULL. */
static int file_make(struct vnt_store *store, char **path) {
  int fd = -1;
  *path = NULL;
  errno = EEXIST;
  for (int i = 0; i < TRIES && fd < 0 && errno == EEXIST; i++) {
    free(*path);
    if (asprintf(path, "%s.%llu.%zu", store->path, (unsigned long long)vn_os_process(),
                 atomic_fetch_add(&store->files, 1)) < 0) {
      *path = NULL;
      return -1;
    }
    fd = open(*path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  }
  return fd;
}

/* A file that has no name any more, or is gone with its descriptor. */
static enum vn_status file_take(struct vnt_store *store, struct vnt_block *block,
                                struct vn_diag *diag) {
  char *path;
  block->fd = file_make(store, &path);
  int reason = errno;
  if (!path) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  if (block->fd >= 0) {
    vn_os_doom(block->fd, true);
    unlink(path);
    block->mapped = true;
    block->data = vn_os_map_new(block->fd, block->bytes);
    reason = errno;
    if (vn_os_map_outlives()) fd_close(block); /* a process may have about 1000 of them */
  }
  const enum vn_status status =
      block->data ? VN_OK
                  : vn_fail(diag, vn_io_status(reason), "%.300s: no room for a case: %s", path,
                            strerror(reason));
  free(path);
  return status;
}

enum vn_status vnt_store_take(struct vnt_store *store, size_t bytes, struct vnt_block *block,
                              struct vn_diag *diag) {
  *block = (struct vnt_block){.bytes = bytes, .fd = -1};
  const uint64_t before = atomic_fetch_add(&store->used_bytes, bytes);
  if (store->path && before + bytes > store->limit_bytes) {
    atomic_fetch_sub(&store->used_bytes, bytes);
    return file_take(store, block, diag);
  }
  block->data = malloc(bytes);
  return block->data ? VN_OK : vn_fail(diag, VN_E_MEMORY, "out of memory for a case");
}

void vnt_block_free(struct vnt_block *block) {
  if (!block->bytes) return;
  if (block->mapped)
    vn_os_unmap(block->data, block->bytes);
  else
    free(block->data);
  fd_close(block);
  *block = (struct vnt_block){0};
}
