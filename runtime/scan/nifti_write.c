/* NIfTI headers of results: a scan's own where it is a NIfTI file, else one made of its affine; see
 * vnet_scan.h. */
#include "nifti_header.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

/* Quaternion of a rotation, as in nifti1.h; b, c, d alone are kept, for a follows. */
static void quaternion(const double r[3][3], double q[3]) {
  const double trace = r[0][0] + r[1][1] + r[2][2];
  double a, b, c, d;
  if (trace > 0) {
    a = 0.5 * sqrt(1 + trace);
    b = 0.25 * (r[2][1] - r[1][2]) / a;
    c = 0.25 * (r[0][2] - r[2][0]) / a;
    d = 0.25 * (r[1][0] - r[0][1]) / a;
  } else if (r[0][0] >= r[1][1] && r[0][0] >= r[2][2]) {
    b = 0.5 * sqrt(1 + r[0][0] - r[1][1] - r[2][2]);
    c = 0.25 * (r[0][1] + r[1][0]) / b;
    d = 0.25 * (r[0][2] + r[2][0]) / b;
    a = 0.25 * (r[2][1] - r[1][2]) / b;
  } else if (r[1][1] >= r[2][2]) {
    c = 0.5 * sqrt(1 + r[1][1] - r[0][0] - r[2][2]);
    b = 0.25 * (r[0][1] + r[1][0]) / c;
    d = 0.25 * (r[1][2] + r[2][1]) / c;
    a = 0.25 * (r[0][2] - r[2][0]) / c;
  } else {
    d = 0.5 * sqrt(1 + r[2][2] - r[0][0] - r[1][1]);
    b = 0.25 * (r[0][2] + r[2][0]) / d;
    c = 0.25 * (r[1][2] + r[2][1]) / d;
    a = 0.25 * (r[1][0] - r[0][1]) / d;
  }
  const double sign = a < 0 ? -1 : 1;
  q[0] = sign * b, q[1] = sign * c, q[2] = sign * d;
}

/* The affine as a qform, where its axes are at right angles. */
static void qform_fill(struct nifti_2_header *field, const double affine[3][4]) {
  double r[3][3], det;
  for (int j = 0; j < 3; j++)
    for (int i = 0; i < 3; i++) r[i][j] = affine[i][j] / field->pixdim[j + 1];
  for (int j = 0; j < 3; j++) {
    const int k = (j + 1) % 3;
    if (fabs(r[0][j] * r[0][k] + r[1][j] * r[1][k] + r[2][j] * r[2][k]) > 1e-5) return;
  }
  det = r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1]) -
        r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0]) +
        r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0]);
  field->pixdim[0] = det < 0 ? -1 : 1;
  for (int i = 0; i < 3 && det < 0; i++) r[i][2] = -r[i][2];
  double q[3];
  quaternion(r, q);
  field->quatern_b = q[0], field->quatern_c = q[1], field->quatern_d = q[2];
  field->qoffset_x = affine[0][3];
  field->qoffset_y = affine[1][3];
  field->qoffset_z = affine[2][3];
  field->qform_code = NIFTI_XFORM_SCANNER_ANAT;
}

/* A header for a grid that comes from no NIfTI file. */
static void header_make(const struct vn_image *grid, struct vn_nifti *nifti) {
  struct nifti_2_header *field = &nifti->field;
  *nifti = (struct vn_nifti){.version = 1};
  field->dim[0] = 3;
  for (int j = 0; j < 7; j++) field->dim[j + 1] = field->pixdim[j + 1] = 1;
  for (int j = 0; j < 3; j++) {
    if (grid->dim[j] > INT16_MAX) nifti->version = 2;
    field->dim[j + 1] = (int64_t)grid->dim[j];
    field->pixdim[j + 1] = vn_affine_spacing(grid->affine, j);
  }
  for (int j = 0; j < 4; j++) {
    field->srow_x[j] = grid->affine[0][j];
    field->srow_y[j] = grid->affine[1][j];
    field->srow_z[j] = grid->affine[2][j];
  }
  field->xyzt_units = NIFTI_UNITS_MM;
  field->pixdim[0] = 1;
  if (grid->world == VN_WORLD_UNKNOWN) return;
  field->sform_code = NIFTI_XFORM_SCANNER_ANAT;
  qform_fill(field, grid->affine);
}

static int datatype_of(enum vn_voxel type) {
  switch (type) {
  case VN_VOXEL_U8:
    return NIFTI_TYPE_UINT8;
  case VN_VOXEL_I16:
    return NIFTI_TYPE_INT16;
  case VN_VOXEL_U16:
    return NIFTI_TYPE_UINT16;
  default:
    return NIFTI_TYPE_FLOAT32;
  }
}

/* The scan's header, changed only where what is written differs from a scan. */
static void header_derive(const struct vn_result *result, struct vn_nifti *nifti) {
  struct nifti_2_header *field = &nifti->field;
  if (result->like)
    *nifti = result->like->nifti;
  else
    header_make(&result->grid, nifti);
  field->datatype = (int16_t)datatype_of(result->type);
  field->bitpix = (int16_t)(8 * vn_voxel_bytes(result->type));
  field->scl_slope = result->slope;
  field->scl_inter = 0;
  field->vox_offset = nifti->version == 1 ? 352 : 544;
  field->cal_min = 0;
  field->cal_max = result->series ? 1 : (double)(result->labels - 1);
  field->slice_start = field->slice_end = 0;
  field->slice_code = 0;
  field->slice_duration = field->toffset = 0;
  field->intent_code = result->series ? NIFTI_INTENT_NONE : NIFTI_INTENT_LABEL;
  field->intent_p1 = field->intent_p2 = field->intent_p3 = 0;
  if (result->like && result->like->volumes > 1) {
    field->dim[0] = 3; /* a map of one volume */
    for (int i = 4; i <= 7; i++) field->dim[i] = 1;
  }
  memset(field->intent_name, 0, sizeof field->intent_name);
  memset(field->aux_file, 0, sizeof field->aux_file);
  memset(field->descrip, 0, sizeof field->descrip);
  if (result->description)
    memccpy(field->descrip, result->description, 0, sizeof field->descrip - 1);
  if (!result->series) return;
  field->dim[0] = 4;
  field->dim[4] = (int64_t)result->series;
  field->pixdim[4] = 1;
}

enum vn_status vn_nifti_head(const struct vn_result *result, struct vn_head *head,
                             struct vn_diag *diag) {
  struct vn_nifti nifti;
  unsigned char *bytes = malloc(VN_NIFTI_MOST);
  if (!bytes) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  header_derive(result, &nifti);
  *head = (struct vn_head){.bytes = bytes, .size = vn_nifti_print(&nifti, bytes)};
  return VN_OK;
}
