/* Reading a label map, and closing its brain or naming its parts; see labelmap.h. */
#include "labelmap.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "scan.h"

int vnt_is_brain(int value) {
  /* 24: CSF around the brain; 165, 258, 259: skull and head in other FreeSurfer versions. */
  return value > 0 && value < 500 && value != 24 && value != 165 && value != 258 && value != 259;
}

int vnt_is_inside(int value) {
  return vnt_is_brain(value) || value == 24;
}

int vnt_other_side(int value) {
  static const int pairs[][2] = {{2, 41},  {3, 42},  {4, 43},  {5, 44},  {7, 46},    {8, 47},
                                 {10, 49}, {11, 50}, {12, 51}, {13, 52}, {17, 53},   {18, 54},
                                 {26, 58}, {28, 60}, {25, 57}, {30, 62}, {136, 163}, {137, 164}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
    for (int side = 0; side < 2; side++)
      if (pairs[i][side] == value) return pairs[i][1 - side];
  return value;
}

double vnt_tissue(int value) {
  static const struct {
    int value; /* of the left side, where there are two */
    double tissue;
  } known[] = {{2, 1},    {3, 0},    {4, -1},   {5, -1},   {7, 1},   {8, 0},    {10, 0.4},
               {11, 0.1}, {12, 0.2}, {13, 0.7}, {14, -1},  {15, -1}, {16, 0.9}, {17, 0},
               {18, 0},   {24, -1},  {26, 0.1}, {28, 0.7}, {72, -1}, {77, 0.7}, {85, 0.9}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i].value == value || known[i].value == vnt_other_side(value)) return known[i].tissue;
  return NAN;
}

/* ---- closing: grow by a ball and shrink by it again, then fill what the outside cannot reach
 * ---- */

/* As large as sulci and fissures are wide, so that what remains is the brain's hull; not so large
 * that it bridges from the temporal lobes to the cerebellum and the stem. */
static const double close_mm = 8;

/* to = the smallest along one axis of from + distance^2, as far as the ball reaches. */
static void nearest_along(const float *from, float *to, const size_t dim[3], int axis,
                          double spacing_mm) {
  const size_t step = axis == 2 ? 1 : axis == 1 ? dim[2] : dim[1] * dim[2];
  const size_t line = step * dim[axis], elems = dim[0] * dim[1] * dim[2];
  const size_t reach = (size_t)(close_mm / spacing_mm);
  memcpy(to, from, elems * sizeof *to);
  for (size_t k = 1; k <= reach && k < dim[axis]; k++) {
    const float far = (float)((double)(k * k) * spacing_mm * spacing_mm);
    for (size_t at = 0; at < elems; at += line) {
      const float *a = from + at;
      float *b = to + at;
      for (size_t i = 0; i + k * step < line; i++) {
        const float d = a[i + k * step] + far;
        b[i] = d < b[i] ? d : b[i];
      }
      for (size_t i = k * step; i < line; i++) {
        const float d = a[i - k * step] + far;
        b[i] = d < b[i] ? d : b[i];
      }
    }
  }
}

/* Which voxels lie within the ball's radius of one where mask == value. */
static void ball_spread(const uint8_t *mask, uint8_t value, const struct vnt_labelmap *map,
                        float *one, float *two, uint8_t *near) {
  const size_t elems = map->dim[0] * map->dim[1] * map->dim[2];
  for (size_t i = 0; i < elems; i++) one[i] = mask[i] == value ? 0 : 1e9f;
  nearest_along(one, two, map->dim, 2, map->spacing_mm[2]);
  nearest_along(two, one, map->dim, 1, map->spacing_mm[1]);
  nearest_along(one, two, map->dim, 0, map->spacing_mm[0]);
  for (size_t i = 0; i < elems; i++) near[i] = two[i] <= (float)(close_mm * close_mm);
}

static bool close_mask(struct vnt_labelmap *map) {
  const size_t elems = map->dim[0] * map->dim[1] * map->dim[2];
  float *one = malloc(2 * elems * sizeof *one);
  if (!one) return false;
  ball_spread(map->target, 1, map, one, one + elems, map->target);
  ball_spread(map->target, 0, map, one, one + elems, map->target);
  for (size_t i = 0; i < elems; i++) map->target[i] = !map->target[i];
  free(one);
  return true;
}

/* Everything that cannot be reached from the grid's border through 0 becomes 1. */
static bool fill_holes(uint8_t *mask, const size_t dim[3]) {
  const size_t elems = dim[0] * dim[1] * dim[2], plane = dim[1] * dim[2];
  uint32_t *stack = malloc(elems * sizeof *stack);
  if (!stack) return false;
  size_t depth = 0;
  for (size_t i = 0; i < elems; i++) {
    const size_t d = i / plane, h = i / dim[2] % dim[1], w = i % dim[2];
    const bool border =
        d == 0 || h == 0 || w == 0 || d + 1 == dim[0] || h + 1 == dim[1] || w + 1 == dim[2];
    if (border && !mask[i]) {
      mask[i] = 2;
      stack[depth++] = (uint32_t)i;
    }
  }
  while (depth) {
    const size_t i = stack[--depth];
    const size_t at[3] = {i / plane, i / dim[2] % dim[1], i % dim[2]};
    const size_t step[3] = {plane, dim[2], 1};
    for (int axis = 0; axis < 3; axis++)
      for (int side = 0; side < 2; side++) {
        if (side ? at[axis] + 1 == dim[axis] : at[axis] == 0) continue;
        const size_t j = side ? i + step[axis] : i - step[axis];
        if (mask[j]) continue;
        mask[j] = 2;
        stack[depth++] = (uint32_t)j;
      }
  }
  for (size_t i = 0; i < elems; i++) mask[i] = mask[i] != 2;
  free(stack);
  return true;
}

/* ---- reading ---- */

static enum vn_status values_take(struct vnt_labelmap *map, const struct vnt_scan *scan,
                                  const struct vn_view *view, const char *path,
                                  struct vn_diag *diag) {
  uint16_t *index = malloc(32768 * sizeof *index); /* of each value; 0xFFFF: not seen yet */
  if (!index) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  memset(index, 0xFF, 32768 * sizeof *index);
  const float *voxels = vnt_scan_voxels(scan);
  const struct vn_walk walk = vnt_scan_walk(scan, view);
  enum vn_status status = VN_OK;
  size_t i = 0;
  for (size_t d = 0; d < map->dim[0] && !status; d++)
    for (size_t h = 0; h < map->dim[1] && !status; h++)
      for (size_t w = 0; w < map->dim[2]; w++, i++) {
        const float v = voxels[walk.origin + (ptrdiff_t)d * walk.step[0] +
                               (ptrdiff_t)h * walk.step[1] + (ptrdiff_t)w * walk.step[2]];
        if (!(v >= 0 && v < 32768 && v == floorf(v))) {
          status = vn_fail(diag, VN_E_FORMAT, "%.300s: %g is not a label", path, (double)v);
          break;
        }
        uint16_t *at = &index[(size_t)v];
        if (*at == 0xFFFF) {
          if (map->structures == VNT_STRUCTURES_MOST) {
            status = vn_fail(diag, VN_E_FORMAT, "%.300s: more than %d labels", path,
                             VNT_STRUCTURES_MOST);
            break;
          }
          map->value[map->structures] = (int)v;
          *at = (uint16_t)map->structures++;
        }
        map->structure[i] = (uint8_t)*at;
        map->target[i] = (uint8_t)vnt_is_brain((int)v);
      }
  free(index);
  return status;
}

static enum vn_status classes_take(struct vnt_labelmap *map, const struct vnt_labels *classes,
                                   const char *path, struct vn_diag *diag) {
  const size_t elems = map->dim[0] * map->dim[1] * map->dim[2];
  uint8_t class_of[VNT_STRUCTURES_MOST];
  for (size_t i = 0; i < map->structures; i++) {
    const int class = vnt_class_of(classes, (float)map->value[i]);
    if (class < 0)
      return vn_fail(diag, VN_E_FORMAT,
                     "%.300s: it has the value %d, which the table of labels does not name; a row "
                     "'others' says what such values mean",
                     path, map->value[i]);
    class_of[i] = (uint8_t) class;
  }
  for (size_t i = 0; i < elems; i++) map->target[i] = class_of[map->structure[i]];
  return VN_OK;
}

static bool centre_find(struct vnt_labelmap *map) {
  double sum[3] = {0}, count = 0;
  for (size_t d = 0, i = 0; d < map->dim[0]; d++)
    for (size_t h = 0; h < map->dim[1]; h++)
      for (size_t w = 0; w < map->dim[2]; w++, i++)
        if (map->target[i]) {
          sum[0] += (double)d;
          sum[1] += (double)h;
          sum[2] += (double)w;
          count++;
        }
  for (int a = 0; a < 3; a++) map->centre[a] = sum[a] / count;
  return count > 0;
}

enum vn_status vnt_labelmap_open(const char *path, const struct vnt_labels *classes,
                                 struct vnt_labelmap *map, struct vn_diag *diag) {
  struct vnt_scan scan;
  struct vn_view view;
  *map = (struct vnt_labelmap){0};
  enum vn_status status = vnt_scan_open(path, &scan, diag);
  if (status == VN_OK) status = vnt_scan_load(&scan, NULL, diag);
  if (status == VN_OK) {
    struct vn_diag inner;
    status = vnt_scan_orient(&scan, "RAS", &view, &inner);
    if (status) vn_fail(diag, status, "%.300s: %.200s", path, inner.text);
  }
  if (status == VN_OK) {
    memcpy(map->dim, view.dim, sizeof map->dim);
    memcpy(map->spacing_mm, view.spacing_mm, sizeof map->spacing_mm);
    map->structure = malloc(vn_image_elems(&scan.image));
    map->target = malloc(vn_image_elems(&scan.image));
    if (!map->structure || !map->target) status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  }
  if (status == VN_OK) status = values_take(map, &scan, &view, path, diag);
  if (status == VN_OK && !classes) {
    if (!close_mask(map) || !fill_holes(map->target, map->dim))
      status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  }
  if (status == VN_OK && !centre_find(map))
    status = vn_fail(diag, VN_E_FORMAT, "%.300s: no brain is labelled", path);
  if (status == VN_OK && classes) status = classes_take(map, classes, path, diag);
  vnt_scan_close(&scan);
  return status;
}

void vnt_labelmap_close(struct vnt_labelmap *map) {
  free(map->structure);
  free(map->target);
  *map = (struct vnt_labelmap){0};
}
