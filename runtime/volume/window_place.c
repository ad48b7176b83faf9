/* Where windows lie and how much each of their points weighs; see window.h. */
#include "elementary.h"
#include "size.h"
#include "window.h"

struct vn_window_axis vn_window_axis_make(size_t size, size_t patch, double overlap, size_t from,
                                          size_t to) {
  struct vn_window_axis axis = {.size = size, .patch = patch, .total = size > patch ? size : patch};
  axis.before = (axis.total - size) / 2;
  axis.step = (size_t)((double)patch * (1 - overlap));
  if (axis.step == 0) axis.step = 1;
  if (to == 0) from = 0, to = size;
  const size_t furthest = axis.total - patch, begin = axis.before + from, length = to - from;
  if (length > patch) {
    axis.first = begin;
    axis.last = begin + length - patch;
  } else {
    const size_t more = (patch - length) / 2;
    axis.first = begin > more ? begin - more : 0;
    if (axis.first > furthest) axis.first = furthest;
    axis.last = axis.first;
  }
  axis.count = (axis.last - axis.first + axis.step - 1) / axis.step + 1;
  return axis;
}

size_t vn_window_start(const struct vn_window_axis *axis, size_t index) {
  const size_t start = axis->first + index * axis->step;
  return start < axis->last ? start : axis->last;
}

uint64_t vn_window_count(const struct vn_grid *grid, const size_t patch[3], double overlap) {
  uint64_t count = 1;
  for (int i = 0; i < 3; i++)
    count = vn_times(count, vn_window_axis_make(grid->dim[i], patch[i], overlap, 0, 0).count);
  return count;
}

static float bell(size_t i, size_t patch) {
  double x = (double)i - 0.5 * (double)(patch - 1), sigma = 0.125 * (double)patch;
  return (float)vn_exp(-x * x / (2 * sigma * sigma));
}

void vn_window_weights(enum vn_weighting weighting, const size_t patch[3], float *weights) {
  float least = bell(0, patch[0]) * bell(0, patch[1]) * bell(0, patch[2]);
  if (least < 1e-3f) least = 1e-3f;
  if (weighting == VN_WEIGHTING_CONSTANT) least = 1;
  for (size_t d = 0; d < patch[0]; d++)
    for (size_t h = 0; h < patch[1]; h++) {
      float row = bell(d, patch[0]) * bell(h, patch[1]);
      float *to = weights + (d * patch[1] + h) * patch[2];
      for (size_t w = 0; w < patch[2]; w++) {
        float weight = row * bell(w, patch[2]);
        to[w] = weight > least ? weight : least;
      }
    }
}
