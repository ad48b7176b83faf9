/* Decodes TensorProtos (onnx_tensor.h). Sizes are checked against the bytes that are there before
 * anything is allocated, so that a small file cannot ask for terabytes. */
#include "onnx_tensor.h"

#include "onnx_scan.h"

#include <stdlib.h>
#include <string.h>

enum {
  FLOAT = 1,
  UINT8,
  INT8,
  UINT16,
  INT16,
  INT32,
  INT64,
  BOOL = 9,
  FLOAT16,
  DOUBLE,
  UINT32,
  UINT64,
  BFLOAT16 = 16
};
static const uint64_t MOST_ELEMS = (uint64_t)1 << 33;

void vnc_tensor_free(struct vnc_tensor *t) {
  free(t->f);
  free(t->i);
  memset(t, 0, sizeof *t);
}

bool vnc_tensor_alloc(struct vnc_tensor *t, bool is_float, size_t rank, const uint64_t *dim) {
  memset(t, 0, sizeof *t);
  if (rank > VNC_TENSOR_RANK) return false;
  t->is_float = is_float;
  t->rank = rank;
  t->elems = 1;
  for (size_t i = 0; i < rank; i++) {
    t->dim[i] = dim[i];
    if (dim[i] && t->elems > MOST_ELEMS / dim[i]) return false;
    t->elems *= dim[i];
  }
  if (is_float)
    t->f = calloc(t->elems + 1, sizeof *t->f);
  else
    t->i = calloc(t->elems + 1, sizeof *t->i);
  return t->f || t->i;
}

bool vnc_tensor_copy(struct vnc_tensor *to, const struct vnc_tensor *from) {
  if (!vnc_tensor_alloc(to, from->is_float, from->rank, from->dim)) return false;
  if (to->f)
    memcpy(to->f, from->f, from->elems * sizeof *to->f);
  else
    memcpy(to->i, from->i, from->elems * sizeof *to->i);
  return true;
}

double vnc_tensor_at(const struct vnc_tensor *t, uint64_t index) {
  return t->is_float ? (double)t->f[index] : (double)t->i[index];
}

void vnc_tensor_set(struct vnc_tensor *t, uint64_t index, double value) {
  if (t->is_float)
    t->f[index] = (float)value;
  else
    t->i[index] = value >= 0x1p63   ? INT64_MAX
                  : value > -0x1p63 ? (int64_t)value
                                    : INT64_MIN; /* NaN, too */
}

/* ---- one element ---- */

static float float_of_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* IEEE 754 binary16. */
static float half(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 1023;
  if (exponent == 31) return float_of_bits(sign | 0x7f800000u | fraction << 13);
  if (exponent) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
  float tiny = (float)fraction * 0x1p-24f;
  return sign ? -tiny : tiny;
}

static size_t width(int32_t type) {
  switch (type) {
  case UINT8:
  case INT8:
  case BOOL:
    return 1;
  case UINT16:
  case INT16:
  case FLOAT16:
  case BFLOAT16:
    return 2;
  case FLOAT:
  case INT32:
  case UINT32:
    return 4;
  case INT64:
  case DOUBLE:
  case UINT64:
    return 8;
  default:
    return 0;
  }
}

bool vnc_onnx_type_real(int32_t type) {
  return type == FLOAT || type == FLOAT16 || type == BFLOAT16 || type == DOUBLE;
}

bool vnc_onnx_type_known(int32_t type) {
  return width(type) && type != BOOL;
}

const char *vnc_onnx_type_text(int32_t type) {
  static const char *const text[] = {
      "none",           "float32",  "uint8",        "int8",           "uint16",
      "int16",          "int32",    "int64",        "string",         "bool",
      "float16",        "float64",  "uint32",       "uint64",         "complex64",
      "complex128",     "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2",
      "float8e5m2fnuz", "uint4",    "int4",         "float4e2m1",     "float8e8m0",
      "uint2",          "int2"};
  return type >= 0 && (size_t)type < sizeof text / sizeof *text ? text[type] : "unknown";
}

/* Element `k` of little-endian raw bytes. */
static void set_raw(struct vnc_tensor *t, int32_t type, const uint8_t *bytes, uint64_t k) {
  uint64_t v = 0;
  size_t n = width(type);
  for (size_t b = 0; b < n; b++) v |= (uint64_t)bytes[k * n + b] << (8 * b);
  double d;
  switch (type) {
  case FLOAT:
    t->f[k] = float_of_bits((uint32_t)v);
    break;
  case FLOAT16:
    t->f[k] = half((uint16_t)v);
    break;
  case BFLOAT16:
    t->f[k] = float_of_bits((uint32_t)v << 16);
    break;
  case DOUBLE:
    memcpy(&d, &v, sizeof d);
    t->f[k] = (float)d;
    break;
  case INT8:
    t->i[k] = (int8_t)v;
    break;
  case INT16:
    t->i[k] = (int16_t)v;
    break;
  case INT32:
    t->i[k] = (int32_t)v;
    break;
  case BOOL:
    t->i[k] = v != 0;
    break;
  default:
    t->i[k] = (int64_t)v;
  }
}

static void set_all_raw(struct vnc_tensor *t, int32_t type, const uint8_t *bytes) {
  if (type == FLOAT && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
    memcpy(t->f, bytes, t->elems * sizeof *t->f);
    return;
  }
  for (uint64_t k = 0; k < t->elems; k++) set_raw(t, type, bytes, k);
}

/* ---- typed fields ---- */

static size_t typed_count(const Onnx__TensorProto *p) {
  switch (p->data_type) {
  case FLOAT:
    return p->n_float_data;
  case DOUBLE:
    return p->n_double_data;
  case INT64:
    return p->n_int64_data;
  case UINT32:
  case UINT64:
    return p->n_uint64_data;
  default:
    return p->n_int32_data;
  }
}

static void set_typed(struct vnc_tensor *t, const Onnx__TensorProto *p, uint64_t k) {
  switch (p->data_type) {
  case FLOAT:
    t->f[k] = p->float_data[k];
    break;
  case DOUBLE:
    t->f[k] = (float)p->double_data[k];
    break;
  case INT64:
    t->i[k] = p->int64_data[k];
    break;
  case UINT32:
  case UINT64:
    t->i[k] = (int64_t)p->uint64_data[k];
    break;
  case FLOAT16:
    t->f[k] = half((uint16_t)p->int32_data[k]);
    break;
  case BFLOAT16:
    t->f[k] = float_of_bits((uint32_t)p->int32_data[k] << 16);
    break;
  case BOOL:
    t->i[k] = p->int32_data[k] != 0;
    break;
  default:
    t->i[k] = p->int32_data[k];
  }
}

/* ---- the tensor ---- */

static enum vn_status shape_of(const Onnx__TensorProto *p, const char *what, uint64_t *dim,
                               uint64_t *elems, struct vn_diag *diag) {
  if (!width(p->data_type))
    return vn_fail(
        diag, VN_E_UNSUPPORTED,
        "weight '%.200s' is of type %s; floats and integers of 8 bits and more are taken", what,
        vnc_onnx_type_text(p->data_type));
  if (p->n_dims > VNC_TENSOR_RANK)
    return vn_fail(diag, VN_E_UNSUPPORTED, "weight '%.200s' has more than 8 dimensions", what);
  *elems = 1;
  for (size_t i = 0; i < p->n_dims; i++) {
    if (p->dims[i] < 0 || (p->dims[i] && *elems > MOST_ELEMS / (uint64_t)p->dims[i]))
      return vn_fail(diag, VN_E_FORMAT, "weight '%.200s' has an impossible shape", what);
    dim[i] = (uint64_t)p->dims[i];
    *elems *= dim[i];
  }
  return VN_OK;
}

static enum vn_status too_short(const char *what, struct vn_diag *diag) {
  return vn_fail(diag, VN_E_FORMAT, "weight '%.200s': its data and its shape differ in size", what);
}

bool vnc_tensor_outside(const Onnx__TensorProto *p) {
  return p->n_external_data || p->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

enum vn_status vnc_tensor_decode(const Onnx__TensorProto *p, const struct vnc_source *source,
                                 const char *what, struct vnc_tensor *t, struct vn_diag *diag) {
  uint64_t dim[VNC_TENSOR_RANK], elems = 0;
  uint8_t *external = NULL;
  struct vnc_raw raw = {0, 0};
  memset(t, 0, sizeof *t);
  enum vn_status status = shape_of(p, what, dim, &elems, diag);
  if (status) return status;
  uint64_t bytes = elems * width(p->data_type);
  bool outside = vnc_tensor_outside(p);
  if (outside) {
    status = vnc_external_read(p, source, what, bytes, &external, diag);
    if (status) return status;
  } else if (p->has_raw_data) {
    if (p->raw_data.len != sizeof raw) return too_short(what, diag);
    memcpy(&raw, p->raw_data.data, sizeof raw);
    if (raw.bytes != bytes || raw.offset > source->file_bytes ||
        raw.bytes > source->file_bytes - raw.offset)
      return too_short(what, diag);
  } else if (typed_count(p) != elems) {
    return too_short(what, diag);
  }
  if (!vnc_tensor_alloc(t, vnc_onnx_type_real(p->data_type), p->n_dims, dim)) {
    free(external);
    return vn_fail(diag, VN_E_MEMORY, "out of memory for weight '%.200s'", what);
  }
  if (outside)
    set_all_raw(t, p->data_type, external);
  else if (p->has_raw_data)
    set_all_raw(t, p->data_type, source->file + raw.offset);
  else
    for (uint64_t k = 0; k < elems; k++) set_typed(t, p, k);
  free(external);
  return VN_OK;
}
