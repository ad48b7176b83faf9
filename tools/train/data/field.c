/* Drawing and evaluating smooth fields; see field.h. A row first gathers its 16 lines of control
 * points into one, so that a voxel costs four products. */
#include "field.h"

#include <stdlib.h>

static void spline(double at, double weight[4]) {
  const double t = at - floor(at), s = 1 - t;
  weight[0] = s * s * s / 6;
  weight[1] = (3 * t * t * t - 6 * t * t + 4) / 6;
  weight[2] = (3 * s * s * s - 6 * s * s + 4) / 6;
  weight[3] = t * t * t / 6;
}

static bool axis_make(struct vnt_field *field, int axis, size_t count, double step) {
  field->first[axis] = malloc(count * sizeof *field->first[axis]);
  field->tap[axis] = malloc(count * 4 * sizeof *field->tap[axis]);
  if (!field->first[axis] || !field->tap[axis]) return false;
  for (size_t i = 0; i < count; i++) {
    field->first[axis][i] = (size_t)((double)i / step);
    spline((double)i / step, field->tap[axis] + 4 * i);
  }
  return true;
}

bool vnt_field_make(struct vnt_field *field, const size_t patch[3], const double step[3], double sd,
                    struct vnt_random *r) {
  size_t elems = 1;
  *field = (struct vnt_field){0};
  for (int i = 0; i < 3; i++) {
    elems *= field->dim[i] = (size_t)ceil((double)patch[i] / step[i]) + 4;
    if (!axis_make(field, i, patch[i], step[i])) return false;
  }
  if (field->dim[2] > VNT_FIELD_POINTS_MOST) return false;
  field->value = malloc(elems * sizeof *field->value);
  if (!field->value) return false;
  for (size_t i = 0; i < elems; i++) field->value[i] = (float)(sd * vnt_random_normal(r));
  return true;
}

void vnt_field_close(struct vnt_field *field) {
  if (!field) return;
  free(field->value);
  for (int i = 0; i < 3; i++) {
    free(field->first[i]);
    free(field->tap[i]);
  }
  *field = (struct vnt_field){0};
}

void vnt_field_row(const struct vnt_field *field, size_t d, size_t h, size_t count, float *row) {
  const double *wz = field->tap[0] + 4 * d, *wy = field->tap[1] + 4 * h, *wx = field->tap[2];
  const size_t points = count ? field->first[2][count - 1] + 4 : 0;
  double line[VNT_FIELD_POINTS_MOST] = {0};
  for (size_t i = 0; i < 4; i++)
    for (size_t j = 0; j < 4; j++) {
      const size_t z = field->first[0][d] + i, y = field->first[1][h] + j;
      const float *from = field->value + (z * field->dim[1] + y) * field->dim[2];
      const double weight = wz[i] * wy[j];
      for (size_t c = 0; c < points; c++) line[c] += weight * (double)from[c];
    }
  for (size_t c = 0; c < points; c++) line[c] = (double)(float)line[c];
  for (size_t w = 0; w < count; w++, wx += 4) {
    const double *from = line + field->first[2][w];
    row[w] = (float)(wx[0] * from[0] + wx[1] * from[1] + wx[2] * from[2] + wx[3] * from[3]);
  }
}
