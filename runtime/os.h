/* What the runtime asks of the operating system; os_posix.c answers. Private. One file for each
 * kind of system, so that no other file of the runtime needs to know which one it is. */
#ifndef VNET_OS_H
#define VNET_OS_H

#include "fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of a clock that never goes back. */
uint64_t vn_os_now_ns(void);

/* Cores that the process may use: its affinity mask, limited by its control group's quota. */
size_t vn_os_cores(void);

/* Memory that the process may still take: what the machine has available, what its control groups
 * (both versions) and its limit of address space leave. `root` is "", or a folder that holds a
 * /proc and a /sys for a test. */
uint64_t vn_os_memory_free(const char *root);

/* The same number in this process alone: a forked child has another. */
uint64_t vn_os_process(void);

/* At least `bytes` zero-filled bytes in whole pages, large ones where the system has them and they
 * pay. Sets *map_bytes, for vn_os_pages_free. NULL: not to be had. */
void *vn_os_pages(size_t bytes, size_t *map_bytes);
void vn_os_pages_free(void *pages, size_t map_bytes); /* accepts NULL */

/* Gives the memory of the pages that lie wholly inside back to the system: they read as zero. */
void vn_os_pages_drop(void *from, size_t bytes);

/* A regular file, to be read from its start. */
struct vn_os_file {
  int fd;
  uint64_t bytes;
};
/* VN_E_IO, with the path in the sentence. */
enum vn_status vn_os_file_open(const char *path, struct vn_os_file *file, struct vn_diag *diag);
/* The next `bytes` bytes; *got is less only where the file ends. VN_E_IO. */
enum vn_status vn_os_file_read(const struct vn_os_file *file, void *to, size_t bytes, size_t *got,
                               struct vn_diag *diag);
void vn_os_file_close(struct vn_os_file *file);

#endif
