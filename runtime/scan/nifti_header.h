/* NIfTI-1 and NIfTI-2 headers as bytes and as one struct: every field from outside is checked
 * here, before anything is allocated or read on its word. Private to nifti_read.c and
 * nifti_write.c. No library's reader is used: niftiio trusts what this file is there to doubt; only
 * the standard's own struct definitions come from it. */
#ifndef VNET_SCAN_HEADER_H
#define VNET_SCAN_HEADER_H

#include "vnet_status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <nifti/nifti1.h>
#include <nifti/nifti2.h>

enum { VN_HEADER_MOST = 544 }; /* bytes: a NIfTI-2 header and its four extension flags */

struct vn_header {
  struct nifti_2_header field; /* native byte order, whichever version the file is */
  int version;                 /* 1 or 2 */
  bool swapped;                /* the voxels, as the header, are in the other byte order */
  bool pair;                   /* the voxels are in an .img file of their own */
  size_t dim[3], elems;        /* x y z */
  size_t elem_bytes;
  uint64_t data_bytes; /* elems * elem_bytes */
  double slope, inter; /* value = slope * stored + inter */
};

/* `size` bytes from the start of a file: at least 348 for NIfTI-1, 540 for NIfTI-2. Legal is a 3D
 * volume with positive extents whose voxels are real numbers; axes 4 to 7 may exist with extent 1.
 * VN_E_FORMAT, or VN_E_UNSUPPORTED for what NIfTI allows and this project does not take. */
enum vn_status vn_header_parse(const unsigned char *bytes, size_t size, struct vn_header *header,
                               struct vn_diag *diag);

/* The mirror: the header as a single-file image in native byte order with the extension flags (no
 * extensions) after it. Returns the number of bytes. */
size_t vn_header_print(const struct vn_header *header, unsigned char bytes[VN_HEADER_MOST]);

#endif
