/* Reader and writer of .npy files as mirrors; see npy.h. */
#include "npy.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "fail.h"
#include "input.h"
#include "part.h"

static const char magic[6] = "\x93NUMPY";
enum { HEADER_MOST = 65536 };

static size_t type_bytes(enum vn_type type) {
  return type == VN_TYPE_F32 ? 4 : 8;
}

/* The text after `'key':` and blanks; NULL when the key is missing. */
static const char *dict_value(const char *dict, const char *key) {
  char quoted[32];
  snprintf(quoted, sizeof quoted, "'%s'", key);
  const char *at = strstr(dict, quoted);
  if (!at) return NULL;
  at += strlen(quoted);
  at += strspn(at, " ");
  return *at == ':' ? at + 1 + strspn(at + 1, " ") : NULL;
}

static enum vn_status shape_parse(const char *at, struct npy *array, struct vn_diag *diag) {
  if (!at || *at++ != '(') return vn_fail(diag, VN_E_FORMAT, "header lacks a shape");
  array->elems = 1;
  for (at += strspn(at, " "); *at != ')'; at += strspn(at, " ")) {
    if (array->rank == NPY_MAX_RANK)
      return vn_fail(diag, VN_E_UNSUPPORTED, "more than %d axes", NPY_MAX_RANK);
    char *end;
    errno = 0;
    unsigned long long dim = isdigit((unsigned char)*at) ? strtoull(at, &end, 10) : 0;
    if (!isdigit((unsigned char)*at) || errno || dim > SIZE_MAX ||
        __builtin_mul_overflow(array->elems, (size_t)dim, &array->elems))
      return vn_fail(diag, VN_E_FORMAT, "header has a shape that makes no sense");
    array->dim[array->rank++] = (size_t)dim;
    at = end + strspn(end, " ");
    if (*at == ',')
      at++;
    else if (*at != ')')
      return vn_fail(diag, VN_E_FORMAT, "header has a shape that makes no sense");
  }
  return VN_OK;
}

/* ---- element types ---- */

static uint64_t little(const unsigned char *at, size_t bytes) {
  uint64_t bits = 0;
  for (size_t i = bytes; i-- > 0;) bits = bits << 8 | at[i];
  return bits;
}

static float f16(const unsigned char *at) {
  const unsigned bits = (unsigned)little(at, 2), exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 31) return fraction ? NAN : sign * INFINITY;
  return sign * ldexpf((float)(exponent ? fraction + 1024 : fraction),
                       (int)(exponent ? exponent : 1) - 25);
}

static float f64(const unsigned char *at) {
  const uint64_t bits = little(at, 8);
  double value;
  memcpy(&value, &bits, sizeof value);
  return (float)value;
}

#define INTEGER(name, type)                                                                        \
  static float name(const unsigned char *at) {                                                     \
    return (float)(type)little(at, sizeof(type));                                                  \
  }
INTEGER(u8, uint8_t)
INTEGER(i8, int8_t)
INTEGER(u16, uint16_t)
INTEGER(i16, int16_t)
INTEGER(u32, uint32_t)
INTEGER(i32, int32_t)
INTEGER(u64, uint64_t)

static const struct element {
  const char *descr;
  size_t bytes;
  float (*value)(const unsigned char *at); /* NULL: kept as it is */
} elements[] = {{"<f4", 4, NULL}, {"<i8", 8, NULL}, {"<f2", 2, f16}, {"<f8", 8, f64},
                {"|u1", 1, u8},   {"|i1", 1, i8},   {"|b1", 1, u8},  {"<u2", 2, u16},
                {"<i2", 2, i16},  {"<u4", 4, u32},  {"<i4", 4, i32}, {"<u8", 8, u64}};

static const struct element *element_of(const char *text) {
  for (size_t i = 0; *text == '\'' && i < sizeof elements / sizeof *elements; i++)
    if (strncmp(text + 1, elements[i].descr, 3) == 0 && text[4] == '\'') return &elements[i];
  return NULL;
}

/* Numbers of another type become floats. */
static enum vn_status convert(struct npy *array, const struct element *element,
                              struct vn_diag *diag) {
  const unsigned char *from = array->data;
  if (!element->value) return VN_OK;
  float *to = malloc((array->elems + 1) * sizeof *to);
  if (!to) return vn_fail(diag, VN_E_MEMORY, "out of memory for %zu numbers", array->elems);
  for (size_t i = 0; i < array->elems; i++) to[i] = element->value(from + i * element->bytes);
  free(array->data);
  array->data = to;
  return VN_OK;
}

/* ---- the header ---- */

static enum vn_status dict_parse(const char *dict, struct npy *array,
                                 const struct element **element, struct vn_diag *diag) {
  const char *type = dict_value(dict, "descr"), *order = dict_value(dict, "fortran_order");
  if (!type || !order) return vn_fail(diag, VN_E_FORMAT, "header lacks 'descr' or 'fortran_order'");
  *element = element_of(type);
  if (!*element)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "element type %.*s: little-endian floats and integers are read",
                   (int)strcspn(type, ",}"), type);
  array->type = *element == &elements[1] ? VN_TYPE_I64 : VN_TYPE_F32;
  if (strncmp(order, "False", 5))
    return vn_fail(diag, VN_E_UNSUPPORTED, "Fortran order: save it with numpy.ascontiguousarray");
  return shape_parse(dict_value(dict, "shape"), array, diag);
}

/* Reads up to the first element and says how many bytes that were. */
static enum vn_status header_read(FILE *file, struct npy *array, const struct element **element,
                                  uint64_t *used, struct vn_diag *diag) {
  unsigned char head[12];
  if (fread(head, 1, 8, file) != 8 || memcmp(head, magic, sizeof magic))
    return vn_fail(diag, VN_E_FORMAT, "not a .npy file");
  size_t field = head[6] == 1 ? 2 : 4;
  if (head[6] != 1 && head[6] != 2)
    return vn_fail(diag, VN_E_UNSUPPORTED, ".npy version %u: only 1 and 2 are read", head[6]);
  if (fread(head + 8, 1, field, file) != field) return vn_fail(diag, VN_E_FORMAT, "truncated");
  size_t length = head[8] | (size_t)head[9] << 8;
  if (field == 4) length |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
  if (length > HEADER_MOST)
    return vn_fail(diag, VN_E_FORMAT, "a header of %zu bytes makes no sense", length);
  char *dict = malloc(length + 1);
  if (!dict) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  enum vn_status status = VN_OK;
  if (fread(dict, 1, length, file) != length)
    status = vn_fail(diag, VN_E_FORMAT, "truncated");
  else {
    dict[length] = '\0';
    status = dict_parse(dict, array, element, diag);
  }
  free(dict);
  *used = 8 + field + length;
  return status;
}

static enum vn_status file_read(FILE *file, struct npy *array, struct vn_diag *diag) {
  struct stat info;
  if (fstat(fileno(file), &info) || !S_ISREG(info.st_mode)) /* its size must be known */
    return vn_fail(diag, VN_E_IO, "not a regular file");
  uint64_t used = 0;
  const struct element *element = NULL;
  enum vn_status status = header_read(file, array, &element, &used, diag);
  if (status) return status;
  size_t bytes;
  if (__builtin_mul_overflow(array->elems, element->bytes, &bytes) ||
      (uint64_t)info.st_size < used || (uint64_t)info.st_size - used != bytes)
    return vn_fail(diag, VN_E_FORMAT, "the file's size is not what its shape promises");
  array->data = malloc(bytes ? bytes : 1);
  if (!array->data) return vn_fail(diag, VN_E_MEMORY, "out of memory for %zu bytes", bytes);
  if (fread(array->data, 1, bytes, file) != bytes)
    return vn_fail(diag, VN_E_IO, "cannot read all of it");
  return convert(array, element, diag);
}

enum vn_status npy_read(const char *path, struct npy *array, struct vn_diag *diag) {
  *array = (struct npy){0};
  const char *reason;
  FILE *file = vn_input_open(path, &reason);
  if (!file) return vn_fail(diag, vn_io_status(errno), "%s: %s", path, reason);
  struct vn_diag inner;
  enum vn_status status = file_read(file, array, &inner);
  fclose(file);
  if (status == VN_OK) return VN_OK;
  npy_close(array);
  return vn_fail(diag, status, "%.200s: %.300s", path, inner.text);
}

enum vn_status npy_write(int fd, const struct npy *array, struct vn_diag *diag) {
  char head[512];
  int at = snprintf(head, sizeof head, "%10s{'descr': '%s', 'fortran_order': False, 'shape': (", "",
                    array->type == VN_TYPE_F32 ? "<f4" : "<i8");
  for (size_t i = 0; i < array->rank; i++)
    at += snprintf(head + at, sizeof head - (size_t)at, "%zu,%s", array->dim[i],
                   i + 1 < array->rank ? " " : "");
  at += snprintf(head + at, sizeof head - (size_t)at, "), }");
  size_t size = ((size_t)at + 1 + 63) / 64 * 64; /* the data starts at a multiple of 64 */
  memset(head + at, ' ', size - (size_t)at);
  head[size - 1] = '\n';
  memcpy(head, magic, sizeof magic);
  head[6] = 1;
  head[7] = 0;
  head[8] = (char)((size - 10) & 0xFF);
  head[9] = (char)((size - 10) >> 8);
  enum vn_status status = vn_part_write(fd, head, size, diag);
  if (status) return status;
  return vn_part_write(fd, array->data, array->elems * type_bytes(array->type), diag);
}

void npy_close(struct npy *array) {
  if (!array) return;
  free(array->data);
  array->data = NULL;
}
