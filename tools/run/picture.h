/* A scan with its segmentation as outlines: what people look at before they open a viewer. Three
 * rows of slices, axial, coronal and sagittal, through what is labelled (through the whole scan
 * where nothing is), in the radiological convention: the patient's right is on the left, sagittal
 * slices look from the left so that the nose points left. True proportions whatever the voxels.
 *
 * Oblique scans are drawn along their own axes, named after the nearest ones of the body; a scan
 * that does not say how it lies has x, y and z for marks. Greys go from the 0.5th to the 99.5th
 * percentile; of a CT they are those around what is labelled. */
#ifndef VNET_RUN_PICTURE_H
#define VNET_RUN_PICTURE_H

#include "vnet_segment.h"

struct picture_job {
  const struct vn_image *image; /* of world UNKNOWN: it does not say how it lies */
  const struct vn_label_map *map;
  const struct vn_label_info *labels; /* a colour for each label that the map holds */
};

/* Writes a PNG, the same bytes for the same job. VN_E_IO, VN_E_MEMORY. */
enum vn_status picture_write(int fd, const struct picture_job *job, struct vn_diag *diag);

#endif
