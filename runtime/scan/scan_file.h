/* An open scan file. Private to nifti_read.c, which fills it, and nifti_write.c, which writes
 * results with its geometry. */
#ifndef VNET_SCAN_FILE_H
#define VNET_SCAN_FILE_H

#include "nifti_header.h"
#include "vnet_scan.h"

struct vn_scan {
  struct vn_header header;
  char *image_path;    /* where the voxels are */
  double affine[3][4]; /* voxel (i, j, k, 1) to world mm, RAS; sform before qform */
  bool oriented;       /* the file gives an affine; else it is diag(pixdim) and a guess */
  bool contradictory;  /* sform and qform point the axes in different directions */
  float *voxels;       /* NULL until loaded */
};

#endif
