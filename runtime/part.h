/* Files that appear under their names only when they are whole: written beside the target under a
 * hidden name, flushed to disk, renamed. Private: used by scan/ and by the programs.
 *
 * The hidden name, .NAME.vnet-RANDOM.part, is nobody else's, whatever machine or container another
 * writer of NAME runs in: each of them publishes a whole file, and the last one stays. A writer
 * holds an flock on its file until that has its name. So a hidden file whose lock can be had is
 * what a killed writer left (on Windows, where the system removes it with its writer, a machine
 * that lost power). A file system without locks keeps such files; on one whose locks do not reach
 * other machines (NFS with local_lock) another machine may take a living writer's file for left
 * over, and that writer then fails with a sentence. */
#ifndef VNET_PART_H
#define VNET_PART_H

#include <stddef.h>

#include "vnet_status.h"

struct vn_part {
  int fd;              /* readable and writable; belongs to the part; -1: none */
  char *volatile name; /* NULL: none. Set before the file is there, for a signal handler to remove
                        * it */
};

/* VN_E_IO, VN_E_MEMORY. Sentences begin with the path. */
enum vn_status vn_part_create(struct vn_part *part, const char *path, struct vn_diag *diag);

/* All of `bytes` to a part's or any other descriptor, whatever the number of write calls.
 * VN_E_IO. */
enum vn_status vn_part_write(int fd, const void *bytes, size_t size, struct vn_diag *diag);

/* Gives it its name, replacing what was there; or removes it, on failure. */
enum vn_status vn_part_publish(struct vn_part *part, const char *path, struct vn_diag *diag);

/* Removes it; nothing to do after vn_part_publish. */
void vn_part_drop(struct vn_part *part);

/* Removes what killed writers left in the folder of `path`. */
void vn_part_sweep(const char *path);

#endif
