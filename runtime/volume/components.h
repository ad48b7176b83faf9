/* Clean-up of a label map by connected pieces: 26 neighbours, each label by itself, label 0 never
 * touched. Memory grows with the runs of equal labels along x, not with the voxels: at most 24
 * bytes a run and 8 a row, and 16 a run more for a moment where the allocator cannot grow in place.
 * Organs make a few runs a row; in the worst noise every voxel is a run. Called by segment.c when
 * the network is done. */
#ifndef VNET_COMPONENTS_H
#define VNET_COMPONENTS_H

#include "image.h"
#include "stage.h"

/* With `largest`, keeps the largest piece of each label, of equals the one that begins first in the
 * order of k, j, i; and removes every piece of fewer than `least_vox` voxels. What is removed
 * becomes 0. `map` and `image` have been taken (image.h), labels are below `labels`. VN_E_MEMORY,
 * VN_E_CANCELLED: the labels are as they were. */
enum vn_status vn_labels_clean(const struct vn_label_map *map, const struct vn_image *image,
                               size_t labels, bool largest, uint64_t least_vox,
                               struct vn_stage *stage, uint64_t *removed_vox, struct vn_diag *diag);

/* Counts the pieces of each label into pieces[labels], but for those of less than a hundredth of
 * their label; the map stays. As above. */
enum vn_status vn_labels_pieces(const struct vn_label_map *map, const struct vn_image *image,
                                size_t labels, struct vn_stage *stage, uint64_t *pieces,
                                struct vn_diag *diag);

#endif
