/* Sums over the voxels of each label; see measure.h. */
#include "measure.h"

#include <math.h>

double vn_voxel_ml(const struct vn_scan *scan) {
  const double(*a)[4] = scan->affine;
  double det = a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1]) -
               a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0]) +
               a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0]);
  return fabs(det) / 1000;
}

static size_t label_at(const struct vn_labels *labels, size_t i) {
  return labels->elem_bytes == 1 ? ((const uint8_t *)labels->data)[i]
                                 : (size_t)((const int16_t *)labels->data)[i];
}

/* First pass: counts, sums of values and of indices, held in the measures themselves. */
static void sums_take(const struct vn_scan *scan, const struct vn_labels *labels,
                      struct vn_measure *measures) {
  size_t i = 0;
  for (size_t z = 0; z < scan->dim[2]; z++)
    for (size_t y = 0; y < scan->dim[1]; y++)
      for (size_t x = 0; x < scan->dim[0]; x++, i++) {
        struct vn_measure *m = &measures[label_at(labels, i)];
        m->voxels++;
        m->mean += (double)scan->voxels[i];
        m->centroid_mm[0] += (double)x;
        m->centroid_mm[1] += (double)y;
        m->centroid_mm[2] += (double)z;
      }
}

void vn_labels_measure(const struct vn_scan *scan, const struct vn_labels *labels,
                       struct vn_measure *measures) {
  for (size_t c = 0; c < labels->classes; c++) measures[c] = (struct vn_measure){0};
  sums_take(scan, labels, measures);
  double voxel_ml = vn_voxel_ml(scan);
  for (size_t c = 0; c < labels->classes; c++) {
    struct vn_measure *m = &measures[c];
    double n = m->voxels ? (double)m->voxels : NAN, at[3];
    for (int i = 0; i < 3; i++) at[i] = m->centroid_mm[i] / n;
    for (int i = 0; i < 3; i++)
      m->centroid_mm[i] = scan->affine[i][0] * at[0] + scan->affine[i][1] * at[1] +
                          scan->affine[i][2] * at[2] + scan->affine[i][3];
    m->ml = (double)m->voxels * voxel_ml;
    m->mean /= n;
  }
  /* Second pass, about the mean: the sum of squares alone loses a CT's digits. */
  for (size_t i = 0; i < scan->elems; i++) {
    struct vn_measure *m = &measures[label_at(labels, i)];
    double off = (double)scan->voxels[i] - m->mean;
    m->sd += off * off;
  }
  for (size_t c = 0; c < labels->classes; c++)
    measures[c].sd = sqrt(measures[c].sd / (measures[c].voxels ? (double)measures[c].voxels : NAN));
}
