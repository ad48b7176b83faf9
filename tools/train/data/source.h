/* Where training samples come from, as one thing: label maps that are rendered (data/generate.h),
 * or scans with label maps (data/cases.h). Sample i depends on the seed and i alone. */
#ifndef VNET_TRAIN_SOURCE_H
#define VNET_TRAIN_SOURCE_H

#include "cases.h"
#include "generate.h"

struct vnt_samples_spec {
  const char *labels, *data;  /* a folder of label maps, or a list of cases: one of them is NULL */
  const char *validation;     /* labels: a list of cases to validate on, or NULL */
  enum vnt_contrast contrast; /* labels */
  const size_t *patch;        /* d h w */
  double spacing_mm[3];       /* d h w; 0: the scan's own (data) */
  /* Of cases alone. Intensities: a rule for all channels, or one for each between semicolons. */
  const char *orientation, *intensity;
  const struct vnt_labels *classes;  /* borrowed */
  const char *channels, *store_path; /* cases.h */
  uint64_t memory_bytes;
  size_t fold, folds;  /* cases.h */
  double foreground;   /* augment.h; below 0: the recipe's */
  bool paper, flip[3]; /* the paper's augmentation alone; axes d h w */
};

struct vnt_samples {
  size_t patch[3], voxels, channels;
  struct vnt_generator generator;
  struct vnt_labelmap *maps; /* [n_maps]; NULL: cases */
  size_t n_maps;
  char **map_path; /* [n_maps] */
  struct vnt_cases cases;
  struct vnt_augment augment;
  char *list; /* a line for each file that is trained on: path in the data's folder, size */
  uint32_t validation; /* the same of files that are validated on, as a checksum; 0: none */
};

/* Reads all of it, on `pool`. To be closed in any case. VN_E_ARGUMENT: nothing to train with;
 * otherwise as vnt_labelmap_open and vnt_cases_open. */
enum vn_status vnt_samples_open(const struct vnt_samples_spec *spec, struct vn_pool *pool,
                                struct vnt_samples *samples, struct vn_diag *diag);
void vnt_samples_close(struct vnt_samples *samples);

/* Fills image [d][h][w][channel] and target [d][h][w] with sample `index` under `seed`; several
 * threads may. `pool` NULL: on the caller's thread. */
enum vn_status vnt_samples_make(const struct vnt_samples *samples, uint64_t seed, uint64_t index,
                                struct vn_pool *pool, float *image, uint8_t *target,
                                struct vn_diag *diag);

#endif
