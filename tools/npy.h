/* NumPy .npy files, versions 1 and 2: little-endian numbers, C order, rank 0 to 8. float32 ("<f4")
 * and int64 ("<i8") stay what they are, other types are read as float32. For vnet-run --tensor and
 * for tests; not a general reader. Format: numpy.lib.format. */
#ifndef VNET_NPY_H
#define VNET_NPY_H

#include "vnet.h"

enum { NPY_MAX_RANK = 8 };

struct npy {
  enum vn_type type;
  size_t rank, dim[NPY_MAX_RANK], elems;
  void *data;
};

/* Reads the whole file; fills *array, which the caller frees with npy_close. The file is not
 * trusted: its size must be exactly what its header promises. */
enum vn_status npy_read(const char *path, struct npy *array, struct vn_diag *diag);

/* Writes header and data to `fd`. */
enum vn_status npy_write(int fd, const struct npy *array, struct vn_diag *diag);

/* Frees the data. Accepts NULL and an array zeroed by hand. */
void npy_close(struct npy *array);

#endif
