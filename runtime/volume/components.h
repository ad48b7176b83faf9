/* Clean-up of a label map by connected pieces: 26 neighbours, each label by itself, label 0 never
 * touched. Memory grows with the runs of equal labels along x, not with the voxels: at most 24
 * bytes a run and 8 a row, and 16 a run more for a moment where the allocator cannot grow in place.
 * Organs make a few runs a row; in the worst noise every voxel is a run. Called by programs between
 * vn_segment_run and writing. */
#ifndef VNET_COMPONENTS_H
#define VNET_COMPONENTS_H

#include "nifti.h"

/* Keeps the largest piece of each label, of equals the one that begins first in memory; the rest
 * becomes 0. `dim` is x y z; removed_vox[classes] may be NULL. VN_E_MEMORY: the labels are as they
 * were. */
enum vn_status vn_labels_largest(struct vn_labels *labels, const size_t dim[3],
                                 uint64_t *removed_vox, struct vn_diag *diag);

/* Removes every piece of fewer than `least_vox` voxels. Otherwise as vn_labels_largest. */
enum vn_status vn_labels_drop_small(struct vn_labels *labels, const size_t dim[3],
                                    uint64_t least_vox, uint64_t *removed_vox,
                                    struct vn_diag *diag);

#endif
