/* Memory for the cases of a run: up to a limit the process's own, beyond it that of nameless files,
 * whose pages the system brings in and drops as there is room. */
#ifndef VNET_TRAIN_STORE_H
#define VNET_TRAIN_STORE_H

#include "vnet_status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vnt_store {
  const char *path; /* files are made beside it, under its name and a number; NULL: no limit */
  uint64_t limit_bytes;
  _Atomic uint64_t used_bytes;
  atomic_size_t files;
};

struct vnt_block {
  void *data;
  size_t bytes;
  bool mapped; /* of a file … */
  int fd;      /* … this one; -1: none, or no longer needed */
};

/* Fills *block, to be freed in any case; several threads may. VN_E_MEMORY; VN_E_IO: no file or no
 * room for it, with its path. */
enum vn_status vnt_store_take(struct vnt_store *store, size_t bytes, struct vnt_block *block,
                              struct vn_diag *diag);
void vnt_block_free(struct vnt_block *block); /* accepts a zeroed one */

#endif
