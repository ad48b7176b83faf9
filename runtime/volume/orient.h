/* How a network looks at an image: axes permuted and flipped, never copied. Used by segment.c and
 * the trainer; the resampling to another spacing is not here. */
#ifndef VNET_ORIENT_H
#define VNET_ORIENT_H

#include "image.h"

/* Network axis d, h or w (0, 1, 2) is the image's axis[·], walked backwards where flip[·]. */
struct vn_view {
  size_t dim[3]; /* d h w */
  int axis[3];   /* i, j, k: 0, 1, 2 */
  bool flip[3];
  double spacing_mm[3]; /* d h w */
};

/* An image that has been taken (image.h). Its own axes: k is d, j is h, i is w. */
struct vn_view vn_view_plain(const struct vn_image *image);

/* Where element (d, h, w) lies in memory of these strides along i j k: at
 * origin + d*step[0] + h*step[1] + w*step[2]. */
struct vn_walk {
  ptrdiff_t origin, step[3];
};
struct vn_walk vn_view_walk(const struct vn_view *view, const ptrdiff_t stride[3]);

/* The image's voxel i j k at element d h w. */
static inline void vn_view_voxel(const struct vn_view *view, const size_t at[3], size_t ijk[3]) {
  for (int i = 0; i < 3; i++) ijk[view->axis[i]] = view->flip[i] ? view->dim[i] - 1 - at[i] : at[i];
}

/* The image in the orientation that `letters` names: the directions in which w, h and d grow, such
 * as "RAS" (what nibabel calls the axis codes of an array x, y, z). Oblique axes go to the nearest
 * one. VN_E_FORMAT: `letters` is no orientation; VN_E_UNSUPPORTED: the image does not say how it
 * lies. */
enum vn_status vn_view_orient(const struct vn_image *image, const char *letters,
                              struct vn_view *view, struct vn_diag *diag);

/* The view's axis along which the body has a left and a right, or which lies nearest to that; the
 * image says how it lies. */
int vn_view_side(const struct vn_image *image, const struct vn_view *view);

#endif
