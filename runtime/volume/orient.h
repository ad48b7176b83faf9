/* How a network looks at a scan: axes permuted and flipped, never copied. Used by segment.c; the
 * resampling to another spacing is not here. */
#ifndef VNET_ORIENT_H
#define VNET_ORIENT_H

#include "nifti.h"

/* Element (d, h, w) of the network's grid is voxel[origin + d*step[0] + h*step[1] + w*step[2]] of
 * the scan; a flipped axis has a negative step. */
struct vn_view {
  size_t dim[3]; /* d h w */
  ptrdiff_t step[3];
  size_t origin;
  double spacing_mm[3]; /* d h w */
};

/* The scan's own axes: z is d, y is h, x is w. */
struct vn_view vn_view_plain(const struct vn_scan *scan);

/* The scan in the orientation that `letters` names: the directions in which w, h and d grow, such
 * as "RAS" (what nibabel calls the axis codes of an array x, y, z). Oblique axes go to the nearest
 * one. VN_E_FORMAT: `letters` is no orientation; VN_E_UNSUPPORTED: the scan does not say how it
 * lies, or says two things. */
enum vn_status vn_view_orient(const struct vn_scan *scan, const char *letters, struct vn_view *view,
                              struct vn_diag *diag);

#endif
