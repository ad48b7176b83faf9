/* Checks of what a host hands over, and reading of its voxels; see image.h. */
#include "image.h"

#include <math.h>
#include <string.h>

#include "options.h"

enum { DIM_MOST = 1 << 24 }; /* so that no count of grid points along an axis can overflow */

/* ---- checks ---- */

static size_t type_bytes(enum vn_voxel type) {
  static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
  return (unsigned)type < sizeof bytes ? bytes[type] : 0;
}

/* Fills strides that are all 0; false: extents or strides reach beyond the address space. */
static bool strides_fill(const size_t dim[3], size_t elem_bytes, ptrdiff_t stride[3]) {
  size_t bytes = elem_bytes, span = 0;
  bool dense = !stride[0] && !stride[1] && !stride[2];
  for (int i = 0; i < 3; i++) {
    size_t reach, step;
    if (dense) stride[i] = (ptrdiff_t)bytes;
    if (__builtin_mul_overflow(bytes, dim[i], &bytes) || bytes > PTRDIFF_MAX) return false;
    step = stride[i] < 0 ? -(size_t)stride[i] : (size_t)stride[i];
    if (__builtin_mul_overflow(step, dim[i] - 1, &reach) ||
        __builtin_add_overflow(span, reach, &span) || span > PTRDIFF_MAX)
      return false;
  }
  return true;
}

static double determinant(const double m[3][4]) {
  return m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) -
         m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
         m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
}

void vn_image_spacing(const struct vn_image *image, double spacing_mm[3]) {
  const double(*m)[4] = image->affine;
  for (int j = 0; j < 3; j++)
    spacing_mm[j] = sqrt(m[0][j] * m[0][j] + m[1][j] * m[1][j] + m[2][j] * m[2][j]);
}

/* Finite, and no axis lost. */
static bool affine_usable(const struct vn_image *image) {
  double spacing[3], det = determinant(image->affine);
  vn_image_spacing(image, spacing);
  double volume = spacing[0] * spacing[1] * spacing[2];
  for (int i = 0; i < 3; i++)
    if (!isfinite(image->affine[i][3])) return false;
  return isfinite(det) && isfinite(volume) && volume > 0 && fabs(det) > 1e-6 * volume;
}

enum vn_status vn_image_take(const struct vn_image *theirs, struct vn_image *image,
                             struct vn_diag *diag) {
  if (!theirs) return vn_fail(diag, VN_E_ARGUMENT, "no image is given");
  enum vn_status status = vn_options_take(image, sizeof *image, theirs, "vn_image", diag);
  if (status) return status;
  size_t bytes = type_bytes(image->type);
  if (!bytes) return vn_fail(diag, VN_E_ARGUMENT, "an image of voxel type %d", (int)image->type);
  if ((unsigned)image->world > VN_WORLD_LPS)
    return vn_fail(diag, VN_E_ARGUMENT, "an image whose world is %d", (int)image->world);
  for (int i = 0; i < 3; i++) {
    if (image->dim[i] < 1) return vn_fail(diag, VN_E_ARGUMENT, "an image without voxels");
    if (image->dim[i] > DIM_MOST)
      return vn_fail(diag, VN_E_ARGUMENT, "an image of %zu voxels along an axis, more than %d",
                     image->dim[i], DIM_MOST);
  }
  if (!strides_fill(image->dim, bytes, image->stride))
    return vn_fail(diag, VN_E_ARGUMENT, "an image larger than memory");
  if (!affine_usable(image))
    return vn_fail(diag, VN_E_ARGUMENT, "an image whose affine is not an invertible matrix");
  if (image->slope == 0) image->slope = 1, image->inter = 0;
  if (!isfinite(image->slope) || !isfinite(image->inter))
    return vn_fail(diag, VN_E_ARGUMENT, "an image whose slope is %g and inter %g", image->slope,
                   image->inter);
  for (int j = 0; j < 4 && image->world == VN_WORLD_LPS; j++) {
    image->affine[0][j] = -image->affine[0][j];
    image->affine[1][j] = -image->affine[1][j];
  }
  if (image->world == VN_WORLD_LPS) image->world = VN_WORLD_RAS;
  return VN_OK;
}

enum vn_status vn_label_map_take(const struct vn_label_map *theirs, const struct vn_image *image,
                                 struct vn_label_map *map, struct vn_diag *diag) {
  if (!theirs) return vn_fail(diag, VN_E_ARGUMENT, "no label map is given");
  enum vn_status status = vn_options_take(map, sizeof *map, theirs, "vn_label_map", diag);
  if (status) return status;
  if (map->elem_bytes != 1 && map->elem_bytes != 2)
    return vn_fail(diag, VN_E_ARGUMENT, "a label map of %zu bytes a voxel: 1 or 2",
                   map->elem_bytes);
  if (!strides_fill(image->dim, map->elem_bytes, map->stride))
    return vn_fail(diag, VN_E_ARGUMENT, "a label map larger than memory");
  bool even = (uintptr_t)map->data % map->elem_bytes == 0;
  for (int i = 0; i < 3; i++) even = even && map->stride[i] % (ptrdiff_t)map->elem_bytes == 0;
  if (!even) return vn_fail(diag, VN_E_ARGUMENT, "a label map of two bytes a voxel at odd places");
  if ((unsigned)map->probability > VN_PROBABILITY_F32)
    return vn_fail(diag, VN_E_ARGUMENT, "probabilities of kind %d", (int)map->probability);
  return VN_OK;
}

size_t vn_image_elems(const struct vn_image *image) {
  return image->dim[0] * image->dim[1] * image->dim[2];
}

double vn_image_voxel_ml(const struct vn_image *image) {
  return fabs(determinant(image->affine)) / 1000;
}

/* ---- values ---- */

struct vn_voxels vn_voxels_of(const struct vn_image *taken) {
  return (struct vn_voxels){.data = taken->voxels,
                            .type = taken->type,
                            .scaled = taken->slope != 1 || taken->inter != 0,
                            .slope = taken->slope,
                            .inter = taken->inter};
}

/* Through double, so that every type and scale rounds once. */
#define ROW_OF(T)                                                                                  \
  static void row_##T(const struct vn_voxels *v, const unsigned char *from, ptrdiff_t step,        \
                      size_t count, float *to) {                                                   \
    T value;                                                                                       \
    if (v->scaled)                                                                                 \
      for (size_t n = 0; n < count; n++, from += step) {                                           \
        memcpy(&value, from, sizeof value);                                                        \
        to[n] = (float)(v->slope * (double)value + v->inter);                                      \
      }                                                                                            \
    else if (step == (ptrdiff_t)sizeof value) /* which compilers make vectors of */                \
      for (size_t n = 0; n < count; n++) {                                                         \
        memcpy(&value, from + n * sizeof value, sizeof value);                                     \
        to[n] = (float)(double)value;                                                              \
      }                                                                                            \
    else                                                                                           \
      for (size_t n = 0; n < count; n++, from += step) {                                           \
        memcpy(&value, from, sizeof value);                                                        \
        to[n] = (float)(double)value;                                                              \
      }                                                                                            \
  }
/* In the order of enum vn_voxel. */
/* clang-format off */
#define EACH_TYPE(F)                                                                               \
  F(uint8_t) F(int8_t) F(uint16_t) F(int16_t) F(uint32_t) F(int32_t) F(uint64_t) F(int64_t)        \
  F(float) F(double)
/* clang-format on */
EACH_TYPE(ROW_OF)

void vn_voxels_row(const struct vn_voxels *voxels, ptrdiff_t at, ptrdiff_t step, size_t count,
                   float *to) {
  static void (*const row[])(const struct vn_voxels *, const unsigned char *, ptrdiff_t, size_t,
                             float *) = {
#define ROW_NAME(T) row_##T,
      EACH_TYPE(ROW_NAME)};
  row[voxels->type](voxels, voxels->data + at, step, count, to);
  for (size_t n = 0; voxels->mended && n < count; n++)
    if (!isfinite(to[n]) || to[n] < voxels->low)
      to[n] = voxels->fill;
    else if (to[n] > voxels->high)
      to[n] = voxels->over;
}
