/* How well one label map agrees with another on the same grid: Dice, and how far their surfaces lie
 * apart. Called by validate.c for whole scans; it knows nothing of files or networks.
 *
 * - Dice of label l: 2 |A and B| / (|A| + |B|).
 * - HD95: a label's surface is its voxels of which one of the six neighbours is not it (what lies
 *   outside the grid is not). Each surface voxel of A has a distance to the nearest one of B,
 *   between centres and exact; the 95th percentile of those (linear between order statistics, as
 *   numpy.percentile), and likewise from B to A; the larger. As MONAI's
 *   compute_hausdorff_distance(percentile=95, spacing=...).
 * - ASSD: the mean of all these distances, of either surface to the other. As MONAI's
 *   compute_average_surface_distance(symmetric=True).
 * - NSD: the share of them that is at most the tolerance. As MONAI's compute_surface_dice.
 * - A label in neither map: Dice 1, HD95 and ASSD 0, NSD 1. In one of them only: Dice and NSD 0,
 *   HD95 and ASSD NAN.
 *
 * The transform is Felzenszwalb and Huttenlocher's ("Distance transforms of sampled functions",
 * Theory of Computing 8, 2012), in double, within the box that holds the label in both maps. */
#ifndef VNET_TRAIN_DISTANCE_H
#define VNET_TRAIN_DISTANCE_H

#include "vnet.h"

#include <stdint.h>

struct vnt_score {
  double dice, hd95_mm, assd_mm, nsd;
  uint64_t voxels; /* of both maps; 0: the label is in neither */
};

/* Two label maps [d][h][w], borrowed; which is which does not matter. */
struct vnt_map_pair {
  const uint8_t *target, *predicted;
  size_t dim[3];        /* d h w */
  double spacing_mm[3]; /* d h w, positive */
  double tolerance_mm;  /* of the NSD */
};

/* Fills scores[l - 1] for l from 1 to classes - 1 (at most 255); other labels count for nothing.
 * On exec's threads (NULL: the caller's alone), the same bits for any number. Allocates at most 8
 * bytes for each voxel of a label's box and 8 for each voxel of its surfaces. VN_E_MEMORY. */
enum vn_status vnt_maps_score(const struct vnt_map_pair *maps, size_t classes, struct vn_exec *exec,
                              struct vnt_score *scores, struct vn_diag *diag);

#endif
