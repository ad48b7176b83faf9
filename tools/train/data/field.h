/* Smooth random fields over a patch: uniform cubic B-splines over a coarse grid of normal numbers.
 * Displacements and bias fields of the augmentation and of the generator. */
#ifndef VNET_TRAIN_FIELD_H
#define VNET_TRAIN_FIELD_H

#include "random.h"

#include <stdbool.h>

enum { VNT_FIELD_POINTS_MOST = 256 }; /* control points along w */

struct vnt_field {
  size_t dim[3];    /* control points, d h w; the first lies one step before the patch */
  float *value;     /* [d][h][w], owned */
  size_t *first[3]; /* the first of the four control points that voxel i of an axis sees, owned */
  double *tap[3];   /* [voxel][4] their weights, owned */
};

/* Draws a field for `patch` (d h w) with control points every step[i] voxels along axis i, each
 * normal with standard deviation `sd`; at the points themselves the field's own is sd / sqrt(8).
 * step[i] == patch[i] / 2 is what SimpleITK calls a mesh of two cells along that axis. False when
 * out of memory or with more than VNT_FIELD_POINTS_MOST points along w. To be closed in any
 * case. */
bool vnt_field_make(struct vnt_field *field, const size_t patch[3], const double step[3], double sd,
                    struct vnt_random *r);

/* Accepts NULL and zeroed fields. */
void vnt_field_close(struct vnt_field *field);

/* The field's `count` values from the start of row (d, h) on. */
void vnt_field_row(const struct vnt_field *field, size_t d, size_t h, size_t count, float *row);

#endif
