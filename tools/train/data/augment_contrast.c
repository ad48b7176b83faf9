/* Landmarks of a scan's intensities and curves between two; see augment.h, augment_private.h. */
#include "augment_private.h"

#include <math.h>
#include <stdlib.h>

#include "elementary.h"
#include "fail.h"

enum { BINS = 1 << 16 };

struct histogram {
  float least, width; /* of a bin */
  uint64_t *bins;     /* [BINS + 1]: voxels below bin i */
};

/* The value below which `rank` voxels are, ranks spread evenly within a bin; not after `from`. */
static float value_at(const struct histogram *h, double rank, size_t *from) {
  while (*from + 1 < BINS && (double)h->bins[*from + 1] <= rank) (*from)++;
  const double within = rank - (double)h->bins[*from];
  const double count = (double)(h->bins[*from + 1] - h->bins[*from]);
  const double part = count > 0 ? fmin(fmax(within / count, 0), 1) : 0;
  return (float)((double)h->least + ((double)*from + part) * (double)h->width);
}

static size_t bin_of(const struct histogram *h, float x) {
  const size_t bin = h->width > 0 ? (size_t)((x - h->least) / h->width) : 0;
  return bin < BINS ? bin : BINS - 1;
}

enum vn_status vnt_landmarks_find(const float *voxels, size_t elems,
                                  struct vnt_landmarks *landmarks, struct vn_diag *diag) {
  float least = voxels[0], most = voxels[0], *value = landmarks->value;
  double sum = 0;
  for (size_t i = 0; i < elems; i++) {
    least = fminf(least, voxels[i]);
    most = fmaxf(most, voxels[i]);
    sum += (double)voxels[i];
  }
  struct histogram h = {least, (most - least) / BINS, calloc(BINS + 1, sizeof *h.bins)};
  if (!h.bins) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < elems; i++) h.bins[bin_of(&h, voxels[i]) + 1]++;
  for (size_t i = 0; i < BINS; i++) h.bins[i + 1] += h.bins[i];
  const float mean = fminf(fmaxf((float)(sum / (double)elems), least), most);
  size_t from = 0;
  landmarks->low = value_at(&h, 0.01 * (double)elems, &from);
  landmarks->high = value_at(&h, 0.99 * (double)elems, &from);
  value[0] = least;
  value[1] = mean;
  from = bin_of(&h, mean);
  const double below = (double)h.bins[from], above = (double)elems - below;
  for (size_t i = 2; i + 1 < VNT_LANDMARKS; i++) {
    const double share = (double)(i - 1) / (VNT_LANDMARKS - 2);
    value[i] = fminf(fmaxf(value_at(&h, below + share * above, &from), value[i - 1]), most);
  }
  value[VNT_LANDMARKS - 1] = most;
  free(h.bins);
  return VN_OK;
}

/* Linear between landmarks; where several are equal, the last of them counts. *k only grows. */
static double landmark_map(const struct vnt_landmarks *own, const struct vnt_landmarks *other,
                           double x, size_t *k) {
  while (*k + 2 < VNT_LANDMARKS && (double)own->value[*k + 1] <= x) (*k)++;
  const double a = (double)own->value[*k], b = (double)own->value[*k + 1];
  const double part = b > a ? fmin(fmax((x - a) / (b - a), 0), 1) : 1;
  const double from = (double)other->value[*k], to = (double)other->value[*k + 1];
  return from + part * (to - from);
}

void vnt_curve_make(struct vnt_curve *curve, const struct vnt_landmarks *own,
                    const struct vnt_landmarks *other, double gamma) {
  const double least = (double)own->value[0], most = (double)own->value[VNT_LANDMARKS - 1];
  const struct vnt_landmarks *now = other ? other : own;
  const double low = (double)now->low, range = (double)now->high - low;
  const double step = (most - least) / VNT_CURVE_CELLS;
  size_t k = 0;
  curve->from = own->value[0];
  curve->scale = step > 0 ? (float)(1 / step) : 0;
  for (size_t i = 0; i <= VNT_CURVE_CELLS; i++) {
    double x = least + (double)i * step;
    if (other) x = landmark_map(own, other, x, &k);
    if (gamma != 1 && x > low && range > 0) x = low + range * vn_pow((x - low) / range, gamma);
    curve->value[i] = (float)x;
  }
}
