/* Blur and low resolution as taps along an axis; see augment_private.h. */
#include "augment_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "elementary.h"

static bool taps_alloc(struct vn_taps *taps, size_t n, size_t count) {
  taps->count = count;
  taps->first = malloc(n * sizeof *taps->first);
  taps->weight = calloc(n, count * sizeof *taps->weight);
  return taps->first && taps->weight;
}

void vnt_taps_close(struct vn_taps *taps) {
  free(taps->first);
  free(taps->weight);
  *taps = (struct vn_taps){0};
}

bool vnt_taps_blur(struct vn_taps *taps, size_t n, double sd_vox) {
  const size_t reach = (size_t)ceil(3 * sd_vox);
  const size_t count = 2 * reach + 1 < n ? 2 * reach + 1 : n;
  if (!taps_alloc(taps, n, count)) return false;
  for (size_t i = 0; i < n; i++) {
    const size_t first = i > reach ? i - reach : 0;
    taps->first[i] = first < n - count ? first : n - count;
    float *weight = taps->weight + i * count;
    double sum = 0;
    for (int pass = 0; pass < 2; pass++)
      for (size_t k = 0; k < count; k++) {
        const double x = ((double)(taps->first[i] + k) - (double)i) / sd_vox;
        if (pass == 0)
          sum += vn_exp(-0.5 * x * x);
        else
          weight[k] = (float)(vn_exp(-0.5 * x * x) / sum);
      }
  }
  return true;
}

bool vnt_taps_slices(struct vn_taps *taps, size_t n, double thick_vox) {
  const double slices = ceil((double)n / thick_vox);
  size_t count = (size_t)ceil(2 * thick_vox) + 1;
  if (count > n) count = n;
  if (!taps_alloc(taps, n, count)) return false;
  for (size_t i = 0; i < n; i++) {
    const double at = fmin(fmax(((double)i + 0.5) / thick_vox - 0.5, 0), slices - 1);
    const double low = floor(at), high = fmin(low + 1, slices - 1);
    const size_t first = (size_t)(low * thick_vox);
    taps->first[i] = first < n - count ? first : n - count;
    for (size_t k = 0; k < count; k++) {
      const double x = (double)(taps->first[i] + k);
      for (int s = 0; s < 2; s++) {
        /* The share of voxel [x, x + 1) in slice [from, to). */
        const double slice = s ? high : low;
        const double from = slice * thick_vox, to = fmin(from + thick_vox, (double)n);
        const double part = fmax(0, fmin(x + 1, to) - fmax(x, from)) / (to - from);
        taps->weight[i * count + k] += (float)((s ? at - low : 1 - (at - low)) * part);
      }
    }
  }
  return true;
}

struct filter {
  const struct vn_taps *taps;
  int axis;
  const size_t *dim;
  const float *from;
  float *to;
};

static void row_filter(void *context, size_t row, size_t slot) {
  const struct filter *f = context;
  const size_t d = row / f->dim[1], h = row % f->dim[1];
  const size_t n = f->dim[2], count = f->taps->count;
  const size_t step = f->axis == 0 ? f->dim[1] * n : n, at = f->axis == 0 ? d : h;
  const float *weight = f->taps->weight + at * count;
  const float *from = f->from + (row * n - at * step + f->taps->first[at] * step);
  float *restrict to = f->to + row * n;
  (void)slot;
  for (size_t w = 0; w < n; w++) to[w] = weight[0] * from[w];
  for (size_t k = 1; k < count; k++)
    for (size_t w = 0; w < n; w++) to[w] += weight[k] * from[k * step + w];
}

static void row_filter_along(void *context, size_t row, size_t slot) {
  const struct filter *f = context;
  const size_t n = f->dim[2], count = f->taps->count;
  const float *line = f->from + row * n, *weight = f->taps->weight;
  float *to = f->to + row * n;
  (void)slot;
  for (size_t w = 0; w < n; w++, weight += count) {
    const float *from = line + f->taps->first[w];
    float sum = weight[0] * from[0];
    for (size_t k = 1; k < count; k++) sum += weight[k] * from[k];
    to[w] = sum;
  }
}

void vnt_taps_run(const struct vn_taps *taps, int axis, const size_t dim[3], const float *from,
                  float *to, struct vn_pool *pool) {
  struct filter filter = {taps, axis, dim, from, to};
  vn_pool_run(pool, dim[0] * dim[1], axis == 2 ? row_filter_along : row_filter, &filter);
}
