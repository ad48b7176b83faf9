/* NIfTI-1 and NIfTI-2 headers as bytes and as one struct: every field from outside is checked
 * here, before anything is allocated or read on its word. Private to nifti_read.c and
 * nifti_write.c. No library's reader is used: niftiio trusts what this file is there to doubt; only
 * the standard's own struct definitions come from it. */
#ifndef VNET_NIFTI_HEADER_H
#define VNET_NIFTI_HEADER_H

#include "scan_file.h"

#include <nifti/nifti1.h>

enum { VN_NIFTI_MOST = 544 }; /* bytes: a NIfTI-2 header and its four extension flags */

/* `size` bytes from the start of a file, of which 348 are NIfTI-1 and 540 NIfTI-2. Fills all of the
 * scan but its geometry and the voxels' path. Legal is a 3D volume with positive extents whose
 * voxels are real numbers; axes 4 to 7 may exist with extent 1. What other readers set right is set
 * right here, with a note. VN_E_FORMAT, or VN_E_UNSUPPORTED for what NIfTI allows and this project
 * does not take. */
enum vn_status vn_nifti_parse(const unsigned char *bytes, size_t size, struct vn_scan *scan,
                              struct vn_diag *diag);

/* The mirror: the header as a single-file image in native byte order with the extension flags (no
 * extensions) after it. Returns the number of bytes. */
size_t vn_nifti_print(const struct vn_nifti *nifti, unsigned char bytes[VN_NIFTI_MOST]);

#endif
