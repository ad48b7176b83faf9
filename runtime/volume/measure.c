/* Sums over the voxels of each label; see vnet_segment.h. */
#include "float_mode.h"
#include "image.h"

#include <math.h>
#include <stdlib.h>

struct pass {
  const struct vn_image *image;
  const struct vn_label_map *map;
  struct vn_measure *measures;
  size_t count;
};

/* A row's share of the first pass: counts, sums of values and of indices, held in the measures; in
 * sd, how many values are finite. */
static bool row_sum(const struct pass *p, const float *row, size_t j, size_t k) {
  for (size_t i = 0; i < p->image->dim[0]; i++) {
    const size_t label = vn_label_get(p->map, vn_label_at(p->map, i, j, k));
    if (label >= p->count) return false;
    struct vn_measure *m = &p->measures[label];
    m->voxels++;
    if (isfinite(row[i])) m->mean += (double)row[i], m->sd += 1;
    m->centroid_mm[0] += (double)i;
    m->centroid_mm[1] += (double)j;
    m->centroid_mm[2] += (double)k;
  }
  return true;
}

/* Of the second, about the mean: the sum of squares alone loses a CT's digits. */
static bool row_square(const struct pass *p, const float *row, size_t j, size_t k) {
  for (size_t i = 0; i < p->image->dim[0]; i++) {
    struct vn_measure *m = &p->measures[vn_label_get(p->map, vn_label_at(p->map, i, j, k))];
    const double off = (double)row[i] - m->mean;
    if (isfinite(row[i])) m->sd += off * off;
  }
  return true;
}

static bool rows_walk(const struct pass *p, float *row,
                      bool (*visit)(const struct pass *p, const float *row, size_t j, size_t k)) {
  const struct vn_voxels voxels = vn_voxels_of(p->image);
  for (size_t k = 0; k < p->image->dim[2]; k++)
    for (size_t j = 0; j < p->image->dim[1]; j++) {
      vn_image_row(p->image, &voxels, j, k, row);
      if (!visit(p, row, j, k)) return false;
    }
  return true;
}

static void means_make(const struct vn_image *image, bool lps, struct vn_measure *m) {
  const double n = m->voxels ? (double)m->voxels : NAN;
  double at[3];
  for (int a = 0; a < 3; a++) at[a] = m->centroid_mm[a] / n;
  for (int a = 0; a < 3; a++) {
    const double *row = image->affine[a];
    m->centroid_mm[a] = row[0] * at[0] + row[1] * at[1] + row[2] * at[2] + row[3];
    if (lps && a < 2) m->centroid_mm[a] = -m->centroid_mm[a];
  }
  m->ml = (double)m->voxels * vn_image_voxel_ml(image);
  m->mean /= m->sd > 0 ? m->sd : NAN;
}

static enum vn_status labels_measure(const struct vn_image *image,
                                     const struct vn_label_map *labels, size_t count,
                                     struct vn_measure *measures, struct vn_diag *diag) {
  struct vn_image taken;
  struct vn_label_map map;
  enum vn_status status = vn_image_take(image, &taken, diag);
  if (!status) status = vn_label_map_take(labels, &taken, &map, diag);
  if (status) return status;
  if (!taken.voxels || !map.data)
    return vn_fail(diag, VN_E_ARGUMENT, "an image or a label map without data");
  const struct pass pass = {&taken, &map, measures, count};
  float *row = malloc(taken.dim[0] * sizeof *row);
  double *finite = malloc(count * sizeof *finite + 1);
  if (!row || !finite) {
    free(row);
    free(finite);
    return vn_fail(diag, VN_E_MEMORY, "out of memory");
  }
  for (size_t c = 0; c < count; c++) measures[c] = (struct vn_measure){0};
  if (rows_walk(&pass, row, row_sum)) {
    for (size_t c = 0; c < count; c++) {
      finite[c] = measures[c].sd > 0 ? measures[c].sd : NAN;
      means_make(&taken, image->world == VN_WORLD_LPS, &measures[c]);
      measures[c].sd = 0;
    }
    rows_walk(&pass, row, row_square);
    for (size_t c = 0; c < count; c++) measures[c].sd = sqrt(measures[c].sd / finite[c]);
  } else {
    status = vn_fail(diag, VN_E_ARGUMENT, "the label map holds labels of %zu and above", count);
  }
  free(row);
  free(finite);
  return status;
}

/* In our own float mode: the host's changes no bit. */
enum vn_status vn_measure_labels(const struct vn_image *image, const struct vn_label_map *labels,
                                 size_t count, struct vn_measure *measures, struct vn_diag *diag) {
  vn_float_mode host_mode = vn_float_mode_enter();
  enum vn_status status = labels_measure(image, labels, count, measures, diag);
  vn_float_mode_restore(host_mode);
  return status;
}
