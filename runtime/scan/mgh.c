/* MGH and MGZ, FreeSurfer's own: a header of 284 bytes, voxels, and a footer that nobody needs
 * here; all of it big-endian. Reader and writer as mirrors. The affine is float32 all along, as
 * nibabel and FreeSurfer have it. */
#include "scan_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

/* Where the fields lie. */
enum {
  AT_VERSION = 0,
  AT_DIM = 4, /* width height depth frames */
  AT_TYPE = 20,
  AT_GOOD = 28,   /* int16: the rest means something */
  AT_DELTA = 30,  /* float32[3]: mm */
  AT_COSINE = 42, /* float32[3][3]: of i, j and k */
  AT_CENTRE = 78, /* float32[3]: of voxel dim / 2 */
};

static const struct {
  int code;
  enum vn_voxel type;
} types[] = {
    {0, VN_VOXEL_U8}, {1, VN_VOXEL_I32}, {3, VN_VOXEL_F32}, {4, VN_VOXEL_I16}, {10, VN_VOXEL_U16}};

static uint32_t u32_read(const unsigned char *b) {
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void u32_write(unsigned char *b, uint32_t value) {
  for (int i = 0; i < 4; i++) b[i] = (unsigned char)(value >> (24 - 8 * i));
}

static float f32_read(const unsigned char *b) {
  uint32_t bits = u32_read(b);
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static void f32_write(unsigned char *b, double value) {
  float narrow = (float)value;
  uint32_t bits;
  memcpy(&bits, &narrow, sizeof bits);
  u32_write(b, bits);
}

/* ---- in ---- */

static enum vn_status type_parse(const unsigned char *b, struct vn_scan *scan,
                                 struct vn_diag *diag) {
  uint32_t code = u32_read(b + AT_TYPE);
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    if ((uint32_t)types[i].code != code) continue;
    scan->type = types[i].type;
    return vn_scan_count(scan, diag);
  }
  return vn_fail(diag, VN_E_UNSUPPORTED,
                 "voxels of MGH type %u: mri_convert -odt float makes a scan of them", code);
}

static enum vn_status extents_parse(const unsigned char *b, struct vn_scan *scan,
                                    struct vn_diag *diag) {
  char where[80];
  for (int i = 0; i < 4; i++) {
    uint32_t dim = u32_read(b + AT_DIM + 4 * i);
    if (dim < 1 || dim > INT32_MAX)
      return vn_fail(diag, VN_E_FORMAT, "the header claims an extent of %d along axis %d", (int)dim,
                     i + 1);
    if (i == 3 && dim > 1) {
      snprintf(where, sizeof where, "a series of %u volumes", dim);
      return vn_scan_series(scan, dim, 3, where, diag);
    }
    if (i < 3) scan->dim[i] = dim;
  }
  return VN_OK;
}

/* Without goodRASFlag, FreeSurfer's default: coronal slices of 1 mm voxels around 0. */
static enum vn_status geometry_parse(const unsigned char *b, struct vn_scan *scan,
                                     struct vn_diag *diag) {
  static const float usual[3][3] = {{-1, 0, 0}, {0, 0, -1}, {0, 1, 0}};
  bool good = b[AT_GOOD] || b[AT_GOOD + 1];
  double middle[3];
  if (!good)
    vn_scan_note_add(scan, "its header does not say how it lies: FreeSurfer's default, coronal "
                           "slices of 1 mm, is taken");
  for (int i = 0; i < 3; i++) middle[i] = good ? f32_read(b + AT_CENTRE + 4 * i) : 0;
  for (int j = 0; j < 3; j++) {
    float delta = good ? f32_read(b + AT_DELTA + 4 * j) : 1;
    scan->spacing_mm[j] = fabs((double)delta);
    for (int i = 0; i < 3; i++) {
      float cosine = good ? f32_read(b + AT_COSINE + 12 * j + 4 * i) : usual[j][i];
      scan->affine[i][j] = cosine * delta; /* float, as in other readers */
    }
  }
  for (int i = 0; i < 3; i++) {
    scan->affine[i][3] = middle[i];
    for (int j = 0; j < 3; j++) scan->affine[i][3] -= scan->affine[i][j] * (double)scan->dim[j] / 2;
  }
  if (!vn_affine_usable(scan->affine))
    return vn_fail(diag, VN_E_FORMAT, "its directions or voxel sizes are not an invertible matrix");
  return VN_OK;
}

enum vn_status vn_mgh_open(const char *path, const unsigned char *bytes, size_t size,
                           struct vn_stream *stream, struct vn_scan *scan, struct vn_diag *diag) {
  scan->format = VN_SCAN_MGH;
  if (size < VN_MGH_BYTES)
    return vn_fail(diag, VN_E_FORMAT, "truncated: shorter than an MGH header");
  memcpy(scan->mgh, bytes, VN_MGH_BYTES);
  scan->swapped = __BYTE_ORDER__ != __ORDER_BIG_ENDIAN__;
  scan->skip = VN_MGH_BYTES;
  enum vn_status status = extents_parse(bytes, scan, diag);
  if (!status) status = type_parse(bytes, scan, diag);
  if (!status) status = geometry_parse(bytes, scan, diag);
  scan->note_header = 0; /* the one note there can be is about geometry */
  if (!status) status = vn_scan_size_check(scan, stream, diag);
  if (status) return status;
  scan->voxel_path = strdup(path);
  return scan->voxel_path ? VN_OK : vn_fail(diag, VN_E_MEMORY, "out of memory");
}

/* ---- out ---- */

static void geometry_print(const struct vn_image *grid, unsigned char *b) {
  b[AT_GOOD + 1] = 1;
  for (int i = 0; i < 3; i++) {
    const double spacing = vn_affine_spacing(grid->affine, i);
    double centre = grid->affine[i][3];
    for (int j = 0; j < 3; j++) {
      f32_write(b + AT_COSINE + 12 * i + 4 * j, grid->affine[j][i] / spacing);
      centre += grid->affine[i][j] * (double)grid->dim[j] / 2;
    }
    f32_write(b + AT_DELTA + 4 * i, spacing);
    f32_write(b + AT_CENTRE + 4 * i, centre);
  }
}

enum vn_status vn_mgh_head(const struct vn_result *result, struct vn_head *head,
                           struct vn_diag *diag) {
  if (!result->like && result->grid.world == VN_WORLD_UNKNOWN) /* FreeSurfer would take a default */
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "an MGH file says how it lies, and the scan does not: NIfTI or NRRD can do "
                   "without");
  unsigned char *b = calloc(1, VN_MGH_BYTES);
  if (!b) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  *head = (struct vn_head){
      .bytes = b, .size = VN_MGH_BYTES, .swap = __BYTE_ORDER__ != __ORDER_BIG_ENDIAN__};
  if (result->like)
    memcpy(b, result->like->mgh, VN_MGH_BYTES);
  else
    geometry_print(&result->grid, b);
  u32_write(b + AT_VERSION, 1);
  for (int i = 0; i < 3; i++) u32_write(b + AT_DIM + 4 * i, (uint32_t)result->grid.dim[i]);
  u32_write(b + AT_DIM + 12, result->series ? (uint32_t)result->series : 1);
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (types[i].type == result->type) u32_write(b + AT_TYPE, (uint32_t)types[i].code);
  return VN_OK;
}
