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

static void fields_read(const unsigned char *bytes, struct vn_header *header) {
  unsigned char *to = (unsigned char *)&header->field;
  for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
    const struct field *field = &fields[f];
    size_t at = header->version == 1 ? field->at1 : field->at2;
    enum type type = header->version == 1 ? field->type1 : field->type2;
    for (size_t i = 0; i < field->count; i++)
      number_write(to + field->at2 + i * type_bytes[field->type2], field->type2,
                   number_read(bytes + at + i * type_bytes[type], type, header->swapped));
  }
}

size_t vn_header_print(const struct vn_header *header, unsigned char bytes[VN_HEADER_MOST]) {
  const unsigned char *from = (const unsigned char *)&header->field;
  size_t size =
      header->version == 1 ? sizeof(struct nifti_1_header) : sizeof(struct nifti_2_header);
  memset(bytes, 0, VN_HEADER_MOST);
  for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
    const struct field *field = &fields[f];
    size_t at = header->version == 1 ? field->at1 : field->at2;
    enum type type = header->version == 1 ? field->type1 : field->type2;
    for (size_t i = 0; i < field->count; i++)
      number_write(
          bytes + at + i * type_bytes[type], type,
          number_read(from + field->at2 + i * type_bytes[field->type2], field->type2, false));
  }
  number_write(bytes, I32, (long double)size);
  if (header->version == 1) {
    memcpy(bytes + offsetof(struct nifti_1_header, magic), "n+1", 4);
  } else {
    unsigned char *magic = bytes + offsetof(struct nifti_2_header, magic);
    memcpy(magic, "n+2", 4);
    memcpy(magic + 4, magic_tail, 4);
  }
  return size + 4;
}

static enum vn_status magic_parse(const unsigned char *bytes, size_t size, struct vn_header *header,
                                  struct vn_diag *diag) {
  if (size < sizeof(struct nifti_1_header))
    return vn_fail(diag, VN_E_FORMAT, "not a NIfTI file: shorter than a header");
  for (int swap = 0; swap < 2; swap++) {
    long double claimed = number_read(bytes, I32, swap);
    header->version = claimed == 348 ? 1 : claimed == 540 ? 2 : 0;
    header->swapped = swap;
    if (header->version) break;
  }
  if (header->version == 0)
    return vn_fail(diag, VN_E_FORMAT, "not a NIfTI file: its first bytes name neither version");
  const unsigned char *magic =
      bytes + (header->version == 1 ? offsetof(struct nifti_1_header, magic)
                                    : offsetof(struct nifti_2_header, magic));
  char digit = (char)('0' + header->version);
  bool legal =
      magic[0] == 'n' && (magic[1] == '+' || magic[1] == 'i') && magic[2] == digit && magic[3] == 0;
  if (header->version == 1 && memcmp(magic, "\0\0\0", 4) == 0)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "an Analyze 7.5 file, which does not say left from right: convert it to NIfTI");
  if (header->version == 2 &&
      (size < sizeof(struct nifti_2_header) || memcmp(magic + 4, magic_tail, 4)))
    legal = false;
  if (!legal) return vn_fail(diag, VN_E_FORMAT, "not a NIfTI file: wrong signature");
  header->pair = magic[1] == 'i';
  return VN_OK;
}

static enum vn_status extents_parse(struct vn_header *header, struct vn_diag *diag) {
  int64_t *dim = header->field.dim, axes = dim[0];
  if (axes < 1 || axes > 7)
    return vn_fail(diag, VN_E_FORMAT, "the header claims %lld axes", (long long)axes);
  header->elems = 1;
  for (int i = 1; i <= 7; i++) {
    if (i > axes) dim[i] = 1;
    if (dim[i] < 1)
      return vn_fail(diag, VN_E_FORMAT, "the header claims an extent of %lld along axis %d",
                     (long long)dim[i], i);
    if (i > 3 && dim[i] > 1)
      return vn_fail(diag, VN_E_UNSUPPORTED,
                     "a series of %lld volumes along axis %d: one volume is segmented at a time, "
                     "split it first",
                     (long long)dim[i], i);
    if (i > 3) continue;
    header->dim[i - 1] = (size_t)dim[i];
    if ((uint64_t)dim[i] > SIZE_MAX ||
        __builtin_mul_overflow(header->elems, header->dim[i - 1], &header->elems))
      return vn_fail(diag, VN_E_FORMAT, "the header claims more voxels than can be counted");
  }
  return VN_OK;
}

static enum vn_status type_parse(struct vn_header *header, struct vn_diag *diag) {
  static const struct {
    int code, bits;
    const char *refusal;
  } types[] = {
      {NIFTI_TYPE_UINT8, 8, NULL},
      {NIFTI_TYPE_INT16, 16, NULL},
      {NIFTI_TYPE_INT32, 32, NULL},
      {NIFTI_TYPE_FLOAT32, 32, NULL},
      {NIFTI_TYPE_FLOAT64, 64, NULL},
      {NIFTI_TYPE_INT8, 8, NULL},
      {NIFTI_TYPE_UINT16, 16, NULL},
      {NIFTI_TYPE_UINT32, 32, NULL},
      {NIFTI_TYPE_INT64, 64, NULL},
      {NIFTI_TYPE_UINT64, 64, NULL},
      {NIFTI_TYPE_COMPLEX64, 64, "complex voxels: take the magnitude first"},
      {NIFTI_TYPE_COMPLEX128, 128, "complex voxels: take the magnitude first"},
      {NIFTI_TYPE_COMPLEX256, 256, "complex voxels: take the magnitude first"},
      {NIFTI_TYPE_RGB24, 24, "colour voxels: a picture of a scan, not a scan"},
      {NIFTI_TYPE_RGBA32, 32, "colour voxels: a picture of a scan, not a scan"},
      {NIFTI_TYPE_FLOAT128, 128, "128-bit float voxels: convert them to float32"},
      {1, 1, "1-bit voxels: convert them to uint8"},
  };
  int code = header->field.datatype;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    if (types[i].code != code) continue;
    if (types[i].refusal) return vn_fail(diag, VN_E_UNSUPPORTED, "%s", types[i].refusal);
    if (header->field.bitpix != types[i].bits)
      return vn_fail(diag, VN_E_FORMAT, "datatype %d takes %d bits, the header claims %d", code,
                     types[i].bits, header->field.bitpix);
    header->elem_bytes = (size_t)types[i].bits / 8;
    if (__builtin_mul_overflow(header->elems, header->elem_bytes, &header->data_bytes))
      return vn_fail(diag, VN_E_FORMAT, "the header claims more voxels than can be counted");
    return VN_OK;
  }
  return vn_fail(diag, VN_E_FORMAT, "datatype %d does not exist", code);
}

/* Slope 0 means unscaled (the standard), NaN too (what nibabel writes and reads for it). */
static enum vn_status scaling_parse(struct vn_header *header, struct vn_diag *diag) {
  header->slope = header->field.scl_slope;
  header->inter = header->field.scl_inter;
  if (header->slope == 0 || isnan(header->slope)) {
    header->slope = 1;
    header->inter = 0;
  }
  if (!isfinite(header->slope) || !isfinite(header->inter))
    return vn_fail(diag, VN_E_FORMAT, "scl_slope or scl_inter is not finite");
  return VN_OK;
}

enum vn_status vn_header_parse(const unsigned char *bytes, size_t size, struct vn_header *header,
                               struct vn_diag *diag) {
  memset(header, 0, sizeof *header);
  enum vn_status status = magic_parse(bytes, size, header, diag);
  if (status) return status;
  fields_read(bytes, header);
  if ((status = extents_parse(header, diag)) || (status = type_parse(header, diag)) ||
      (status = scaling_parse(header, diag)))
    return status;
  /* Some writers leave 0 in a single file: the voxels then follow the header. */
  int64_t *offset = &header->field.vox_offset, least = header->version == 1 ? 352 : 544;
  if (!header->pair && *offset == 0) *offset = least;
  if (*offset < (header->pair ? 0 : least))
    return vn_fail(diag, VN_E_FORMAT, "the header claims voxels at byte %lld", (long long)*offset);
  return VN_OK;
}
