/* Pairs of scan and label map from a list, as a source of training samples. The list is CSV:
 *
 *   image,label,split              the columns in any order; split may be left out
 *   a/t1.nii.gz,a/seg.nii.gz,train
 *   "b, 2/t1.nii","b, 2/seg.nii",validation
 *
 * Paths are relative to the list's folder; fields may be quoted (a quote within is doubled) and end
 * on their line; blanks around fields, empty lines, CRLF and a byte order mark are passed over.
 *
 * A training scan is kept as the runtime would show it to the network: turned to the model's
 * orientation, brought to its spacing (grid.h), normalised (intensity.h) by its own voxels. Its
 * labels come to that grid by the same linear weights, class by class, and the largest wins (the
 * lowest of equals): as the runtime brings scores back and takes the largest. Nearest neighbour
 * would shift borders by up to half a voxel and drop thin structures on coarser grids. With the
 * scan's own spacing both are exact copies. Validation cases are read and checked from end to end,
 * and only their paths are kept. */
#ifndef VNET_TRAIN_CASES_H
#define VNET_TRAIN_CASES_H

#include "augment.h"

#include <stdbool.h>

enum { VNT_CLASSES_MOST = 256 };

struct vnt_cases_spec {
  char orientation[4];  /* such as RAS; empty: the scan's own axes */
  double spacing_mm[3]; /* d h w; 0: the scan's own */
  struct vn_intensity_rule intensity;
  size_t classes; /* 2 to 256, with the background */
};

struct vnt_case {
  char *image_path, *label_path; /* from the present folder */
  size_t line;                   /* of the list, from 1 */
  char note[512];                /* what the reader set right in either file, and filling */
  bool validation;               /* then nothing below is filled */
  struct vnt_source source;
  float *image;     /* [d][h][w], what source borrows, as is target */
  uint8_t *target;  /* [d][h][w] */
  uint64_t *before; /* [class][d + 1]: voxels of the class on planes before d */
  size_t present;   /* foreground classes that have voxels */
  uint8_t *label;   /* [present]: which */
};

struct vnt_cases {
  struct vnt_cases_spec spec;
  struct vnt_case *items; /* in the list's order */
  size_t count;
  size_t *training; /* [n_training]: indices of items */
  size_t n_training, n_validation;
};

/* Reads the list and every case in it, cases side by side on `pool` (may be NULL). Fills *cases, to
 * be closed in any case. Sentences name the list and the line; of several bad cases the first in
 * the list is told, whatever the threads. VN_E_IO, VN_E_FORMAT, VN_E_UNSUPPORTED, VN_E_MEMORY;
 * VN_E_ARGUMENT: the spec makes no sense. */
enum vn_status vnt_cases_open(const char *csv, const struct vnt_cases_spec *spec,
                              struct vn_pool *pool, struct vnt_cases *cases, struct vn_diag *diag);

/* Accepts NULL, zeroed and half-built ones. */
void vnt_cases_close(struct vnt_cases *cases);

/* Sample `index` under `seed`: fills image and target [d][h][w] of `patch`. A share
 * augment->foreground of the samples is centred on a voxel drawn from all of one label, the label
 * drawn from those of the scan; the others lie anywhere. Both stay within the scan where it is
 * large enough, and where it is not it is padded as the runtime does. `augment` may be NULL:
 * anywhere, as it is. Depends on everything but the pool, which may be NULL; may be called from
 * several threads at once. VN_E_MEMORY, VN_E_UNSUPPORTED. */
enum vn_status vnt_cases_sample(const struct vnt_cases *cases, const struct vnt_augment *augment,
                                const size_t patch[3], uint64_t seed, uint64_t index,
                                struct vn_pool *pool, float *image, uint8_t *target,
                                struct vn_diag *diag);

/* Where sample `index` lies: the case, and the patch on its grid. For tests and pictures. */
size_t vnt_cases_place(const struct vnt_cases *cases, const struct vnt_augment *augment,
                       const size_t patch[3], uint64_t seed, uint64_t index,
                       struct vnt_patch *place);

#endif
