/* What the probabilities of each label add up to over an image. Called by segment_run.c, and plane
 * by plane by window.c.
 *
 * They are made on the network's grid, where the scores are final, and a point of it counts for as
 * many voxels as are interpolated from it. Of networks that end in probabilities this is the sum of
 * what the image's voxels get; of others it is nearly so, for there scores are interpolated, and so
 * it is of what regions leave to label 0. What comes after the network, filling and clean-up, is
 * not in it. */
#ifndef VNET_SOFT_VOLUME_H
#define VNET_SOFT_VOLUME_H

#include "decide.h"
#include "grid.h"

struct vn_soft_volume {
  const struct vn_decision *decision;
  const struct vn_grid *grid;
  size_t labels;
  double *share[3]; /* [grid.dim]: how many voxels' worth comes from plane d, row h, column w */
  double *sum;      /* [grid.dim[0]][stride]: of a plane, [labels]; behind them one point's */
};

/* What vn_soft_volume_open allocates, but for the shares. */
uint64_t vn_soft_volume_bytes(size_t labels, const struct vn_grid *grid);

/* Borrows both. To be closed in any case. VN_E_MEMORY. */
enum vn_status vn_soft_volume_open(const struct vn_decision *decision, const struct vn_grid *grid,
                                   struct vn_soft_volume *volume, struct vn_diag *diag);
void vn_soft_volume_close(struct vn_soft_volume *volume); /* accepts a zeroed one */

/* A vn_window_plane: each plane of the grid once, in any order. */
void vn_soft_volume_plane(void *volume, size_t d, const float *scores, size_t columns);

/* Adds to ml[labels] the sums over all planes, in their order, each voxel being of `voxel_ml`. */
void vn_soft_volume_add(const struct vn_soft_volume *volume, double voxel_ml, double *ml);

#endif
