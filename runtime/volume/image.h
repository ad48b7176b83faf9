/* A host's image, checked, and its values row by row as float32 whatever their type, strides and
 * scale. Private to this library and to the trainer. */
#ifndef VNET_IMAGE_H
#define VNET_IMAGE_H

#include "fail.h"
#include "vnet_segment.h"

/* Copies an image of any age over *image with its strides filled in and its world RAS (or UNKNOWN).
 * VN_E_ARGUMENT, with the reason. Voxels may be NULL. */
enum vn_status vn_image_take(const struct vn_image *theirs, struct vn_image *image,
                             struct vn_diag *diag);

/* The same for a label map on a taken image's grid: data may be NULL. */
enum vn_status vn_label_map_take(const struct vn_label_map *theirs, const struct vn_image *image,
                                 struct vn_label_map *map, struct vn_diag *diag);

size_t vn_image_elems(const struct vn_image *image);
void vn_image_spacing(const struct vn_image *image, double spacing_mm[3]); /* along i j k */
double vn_image_voxel_ml(const struct vn_image *image);

/* ---- values ---- */

struct vn_voxels {
  const unsigned char *data; /* voxel (0, 0, 0) */
  enum vn_voxel type;
  bool scaled;
  double slope, inter;
  /* Mended: what lies below `low` or is not finite reads as `fill`, what lies above `high` as
   * `over`. */
  bool mended;
  float low, high, fill, over;
};

struct vn_voxels vn_voxels_of(const struct vn_image *taken);

/* to[n] is the value at `at + n * step` bytes, n < count. */
void vn_voxels_row(const struct vn_voxels *voxels, ptrdiff_t at, ptrdiff_t step, size_t count,
                   float *to);

/* A row of an image along i. */
static inline void vn_image_row(const struct vn_image *image, const struct vn_voxels *voxels,
                                size_t j, size_t k, float *to) {
  vn_voxels_row(voxels, (ptrdiff_t)j * image->stride[1] + (ptrdiff_t)k * image->stride[2],
                image->stride[0], image->dim[0], to);
}

/* ---- labels ---- */

static inline void *vn_label_at(const struct vn_label_map *map, size_t i, size_t j, size_t k) {
  return (char *)map->data + (ptrdiff_t)i * map->stride[0] + (ptrdiff_t)j * map->stride[1] +
         (ptrdiff_t)k * map->stride[2];
}

static inline size_t vn_label_get(const struct vn_label_map *map, const void *at) {
  return map->elem_bytes == 1 ? *(const uint8_t *)at : *(const uint16_t *)at;
}

static inline void vn_label_put(const struct vn_label_map *map, void *at, size_t label) {
  if (map->elem_bytes == 1)
    *(uint8_t *)at = (uint8_t)label;
  else
    *(uint16_t *)at = (uint16_t)label;
}

#endif
