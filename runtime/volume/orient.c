/* Axis permutation and flips from the scan's affine; see orient.h. */
#include "orient.h"

#include <math.h>
#include <string.h>

#include "fail.h"

static size_t scan_step(const struct vn_scan *scan, int axis) {
  return axis == 0 ? 1 : axis == 1 ? scan->dim[0] : scan->dim[0] * scan->dim[1];
}

/* View axis w, h, d (0, 1, 2) is scan axis from[i], reversed where flip[i]. */
static struct vn_view view_make(const struct vn_scan *scan, const int from[3], const bool flip[3]) {
  struct vn_view view = {0};
  for (int i = 0; i < 3; i++) {
    size_t step = scan_step(scan, from[i]), extent = scan->dim[from[i]];
    view.dim[2 - i] = extent;
    view.step[2 - i] = flip[i] ? -(ptrdiff_t)step : (ptrdiff_t)step;
    view.spacing_mm[2 - i] = scan->spacing_mm[from[i]];
    if (flip[i]) view.origin += (extent - 1) * step;
  }
  return view;
}

struct vn_view vn_view_plain(const struct vn_scan *scan) {
  return view_make(scan, (const int[]){0, 1, 2}, (const bool[]){false, false, false});
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

/* The scan axis that lies nearest to each world axis: of the six assignments the one with the
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

enum vn_status vn_view_orient(const struct vn_scan *scan, const char *letters, struct vn_view *view,
                              struct vn_diag *diag) {
  int world[3], axis_of[3], from[3];
  bool positive[3], flip[3];
  if (!letters_parse(letters, world, positive))
    return vn_fail(diag, VN_E_FORMAT,
                   "the model's vnet.orientation is '%.20s', not one such as RAS", letters);
  if (!scan->oriented)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "the model wants %s, but the scan has neither sform nor qform and does not say "
                   "left from right",
                   letters);
  if (scan->contradictory)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "the model wants %s, but the scan's sform and qform point its axes in different "
                   "directions: remove the wrong one",
                   letters);
  nearest_axes(scan->affine, axis_of);
  for (int i = 0; i < 3; i++) {
    from[i] = axis_of[world[i]];
    flip[i] = (scan->affine[world[i]][from[i]] > 0) != positive[i];
  }
  *view = view_make(scan, from, flip);
  return VN_OK;
}
