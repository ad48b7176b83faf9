/* Opens scans and answers questions about them; see vnet_scan.h. Which format a file has is decided
 * here, by its first bytes; its header is read in that format's own file. */
#include "scan_file.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fail.h"
#include "float_mode.h"
#include "options.h"

enum {
  TRAILING_MOST = 1 << 20, /* bytes after the voxels that are ignored: see also scan_load.c */
  DEFLATE_MOST = 1040,     /* no deflate stream expands more (1032, by its format) */
};

/* ---- names ---- */

bool vn_name_ends(const char *name, const char *ending) {
  size_t all = strlen(name), part = strlen(ending);
  return all > part && name[all - part - 1] != '/' && strcasecmp(name + all - part, ending) == 0;
}

/* What a name may end in, longer endings first. */
static const struct {
  const char *ending, *result;
} endings[] = {
    {".nii.gz", ".nii.gz"}, {".hdr.gz", ".nii.gz"}, {".img.gz", ".nii.gz"}, {".nii", ".nii.gz"},
    {".hdr", ".nii.gz"},    {".img", ".nii.gz"},    {".nrrd", ".nrrd"},     {".nhdr", ".nrrd"},
    {".mgh.gz", ".mgz"},    {".mgz", ".mgz"},       {".mgh", ".mgz"},
};

const char *vn_scan_name(const char *path, size_t *stem) {
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    if (!vn_name_ends(path, endings[i].ending)) continue;
    *stem = strlen(path) - strlen(endings[i].ending);
    return endings[i].result;
  }
  *stem = strlen(path);
  return NULL;
}

/* ---- what readers share ---- */

size_t vn_voxel_bytes(enum vn_voxel type) {
  static const unsigned char bytes[] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
  return bytes[type];
}

enum vn_status vn_scan_count(struct vn_scan *scan, struct vn_diag *diag) {
  size_t bytes;
  scan->elem_bytes = vn_voxel_bytes(scan->type);
  if (__builtin_mul_overflow(scan->dim[0], scan->dim[1], &scan->elems) ||
      __builtin_mul_overflow(scan->elems, scan->dim[2], &scan->elems) ||
      __builtin_mul_overflow(scan->elems, scan->volumes, &scan->elems) ||
      __builtin_mul_overflow(scan->elems, scan->elem_bytes, &bytes) || bytes > PTRDIFF_MAX)
    return vn_fail(diag, VN_E_FORMAT, "the header claims more voxels than can be counted");
  scan->data_bytes = bytes;
  return VN_OK;
}

enum vn_status vn_scan_size_check(const struct vn_scan *scan, const struct vn_stream *stream,
                                  struct vn_diag *diag) {
  const bool packed = scan->encoding == VN_ENCODING_GZIP;
  uint64_t need = scan->data_bytes, most = stream->file_bytes;
  if (scan->encoding == VN_ENCODING_TEXT) need = scan->elems; /* a digit each, at the least */
  most = most > scan->start ? most - scan->start : 0;
  if (packed && __builtin_mul_overflow(most, (uint64_t)DEFLATE_MOST, &most)) most = UINT64_MAX;
  if (__builtin_add_overflow(need, scan->skip, &need) || need > most)
    return vn_fail(diag, VN_E_FORMAT,
                   "truncated: the header promises %llu bytes of voxels, the file has %llu%s",
                   (unsigned long long)scan->data_bytes, (unsigned long long)stream->file_bytes,
                   packed ? " compressed" : "");
  if (scan->encoding == VN_ENCODING_RAW && most - need > TRAILING_MOST)
    return vn_fail(diag, VN_E_FORMAT, "the file holds %llu bytes more than its header describes",
                   (unsigned long long)(most - need));
  return VN_OK;
}

enum vn_status vn_scan_series(struct vn_scan *scan, size_t volumes, size_t before,
                              const char *where, struct vn_diag *diag) {
  if (!scan->series)
    return vn_fail(diag, VN_E_UNSUPPORTED, "%s: one volume is segmented at a time, split it first",
                   where);
  if (scan->volumes > 1)
    return vn_fail(diag, VN_E_UNSUPPORTED, "%s, each of which is a series of its own", where);
  scan->volumes = volumes;
  scan->before = before;
  return VN_OK;
}

double vn_affine_spacing(const double m[3][4], int j) {
  return sqrt(m[0][j] * m[0][j] + m[1][j] * m[1][j] + m[2][j] * m[2][j]);
}

/* mm. No scan is outside of these, and what is inside has its inverse, and is one in float32, too:
 * in every file that has this geometry. */
#define SPACING_LEAST 1e-9
#define SPACING_MOST  1e9
#define OFFSET_MOST   1e12

bool vn_affine_usable(const double m[3][4]) {
  double det = m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) -
               m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
               m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
  double volume = 1;
  for (int j = 0; j < 3; j++) {
    double spacing = vn_affine_spacing(m, j);
    if (!(spacing >= SPACING_LEAST && spacing <= SPACING_MOST && fabs(m[j][3]) <= OFFSET_MOST))
      return false;
    volume *= spacing;
  }
  return fabs(det) > 1e-6 * volume;
}

void vn_affine_plain(struct vn_scan *scan) {
  memset(scan->affine, 0, sizeof scan->affine);
  for (int i = 0; i < 3; i++) {
    scan->affine[i][i] = scan->spacing_mm[i];
    scan->affine[i][3] = -0.5 * scan->spacing_mm[i] * (double)(scan->dim[i] - 1);
  }
}

/* ---- open and close ---- */

static bool is_nifti(const unsigned char *b, size_t size) {
  static const unsigned char sizes[4][4] = {
      {0x5C, 1, 0, 0}, {0, 0, 1, 0x5C}, {0x1C, 2, 0, 0}, {0, 0, 2, 0x1C}};
  for (int i = 0; i < 4; i++)
    if (size >= 4 && memcmp(b, sizes[i], 4) == 0) return true;
  return false;
}

/* image: the name of a pair's voxels where the pair was named by it, or NULL. */
static enum vn_status header_open(const char *path, const char *image, struct vn_scan *scan,
                                  struct vn_diag *diag) {
  struct vn_stream stream;
  unsigned char bytes[sizeof(struct nifti_2_header)];
  size_t size;
  enum vn_status status = vn_stream_open(path, &stream, diag);
  if (status) return status;
  status = vn_stream_read(&stream, bytes, sizeof bytes, &size, diag);
  if (status == VN_OK) {
    scan->encoding = stream.gz ? VN_ENCODING_GZIP : VN_ENCODING_RAW;
    if (is_nifti(bytes, size))
      status = vn_nifti_open(path, image, bytes, size, &stream, scan, diag);
    else if (size >= 4 && memcmp(bytes, "NRRD", 4) == 0 && !stream.gz)
      status = vn_nrrd_open(path, &stream, scan, diag);
    else if (size >= 4 && memcmp(bytes, "\0\0\0\1", 4) == 0)
      status = vn_mgh_open(path, bytes, size, &stream, scan, diag);
    else
      status = vn_content_refuse(path, bytes, size, diag);
  }
  vn_stream_close(&stream);
  return status;
}

static enum vn_status file_open(const char *path, bool series, struct vn_scan **file,
                                struct vn_diag *diag) {
  struct vn_diag inner;
  *file = calloc(1, sizeof **file);
  if (!*file) return vn_fail(diag, VN_E_MEMORY, "%.200s: out of memory", path);
  (*file)->slope = 1;
  (*file)->volumes = 1;
  (*file)->before = 3;
  (*file)->series = series;
  char *header = NULL;
  const vn_float_mode host = vn_float_mode_enter_plain();
  enum vn_status status = vn_nifti_header_path(path, &header, &inner);
  const bool image = header && strcmp(header, path) != 0;
  if (!status) status = header_open(header, image ? path : NULL, *file, &inner);
  vn_float_mode_restore(host);
  free(header);
  if (status) vn_scan_close(file);
  return status ? vn_fail(diag, status, "%.200s: %.300s", path, inner.text) : VN_OK;
}

enum vn_status vn_scan_open(const char *path, struct vn_scan **file, struct vn_diag *diag) {
  return file_open(path, false, file, diag);
}

enum vn_status vn_scan_open_series(const char *path, struct vn_scan **file, struct vn_diag *diag) {
  return file_open(path, true, file, diag);
}

void vn_scan_close(struct vn_scan **file) {
  if (!file || !*file) return;
  free((*file)->voxels);
  free((*file)->voxel_path);
  free((*file)->nrrd.text);
  free(*file);
  *file = NULL;
}

/* ---- questions ---- */

size_t vn_scan_volumes(const struct vn_scan *file) {
  return file->volumes;
}

void vn_scan_volume(const struct vn_scan *file, size_t index, struct vn_image *image) {
  struct vn_image mine = {.type = VN_VOXEL_F32,
                          .world = file->unoriented ? VN_WORLD_UNKNOWN : VN_WORLD_RAS};
  size_t step = 1, apart = 1;
  memcpy(mine.dim, file->dim, sizeof mine.dim);
  memcpy(mine.affine, file->affine, sizeof mine.affine);
  for (size_t i = 0; i < 4; i++) {
    if (i == file->before) apart = step, step *= file->volumes;
    if (i == 3) break;
    mine.stride[i] = (ptrdiff_t)(step * sizeof(float));
    step *= file->dim[i];
  }
  if (file->voxels) mine.voxels = file->voxels + index * apart;
  if (file->volumes == 1) memset(mine.stride, 0, sizeof mine.stride); /* dense */
  vn_options_give(&mine, sizeof mine, image, "vn_image", NULL);
}

void vn_scan_image(const struct vn_scan *file, struct vn_image *image) {
  vn_scan_volume(file, 0, image);
}

bool vn_scan_is_labels(const struct vn_scan *file) {
  return file->labels;
}

const char *vn_scan_unoriented(const struct vn_scan *file) {
  return file->unoriented;
}

const char *vn_scan_note(const struct vn_scan *file) {
  return *file->note ? file->note : NULL;
}

const char *vn_scan_voxel_path(const struct vn_scan *file) {
  return file->voxel_path;
}

/* ---- geometry by hand ---- */

/* The world axis and the sign of each letter; false: not three letters for three axes. */
static bool letters_parse(const char *text, int axis[3], double sign[3]) {
  bool seen[3] = {false};
  for (int j = 0; j < 3; j++) {
    const char *letter = text[j] ? strchr("RLAPSI", toupper((unsigned char)text[j])) : NULL;
    if (!letter || seen[(letter - "RLAPSI") / 2]) return false;
    axis[j] = (int)(letter - "RLAPSI") / 2;
    sign[j] = (letter - "RLAPSI") % 2 ? -1 : 1;
    seen[axis[j]] = true;
  }
  return text[3] == '\0';
}

static enum vn_status geometry_set(struct vn_scan *file, const char *geometry,
                                   struct vn_diag *diag) {
  int axis[3];
  double sign[3];
  bool qform = strcmp(geometry, "qform") == 0;
  if (qform || strcmp(geometry, "sform") == 0) {
    if (file->format != VN_SCAN_NIFTI)
      return vn_fail(diag, VN_E_ARGUMENT, "has no %.10s: it is not a NIfTI file", geometry);
    return vn_nifti_form(file, qform, diag);
  }
  if (!letters_parse(geometry, axis, sign))
    return vn_fail(diag, VN_E_ARGUMENT,
                   "'%.20s' is not a geometry: sform, qform or where the axes point, such as RAS",
                   geometry);
  memset(file->affine, 0, sizeof file->affine);
  for (int j = 0; j < 3; j++) {
    double step = sign[j] * file->spacing_mm[j];
    file->affine[axis[j]][j] = step;
    file->affine[axis[j]][3] = -0.5 * step * (double)(file->dim[j] - 1);
  }
  return VN_OK;
}

enum vn_status vn_scan_set_geometry(struct vn_scan *file, const char *geometry,
                                    struct vn_diag *diag) {
  const vn_float_mode host = vn_float_mode_enter_plain();
  enum vn_status status = geometry_set(file, geometry, diag);
  vn_float_mode_restore(host);
  if (status) return status;
  file->unoriented = NULL;
  file->note[file->note_header] = '\0';
  return VN_OK;
}
