/* A scan with its segmentation as outlines: what people look at before they open a viewer. Three
 * rows of slices, axial, coronal and sagittal, through what is labelled (through the whole scan
 * where nothing is), in the radiological convention: the patient's right is on the left, sagittal
 * slices look from the left so that the nose points left. True proportions whatever the voxels.
 *
 * Oblique scans are drawn along their own axes, named after the nearest ones of the body; a scan
 * that does not say how it lies, or says two things, has x, y and z for marks. */
#ifndef VNET_RUN_PICTURE_H
#define VNET_RUN_PICTURE_H

#include "nifti.h"
#include "palette.h"

struct picture_job {
  const struct vn_scan *scan; /* loaded */
  const struct vn_labels *labels;
  const struct vn_palette *palette;
};

/* Writes a PNG, the same bytes for the same job. VN_E_IO, VN_E_MEMORY. */
enum vn_status picture_write(int fd, const struct picture_job *job, struct vn_diag *diag);

#endif
