/* NIfTI files: pairs, and how a scan lies in the world. Header bytes are judged in nifti_header.c.
 *
 * Two forms may say how a scan lies. The sform is used where it makes sense, else the qform; what
 * nibabel and niftiio read is read here, with a note where they set something right. */
#include "nifti_header.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "fail.h"

/* ---- names ---- */

/* The other half of a pair: `path` with `to` for `from`, gzipped or not, whichever exists. NULL
 * with errno set when there is none; the caller frees it. */
static char *partner(const char *path, const char *from, const char *to) {
  size_t all = strlen(path), tail = vn_name_ends(path, ".gz") ? 7 : 4;
  if (all <= tail || strncasecmp(path + all - tail, from, 4)) {
    errno = EINVAL;
    return NULL;
  }
  size_t stem = all - tail;
  char *other = malloc(stem + 8);
  if (!other) return NULL;
  for (int packed = 0; packed < 2; packed++) {
    snprintf(other, stem + 8, "%.*s%s%s", (int)stem, path, to, packed ? ".gz" : "");
    if (access(other, F_OK) == 0) return other;
  }
  free(other);
  errno = ENOENT;
  return NULL;
}

enum vn_status vn_nifti_header_path(const char *path, char **header, struct vn_diag *diag) {
  if (vn_name_ends(path, ".nia"))
    return vn_fail(diag, VN_E_UNSUPPORTED, "the ASCII form of NIfTI: convert it to .nii.gz");
  bool image = vn_name_ends(path, ".img") || vn_name_ends(path, ".img.gz");
  *header = image ? partner(path, ".img", ".hdr") : strdup(path);
  return *header ? VN_OK
                 : vn_fail(diag, errno == ENOMEM ? VN_E_MEMORY : VN_E_IO, "its header: %s",
                           strerror(errno));
}

/* ---- geometry ---- */

enum form { FORM_ABSENT, FORM_GOOD, FORM_BAD };

static enum form sform_affine(const struct nifti_2_header *field, double m[3][4]) {
  for (int j = 0; j < 4; j++) {
    m[0][j] = field->srow_x[j];
    m[1][j] = field->srow_y[j];
    m[2][j] = field->srow_z[j];
  }
  return field->sform_code <= 0 ? FORM_ABSENT : vn_affine_usable(m) ? FORM_GOOD : FORM_BAD;
}

/* Rotation from the quaternion, as in nifti1.h, "METHOD 2". Voxel sizes by their absolute values,
 * and 1 for 0: nibabel's and ITK's way. */
static enum form qform_affine(const struct nifti_2_header *field, double m[3][4]) {
  double b = field->quatern_b, c = field->quatern_c, d = field->quatern_d;
  double a = 1 - (b * b + c * c + d * d);
  if (a < 1e-7) { /* a half turn, up to rounding */
    double unit = 1 / sqrt(b * b + c * c + d * d);
    b *= unit, c *= unit, d *= unit;
    a = 0;
  } else {
    a = sqrt(a);
  }
  double step[3];
  for (int i = 0; i < 3; i++) step[i] = field->pixdim[i + 1] != 0 ? fabs(field->pixdim[i + 1]) : 1;
  if (field->pixdim[0] < 0) step[2] = -step[2];
  double r[3][3] = {
      {a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)},
      {2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)},
      {2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b},
  };
  double shift[3] = {field->qoffset_x, field->qoffset_y, field->qoffset_z};
  for (int i = 0; i < 3; i++) {
    for (int j = 0; j < 3; j++) m[i][j] = r[i][j] * step[j];
    m[i][3] = shift[i];
  }
  return field->qform_code <= 0 ? FORM_ABSENT : vn_affine_usable(m) ? FORM_GOOD : FORM_BAD;
}

/* Do the axes of both point more or less the same way? *degrees: how far they are apart at most. */
static bool axes_agree(const double a[3][4], const double b[3][4], double *degrees) {
  double least = 1;
  for (int j = 0; j < 3; j++) {
    double dot = 0;
    for (int i = 0; i < 3; i++) dot += a[i][j] * b[i][j];
    least = fmin(least, dot / (vn_affine_spacing(a, j) * vn_affine_spacing(b, j)));
  }
  *degrees = acos(fmax(least, -1)) * 180 / 3.14159265358979323846;
  return least > 0;
}

/* How far the middle of the scan is from itself. */
static double middle_distance(const struct vn_scan *scan, const double a[3][4],
                              const double b[3][4]) {
  double square = 0;
  for (int i = 0; i < 3; i++) {
    double d = a[i][3] - b[i][3];
    for (int j = 0; j < 3; j++) d += (a[i][j] - b[i][j]) * 0.5 * (double)(scan->dim[j] - 1);
    square += d * d;
  }
  return sqrt(square);
}

/* Metre and micron; mm and unknown are taken as mm. */
static double unit_mm(const struct nifti_2_header *field) {
  int unit = field->xyzt_units & 7;
  return unit == NIFTI_UNITS_METER ? 1000 : unit == NIFTI_UNITS_MICRON ? 0.001 : 1;
}

static void affine_take(struct vn_scan *scan, const double m[3][4]) {
  double mm = unit_mm(&scan->nifti.field);
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 4; j++) scan->affine[i][j] = m[i][j] * mm;
}

enum vn_status vn_nifti_form(struct vn_scan *scan, bool qform, struct vn_diag *diag) {
  double m[3][4];
  const struct nifti_2_header *field = &scan->nifti.field;
  enum form form = qform ? qform_affine(field, m) : sform_affine(field, m);
  if (form != FORM_GOOD)
    return vn_fail(diag, VN_E_ARGUMENT, "%s",
                   form == FORM_ABSENT ? qform ? "has no qform" : "has no sform"
                   : qform             ? "has a qform that is not a rotation"
                                       : "has a sform that is not an invertible matrix");
  affine_take(scan, m);
  return VN_OK;
}

/* What is odd about the voxel sizes that are used. */
static void pixdim_notes(struct vn_scan *scan) {
  const double *p = scan->nifti.field.pixdim;
  if (p[1] < 0 || p[2] < 0 || p[3] < 0)
    vn_scan_note_add(scan, "its pixdim is negative: the absolute value is taken");
  if (p[1] == 0 || p[2] == 0 || p[3] == 0)
    vn_scan_note_add(scan, "its pixdim is 0 along an axis: 1 is taken");
}

/* What is odd about the qform that is used. */
static void qform_notes(struct vn_scan *scan) {
  const double *p = scan->nifti.field.pixdim;
  pixdim_notes(scan);
  if (fabs(p[0]) != 1 && p[0] != 0)
    vn_scan_note_add(scan, "its qfac, pixdim[0], is %g: %d is taken", p[0], p[0] < 0 ? -1 : 1);
}

/* What is odd about the sform that is used. */
static void sform_notes(struct vn_scan *scan, const double sform[3][4], enum form q,
                        const double qform[3][4]) {
  const double *pixdim = scan->nifti.field.pixdim;
  if (q == FORM_BAD) vn_scan_note_add(scan, "its qform is not a rotation: its sform is used");
  if (q == FORM_GOOD && !scan->unoriented) {
    double degrees, mm = middle_distance(scan, sform, qform) * unit_mm(&scan->nifti.field);
    axes_agree(sform, qform, &degrees);
    if (degrees > 10 || mm > 10)
      vn_scan_note_add(scan,
                       "its sform and its qform are %.0f degrees and %.0f mm apart: the "
                       "sform is used",
                       degrees, mm);
  }
  for (int j = 0; j < 3; j++) {
    double ratio = vn_affine_spacing(sform, j) / fabs(pixdim[j + 1]);
    if (ratio > 0.95 && ratio < 1.05) continue;
    vn_scan_note_add(scan,
                     "its sform says voxels of %.4g, its pixdim %.4g along axis %d: the "
                     "sform is used",
                     vn_affine_spacing(sform, j), pixdim[j + 1], j + 1);
    return;
  }
}

static const char *no_form(enum form s, enum form q) {
  if (s == FORM_ABSENT && q == FORM_ABSENT)
    return "has neither sform nor qform and does not say left from right";
  if (s == FORM_ABSENT) return "has a qform that is not a rotation, and no sform";
  if (q == FORM_ABSENT) return "has a sform that is not an invertible matrix, and no qform";
  return "has a sform that is not an invertible matrix, and a qform that is not a rotation";
}

static void affine_choose(struct vn_scan *scan, enum form s, const double sform[3][4], enum form q,
                          const double qform[3][4]) {
  double degrees;
  if (s == FORM_GOOD && q == FORM_GOOD && !axes_agree(sform, qform, &degrees))
    scan->unoriented = "has a sform and a qform that point its axes in different directions";
  if (scan->unoriented)
    vn_scan_note_add(scan, "its sform and its qform contradict each other: the "
                           "sform is used");
  if (s == FORM_GOOD) {
    affine_take(scan, sform);
    sform_notes(scan, sform, q, qform);
  } else if (q == FORM_GOOD) {
    affine_take(scan, qform);
    if (s == FORM_BAD)
      vn_scan_note_add(scan, "its sform is not an invertible matrix: its qform is used");
    qform_notes(scan);
  } else {
    scan->unoriented = no_form(s, q);
  }
}

static enum vn_status geometry_read(struct vn_scan *scan, struct vn_diag *diag) {
  const struct nifti_2_header *field = &scan->nifti.field;
  double sform[3][4], qform[3][4];
  enum form s = sform_affine(field, sform), q = qform_affine(field, qform);
  if (unit_mm(field) != 1)
    vn_scan_note_add(scan, "its unit is the %s", unit_mm(field) > 1 ? "metre" : "micron");
  const bool formed = s == FORM_GOOD || q == FORM_GOOD;
  if (!formed) pixdim_notes(scan); /* of the voxel size, which no --geometry says */
  scan->note_header = strlen(scan->note);
  affine_choose(scan, s, sform, q, qform);
  for (int j = 0; j < 3; j++) {
    const double pixdim = fabs(field->pixdim[j + 1]) * unit_mm(field);
    if (!formed && !isfinite(pixdim))
      return vn_fail(diag, VN_E_FORMAT, "the voxel size is not finite");
    scan->spacing_mm[j] = formed ? vn_affine_spacing(scan->affine, j) : pixdim > 0 ? pixdim : 1;
  }
  if (!formed) vn_affine_plain(scan);
  return VN_OK;
}

/* ---- open ---- */

enum vn_status vn_nifti_open(const char *path, const char *image, const unsigned char *bytes,
                             size_t size, struct vn_stream *stream, struct vn_scan *scan,
                             struct vn_diag *diag) {
  scan->format = VN_SCAN_NIFTI;
  enum vn_status status = vn_nifti_parse(bytes, size, scan, diag);
  if (status) return status;
  if (!scan->nifti.pair)
    scan->voxel_path = strdup(path);
  else
    scan->voxel_path = image ? strdup(image) : partner(path, ".hdr", ".img");
  if (!scan->voxel_path)
    return vn_fail(diag, errno == ENOMEM ? VN_E_MEMORY : VN_E_IO,
                   "a header whose voxels are in an .img file beside it: %s", strerror(errno));
  if (scan->nifti.pair) {
    vn_stream_close(stream);
    if ((status = vn_stream_open(scan->voxel_path, stream, diag))) return status;
    scan->encoding = stream->gz ? VN_ENCODING_GZIP : VN_ENCODING_RAW;
  }
  status = vn_scan_size_check(scan, stream, diag);
  return status ? status : geometry_read(scan, diag);
}
