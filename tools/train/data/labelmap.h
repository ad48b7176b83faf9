/* Label maps of whole heads, as the generator takes them: brought to RAS, values counted, and what
 * is to be learnt. */
#ifndef VNET_TRAIN_LABELMAP_H
#define VNET_TRAIN_LABELMAP_H

#include "labels.h"

enum { VNT_STRUCTURES_MOST = 256 };

struct vnt_labelmap {
  size_t dim[3];                  /* d h w, RAS */
  double spacing_mm[3];           /* d h w */
  uint8_t *structure;             /* index into value, one for each voxel */
  uint8_t *target;                /* 1: brain, closed; or the class of each voxel */
  int value[VNT_STRUCTURES_MOST]; /* FreeSurfer's */
  size_t structures;
  double centre[3]; /* of the brain, voxels d h w */
};

/* Is this FreeSurfer value brain: its tissues, nuclei and ventricles, without the outer CSF? */
int vnt_is_brain(int value);

/* Is it brain, or CSF around it? */
int vnt_is_inside(int value);

/* The value on the other side of the head; itself where there is none. */
int vnt_other_side(int value);

/* What MRI shows of a structure of the brain: -1 fluid, 0 grey matter, 1 white matter, between the
 * two a mixture, as nuclei are; NaN: none of them, or unknown. */
double vnt_tissue(int value);

/* `classes` says what the values are learnt as; NULL: brain or not. VN_E_FORMAT: values that are
 * not whole numbers from 0 to 32767, or more than 256 different ones, or that `classes` refuses; no
 * brain in it; otherwise as vn_scan_load. To be closed in any case. */
enum vn_status vnt_labelmap_open(const char *path, const struct vnt_labels *classes,
                                 struct vnt_labelmap *map, struct vn_diag *diag);
void vnt_labelmap_close(struct vnt_labelmap *map);

#endif
