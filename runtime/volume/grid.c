/* Taps along each axis and their application to one plane of a window; see grid.h. */
#include "grid.h"

#include <math.h>
#include <stdlib.h>

#include "fail.h"

enum { RATIO_MOST = 32 };

static bool taps_alloc(struct vn_taps *taps, size_t outputs, size_t count) {
  taps->count = count;
  taps->first = malloc(outputs * sizeof *taps->first);
  taps->weight = calloc(outputs, count * sizeof *taps->weight);
  return taps->first && taps->weight;
}

/* Output i lies at x = centre_in + (i - centre_out) * ratio among the inputs and sees them through
 * a triangle of half-width max(1, widen). */
static bool taps_make(struct vn_taps *taps, size_t inputs, size_t outputs, double ratio,
                      double widen) {
  double half = widen > 1 ? widen : 1;
  size_t span = (size_t)ceil(2 * half);
  if (span > inputs) span = inputs;
  if (!taps_alloc(taps, outputs, span)) return false;
  for (size_t i = 0; i < outputs; i++) {
    double x = 0.5 * (double)(inputs - 1) + ((double)i - 0.5 * (double)(outputs - 1)) * ratio;
    x = fmin(fmax(x, 0), (double)(inputs - 1));
    double from = floor(x - half) + 1, last = (double)(inputs - span), sum = 0;
    size_t first = (size_t)fmin(fmax(from, 0), last);
    float *weight = taps->weight + i * span;
    for (size_t k = 0; k < span; k++) sum += fmax(0, half - fabs((double)(first + k) - x));
    for (size_t k = 0; k < span; k++)
      weight[k] = (float)(fmax(0, half - fabs((double)(first + k) - x)) / sum);
    taps->first[i] = first;
  }
  return true;
}

static bool taps_same(struct vn_taps *taps, size_t outputs) {
  if (!taps_alloc(taps, outputs, 1)) return false;
  for (size_t i = 0; i < outputs; i++) {
    taps->first[i] = i;
    taps->weight[i] = 1;
  }
  return true;
}

enum vn_status vn_grid_make(const struct vn_view *view, const double *spacing_mm,
                            struct vn_grid *grid, struct vn_diag *diag) {
  *grid = (struct vn_grid){.view = *view};
  for (int i = 0; i < 3; i++) {
    size_t have = view->dim[i];
    double ratio = spacing_mm ? spacing_mm[i] / view->spacing_mm[i] : 1;
    if (!(ratio <= RATIO_MOST && ratio * RATIO_MOST >= 1))
      return vn_fail(diag, VN_E_UNSUPPORTED,
                     "the model wants voxels of %.4g mm, the scan's are of %.4g mm: is its unit "
                     "right?",
                     spacing_mm[i], view->spacing_mm[i]);
    bool same = fabs(ratio - 1) <= 0.01;
    /* Less than a thousandth of a voxel is rounding, not field of view. */
    grid->dim[i] = same ? have : (size_t)fmax(1, ceil((double)have / ratio - 1e-3));
    grid->spacing_mm[i] = same ? view->spacing_mm[i] : spacing_mm[i];
    bool made = same ? taps_same(&grid->in[i], have) && taps_same(&grid->out[i], have)
                     : taps_make(&grid->in[i], have, grid->dim[i], ratio, ratio) &&
                           taps_make(&grid->out[i], grid->dim[i], have, 1 / ratio, 1);
    if (!made) return vn_fail(diag, VN_E_MEMORY, "out of memory for the network's grid");
  }
  return VN_OK;
}

void vn_grid_close(struct vn_grid *grid) {
  for (int i = 0; grid && i < 3; i++) {
    free(grid->in[i].first);
    free(grid->in[i].weight);
    free(grid->out[i].first);
    free(grid->out[i].weight);
  }
  if (grid) *grid = (struct vn_grid){0};
}

/* The inputs [*begin, return) that outputs [start, start + extent) need. */
static size_t taps_reach(const struct vn_taps *taps, size_t start, size_t extent, size_t *begin) {
  *begin = taps->first[start];
  return taps->first[start + extent - 1] + taps->count;
}

static size_t reach_most(const struct vn_taps *taps, size_t outputs, size_t extent) {
  size_t most = 0, begin;
  if (extent > outputs) extent = outputs;
  for (size_t start = 0; start + extent <= outputs; start++) {
    size_t end = taps_reach(taps, start, extent, &begin);
    if (end - begin > most) most = end - begin;
  }
  return most;
}

size_t vn_grid_scratch(const struct vn_grid *grid, const size_t extent[3]) {
  size_t rows = reach_most(&grid->in[1], grid->dim[1], extent[1]);
  size_t columns = reach_most(&grid->in[2], grid->dim[2], extent[2]);
  return (rows + 1) * columns;
}

/* to[x] = sum over the taps of d of the scan's voxel (z, y, begin + x). `one` has room for a
 * row. */
static void row_gather(const struct vn_grid *grid, const struct vn_voxels *voxels,
                       const struct vn_walk *walk, size_t d, size_t y, size_t begin, size_t count,
                       float *one, float *to) {
  const struct vn_taps *taps = &grid->in[0];
  for (size_t k = 0; k < taps->count; k++) {
    float weight = taps->weight[d * taps->count + k];
    if (weight == 0 && k > 0) continue;
    const ptrdiff_t at = walk->origin + (ptrdiff_t)(taps->first[d] + k) * walk->step[0] +
                         (ptrdiff_t)y * walk->step[1] + (ptrdiff_t)begin * walk->step[2];
    vn_voxels_row(voxels, at, walk->step[2], count, one);
    if (k == 0)
      for (size_t x = 0; x < count; x++) to[x] = weight * one[x];
    else
      for (size_t x = 0; x < count; x++) to[x] += weight * one[x];
  }
}

void vn_grid_sample(const struct vn_grid *grid, const struct vn_voxels *voxels,
                    const struct vn_walk *walk, size_t d, const size_t start[2],
                    const size_t extent[2], float *scratch, float *plane) {
  const struct vn_taps *th = &grid->in[1], *tw = &grid->in[2];
  size_t top, left, bottom = taps_reach(th, start[0], extent[0], &top);
  size_t columns = taps_reach(tw, start[1], extent[1], &left) - left;
  float *rows = scratch + columns;
  for (size_t y = top; y < bottom; y++)
    row_gather(grid, voxels, walk, d, y, left, columns, scratch, rows + (y - top) * columns);
  for (size_t h = start[0]; h < start[0] + extent[0]; h++, plane += extent[1]) {
    const float *weight = th->weight + h * th->count, *from = rows + (th->first[h] - top) * columns;
    for (size_t x = 0; x < columns; x++) scratch[x] = weight[0] * from[x];
    for (size_t k = 1; k < th->count; k++)
      for (size_t x = 0; x < columns; x++) scratch[x] += weight[k] * from[k * columns + x];
    for (size_t w = 0; w < extent[1]; w++) {
      const float *along = tw->weight + (start[1] + w) * tw->count;
      const float *at = scratch + tw->first[start[1] + w] - left;
      float sum = along[0] * at[0];
      for (size_t k = 1; k < tw->count; k++) sum += along[k] * at[k];
      plane[w] = sum;
    }
  }
}
