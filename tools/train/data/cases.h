/* Pairs of scan and label map from a list, as a source of training samples. The list is CSV:
 *
 *   image,label,split              the columns in any order; split may be left out
 *   a/t1.nii.gz,a/seg.nii.gz,train
 *   "b, 2/t1.nii","b, 2/seg.nii",validation
 *   c/t1.nii.gz,none,train         nothing is labelled: all of it is background
 *
 * A scan of several channels has a column for each, image_NAME, or one for all of them, image or
 * image_NAME;NAME;…, with its files between semicolons: a channel for each volume of each file, so
 * that a file of several volumes may be all of them. They lie on one grid. Paths are relative to
 * the list's folder; csv.h has the rest.
 *
 * A training scan is kept as the runtime would show it to the network: turned to the model's
 * orientation, brought to its spacing (grid.h), normalised (intensity.h) by its own voxels. Its
 * labels come to that grid by the same linear weights, class by class, and the largest wins (the
 * lowest of equals): as the runtime brings scores back and takes the largest. Nearest neighbour
 * would shift borders by up to half a voxel and drop thin structures on coarser grids. With the
 * scan's own spacing both are exact copies. Validation cases are read and checked from end to end,
 * and only their paths are kept.
 *
 * Training cases stay as they have been prepared, in memory as far as the store allows (store.h).
 */
#ifndef VNET_TRAIN_CASES_H
#define VNET_TRAIN_CASES_H

#include "augment.h"
#include "cases_list.h"
#include "labels.h"
#include "store.h"

struct vnt_cases_spec {
  char orientation[4];                       /* such as RAS; empty: the scan's own axes */
  double spacing_mm[3];                      /* d h w; 0: the scan's own */
  const struct vn_intensity_rule *intensity; /* [n_intensity]: one for all channels, or one each */
  size_t n_intensity;
  const struct vnt_labels *labels; /* borrowed */
  const char *channels;            /* their order, "t1; t2"; NULL: the list's */
  size_t fold, folds;              /* cases_list.h; folds 0: the list's own split */
  bool validation;                 /* all of them are for it, and there is no split */
  const char *store_path;          /* see store.h */
  uint64_t memory_bytes;           /* the store's limit */
};

struct vnt_case {
  const struct vnt_list_row *row; /* its files; where it is for validation, there is but a note */
  char note[512];                 /* what the reader set right in any file, and filling */
  struct vnt_source source;
  struct vnt_channel *channel; /* [channels], what source borrows … */
  struct vnt_block block;      /* … with the voxels of all of them and the target */
  uint64_t *before;            /* [class][d + 1]: voxels of the class on planes before d */
  size_t present;              /* foreground classes that have voxels */
  uint8_t *label;              /* [present]: which */
};

struct vnt_cases {
  struct vnt_cases_spec spec;
  struct vnt_store store;
  struct vnt_list list;   /* its channels are in the network's order */
  struct vnt_case *items; /* [list.count] */
  size_t *training;       /* [n_training]: indices of items */
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

/* Sample `index` under `seed`: fills image [d][h][w][channel] and target [d][h][w] of `patch`. A
 * share augment->foreground of the samples is centred on a voxel drawn from all of one label, the
 * label drawn from those of the scan; the others, and all of a scan without labels, lie anywhere.
 * Both stay within the scan where it is large enough, and where it is not it is padded as the
 * runtime does. `augment` may be NULL: anywhere, as it is. Depends on everything but the pool,
 * which may be NULL; may be called from several threads at once. VN_E_MEMORY, VN_E_UNSUPPORTED. */
enum vn_status vnt_cases_sample(const struct vnt_cases *cases, const struct vnt_augment *augment,
                                const size_t patch[3], uint64_t seed, uint64_t index,
                                struct vn_pool *pool, float *image, uint8_t *target,
                                struct vn_diag *diag);

/* Where sample `index` lies: the case, and the patch on its grid. For tests and pictures. */
size_t vnt_cases_place(const struct vnt_cases *cases, const struct vnt_augment *augment,
                       const size_t patch[3], uint64_t seed, uint64_t index,
                       struct vnt_patch *place);

#endif
