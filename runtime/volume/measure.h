/* What a label map measures on its scan. Called by programs after segmenting; the sums run in
 * double in the order of the voxels, the same for any number of threads. */
#ifndef VNET_MEASURE_H
#define VNET_MEASURE_H

#include "nifti.h"

struct vn_measure {
  uint64_t voxels;
  double ml;
  double mean, sd;       /* of the scan's values under the label; population sd */
  double centroid_mm[3]; /* world x y z, RAS+ */
};

/* Of one voxel: the affine's determinant. */
double vn_voxel_ml(const struct vn_scan *scan);

/* Fills measures[labels->classes] from a loaded scan. A label without voxels has NaN for what it
 * has no mean of. */
void vn_labels_measure(const struct vn_scan *scan, const struct vn_labels *labels,
                       struct vn_measure *measures);

#endif
