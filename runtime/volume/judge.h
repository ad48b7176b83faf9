/* Counts what a model's `vnet.expect` (expect.h) is compared with, and says what is not plausible.
 * Called by segment.c, once the network's labels stand. */
#ifndef VNET_JUDGE_H
#define VNET_JUDGE_H

#include "expect.h"
#include "image.h"
#include "stage.h"

struct vn_judge {
  const struct vn_expect *expect;
  const struct vn_image *image;
  const struct vn_voxels *voxels;
  const struct vn_label_map *map;
  size_t labels;
  const char *(*name)(const void *context, size_t label);
  const void *context;
  struct vn_stage *stage;
  uint64_t *counts, *pieces; /* [labels] each, owned: voxels and pieces of a label */
  double *faces_mm2;         /* [labels], owned: area of its voxels' outer faces */
};

/* What it does to a voxel takes so many nanoseconds, roughly. */
double vn_judge_ns(const struct vn_expect *expect);

/* The fields above the owned ones are set, the others 0; to be closed in any case. VN_E_MEMORY. */
enum vn_status vn_judge_open(struct vn_judge *judge, struct vn_diag *diag);
void vn_judge_close(struct vn_judge *judge);

/* Pieces as the network finds them, before clean-up takes some away. VN_E_MEMORY,
 * VN_E_CANCELLED. */
enum vn_status vn_judge_pieces(struct vn_judge *judge, struct vn_diag *diag);

/* The rest, of the labels that are given out; voxels above `level` are not background. Appends
 * what is not plausible to `warning`, and that there are no labels but 0. VN_E_MEMORY,
 * VN_E_CANCELLED. */
enum vn_status vn_judge_labels(struct vn_judge *judge, float level, char *warning, size_t size,
                               struct vn_diag *diag);

#endif
