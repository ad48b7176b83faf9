/* Axis permutation and flips from the image's affine; see orient.h. */
#include "orient.h"

#include <math.h>
#include <string.h>

/* View axis w, h, d (0, 1, 2) is the image's from[i], reversed where flip[i]. */
static struct vn_view view_make(const struct vn_image *image, const int from[3],
                                const bool flip[3]) {
  struct vn_view view;
  double spacing_mm[3];
  vn_image_spacing(image, spacing_mm);
  for (int i = 0; i < 3; i++) {
    view.dim[2 - i] = image->dim[from[i]];
    view.axis[2 - i] = from[i];
    view.flip[2 - i] = flip[i];
    view.spacing_mm[2 - i] = spacing_mm[from[i]];
  }
  return view;
}

struct vn_view vn_view_plain(const struct vn_image *image) {
  return view_make(image, (const int[]){0, 1, 2}, (const bool[]){false, false, false});
}

struct vn_walk vn_view_walk(const struct vn_view *view, const ptrdiff_t stride[3]) {
  struct vn_walk walk = {0};
  for (int i = 0; i < 3; i++) {
    walk.step[i] = view->flip[i] ? -stride[view->axis[i]] : stride[view->axis[i]];
    if (view->flip[i]) walk.origin += (ptrdiff_t)(view->dim[i] - 1) * stride[view->axis[i]];
  }
  return walk;
}

/* World axis (x y z) and sense of each letter. */
static bool letters_parse(const char *letters, int world[3], bool positive[3]) {
  static const char names[] = "RLAPSI";
  if (strlen(letters) != 3) return false;
  unsigned seen = 0;
  for (int i = 0; i < 3; i++) {
    const char *at = strchr(names, letters[i]);
    if (!at) return false;
    world[i] = (int)(at - names) / 2;
    positive[i] = (at - names) % 2 == 0;
    seen |= 1u << world[i];
  }
  return seen == 7;
}

/* The image axis that lies nearest to each world axis: of the six assignments the one with the
 * largest sum of |cosines|. */
static void nearest_axes(const double affine[3][4], int axis_of[3]) {
  static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                   {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  double length[3], best = -1;
  for (int j = 0; j < 3; j++)
    length[j] = sqrt(affine[0][j] * affine[0][j] + affine[1][j] * affine[1][j] +
                     affine[2][j] * affine[2][j]);
  for (int o = 0; o < 6; o++) {
    double sum = 0;
    for (int i = 0; i < 3; i++) sum += fabs(affine[i][orders[o][i]]) / length[orders[o][i]];
    if (sum > best) {
      best = sum;
      memcpy(axis_of, orders[o], sizeof orders[o]);
    }
  }
}

enum vn_status vn_view_orient(const struct vn_image *image, const char *letters,
                              struct vn_view *view, struct vn_diag *diag) {
  int world[3], axis_of[3], from[3];
  bool positive[3], flip[3];
  if (!letters_parse(letters, world, positive))
    return vn_fail(diag, VN_E_FORMAT,
                   "the model's vnet.orientation is '%.20s', not one such as RAS", letters);
  if (image->world == VN_WORLD_UNKNOWN)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "the model wants %s, but the image does not say left from right", letters);
  nearest_axes(image->affine, axis_of);
  for (int i = 0; i < 3; i++) {
    from[i] = axis_of[world[i]];
    flip[i] = (image->affine[world[i]][from[i]] > 0) != positive[i];
  }
  *view = view_make(image, from, flip);
  return VN_OK;
}

int vn_view_side(const struct vn_image *image, const struct vn_view *view) {
  int axis_of[3], side = 0;
  nearest_axes(image->affine, axis_of);
  while (view->axis[side] != axis_of[0]) side++;
  return side;
}
