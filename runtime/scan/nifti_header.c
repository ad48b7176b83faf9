/* Header bytes to struct and back, and the doubts about them; see nifti_header.h. */
#include "nifti_header.h"

#include <math.h>
#include <string.h>

#include "fail.h"

enum type { I8, I16, I32, I64, F32, F64, TEXT };
static const size_t type_bytes[] = {1, 2, 4, 8, 4, 8, 1};

/* Where a field lives in each version. sizeof_hdr and magic differ in more than their place. */
struct field {
  size_t at1, at2, count;
  enum type type1, type2;
};
#define FIELD(name, type1, type2, count)                                                           \
  {                                                                                                \
    offsetof(struct nifti_1_header, name), offsetof(struct nifti_2_header, name), count, type1,    \
        type2                                                                                      \
  }
static const struct field fields[] = {
    FIELD(dim_info, TEXT, TEXT, 1),     FIELD(dim, I16, I64, 8),
    FIELD(intent_p1, F32, F64, 1),      FIELD(intent_p2, F32, F64, 1),
    FIELD(intent_p3, F32, F64, 1),      FIELD(intent_code, I16, I32, 1),
    FIELD(datatype, I16, I16, 1),       FIELD(bitpix, I16, I16, 1),
    FIELD(slice_start, I16, I64, 1),    FIELD(pixdim, F32, F64, 8),
    FIELD(vox_offset, F32, I64, 1),     FIELD(scl_slope, F32, F64, 1),
    FIELD(scl_inter, F32, F64, 1),      FIELD(slice_end, I16, I64, 1),
    FIELD(slice_code, I8, I32, 1),      FIELD(xyzt_units, I8, I32, 1),
    FIELD(cal_max, F32, F64, 1),        FIELD(cal_min, F32, F64, 1),
    FIELD(slice_duration, F32, F64, 1), FIELD(toffset, F32, F64, 1),
    FIELD(descrip, TEXT, TEXT, 80),     FIELD(aux_file, TEXT, TEXT, 24),
    FIELD(qform_code, I16, I32, 1),     FIELD(sform_code, I16, I32, 1),
    FIELD(quatern_b, F32, F64, 1),      FIELD(quatern_c, F32, F64, 1),
    FIELD(quatern_d, F32, F64, 1),      FIELD(qoffset_x, F32, F64, 1),
    FIELD(qoffset_y, F32, F64, 1),      FIELD(qoffset_z, F32, F64, 1),
    FIELD(srow_x, F32, F64, 4),         FIELD(srow_y, F32, F64, 4),
    FIELD(srow_z, F32, F64, 4),         FIELD(intent_name, TEXT, TEXT, 16),
};
#undef FIELD
static const char magic_tail[4] = {'\r', '\n', '\032', '\n'}; /* NIfTI-2, as in PNG */

/* Reading and writing one number of any type, carried by long double: it holds every int64 and
 * every double. */
static long double number_read(const unsigned char *from, enum type type, bool swap) {
  unsigned char raw[8];
  size_t bytes = type_bytes[type];
  for (size_t i = 0; i < bytes; i++) raw[i] = from[swap ? bytes - 1 - i : i];
#define AS(T)                                                                                      \
  {                                                                                                \
    T value;                                                                                       \
    memcpy(&value, raw, sizeof value);                                                             \
    return value;                                                                                  \
  }
  switch (type) {
  case I16:
    AS(int16_t)
  case I32:
    AS(int32_t)
  case I64:
    AS(int64_t)
  case F32:
    AS(float)
  case F64:
    AS(double)
  default:
    AS(int8_t)
  }
#undef AS
}

static void number_write(unsigned char *to, enum type type, long double number) {
  /* NIfTI-1 keeps an offset as float: what no integer can hold becomes one that is refused. */
  bool whole = number >= -0x1p63L && number < 0x1p63L;
  int64_t integer = whole ? (int64_t)number : -1;
  switch (type) {
  case I16:
    memcpy(to, &(int16_t){(int16_t)integer}, 2);
    break;
  case I32:
    memcpy(to, &(int32_t){(int32_t)integer}, 4);
    break;
  case I64:
    memcpy(to, &integer, 8);
    break;
  case F32:
    memcpy(to, &(float){(float)number}, 4);
    break;
  case F64:
    memcpy(to, &(double){(double)number}, 8);
    break;
  default:
    *to = (unsigned char)integer;
  }
}

static void fields_read(const unsigned char *bytes, bool swapped, struct vn_nifti *nifti) {
  unsigned char *to = (unsigned char *)&nifti->field;
  for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
    const struct field *field = &fields[f];
    size_t at = nifti->version == 1 ? field->at1 : field->at2;
    enum type type = nifti->version == 1 ? field->type1 : field->type2;
    for (size_t i = 0; i < field->count; i++)
      number_write(to + field->at2 + i * type_bytes[field->type2], field->type2,
                   number_read(bytes + at + i * type_bytes[type], type, swapped));
  }
}

size_t vn_nifti_print(const struct vn_nifti *nifti, unsigned char bytes[VN_NIFTI_MOST]) {
  const unsigned char *from = (const unsigned char *)&nifti->field;
  size_t size = nifti->version == 1 ? sizeof(struct nifti_1_header) : sizeof(struct nifti_2_header);
  memset(bytes, 0, VN_NIFTI_MOST);
  for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
    const struct field *field = &fields[f];
    size_t at = nifti->version == 1 ? field->at1 : field->at2;
    enum type type = nifti->version == 1 ? field->type1 : field->type2;
    for (size_t i = 0; i < field->count; i++)
      number_write(
          bytes + at + i * type_bytes[type], type,
          number_read(from + field->at2 + i * type_bytes[field->type2], field->type2, false));
  }
  number_write(bytes, I32, (long double)size);
  if (nifti->version == 1) {
    memcpy(bytes + offsetof(struct nifti_1_header, magic), "n+1", 4);
  } else {
    unsigned char *magic = bytes + offsetof(struct nifti_2_header, magic);
    memcpy(magic, "n+2", 4);
    memcpy(magic + 4, magic_tail, 4);
  }
  return size + 4;
}

static enum vn_status magic_parse(const unsigned char *bytes, size_t size, struct vn_scan *scan,
                                  struct vn_diag *diag) {
  struct vn_nifti *nifti = &scan->nifti;
  if (size < sizeof(struct nifti_1_header))
    return vn_fail(diag, VN_E_FORMAT, "truncated: shorter than a NIfTI header");
  for (int swap = 0; swap < 2; swap++) { /* scan_open.c has seen that one of these is there */
    long double claimed = number_read(bytes, I32, swap);
    nifti->version = claimed == 348 ? 1 : claimed == 540 ? 2 : 0;
    scan->swapped = swap;
    if (nifti->version) break;
  }
  const unsigned char *magic =
      bytes + (nifti->version == 1 ? offsetof(struct nifti_1_header, magic)
                                   : offsetof(struct nifti_2_header, magic));
  char digit = (char)('0' + nifti->version);
  bool legal =
      magic[0] == 'n' && (magic[1] == '+' || magic[1] == 'i') && magic[2] == digit && magic[3] == 0;
  if (nifti->version == 1 && memcmp(magic, "\0\0\0", 4) == 0)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "an Analyze 7.5 file, which does not say left from right: convert it to NIfTI");
  if (nifti->version == 2 &&
      (size < sizeof(struct nifti_2_header) || memcmp(magic + 4, magic_tail, 4)))
    legal = false;
  if (!legal) return vn_fail(diag, VN_E_FORMAT, "not a NIfTI file: wrong signature");
  nifti->pair = magic[1] == 'i';
  return VN_OK;
}

/* Axes beyond the third that have no extent are as good as not there: niftiio takes them so. */
static enum vn_status extents_parse(struct vn_scan *scan, struct vn_diag *diag) {
  int64_t *dim = scan->nifti.field.dim, axes = dim[0];
  char where[80];
  if (axes < 1 || axes > 7)
    return vn_fail(diag, VN_E_FORMAT, "the header claims %lld axes", (long long)axes);
  for (int i = 1; i <= 7; i++) {
    if (i > axes) dim[i] = 1;
    if (i > 3 && dim[i] < 1) {
      vn_scan_note_add(scan, "its header claims an extent of %lld along axis %d: 1 is taken",
                       (long long)dim[i], i);
      dim[i] = 1;
    }
    if (dim[i] < 1 || (uint64_t)dim[i] > SIZE_MAX)
      return vn_fail(diag, VN_E_FORMAT, "the header claims an extent of %lld along axis %d",
                     (long long)dim[i], i);
    if (i > 3 && dim[i] > 1) {
      snprintf(where, sizeof where, "a series of %lld volumes along axis %d", (long long)dim[i], i);
      enum vn_status status = vn_scan_series(scan, (size_t)dim[i], 3, where, diag);
      if (status) return status;
    }
    if (i <= 3) scan->dim[i - 1] = (size_t)dim[i];
  }
  return VN_OK;
}

/* The datatype says all; bitpix, which repeats it, is wrong in files that everybody reads. */
static enum vn_status type_parse(struct vn_scan *scan, struct vn_diag *diag) {
  static const struct {
    int code;
    enum vn_voxel type;
    const char *refusal;
  } types[] = {
      {NIFTI_TYPE_UINT8, VN_VOXEL_U8, NULL},
      {NIFTI_TYPE_INT16, VN_VOXEL_I16, NULL},
      {NIFTI_TYPE_INT32, VN_VOXEL_I32, NULL},
      {NIFTI_TYPE_FLOAT32, VN_VOXEL_F32, NULL},
      {NIFTI_TYPE_FLOAT64, VN_VOXEL_F64, NULL},
      {NIFTI_TYPE_INT8, VN_VOXEL_I8, NULL},
      {NIFTI_TYPE_UINT16, VN_VOXEL_U16, NULL},
      {NIFTI_TYPE_UINT32, VN_VOXEL_U32, NULL},
      {NIFTI_TYPE_INT64, VN_VOXEL_I64, NULL},
      {NIFTI_TYPE_UINT64, VN_VOXEL_U64, NULL},
      {NIFTI_TYPE_COMPLEX64, 0, "complex voxels: take the magnitude first"},
      {NIFTI_TYPE_COMPLEX128, 0, "complex voxels: take the magnitude first"},
      {NIFTI_TYPE_COMPLEX256, 0, "complex voxels: take the magnitude first"},
      {NIFTI_TYPE_RGB24, 0, "colour voxels: a picture of a scan, not a scan"},
      {NIFTI_TYPE_RGBA32, 0, "colour voxels: a picture of a scan, not a scan"},
      {NIFTI_TYPE_FLOAT128, 0, "128-bit float voxels: convert them to float32"},
      {1, 0, "1-bit voxels: convert them to uint8"},
  };
  struct nifti_2_header *field = &scan->nifti.field;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    if (types[i].code != field->datatype) continue;
    if (types[i].refusal) return vn_fail(diag, VN_E_UNSUPPORTED, "%s", types[i].refusal);
    scan->type = types[i].type;
    enum vn_status status = vn_scan_count(scan, diag);
    if (!status && field->bitpix != (int)(8 * scan->elem_bytes))
      vn_scan_note_add(scan, "its bitpix is %d: datatype %d takes %zu bits", field->bitpix,
                       field->datatype, 8 * scan->elem_bytes);
    return status;
  }
  return vn_fail(diag, VN_E_FORMAT, "datatype %d does not exist", field->datatype);
}

/* Slope 0 means unscaled (the standard), NaN too (what nibabel writes and reads for it). */
static enum vn_status scaling_parse(struct vn_scan *scan, struct vn_diag *diag) {
  scan->slope = scan->nifti.field.scl_slope;
  scan->inter = scan->nifti.field.scl_inter;
  if (isinf(scan->slope))
    vn_scan_note_add(scan, "its scl_slope is infinite: voxels are not scaled");
  if (scan->slope == 0 || !isfinite(scan->slope)) {
    scan->slope = 1;
    scan->inter = 0;
  }
  if (!isfinite(scan->inter)) return vn_fail(diag, VN_E_FORMAT, "scl_inter is not finite");
  return VN_OK;
}

enum vn_status vn_nifti_parse(const unsigned char *bytes, size_t size, struct vn_scan *scan,
                              struct vn_diag *diag) {
  struct vn_nifti *nifti = &scan->nifti;
  enum vn_status status = magic_parse(bytes, size, scan, diag);
  if (status) return status;
  fields_read(bytes, scan->swapped, nifti);
  if ((status = extents_parse(scan, diag)) || (status = type_parse(scan, diag)) ||
      (status = scaling_parse(scan, diag)))
    return status;
  /* Some writers leave 0 in a single file: the voxels then follow the header. */
  int64_t *offset = &nifti->field.vox_offset, least = nifti->version == 1 ? 352 : 544;
  if (!nifti->pair && *offset == 0) *offset = least;
  if (*offset < (nifti->pair ? 0 : least))
    return vn_fail(diag, VN_E_FORMAT, "the header claims voxels at byte %lld", (long long)*offset);
  scan->skip = (uint64_t)*offset;
  scan->labels = nifti->field.intent_code == NIFTI_INTENT_LABEL;
  return VN_OK;
}
