/* Images of one run on grids of their own: does an image lie on the first one's grid, and if not,
 * its values there. Called by source.c. */
#ifndef VNET_MATCH_H
#define VNET_MATCH_H

#include "image.h"
#include "stage.h"

/* Both taken (image.h). The same extents, and corners that lie within a twentieth of a voxel of
 * each other. */
bool vn_grids_match(const struct vn_image *image, const struct vn_image *onto);

/* How they differ, as the end of a sentence: "has 240 x 240 x 150 voxels, and the first image
 * 240 x 240 x 155". */
void vn_grids_tell(const struct vn_image *image, const struct vn_image *onto, char *text,
                   size_t size);

/* Can one be brought onto the other? VN_E_UNSUPPORTED: one of them does not say how it lies, they
 * show nothing of each other, or a voxel of one is as large as 32 of the other along an axis. */
enum vn_status vn_match_check(const struct vn_image *image, const struct vn_image *onto,
                              struct vn_diag *diag);

/* Fills `to`, [k][j][i] on the grid of `onto`: the image's values at the voxels' centres by linear
 * interpolation; where its voxels are finer, the mean over as many points (8 at most, along an
 * axis), spread evenly over the voxel. Beyond the centres at the image's edge the nearest value
 * counts, beyond the edge itself `beyond`. VN_E_MEMORY, VN_E_CANCELLED. */
enum vn_status vn_match_sample(const struct vn_image *image, const struct vn_voxels *voxels,
                               const struct vn_image *onto, float beyond, struct vn_stage *stage,
                               float *to, struct vn_diag *diag);

#endif
