/* Writes label maps and class probabilities, with a scan file's geometry or an image's; see
 * vnet_scan.h. */
#include "scan_file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "fail.h"
#include "options.h"
#include "part.h"

/* ---- headers ---- */

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

/* A header for an image that comes from no file. */
static enum vn_status header_make(const struct vn_image *theirs, struct vn_header *header,
                                  struct vn_diag *diag) {
  struct vn_image image;
  if (!theirs) return vn_fail(diag, VN_E_ARGUMENT, "neither a file nor an image gives the grid");
  enum vn_status status = vn_options_take(&image, sizeof image, theirs, "vn_image", diag);
  if (status) return status;
  *header = (struct vn_header){.version = 1, .elems = 1};
  struct nifti_2_header *field = &header->field;
  const double sign = image.world == VN_WORLD_LPS ? -1 : 1;
  field->dim[0] = 3;
  for (int j = 0; j < 7; j++) field->dim[j + 1] = field->pixdim[j + 1] = 1;
  for (int j = 0; j < 3; j++) {
    double(*m)[4] = image.affine;
    if (image.dim[j] < 1 || image.dim[j] > INT32_MAX ||
        __builtin_mul_overflow(header->elems, image.dim[j], &header->elems))
      return vn_fail(diag, VN_E_ARGUMENT, "an image of %zu voxels along an axis", image.dim[j]);
    if (image.dim[j] > INT16_MAX) header->version = 2;
    header->dim[j] = image.dim[j];
    field->dim[j + 1] = (int64_t)image.dim[j];
    field->pixdim[j + 1] = sqrt(m[0][j] * m[0][j] + m[1][j] * m[1][j] + m[2][j] * m[2][j]);
    if (!(isfinite(field->pixdim[j + 1]) && field->pixdim[j + 1] > 0))
      return vn_fail(diag, VN_E_ARGUMENT, "an image whose affine loses an axis");
  }
  for (int j = 0; j < 4; j++) {
    image.affine[0][j] *= sign;
    image.affine[1][j] *= sign;
    field->srow_x[j] = image.affine[0][j];
    field->srow_y[j] = image.affine[1][j];
    field->srow_z[j] = image.affine[2][j];
  }
  field->xyzt_units = NIFTI_UNITS_MM;
  field->pixdim[0] = 1;
  if (image.world == VN_WORLD_UNKNOWN) return VN_OK;
  field->sform_code = NIFTI_XFORM_SCANNER_ANAT;
  qform_fill(field, image.affine);
  return VN_OK;
}

/* The scan's header, changed only where what is written differs from a scan. */
static enum vn_status header_derive(const struct vn_scan *like, const struct vn_image *image,
                                    int datatype, size_t elem_bytes, const char *description,
                                    struct vn_header *header, struct vn_diag *diag) {
  enum vn_status status = VN_OK;
  if (like)
    *header = like->header;
  else
    status = header_make(image, header, diag);
  struct nifti_2_header *field = &header->field;
  field->datatype = (int16_t)datatype;
  field->bitpix = (int16_t)(8 * elem_bytes);
  field->scl_slope = 1;
  field->scl_inter = 0;
  field->vox_offset = header->version == 1 ? 352 : 544;
  field->cal_min = field->cal_max = 0;
  field->slice_start = field->slice_end = 0;
  field->slice_code = 0;
  field->slice_duration = field->toffset = 0;
  field->intent_code = NIFTI_INTENT_NONE;
  field->intent_p1 = field->intent_p2 = field->intent_p3 = 0;
  memset(field->intent_name, 0, sizeof field->intent_name);
  memset(field->aux_file, 0, sizeof field->aux_file);
  memset(field->descrip, 0, sizeof field->descrip);
  if (description) memccpy(field->descrip, description, 0, sizeof field->descrip - 1);
  return status;
}

/* ---- bytes ---- */

static enum vn_status plain_write(int fd, const void *bytes, size_t size, struct vn_diag *diag) {
  for (const char *from = bytes; size;) {
    ssize_t done = write(fd, from, size);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return vn_fail(diag, VN_E_IO, "cannot write: %s", strerror(errno));
    from += done;
    size -= (size_t)done;
  }
  return VN_OK;
}

static enum vn_status packed_fail(gzFile file, struct vn_diag *diag) {
  int code, reason = errno;
  const char *text = gzerror(file, &code);
  return vn_fail(diag, code == Z_MEM_ERROR ? VN_E_MEMORY : VN_E_IO, "cannot write: %s",
                 code == Z_ERRNO ? strerror(reason) : text);
}

static enum vn_status packed_write(gzFile file, const void *bytes, size_t size,
                                   struct vn_diag *diag) {
  for (const char *from = bytes; size;) {
    unsigned part = size < 1 << 24 ? (unsigned)size : 1 << 24;
    if (gzwrite(file, from, part) != (int)part) return packed_fail(file, diag);
    from += part;
    size -= part;
  }
  return VN_OK;
}

/* Level 1 packs smooth numbers a third as well as level 6 does labels, at a fifth of the time. */
static enum vn_status image_write(int fd, const char *gzip_mode, const struct vn_header *header,
                                  const void *data, size_t data_bytes, struct vn_diag *diag) {
  unsigned char head[VN_HEADER_MOST];
  size_t head_bytes = vn_header_print(header, head);
  if (!gzip_mode) {
    enum vn_status status = plain_write(fd, head, head_bytes, diag);
    return status ? status : plain_write(fd, data, data_bytes, diag);
  }
  int copy = dup(fd); /* gzclose closes its own */
  gzFile file = copy < 0 ? NULL : gzdopen(copy, gzip_mode);
  if (!file) {
    if (copy >= 0) close(copy);
    return vn_fail(diag, VN_E_MEMORY, "cannot write: out of memory or descriptors");
  }
  enum vn_status status = packed_write(file, head, head_bytes, diag);
  if (status == VN_OK) status = packed_write(file, data, data_bytes, diag);
  int closed = gzclose(file);
  if (status == VN_OK && closed != Z_OK)
    status = vn_fail(diag, VN_E_IO, "cannot write: %s",
                     closed == Z_ERRNO ? strerror(errno) : "compression failed");
  return status;
}

/* ---- what is written ---- */

static bool map_dense(const struct vn_label_map *map, const size_t dim[3]) {
  ptrdiff_t bytes = (ptrdiff_t)map->elem_bytes;
  if (!map->stride[0] && !map->stride[1] && !map->stride[2]) return true;
  for (int i = 0; i < 3; i++) {
    if (map->stride[i] != bytes && dim[i] > 1) return false;
    bytes *= (ptrdiff_t)dim[i];
  }
  return true;
}

enum vn_status vn_scan_write_labels(int fd, bool gzip, const struct vn_scan *like,
                                    const struct vn_image *image, const struct vn_label_map *map,
                                    size_t labels, const char *description, struct vn_diag *diag) {
  struct vn_header header;
  struct vn_label_map mine;
  enum vn_status status = vn_options_take(&mine, sizeof mine, map, "vn_label_map", diag);
  if (status) return status;
  if ((mine.elem_bytes != 1 && mine.elem_bytes != 2) || !mine.data || labels < 1 ||
      labels > (mine.elem_bytes == 1 ? 256 : INT16_MAX + 1))
    return vn_fail(diag, VN_E_ARGUMENT, "%zu labels in a map of %zu bytes a voxel", labels,
                   mine.elem_bytes);
  status = header_derive(like, image, mine.elem_bytes == 1 ? NIFTI_TYPE_UINT8 : NIFTI_TYPE_INT16,
                         mine.elem_bytes, description, &header, diag);
  if (status) return status;
  if (!map_dense(&mine, header.dim))
    return vn_fail(diag, VN_E_ARGUMENT, "a label map that is not dense cannot be written");
  header.field.cal_max = (double)(labels - 1);
  header.field.intent_code = NIFTI_INTENT_LABEL;
  return image_write(fd, gzip ? "wb" : NULL, &header, mine.data, header.elems * mine.elem_bytes,
                     diag);
}

enum vn_status vn_scan_write_probabilities(int fd, bool gzip, const struct vn_scan *like,
                                           const struct vn_image *image,
                                           const struct vn_label_map *map, size_t labels,
                                           const char *description, struct vn_diag *diag) {
  struct vn_header header;
  struct vn_label_map mine;
  size_t bytes;
  enum vn_status status = vn_options_take(&mine, sizeof mine, map, "vn_label_map", diag);
  if (status) return status;
  const size_t elem_bytes = mine.probability == VN_PROBABILITY_F32 ? 4 : 2;
  status = header_derive(like, image, elem_bytes == 2 ? NIFTI_TYPE_UINT16 : NIFTI_TYPE_FLOAT32,
                         elem_bytes, description, &header, diag);
  if (status) return status;
  if (!mine.probabilities || __builtin_mul_overflow(header.elems, labels * elem_bytes, &bytes))
    return vn_fail(diag, VN_E_ARGUMENT, "no probabilities, or more than memory holds");
  if (elem_bytes == 2) header.field.scl_slope = 1.0 / 65535;
  header.field.cal_max = 1;
  header.field.dim[0] = 4;
  header.field.dim[4] = (int64_t)labels;
  header.field.pixdim[4] = 1;
  return image_write(fd, gzip ? "wb1" : NULL, &header, mine.probabilities, bytes, diag);
}

/* ---- whole or absent ---- */

static bool ends(const char *name, const char *ending) {
  size_t all = strlen(name), part = strlen(ending);
  return all > part && strcmp(name + all - part, ending) == 0;
}

enum vn_status vn_scan_save_labels(const char *path, const struct vn_scan *like,
                                   const struct vn_image *image, const struct vn_label_map *map,
                                   size_t labels, const char *description, struct vn_diag *diag) {
  struct vn_diag inner;
  struct vn_part part;
  vn_part_sweep(path);
  enum vn_status status = vn_part_create(&part, path, diag);
  if (status) return status;
  status = vn_scan_write_labels(part.fd, ends(path, ".gz"), like, image, map, labels, description,
                                &inner);
  if (!status) return vn_part_publish(&part, path, diag);
  vn_part_drop(&part);
  return vn_fail(diag, status, "%.200s: %.300s", path, inner.text);
}
