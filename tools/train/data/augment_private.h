/* What augment.c is made of; see augment.h. */
#ifndef VNET_TRAIN_AUGMENT_PRIVATE_H
#define VNET_TRAIN_AUGMENT_PRIVATE_H

#include "augment.h"
#include "grid.h"

#include <stdbool.h>

/* ---- augment_contrast.c: one intensity to another, as a table ---- */

enum { VNT_CURVE_CELLS = 4096 };
struct vnt_curve {
  float from, scale; /* entry k is for from + k / scale */
  float value[VNT_CURVE_CELLS + 1];
};

/* From the scan's intensities to those of `other` (NULL: its own), then gamma (1: none). */
void vnt_curve_make(struct vnt_curve *curve, const struct vnt_landmarks *own,
                    const struct vnt_landmarks *other, double gamma);

static inline float vnt_curve_at(const struct vnt_curve *curve, float x) {
  float t = (x - curve->from) * curve->scale;
  t = t > 0 ? t : 0;
  t = t < VNT_CURVE_CELLS ? t : VNT_CURVE_CELLS;
  int k = (int)t;
  k = k < VNT_CURVE_CELLS ? k : VNT_CURVE_CELLS - 1;
  const float *value = curve->value + k;
  return value[0] + (t - (float)k) * (value[1] - value[0]);
}

/* ---- augment_filter.c: linear filters along an axis, as taps (grid.h) of n outputs from n ---- */

/* Gaussian of this sd, its weights within the axis normalised. False: out of memory; to be closed
 * in any case. */
bool vnt_taps_blur(struct vn_taps *taps, size_t n, double sd_vox);

/* Means over slices `thick_vox` (more than 1) thick, the first beginning with the axis, and linear
 * interpolation between them. As above. */
bool vnt_taps_slices(struct vn_taps *taps, size_t n, double thick_vox);

void vnt_taps_close(struct vn_taps *taps);

/* to = taps applied to from along `axis` (d h w: 0 1 2); both [dim 0][dim 1][dim 2]. */
void vnt_taps_run(const struct vn_taps *taps, int axis, const size_t dim[3], const float *from,
                  float *to, struct vn_pool *pool);

#endif
